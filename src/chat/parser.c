/* parser.c: the parser's tools, and expressions by recursive descent, weakest binding first:
 *
 *     x if y else z  >  or  >  and  >  not  >  comparisons, in, not in  >  + -  >  ~  >  * / // %
 *     >  **  >  unary - +  >  .name [item] (call)  >  |filter, is test
 *
 * Every way from a rule back to itself counts a level (an expression, a sign, a not; blocks and targets
 * in statements.c), and every node knows its height, so neither parsing nor evaluation can exhaust the
 * stack. */
#include "base/alloc.h"
#include "chat/ast.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool qn_jparse_fail(qn_jparser *p, const char *format, ...)
{
    char text[448];
    va_list args;
    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0) text[0] = '\0';
    va_end(args);
    return qn_jlex_fail(&p->lexer, p->token.line, "%s", text);
}

static bool no_memory(qn_jparser *p)
{
    p->lexer.status = qn_fail(p->lexer.err, QUERN_ERR_NOMEM, "template: out of memory");
    return false;
}

static bool too_large(qn_jparser *p, const char *what, int limit)
{
    p->lexer.status = qn_fail(p->lexer.err, QUERN_ERR_LIMIT, "line %u: %s %d", p->token.line, what, limit);
    return false;
}

bool qn_jparse_unexpected(qn_jparser *p, const char *wanted)
{
    const qn_jtoken *t = &p->token;
    const char op[3] = {(char)(t->op & 255), (char)(t->op >> 8), '\0'};
    switch (t->kind) {
    case QN_T_END:
        return qn_jparse_fail(p, "unexpected end of the template, expected %s", wanted);
    case QN_T_OUTPUT_END:
        return qn_jparse_fail(p, "unexpected '}}', expected %s", wanted);
    case QN_T_BLOCK_END:
        return qn_jparse_fail(p, "unexpected '%%}', expected %s", wanted);
    case QN_T_OP:
        return qn_jparse_fail(p, "unexpected '%s', expected %s", op, wanted);
    case QN_T_NAME:
        return qn_jparse_fail(p, "unexpected '%s', expected %s", qn_quote(t->bytes, t->n_bytes).text, wanted);
    default:
        return qn_jparse_fail(p, "unexpected literal or text, expected %s", wanted);
    }
}

bool qn_jparse_advance(qn_jparser *p)
{
    if (p->has_ahead) {
        p->token = p->ahead;
        p->has_ahead = false;
        return true;
    }
    return qn_jlex_next(&p->lexer, &p->token);
}

bool qn_jparse_peek(qn_jparser *p, const qn_jtoken **t)
{
    if (!p->has_ahead && !qn_jlex_next(&p->lexer, &p->ahead)) return false;
    p->has_ahead = true;
    *t = &p->ahead;
    return true;
}

bool qn_jparse_enter(qn_jparser *p)
{
    if (p->depth >= QN_J_MAX_PARSE_DEPTH)
        return too_large(p, "expressions or blocks nested deeper than", QN_J_MAX_PARSE_DEPTH);
    p->depth++;
    return true;
}

qn_jnode *qn_jnode_create(qn_jparser *p, qn_jnode_kind kind, uint32_t line)
{
    if (p->n_nodes >= QN_J_MAX_NODES) {
        too_large(p, "the template has more parts than", QN_J_MAX_NODES);
        return NULL;
    }
    p->n_nodes++;
    qn_jnode *n = qn_jchunk_alloc(&p->tmpl->chunks, &p->tmpl->chunk_bytes, sizeof *n);
    if (n == NULL) {
        no_memory(p);
        return NULL;
    }
    n->kind = (uint8_t)kind;
    n->line = line;
    return n;
}

static void raise_height(unsigned *height, const qn_jnode *child)
{
    if (child != NULL && child->height + 1u > *height) *height = child->height + 1u;
}

qn_jnode *qn_jnode_finish(qn_jparser *p, qn_jnode *n)
{
    unsigned height = 0;
    raise_height(&height, n->a);
    raise_height(&height, n->b);
    raise_height(&height, n->c);
    for (uint32_t i = 0; i < n->n_items; i++) raise_height(&height, n->items[i]);
    for (uint32_t i = 0; i < n->n_args; i++) raise_height(&height, n->args[i].node);
    if (height > 2 * QN_J_MAX_PARSE_DEPTH) {
        too_large(p, "expressions or blocks nested deeper than", 2 * QN_J_MAX_PARSE_DEPTH);
        return NULL;
    }
    n->height = (uint16_t)height;
    return n;
}

bool qn_jparse_symbol(qn_jparser *p, const char *bytes, size_t n_bytes, uint32_t *symbol)
{
    qn_jinja *t = p->tmpl;
    const int64_t known = qn_hash_map_get(&t->symbol_index, bytes, n_bytes);
    if (known != QN_HASH_NONE) return *symbol = (uint32_t)known, true;
    qn_jsymbol *s = qn_jchunk_alloc(&t->chunks, &t->chunk_bytes, sizeof *s + n_bytes + 1);
    int64_t existing;
    if (s == NULL ||
        !qn_grow(&t->symbols, &t->symbol_capacity, t->n_symbols + 1, QN_J_MAX_NODES, sizeof *t->symbols))
        return no_memory(p);
    char *name = (char *)(s + 1);
    memcpy(name, bytes, n_bytes);
    s->name = (qn_jstr){.bytes = name, .n_bytes = n_bytes, .n_chars = SIZE_MAX};
    s->name.n_chars = qn_jchars(&s->name);
    s->global = qn_jfind_global(bytes, n_bytes);
    if (!qn_hash_map_add(&t->symbol_index, name, n_bytes, (uint32_t)t->n_symbols, &existing))
        return no_memory(p);
    *symbol = (uint32_t)t->n_symbols;
    t->symbols[t->n_symbols++] = s;
    return true;
}

bool qn_jtoken_is_op(const qn_jtoken *t, const char *op)
{
    return t->kind == QN_T_OP && t->op == QN_OP2(op[0], op[1]);
}

bool qn_jtoken_is_name(const qn_jtoken *t, const char *name)
{
    return t->kind == QN_T_NAME && t->n_bytes == strlen(name) && memcmp(t->bytes, name, t->n_bytes) == 0;
}

bool qn_jparse_expect_op(qn_jparser *p, const char *op)
{
    char wanted[8];
    snprintf(wanted, sizeof wanted, "'%s'", op);
    return qn_jtoken_is_op(&p->token, op) ? qn_jparse_advance(p) : qn_jparse_unexpected(p, wanted);
}

bool qn_jparse_skip_op(qn_jparser *p, const char *op, bool *skipped)
{
    *skipped = qn_jtoken_is_op(&p->token, op);
    return !*skipped || qn_jparse_advance(p);
}

bool qn_jparse_skip_name(qn_jparser *p, const char *name, bool *skipped)
{
    *skipped = qn_jtoken_is_name(&p->token, name);
    return !*skipped || qn_jparse_advance(p);
}

bool qn_jnodes_push(qn_jparser *p, qn_jnodes *l, qn_jnode *n)
{
    if (!qn_grow(&l->items, &l->capacity, l->n + 1, 2 * QN_J_MAX_NODES, sizeof *l->items))
        return no_memory(p);
    l->items[l->n++] = n;
    return true;
}

bool qn_jnodes_move(qn_jparser *p, qn_jnodes *l, qn_jnode *into)
{
    bool ok = true;
    if (l->n > 0) {
        into->items = qn_jchunk_alloc(&p->tmpl->chunks, &p->tmpl->chunk_bytes, l->n * sizeof *l->items);
        ok = into->items != NULL || no_memory(p);
        if (ok) memcpy(into->items, l->items, l->n * sizeof *l->items);
        if (ok) into->n_items = (uint32_t)l->n;
    }
    qn_free(l->items);
    *l = (qn_jnodes){0};
    return ok;
}

/* ---- literals and names ---- */

static qn_jnode *string_const(qn_jparser *p, const char *bytes, size_t n_bytes, uint32_t line)
{
    qn_jnode *n = qn_jnode_create(p, QN_N_CONST, line);
    qn_jstr *s = qn_jchunk_alloc(&p->tmpl->chunks, &p->tmpl->chunk_bytes, sizeof *s);
    if (n == NULL) return NULL;
    if (s == NULL) return no_memory(p), NULL;
    *s = (qn_jstr){.bytes = bytes, .n_bytes = n_bytes, .n_chars = SIZE_MAX};
    s->n_chars = qn_jchars(s); /* now, as later threads only read */
    n->value = qn_jstring(s);
    return n;
}

/* "a" "b" is "ab". */
static qn_jnode *parse_string(qn_jparser *p)
{
    const qn_jtoken first = p->token;
    if (!qn_jparse_advance(p)) return NULL;
    if (p->token.kind != QN_T_STRING) return string_const(p, first.bytes, first.n_bytes, first.line);
    qn_buffer joined = {.max_bytes = QN_J_MAX_SOURCE_BYTES};
    qn_buffer_append(&joined, first.bytes, first.n_bytes);
    bool ok = true;
    while (ok && p->token.kind == QN_T_STRING) {
        qn_buffer_append(&joined, p->token.bytes, p->token.n_bytes);
        ok = qn_jparse_advance(p);
    }
    char *bytes = ok ? qn_jchunk_alloc(&p->tmpl->chunks, &p->tmpl->chunk_bytes, joined.n_bytes + 1) : NULL;
    if (ok && (bytes == NULL || joined.failed)) ok = no_memory(p);
    if (ok && joined.n_bytes > 0) memcpy(bytes, joined.data, joined.n_bytes);
    qn_jnode *n = ok ? string_const(p, bytes, joined.n_bytes, first.line) : NULL;
    qn_buffer_deinit(&joined);
    return n;
}

static qn_jnode *parse_constant(qn_jparser *p, qn_jval value)
{
    qn_jnode *n = qn_jnode_create(p, QN_N_CONST, p->token.line);
    if (n == NULL || !qn_jparse_advance(p)) return NULL;
    n->value = value;
    return n;
}

static qn_jnode *parse_name(qn_jparser *p)
{
    const qn_jtoken *t = &p->token;
    if (qn_jtoken_is_name(t, "true") || qn_jtoken_is_name(t, "True"))
        return parse_constant(p, qn_jbool(true));
    if (qn_jtoken_is_name(t, "false") || qn_jtoken_is_name(t, "False"))
        return parse_constant(p, qn_jbool(false));
    if (qn_jtoken_is_name(t, "none") || qn_jtoken_is_name(t, "None")) return parse_constant(p, qn_jnone());
    if (qn_jtoken_is_name(t, "caller")) p->macro_flags |= QN_MACRO_CALLER;
    if (qn_jtoken_is_name(t, "varargs")) p->macro_flags |= QN_MACRO_VARARGS;
    if (qn_jtoken_is_name(t, "kwargs")) p->macro_flags |= QN_MACRO_KWARGS;
    qn_jnode *n = qn_jnode_create(p, QN_N_NAME, t->line);
    if (n == NULL || !qn_jparse_symbol(p, t->bytes, t->n_bytes, &n->symbol) || !qn_jparse_advance(p))
        return NULL;
    return n;
}

static qn_jnode *finish_items(qn_jparser *p, qn_jnode *n, qn_jnodes *items, bool ok)
{
    if (!ok) qn_free(items->items);
    if (!ok || !qn_jnodes_move(p, items, n)) return NULL;
    return qn_jnode_finish(p, n);
}

static bool push_expression(qn_jparser *p, qn_jnodes *items)
{
    qn_jnode *item = qn_jparse_expression(p);
    return item != NULL && qn_jnodes_push(p, items, item);
}

static qn_jnode *parse_list(qn_jparser *p)
{
    qn_jnode *n = qn_jnode_create(p, QN_N_LIST, p->token.line);
    qn_jnodes items = {0};
    bool ok = n != NULL && qn_jparse_advance(p);
    while (ok && !qn_jtoken_is_op(&p->token, "]")) {
        if (items.n > 0) ok = qn_jparse_expect_op(p, ",");
        if (ok && qn_jtoken_is_op(&p->token, "]")) break;
        ok = ok && push_expression(p, &items);
    }
    return finish_items(p, n, &items, ok && qn_jparse_expect_op(p, "]"));
}

static qn_jnode *parse_dict(qn_jparser *p)
{
    qn_jnode *n = qn_jnode_create(p, QN_N_DICT, p->token.line);
    qn_jnodes items = {0};
    bool ok = n != NULL && qn_jparse_advance(p);
    while (ok && !qn_jtoken_is_op(&p->token, "}")) {
        if (items.n > 0) ok = qn_jparse_expect_op(p, ",");
        if (ok && qn_jtoken_is_op(&p->token, "}")) break;
        ok = ok && push_expression(p, &items) && qn_jparse_expect_op(p, ":") && push_expression(p, &items);
    }
    return finish_items(p, n, &items, ok && qn_jparse_expect_op(p, "}"));
}

static qn_jnode *parse_primary(qn_jparser *p)
{
    const qn_jtoken *t = &p->token;
    if (t->kind == QN_T_NAME) return parse_name(p);
    if (t->kind == QN_T_STRING) return parse_string(p);
    if (t->kind == QN_T_INT) return parse_constant(p, qn_jint(t->i));
    if (t->kind == QN_T_FLOAT) return parse_constant(p, qn_jfloat(t->f));
    if (qn_jtoken_is_op(t, "[")) return parse_list(p);
    if (qn_jtoken_is_op(t, "{")) return parse_dict(p);
    if (qn_jtoken_is_op(t, "(")) {
        if (!qn_jparse_advance(p)) return NULL;
        qn_jnode *n = qn_jparse_tuple(p, true, true);
        return n != NULL && qn_jparse_expect_op(p, ")") ? n : NULL;
    }
    qn_jparse_unexpected(p, "an expression");
    return NULL;
}

/* ---- what may follow a primary ---- */

/* One argument of a call: x, name=x, *x or **x. */
static bool parse_call_arg(qn_jparser *p, qn_jarg *arg)
{
    bool skipped;
    arg->kind = QN_ARG_POSITIONAL;
    if (!qn_jparse_skip_op(p, "*", &skipped)) return false;
    if (skipped) arg->kind = QN_ARG_LIST;
    if (!skipped && !qn_jparse_skip_op(p, "**", &skipped)) return false;
    if (skipped && arg->kind == QN_ARG_POSITIONAL) arg->kind = QN_ARG_DICT;
    if (p->token.kind == QN_T_NAME && arg->kind == QN_ARG_POSITIONAL) {
        const qn_jtoken *ahead;
        if (!qn_jparse_peek(p, &ahead)) return false;
        if (qn_jtoken_is_op(ahead, "=")) {
            arg->kind = QN_ARG_NAMED;
            if (!qn_jparse_symbol(p, p->token.bytes, p->token.n_bytes, &arg->symbol)) return false;
            if (!qn_jparse_advance(p) || !qn_jparse_advance(p)) return false;
        }
    }
    arg->node = qn_jparse_expression(p);
    return arg->node != NULL;
}

bool qn_jparse_call_args(qn_jparser *p, qn_jnode *call)
{
    qn_jarg *args = NULL;
    size_t n = 0, capacity = 0;
    bool ok = qn_jparse_expect_op(p, "("), named = false;
    while (ok && !qn_jtoken_is_op(&p->token, ")")) {
        if (n > 0) ok = qn_jparse_expect_op(p, ",");
        if (ok && qn_jtoken_is_op(&p->token, ")")) break;
        qn_jarg arg = {0};
        ok = ok && parse_call_arg(p, &arg);
        if (ok && !qn_grow(&args, &capacity, n + 1, QN_J_MAX_NODES, sizeof *args)) ok = no_memory(p);
        if (!ok) break;
        if (named && arg.kind == QN_ARG_POSITIONAL)
            ok = qn_jparse_fail(p, "an argument without a name follows one with a name");
        named = named || arg.kind == QN_ARG_NAMED || arg.kind == QN_ARG_DICT;
        args[n++] = arg;
    }
    ok = ok && qn_jparse_expect_op(p, ")");
    if (ok && n > 0) {
        call->args = qn_jchunk_alloc(&p->tmpl->chunks, &p->tmpl->chunk_bytes, n * sizeof *args);
        ok = call->args != NULL || no_memory(p);
        if (ok) memcpy(call->args, args, n * sizeof *args);
        if (ok) call->n_args = (uint32_t)n;
    }
    qn_free(args);
    return ok;
}

static qn_jnode *parse_call(qn_jparser *p, qn_jnode *callee)
{
    qn_jnode *n = qn_jnode_create(p, QN_N_CALL, p->token.line);
    if (n == NULL) return NULL;
    n->a = callee;
    return qn_jparse_call_args(p, n) ? qn_jnode_finish(p, n) : NULL;
}

/* After '.': a name or an index. */
static qn_jnode *parse_dot(qn_jparser *p, qn_jnode *object)
{
    const uint32_t line = p->token.line;
    if (!qn_jparse_advance(p)) return NULL;
    if (p->token.kind == QN_T_NAME) {
        qn_jnode *n = qn_jnode_create(p, QN_N_ATTR, line);
        if (n == NULL || !qn_jparse_symbol(p, p->token.bytes, p->token.n_bytes, &n->symbol)) return NULL;
        n->a = object;
        return qn_jparse_advance(p) ? qn_jnode_finish(p, n) : NULL;
    }
    if (p->token.kind != QN_T_INT) return qn_jparse_unexpected(p, "a name or number after '.'"), NULL;
    qn_jnode *n = qn_jnode_create(p, QN_N_ITEM, line);
    if (n == NULL) return NULL;
    n->a = object;
    n->b = parse_constant(p, qn_jint(p->token.i));
    return n->b != NULL ? qn_jnode_finish(p, n) : NULL;
}

/* After '[' and a ':' or a first bound: the rest of a slice. */
static qn_jnode *parse_slice(qn_jparser *p, qn_jnode *object, qn_jnode *start, uint32_t line)
{
    qn_jnode *n = qn_jnode_create(p, QN_N_SLICE, line);
    qn_jnode **bounds = qn_jchunk_alloc(&p->tmpl->chunks, &p->tmpl->chunk_bytes, 3 * sizeof *bounds);
    if (n == NULL) return NULL;
    if (bounds == NULL) return no_memory(p), NULL;
    bounds[0] = start;
    for (int i = 1; i < 3; i++) {
        bool colon;
        if (!qn_jparse_skip_op(p, ":", &colon)) return NULL;
        if (!colon) break;
        if (qn_jtoken_is_op(&p->token, ":") || qn_jtoken_is_op(&p->token, "]")) continue;
        if ((bounds[i] = qn_jparse_expression(p)) == NULL) return NULL;
    }
    n->a = object;
    n->items = bounds;
    n->n_items = 3;
    return qn_jparse_expect_op(p, "]") ? qn_jnode_finish(p, n) : NULL;
}

static qn_jnode *parse_subscript(qn_jparser *p, qn_jnode *object)
{
    const uint32_t line = p->token.line;
    if (!qn_jparse_advance(p)) return NULL;
    if (qn_jtoken_is_op(&p->token, ":")) return parse_slice(p, object, NULL, line);
    qn_jnode *key = qn_jparse_expression(p);
    if (key == NULL) return NULL;
    if (qn_jtoken_is_op(&p->token, ":")) return parse_slice(p, object, key, line);
    if (qn_jtoken_is_op(&p->token, ",")) { /* x[a, b] is x[(a, b)] */
        qn_jnode *tuple = qn_jnode_create(p, QN_N_TUPLE, line);
        qn_jnodes items = {0};
        bool ok = tuple != NULL && qn_jnodes_push(p, &items, key);
        while (ok && qn_jtoken_is_op(&p->token, ",")) ok = qn_jparse_advance(p) && push_expression(p, &items);
        key = finish_items(p, tuple, &items, ok);
        if (key == NULL) return NULL;
    }
    qn_jnode *n = qn_jnode_create(p, QN_N_ITEM, line);
    if (n == NULL || !qn_jparse_expect_op(p, "]")) return NULL;
    n->a = object;
    n->b = key;
    return qn_jnode_finish(p, n);
}

static qn_jnode *parse_postfix(qn_jparser *p, qn_jnode *n)
{
    while (n != NULL) {
        if (qn_jtoken_is_op(&p->token, ".")) n = parse_dot(p, n);
        else if (qn_jtoken_is_op(&p->token, "[")) n = parse_subscript(p, n);
        else if (qn_jtoken_is_op(&p->token, "(")) n = parse_call(p, n);
        else break;
    }
    return n;
}

qn_jnode *qn_jparse_postfix_only(qn_jparser *p)
{
    return parse_postfix(p, parse_primary(p));
}

/* At the name of a filter or test; joins dotted names into one. */
static bool parse_dotted_name(qn_jparser *p, char *name, size_t size, size_t *n_bytes)
{
    *n_bytes = 0;
    for (;;) {
        if (p->token.kind != QN_T_NAME) return qn_jparse_unexpected(p, "a name");
        if (p->token.n_bytes + 2 > size - *n_bytes)
            return qn_jparse_fail(p, "name of more than %zu bytes", size);
        memcpy(name + *n_bytes, p->token.bytes, p->token.n_bytes);
        *n_bytes += p->token.n_bytes;
        if (!qn_jparse_advance(p)) return false;
        if (!qn_jtoken_is_op(&p->token, ".")) return true;
        name[(*n_bytes)++] = '.';
        if (!qn_jparse_advance(p)) return false;
    }
}

qn_jnode *qn_jparse_filters(qn_jparser *p, qn_jnode *input, bool start_inline)
{
    while (start_inline || qn_jtoken_is_op(&p->token, "|")) {
        if (!start_inline && !qn_jparse_advance(p)) return NULL;
        start_inline = false;
        char name[128];
        size_t n_bytes;
        qn_jnode *n = qn_jnode_create(p, QN_N_FILTER, p->token.line);
        if (n == NULL || !parse_dotted_name(p, name, sizeof name, &n_bytes)) return NULL;
        if (!qn_jparse_symbol(p, name, n_bytes, &n->symbol)) return NULL;
        n->entry = qn_jfind_filter(name, n_bytes);
        n->a = input;
        if (qn_jtoken_is_op(&p->token, "(") && !qn_jparse_call_args(p, n)) return NULL;
        input = qn_jnode_finish(p, n);
        if (input == NULL) return NULL;
    }
    return input;
}

/* Whether the argument of a test may begin here without parentheses: `is divisibleby 3`. */
static bool begins_test_arg(const qn_jtoken *t)
{
    if (t->kind == QN_T_STRING || t->kind == QN_T_INT || t->kind == QN_T_FLOAT) return true;
    if (t->kind == QN_T_NAME)
        return !qn_jtoken_is_name(t, "else") && !qn_jtoken_is_name(t, "or") && !qn_jtoken_is_name(t, "and");
    return qn_jtoken_is_op(t, "[") || qn_jtoken_is_op(t, "{");
}

static qn_jnode *parse_test(qn_jparser *p, qn_jnode *input)
{
    char name[128];
    size_t n_bytes;
    qn_jnode *n = qn_jnode_create(p, QN_N_TEST, p->token.line);
    if (n == NULL || !qn_jparse_advance(p) || !qn_jparse_skip_name(p, "not", &n->flag)) return NULL;
    if (!parse_dotted_name(p, name, sizeof name, &n_bytes)) return NULL;
    if (!qn_jparse_symbol(p, name, n_bytes, &n->symbol)) return NULL;
    n->entry = qn_jfind_test(name, n_bytes);
    n->a = input;
    if (qn_jtoken_is_op(&p->token, "(")) return qn_jparse_call_args(p, n) ? qn_jnode_finish(p, n) : NULL;
    if (begins_test_arg(&p->token)) {
        if (qn_jtoken_is_name(&p->token, "is"))
            return qn_jparse_fail(p, "two tests in a row: write (x is a) and (x is b)"), NULL;
        n->args = qn_jchunk_alloc(&p->tmpl->chunks, &p->tmpl->chunk_bytes, sizeof *n->args);
        if (n->args == NULL) return no_memory(p), NULL;
        if ((n->args[0].node = qn_jparse_postfix_only(p)) == NULL) return NULL;
        n->n_args = 1;
    }
    return qn_jnode_finish(p, n);
}

static qn_jnode *parse_filters_and_tests(qn_jparser *p, qn_jnode *n)
{
    while (n != NULL) {
        if (qn_jtoken_is_op(&p->token, "|")) n = qn_jparse_filters(p, n, false);
        else if (qn_jtoken_is_name(&p->token, "is")) n = parse_test(p, n);
        else if (qn_jtoken_is_op(&p->token, "(")) n = parse_call(p, n);
        else break;
    }
    return n;
}

/* ---- operators ---- */

static qn_jnode *parse_unary(qn_jparser *p, bool with_filters)
{
    const bool minus = qn_jtoken_is_op(&p->token, "-");
    qn_jnode *n = NULL;
    if (minus || qn_jtoken_is_op(&p->token, "+")) {
        n = qn_jnode_create(p, minus ? QN_N_NEGATE : QN_N_PLUS, p->token.line);
        if (n != NULL && qn_jparse_enter(p) && qn_jparse_advance(p)) n->a = parse_unary(p, false);
        p->depth--;
        n = n != NULL && n->a != NULL ? qn_jnode_finish(p, n) : NULL;
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    if (with_filters) n = parse_filters_and_tests(p, n);
    return n;
}

static qn_jnode *binary(qn_jparser *p, qn_jnode_kind kind, char op, qn_jnode *a, qn_jnode *b, uint32_t line)
{
    if (a == NULL || b == NULL) return NULL;
    qn_jnode *n = qn_jnode_create(p, kind, line);
    if (n == NULL) return NULL;
    n->op = (uint8_t)op;
    n->a = a;
    n->b = b;
    return qn_jnode_finish(p, n);
}

static qn_jnode *parse_power(qn_jparser *p)
{
    qn_jnode *n = parse_unary(p, true);
    while (n != NULL && qn_jtoken_is_op(&p->token, "**")) {
        const uint32_t line = p->token.line;
        n = qn_jparse_advance(p) ? binary(p, QN_N_BINARY, 'p', n, parse_unary(p, true), line) : NULL;
    }
    return n;
}

static char product_operator(const qn_jtoken *t)
{
    return qn_jtoken_is_op(t, "*")    ? '*'
           : qn_jtoken_is_op(t, "/")  ? '/'
           : qn_jtoken_is_op(t, "//") ? 'f'
           : qn_jtoken_is_op(t, "%")  ? '%'
                                      : '\0';
}

static qn_jnode *parse_product(qn_jparser *p)
{
    qn_jnode *n = parse_power(p);
    for (char op; n != NULL && (op = product_operator(&p->token)) != '\0';) {
        const uint32_t line = p->token.line;
        n = qn_jparse_advance(p) ? binary(p, QN_N_BINARY, op, n, parse_power(p), line) : NULL;
    }
    return n;
}

static qn_jnode *parse_concat(qn_jparser *p)
{
    const uint32_t line = p->token.line;
    qn_jnode *first = parse_product(p);
    if (first == NULL || !qn_jtoken_is_op(&p->token, "~")) return first;
    qn_jnode *n = qn_jnode_create(p, QN_N_CONCAT, line);
    qn_jnodes items = {0};
    bool ok = n != NULL && qn_jnodes_push(p, &items, first);
    while (ok && qn_jtoken_is_op(&p->token, "~")) {
        qn_jnode *item = qn_jparse_advance(p) ? parse_product(p) : NULL;
        ok = item != NULL && qn_jnodes_push(p, &items, item);
    }
    return finish_items(p, n, &items, ok);
}

static qn_jnode *parse_sum(qn_jparser *p)
{
    qn_jnode *n = parse_concat(p);
    while (n != NULL && (qn_jtoken_is_op(&p->token, "+") || qn_jtoken_is_op(&p->token, "-"))) {
        const uint32_t line = p->token.line;
        const char op = qn_jtoken_is_op(&p->token, "+") ? '+' : '-';
        n = qn_jparse_advance(p) ? binary(p, QN_N_BINARY, op, n, parse_concat(p), line) : NULL;
    }
    return n;
}

/* If a comparison stands here, steps over it. */
static bool comparison(qn_jparser *p, int *op)
{
    static const char *const symbols[] = {"==", "!=", "<", "<=", ">", ">="};
    *op = -1;
    for (int i = 0; i < 6 && *op < 0; i++)
        if (qn_jtoken_is_op(&p->token, symbols[i])) *op = QN_CMP_EQ + i;
    if (*op < 0 && qn_jtoken_is_name(&p->token, "in")) *op = QN_CMP_IN;
    if (*op < 0 && qn_jtoken_is_name(&p->token, "not")) {
        const qn_jtoken *ahead;
        if (!qn_jparse_peek(p, &ahead)) return false;
        if (qn_jtoken_is_name(ahead, "in")) {
            *op = QN_CMP_NOT_IN;
            if (!qn_jparse_advance(p)) return false;
        }
    }
    return *op < 0 || qn_jparse_advance(p);
}

static qn_jnode *parse_compare(qn_jparser *p)
{
    const uint32_t line = p->token.line;
    qn_jnode *first = parse_sum(p);
    int op;
    if (first == NULL || !comparison(p, &op)) return NULL;
    if (op < 0) return first;
    qn_jnode *n = qn_jnode_create(p, QN_N_COMPARE, line);
    qn_jarg *args = NULL;
    size_t capacity = 0, count = 0;
    bool ok = n != NULL;
    while (ok && op >= 0) {
        qn_jarg arg = {.kind = (uint8_t)op, .node = parse_sum(p)};
        ok = arg.node != NULL;
        if (ok && !qn_grow(&args, &capacity, count + 1, QN_J_MAX_NODES, sizeof *args)) ok = no_memory(p);
        if (ok) args[count++] = arg;
        ok = ok && comparison(p, &op);
    }
    if (ok) {
        n->a = first;
        n->args = qn_jchunk_alloc(&p->tmpl->chunks, &p->tmpl->chunk_bytes, count * sizeof *args);
        ok = n->args != NULL || no_memory(p);
        if (ok) memcpy(n->args, args, count * sizeof *args);
        n->n_args = (uint32_t)count;
    }
    qn_free(args);
    return ok ? qn_jnode_finish(p, n) : NULL;
}

static qn_jnode *parse_not(qn_jparser *p)
{
    if (!qn_jtoken_is_name(&p->token, "not")) return parse_compare(p);
    qn_jnode *n = qn_jnode_create(p, QN_N_NOT, p->token.line);
    if (n == NULL || !qn_jparse_enter(p)) return NULL;
    n->a = qn_jparse_advance(p) ? parse_not(p) : NULL;
    p->depth--;
    return n->a != NULL ? qn_jnode_finish(p, n) : NULL;
}

static qn_jnode *parse_and(qn_jparser *p)
{
    qn_jnode *n = parse_not(p);
    while (n != NULL && qn_jtoken_is_name(&p->token, "and")) {
        const uint32_t line = p->token.line;
        n = qn_jparse_advance(p) ? binary(p, QN_N_AND, '\0', n, parse_not(p), line) : NULL;
    }
    return n;
}

qn_jnode *qn_jparse_expression_no_cond(qn_jparser *p)
{
    qn_jnode *n = parse_and(p);
    while (n != NULL && qn_jtoken_is_name(&p->token, "or")) {
        const uint32_t line = p->token.line;
        n = qn_jparse_advance(p) ? binary(p, QN_N_OR, '\0', n, parse_and(p), line) : NULL;
    }
    return n;
}

qn_jnode *qn_jparse_expression(qn_jparser *p)
{
    if (!qn_jparse_enter(p)) return NULL;
    qn_jnode *n = qn_jparse_expression_no_cond(p);
    while (n != NULL && qn_jtoken_is_name(&p->token, "if")) {
        qn_jnode *cond = qn_jnode_create(p, QN_N_COND, p->token.line);
        bool has_else;
        if (cond == NULL || !qn_jparse_advance(p)) return NULL;
        cond->b = n;
        if ((cond->a = qn_jparse_expression_no_cond(p)) == NULL) return NULL;
        if (!qn_jparse_skip_name(p, "else", &has_else)) return NULL;
        if (has_else && (cond->c = qn_jparse_expression(p)) == NULL) return NULL;
        n = qn_jnode_finish(p, cond);
    }
    p->depth--;
    return n;
}

static bool ends_tuple(const qn_jtoken *t)
{
    return t->kind == QN_T_OUTPUT_END || t->kind == QN_T_BLOCK_END || qn_jtoken_is_op(t, ")") ||
           qn_jtoken_is_op(t, "=") || qn_jtoken_is_name(t, "in") || qn_jtoken_is_name(t, "recursive");
}

qn_jnode *qn_jparse_tuple(qn_jparser *p, bool with_cond, bool explicit_parentheses)
{
    const uint32_t line = p->token.line;
    qn_jnodes items = {0};
    bool ok = true, is_tuple = false;
    while (ok && !ends_tuple(&p->token)) {
        qn_jnode *item = with_cond ? qn_jparse_expression(p) : qn_jparse_expression_no_cond(p);
        ok = item != NULL && qn_jnodes_push(p, &items, item);
        if (!ok || !qn_jtoken_is_op(&p->token, ",")) break;
        is_tuple = true;
        ok = qn_jparse_advance(p);
    }
    if (ok && !is_tuple && items.n == 1) {
        qn_jnode *only = items.items[0];
        qn_free(items.items);
        return only;
    }
    if (ok && items.n == 0 && !explicit_parentheses) ok = qn_jparse_unexpected(p, "an expression");
    qn_jnode *n = ok ? qn_jnode_create(p, QN_N_TUPLE, line) : NULL;
    return finish_items(p, n, &items, n != NULL);
}
