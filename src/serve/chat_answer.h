/* chat_answer.h: answers to a conversation, whatever dialect it was asked in. A dialect fills in what is
 * asked, by a worker; the prompt is rendered and the answers are bound as tools and format want it, and the
 * request is submitted. As answers come they are read back into what they are: content, reasoning, calls. */
#ifndef QN_SERVE_CHAT_ANSWER_H
#define QN_SERVE_CHAT_ANSWER_H

#include "serve/exchange.h"
#include "serve/fields.h"
#include "serve/limits.h"
#include "serve/sampling.h"

typedef struct qn_chat_answer qn_chat_answer;

/* One answer while it comes. */
typedef struct qn_chat_choice {
    qn_chat_answer *answer;
    uint32_t index;
    quern_chat_reader *reader;
    size_t n_calls;
    qn_buffer content, reasoning; /* where answers are kept: all of it */
    json_t *calls;                /* so far: {"id", "name", "arguments"}; NULL: none */
    qn_buffer arguments;          /* of the call that comes */
    json_t *log_probs;            /* of OpenAI's items, that were not taken yet; or NULL */
    quern_request_result result;
} qn_chat_choice;

/* What a dialect does with answers; by the network thread. Any may be NULL but for end. */
typedef struct qn_chat_writer {
    void (*begin)(qn_chat_answer *a);                           /* of a stream */
    void (*progress)(qn_chat_answer *a, const quern_event *e);  /* of a stream: of the prompt */
    void (*part)(qn_chat_choice *c, const quern_chat_event *e); /* of a stream */
    void (*ended)(qn_chat_choice *c);                           /* of a stream: this one has */
    void (*end)(qn_chat_answer *a); /* all have: the end of the stream, or the reply; there is no problem */
} qn_chat_writer;

struct qn_chat_answer {
    qn_exchange *x;
    const qn_chat_writer *writer;
    json_t *root; /* of the request; owned, as all below but for what is said to be borrowed */
    qn_fields fields;
    const quern_model *model; /* borrowed */
    const char *model_name;   /* borrowed from the engine */

    /* What is asked; filled in by the dialect. */
    json_t *messages;  /* as templates want them: OpenAI's form, contents are texts */
    json_t *tools;     /* OpenAI's form; NULL: none */
    json_t *choice;    /* of a tool: as tool_choice of quern_chat_grammar; NULL: auto */
    bool one_call;     /* no parallel calls */
    json_t *variables; /* of the template; or NULL */
    const char *raw;   /* the prompt as it stands, in place of messages and template; borrowed; or NULL */
    quern_grammar *content; /* the language of the content, or NULL */
    qn_sampling sampling;
    int64_t n, n_top;
    bool streams, wants_log_probs;

    char *prompt; /* rendered */
    quern_token *tokens;
    size_t n_tokens;
    quern_grammar *grammar;
    qn_chat_choice choices[QN_MAX_CHOICES_OF_REQUEST];
    void *of_dialect; /* qn_free when it goes */
};

/* Parses the body and finds the model. NULL: problem noted. It is the exchange's state from now on.
 * of_dialect has so many bytes, zeroed. */
qn_chat_answer *qn_chat_answer_create(qn_exchange *x, const qn_chat_writer *writer, size_t dialect_bytes);
/* A message in the form of templates; takes its parts, and nothing where one is NULL. False: problem noted.
 */
bool qn_chat_answer_add_message(qn_chat_answer *a, json_t *message);
/* Has each object of "messages" read; is_last: none follows. False, of read as well: problem noted. */
typedef bool qn_read_message_fn(qn_chat_answer *a, const qn_fields *message, bool is_last);
bool qn_chat_answer_read_messages(qn_chat_answer *a, qn_read_message_fn *read);
/* The content shall be any JSON object (schema NULL), or of a schema. field: of the request, for a problem.
 */
bool qn_chat_answer_bind(qn_chat_answer *a, const json_t *schema, const char *field);
/* Renders the prompt: then a->n_tokens is known. */
bool qn_chat_answer_render(qn_chat_answer *a);
/* Renders, binds, and wants the answers of the engine. */
bool qn_chat_answer_submit(qn_chat_answer *a);
/* False, and the problem that there is no memory. */
bool qn_chat_answer_fail_nomem(qn_chat_answer *a);

/* Tokens drawn of all answers; of the prompt, found computed. */
size_t qn_chat_answer_generated(const qn_chat_answer *a);
size_t qn_chat_answer_cached(const qn_chat_answer *a);

#endif
