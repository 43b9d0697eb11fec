/* replay_main.c: runs a fuzz target over the files of its corpus, without libFuzzer.
 *
 *     replay_NAME FILE_OR_DIRECTORY...
 *
 * Also over the empty input and, for each file, over the file cut short at up to 256 places, because
 * a parser that is safe on whole files is not yet safe on truncated ones. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t n_inputs;

/* An exact-size heap copy, so that AddressSanitizer sees a read past the end. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(size ? size : 1, 1);
    if (copy == NULL) {
        fprintf(stderr, "replay: no memory for %zu bytes\n", size);
        exit(1);
    }
    if (size > 0) memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    n_inputs++;
}

static void replay_file(const char *path, size_t n_bytes)
{
    uint8_t *data = malloc(n_bytes + 1);
    FILE *f = fopen(path, "rb");
    if (f == NULL || data == NULL || fread(data, 1, n_bytes, f) != n_bytes) {
        fprintf(stderr, "replay: cannot read %s\n", path);
        exit(1);
    }
    fclose(f);
    feed(data, n_bytes);
    const size_t step = n_bytes / 256 + 1;
    for (size_t n = 0; n < n_bytes; n += step) feed(data, n);
    free(data);
}

static void replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "replay: no corpus at %s\n", path);
        exit(1);
    }
    if (!S_ISDIR(st.st_mode)) {
        replay_file(path, (size_t)st.st_size);
        return;
    }
    DIR *dir = opendir(path);
    if (dir == NULL) {
        fprintf(stderr, "replay: cannot open %s\n", path);
        exit(1);
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.') continue;
        char child[4096];
        if (snprintf(child, sizeof child, "%s/%s", path, e->d_name) >= (int)sizeof child) continue;
        replay(child);
    }
    closedir(dir);
}

int main(int argc, char **argv)
{
    feed(NULL, 0);
    for (int i = 1; i < argc; i++) replay(argv[i]);
    printf("%zu inputs\n", n_inputs);
    return 0;
}
