/* messages.h: conversations in the form of the APIs, checked and put into the form of a template. */
#ifndef QN_CHAT_MESSAGES_H
#define QN_CHAT_MESSAGES_H

#include "chat/chat.h"

/* Finds out what the template can do. Errors: QUERN_ERR_NOMEM. */
quern_status qn_chat_probe(const qn_jinja *t, const char *bos_token, const char *eos_token,
                           qn_chat_traits *out);

/* Whether the template has a place for each image of checked messages. Errors: QUERN_ERR_ARGUMENT. */
quern_status qn_chat_check_images(const json_t *messages, const qn_chat_traits *traits, quern_error *err);

/* A new array in which only what must change is copied. NULL: no memory. */
json_t *qn_chat_adapt_messages(const json_t *messages, const qn_chat_traits *traits);

/* The variables of a template as a new object. tools NULL: none. NULL: no memory. */
json_t *qn_chat_variables(json_t *messages, json_t *tools, const json_t *extra, bool null_tools,
                          bool add_generation_prompt, const char *bos_token, const char *eos_token);

#endif
