/* router_prompt.c: see router_prompt.h. The template is rendered once, around a mark; what stands before and
 * behind the mark becomes tokens once, so that the beginning is the same for every text. */
#include "engine/router_prompt.h"

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "chat/json_text.h"

#include <string.h>

static const char mark[] = "(the text of the request stands here)";

/* ---- the question ------------------------------------------------------------------------------- */

static void write_question(qn_buffer *out, const char *const *descriptions, size_t n_descriptions)
{
    qn_buffer_puts(
        out, "To which of these does the request below belong? Answer with one letter and nothing else.\n");
    for (size_t i = 0; i < n_descriptions; i++)
        qn_buffer_printf(out, "%c: %s\n", (char)('A' + i), descriptions[i]);
    qn_buffer_printf(out, "\nRequest:\n%s", mark);
}

/* The conversation as JSON with that one message. */
static void write_messages(qn_buffer *out, const qn_buffer *question)
{
    qn_buffer_puts(out, "[{\"role\":\"user\",\"content\":\"");
    qn_json_escape(out, question->data, question->n_bytes);
    qn_buffer_puts(out, "\"}]");
}

static quern_status render(const quern_model *model, const char *const *descriptions, size_t n_descriptions,
                           char **text, quern_error *err)
{
    qn_buffer question = {0}, messages = {0};
    *text = NULL;
    write_question(&question, descriptions, n_descriptions);
    if (!question.failed) write_messages(&messages, &question);
    const quern_status s =
        question.failed || messages.failed
            ? qn_fail(err, QUERN_ERR_NOMEM, "router: no memory")
            : quern_chat_render(model, messages.data, "{\"fallback\": true, \"enable_thinking\": false}",
                                text, err);
    qn_buffer_deinit(&question), qn_buffer_deinit(&messages);
    return s;
}

/* ---- letters ------------------------------------------------------------------------------------ */

/* The token that `letter` becomes behind the end of the prompt; -1: it is not one of its own. */
static quern_token token_of(const qn_router_prompt *p, const char *end, const char *letter, quern_error *err)
{
    qn_buffer text = {0};
    quern_token *tokens = NULL, token = -1;
    size_t n_tokens;
    qn_buffer_puts(&text, end), qn_buffer_puts(&text, letter);
    if (!text.failed && quern_tokenize(p->model, text.data, text.n_bytes, QUERN_TOKENIZE_PARSE_SPECIAL,
                                       &tokens, &n_tokens, err) == QUERN_OK) {
        if (n_tokens == p->n_behind + 1 && memcmp(tokens, p->behind, p->n_behind * sizeof *tokens) == 0)
            token = tokens[p->n_behind];
        quern_free(tokens);
    }
    qn_buffer_deinit(&text);
    return token;
}

/* Both forms of a letter; where there is one it counts twice, for all letters alike. */
static quern_status find_letters(qn_router_prompt *p, const char *end, quern_error *err)
{
    bool has_form[QN_LETTER_FORMS] = {true, true};
    for (size_t i = 0; i < p->n_choices; i++)
        for (size_t form = 0; form < QN_LETTER_FORMS; form++) {
            const char letter[] = {form == 0 ? (char)('A' + i) : ' ', form == 0 ? '\0' : (char)('A' + i),
                                   '\0'};
            p->letters[i * QN_LETTER_FORMS + form] = token_of(p, end, letter, err);
            has_form[form] &= p->letters[i * QN_LETTER_FORMS + form] >= 0;
        }
    if (!has_form[0] && !has_form[1])
        return qn_fail(err, QUERN_ERR_UNSUPPORTED, "%s: the vocabulary has no tokens for single letters",
                       p->model->path);
    for (size_t i = 0; i < p->n_choices; i++)
        for (size_t form = 0; form < QN_LETTER_FORMS; form++)
            if (!has_form[form])
                p->letters[i * QN_LETTER_FORMS + form] = p->letters[i * QN_LETTER_FORMS + 1 - form];
    return QUERN_OK;
}

/* ---- life --------------------------------------------------------------------------------------- */

static quern_status cut_at_mark(qn_router_prompt *p, char *text, quern_error *err)
{
    char *at = strstr(text, mark);
    if (at == NULL)
        return qn_fail(err, QUERN_ERR_UNSUPPORTED, "%s: the chat template does not show what is asked",
                       p->model->path);
    const char *end = at + sizeof mark - 1;
    quern_status s = quern_tokenize(p->model, text, (size_t)(at - text), QUERN_TOKENIZE_PARSE_SPECIAL,
                                    &p->before, &p->n_before, err);
    if (s == QUERN_OK)
        s = quern_tokenize(p->model, end, strlen(end), QUERN_TOKENIZE_PARSE_SPECIAL, &p->behind, &p->n_behind,
                           err);
    return s == QUERN_OK ? find_letters(p, end, err) : s;
}

quern_status qn_router_prompt_init(qn_router_prompt *p, const quern_model *model,
                                   const char *const *descriptions, size_t n_descriptions, quern_error *err)
{
    char *text;
    *p = (qn_router_prompt){.model = model, .n_choices = n_descriptions};
    quern_status s = render(model, descriptions, n_descriptions, &text, err);
    if (s == QUERN_OK) s = cut_at_mark(p, text, err);
    quern_free(text);
    if (s != QUERN_OK) qn_router_prompt_deinit(p);
    return s;
}

void qn_router_prompt_deinit(qn_router_prompt *p)
{
    quern_free(p->before);
    quern_free(p->behind);
    *p = (qn_router_prompt){0};
}

/* ---- a text ------------------------------------------------------------------------------------- */

static bool is_inside_character(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* Two thirds from the beginning and one from the end, by whole characters. */
static void shorten(qn_buffer *out, const char *text, size_t n_bytes, size_t max_bytes)
{
    size_t begin = n_bytes, end = n_bytes;
    if (n_bytes > max_bytes) {
        begin = max_bytes - max_bytes / 3, end = n_bytes - max_bytes / 3;
        while (begin > 0 && is_inside_character(text[begin])) begin--;
        while (end < n_bytes && is_inside_character(text[end])) end++;
    }
    qn_buffer_append(out, text, begin);
    if (begin < n_bytes) qn_buffer_puts(out, "\n...\n");
    qn_buffer_append(out, text + end, n_bytes - end);
}

static quern_status join(const qn_router_prompt *p, const quern_token *middle, size_t n_middle,
                         quern_token **tokens, size_t *n_tokens, quern_error *err)
{
    size_t n, n_bytes;
    const bool ok = qn_add_size(p->n_before, n_middle, &n) && qn_add_size(n, p->n_behind, &n) &&
                    qn_mul_size(n, sizeof **tokens, &n_bytes);
    *tokens = ok ? qn_malloc(n_bytes) : NULL;
    if (*tokens == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "router: no memory");
    if (p->n_before > 0) memcpy(*tokens, p->before, p->n_before * sizeof **tokens);
    if (n_middle > 0) memcpy(*tokens + p->n_before, middle, n_middle * sizeof **tokens);
    if (p->n_behind > 0) memcpy(*tokens + p->n_before + n_middle, p->behind, p->n_behind * sizeof **tokens);
    *n_tokens = n;
    return QUERN_OK;
}

quern_status qn_router_prompt_fill(const qn_router_prompt *p, const char *text, size_t n_bytes,
                                   size_t max_bytes, quern_token **tokens, size_t *n_tokens, quern_error *err)
{
    qn_buffer shown = {0};
    quern_token *middle = NULL;
    size_t n_middle = 0;
    shorten(&shown, text, n_bytes, max_bytes);
    quern_status s = shown.failed ? qn_fail(err, QUERN_ERR_NOMEM, "router: no memory") : QUERN_OK;
    if (s == QUERN_OK && shown.n_bytes > 0)
        s = quern_tokenize(p->model, shown.data, shown.n_bytes, 0, &middle, &n_middle, err);
    if (s == QUERN_OK) s = join(p, middle, n_middle, tokens, n_tokens, err);
    quern_free(middle);
    qn_buffer_deinit(&shown);
    return s;
}
