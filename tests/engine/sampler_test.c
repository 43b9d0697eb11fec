/* sampler_test.c: samplers of a model through the public interface, and sequence breakers as tokens. */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "base/alloc.h"
#include "engine/model.h"
#include "engine/sequence_breakers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_VOCAB = 320, BYTE_0 = 3 }; /* of the tiny model: byte tokens begin at 3 */

static char model_path[] = "/tmp/quern_sampler_XXXXXX";
static quern_model *model;

static int open_model(void **state)
{
    (void)state;
    quern_error err = {0};
    close(mkstemp(model_path));
    quern_model_params params = quern_model_params_default();
    params.vocab_only = true;
    if (!tiny_model_write(model_path, &(tiny_model){.n_layer = 1})) return 1;
    const quern_status s = quern_model_open(&model, model_path, &params, &err);
    unlink(model_path);
    return s != QUERN_OK;
}

static int close_model(void **state)
{
    (void)state;
    quern_model_close(model);
    return 0;
}

static quern_sampler *make(const quern_sampler_params *p)
{
    quern_sampler *s = NULL;
    quern_error err = {0};
    if (quern_sampler_create(&s, model, p, &err) != QUERN_OK) fail_msg("%s", err.message);
    return s;
}

static void assert_describes(const quern_sampler_params *p, const char *want)
{
    quern_sampler *s = make(p);
    char *text = NULL;
    assert_int_equal(quern_sampler_describe(s, &text, NULL), QUERN_OK);
    assert_string_equal(text, want);
    quern_free(text);
    quern_sampler_destroy(s);
}

static void a_chain_can_be_read(void **state)
{
    (void)state;
    quern_sampler_params p = quern_sampler_params_default();
    p.seed = 7;
    assert_describes(&p, "top_k 40 -> top_p 0.95 -> min_p 0.05 -> temperature 0.8 -> draw, seed 7");
    p.mirostat = 2;
    assert_describes(&p, "temperature 0.8 -> mirostat 2, tau 5, eta 0.1, seed 7");
    p.temperature = 0.0f;
    p.repeat_penalty = 1.5f;
    assert_describes(&p, "penalties last 64, repeat 1.5, presence 0, frequency 0 -> greatest");
    p = quern_sampler_params_default();
    p.seed = 7;
    p.dry_multiplier = 0.8f;
    p.xtc_probability = 0.5f;
    p.dynatemp_range = 0.25f;
    p.samplers = "xtc;temp;dry";
    assert_describes(
        &p,
        "xtc 0.5 above 0.1 -> temperature 0.8 +- 0.25, exponent 1 -> dry last -1, multiplier 0.8, base 1.75, "
        "allowed length 2, 4 breakers -> draw, seed 7");
}

static void callers_of_an_older_version_get_defaults(void **state)
{
    (void)state;
    quern_sampler_params p;
    memset(&p, 0xff, sizeof p);
    p.struct_bytes = offsetof(quern_sampler_params, temperature);
    p.seed = 3;
    assert_describes(&p, "top_k 40 -> top_p 0.95 -> min_p 0.05 -> temperature 0.8 -> draw, seed 3");
    quern_sampler *s = make(NULL);
    assert_true(quern_sampler_seed(s) != QUERN_SEED_RANDOM);
    quern_sampler_destroy(s);
    quern_sampler_destroy(NULL);
}

static void errors_name_the_parameter(void **state)
{
    (void)state;
    quern_sampler *s;
    quern_error err = {0};
    const quern_logit_bias bias = {N_VOCAB, 1.0f};
    quern_sampler_params p = quern_sampler_params_default();
    p.logit_bias = &bias;
    p.n_logit_bias = 1;
    assert_int_equal(quern_sampler_create(&s, model, &p, &err), QUERN_ERR_ARGUMENT);
    assert_string_equal(err.message, "logit_bias[0]: token 320 is not in the vocabulary (0 to 319)");
    assert_null(s);
    static const char *const breakers[] = {"", NULL, "12345678901234567890123456789012345678901"};
    for (size_t i = 0; i < 3; i++) {
        p = quern_sampler_params_default();
        p.dry_multiplier = 1.0f;
        p.dry_sequence_breakers = &breakers[i];
        p.n_dry_sequence_breakers = 1;
        assert_int_equal(quern_sampler_create(&s, model, &p, &err), QUERN_ERR_ARGUMENT);
        assert_non_null(strstr(err.message, "dry_sequence_breakers[0]"));
    }
    p.n_dry_sequence_breakers = 65;
    assert_int_equal(quern_sampler_create(&s, model, &p, &err), QUERN_ERR_ARGUMENT);
    p.n_dry_sequence_breakers = 0;
    quern_sampler_destroy(make(&p));
}

/* The token sequences that begin with `head`, in the order in which they were found. */
static const qn_dry_breaker *find(const qn_sequence_breakers *b, quern_token head)
{
    for (size_t i = 0; i < b->n_items; i++)
        if (b->items[i].tokens[0] == head) return &b->items[i];
    return NULL;
}

static quern_token token_of(const char *text)
{
    for (quern_token id = 0; id < N_VOCAB; id++) {
        const qn_string s = qn_vocab_token_text(model->vocab, id);
        if (s.n_bytes == strlen(text) && memcmp(s.bytes, text, s.n_bytes) == 0) return id;
    }
    fail_msg("no token '%s'", text);
    return -1;
}

static void breakers_are_found_within_and_across_tokens(void **state)
{
    (void)state;
    static const char *const texts[] = {"\n", "he"};
    qn_sequence_breakers b;
    assert_int_equal(qn_sequence_breakers_init(&b, model->vocab, texts, 2, NULL), QUERN_OK);
    static const char *const single[] = {"<0x0A>", "he", "\u2581the", "\u2581hello"};
    for (size_t i = 0; i < 4; i++) {
        const qn_dry_breaker *found = find(&b, token_of(single[i]));
        assert_non_null(found);
        assert_int_equal(found->n_tokens, 1);
    }
    static const char *const first_half[] = {"h", "th", "<0x68>"};
    for (size_t i = 0; i < 3; i++) { /* these end with an h: an e must follow */
        const qn_dry_breaker *found = find(&b, token_of(first_half[i]));
        assert_non_null(found);
        assert_int_equal(found->n_tokens, 2);
        assert_int_equal(found->tokens[1], token_of("e"));
    }
    assert_null(find(&b, token_of("e")));
    assert_null(find(&b, token_of("\u2581world")));
    qn_sequence_breakers_deinit(&b);
}

static void dry_breaks_at_the_text_given(void **state)
{
    (void)state;
    quern_sampler_params p = quern_sampler_params_default();
    p.temperature = 0.0f;
    p.dry_multiplier = 5.0f;
    const quern_token a = token_of("\u2581a"), the = token_of("\u2581the"), world = token_of("\u2581world");
    const quern_token plain[] = {a, the, world, a, the}, broken[] = {a, the, world, a, BYTE_0 + '\n', the};
    float logits[N_VOCAB];
    for (int i = 0; i < 2; i++) {
        quern_sampler *s = make(&p);
        for (size_t j = 0; j < (i == 0 ? 5 : 6); j++) quern_sampler_accept(s, i == 0 ? plain[j] : broken[j]);
        for (size_t j = 0; j < N_VOCAB; j++)
            logits[j] = (quern_token)j == world ? 2.0f : (quern_token)j == a ? 1.0f : 0.0f;
        assert_int_equal(quern_sampler_sample(s, logits), i == 0 ? a : world);
        quern_sampler_reset(s);
        for (size_t j = 0; j < N_VOCAB; j++) logits[j] = (quern_token)j == world;
        assert_int_equal(quern_sampler_sample(s, logits), world);
        quern_sampler_destroy(s);
    }
}

static void creation_survives_each_failing_allocation(void **state)
{
    (void)state;
    quern_sampler_params p = quern_sampler_params_default();
    static const char *const texts[] = {"\n", "hello world"};
    p.dry_multiplier = 1.0f;
    p.repeat_penalty = 1.1f;
    p.dry_sequence_breakers = texts;
    p.n_dry_sequence_breakers = 2;
    const long before = qn_alloc_live();
    for (long k = 0;; k++) {
        quern_sampler *s = NULL;
        quern_error err = {0};
        qn_alloc_fail_at(k);
        const quern_status status = quern_sampler_create(&s, model, &p, &err);
        qn_alloc_fail_at(-1);
        if (status == QUERN_OK) {
            assert_true(k > 15);
            quern_sampler_destroy(s);
            break;
        }
        assert_int_equal(status, QUERN_ERR_NOMEM);
        assert_null(s);
        assert_int_equal(qn_alloc_live(), before);
    }
    assert_int_equal(qn_alloc_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_can_be_read),
        cmocka_unit_test(callers_of_an_older_version_get_defaults),
        cmocka_unit_test(errors_name_the_parameter),
        cmocka_unit_test(breakers_are_found_within_and_across_tokens),
        cmocka_unit_test(dry_breaks_at_the_text_given),
        cmocka_unit_test(creation_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
