/* store_reference_fuzz.c: the names of models that people and repositories give. Whatever passes the
 * parser must hold what the store relies on: no component that leaves its directory or begins an option,
 * and a text form that means the same again. The input is one reference and, after its first line, the
 * names of a repository's files. */
#include "store/source.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds) abort();
}

static void check_path(const char *path)
{
    require(path[0] != '/' && path[0] != '.' && path[0] != '-');
    require(strstr(path, "..") == NULL || strstr(path, "/.") == NULL);
    for (const char *at = path; (at = strchr(at, '/')) != NULL; at++)
        require(at[1] != '.' && at[1] != '/' && at[1] != '\0');
}

static void check_source(const qn_source *s)
{
    char text[QN_SOURCE_TEXT], name[QN_NAME_MAX + 1], again_text[QN_SOURCE_TEXT];
    qn_source again;
    qn_source_format(s, text);
    require(strlen(text) < QN_SOURCE_TEXT - 1);
    if (s->kind == QN_SOURCE_HUB || s->kind == QN_SOURCE_PYPI) {
        if (s->path[0] != '\0') check_path(s->path);
        require(strchr(s->owner, '/') == NULL && strchr(s->repo, '/') == NULL && s->owner[0] != '.' &&
                s->repo[0] != '.');
    }
    if (strlen(text) <= QN_URL_MAX && qn_source_parse(&again, text, NULL) == QUERN_OK) {
        qn_source_format(&again, again_text);
        require(strcmp(text, again_text) == 0);
    } else {
        require(s->kind == QN_SOURCE_FILE || strlen(text) > QN_URL_MAX);
    }
    if (qn_name_from_source(s, name)) require(qn_component_valid(name, strlen(name)));
    require(qn_source_extension(s) != NULL);
}

static void check_files(char *text)
{
    const char *files[64];
    size_t n = 0;
    for (char *line = strtok(text, "\n"); line != NULL && n < 64; line = strtok(NULL, "\n"))
        files[n++] = line;
    static const char *const quants[] = {"", "Q4_K_M", "q8_0", "BF16", "."};
    for (size_t i = 0; i < sizeof quants / sizeof *quants; i++) {
        const long chosen = qn_choose_file(files, n, quants[i]);
        require(chosen >= -1 && chosen < (long)n);
        if (chosen >= 0) check_path(files[chosen]);
    }
    char label[QN_NAME_MAX + 1];
    for (size_t i = 0; i < n; i++) {
        qn_quant_label(files[i], label);
        require(strlen(label) <= QN_NAME_MAX);
        require(qn_edit_distance(files[i], files[0]) == qn_edit_distance(files[0], files[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 16) return 0;
    char *text = malloc(size + 1);
    if (text == NULL) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *rest = strchr(text, '\n');
    if (rest != NULL) *rest++ = '\0';
    qn_reference r;
    if (qn_reference_parse(&r, text, NULL) == QUERN_OK) {
        if (r.kind == QN_REFERENCE_SOURCE) check_source(&r.source);
        if (r.kind == QN_REFERENCE_NAME)
            require(qn_component_valid(r.name, strlen(r.name)) && strchr(r.name, '/') == NULL);
    }
    if (rest != NULL) check_files(rest);
    free(text);
    return 0;
}
