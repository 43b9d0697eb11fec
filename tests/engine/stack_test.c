/* stack_test.c: a thread with as little stack as the public header asks for can do everything with a model.
 */
#include "support/cmocka_all.h"
#include "support/tiny_model.h"

#include "quern.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK_BYTES = 8 * 512 * 1024 }; /* with what these builds put around every variable */
#else
enum { STACK_BYTES = 512 * 1024 };
#endif
enum { N_TOKENS = 300 }; /* more than any kernel takes at once */

static char model_path[] = "/tmp/quern_stack_XXXXXX";

static void decode(const quern_model *model)
{
    quern_context_params params = quern_context_params_default();
    params.n_ctx = 512, params.n_threads = 2, params.n_batch = 512;
    quern_context *ctx;
    quern_error err = {0};
    if (quern_context_create(&ctx, model, &params, &err) != QUERN_OK) fail_msg("%s", err.message);
    quern_token tokens[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++) tokens[i] = 3 + i % 250;
    const quern_input prompt = {0, tokens, N_TOKENS, QUERN_LOGITS_LAST},
                      next = {0, tokens, 1, QUERN_LOGITS_LAST};
    assert_int_equal(quern_decode(ctx, &prompt, 1, &err), QUERN_OK);
    assert_int_equal(quern_decode(ctx, &next, 1, &err), QUERN_OK);
    quern_context_destroy(ctx);
}

static void *open_and_decode(void *unused)
{
    (void)unused;
    static const tiny_model models[] = {{.arch = "gemma3", .type = QN_TYPE_Q4_K},
                                        {.arch = "llama", .type = QN_TYPE_Q4_1},
                                        {.arch = "llama", .type = QN_TYPE_F16},
                                        {.arch = "llama", .type = QN_TYPE_IQ3_S},
                                        {.arch = "qwen3moe", .type = QN_TYPE_Q6_K, .n_expert = 6}};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        quern_model *model;
        quern_error err = {0};
        assert_true(tiny_model_write(model_path, &models[i]));
        if (quern_model_open(&model, model_path, NULL, &err) != QUERN_OK) fail_msg("%s", err.message);
        decode(model);
        quern_model_close(model);
    }
    return NULL;
}

static void a_small_stack_is_enough(void **state)
{
    (void)state;
    pthread_attr_t attributes;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &attributes, open_and_decode, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_small_stack_is_enough)};
    const int fd = mkstemp(model_path);
    if (fd >= 0) close(fd);
    const int result = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(model_path);
    return result;
}
