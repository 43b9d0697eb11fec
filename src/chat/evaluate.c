/* evaluate.c: expressions to values, by walking the tree. Each node costs a step and a level. */
#include "chat/ast.h"

#include <string.h>

/* ---- variables ---- */

bool qn_jenv_enter(qn_jrender *r, qn_jenv *parent)
{
    qn_jenv *e = r->free_envs;
    if (e != NULL) r->free_envs = e->saved;
    else if ((e = qn_jalloc(r, sizeof *e)) == NULL) return false;
    e->n = 0;
    e->captured = false;
    e->parent = parent;
    e->saved = r->env;
    r->env = e;
    return true;
}

void qn_jenv_leave(qn_jrender *r)
{
    qn_jenv *e = r->env;
    r->env = e->saved;
    if (e->captured) return;
    e->saved = r->free_envs;
    r->free_envs = e;
}

bool qn_jenv_set(qn_jrender *r, uint32_t symbol, qn_jval v)
{
    qn_jenv *e = r->env;
    for (size_t i = 0; i < e->n; i++)
        if (e->items[i].symbol == symbol) return e->items[i].value = v, true;
    if (e->n == e->capacity) {
        const size_t capacity = e->capacity == 0 ? 4 : e->capacity * 2; /* at most the template's names */
        qn_jbinding *items = qn_jalloc(r, capacity * sizeof *items);
        if (items == NULL) return false;
        if (e->n > 0) memcpy(items, e->items, e->n * sizeof *items);
        e->items = items;
        e->capacity = capacity;
    }
    e->items[e->n++] = (qn_jbinding){symbol, v};
    return true;
}

bool qn_jlookup(qn_jrender *r, uint32_t symbol, qn_jval *out)
{
    for (const qn_jenv *e = r->env; e != NULL; e = e->parent) {
        for (size_t i = 0; i < e->n; i++)
            if (e->items[i].symbol == symbol) return *out = e->items[i].value, true;
        if (!qn_jwork(r, e->n)) return false;
    }
    const qn_jsymbol *s = r->tmpl->symbols[symbol];
    qn_jval *known = &r->context[symbol];
    if (known->kind == QN_J_MISSING) {
        const json_t *j = json_object_get(r->variables, s->name.bytes);
        if (j != NULL && strlen(s->name.bytes) == s->name.n_bytes) {
            if (!qn_jfrom_json(r, j, known)) return *known = qn_jmissing(), false;
        } else if (s->global != NULL) {
            *known = (qn_jval){.kind = QN_J_FUNCTION, .function = s->global};
        } else {
            *known = qn_jundefined(&s->name, QN_J_MISSING);
        }
    }
    *out = *known;
    return true;
}

static bool unpack(qn_jrender *r, const qn_jnode *target, qn_jval v)
{
    qn_jlist *l;
    if (!qn_jiterate(r, v, false, &l)) return false;
    if (l->n != target->n_items)
        return qn_jfail(r, "%u values are expected here, but there are %zu", target->n_items, l->n);
    for (uint32_t i = 0; i < target->n_items; i++)
        if (!qn_jassign(r, target->items[i], l->items[i])) return false;
    return true;
}

bool qn_jassign(qn_jrender *r, const qn_jnode *target, qn_jval v)
{
    r->line = target->line;
    if (target->kind == QN_N_NAME) return qn_jenv_set(r, target->symbol, v);
    if (target->kind == QN_N_TUPLE) return unpack(r, target, v);
    const qn_jstr *name = &r->tmpl->symbols[target->symbol]->name;
    const qn_jstr *owner = &r->tmpl->symbols[target->a->symbol]->name;
    qn_jval ns;
    if (!qn_jlookup(r, target->a->symbol, &ns)) return false;
    if (ns.kind != QN_J_NAMESPACE)
        return qn_jfail(r, "'%s' is no namespace: its attribute '%s' cannot be set",
                        qn_quote(owner->bytes, owner->n_bytes).text,
                        qn_quote(name->bytes, name->n_bytes).text);
    return qn_jdict_set(r, ns.dict, qn_jstring(name), v);
}

/* ---- calls ---- */

typedef struct arg_lists { /* arguments whose number shows only now */
    qn_jlist *values, *named;
    const qn_jstr **names;
    size_t name_capacity;
} arg_lists;

static bool push_named(qn_jrender *r, arg_lists *l, const qn_jstr *name, qn_jval v)
{
    if (l->named->n == l->name_capacity) {
        const size_t capacity = l->name_capacity == 0 ? 8 : l->name_capacity * 2;
        const qn_jstr **names = qn_jalloc(r, capacity * sizeof *names);
        if (names == NULL) return false;
        if (l->named->n > 0) memcpy(names, l->names, l->named->n * sizeof *names);
        l->names = names;
        l->name_capacity = capacity;
    }
    l->names[l->named->n] = name;
    return qn_jlist_push(r, l->named, v);
}

static bool push_arg(qn_jrender *r, const qn_jarg *arg, arg_lists *l)
{
    qn_jval v;
    qn_jlist *more;
    if (!qn_jeval(r, arg->node, &v)) return false;
    if (arg->kind == QN_ARG_POSITIONAL) return qn_jlist_push(r, l->values, v);
    if (arg->kind == QN_ARG_NAMED) return push_named(r, l, &r->tmpl->symbols[arg->symbol]->name, v);
    if (arg->kind == QN_ARG_LIST) {
        if (!qn_jiterate(r, v, false, &more)) return false;
        for (size_t i = 0; i < more->n; i++)
            if (!qn_jlist_push(r, l->values, more->items[i])) return false;
        return true;
    }
    if (v.kind != QN_J_DICT) return qn_jfail(r, "** wants a mapping, not %s", qn_jtype_name(v));
    for (size_t i = 0; i < v.dict->n_used; i++) {
        const qn_jitem *item = &v.dict->items[i];
        if (item->key.kind == QN_J_MISSING) continue;
        if (item->key.kind != QN_J_STRING)
            return qn_jfail(r, "** wants names as keys, not %s", qn_jtype_name(item->key));
        if (!push_named(r, l, item->key.s, item->value)) return false;
    }
    return true;
}

static bool eval_many_args(qn_jrender *r, const qn_jnode *n, const qn_jstr *extra_name, const qn_jval *extra,
                           qn_jcall_values *out)
{
    arg_lists l = {.values = qn_jlist_create(r, n->n_args), .named = qn_jlist_create(r, 0)};
    if (l.values == NULL || l.named == NULL) return false;
    for (uint32_t i = 0; i < n->n_args; i++)
        if (!push_arg(r, &n->args[i], &l)) return false;
    if (extra != NULL && !push_named(r, &l, extra_name, *extra)) return false;
    out->args = (qn_jargs){.n = l.values->n, .n_named = l.named->n, .names = l.names};
    for (size_t i = 0; i < l.named->n; i++)
        if (!qn_jlist_push(r, l.values, l.named->items[i])) return false;
    out->args.values = l.values->items;
    return true;
}

bool qn_jeval_args(qn_jrender *r, const qn_jnode *n, const qn_jstr *extra_name, const qn_jval *extra,
                   qn_jcall_values *out)
{
    const size_t total = n->n_args + (extra != NULL);
    bool simple = total <= sizeof out->local / sizeof out->local[0];
    for (uint32_t i = 0; i < n->n_args && simple; i++) simple = n->args[i].kind <= QN_ARG_NAMED;
    if (!simple) return eval_many_args(r, n, extra_name, extra, out);
    size_t n_named = 0;
    for (uint32_t i = 0; i < n->n_args; i++) { /* named ones stand behind the others: the parser saw to it */
        if (n->args[i].kind == QN_ARG_NAMED)
            out->local_names[n_named++] = &r->tmpl->symbols[n->args[i].symbol]->name;
        if (!qn_jeval(r, n->args[i].node, &out->local[i])) return false;
    }
    if (extra != NULL) {
        out->local_names[n_named++] = extra_name;
        out->local[total - 1] = *extra;
    }
    out->args =
        (qn_jargs){.values = out->local, .n = total - n_named, .n_named = n_named, .names = out->local_names};
    return true;
}

bool qn_jeval_call(qn_jrender *r, const qn_jnode *n, const qn_jstr *extra_name, const qn_jval *extra,
                   qn_jval *out)
{
    qn_jval callee;
    const qn_jentry *method = NULL;
    if (n->a->kind == QN_N_ATTR) { /* a method call needs no method object */
        const qn_jstr *name = &r->tmpl->symbols[n->a->symbol]->name;
        if (!qn_jeval(r, n->a->a, &callee)) return false;
        r->line = n->a->line;
        if (callee.kind != QN_J_NAMESPACE && callee.kind != QN_J_UNDEFINED)
            method = qn_jfind_method(callee, name->bytes, name->n_bytes);
        if (method == NULL && !qn_jgetattr(r, callee, name, &callee)) return false;
    } else if (!qn_jeval(r, n->a, &callee)) {
        return false;
    }
    qn_jcall_values values;
    if (!qn_jeval_args(r, n, extra_name, extra, &values)) return false;
    r->line = n->line;
    return method != NULL ? method->call(r, callee, &values.args, out)
                          : qn_jcall(r, callee, &values.args, out);
}

static bool call_filter(qn_jrender *r, const qn_jnode *n, qn_jval input, qn_jval *out)
{
    qn_jcall_values values;
    r->line = n->line;
    if (n->entry == NULL) {
        const qn_jstr *name = &r->tmpl->symbols[n->symbol]->name;
        return qn_jfail(r, "there is no filter '%s'", qn_quote(name->bytes, name->n_bytes).text);
    }
    if (!qn_jeval_args(r, n, NULL, NULL, &values)) return false;
    r->line = n->line;
    return n->entry->call(r, input, &values.args, out) && r->status == QUERN_OK;
}

/* A chain of filters over the text of a block: the innermost has no input of its own. */
bool qn_japply_filter(qn_jrender *r, const qn_jnode *n, qn_jval input, qn_jval *out)
{
    if (n->a != NULL && !qn_japply_filter(r, n->a, input, &input)) return false;
    return call_filter(r, n, input, out);
}

/* ---- the kinds of nodes ---- */

static bool eval_filter(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jval input;
    return qn_jeval(r, n->a, &input) && call_filter(r, n, input, out);
}

static bool eval_test(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jval input;
    qn_jcall_values values;
    if (!qn_jeval(r, n->a, &input)) return false;
    r->line = n->line;
    if (n->entry == NULL) {
        const qn_jstr *name = &r->tmpl->symbols[n->symbol]->name;
        return qn_jfail(r, "there is no test '%s'", qn_quote(name->bytes, name->n_bytes).text);
    }
    if (!qn_jeval_args(r, n, NULL, NULL, &values)) return false;
    r->line = n->line;
    if (!n->entry->call(r, input, &values.args, out)) return false;
    if (n->flag) out->b = !out->b;
    return true;
}

static bool eval_items(qn_jrender *r, const qn_jnode *n, qn_jkind kind, qn_jval *out)
{
    qn_jlist *l = qn_jlist_create(r, n->n_items);
    if (l == NULL) return false;
    for (uint32_t i = 0; i < n->n_items; i++) {
        qn_jval v;
        if (!qn_jeval(r, n->items[i], &v) || !qn_jlist_push(r, l, v)) return false;
    }
    return *out = qn_jseq(kind, l), true;
}

static bool eval_dict(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jdict *d = qn_jdict_create(r);
    if (d == NULL) return false;
    for (uint32_t i = 0; i + 1 < n->n_items; i += 2) {
        qn_jval key, value;
        if (!qn_jeval(r, n->items[i], &key) || !qn_jeval(r, n->items[i + 1], &value)) return false;
        r->line = n->line;
        if (!qn_jdict_set(r, d, key, value)) return false;
    }
    return *out = qn_jmapping(d), true;
}

static bool eval_attr(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jval object;
    if (!qn_jeval(r, n->a, &object)) return false;
    r->line = n->line;
    return qn_jgetattr(r, object, &r->tmpl->symbols[n->symbol]->name, out);
}

static bool eval_item(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jval object, key;
    if (!qn_jeval(r, n->a, &object) || !qn_jeval(r, n->b, &key)) return false;
    r->line = n->line;
    return qn_jgetitem(r, object, key, out);
}

static bool eval_slice(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jval object, bounds[3] = {qn_jnone(), qn_jnone(), qn_jnone()};
    if (!qn_jeval(r, n->a, &object)) return false;
    for (int i = 0; i < 3; i++)
        if (n->items[i] != NULL && !qn_jeval(r, n->items[i], &bounds[i])) return false;
    r->line = n->line;
    return qn_jslice(r, object, bounds, out);
}

static bool eval_binary(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jval a, b;
    if (!qn_jeval(r, n->a, &a) || !qn_jeval(r, n->b, &b)) return false;
    r->line = n->line;
    return qn_jbinary(r, (char)n->op, a, b, out);
}

static bool eval_unary(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jval v;
    int64_t i;
    if (!qn_jeval(r, n->a, &v)) return false;
    r->line = n->line;
    if (n->kind == QN_N_NOT) return *out = qn_jbool(!qn_jtrue(v)), true;
    if (n->kind == QN_N_NEGATE) return qn_jnegate(r, v, out);
    if (v.kind == QN_J_FLOAT) return *out = v, true;
    if (qn_jas_int(v, &i)) return *out = qn_jint(i), true;
    return v.kind == QN_J_UNDEFINED ? qn_jundefined_error(r, v)
                                    : qn_jfail(r, "'+' is not supported for %s", qn_jtype_name(v));
}

static bool compare_once(qn_jrender *r, int op, qn_jval a, qn_jval b, bool *result)
{
    static const char *const names[] = {"==", "!=", "<", "<=", ">", ">="};
    int order = 0;
    if (op == QN_CMP_EQ || op == QN_CMP_NE) {
        if (!qn_jequal(r, a, b, result)) return false;
        *result = *result == (op == QN_CMP_EQ);
        return true;
    }
    if (op == QN_CMP_IN || op == QN_CMP_NOT_IN) {
        if (!qn_jcontains(r, b, a, result)) return false;
        *result = *result == (op == QN_CMP_IN);
        return true;
    }
    if (!qn_jcompare(r, a, b, names[op], &order)) return false; /* 2: one is not a number, nothing holds */
    *result = op == QN_CMP_LT   ? order == -1
              : op == QN_CMP_LE ? order == -1 || order == 0
              : op == QN_CMP_GT ? order == 1
                                : order == 1 || order == 0;
    return true;
}

static bool eval_compare(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jval a, b;
    bool result = true;
    if (!qn_jeval(r, n->a, &a)) return false;
    for (uint32_t i = 0; i < n->n_args && result; i++, a = b) { /* a < b < c is a < b and b < c */
        if (!qn_jeval(r, n->args[i].node, &b)) return false;
        r->line = n->line;
        if (!compare_once(r, n->args[i].kind, a, b, &result)) return false;
    }
    return *out = qn_jbool(result), true;
}

static bool eval_logic(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    if (!qn_jeval(r, n->a, out)) return false;
    return qn_jtrue(*out) == (n->kind == QN_N_OR) || qn_jeval(r, n->b, out);
}

static bool eval_concat(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jval joined = qn_jnone();
    for (uint32_t i = 0; i < n->n_items; i++) {
        qn_jval v;
        if (!qn_jeval(r, n->items[i], &v)) return false;
        r->line = n->line;
        if (!qn_jto_str(r, v, &v)) return false;
        if (i == 0) joined = v;
        else if (!qn_jconcat(r, joined.s, v.s, false, &joined)) return false;
    }
    return *out = joined, true;
}

static bool eval_cond(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jval test;
    if (!qn_jeval(r, n->a, &test)) return false;
    if (qn_jtrue(test)) return qn_jeval(r, n->b, out);
    if (n->c != NULL) return qn_jeval(r, n->c, out);
    return *out = qn_jundefined(NULL, QN_J_MISSING), true;
}

static bool eval_node(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    switch ((qn_jnode_kind)n->kind) {
    case QN_N_LIST:
        return eval_items(r, n, QN_J_LIST, out);
    case QN_N_TUPLE:
        return eval_items(r, n, QN_J_TUPLE, out);
    case QN_N_DICT:
        return eval_dict(r, n, out);
    case QN_N_ATTR:
        return eval_attr(r, n, out);
    case QN_N_ITEM:
        return eval_item(r, n, out);
    case QN_N_SLICE:
        return eval_slice(r, n, out);
    case QN_N_CALL:
        return qn_jeval_call(r, n, NULL, NULL, out);
    case QN_N_FILTER:
        return eval_filter(r, n, out);
    case QN_N_TEST:
        return eval_test(r, n, out);
    case QN_N_NEGATE:
    case QN_N_PLUS:
    case QN_N_NOT:
        return eval_unary(r, n, out);
    case QN_N_BINARY:
        return eval_binary(r, n, out);
    case QN_N_COMPARE:
        return eval_compare(r, n, out);
    case QN_N_AND:
    case QN_N_OR:
        return eval_logic(r, n, out);
    case QN_N_CONCAT:
        return eval_concat(r, n, out);
    case QN_N_COND:
        return eval_cond(r, n, out);
    default:
        return qn_jfail(r, "this is no expression");
    }
}

bool qn_jeval(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    if (!qn_jstep(r)) return false;
    r->line = n->line;
    if (n->kind == QN_N_CONST) return *out = n->value, true;
    if (n->kind == QN_N_NAME) return qn_jlookup(r, n->symbol, out);
    if (r->depth >= QN_J_MAX_EVAL_DEPTH)
        return qn_jlimit(r, "evaluation nested deeper than %d", QN_J_MAX_EVAL_DEPTH);
    r->depth++;
    const bool ok = eval_node(r, n, out);
    r->depth--;
    return ok && r->status == QUERN_OK;
}
