/* complete.c: the whole interface in one small program: continues a text.
 *
 *     cc complete.c -o complete $(pkg-config --cflags --libs quern)
 *     ./complete model.gguf "The quern is"
 */
#include <quern.h>
#include <stdio.h>
#include <string.h>

/* Everything that can fail ends here: one line says what failed, why, and what to do. */
static int fail(const quern_error *err)
{
    fprintf(stderr, "complete: %s\n", err->message);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: complete MODEL.gguf TEXT\n");
        return 2;
    }
    quern_error err;
    quern_model *model = NULL;
    quern_context *context = NULL;
    quern_sampler *sampler = NULL;
    quern_text_stream *stream = NULL;
    quern_token *tokens = NULL, next = 0;
    size_t n_tokens = 0, n_bytes;

    quern_status s = quern_model_open(&model, argv[1], NULL, &err);
    if (s == QUERN_OK) s = quern_context_create(&context, model, NULL, &err);
    if (s == QUERN_OK) s = quern_sampler_create(&sampler, model, NULL, &err);
    if (s == QUERN_OK) s = quern_text_stream_create(&stream, model, false, &err);
    if (s == QUERN_OK)
        s = quern_tokenize(model, argv[2], strlen(argv[2]), QUERN_TOKENIZE_ADD_SPECIAL, &tokens, &n_tokens,
                           &err);

    quern_input input = {.tokens = tokens, .n_tokens = n_tokens, .logits = QUERN_LOGITS_LAST};
    for (int i = 0; s == QUERN_OK && i < 64; i++) {
        s = quern_decode(context, &input, 1, &err);
        if (s != QUERN_OK) break;
        next = quern_sampler_sample(sampler, quern_logits(context, 0));
        if (quern_token_is_end(model, next)) break;
        quern_sampler_accept(sampler, next);
        fputs(quern_text_stream_push(stream, next, &n_bytes), stdout);
        fflush(stdout);
        input.tokens = &next; /* from here on one token at a time */
        input.n_tokens = 1;
    }
    if (s == QUERN_OK) puts(quern_text_stream_finish(stream, &n_bytes));

    quern_free(tokens);
    quern_text_stream_destroy(stream);
    quern_sampler_destroy(sampler);
    quern_context_destroy(context);
    quern_model_close(model);
    return s == QUERN_OK ? 0 : fail(&err);
}
