/* chat.h: conversations to prompts, by the model's own template.
 *
 * Clients speak the form of the HTTP APIs: content as text or as a list of parts, arguments of tool
 * calls as JSON text, a system message first. Templates were written against another form, each with
 * its own gaps. So a template is tried out once when it is opened, with a few small conversations,
 * and messages are then put into the form that it renders well (qn_chat_traits says what was found).
 *
 * A prompt rendered here already holds the special tokens as text, a first bos_token included where
 * the template writes one: tokenize it with special tokens recognized, and do not add a second one. */
#ifndef QN_CHAT_CHAT_H
#define QN_CHAT_CHAT_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "chat/jinja.h"
#include "gguf/gguf.h"

#include <jansson.h>

typedef struct qn_chat_template qn_chat_template; /* immutable once open; threads share it freely */

typedef struct qn_chat_traits {
    bool takes_parts;      /* content may be a list of parts; else their texts are joined by line ends */
    bool wants_parts;      /* content must be a list of parts */
    bool takes_image_urls; /* parts of type image_url become what stands for an image */
    bool takes_images;     /* parts of type image do */
    bool takes_system;     /* knows the role system; else it is put in front of the first user message */
    bool object_arguments; /* arguments of tool calls as an object; else as JSON text */
    bool null_content;     /* content of a message with tool calls may be null; else it is "" */
    bool empty_content;    /* it may be ""; else that becomes null */
    bool null_tools;       /* tools may be none; else they are left undefined */
    bool shows_tools;      /* the prompt tells of the tools */
} qn_chat_traits;

typedef struct qn_chat_template_params {
    const char *source;                /* a template in place of the model's; NULL: the model's */
    const char *name;                  /* a named one of the model's, such as "tool_use"; NULL: the default */
    const char *bos_token, *eos_token; /* texts; NULL: from the model's metadata, "" without them */
    bool use_fallback;                 /* without a usable template take ChatML (qn_chat_fallback_source) */
} qn_chat_template_params;

/* ChatML: <|im_start|>role\ncontent<|im_end|>\n for each message; tools and calls as Hermes models have them.
 */
extern const char *const qn_chat_fallback_source;

/* Opens the template in tokenizer.chat_template of g (g may be NULL with a source). A model without a
 * usable template still opens: *out is then a template that refuses to render with the reason (see
 * qn_chat_template_problem), which is also logged as a warning. Errors: QUERN_ERR_NOMEM. Nothing of
 * g is referenced afterwards. params may be NULL. */
quern_status qn_chat_template_open(qn_chat_template **out, const qn_gguf *g,
                                   const qn_chat_template_params *params, const qn_log *log,
                                   quern_error *err);
void qn_chat_template_close(qn_chat_template *t); /* NULL is fine */

const char *qn_chat_template_problem(const qn_chat_template *t); /* why chat is refused; NULL: it is not */
const char *qn_chat_template_source(const qn_chat_template *t);  /* NULL where there is none */
const qn_chat_traits *qn_chat_template_traits(const qn_chat_template *t);

/* Checks messages: an array of objects with a role and content (text, parts, or null beside tool
 * calls), reasoning_content and tool calls. The message names the place: "messages[2].content: ...". */
quern_status qn_chat_check_messages(const json_t *messages, quern_error *err);
/* Checks tools: null, or an array of {"type": "function", "function": {"name": ...}}. */
quern_status qn_chat_check_tools(const json_t *tools, quern_error *err);

/* Appends the prompt to *out (nothing on failure). messages and tools (or NULL) are checked first;
 * extra (or NULL) is an object of further variables, such as {"enable_thinking": false}. now: as in
 * qn_jinja_render. All are borrowed and stay as they are. An image in a conversation for a template that has
 * no place for it is an error, as the model would answer as if it had seen it. Errors: QUERN_ERR_ARGUMENT
 * (the messages), QUERN_ERR_TEMPLATE (the template fails or refuses this conversation), QUERN_ERR_LIMIT,
 * QUERN_ERR_UNSUPPORTED (no usable template), QUERN_ERR_NOMEM. */
quern_status qn_chat_render(const qn_chat_template *t, const json_t *messages, const json_t *tools,
                            const json_t *extra, bool add_generation_prompt, int64_t now, qn_buffer *out,
                            quern_error *err);

/* "2025-03-14", "2025-03-14T09:26" or "2025-03-14T09:26:53", with or without fraction and zone: the
 * wall clock that it names, in seconds since 1970 (the zone is not applied). */
quern_status qn_chat_parse_time(const char *text, int64_t *now, quern_error *err);

#endif
