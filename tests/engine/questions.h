/* questions.h: questions for tests of the engine, and what a model says to them alone. */
#ifndef QN_TESTS_QUESTIONS_H
#define QN_TESTS_QUESTIONS_H

#include "base/buffer.h"
#include "quern.h"

enum { QUESTION_CTX = 512, QUESTION_VOCAB = 320, QUESTION_MAX_PROMPT = 420 };

typedef struct question {
    quern_token prompt[QUESTION_MAX_PROMPT];
    size_t n_prompt, max_tokens;
    uint64_t seed;
    float temperature;
    const quern_grammar *grammar;
    const char *stop; /* or NULL */
} question;

/* Prompts of one family begin alike, for a random length. is_long: the answer is longer than its prompt. */
void question_make(question *q, uint64_t seed, bool is_long);
quern_sampler_params question_sampler(const question *q);

/* Of QUESTION_CTX positions and one thread. The test fails where there is none. */
quern_context *question_context(const quern_model *m);
/* What is said to it by quern_generate; its text is put into an empty buffer. */
quern_generated question_answer(quern_context *ctx, const question *q, qn_buffer *text);
/* As a request; sampler: of the question, must live until it is submitted. */
quern_request_params question_request(const question *q, const quern_sampler_params *sampler);

/* Fetches all that comes, on any thread. Returns the last event, or of kind NONE what
 * was out of order. */
quern_event question_hear(quern_request *r, qn_buffer *text);

/* quern_submit; the test fails where it does. */
quern_request *question_submit(quern_engine *e, const quern_request_params *p);

/* A tiny model out of a file that is gone again; NULL, with a line printed, if there is none. */
struct tiny_model;
quern_model *question_model(const struct tiny_model *kind);
/* Two of the same vocabulary, one with windows of 40 positions in some layers. False: there are none. Both
 * may be NULL where they are closed. */
bool question_models_open(quern_model **plain, quern_model **windowed);
void question_models_close(quern_model *plain, quern_model *windowed);

#endif
