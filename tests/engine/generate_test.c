/* generate_test.c: the way of a token on tiny models: the same answer with and without what the sequence
 * holds already, ends of answers, stop texts, cancelling, failing memory; plans against what is really taken.
 */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "quern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char model_path[] = "/tmp/quern_generate_XXXXXX";
static quern_model *model, *windowed;

static quern_context *open_context(const quern_model *m, uint32_t n_ctx, int n_threads)
{
    quern_context_params params = quern_context_params_default();
    params.n_ctx = n_ctx, params.n_threads = n_threads, params.n_sequences = 2;
    quern_context *ctx;
    quern_error err;
    if (quern_context_create(&ctx, m, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    return ctx;
}

static quern_sampler *open_sampler(const quern_model *m, float temperature, uint64_t seed)
{
    quern_sampler_params params = quern_sampler_params_default();
    params.temperature = temperature, params.seed = seed, params.repeat_penalty = 1.1f;
    quern_sampler *sampler;
    quern_error err;
    if (quern_sampler_create(&sampler, m, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    assert_int_equal(quern_sampler_seed(sampler), seed);
    return sampler;
}

typedef struct heard {
    char text[4096];
    size_t n_bytes, n_calls, stop_after, n_prompt_calls, prompt_done;
} heard;

static bool hear(void *user, const char *text, size_t n_bytes)
{
    heard *h = user;
    assert_int_equal(text[n_bytes], '\0');
    assert_true(qn_utf8_valid(text, n_bytes));
    assert_true(h->n_bytes + n_bytes < sizeof h->text);
    memcpy(h->text + h->n_bytes, text, n_bytes + 1);
    h->n_bytes += n_bytes;
    return ++h->n_calls != h->stop_after;
}

static bool hear_prompt(void *user, size_t done, size_t total)
{
    heard *h = user;
    assert_true(done <= total && done >= h->prompt_done);
    h->prompt_done = done;
    h->n_prompt_calls++;
    return true;
}

static quern_generate_params params_for(const quern_token *prompt, size_t n_prompt, size_t max_tokens,
                                        heard *h)
{
    quern_generate_params p = quern_generate_params_default();
    p.prompt = prompt, p.n_prompt = n_prompt, p.max_tokens = max_tokens, p.ignore_end = true;
    p.on_text = hear, p.user = h;
    return p;
}

static quern_token prompt_tokens[400];

static quern_generated answer(quern_context *ctx, quern_sampler *sampler, size_t n_prompt, size_t max_tokens,
                              heard *h)
{
    quern_generated result;
    quern_error err;
    memset(h, 0, sizeof *h);
    const quern_generate_params p = params_for(prompt_tokens, n_prompt, max_tokens, h);
    if (quern_generate(ctx, sampler, &p, &result, &err) != QUERN_OK) fail_msg("%s", err.message);
    return result;
}

static void a_kept_prefix_changes_no_answer(void **state)
{
    (void)state;
    const quern_model *const models[] = {model, windowed};
    for (int m = 0; m < 2; m++) {
        quern_sampler *sampler = open_sampler(models[m], 0.9f, 42);
        static heard fresh, again;
        static const size_t lengths[] = {200, 201, 150, 200, 7, 300};
        quern_context *kept = open_context(models[m], 512, 2);
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            quern_context *empty = open_context(models[m], 512, 1 + (int)(i % 3));
            const quern_generated a = answer(empty, sampler, lengths[i], 12, &fresh),
                                  b = answer(kept, sampler, lengths[i], 12, &again);
            assert_int_equal(fresh.n_bytes, again.n_bytes);
            assert_memory_equal(fresh.text, again.text, fresh.n_bytes);
            assert_int_equal(a.n_cached, 0);
            assert_int_equal(a.n_generated, 12);
            assert_int_equal(a.finish, QUERN_FINISH_LENGTH);
            if (m == 0 && i == 1) assert_int_equal(b.n_cached, 200);
            if (m == 0 && i == 2) assert_int_equal(b.n_cached, 149);
            quern_context_destroy(empty);
        }
        const quern_token *held = quern_sequence_tokens(kept, 0);
        assert_int_equal(quern_sequence_length(kept, 0), 300 + 11);
        assert_memory_equal(held, prompt_tokens, 300 * sizeof *held);
        assert_int_equal(quern_sequence_length(kept, 1), 0);
        quern_context_destroy(kept);
        quern_sampler_destroy(sampler);
    }
}

static void stop_texts_end_answers_wherever_they_stand(void **state)
{
    (void)state;
    quern_sampler *sampler = open_sampler(model, 0.9f, 7);
    quern_context *ctx = open_context(model, 512, 2);
    static heard whole, cut;
    answer(ctx, sampler, 20, 24, &whole);
    size_t n_tried = 0;
    for (size_t begin = 0; begin + 8 < whole.n_bytes; begin += 3)
        for (size_t length = 1; length <= 8; length += 3) {
            char stop[16];
            memcpy(stop, whole.text + begin, length);
            stop[length] = '\0';
            if (!qn_utf8_valid(stop, length) || strlen(stop) != length) continue;
            const char *const stops[] = {"never said", stop};
            memset(&cut, 0, sizeof cut);
            quern_generate_params p = params_for(prompt_tokens, 20, 24, &cut);
            p.stops = stops, p.n_stops = 2;
            quern_generated result;
            assert_int_equal(quern_generate(ctx, sampler, &p, &result, NULL), QUERN_OK);
            const size_t expected =
                (size_t)((char *)memmem(whole.text, whole.n_bytes, stop, length) - whole.text);
            assert_int_equal(cut.n_bytes, expected);
            assert_memory_equal(cut.text, whole.text, expected);
            assert_int_equal(result.finish, QUERN_FINISH_STOP);
            assert_int_equal(result.stop, 1);
            n_tried++;
        }
    assert_true(n_tried > 5);
    quern_context_destroy(ctx);
    quern_sampler_destroy(sampler);
}

static void answers_end_when_they_must(void **state)
{
    (void)state;
    quern_sampler *sampler = open_sampler(model, 0, 1);
    quern_context *ctx = open_context(model, 64, 1);
    static heard h;
    quern_generated result = answer(ctx, sampler, 60, 0, &h); /* until the context is full */
    assert_int_equal(result.finish, QUERN_FINISH_CONTEXT);
    assert_int_equal(result.n_generated, 5); /* the last one needs no place */
    assert_int_equal(quern_sequence_length(ctx, 0), 64);
    result = answer(ctx, sampler, 64, 0, &h);
    assert_int_equal(result.n_generated, 1);

    memset(&h, 0, sizeof h);
    h.stop_after = 3;
    quern_generate_params p = params_for(prompt_tokens, 10, 20, &h);
    assert_int_equal(quern_generate(ctx, sampler, &p, &result, NULL), QUERN_OK);
    assert_int_equal(result.finish, QUERN_FINISH_CANCELED);
    assert_int_equal(result.n_generated, 3);
    assert_string_equal(quern_finish_text(result.finish), "canceled");

    /* a token that ends answers ends this one, and is not shown */
    const quern_logit_bias always_end = {2, 1000};
    quern_sampler_params sp = quern_sampler_params_default();
    sp.logit_bias = &always_end, sp.n_logit_bias = 1;
    quern_sampler *ending;
    assert_int_equal(quern_sampler_create(&ending, model, &sp, NULL), QUERN_OK);
    memset(&h, 0, sizeof h);
    p.ignore_end = false;
    assert_int_equal(quern_generate(ctx, ending, &p, &result, NULL), QUERN_OK);
    assert_int_equal(result.finish, QUERN_FINISH_STOP);
    assert_int_equal(result.n_generated, 1);
    assert_int_equal(h.n_bytes, 0);
    p.ignore_end = true;
    assert_int_equal(quern_generate(ctx, ending, &p, &result, NULL), QUERN_OK);
    assert_int_equal(result.n_generated, 20);
    quern_sampler_destroy(ending);
    quern_context_destroy(ctx);
    quern_sampler_destroy(sampler);
}

static void wrong_requests_change_nothing(void **state)
{
    (void)state;
    quern_sampler *sampler = open_sampler(model, 0, 1);
    quern_context *ctx = open_context(model, 64, 1);
    static heard h;
    answer(ctx, sampler, 10, 3, &h);
    const quern_token bad[] = {1, 320}, negative[] = {-1};
    const char *const empty[] = {""};
    quern_generated result;
    quern_error err;
    quern_generate_params p = params_for(prompt_tokens, 65, 3, &h);
    assert_int_equal(quern_generate(ctx, sampler, &p, &result, &err), QUERN_ERR_CTX_FULL);
    p = params_for(prompt_tokens, 0, 3, &h);
    assert_int_equal(quern_generate(ctx, sampler, &p, &result, &err), QUERN_ERR_ARGUMENT);
    p = params_for(bad, 2, 3, &h);
    assert_int_equal(quern_generate(ctx, sampler, &p, &result, &err), QUERN_ERR_ARGUMENT);
    p = params_for(negative, 1, 3, &h);
    assert_int_equal(quern_generate(ctx, sampler, &p, &result, &err), QUERN_ERR_ARGUMENT);
    p = params_for(prompt_tokens, 5, 3, &h);
    p.stops = empty, p.n_stops = 1;
    assert_int_equal(quern_generate(ctx, sampler, &p, &result, &err), QUERN_ERR_ARGUMENT);
    p = params_for(prompt_tokens, 5, 3, &h);
    p.sequence = 2;
    assert_int_equal(quern_generate(ctx, sampler, &p, &result, &err), QUERN_ERR_ARGUMENT);
    assert_int_equal(quern_sequence_length(ctx, 0), 12);
    quern_context_destroy(ctx);
    quern_sampler_destroy(sampler);
}

static void the_prompt_is_told_in_pieces(void **state)
{
    (void)state;
    quern_sampler *sampler = open_sampler(model, 0, 1);
    quern_context *ctx = open_context(model, 512, 2);
    static heard h;
    memset(&h, 0, sizeof h);
    quern_generate_params p = params_for(prompt_tokens, 400, 1, &h);
    p.on_prompt = hear_prompt;
    quern_generated result;
    assert_int_equal(quern_generate(ctx, sampler, &p, &result, NULL), QUERN_OK);
    assert_int_equal(h.prompt_done, 400);
    assert_true(h.n_prompt_calls >= 4);
    quern_context_destroy(ctx);
    quern_sampler_destroy(sampler);
}

static void failing_memory_is_an_error_each_time(void **state)
{
    (void)state;
    static heard h;
    quern_context *ctx = open_context(model, 64, 1);
    const long alive = qn_alloc_live();
    for (long k = 0;; k++) {
        quern_sampler_params sp = quern_sampler_params_default();
        sp.dry_multiplier = 0.8f;
        sp.seed = 1;
        quern_sampler *sampler = NULL;
        quern_generated result;
        const char *const stops[] = {"zq"};
        memset(&h, 0, sizeof h);
        quern_generate_params p = params_for(prompt_tokens, 5, 3, &h);
        p.stops = stops, p.n_stops = 1;
        qn_alloc_fail_at(k);
        quern_status s = quern_sampler_create(&sampler, model, &sp, NULL);
        if (s == QUERN_OK) s = quern_generate(ctx, sampler, &p, &result, NULL);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        quern_sampler_destroy(sampler);
        assert_int_equal(qn_alloc_live(), alive);
        assert_int_equal(s, failed ? QUERN_ERR_NOMEM : QUERN_OK);
        if (!failed) break;
        assert_true(k < 5000);
    }
    quern_context_destroy(ctx);
}

static void a_plan_is_what_is_taken(void **state)
{
    (void)state;
    quern_model_params header = quern_model_params_default();
    header.header_only = true;
    static const tiny_model kinds[] = {{.type = QN_TYPE_Q4_K},
                                       {.arch = "gemma3", .type = QN_TYPE_Q8_0},
                                       {.type = QN_TYPE_F16, .n_expert = 4}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        quern_model *planned, *loaded;
        assert_true(tiny_model_write(model_path, &kinds[i]));
        assert_int_equal(quern_model_open(&planned, model_path, &header, NULL), QUERN_OK);
        assert_int_equal(quern_model_open(&loaded, model_path, NULL, NULL), QUERN_OK);
        for (uint32_t n = 1; n <= 300; n += 97) {
            quern_context_params params = quern_context_params_default();
            params.n_ctx = n, params.n_sequences = 1 + n % 3, params.n_threads = 1 + (int)(n % 4),
            params.n_batch = 1 + n % 33;
            params.type_k = (quern_kv_type)(n % 5), params.type_v = (quern_kv_type)((n + i) % 5);
            quern_plan plan;
            quern_context *ctx;
            quern_model_info info;
            uint64_t kv, scratch;
            assert_int_equal(quern_model_plan(planned, &params, &plan, NULL), QUERN_OK);
            assert_int_equal(quern_context_create(&ctx, loaded, &params, NULL), QUERN_OK);
            quern_context_bytes(ctx, &kv, &scratch);
            quern_model_get_info(loaded, &info);
            assert_int_equal(plan.weight_bytes, info.weight_bytes);
            assert_int_equal(plan.kv_bytes, kv);
            assert_int_equal(plan.scratch_bytes, scratch);
            assert_int_equal(plan.total_bytes, info.weight_bytes + kv + scratch);
            quern_context_destroy(ctx);
        }
        quern_model_close(planned);
        quern_model_close(loaded);
    }
}

static void conversations_are_rendered(void **state)
{
    (void)state;
    char *text;
    quern_error err;
    const tiny_model m = {.chat_template = "{% for m in messages %}[{{ m.role }}|{{ m.content }}]{% endfor "
                                           "%}{% if add_generation_prompt %}>{% endif %}"};
    const tiny_model broken = {.chat_template = "{% for m in %}"};
    quern_model *chat;
    assert_true(tiny_model_write(model_path, &m));
    assert_int_equal(quern_model_open(&chat, model_path, NULL, &err), QUERN_OK);
    assert_int_equal(quern_chat_render(chat, "[{\"role\":\"user\",\"content\":\"hi\"}]", NULL, &text, &err),
                     QUERN_OK);
    assert_string_equal(text, "[user|hi]>");
    quern_free(text);
    assert_int_equal(quern_chat_render(chat, "[{\"role\":\"user\",\"content\":\"hi\"}]",
                                       "{\"add_generation_prompt\":false}", &text, &err),
                     QUERN_OK);
    assert_string_equal(text, "[user|hi]");
    quern_free(text);
    static const char *const wrong[] = {
        "", "[", "{}", "3", "[3]", "[{\"role\":1}]", "[{\"role\":\"user\",\"content\":\"\xff\"}]"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(quern_chat_render(chat, wrong[i], NULL, &text, &err), QUERN_ERR_ARGUMENT);
    assert_int_equal(quern_chat_render(chat, "[]", "[]", &text, &err), QUERN_ERR_ARGUMENT);
    assert_int_equal(quern_chat_render(chat, "[]", "{\"now\":\"x\"}", &text, &err), QUERN_ERR_ARGUMENT);
    quern_model_close(chat);

    assert_true(tiny_model_write(model_path, &broken));
    assert_int_equal(quern_model_open(&chat, model_path, NULL, &err), QUERN_OK); /* completion still works */
    quern_model_info info;
    quern_model_get_info(chat, &info);
    assert_true(info.has_chat_template);
    assert_non_null(info.chat_template_problem);
    assert_int_not_equal(quern_chat_render(chat, "[{\"role\":\"user\",\"content\":\"hi\"}]",
                                           "{\"fallback\":false}", &text, &err),
                         QUERN_OK);
    assert_int_equal(quern_chat_render(chat, "[{\"role\":\"user\",\"content\":\"hi\"}]", NULL, &text, &err),
                     QUERN_OK);
    assert_non_null(strstr(text, "<|im_start|>user\nhi"));
    quern_free(text);
    quern_model_close(chat);
}

static int set_up(void **state)
{
    (void)state;
    const int fd = mkstemp(model_path);
    if (fd < 0) return -1;
    close(fd);
    const tiny_model plain = {.type = QN_TYPE_Q8_0}, window = {.arch = "gemma3", .type = QN_TYPE_Q8_0};
    for (size_t i = 0; i < sizeof prompt_tokens / sizeof prompt_tokens[0]; i++)
        prompt_tokens[i] = (quern_token)((i * i + 7 * i) % 300 + 3);
    if (!tiny_model_write(model_path, &plain) || quern_model_open(&model, model_path, NULL, NULL) != QUERN_OK)
        return -1;
    unlink(model_path); /* a mapped file must be replaced, not overwritten */
    return tiny_model_write(model_path, &window) &&
                   quern_model_open(&windowed, model_path, NULL, NULL) == QUERN_OK && unlink(model_path) == 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    quern_model_close(model);
    quern_model_close(windowed);
    unlink(model_path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kept_prefix_changes_no_answer),
        cmocka_unit_test(stop_texts_end_answers_wherever_they_stand),
        cmocka_unit_test(answers_end_when_they_must),
        cmocka_unit_test(wrong_requests_change_nothing),
        cmocka_unit_test(the_prompt_is_told_in_pieces),
        cmocka_unit_test(failing_memory_is_an_error_each_time),
        cmocka_unit_test(a_plan_is_what_is_taken),
        cmocka_unit_test(conversations_are_rendered),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
