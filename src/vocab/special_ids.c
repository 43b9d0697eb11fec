/* special_ids.c: which tokens begin and end texts, end a generation, or frame code that is to be filled in;
 * and which swallow the white space beside them.
 *
 * Files name some of these by their ids. The others are known by their texts, those that published models
 * use. */
#include "vocab/vocab_private.h"

#include <string.h>

/* ---- ids that files name ----------------------------------------------------------------------- */

quern_status qn_vocab_read_special_id(const qn_vocab *v, const qn_gguf *g, const char *key, quern_token *id,
                                      const qn_log *log, quern_error *err)
{
    const qn_gguf_value *value = qn_gguf_find(g, key);
    if (value == NULL) return QUERN_OK;
    if (!qn_gguf_kind_is_integer(value->kind))
        return qn_fail(err, QUERN_ERR_FORMAT, "%s: must be an integer, is %s", key,
                       qn_gguf_kind_name(value->kind));
    const int64_t n = qn_gguf_element_int(value, 0);
    if (n >= 0 && (uint64_t)n < v->n_tokens) {
        *id = (quern_token)n;
        return QUERN_OK;
    }
    qn_log_write(log, QUERN_LOG_WARN, "%s: %lld is not a token (there are %zu); ignored", key, (long long)n,
                 v->n_tokens);
    return QUERN_OK;
}

/* What frames code to be filled in, by its keys (the newer one counts) and by its texts. */
static const struct {
    const char *key, *older_key;
    const char *texts[8]; /* of the first that is there; ends with NULL, if shorter */
} infill_tokens[QN_INFILL_TOKENS] = {
    [QN_INFILL_PREFIX] = {"tokenizer.ggml.fim_pre_token_id",
                          "tokenizer.ggml.prefix_token_id",
                          {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>",
                           "▁<PRE>", "<|code_prefix|>", "<|prefix|>"}},
    [QN_INFILL_SUFFIX] = {"tokenizer.ggml.fim_suf_token_id",
                          "tokenizer.ggml.suffix_token_id",
                          {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>",
                           "▁<SUF>", "<|code_suffix|>", "<|suffix|>"}},
    [QN_INFILL_MIDDLE] = {"tokenizer.ggml.fim_mid_token_id",
                          "tokenizer.ggml.middle_token_id",
                          {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>",
                           "▁<MID>", "<|code_middle|>", "<|middle|>"}},
    [QN_INFILL_PAD] = {"tokenizer.ggml.fim_pad_token_id",
                       NULL,
                       {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>"}},
    [QN_INFILL_REPOSITORY] = {"tokenizer.ggml.fim_rep_token_id",
                              NULL,
                              {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    [QN_INFILL_FILE] = {"tokenizer.ggml.fim_sep_token_id", NULL, {"<|file_sep|>"}},
};

static quern_status read_ids(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    qn_vocab_special *sp = &v->special;
    const struct {
        const char *key;
        quern_token *id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", &sp->bos},       {"tokenizer.ggml.eos_token_id", &sp->eos},
        {"tokenizer.ggml.eot_token_id", &sp->eot},       {"tokenizer.ggml.unknown_token_id", &sp->unk},
        {"tokenizer.ggml.seperator_token_id", &sp->sep}, {"tokenizer.ggml.padding_token_id", &sp->pad},
        {"tokenizer.ggml.mask_token_id", &sp->mask},
    };
    quern_status s = QUERN_OK;
    for (size_t i = 0; s == QUERN_OK && i < sizeof ids / sizeof *ids; i++)
        s = qn_vocab_read_special_id(v, g, ids[i].key, ids[i].id, log, err);
    for (size_t i = 0; s == QUERN_OK && i < QN_INFILL_TOKENS; i++) {
        if (infill_tokens[i].older_key != NULL)
            s = qn_vocab_read_special_id(v, g, infill_tokens[i].older_key, &sp->infill[i], log, err);
        if (s == QUERN_OK) s = qn_vocab_read_special_id(v, g, infill_tokens[i].key, &sp->infill[i], log, err);
    }
    return s;
}

static quern_status read_rules(qn_vocab *v, const qn_gguf *g, quern_error *err)
{
    qn_vocab_special *sp = &v->special;
    quern_status s = qn_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", false, &sp->add_bos, err);
    if (s == QUERN_OK) s = qn_gguf_get_bool(g, "tokenizer.ggml.add_eos_token", false, &sp->add_eos, err);
    if (s == QUERN_OK && sp->add_space_prefix) /* where the kind has such a blank at all */
        s = qn_gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", false, &sp->add_space_prefix, err);
    return s;
}

/* ---- texts that are known ---------------------------------------------------------------------- */

/* Texts that models were trained to end their turn with; the first present one is EOT where the file
 * names none. Files often fail to mark them, or call them user-defined; as control tokens they cannot
 * be forged by the text of a message. */
static const char *const turn_ends[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<end_of_turn>",
    "<turn|>",
    "<|end|>",
    "<|eot|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "<|endoftext|>",
    "<|end_of_text|>",
};

/* Texts that end a generation otherwise: calls of tools, the end of a text. */
static const char *const other_ends[] = {
    "<|return|>",       "<|call|>", "<|flush|>", "<|calls|>", "<|eom_id|>",
    "<|tool_response>", "<eos>",    "[EOS]",     "[e~[",      "<start_function_response>",
};

static int64_t find_text(const qn_vocab *v, const char *text)
{
    return qn_hash_map_get(&v->index, text, strlen(text));
}

static int64_t mark_end(qn_vocab *v, const char *text)
{
    const int64_t id = find_text(v, text);
    if (id == QN_HASH_NONE) return id;
    v->kinds[id] = QN_TOKEN_CONTROL;
    v->flags[id] |= QN_TOKEN_ENDS;
    return id;
}

/* Where a file does not name them, the first of the texts that is there has the role; all of them are control
 * tokens. Nothing is filled in after padding, the next repository or the next file. */
static void mark_infill(qn_vocab *v)
{
    for (size_t i = 0; i < QN_INFILL_TOKENS; i++) {
        quern_token *id = &v->special.infill[i];
        for (size_t k = 0; k < 8 && infill_tokens[i].texts[k] != NULL; k++) {
            const int64_t found = find_text(v, infill_tokens[i].texts[k]);
            if (found == QN_HASH_NONE) continue;
            v->kinds[found] = QN_TOKEN_CONTROL;
            if (i >= QN_INFILL_PAD) v->flags[found] |= QN_TOKEN_ENDS;
            if (*id < 0) *id = (quern_token)found;
        }
        if (*id >= 0 && i >= QN_INFILL_PAD) v->flags[*id] |= QN_TOKEN_ENDS;
    }
}

static void mark_known_texts(qn_vocab *v)
{
    for (size_t i = 0; i < sizeof turn_ends / sizeof *turn_ends; i++) {
        const int64_t id = mark_end(v, turn_ends[i]);
        if (id != QN_HASH_NONE && v->special.eot < 0) v->special.eot = (quern_token)id;
    }
    for (size_t i = 0; i < sizeof other_ends / sizeof *other_ends; i++) mark_end(v, other_ends[i]);
    mark_infill(v);
    /* Old SentencePiece's EOS; but in gemma-4's vocabulary an HTML tag like others. */
    const int64_t old_eos = find_text(v, "</s>");
    if (old_eos != QN_HASH_NONE && v->kind != &qn_vocab_kind_bpe_raw) v->kinds[old_eos] = QN_TOKEN_CONTROL;
    if (v->special.eos >= 0) v->flags[v->special.eos] |= QN_TOKEN_ENDS;
    if (v->special.eot >= 0) v->flags[v->special.eot] |= QN_TOKEN_ENDS;
    /* In OpenAI's harmony format, and Solar's, <|end|> ends a message, and the turn goes on until one of
     * these. */
    const int64_t end = find_text(v, "<|end|>");
    const bool is_harmony =
        find_text(v, "<|return|>") != QN_HASH_NONE && find_text(v, "<|call|>") != QN_HASH_NONE;
    const bool is_solar =
        find_text(v, "<|flush|>") != QN_HASH_NONE && find_text(v, "<|calls|>") != QN_HASH_NONE;
    if (end != QN_HASH_NONE && (is_harmony || is_solar)) v->flags[end] &= (uint8_t)~QN_TOKEN_ENDS;
}

/* ---- white space beside tokens ----------------------------------------------------------------- */

/* Which added tokens were published with lstrip or rstrip is not in the files; their names tell. */
typedef struct strip_rule {
    const char *key;    /* whose value */
    const char *part;   /* contains this, in small letters */
    const char *token;  /* NULL: all special ones */
    const char *but[3]; /* except these */
    uint8_t flag;
} strip_rule;

static const strip_rule strip_rules[] = {
    {"general.name", "phi-3", NULL, {"<unk>", "<s>", "<|endoftext|>"}, QN_TOKEN_STRIPS_AFTER},
    {"general.name", "phi3", NULL, {"<unk>", "<s>", "<|endoftext|>"}, QN_TOKEN_STRIPS_AFTER},
    {"general.name", "modern-bert", "[MASK]", {NULL}, QN_TOKEN_STRIPS_BEFORE},
    {"tokenizer.ggml.pre", "jina-v2-de", "<mask>", {NULL}, QN_TOKEN_STRIPS_BEFORE},
    {"tokenizer.ggml.pre", "jina-v2-es", "<mask>", {NULL}, QN_TOKEN_STRIPS_BEFORE},
    {"tokenizer.ggml.pre", "jina-v2-code", "<mask>", {NULL}, QN_TOKEN_STRIPS_BEFORE},
    {"general.architecture", "nomic-bert-moe", "<mask>", {NULL}, QN_TOKEN_STRIPS_BEFORE},
    {"general.architecture", "jina-bert-v3", "<mask>", {NULL}, QN_TOKEN_STRIPS_BEFORE},
};

static char to_small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool contains(qn_string text, const char *part)
{
    const size_t n = strlen(part);
    for (size_t i = 0; i + n <= text.n_bytes; i++) {
        size_t k = 0;
        while (k < n && to_small(text.bytes[i + k]) == part[k]) k++;
        if (k == n) return true;
    }
    return false;
}

static void mark_all_special(qn_vocab *v, const strip_rule *rule)
{
    for (size_t i = 0; i < v->n_tokens; i++) {
        const uint8_t kind = v->kinds[i];
        if (kind != QN_TOKEN_CONTROL && kind != QN_TOKEN_USER_DEFINED && kind != QN_TOKEN_UNKNOWN) continue;
        bool is_excepted = false;
        for (size_t k = 0; k < 3 && rule->but[k] != NULL; k++)
            is_excepted |= qn_string_is(v->tokens[i], rule->but[k]);
        if (!is_excepted) v->flags[i] |= rule->flag;
    }
}

static quern_status mark_stripping(qn_vocab *v, const qn_gguf *g, quern_error *err)
{
    quern_status s = QUERN_OK;
    for (size_t i = 0; s == QUERN_OK && i < sizeof strip_rules / sizeof *strip_rules; i++) {
        const strip_rule *rule = &strip_rules[i];
        qn_string value = {NULL, 0};
        s = qn_gguf_get_string(g, rule->key, false, &value, err);
        if (s != QUERN_OK || !contains(value, rule->part)) continue;
        const int64_t id = rule->token != NULL ? find_text(v, rule->token) : QN_HASH_NONE;
        if (rule->token == NULL) mark_all_special(v, rule);
        else if (id != QN_HASH_NONE) v->flags[id] |= rule->flag;
    }
    return s;
}

quern_status qn_vocab_read_special(qn_vocab *v, const qn_gguf *g, const qn_log *log, quern_error *err)
{
    quern_status s = read_ids(v, g, log, err);
    if (s == QUERN_OK) s = read_rules(v, g, err);
    if (s == QUERN_OK) mark_known_texts(v);
    return s == QUERN_OK ? mark_stripping(v, g, err) : s;
}
