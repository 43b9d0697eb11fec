/* output_message.h: the events of an output parser, gathered into a message as the OpenAI API has it:
 * {"role": "assistant", "content", "reasoning_content"?, "tool_calls"?}. */
#ifndef QN_CHAT_OUTPUT_MESSAGE_H
#define QN_CHAT_OUTPUT_MESSAGE_H

#include "base/buffer.h"
#include "chat/output_parser.h"

typedef struct qn_output_message {
    qn_buffer content, reasoning, arguments; /* arguments: of the last call, while it lasts */
    json_t *calls;                           /* NULL: none */
    bool incomplete;                         /* the last call broke off */
} qn_output_message;

/* A qn_output_fn whose user is a zeroed qn_output_message. */
bool qn_output_message_add(void *user, const qn_output_event *event);

/* The message, owned by the caller; bytes that are not UTF-8 become U+FFFD. content is null where there are
 * calls and no text. NULL: no memory. */
json_t *qn_output_message_to_json(const qn_output_message *m);

void qn_output_message_deinit(qn_output_message *m);

/* One whole text to a message; user and emit of params are not used. Errors: QUERN_ERR_NOMEM. */
quern_status qn_output_parse(json_t **message, const qn_output_params *params, const char *text,
                             size_t n_bytes, quern_error *err);

#endif
