/* embed.h: what `quern embed` and `quern rerank` share. */
#ifndef QN_CLI_EMBED_H
#define QN_CLI_EMBED_H

#include "cli/cli.h"

/* Poolings by name: none, mean, cls, last, rank. */
bool qn_cli_pooling(const char *name, quern_pooling *pooling);
const char *qn_cli_pooling_name(quern_pooling pooling);

/* Texts from arguments and from the lines of a file. */
typedef struct qn_cli_lines {
    const char **texts; /* [n] */
    size_t n;
    char *memory; /* what the file's lines point into */
} qn_cli_lines;
/* path: a file ("-": standard input), or NULL: only the arguments, which must stay. False: message printed.
 */
bool qn_cli_lines_read(qn_cli_lines *lines, char **arguments, size_t n_arguments, const char *path);
void qn_cli_lines_free(qn_cli_lines *lines);

typedef struct qn_cli_embed_choice {
    long n_ctx, n_threads; /* 0: default */
    quern_kv_type type_k, type_v;
} qn_cli_embed_choice;
/* A context for texts of at most `longest` tokens, or of what the model takes. NULL: message printed. */
quern_context *qn_cli_embed_context(const quern_model *model, const qn_cli_embed_choice *choice,
                                    size_t longest, size_t n_texts);

#endif
