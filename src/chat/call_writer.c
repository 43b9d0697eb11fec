/* call_writer.c: see call_writer.h. */
#include "chat/call_writer.h"

#include "grammar/search.h"
#include "grammar/token_table.h"

#include <string.h>

void qn_call_fail(qn_call_writer *w, quern_status status)
{
    if (w->status == QUERN_OK) w->status = status;
}

qn_expression qn_call_sequence(qn_call_writer *w)
{
    return qn_expression_group(&w->e, QN_EXPRESSION_SEQUENCE);
}

void qn_call_append(qn_call_writer *w, qn_expression group, qn_expression part)
{
    qn_expression_append(&w->e, group, part);
}

qn_expression qn_call_text(qn_call_writer *w, const char *bytes)
{
    return qn_expression_text(&w->e, bytes, strlen(bytes));
}

qn_expression qn_call_optional(qn_call_writer *w, qn_expression part)
{
    return qn_expression_repeat(&w->e, part, 0, 1);
}

qn_expression qn_call_any_text(qn_call_writer *w)
{
    return qn_expression_repeat(&w->e, qn_expression_any_character(&w->e), 0, QN_ANY_NUMBER);
}

/* The longest control token that the text begins with; empty if there is none. */
static qn_string control_at(const qn_call_writer *w, const char *at)
{
    qn_string longest = {0};
    for (size_t i = 0; i < w->n_controls; i++) {
        const qn_string c = w->controls[i];
        if (c.n_bytes > longest.n_bytes && strncmp(at, c.bytes, c.n_bytes) == 0) longest = c;
    }
    return longest;
}

/* Whether a token of that text ends the answer: it is no part of it then. */
static bool ends_answer(const qn_call_writer *w, const char *at)
{
    for (size_t i = 0; w->vocab != NULL && i < qn_vocab_size(w->vocab); i++) {
        const qn_string t = qn_vocab_token_text(w->vocab, (quern_token)i);
        if (t.n_bytes > 0 && *at == t.bytes[0] && strncmp(at, t.bytes, t.n_bytes) == 0 &&
            qn_vocab_is_end(w->vocab, (quern_token)i))
            return true;
    }
    return false;
}

void qn_call_spell(const qn_call_writer *w, const char *source, qn_buffer *out)
{
    for (const char *at = source; *at != '\0';) {
        const qn_string control = control_at(w, at);
        if (*at == '<' && ends_answer(w, at)) break;
        if (control.n_bytes > 0) qn_buffer_putc(out, QN_CONTROL_BYTE);
        const size_t n_bytes = control.n_bytes > 0 ? control.n_bytes : 1;
        qn_buffer_append(out, at, n_bytes);
        at += n_bytes;
    }
}

qn_expression qn_call_marker(qn_call_writer *w, const char *source)
{
    qn_buffer spelled = {0};
    qn_call_spell(w, source != NULL ? source : "", &spelled);
    if (spelled.failed) w->e.failed = w->e.no_memory = true;
    const qn_expression x =
        qn_expression_text(&w->e, spelled.data != NULL ? spelled.data : "", spelled.n_bytes);
    qn_buffer_deinit(&spelled);
    return x;
}

qn_expression qn_call_up_to(qn_call_writer *w, const char *source)
{
    const qn_string control = control_at(w, source);
    const qn_expression s = qn_call_sequence(w);
    const char *special = source;
    while (*special != '\0' && control_at(w, special).n_bytes == 0 &&
           !(*special == '<' && ends_answer(w, special)))
        special++;
    if (control.n_bytes > 0 || special == source) qn_call_append(w, s, qn_call_any_text(w));
    else qn_call_append(w, s, qn_search_up_to(&w->e, source, (size_t)(special - source)));
    qn_call_append(w, s, qn_call_marker(w, special));
    return s;
}

qn_expression qn_call_without(qn_call_writer *w, const char *source)
{
    return control_at(w, source).n_bytes > 0 ? qn_call_any_text(w)
                                             : qn_search_without(&w->e, source, strlen(source));
}
