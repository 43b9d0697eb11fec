/* ast.h: a parsed template: nodes in one arena, names as numbers (symbols). Immutable once parsed. */
#ifndef QN_CHAT_AST_H
#define QN_CHAT_AST_H

#include "base/hash_map.h"
#include "chat/jinja.h"
#include "chat/value.h"

enum {
    QN_J_MAX_SOURCE_BYTES = 1 << 20,
    QN_J_MAX_PARSE_DEPTH = 200,
    QN_J_MAX_NODES = 200000,
};

typedef enum qn_jnode_kind {
    /* expressions */
    QN_N_CONST,  /* value */
    QN_N_NAME,   /* symbol */
    QN_N_LIST,   /* items */
    QN_N_TUPLE,  /* items */
    QN_N_DICT,   /* items: key, value, key, ... */
    QN_N_ATTR,   /* a.symbol */
    QN_N_ITEM,   /* a[b] */
    QN_N_SLICE,  /* a[items[0]:items[1]:items[2]], each may be NULL */
    QN_N_CALL,   /* a(args) */
    QN_N_FILTER, /* a|symbol(args); entry NULL: unknown; a NULL: the text of the block around it */
    QN_N_TEST,   /* a is symbol(args); flag: is not */
    QN_N_NEGATE,
    QN_N_PLUS,
    QN_N_NOT,     /* a */
    QN_N_BINARY,  /* a op b */
    QN_N_COMPARE, /* a, then args: op in `kind`, operand in `node` */
    QN_N_AND,
    QN_N_OR,     /* a, b */
    QN_N_CONCAT, /* items joined as text */
    QN_N_COND,   /* b if a else c; c may be NULL */
    QN_N_NSATTR, /* assignment to symbol a (a NAME) . symbol */
    /* statements */
    QN_N_BLOCK,  /* items one after the other */
    QN_N_DATA,   /* value: text */
    QN_N_OUTPUT, /* {{ a }} */
    QN_N_IF,     /* items: test, body, test, body, ...; a: the else body or NULL */
    QN_N_FOR,    /* a: target, b: iterable, c: filter or NULL; items: body, else or NULL; flag: recursive */
    QN_N_SET,    /* a = b */
    QN_N_SET_BLOCK,    /* a: target, b: filter chain or NULL, c: body */
    QN_N_MACRO,        /* symbol(args: symbol, default or NULL); a: body; op: QN_MACRO_ flags */
    QN_N_CALL_BLOCK,   /* a: CALL, b: the MACRO that is its caller */
    QN_N_FILTER_BLOCK, /* a: filter chain, b: body */
    QN_N_WITH,         /* items: target, value, ...; a: body */
    QN_N_SCOPE,        /* a: body, with its own variables */
    QN_N_DO,           /* a, for its effect */
    QN_N_BREAK,
    QN_N_CONTINUE,
} qn_jnode_kind;

enum { QN_MACRO_CALLER = 1, QN_MACRO_VARARGS = 2, QN_MACRO_KWARGS = 4 };
enum { QN_ARG_POSITIONAL, QN_ARG_NAMED, QN_ARG_LIST, QN_ARG_DICT }; /* x, name=x, *x, **x */
enum { QN_CMP_EQ, QN_CMP_NE, QN_CMP_LT, QN_CMP_LE, QN_CMP_GT, QN_CMP_GE, QN_CMP_IN, QN_CMP_NOT_IN };

typedef struct qn_jnode qn_jnode;

typedef struct qn_jarg {
    uint8_t kind;    /* QN_ARG_..., or QN_CMP_... */
    uint32_t symbol; /* of a named one */
    qn_jnode *node;
} qn_jarg;

struct qn_jnode {
    uint8_t kind, op;
    bool flag;
    uint16_t height; /* of the tree below: bounded, so evaluation may recurse */
    uint32_t line, symbol;
    uint32_t n_items, n_args;
    qn_jnode **items;
    qn_jarg *args;
    qn_jnode *a, *b, *c;
    union {
        qn_jval value;
        const qn_jentry *entry;
    };
};

typedef struct qn_jsymbol {
    qn_jstr name;
    const qn_jentry *global; /* the builtin of this name, or NULL */
} qn_jsymbol;

struct qn_jinja {
    struct qn_jchunk *chunks; /* nodes, names and text */
    size_t chunk_bytes;
    qn_jnode *body;
    qn_jsymbol **symbols;
    size_t n_symbols, symbol_capacity;
    qn_hash_map symbol_index;
    uint32_t symbol_loop, symbol_caller, symbol_varargs, symbol_kwargs;
};

/* Memory of a template or a rendering: chunks in a list, given back together. */
struct qn_jchunk {
    struct qn_jchunk *next;
    size_t used, size;
    max_align_t bytes[];
};
/* NULL: no memory. Zeroed. *total grows by what was taken from the heap. */
void *qn_jchunk_alloc(struct qn_jchunk **chunks, size_t *total, size_t n_bytes);
void qn_jchunk_destroy(struct qn_jchunk **chunks);

/* ---- lexer.c ---- */
typedef enum qn_jtoken_kind {
    QN_T_END,
    QN_T_DATA,
    QN_T_OUTPUT_BEGIN,
    QN_T_OUTPUT_END,
    QN_T_BLOCK_BEGIN,
    QN_T_BLOCK_END,
    QN_T_NAME,
    QN_T_STRING,
    QN_T_INT,
    QN_T_FLOAT,
    QN_T_OP
} qn_jtoken_kind;

#define QN_OP2(a, b) ((uint16_t)((unsigned char)(a) | (unsigned)(unsigned char)(b) << 8))

typedef struct qn_jtoken {
    uint8_t kind;
    uint16_t op; /* of an operator: its characters, see QN_OP2 */
    uint32_t line;
    const char *bytes; /* DATA, NAME, STRING (unescaped) */
    size_t n_bytes;
    int64_t i;
    double f;
} qn_jtoken;

typedef struct qn_jlexer {
    qn_jinja *tmpl; /* owns unescaped strings */
    const char *source;
    size_t n_bytes, pos;
    uint32_t line;
    enum { QN_LEX_DATA, QN_LEX_OUTPUT, QN_LEX_BLOCK } state;
    bool line_start;    /* what came before ended with a line end: indentation may be stripped */
    char brackets[256]; /* open ones within the tag, innermost last */
    size_t n_brackets;
    quern_error *err;
    quern_status status;
} qn_jlexer;

bool qn_jlex_next(qn_jlexer *x, qn_jtoken *t);
__attribute__((format(printf, 3, 4))) bool qn_jlex_fail(qn_jlexer *x, uint32_t line, const char *format, ...);

/* ---- parser.c, statements.c ---- */
typedef struct qn_jparser {
    qn_jlexer lexer;
    qn_jinja *tmpl;
    qn_jtoken token, ahead;
    bool has_ahead;
    int depth, n_loops;
    size_t n_nodes;
    uint8_t macro_flags; /* which of caller, varargs, kwargs the macro being parsed mentions */
} qn_jparser;

bool qn_jparse_advance(qn_jparser *p);
bool qn_jparse_peek(qn_jparser *p, const qn_jtoken **t);
bool qn_jparse_fail(qn_jparser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool qn_jparse_unexpected(qn_jparser *p, const char *wanted);
bool qn_jparse_enter(qn_jparser *p); /* one level deeper; pair with p->depth-- */
qn_jnode *qn_jnode_create(qn_jparser *p, qn_jnode_kind kind, uint32_t line);
/* The node is now as high as its children demand; NULL, with the message, if that is too high. */
qn_jnode *qn_jnode_finish(qn_jparser *p, qn_jnode *n);
bool qn_jparse_symbol(qn_jparser *p, const char *bytes, size_t n_bytes, uint32_t *symbol);
bool qn_jtoken_is_op(const qn_jtoken *t, const char *op);
bool qn_jtoken_is_name(const qn_jtoken *t, const char *name);
bool qn_jparse_expect_op(qn_jparser *p, const char *op);
bool qn_jparse_skip_op(qn_jparser *p, const char *op, bool *skipped);
bool qn_jparse_skip_name(qn_jparser *p, const char *name, bool *skipped);

typedef struct qn_jnodes { /* a list under construction */
    qn_jnode **items;
    size_t n, capacity;
} qn_jnodes;
bool qn_jnodes_push(qn_jparser *p, qn_jnodes *l, qn_jnode *n);
/* Moves the list into the template and frees it; false: no memory. */
bool qn_jnodes_move(qn_jparser *p, qn_jnodes *l, qn_jnode *into);

qn_jnode *qn_jparse_expression(qn_jparser *p);         /* with `x if y else z` */
qn_jnode *qn_jparse_expression_no_cond(qn_jparser *p); /* without, as after `in` of a for */
qn_jnode *qn_jparse_tuple(qn_jparser *p, bool with_cond, bool explicit_parentheses); /* a, b or just a */
qn_jnode *qn_jparse_target(qn_jparser *p, bool with_namespace); /* what may be assigned to */
qn_jnode *qn_jparse_filters(qn_jparser *p, qn_jnode *input, bool start_inline);
qn_jnode *qn_jparse_postfix_only(qn_jparser *p);                                 /* primary with .x [x] (x) */
bool qn_jparse_call_args(qn_jparser *p, qn_jnode *call);                         /* at '(' */
qn_jnode *qn_jparse_body(qn_jparser *p, const char *const *ends, size_t *which); /* up to a tag in ends */
qn_jnode *qn_jparse_template(qn_jparser *p);

/* ---- evaluate.c, execute.c ---- */
bool qn_jeval(qn_jrender *r, const qn_jnode *n, qn_jval *out);
typedef struct qn_jcall_values { /* evaluated arguments; local[] spares small calls the memory */
    qn_jargs args;
    qn_jval local[6];
    const qn_jstr *local_names[6];
} qn_jcall_values;
/* extra: one more named argument (caller) or NULL. */
bool qn_jeval_args(qn_jrender *r, const qn_jnode *n, const qn_jstr *extra_name, const qn_jval *extra,
                   qn_jcall_values *out);
bool qn_jeval_call(qn_jrender *r, const qn_jnode *n, const qn_jstr *extra_name, const qn_jval *extra,
                   qn_jval *out);
bool qn_japply_filter(qn_jrender *r, const qn_jnode *n, qn_jval input, qn_jval *out);
bool qn_jlookup(qn_jrender *r, uint32_t symbol, qn_jval *out);
bool qn_jassign(qn_jrender *r, const qn_jnode *target, qn_jval v);
bool qn_jenv_set(qn_jrender *r, uint32_t symbol, qn_jval v);
bool qn_jenv_enter(qn_jrender *r, qn_jenv *parent);
void qn_jenv_leave(qn_jrender *r);
bool qn_jemit(qn_jrender *r, const char *bytes, size_t n_bytes);

typedef struct qn_jbinding {
    uint32_t symbol;
    qn_jval value;
} qn_jbinding;
struct qn_jenv {
    qn_jenv *parent, *saved; /* saved: what was current before */
    qn_jbinding *items;
    size_t n, capacity;
    bool captured; /* a macro remembers it: not to be reused */
};

typedef enum qn_jflow { QN_FLOW_ERROR, QN_FLOW_NEXT, QN_FLOW_BREAK, QN_FLOW_CONTINUE } qn_jflow;
qn_jflow qn_jexecute(qn_jrender *r, const qn_jnode *n);

#endif
