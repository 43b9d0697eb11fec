/* native.c: see native.h. */
#include "serve/native.h"

#include "base/clock.h"
#include "serve/fields.h"
#include "serve/openai.h"
#include "serve/server_parts.h"

#include <stdlib.h>
#include <string.h>

/* ---- how it is ---------------------------------------------------------------------------------- */

enum { STUCK_MS = 30000 }; /* a step takes no longer, on any machine and model that is of use */

/* Whether the engine has work and makes no step. Noted by the network thread alone. */
static bool is_stuck(qn_server *s)
{
    quern_engine_metrics m;
    const uint64_t now = qn_clock_ns();
    quern_engine_get_metrics(s->engine, &m);
    if (m.n_steps != s->n_steps_seen || m.n_begun == 0 || !s->was_busy)
        s->n_steps_seen = m.n_steps, s->step_seen_ns = now;
    s->was_busy = m.n_begun > 0;
    return now - s->step_seen_ns > (uint64_t)STUCK_MS * 1000000;
}

void qn_native_health(qn_exchange *x)
{
    if (atomic_load(&x->server->is_draining))
        qn_problem_set(&x->problem, QN_PROBLEM_UNAVAILABLE, NULL, "the server is being stopped");
    else if (is_stuck(x->server))
        qn_problem_set(&x->problem, QN_PROBLEM_UNAVAILABLE, NULL, "no step was made for %d s",
                       STUCK_MS / 1000);
    else qn_reply_json(x, 200, json_pack("{s:s}", "status", "ok"));
}

void qn_native_props(qn_exchange *x)
{
    json_t *models = json_array();
    quern_engine_model_info info;
    for (size_t i = 0; quern_engine_get_model(x->server->engine, i, &info); i++) {
        quern_model_info about;
        quern_model_get_info(quern_engine_model(x->server->engine, info.name), &about);
        json_array_append_new(models, json_pack("{s:s, s:I, s:b, s:b, s:s}", "name", info.name, "n_ctx",
                                                (json_int_t)info.full_n_ctx, "has_chat_template",
                                                (int)about.has_chat_template, "reasons", (int)about.reasons,
                                                "instruction_set", about.instruction_set));
    }
    qn_reply_json(x, 200,
                  json_pack("{s:s, s:s, s:o}", "version", quern_version(), "build", quern_build_info(),
                            "models", models));
}

void qn_native_slots(qn_exchange *x)
{
    json_t *models = json_array();
    quern_engine_model_info info;
    for (size_t i = 0; quern_engine_get_model(x->server->engine, i, &info); i++)
        json_array_append_new(models,
                              json_pack("{s:s, s:I, s:I}", "model", info.name, "running",
                                        (json_int_t)info.n_running, "waiting", (json_int_t)info.n_waiting));
    qn_reply_json(x, 200, models);
}

/* ---- tokens and templates ----------------------------------------------------------------------- */

/* Has the request and its model read. */
typedef void answer_fn(qn_exchange *x, const qn_fields *f, const quern_model *model);
static void answer(qn_exchange *x, answer_fn *fn)
{
    const char *name = NULL;
    json_t *root = qn_exchange_parse(x);
    if (root == NULL) return;
    const qn_fields f = qn_fields_of(root, &x->problem);
    const quern_model *model = qn_openai_model(x, &f, &name);
    if (model != NULL) fn(x, &f, model);
    json_decref(root);
}

static void tokenize(qn_exchange *x, const qn_fields *f, const quern_model *model)
{
    const char *text = NULL;
    bool adds = false, parses = true;
    quern_token *tokens;
    size_t n_tokens;
    quern_error err;
    if (!qn_field_text(f, "content", &text) || !qn_field_bool(f, "add_special", &adds) ||
        !qn_field_bool(f, "parse_special", &parses))
        return;
    if (text == NULL) {
        qn_field_wrong(f, QN_PROBLEM_MISSING, "content", "it is missing");
        return;
    }
    const unsigned flags = (adds ? (unsigned)QUERN_TOKENIZE_ADD_SPECIAL : 0u) |
                           (parses ? (unsigned)QUERN_TOKENIZE_PARSE_SPECIAL : 0u);
    if (quern_tokenize(model, text, strlen(text), flags, &tokens, &n_tokens, &err) != QUERN_OK) {
        qn_problem_take(&x->problem, "content", &err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n_tokens; i++) json_array_append_new(list, json_integer(tokens[i]));
    quern_free(tokens);
    qn_reply_json(x, 200, json_pack("{s:o}", "tokens", list));
}

void qn_native_tokenize(qn_exchange *x)
{
    answer(x, tokenize);
}

static void detokenize(qn_exchange *x, const qn_fields *f, const quern_model *model)
{
    quern_token *tokens;
    size_t n_tokens;
    qn_buffer text = {0};
    if (!qn_openai_read_tokens(f, "tokens", qn_field(f, "tokens"), model, &tokens, &n_tokens)) return;
    if (qn_openai_text_of(model, tokens, n_tokens, &text, &x->problem))
        qn_reply_json(
            x, 200,
            json_pack("{s:o}", "content", json_stringn(text.n_bytes > 0 ? text.data : "", text.n_bytes)));
    quern_free(tokens);
    qn_buffer_deinit(&text);
}

void qn_native_detokenize(qn_exchange *x)
{
    answer(x, detokenize);
}

void qn_native_apply_template(qn_exchange *x)
{
    char *prompt = qn_openai_render(x); /* as for a chat completion */
    if (prompt == NULL) return;
    qn_reply_json(x, 200, json_pack("{s:s}", "prompt", prompt));
    quern_free(prompt);
}
