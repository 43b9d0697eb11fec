/* golden.c: finding and reading reference data. */
#include "support/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool golden_path(char out[1024], const char *relative)
{
    const char *root = getenv("QUERN_GOLDEN"), *source = getenv("QUERN_SOURCE");
    if (root != NULL && root[0] != '\0') snprintf(out, 1024, "%s/%s", root, relative);
    else snprintf(out, 1024, "%s/../shared/golden/%s", source != NULL ? source : ".", relative);
    if (access(out, R_OK) == 0) return true;
    printf("skipped: no reference data at %s (QUERN_GOLDEN)\n", out);
    return false;
}

char *golden_read(const char *path, size_t *n_bytes)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "cannot open %s\n", path);
        abort();
    }
    fseek(f, 0, SEEK_END);
    const long n = ftell(f);
    rewind(f);
    char *bytes = malloc((size_t)n + 1);
    if (bytes == NULL || fread(bytes, 1, (size_t)n, f) != (size_t)n) {
        fprintf(stderr, "cannot read %s\n", path);
        abort();
    }
    bytes[n] = '\0';
    fclose(f);
    *n_bytes = (size_t)n;
    return bytes;
}
