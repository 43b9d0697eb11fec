/* mask_fuzz.c: any bytes as a grammar in GBNF; the masks along a way through its language, beside each token
 * of a small vocabulary followed by itself; then the shortest end. */
#include "grammar_walk.h"

#include "base/alloc.h"
#include "gguf/writer.h"
#include "grammar/gbnf.h"
#include "grammar/matcher.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_STEPS = 12, MAX_CLOSING = 64 };

static const char *const words[] = {
    "a",   "b",    "ab",   "aaa",      "the",       "then",     "\"",
    "\",", "\":",  "{\"",  "}",        "]}",        "\n",       "  ",
    "1",   "12",   "0.",   "\xc3\xa9", "\xc3\xa9x", "abcdefgh", "abcdefghij klmnopqr",
    "a b", "true", "null", "\\n",      "<s>"};
enum { N_WORDS = sizeof words / sizeof *words, N = 3 + 256 + N_WORDS, END = 2 };

typedef struct vocabulary {
    qn_gguf gguf;
    char *bytes;
    qn_vocab *vocab;
    qn_token_table table;
} vocabulary;

static void open_vocabulary(vocabulary *v)
{
    static char texts[256][8];
    qn_string tokens[N] = {{"<unk>", 5}, {"<s>", 3}, {"</s>", 4}};
    int32_t types[N] = {QN_TOKEN_UNKNOWN, QN_TOKEN_CONTROL, QN_TOKEN_CONTROL};
    float scores[N] = {0};
    for (size_t i = 0; i < 256; i++) {
        tokens[3 + i] =
            (qn_string){texts[i], (size_t)snprintf(texts[i], sizeof texts[i], "<0x%02X>", (unsigned)i)};
        types[3 + i] = QN_TOKEN_BYTE;
    }
    for (size_t i = 0; i < N_WORDS; i++) {
        tokens[259 + i] = (qn_string){words[i], strlen(words[i])};
        types[259 + i] = QN_TOKEN_NORMAL;
    }
    qn_gguf_writer *w;
    size_t n_bytes;
    walk_require(qn_gguf_writer_create(&w, NULL) == QUERN_OK, "writer");
    qn_gguf_writer_set_string(w, "tokenizer.ggml.model", "llama");
    qn_gguf_writer_set_array(w, "tokenizer.ggml.scores", QN_GGUF_F32, scores, N);
    qn_gguf_writer_set_strings(w, "tokenizer.ggml.tokens", tokens, N);
    qn_gguf_writer_set_array(w, "tokenizer.ggml.token_type", QN_GGUF_I32, types, N);
    qn_gguf_writer_set_u32(w, "tokenizer.ggml.eos_token_id", END);
    walk_require(qn_gguf_writer_to_memory(w, &v->bytes, &n_bytes, NULL) == QUERN_OK, "writing");
    qn_gguf_writer_destroy(w);
    walk_require(qn_gguf_parse(&v->gguf, v->bytes, n_bytes, NULL) == QUERN_OK, "reading what was written");
    walk_require(qn_vocab_open(&v->vocab, &v->gguf, NULL, NULL) == QUERN_OK, "the vocabulary is refused");
    walk_require(qn_token_table_init(&v->table, v->vocab, NULL) == QUERN_OK, "the tokens are refused");
}

/* Whether a token goes on from a place, by its bytes alone. */
static bool follows(qn_automaton *a, qn_place at, const qn_token_table *t, quern_token token)
{
    if (token == END) return qn_automaton_accepts(a, at);
    for (uint32_t i = t->begins[token]; i < t->begins[token + 1]; i++)
        at = qn_automaton_step(a, at, (uint8_t)t->bytes[i]);
    return t->begins[token + 1] > t->begins[token] && at != QN_PLACE_DEAD;
}

/* Compares; returns the token that the choice takes of those allowed, or -1. */
static quern_token compare(const qn_token_mask *mask, qn_automaton *a, qn_place at, const qn_token_table *t,
                           unsigned choice)
{
    quern_token chosen = -1;
    size_t left = 0;
    for (quern_token token = 0; token < N; token++) left += mask->bits[token / 64] >> token % 64 & 1;
    walk_require(mask->is_empty == (left == 0) && (mask->only >= 0) == (left == 1),
                 "the mask is counted wrong");
    left = left > 0 ? choice % left : 0;
    for (quern_token token = 0; token < N; token++) {
        const bool allowed = mask->bits[token / 64] >> token % 64 & 1;
        const bool wanted = follows(a, at, t, token);
        if (qn_automaton_status(a, NULL) != QUERN_OK) return -1;
        walk_require(allowed == wanted,
                     allowed ? "a token is allowed that cannot come" : "a token is missing");
        if (allowed && chosen < 0 && left-- == 0) chosen = token;
    }
    return chosen;
}

static void check_end(qn_matcher *m)
{
    if (!qn_matcher_can_end(m, MAX_CLOSING)) return;
    for (size_t left = MAX_CLOSING; !qn_matcher_may_end(m); left--) {
        walk_require(left > 0, "the end takes more tokens than it was said to");
        const bool is_allowed = qn_matcher_accept(m, qn_matcher_closing_token(m));
        if (qn_matcher_status(m, NULL) != QUERN_OK) return; /* too ambiguous to be followed so far */
        walk_require(is_allowed, "the end is not allowed");
    }
}

static void check(const qn_network *network, const walk_input *in, const qn_token_table *table)
{
    qn_matcher *m = NULL;
    qn_automaton *a = NULL;
    if (qn_matcher_create(&m, network, table, NULL) == QUERN_OK &&
        qn_automaton_create(&a, network, NULL) == QUERN_OK) {
        qn_place at = qn_automaton_begin(a);
        for (size_t i = 0; i < MAX_STEPS && i <= in->n_choices; i++) {
            qn_automaton_tidy(a, &at);
            const qn_token_mask *mask = qn_matcher_mask(m);
            const quern_token token =
                mask != NULL ? compare(mask, a, at, table, i < in->n_choices ? in->choices[i] : 0u) : -1;
            if (token < 0 || token == END) break;
            walk_require(qn_matcher_accept(m, token), "a token of the mask is refused");
            for (uint32_t k = table->begins[token]; k < table->begins[token + 1]; k++)
                at = qn_automaton_step(a, at, (uint8_t)table->bytes[k]);
        }
        if (qn_matcher_status(m, NULL) == QUERN_OK) check_end(m);
    }
    qn_automaton_destroy(a);
    qn_matcher_destroy(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static vocabulary v; /* kept for the life of the process */
    qn_network network;
    if (v.vocab == NULL) open_vocabulary(&v);
    const long live = qn_alloc_live();
    const walk_input in = walk_split(data, size);
    if (qn_gbnf_build(&network, in.source, in.n_source, NULL) != QUERN_OK) return 0;
    check(&network, &in, &v.table);
    qn_network_deinit(&network);
    walk_require(qn_alloc_live() == live, "memory is left behind");
    return 0;
}
