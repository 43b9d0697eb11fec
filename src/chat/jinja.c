/* jinja.c: parsing and rendering as a whole; see jinja.h. The files in reading order: lexer.c,
 * parser.c, statements.c (source to tree); value.c, text.c, print.c, format.c, operate.c (values);
 * evaluate.c, execute.c (tree to text); filters_*.c, tests.c, methods*.c, globals.c (what is built in).
 *
 * Numbers are read and printed in the C locale, whatever the program around has set. */
#include "chat/jinja.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/utf8.h"
#include "chat/ast.h"

#include <locale.h>
#include <string.h>

typedef struct c_locale {
    locale_t c, before;
} c_locale;

static c_locale enter_c_locale(void)
{
    c_locale l = {.c = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
    if (l.c != (locale_t)0) l.before = uselocale(l.c);
    return l;
}

static void leave_c_locale(c_locale l)
{
    if (l.c == (locale_t)0) return;
    uselocale(l.before);
    freelocale(l.c);
}

/* Line ends become \n, and the last one goes, as in Jinja. */
static char *normalize(qn_jinja *t, const char *source, size_t n_bytes, size_t *out_bytes)
{
    char *copy = qn_jchunk_alloc(&t->chunks, &t->chunk_bytes, n_bytes + 1);
    size_t n = 0;
    if (copy == NULL) return NULL;
    for (size_t i = 0; i < n_bytes; i++) {
        if (source[i] == '\r' && i + 1 < n_bytes && source[i + 1] == '\n') continue;
        copy[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n > 0 && copy[n - 1] == '\n') n--;
    *out_bytes = n;
    return copy;
}

static quern_status parse_source(qn_jinja *t, const char *source, size_t n_bytes, quern_error *err)
{
    size_t length;
    const char *text = normalize(t, source, n_bytes, &length);
    if (text == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "template: out of memory");
    qn_jparser p = {
        .tmpl = t,
        .lexer = {.tmpl = t, .source = text, .n_bytes = length, .line = 1, .line_start = true, .err = err}};
    if (qn_jparse_symbol(&p, "loop", 4, &t->symbol_loop) &&
        qn_jparse_symbol(&p, "caller", 6, &t->symbol_caller) &&
        qn_jparse_symbol(&p, "varargs", 7, &t->symbol_varargs) &&
        qn_jparse_symbol(&p, "kwargs", 6, &t->symbol_kwargs))
        t->body = qn_jparse_template(&p);
    return p.lexer.status;
}

quern_status qn_jinja_parse(qn_jinja **out, const char *source, size_t n_bytes, quern_error *err)
{
    *out = NULL;
    if (n_bytes > QN_J_MAX_SOURCE_BYTES)
        return qn_fail(err, QUERN_ERR_LIMIT, "the template has %zu bytes, more than %d", n_bytes,
                       QN_J_MAX_SOURCE_BYTES);
    if (!qn_utf8_valid(source, n_bytes))
        return qn_fail(err, QUERN_ERR_TEMPLATE, "the template is not valid UTF-8");
    qn_jinja *t = qn_calloc(1, sizeof *t);
    if (t == NULL) return qn_fail(err, QUERN_ERR_NOMEM, "template: out of memory");
    const c_locale locale = enter_c_locale();
    const quern_status status = parse_source(t, source, n_bytes, err);
    leave_c_locale(locale);
    if (status != QUERN_OK) qn_jinja_destroy(t);
    else *out = t;
    return status;
}

void qn_jinja_destroy(qn_jinja *t)
{
    if (t == NULL) return;
    qn_hash_map_deinit(&t->symbol_index);
    qn_free(t->symbols);
    qn_jchunk_destroy(&t->chunks);
    qn_free(t);
}

static bool render_body(qn_jrender *r)
{
    r->context = qn_jalloc(r, r->tmpl->n_symbols * sizeof *r->context);
    if (r->context == NULL || !qn_jenv_enter(r, NULL)) return false;
    for (size_t i = 0; i < r->tmpl->n_symbols; i++) r->context[i] = qn_jmissing();
    return qn_jexecute(r, r->tmpl->body) != QN_FLOW_ERROR;
}

quern_status qn_jinja_render(const qn_jinja *t, const json_t *variables, int64_t now_unix,
                             const qn_jinja_limits *limits, qn_buffer *out, quern_error *err)
{
    enum { MAX_STEPS = 1000000, MAX_OUTPUT = 16 << 20 };
    static const uint64_t MAX_NS = 2000000000u;
    const qn_jinja_limits none = {0};
    if (limits == NULL) limits = &none;
    const uint64_t start = qn_clock_ns(), max_ns = limits->max_ns > 0 ? limits->max_ns : MAX_NS;
    qn_jrender r = {
        .tmpl = t,
        .variables = variables,
        .err = err,
        .max_steps = limits->max_steps > 0 ? limits->max_steps : MAX_STEPS,
        .max_output = limits->max_output_bytes > 0 ? limits->max_output_bytes : MAX_OUTPUT,
        .deadline_ns = start > UINT64_MAX - max_ns ? UINT64_MAX : start + max_ns,
        .now = now_unix,
        .hash_seed = qn_random_seed(),
    };
    qn_buffer text = {.max_bytes = r.max_output};
    r.out = &text;
    const c_locale locale = enter_c_locale();
    const bool ok = render_body(&r);
    leave_c_locale(locale);
    if (ok && text.n_bytes > 0 && !qn_buffer_append(out, text.data, text.n_bytes)) qn_jbuffer_failed(&r, out);
    qn_buffer_deinit(&text);
    qn_jchunks_destroy(&r);
    return r.status;
}
