/* line_input.h: lines from the user: edited, with history, at a terminal; plain otherwise. */
#ifndef QN_CLI_LINE_INPUT_H
#define QN_CLI_LINE_INPUT_H

#include <stdbool.h>

typedef struct qn_line_input qn_line_input;

typedef enum qn_line_result { QN_LINE, QN_LINE_INTERRUPTED, QN_LINE_END } qn_line_result;

/* interrupt_fd: can be read when Ctrl-C was typed; only looked at. The history is kept in
 * $XDG_STATE_HOME/quern/history (~/.local/state/quern/history). NULL: no memory. */
qn_line_input *qn_line_input_open(int interrupt_fd);
void qn_line_input_close(qn_line_input *in); /* NULL is fine; saves the history */

/* Reads a line after a prompt (shown at a terminal only). *line has no line end; owned by `in`, valid until
 * the next call. QN_LINE_INTERRUPTED: Ctrl-C was typed (and its handler has run). */
qn_line_result qn_line_input_read(qn_line_input *in, const char *prompt, const char **line);

/* Keeps an entry in the history. */
void qn_line_input_remember(qn_line_input *in, const char *text);

#endif
