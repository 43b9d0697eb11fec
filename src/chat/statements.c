/* statements.c: the tags {% ... %}, and the template as a whole. */
#include "base/alloc.h"
#include "base/utf8.h"
#include "chat/ast.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static bool end_of_tag(qn_jparser *p)
{
    return p->token.kind == QN_T_BLOCK_END ? qn_jparse_advance(p) : qn_jparse_unexpected(p, "'%}'");
}

/* The body of a block up to its end tag, whose name is stepped over together with its "%}". */
static qn_jnode *body_until(qn_jparser *p, const char *end)
{
    const char *const ends[] = {end, NULL};
    size_t which;
    qn_jnode *body = qn_jparse_body(p, ends, &which);
    return body != NULL && end_of_tag(p) ? body : NULL;
}

/* ---- targets of assignments ---- */

static qn_jnode *target_name(qn_jparser *p, bool with_namespace)
{
    const qn_jtoken *ahead;
    if (p->token.kind != QN_T_NAME) return qn_jparse_unexpected(p, "a variable name"), NULL;
    static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < 6; i++)
        if (qn_jtoken_is_name(&p->token, constants[i]))
            return qn_jparse_fail(p, "cannot assign to '%s'", constants[i]), NULL;
    if (!qn_jparse_peek(p, &ahead)) return NULL;
    qn_jnode *n = qn_jnode_create(p, QN_N_NAME, p->token.line);
    if (n == NULL || !qn_jparse_symbol(p, p->token.bytes, p->token.n_bytes, &n->symbol)) return NULL;
    if (!qn_jparse_advance(p) || !with_namespace || !qn_jtoken_is_op(&p->token, ".")) return n;
    qn_jnode *attr = qn_jnode_create(p, QN_N_NSATTR, n->line);
    if (attr == NULL || !qn_jparse_advance(p)) return NULL;
    if (p->token.kind != QN_T_NAME) return qn_jparse_unexpected(p, "an attribute name"), NULL;
    if (!qn_jparse_symbol(p, p->token.bytes, p->token.n_bytes, &attr->symbol) || !qn_jparse_advance(p))
        return NULL;
    attr->a = n;
    return qn_jnode_finish(p, attr);
}

static qn_jnode *target_item(qn_jparser *p, bool with_namespace)
{
    if (!qn_jtoken_is_op(&p->token, "(")) return target_name(p, with_namespace);
    if (!qn_jparse_enter(p) || !qn_jparse_advance(p)) return NULL;
    qn_jnode *n = qn_jparse_target(p, with_namespace);
    p->depth--;
    return n != NULL && qn_jparse_expect_op(p, ")") ? n : NULL;
}

qn_jnode *qn_jparse_target(qn_jparser *p, bool with_namespace)
{
    const uint32_t line = p->token.line;
    qn_jnode *first = target_item(p, with_namespace);
    if (first == NULL || !qn_jtoken_is_op(&p->token, ",")) return first;
    qn_jnodes items = {0};
    bool ok = qn_jnodes_push(p, &items, first);
    while (ok && qn_jtoken_is_op(&p->token, ",")) {
        ok = qn_jparse_advance(p);
        if (ok && p->token.kind != QN_T_NAME && !qn_jtoken_is_op(&p->token, "("))
            break; /* a trailing comma */
        if (ok && qn_jtoken_is_name(&p->token, "in")) break;
        qn_jnode *item = ok ? target_item(p, with_namespace) : NULL;
        ok = item != NULL && qn_jnodes_push(p, &items, item);
    }
    qn_jnode *n = ok ? qn_jnode_create(p, QN_N_TUPLE, line) : NULL;
    if (n == NULL) return qn_free(items.items), NULL;
    return qn_jnodes_move(p, &items, n) ? qn_jnode_finish(p, n) : NULL;
}

/* ---- the tags; each begins after its name ---- */

static qn_jnode *parse_if(qn_jparser *p, qn_jnode *n)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    n->kind = QN_N_IF;
    qn_jnodes items = {0};
    size_t which = 0;
    bool ok = true;
    do {
        qn_jnode *test = qn_jparse_tuple(p, false, false);
        ok = test != NULL && qn_jnodes_push(p, &items, test) && end_of_tag(p);
        qn_jnode *body = ok ? qn_jparse_body(p, ends, &which) : NULL;
        ok = body != NULL && qn_jnodes_push(p, &items, body);
    } while (ok && which == 0);
    if (!ok) return qn_free(items.items), NULL;
    if (!qn_jnodes_move(p, &items, n) || !end_of_tag(p)) return NULL;
    if (which == 1 && (n->a = body_until(p, "endif")) == NULL) return NULL;
    return n;
}

static qn_jnode *parse_for(qn_jparser *p, qn_jnode *n)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    bool skipped;
    size_t which;
    n->kind = QN_N_FOR;
    if ((n->a = qn_jparse_target(p, false)) == NULL) return NULL;
    if (!qn_jparse_skip_name(p, "in", &skipped)) return NULL;
    if (!skipped) return qn_jparse_unexpected(p, "'in'"), NULL;
    if ((n->b = qn_jparse_tuple(p, false, false)) == NULL) return NULL;
    if (!qn_jparse_skip_name(p, "if", &skipped)) return NULL;
    if (skipped && (n->c = qn_jparse_expression(p)) == NULL) return NULL;
    if (!qn_jparse_skip_name(p, "recursive", &n->flag) || !end_of_tag(p)) return NULL;
    qn_jnodes items = {0};
    p->n_loops++;
    qn_jnode *body = qn_jparse_body(p, ends, &which);
    p->n_loops--;
    bool ok = body != NULL && qn_jnodes_push(p, &items, body) && end_of_tag(p);
    qn_jnode *otherwise = ok && which == 1 ? body_until(p, "endfor") : NULL;
    ok = ok && (which == 0 || otherwise != NULL) && qn_jnodes_push(p, &items, otherwise);
    if (!ok) return qn_free(items.items), NULL;
    return qn_jnodes_move(p, &items, n) ? n : NULL;
}

static qn_jnode *parse_set(qn_jparser *p, qn_jnode *n)
{
    if ((n->a = qn_jparse_target(p, true)) == NULL) return NULL;
    bool skipped;
    if (!qn_jparse_skip_op(p, "=", &skipped)) return NULL;
    if (skipped) {
        n->kind = QN_N_SET;
        return (n->b = qn_jparse_tuple(p, true, false)) != NULL && end_of_tag(p) ? n : NULL;
    }
    n->kind = QN_N_SET_BLOCK;
    if (qn_jtoken_is_op(&p->token, "|") && (n->b = qn_jparse_filters(p, NULL, false)) == NULL) return NULL;
    return end_of_tag(p) && (n->c = body_until(p, "endset")) != NULL ? n : NULL;
}

/* "(a, b=1)" of a macro or call block. */
static bool parse_parameters(qn_jparser *p, qn_jnode *n)
{
    qn_jarg args[64];
    uint32_t count = 0;
    if (!qn_jparse_expect_op(p, "(")) return false;
    while (!qn_jtoken_is_op(&p->token, ")")) {
        if (count > 0 && !qn_jparse_expect_op(p, ",")) return false;
        if (qn_jtoken_is_op(&p->token, ")")) break;
        if (count == sizeof args / sizeof args[0]) return qn_jparse_fail(p, "more than %u parameters", count);
        qn_jnode *name = target_name(p, false);
        bool has_default;
        if (name == NULL || !qn_jparse_skip_op(p, "=", &has_default)) return false;
        if (!has_default && count > 0 && args[count - 1].node != NULL)
            return qn_jparse_fail(p, "a parameter without a default follows one with a default");
        args[count] = (qn_jarg){.symbol = name->symbol};
        if (has_default && (args[count].node = qn_jparse_expression(p)) == NULL) return false;
        count++;
    }
    if (!qn_jparse_advance(p)) return false;
    n->args = qn_jchunk_alloc(&p->tmpl->chunks, &p->tmpl->chunk_bytes, (count + 1) * sizeof *args);
    if (n->args == NULL) {
        p->lexer.status = qn_fail(p->lexer.err, QUERN_ERR_NOMEM, "template: out of memory");
        return false;
    }
    memcpy(n->args, args, count * sizeof *args);
    n->n_args = count;
    return true;
}

/* From the parameters on; `macro` is the node to fill, `end` its end tag. */
static bool parse_macro_body(qn_jparser *p, qn_jnode *macro, const char *end)
{
    const uint8_t outer_flags = p->macro_flags;
    const int outer_loops = p->n_loops;
    macro->kind = QN_N_MACRO;
    p->n_loops = 0; /* break does not leave a macro */
    bool ok = end_of_tag(p) && (macro->a = body_until(p, end)) != NULL;
    macro->op = p->macro_flags;
    p->macro_flags = outer_flags;
    p->n_loops = outer_loops;
    return ok;
}

static qn_jnode *parse_macro(qn_jparser *p, qn_jnode *n)
{
    const uint8_t outer_flags = p->macro_flags;
    qn_jnode *name = target_name(p, false);
    if (name == NULL) return NULL;
    n->symbol = name->symbol;
    p->macro_flags = 0;
    const bool ok = parse_parameters(p, n) && parse_macro_body(p, n, "endmacro");
    p->macro_flags = outer_flags;
    return ok ? n : NULL;
}

static qn_jnode *parse_call_block(qn_jparser *p, qn_jnode *n)
{
    n->kind = QN_N_CALL_BLOCK;
    qn_jnode *caller = n->b = qn_jnode_create(p, QN_N_MACRO, n->line);
    if (caller == NULL) return NULL;
    caller->symbol = p->tmpl->symbol_caller;
    if (qn_jtoken_is_op(&p->token, "(") && !parse_parameters(p, caller)) return NULL;
    if ((n->a = qn_jparse_expression(p)) == NULL) return NULL;
    if (n->a->kind != QN_N_CALL)
        return qn_jparse_fail(p, "{%% call %%} wants a call, such as name(...)"), NULL;
    const uint8_t outer_flags = p->macro_flags;
    p->macro_flags = 0;
    const bool ok = parse_macro_body(p, caller, "endcall") && qn_jnode_finish(p, caller) != NULL;
    p->macro_flags = outer_flags;
    return ok ? n : NULL;
}

static qn_jnode *parse_filter_block(qn_jparser *p, qn_jnode *n)
{
    n->kind = QN_N_FILTER_BLOCK;
    if ((n->a = qn_jparse_filters(p, NULL, true)) == NULL || !end_of_tag(p)) return NULL;
    return (n->b = body_until(p, "endfilter")) != NULL ? n : NULL;
}

static qn_jnode *parse_with(qn_jparser *p, qn_jnode *n)
{
    n->kind = QN_N_WITH;
    qn_jnodes items = {0};
    bool ok = true;
    while (ok && p->token.kind != QN_T_BLOCK_END) {
        if (items.n > 0) ok = qn_jparse_expect_op(p, ",");
        qn_jnode *target = ok ? target_item(p, false) : NULL;
        ok = target != NULL && qn_jnodes_push(p, &items, target) && qn_jparse_expect_op(p, "=");
        qn_jnode *value = ok ? qn_jparse_expression(p) : NULL;
        ok = value != NULL && qn_jnodes_push(p, &items, value);
    }
    if (!ok) return qn_free(items.items), NULL;
    if (!qn_jnodes_move(p, &items, n) || !end_of_tag(p)) return NULL;
    return (n->a = body_until(p, "endwith")) != NULL ? n : NULL;
}

/* {% generation %} marks what the model said, for training; rendering shows its body. */
static qn_jnode *parse_generation(qn_jparser *p, qn_jnode *n)
{
    n->kind = QN_N_SCOPE;
    return end_of_tag(p) && (n->a = body_until(p, "endgeneration")) != NULL ? n : NULL;
}

static qn_jnode *parse_named_block(qn_jparser *p, qn_jnode *n)
{
    bool skipped;
    n->kind = QN_N_SCOPE;
    if (p->token.kind != QN_T_NAME) return qn_jparse_unexpected(p, "the block's name"), NULL;
    if (!qn_jparse_advance(p) || !qn_jparse_skip_name(p, "scoped", &skipped)) return NULL;
    if (!qn_jparse_skip_name(p, "required", &skipped) || !end_of_tag(p)) return NULL;
    static const char *const ends[] = {"endblock", NULL};
    size_t which;
    if ((n->a = qn_jparse_body(p, ends, &which)) == NULL) return NULL;
    if (p->token.kind == QN_T_NAME && !qn_jparse_advance(p)) return NULL; /* {% endblock name %} */
    return end_of_tag(p) ? n : NULL;
}

static qn_jnode *parse_autoescape(qn_jparser *p, qn_jnode *n)
{
    n->kind = QN_N_SCOPE;
    if (!qn_jtoken_is_name(&p->token, "false") && !qn_jtoken_is_name(&p->token, "False"))
        return qn_jparse_fail(p, "only {%% autoescape false %%} is supported: prompts are not HTML"), NULL;
    return qn_jparse_advance(p) && end_of_tag(p) && (n->a = body_until(p, "endautoescape")) != NULL ? n
                                                                                                    : NULL;
}

static qn_jnode *parse_do(qn_jparser *p, qn_jnode *n)
{
    n->kind = QN_N_DO;
    return (n->a = qn_jparse_tuple(p, true, false)) != NULL && end_of_tag(p) ? n : NULL;
}

static qn_jnode *parse_print(qn_jparser *p, qn_jnode *n)
{
    n->kind = QN_N_OUTPUT;
    return (n->a = qn_jparse_tuple(p, true, false)) != NULL && end_of_tag(p) ? n : NULL;
}

static qn_jnode *parse_jump(qn_jparser *p, qn_jnode *n, qn_jnode_kind kind, const char *name)
{
    n->kind = (uint8_t)kind;
    if (p->n_loops == 0) return qn_jparse_fail(p, "'%s' outside of a loop", name), NULL;
    return end_of_tag(p) ? n : NULL;
}
static qn_jnode *parse_break(qn_jparser *p, qn_jnode *n)
{
    return parse_jump(p, n, QN_N_BREAK, "break");
}
static qn_jnode *parse_continue(qn_jparser *p, qn_jnode *n)
{
    return parse_jump(p, n, QN_N_CONTINUE, "continue");
}

static qn_jnode *refuse_files(qn_jparser *p, qn_jnode *n)
{
    (void)n;
    qn_jparse_fail(p, "a chat template stands alone: include, import, from and extends are not available");
    return NULL;
}

static const struct tag {
    const char *name;
    qn_jnode *(*parse)(qn_jparser *p, qn_jnode *n);
} tags[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"filter", parse_filter_block},
    {"with", parse_with},
    {"generation", parse_generation},
    {"break", parse_break},
    {"continue", parse_continue},
    {"do", parse_do},
    {"print", parse_print},
    {"block", parse_named_block},
    {"autoescape", parse_autoescape},
    {"include", refuse_files},
    {"import", refuse_files},
    {"from", refuse_files},
    {"extends", refuse_files},
};

/* At the name of a tag. */
static qn_jnode *parse_tag(qn_jparser *p)
{
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        if (!qn_jtoken_is_name(&p->token, tags[i].name)) continue;
        qn_jnode *n = qn_jnode_create(p, QN_N_DO, p->token.line);
        if (n == NULL || !qn_jparse_enter(p) || !qn_jparse_advance(p)) return NULL;
        n = tags[i].parse(p, n);
        p->depth--;
        return n != NULL ? qn_jnode_finish(p, n) : NULL;
    }
    if (p->token.kind != QN_T_NAME) return qn_jparse_unexpected(p, "the name of a tag"), NULL;
    qn_jparse_fail(p, "unknown or misplaced tag '%s'", qn_quote(p->token.bytes, p->token.n_bytes).text);
    return NULL;
}

static qn_jnode *parse_data(qn_jparser *p)
{
    qn_jnode *n = qn_jnode_create(p, QN_N_DATA, p->token.line);
    qn_jstr *s = qn_jchunk_alloc(&p->tmpl->chunks, &p->tmpl->chunk_bytes, sizeof *s);
    if (n == NULL) return NULL;
    if (s == NULL)
        return p->lexer.status = qn_fail(p->lexer.err, QUERN_ERR_NOMEM, "template: out of memory"), NULL;
    *s = (qn_jstr){.bytes = p->token.bytes, .n_bytes = p->token.n_bytes, .n_chars = SIZE_MAX};
    n->value = qn_jstring(s);
    return qn_jparse_advance(p) ? n : NULL;
}

static qn_jnode *parse_output(qn_jparser *p)
{
    qn_jnode *n = qn_jnode_create(p, QN_N_OUTPUT, p->token.line);
    if (n == NULL || !qn_jparse_advance(p)) return NULL;
    if (p->token.kind == QN_T_OUTPUT_END) return qn_jparse_unexpected(p, "an expression"), NULL;
    if ((n->a = qn_jparse_tuple(p, true, false)) == NULL) return NULL;
    if (p->token.kind != QN_T_OUTPUT_END) return qn_jparse_unexpected(p, "'}}'"), NULL;
    return qn_jparse_advance(p) ? qn_jnode_finish(p, n) : NULL;
}

static bool is_end(const qn_jparser *p, const char *const *ends, size_t *which)
{
    for (*which = 0; ends[*which] != NULL; (*which)++)
        if (qn_jtoken_is_name(&p->token, ends[*which])) return true;
    return false;
}

/* The next part of a body. *ended: its end tag was met and stepped over up to its name. */
static qn_jnode *parse_part(qn_jparser *p, const char *const *ends, size_t *which, bool *ended)
{
    switch (p->token.kind) {
    case QN_T_DATA:
        return parse_data(p);
    case QN_T_OUTPUT_BEGIN:
        return parse_output(p);
    case QN_T_BLOCK_BEGIN:
        if (!qn_jparse_advance(p)) return NULL;
        *ended = is_end(p, ends, which);
        if (*ended) return qn_jparse_advance(p), NULL; /* failure shows in the status */
        return parse_tag(p);
    default:
        return qn_jparse_unexpected(p, ends[0]), NULL;
    }
}

qn_jnode *qn_jparse_body(qn_jparser *p, const char *const *ends, size_t *which)
{
    qn_jnode *body = qn_jnode_create(p, QN_N_BLOCK, p->token.line);
    if (body == NULL) return NULL;
    qn_jnodes items = {0};
    bool ended = false, ok = true;
    while (ok && !ended) {
        if (ends[0] == NULL && p->token.kind == QN_T_END) break;
        qn_jnode *part = parse_part(p, ends, which, &ended);
        ok = p->lexer.status == QUERN_OK;
        if (ok && !ended) ok = part != NULL && qn_jnodes_push(p, &items, part);
    }
    if (!ok) return qn_free(items.items), NULL;
    return qn_jnodes_move(p, &items, body) ? qn_jnode_finish(p, body) : NULL;
}

qn_jnode *qn_jparse_template(qn_jparser *p)
{
    static const char *const to_the_end[] = {NULL};
    size_t which;
    return qn_jparse_advance(p) ? qn_jparse_body(p, to_the_end, &which) : NULL;
}
