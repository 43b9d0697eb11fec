/* openai.c: see openai.h. */
#include "serve/openai.h"

#include "base/alloc.h"
#include "base/random.h"
#include "base/utf8.h"
#include "chat/json_text.h"
#include "serve/server_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- problems ----------------------------------------------------------------------------------- */

static void put_text(qn_buffer *out, const char *text)
{
    qn_buffer_putc(out, '"');
    qn_json_escape(out, text, strlen(text));
    qn_buffer_putc(out, '"');
}

static void write_problem(qn_buffer *out, const qn_problem *p)
{
    qn_buffer_puts(out, "{\"error\":{\"message\":");
    put_text(out, p->message);
    qn_buffer_printf(out, ",\"type\":\"%s\",\"param\":", qn_problem_type(p->kind));
    if (p->field[0] != '\0') put_text(out, p->field);
    else qn_buffer_puts(out, "null");
    qn_buffer_printf(out, ",\"code\":\"%s\"}}", qn_problem_code(p->kind));
}

static void write_stream_problem(qn_buffer *out, const qn_problem *p)
{
    qn_buffer_puts(out, "data: ");
    write_problem(out, p);
    qn_buffer_puts(out, "\n\n");
}

const qn_dialect qn_openai_dialect = {write_problem, write_stream_problem, ": still working\n\n"};

/* ---- what replies have in common ---------------------------------------------------------------- */

/* Clients of Ollama say "NAME:latest" for what is called NAME. */
static const quern_model *without_latest(quern_engine *engine, const char *name)
{
    char plain[256];
    const char *colon = name != NULL ? strrchr(name, ':') : NULL;
    if (colon == NULL || strcmp(colon, ":latest") != 0) return NULL;
    snprintf(plain, sizeof plain, "%.*s", (int)(colon - name), name);
    return quern_engine_model(engine, plain);
}

const quern_model *qn_openai_model(qn_exchange *x, const qn_fields *f, const char **name)
{
    const char *wanted = NULL;
    quern_engine_model_info info;
    if (!qn_field_text(f, "model", &wanted)) return NULL;
    const quern_model *model = quern_engine_model(x->server->engine, wanted);
    if (model == NULL) model = without_latest(x->server->engine, wanted);
    if (model == NULL) {
        qn_field_wrong(f, QN_PROBLEM_NO_MODEL, "model",
                       "there is no model '%.100s' (GET /v1/models lists them)",
                       wanted != NULL ? wanted : "");
        return NULL;
    }
    for (size_t i = 0; quern_engine_get_model(x->server->engine, i, &info); i++)
        if (quern_engine_model(x->server->engine, info.name) == model) *name = info.name;
    return model;
}

bool qn_openai_read_tokens(const qn_fields *f, const char *name, const json_t *list, const quern_model *model,
                           quern_token **tokens, size_t *n_tokens)
{
    quern_model_info info;
    quern_model_get_info(model, &info);
    *tokens = NULL, *n_tokens = 0;
    if (!json_is_array(list))
        return qn_field_wrong(f, QN_PROBLEM_WRONG_TYPE, name, "an array of tokens is expected");
    quern_token *read = qn_calloc(json_array_size(list), sizeof *read);
    if (read == NULL) return qn_field_wrong(f, QN_PROBLEM_NO_MEMORY, name, "no memory for its tokens");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const json_int_t id = json_integer_value(item);
        if (!json_is_integer(item) || id < 0 || id >= (json_int_t)info.n_vocab) {
            qn_free(read);
            return qn_field_wrong(f, QN_PROBLEM_WRONG_VALUE, name,
                                  "item %zu is no token of the vocabulary of %u", i, info.n_vocab);
        }
        read[i] = (quern_token)id;
    }
    *tokens = read, *n_tokens = json_array_size(list);
    return true;
}

bool qn_openai_text_of(const quern_model *model, const quern_token *tokens, size_t n_tokens, qn_buffer *text,
                       qn_problem *problem)
{
    quern_text_stream *stream;
    quern_error err;
    size_t n_bytes;
    if (quern_text_stream_create(&stream, model, true, &err) != QUERN_OK)
        return qn_problem_take(problem, NULL, &err);
    for (size_t i = 0; i < n_tokens; i++) {
        const char *piece = quern_text_stream_push(stream, tokens[i], &n_bytes);
        qn_buffer_append(text, piece, n_bytes);
    }
    const char *rest = quern_text_stream_finish(stream, &n_bytes);
    qn_buffer_append(text, rest, n_bytes);
    quern_text_stream_destroy(stream);
    return !text->failed || qn_problem_set(problem, QN_PROBLEM_NO_MEMORY, NULL, "no memory for a text");
}

qn_openai_id qn_openai_make_id(const char *prefix)
{
    qn_openai_id id;
    snprintf(id.text, sizeof id.text, "%s-%016" PRIx64 "%08" PRIx32, prefix, qn_random_seed(),
             (uint32_t)qn_random_seed());
    return id;
}

const char *qn_openai_finish(quern_finish finish, bool has_calls)
{
    if (finish == QUERN_FINISH_STOP) return has_calls ? "tool_calls" : "stop";
    return finish == QUERN_FINISH_CANCELED ? "stop" : "length";
}

json_t *qn_openai_usage(size_t n_prompt, size_t n_cached, size_t n_generated)
{
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", (json_int_t)n_prompt, "completion_tokens",
                     (json_int_t)n_generated, "total_tokens", (json_int_t)(n_prompt + n_generated),
                     "prompt_tokens_details", "cached_tokens", (json_int_t)n_cached);
}

static double ms(uint64_t ns)
{
    return (double)(ns / 1000) / 1e3;
}

json_t *qn_openai_timings(const quern_request_result *r)
{
    const double speed = r->generate_ns > 0 && r->n_generated > 1
                             ? (double)(r->n_generated - 1) * 1e9 / (double)r->generate_ns
                             : 0;
    return json_pack("{s:f, s:f, s:I, s:I, s:f, s:I, s:f, s:f, s:f, s:s, s:I, s:I, s:I}", "queued_ms",
                     ms(r->queued_ns - r->unloaded_ns), "loaded_ms", ms(r->unloaded_ns), "prompt_cached",
                     (json_int_t)r->n_cached, "prompt_computed", (json_int_t)(r->n_prompt - r->n_cached),
                     "prompt_ms", ms(r->prompt_ns), "generated", (json_int_t)r->n_generated, "generated_ms",
                     ms(r->generate_ns), "tokens_per_second", speed, "longest_gap_ms", ms(r->longest_gap_ns),
                     "device", "cpu", "guessed", (json_int_t)r->n_guessed, "guessed_right",
                     (json_int_t)r->n_guessed_right, "preempted", (json_int_t)r->n_preempted);
}

/* ---- log-probabilities -------------------------------------------------------------------------- */

/* A token as text and bytes: it need not be whole characters. */
static json_t *token_item(const quern_model *model, quern_token token, float log_prob)
{
    char *bytes;
    size_t n_bytes;
    quern_error err;
    if (quern_token_bytes(model, token, &bytes, &n_bytes, &err) != QUERN_OK) return NULL;
    const bool is_text = qn_utf8_valid(bytes, n_bytes);
    json_t *list = json_array(), *item = NULL;
    for (size_t i = 0; i < n_bytes && list != NULL; i++)
        json_array_append_new(list, json_integer((unsigned char)bytes[i]));
    item = json_pack("{s:o, s:f, s:o}", "token",
                     is_text ? json_stringn(bytes, n_bytes) : json_string("\xef\xbf\xbd"), "logprob",
                     log_prob > -9999.0f ? (double)log_prob : -9999.0, "bytes", list);
    quern_free(bytes);
    return item;
}

json_t *qn_openai_log_probs(const quern_model *model, const quern_event *event)
{
    json_t *items = json_array();
    for (size_t i = 0; i < event->n_log_probs && items != NULL; i++) {
        const quern_token_log_probs *row = &event->log_probs[i];
        json_t *item = token_item(model, row->token, row->log_prob), *top = json_array();
        for (size_t k = 0; k < row->n_top; k++)
            json_array_append_new(top, token_item(model, row->top[k].token, row->top[k].log_prob));
        json_object_set_new(item, "top_logprobs", top);
        json_array_append_new(items, item);
    }
    return items;
}

/* ---- models ------------------------------------------------------------------------------------- */

static const char *state_name(quern_model_state state)
{
    static const char *const names[] = {[QUERN_MODEL_UNLOADED] = "unloaded",
                                        [QUERN_MODEL_LOADING] = "loading",
                                        [QUERN_MODEL_LOADED] = "loaded",
                                        [QUERN_MODEL_UNLOADING] = "unloading",
                                        [QUERN_MODEL_FAILED] = "failed"};
    return names[state];
}

void qn_openai_models(qn_exchange *x)
{
    json_t *list = json_array();
    quern_engine_model_info info;
    for (size_t i = 0; list != NULL && quern_engine_get_model(x->server->engine, i, &info); i++) {
        quern_model_info about;
        quern_model_get_info(quern_engine_model(x->server->engine, info.name), &about);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:I, s:s, s:{s:s, s:s, s:s, s:I, s:I, s:I, s:b}}", "id", info.name,
                            "object", "model", "created", (json_int_t)x->server->started_s, "owned_by",
                            "quern", "meta", "state", state_name(info.state), "architecture",
                            about.architecture, "file_type", about.file_type, "n_params",
                            (json_int_t)about.n_parameters, "n_ctx_train", (json_int_t)about.n_ctx_train,
                            "n_ctx", (json_int_t)info.full_n_ctx, "generates", (int)about.generates));
    }
    qn_reply_json(x, 200, json_pack("{s:s, s:o}", "object", "list", "data", list));
}
