/* execute.c: statements: output, loops, macros, blocks that capture text. */
#include "base/checked.h"
#include "chat/ast.h"

#include <string.h>

enum { MAX_CAPTURED_BYTES = 64 << 20 }; /* of all captures under way together */

struct qn_jmacro {
    const qn_jnode *node;
    qn_jenv *env; /* where it was defined: its body sees those variables */
};

struct qn_jloop {
    const qn_jnode *node;
    qn_jval source; /* LIST, TUPLE, VIEW or RANGE */
    qn_jenv *outer;
    uint64_t index0;
    int64_t depth0;
    qn_jlist *changed; /* what changed() last saw, or NULL */
};

/* ---- output ---- */

static bool count_output(qn_jrender *r, size_t before)
{
    if (r->out->failed) {
        return r->out->over_max ? qn_jlimit(r, "the output is larger than %zu bytes", r->out->max_bytes)
                                : qn_jnomem(r);
    }
    r->captured_bytes += r->out->n_bytes - before;
    if (r->captured_bytes <= MAX_CAPTURED_BYTES + r->max_output) return true;
    return qn_jlimit(r, "text being captured is larger than %d MiB", MAX_CAPTURED_BYTES >> 20);
}

bool qn_jemit(qn_jrender *r, const char *bytes, size_t n_bytes)
{
    const size_t before = r->out->n_bytes;
    qn_buffer_append(r->out, bytes, n_bytes);
    return count_output(r, before) && qn_jwork(r, n_bytes / 16);
}

static bool emit_value(qn_jrender *r, qn_jval v)
{
    const size_t before = r->out->n_bytes;
    if (v.kind == QN_J_STRING) return qn_jemit(r, v.s->bytes, v.s->n_bytes);
    const bool ok = qn_jprint(r, r->out, v);
    return count_output(r, before) && ok;
}

typedef struct capture {
    qn_buffer text, *outer;
} capture;

static void begin_capture(qn_jrender *r, capture *c)
{
    c->text = (qn_buffer){.max_bytes = QN_J_MAX_STRING_BYTES};
    c->outer = r->out;
    r->out = &c->text;
}

/* Also after a failure: gives the memory back. */
static bool end_capture(qn_jrender *r, capture *c, bool ok, qn_jval *out)
{
    r->out = c->outer;
    r->captured_bytes -= qn_min_size(r->captured_bytes, c->text.n_bytes);
    if (ok) return qn_jtake(r, &c->text, out);
    qn_buffer_deinit(&c->text);
    return false;
}

/* A body in a scope of its own, its text captured. */
static qn_jflow capture_body(qn_jrender *r, const qn_jnode *body, qn_jval *out)
{
    capture c;
    if (!qn_jenv_enter(r, r->env)) return QN_FLOW_ERROR;
    begin_capture(r, &c);
    const qn_jflow flow = qn_jexecute(r, body);
    const bool ok = end_capture(r, &c, flow != QN_FLOW_ERROR, out);
    qn_jenv_leave(r);
    return ok ? flow : QN_FLOW_ERROR;
}

/* ---- macros ---- */

/* These variables may be needed after their block has ended. */
static void keep_env(qn_jenv *e)
{
    for (; e != NULL && !e->captured; e = e->parent) e->captured = true;
}

static bool create_macro(qn_jrender *r, const qn_jnode *n, qn_jval *out)
{
    qn_jmacro *m = qn_jalloc(r, sizeof *m);
    if (m == NULL) return false;
    *m = (qn_jmacro){.node = n, .env = r->env};
    keep_env(r->env);
    return *out = (qn_jval){.kind = QN_J_MACRO, .macro = m}, true;
}

static const qn_jstr *macro_name(const qn_jrender *r, const qn_jmacro *m)
{
    return &r->tmpl->symbols[m->node->symbol]->name;
}

bool qn_jmacro_attr(qn_jrender *r, const qn_jmacro *m, const qn_jstr *name, qn_jval *out)
{
    *out = qn_jmissing();
    if (name->n_bytes == 4 && memcmp(name->bytes, "name", 4) == 0) *out = qn_jstring(macro_name(r, m));
    if (name->n_bytes == 9 && memcmp(name->bytes, "arguments", 9) == 0) {
        qn_jlist *l = qn_jlist_create(r, m->node->n_args);
        if (l == NULL) return false;
        for (uint32_t i = 0; i < m->node->n_args; i++)
            l->items[l->n++] = qn_jstring(&r->tmpl->symbols[m->node->args[i].symbol]->name);
        *out = qn_jseq(QN_J_TUPLE, l);
    }
    return true;
}

/* The argument for parameter i: by position, by name, by default, or undefined. */
static bool bind_parameter(qn_jrender *r, const qn_jmacro *m, uint32_t i, const qn_jargs *args,
                           size_t *n_used)
{
    const qn_jarg *parameter = &m->node->args[i];
    const qn_jstr *name = &r->tmpl->symbols[parameter->symbol]->name;
    if (i < args->n) return qn_jenv_set(r, parameter->symbol, args->values[i]);
    for (size_t k = 0; k < args->n_named; k++) {
        const qn_jstr *given = args->names[k];
        if (given->n_bytes != name->n_bytes || memcmp(given->bytes, name->bytes, name->n_bytes) != 0)
            continue;
        ++*n_used;
        return qn_jenv_set(r, parameter->symbol, args->values[args->n + k]);
    }
    qn_jval v = qn_jundefined(name, QN_J_MISSING);
    if (parameter->node != NULL && !qn_jeval(r, parameter->node, &v)) return false;
    return qn_jenv_set(r, parameter->symbol, v);
}

static bool is_parameter(const qn_jrender *r, const qn_jmacro *m, const qn_jstr *name)
{
    for (uint32_t i = 0; i < m->node->n_args; i++) {
        const qn_jstr *p = &r->tmpl->symbols[m->node->args[i].symbol]->name;
        if (p->n_bytes == name->n_bytes && memcmp(p->bytes, name->bytes, name->n_bytes) == 0) return true;
    }
    return false;
}

/* varargs, kwargs and caller, for those macros that mention them; what is left over is an error. */
static bool bind_rest(qn_jrender *r, const qn_jmacro *m, const qn_jargs *args)
{
    const qn_jinja *t = r->tmpl;
    const qn_quoted name = qn_quote(macro_name(r, m)->bytes, macro_name(r, m)->n_bytes);
    qn_jlist *rest = qn_jlist_create(r, 0);
    qn_jdict *named = qn_jdict_create(r);
    qn_jval caller = qn_jundefined(&t->symbols[t->symbol_caller]->name, QN_J_MISSING);
    if (rest == NULL || named == NULL) return false;
    for (size_t i = m->node->n_args; i < args->n; i++)
        if (!qn_jlist_push(r, rest, args->values[i])) return false;
    for (size_t i = 0; i < args->n_named; i++) {
        const qn_jstr *given = args->names[i];
        const qn_jval v = args->values[args->n + i];
        if (is_parameter(r, m, given)) continue;
        if ((m->node->op & QN_MACRO_CALLER) && given->n_bytes == 6 && memcmp(given->bytes, "caller", 6) == 0)
            caller = v;
        else if (!qn_jdict_set(r, named, qn_jstring(given), v)) return false;
    }
    if (rest->n > 0 && !(m->node->op & QN_MACRO_VARARGS))
        return qn_jfail(r, "macro '%s' takes at most %u arguments, not %zu", name.text, m->node->n_args,
                        args->n);
    if (named->n_live > 0 && !(m->node->op & QN_MACRO_KWARGS))
        return qn_jfail(r, "macro '%s' has no argument '%s'", name.text,
                        qn_quote(named->items[0].key.s->bytes, named->items[0].key.s->n_bytes).text);
    if ((m->node->op & QN_MACRO_VARARGS) && !qn_jenv_set(r, t->symbol_varargs, qn_jseq(QN_J_TUPLE, rest)))
        return false;
    if ((m->node->op & QN_MACRO_KWARGS) && !qn_jenv_set(r, t->symbol_kwargs, qn_jmapping(named)))
        return false;
    return !(m->node->op & QN_MACRO_CALLER) || qn_jenv_set(r, t->symbol_caller, caller);
}

static bool enter_call(qn_jrender *r)
{
    if (r->macro_depth >= QN_J_MAX_MACRO_DEPTH)
        return qn_jlimit(r, "macros call each other more than %d deep", QN_J_MAX_MACRO_DEPTH);
    r->macro_depth++;
    return true;
}

static bool call_macro(qn_jrender *r, const qn_jmacro *m, const qn_jargs *args, qn_jval *out)
{
    capture c;
    size_t n_used = 0;
    const uint32_t line = r->line;
    if (!enter_call(r) || !qn_jenv_enter(r, m->env)) return false;
    const bool simple = args->n <= m->node->n_args && (m->node->op == 0);
    bool ok = true;
    begin_capture(r, &c);
    for (uint32_t i = 0; i < m->node->n_args && ok; i++) ok = bind_parameter(r, m, i, args, &n_used);
    r->line = line;
    if (ok && (!simple || n_used < args->n_named)) ok = bind_rest(r, m, args);
    ok = ok && qn_jexecute(r, m->node->a) != QN_FLOW_ERROR;
    ok = end_capture(r, &c, ok, out);
    qn_jenv_leave(r);
    r->macro_depth--;
    if (ok) r->line = line;
    return ok;
}

/* ---- loops ---- */

static uint64_t loop_length(const qn_jloop *l)
{
    return l->source.kind == QN_J_RANGE ? l->source.range->n : l->source.list->n;
}

static qn_jval loop_item(const qn_jloop *l, uint64_t i)
{
    if (l->source.kind == QN_J_RANGE) return qn_jint(qn_jrange_at(l->source.range, i));
    return l->source.list->items[i];
}

bool qn_jloop_attr(qn_jrender *r, qn_jloop *l, const qn_jstr *name, qn_jval *out)
{
    static const char *const names[] = {"index",     "index0",   "first",    "last",  "length", "revindex",
                                        "revindex0", "previtem", "nextitem", "depth", "depth0"};
    const uint64_t n = loop_length(l), i = l->index0;
    size_t which = 0;
    while (which < 11 &&
           (strlen(names[which]) != name->n_bytes || memcmp(names[which], name->bytes, name->n_bytes) != 0))
        which++;
    switch (which) {
    case 0:
        *out = qn_jint((int64_t)i + 1);
        break;
    case 1:
        *out = qn_jint((int64_t)i);
        break;
    case 2:
        *out = qn_jbool(i == 0);
        break;
    case 3:
        *out = qn_jbool(i + 1 >= n);
        break;
    case 4:
        *out = qn_jint((int64_t)n);
        break;
    case 5:
        *out = qn_jint((int64_t)(n - i));
        break;
    case 6:
        *out = qn_jint((int64_t)(n - i) - 1);
        break;
    case 7:
        *out = i > 0 && i - 1 < n ? loop_item(l, i - 1) : qn_jundefined(name, QN_J_LOOP);
        break;
    case 8:
        *out = i + 1 < n ? loop_item(l, i + 1) : qn_jundefined(name, QN_J_LOOP);
        break;
    case 9:
        *out = qn_jint(l->depth0 + 1);
        break;
    case 10:
        *out = qn_jint(l->depth0);
        break;
    default:
        *out = qn_jmissing();
    }
    return qn_jwork(r, 0);
}

bool qn_jloop_cycle(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    if (args->n == 0 || args->n_named > 0) return qn_jfail(r, "loop.cycle wants at least one item");
    return *out = args->values[self.loop->index0 % args->n], true;
}

bool qn_jloop_changed(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out)
{
    qn_jlist *now = qn_jlist_create(r, args->n);
    bool same = false;
    if (now == NULL) return false;
    if (args->n > 0) memcpy(now->items, args->values, args->n * sizeof *now->items);
    now->n = args->n;
    if (self.loop->changed != NULL &&
        !qn_jequal(r, qn_jseq(QN_J_TUPLE, now), qn_jseq(QN_J_TUPLE, self.loop->changed), &same))
        return false;
    if (!same) self.loop->changed = now;
    return *out = qn_jbool(!same), true;
}

/* One round with its own variables. */
static qn_jflow loop_round(qn_jrender *r, const qn_jnode *n, qn_jloop *loop, qn_jval item)
{
    if (!qn_jstep(r) || !qn_jenv_enter(r, loop->outer)) return QN_FLOW_ERROR;
    qn_jflow flow = QN_FLOW_ERROR;
    const qn_jval self = {.kind = QN_J_LOOP, .loop = loop};
    if (qn_jenv_set(r, r->tmpl->symbol_loop, self) && qn_jassign(r, n->a, item))
        flow = qn_jexecute(r, n->items[0]);
    qn_jenv_leave(r);
    return flow;
}

/* `for x in y if c`: the items that pass. */
static bool filter_items(qn_jrender *r, const qn_jnode *n, qn_jloop *loop)
{
    qn_jlist *kept = qn_jlist_create(r, 0);
    if (kept == NULL) return false;
    for (uint64_t i = 0; i < loop_length(loop); i++) {
        const qn_jval item = loop_item(loop, i);
        qn_jval test;
        if (!qn_jstep(r) || !qn_jenv_enter(r, loop->outer)) return false;
        const bool ok = qn_jassign(r, n->a, item) && qn_jeval(r, n->c, &test);
        qn_jenv_leave(r);
        if (!ok || (qn_jtrue(test) && !qn_jlist_push(r, kept, item))) return false;
    }
    loop->source = qn_jseq(QN_J_LIST, kept);
    return true;
}

static qn_jflow run_loop(qn_jrender *r, const qn_jnode *n, qn_jval over, qn_jenv *outer, int64_t depth0)
{
    qn_jloop *loop = qn_jalloc(r, sizeof *loop);
    if (loop == NULL) return QN_FLOW_ERROR;
    *loop = (qn_jloop){.node = n, .source = over, .outer = outer, .depth0 = depth0};
    if (over.kind != QN_J_RANGE && over.kind != QN_J_LIST) {
        qn_jlist *l;
        if (!qn_jiterate(r, over, false, &l)) return QN_FLOW_ERROR;
        loop->source = qn_jseq(QN_J_LIST, l);
    }
    if (n->flag) keep_env(outer); /* the loop can be called, also from elsewhere */
    if (n->c != NULL && !filter_items(r, n, loop)) return QN_FLOW_ERROR;
    for (; loop->index0 < loop_length(loop); loop->index0++) { /* a list may grow meanwhile; steps end it */
        const qn_jflow flow = loop_round(r, n, loop, loop_item(loop, loop->index0));
        if (flow == QN_FLOW_ERROR) return flow;
        if (flow == QN_FLOW_BREAK) break;
    }
    if (loop->index0 > 0 || loop_length(loop) > 0 || n->items[1] == NULL) return QN_FLOW_NEXT;
    if (!qn_jenv_enter(r, outer)) return QN_FLOW_ERROR;
    const qn_jflow flow = qn_jexecute(r, n->items[1]);
    qn_jenv_leave(r);
    return flow;
}

/* loop(children) in a recursive loop: the loop's own text for other items. */
static bool call_loop(qn_jrender *r, const qn_jloop *loop, const qn_jargs *args, qn_jval *out)
{
    qn_jval over;
    capture c;
    if (!loop->node->flag) return qn_jfail(r, "loop(...) needs {%% for ... recursive %%}");
    if (!qn_jbind(r, args, "loop", "iterable", 1, &over) || !enter_call(r)) return false;
    begin_capture(r, &c);
    const bool ok = run_loop(r, loop->node, over, loop->outer, loop->depth0 + 1) != QN_FLOW_ERROR;
    r->macro_depth--;
    return end_capture(r, &c, ok, out);
}

bool qn_jcall(qn_jrender *r, qn_jval callee, const qn_jargs *args, qn_jval *out)
{
    switch (callee.kind) {
    case QN_J_MACRO:
        return call_macro(r, callee.macro, args, out);
    case QN_J_FUNCTION:
        return callee.function->call(r, qn_jnone(), args, out);
    case QN_J_METHOD:
        return callee.method->entry->call(r, callee.method->self, args, out);
    case QN_J_LOOP:
        return call_loop(r, callee.loop, args, out);
    case QN_J_JOINER: /* nothing at the first call, the separator later */
        if (callee.cycler->position++ == 0) return qn_jtext(r, "", out);
        return *out = callee.cycler->items->items[0], true;
    case QN_J_UNDEFINED:
        return qn_jundefined_error(r, callee);
    default:
        return qn_jfail(r, "a value of type %s cannot be called", qn_jtype_name(callee));
    }
}

/* ---- statements ---- */

static qn_jflow flow_of(bool ok)
{
    return ok ? QN_FLOW_NEXT : QN_FLOW_ERROR;
}

static qn_jflow exec_block(qn_jrender *r, const qn_jnode *n)
{
    for (uint32_t i = 0; i < n->n_items; i++) {
        const qn_jflow flow = qn_jexecute(r, n->items[i]);
        if (flow != QN_FLOW_NEXT) return flow;
    }
    return QN_FLOW_NEXT;
}

static qn_jflow exec_output(qn_jrender *r, const qn_jnode *n)
{
    qn_jval v;
    if (!qn_jeval(r, n->a, &v)) return QN_FLOW_ERROR;
    r->line = n->line;
    return flow_of(emit_value(r, v));
}

static qn_jflow exec_if(qn_jrender *r, const qn_jnode *n)
{
    for (uint32_t i = 0; i + 1 < n->n_items; i += 2) {
        qn_jval test;
        if (!qn_jeval(r, n->items[i], &test)) return QN_FLOW_ERROR;
        if (qn_jtrue(test)) return qn_jexecute(r, n->items[i + 1]);
    }
    return n->a != NULL ? qn_jexecute(r, n->a) : QN_FLOW_NEXT;
}

static qn_jflow exec_for(qn_jrender *r, const qn_jnode *n)
{
    qn_jval over;
    if (!qn_jeval(r, n->b, &over)) return QN_FLOW_ERROR;
    r->line = n->line;
    return run_loop(r, n, over, r->env, 0);
}

static qn_jflow exec_set(qn_jrender *r, const qn_jnode *n)
{
    qn_jval v;
    return flow_of(qn_jeval(r, n->b, &v) && qn_jassign(r, n->a, v));
}

static qn_jflow exec_set_block(qn_jrender *r, const qn_jnode *n)
{
    qn_jval text;
    const qn_jflow flow = capture_body(r, n->c, &text);
    if (flow == QN_FLOW_ERROR || (n->b != NULL && !qn_japply_filter(r, n->b, text, &text)))
        return QN_FLOW_ERROR;
    return qn_jassign(r, n->a, text) ? flow : QN_FLOW_ERROR;
}

static qn_jflow exec_filter_block(qn_jrender *r, const qn_jnode *n)
{
    qn_jval text;
    const qn_jflow flow = capture_body(r, n->b, &text);
    if (flow == QN_FLOW_ERROR || !qn_japply_filter(r, n->a, text, &text)) return QN_FLOW_ERROR;
    return emit_value(r, text) ? flow : QN_FLOW_ERROR;
}

static qn_jflow exec_macro(qn_jrender *r, const qn_jnode *n)
{
    qn_jval macro;
    return flow_of(create_macro(r, n, &macro) && qn_jenv_set(r, n->symbol, macro));
}

static qn_jflow exec_call_block(qn_jrender *r, const qn_jnode *n)
{
    qn_jval caller, text;
    if (!create_macro(r, n->b, &caller)) return QN_FLOW_ERROR;
    const qn_jstr *name = &r->tmpl->symbols[r->tmpl->symbol_caller]->name;
    return flow_of(qn_jeval_call(r, n->a, name, &caller, &text) && emit_value(r, text));
}

static qn_jflow exec_with(qn_jrender *r, const qn_jnode *n)
{
    qn_jenv *outer = r->env;
    bool ok = qn_jenv_enter(r, outer);
    if (!ok) return QN_FLOW_ERROR;
    for (uint32_t i = 0; i + 1 < n->n_items && ok; i += 2) {
        qn_jenv *inner = r->env;
        qn_jval v;
        r->env = outer; /* values do not see the names beside them */
        ok = qn_jeval(r, n->items[i + 1], &v);
        r->env = inner;
        ok = ok && qn_jassign(r, n->items[i], v);
    }
    const qn_jflow flow = ok ? qn_jexecute(r, n->a) : QN_FLOW_ERROR;
    qn_jenv_leave(r);
    return flow;
}

static qn_jflow exec_scope(qn_jrender *r, const qn_jnode *n)
{
    if (!qn_jenv_enter(r, r->env)) return QN_FLOW_ERROR;
    const qn_jflow flow = qn_jexecute(r, n->a);
    qn_jenv_leave(r);
    return flow;
}

static qn_jflow execute_node(qn_jrender *r, const qn_jnode *n)
{
    qn_jval ignored;
    switch ((qn_jnode_kind)n->kind) {
    case QN_N_BLOCK:
        return exec_block(r, n);
    case QN_N_DATA:
        return flow_of(qn_jemit(r, n->value.s->bytes, n->value.s->n_bytes));
    case QN_N_OUTPUT:
        return exec_output(r, n);
    case QN_N_IF:
        return exec_if(r, n);
    case QN_N_FOR:
        return exec_for(r, n);
    case QN_N_SET:
        return exec_set(r, n);
    case QN_N_SET_BLOCK:
        return exec_set_block(r, n);
    case QN_N_MACRO:
        return exec_macro(r, n);
    case QN_N_CALL_BLOCK:
        return exec_call_block(r, n);
    case QN_N_FILTER_BLOCK:
        return exec_filter_block(r, n);
    case QN_N_WITH:
        return exec_with(r, n);
    case QN_N_SCOPE:
        return exec_scope(r, n);
    case QN_N_DO:
        return flow_of(qn_jeval(r, n->a, &ignored));
    case QN_N_BREAK:
        return QN_FLOW_BREAK;
    case QN_N_CONTINUE:
        return QN_FLOW_CONTINUE;
    default:
        return qn_jfail(r, "this is no statement"), QN_FLOW_ERROR;
    }
}

qn_jflow qn_jexecute(qn_jrender *r, const qn_jnode *n)
{
    if (!qn_jstep(r)) return QN_FLOW_ERROR;
    r->line = n->line;
    if (r->depth >= QN_J_MAX_EVAL_DEPTH) {
        qn_jlimit(r, "evaluation nested deeper than %d", QN_J_MAX_EVAL_DEPTH);
        return QN_FLOW_ERROR;
    }
    r->depth++;
    const qn_jflow flow = execute_node(r, n);
    r->depth--;
    return r->status == QUERN_OK ? flow : QN_FLOW_ERROR;
}
