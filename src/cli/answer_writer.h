/* answer_writer.h: the text of an answer as it comes: what is said goes to standard output, what is thought
 * before it is told apart.
 *
 * Reasoning is shown in faint letters where standard output is a terminal; where it is not, on standard error
 * if that is one, so that what is redirected is the answer alone. --reasoning show and hide overrule that. */
#ifndef QN_CLI_ANSWER_WRITER_H
#define QN_CLI_ANSWER_WRITER_H

#include "cli/run.h"

typedef struct qn_answer_writer {
    qn_answer *answer;         /* receives the text and the reasoning */
    quern_chat_reader *reader; /* NULL: all is said */
    FILE *reasoning_out;       /* NULL: not shown */
    bool silent, is_faint, in_reasoning, has_notice;
    bool failed;
    int error; /* errno of the failed write; 0: no memory */
} qn_answer_writer;

/* prompt: the rendered conversation, if reasoning shall be told apart; or NULL. place: "auto", "show" or
 * "hide". False: message printed. */
bool qn_answer_writer_begin(qn_answer_writer *w, qn_answer *answer, const quern_model *model,
                            const char *prompt, const char *place, bool silent);
/* False: failed. */
bool qn_answer_writer_add(qn_answer_writer *w, const char *text, size_t n_bytes);
/* What was held back, and a line end if the answer has none and did not break off. Returns an exit code,
 * message printed. */
int qn_answer_writer_end(qn_answer_writer *w, bool broke_off);

/* Options for the library's functions that read answers without tools, as JSON; of the prompt only the end
 * counts. free it. NULL: message printed. */
char *qn_answer_options(const char *prompt);

#endif
