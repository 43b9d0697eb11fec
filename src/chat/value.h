/* value.h: the values that a template computes with, and the state of one rendering.
 *
 * Values are Python's, as far as templates can tell: they print, compare, hash and convert as there.
 * All that a rendering makes lives in its own memory (chunks, given back together at its end), so
 * values are passed around by copy and never freed one by one. The variables' strings are borrowed
 * from the JSON that the caller holds. Every builder checks the limits before it takes memory.
 *
 * Functions that can fail return false and have told the reason through qn_jfail. */
#ifndef QN_CHAT_VALUE_H
#define QN_CHAT_VALUE_H

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    QN_J_MAX_STRING_BYTES = 16 << 20, /* of one string */
    QN_J_MAX_ITEMS = 1000000,         /* of one list or mapping */
    QN_J_MAX_MEMORY = 256 << 20,      /* of all values of one rendering */
    QN_J_MAX_VALUE_DEPTH = 500,       /* of nested values, when printed, compared or converted */
    QN_J_MAX_EVAL_DEPTH = 2000,       /* of nested evaluation, macros included */
    QN_J_MAX_MACRO_DEPTH = 100,
};

typedef enum qn_jkind {
    QN_J_UNDEFINED,
    QN_J_NONE,
    QN_J_BOOL,
    QN_J_INT,
    QN_J_FLOAT,
    QN_J_STRING,
    QN_J_LIST,
    QN_J_TUPLE,
    QN_J_VIEW,      /* keys(), values(), items() of a mapping */
    QN_J_GENERATOR, /* what map, select, ... give: can be walked once, has no length */
    QN_J_DICT,
    QN_J_RANGE,
    QN_J_NAMESPACE,
    QN_J_MACRO,
    QN_J_FUNCTION, /* a global such as range */
    QN_J_METHOD,   /* a method taken from its object without being called */
    QN_J_LOOP,
    QN_J_CYCLER,
    QN_J_JOINER,
    QN_J_MISSING, /* an argument that was not given; templates never see it */
} qn_jkind;

typedef struct qn_jrender qn_jrender;
typedef struct qn_jstr qn_jstr;
typedef struct qn_jlist qn_jlist;
typedef struct qn_jdict qn_jdict;
typedef struct qn_jrange qn_jrange;
typedef struct qn_jmacro qn_jmacro;
typedef struct qn_jmethod qn_jmethod;
typedef struct qn_jloop qn_jloop;
typedef struct qn_jcycler qn_jcycler;
typedef struct qn_jentry qn_jentry;

typedef struct qn_jval {
    uint8_t kind;  /* qn_jkind */
    uint8_t owner; /* of UNDEFINED: the qn_jkind that lacks the attribute; QN_J_MISSING: a variable */
    uint8_t group; /* of TUPLE: 1 if it came from groupby and has the names grouper and list */
    union {
        bool b;
        int64_t i;
        double f;
        const qn_jstr *s; /* of UNDEFINED: the name, may be NULL */
        qn_jlist *list;   /* LIST, TUPLE, VIEW, GENERATOR */
        qn_jdict *dict;   /* DICT, NAMESPACE */
        qn_jrange *range;
        qn_jmacro *macro;
        const qn_jentry *function;
        qn_jmethod *method;
        qn_jloop *loop;
        qn_jcycler *cycler; /* CYCLER, JOINER */
    };
} qn_jval;

/* Room behind a string that grows: `text = text + more` appends in place while nobody else did. */
typedef struct qn_jtail {
    char *data;
    size_t used, capacity;
} qn_jtail;

struct qn_jstr { /* immutable valid UTF-8 */
    const char *bytes;
    size_t n_bytes;
    size_t n_chars; /* SIZE_MAX: not counted yet */
    qn_jtail *tail; /* or NULL */
    bool markup;    /* went through safe or escape: joining it with plain text escapes that */
};

struct qn_jlist {
    qn_jval *items;
    size_t n, capacity;
    const char *type_name; /* Python's name of a VIEW or GENERATOR */
};

typedef struct qn_jitem {
    qn_jval key, value; /* key.kind == QN_J_MISSING: removed */
    uint64_t hash;
} qn_jitem;

struct qn_jdict { /* keeps the order of insertion */
    qn_jitem *items;
    size_t n_used, n_live, capacity; /* n_used counts removed ones */
    uint32_t *slots;                 /* index + 1 into items, open addressing; NULL while small */
    size_t n_slots;
};

struct qn_jrange {
    int64_t start, stop, step;
    uint64_t n;
};

struct qn_jmethod {
    qn_jval self;
    const qn_jentry *entry;
};

struct qn_jcycler {
    qn_jlist *items; /* of a joiner: one item, the separator */
    size_t position;
};

typedef struct qn_jargs {
    const qn_jval *values; /* [n] positional, then [n_named] */
    size_t n, n_named;
    const qn_jstr *const *names; /* [n_named] */
} qn_jargs;

typedef bool qn_jfunction(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out);

struct qn_jentry { /* a filter, test, method or global function */
    const char *name;
    qn_jfunction *call;
    uint32_t kinds; /* of a method: bit set of the qn_jkinds that have it */
};

typedef struct qn_jchunk qn_jchunk;
typedef struct qn_jenv qn_jenv;

struct qn_jrender {
    const struct qn_jinja *tmpl;
    const json_t *variables;
    quern_error *err;
    quern_status status;
    qn_jchunk *chunks;
    size_t memory_bytes;
    qn_buffer *out;        /* where text goes now: the result, or a capture */
    size_t captured_bytes; /* of all captures under way */
    size_t n_steps, max_steps, max_output;
    size_t work, work_at_check;
    uint64_t deadline_ns;
    uint32_t line; /* of what is being evaluated, for messages */
    int depth, macro_depth;
    int64_t now; /* INT64_MIN: the system's clock */
    uint64_t hash_seed;
    qn_jval *context; /* [n_symbols] variables by symbol; MISSING: not looked up yet */
    qn_jenv *env, *free_envs;
    const qn_jstr *ascii[128];
};

/* ---- failing and limits (value.c) ---- */
__attribute__((format(printf, 2, 3))) bool qn_jfail(qn_jrender *r, const char *format, ...);
__attribute__((format(printf, 2, 3))) bool qn_jlimit(qn_jrender *r, const char *format, ...);
bool qn_jnomem(qn_jrender *r);
/* Accounts for work on n bytes or items and looks at the clock now and then. */
bool qn_jwork(qn_jrender *r, size_t n);
bool qn_jstep(qn_jrender *r);

/* ---- memory: zeroed, aligned to 16, lives as long as the rendering ---- */
void *qn_jalloc(qn_jrender *r, size_t n_bytes);
void qn_jchunks_destroy(qn_jrender *r);

/* ---- builders ---- */
static inline qn_jval qn_jnone(void)
{
    return (qn_jval){.kind = QN_J_NONE};
}
static inline qn_jval qn_jmissing(void)
{
    return (qn_jval){.kind = QN_J_MISSING};
}
static inline qn_jval qn_jbool(bool b)
{
    return (qn_jval){.kind = QN_J_BOOL, .b = b};
}
static inline qn_jval qn_jint(int64_t i)
{
    return (qn_jval){.kind = QN_J_INT, .i = i};
}
static inline qn_jval qn_jfloat(double f)
{
    return (qn_jval){.kind = QN_J_FLOAT, .f = f};
}
static inline qn_jval qn_jstring(const qn_jstr *s)
{
    return (qn_jval){.kind = QN_J_STRING, .s = s};
}
static inline qn_jval qn_jundefined(const qn_jstr *name, uint8_t owner)
{
    return (qn_jval){.kind = QN_J_UNDEFINED, .owner = owner, .s = name};
}
static inline qn_jval qn_jseq(qn_jkind kind, qn_jlist *list)
{
    return (qn_jval){.kind = (uint8_t)kind, .list = list};
}
static inline qn_jval qn_jmapping(qn_jdict *d)
{
    return (qn_jval){.kind = QN_J_DICT, .dict = d};
}

/* A string that borrows / copies the bytes; valid UTF-8. */
bool qn_jborrow(qn_jrender *r, const char *bytes, size_t n_bytes, qn_jval *out);
bool qn_jcopy(qn_jrender *r, const char *bytes, size_t n_bytes, qn_jval *out);
bool qn_jtext(qn_jrender *r, const char *constant, qn_jval *out); /* borrows a C string */
/* Takes the text of a temporary buffer and frees the buffer, also on failure. */
bool qn_jtake(qn_jrender *r, qn_buffer *b, qn_jval *out);
/* Tells why an append to the buffer failed: the limit or memory. Always false. */
bool qn_jbuffer_failed(qn_jrender *r, const qn_buffer *b);
bool qn_jconcat(qn_jrender *r, const qn_jstr *a, const qn_jstr *b, bool markup, qn_jval *out);
bool qn_jmark(qn_jrender *r, const qn_jstr *s, bool markup, qn_jval *out);

qn_jlist *qn_jlist_create(qn_jrender *r, size_t capacity);
bool qn_jlist_push(qn_jrender *r, qn_jlist *l, qn_jval v);
qn_jdict *qn_jdict_create(qn_jrender *r);
bool qn_jdict_set(qn_jrender *r, qn_jdict *d, qn_jval key, qn_jval value);
/* *found is NULL where there is none; fails for a key that cannot be hashed. */
bool qn_jdict_find(qn_jrender *r, const qn_jdict *d, qn_jval key, qn_jitem **found);
qn_jitem *qn_jdict_find_text(qn_jrender *r, const qn_jdict *d, const char *bytes, size_t n_bytes);
void qn_jdict_remove(qn_jdict *d, qn_jitem *item);
/* Adds what dict(...) and update(...) take: a mapping or pairs, and named values. */
bool qn_jdict_update(qn_jrender *r, qn_jdict *d, const qn_jargs *args);
bool qn_jhashable(qn_jval v);
bool qn_jfrom_json(qn_jrender *r, const json_t *j, qn_jval *out);

/* ---- questions ---- */
const char *qn_jtype_name(qn_jval v); /* as Python calls it: "str", "list", ... */
bool qn_jtrue(qn_jval v);
bool qn_jis_text(qn_jval v, const char *text);
bool qn_jis_number(qn_jval v);          /* bool, int, float */
bool qn_jas_int(qn_jval v, int64_t *i); /* bool or int */
double qn_jas_double(qn_jval v);
bool qn_jequal(qn_jrender *r, qn_jval a, qn_jval b, bool *equal);
/* *order < 0, 0, > 0; fails where Python has no order. `op` is for the message: "<". */
bool qn_jcompare(qn_jrender *r, qn_jval a, qn_jval b, const char *op, int *order);
bool qn_jcontains(qn_jrender *r, qn_jval container, qn_jval item, bool *found);
bool qn_jlength(qn_jrender *r, qn_jval v, size_t *n); /* fails as len() does */
size_t qn_jchars(const qn_jstr *s);                   /* code points */

/* The order (indices into keys) that sorts the keys, stable also when reversed. */
bool qn_jsort(qn_jrender *r, const qn_jval *keys, size_t n, bool reverse, uint32_t **order);

/* A list of what iterating over v gives. A LIST is returned itself (not copied) when !copy. */
bool qn_jiterate(qn_jrender *r, qn_jval v, bool copy, qn_jlist **out);
int64_t qn_jrange_at(const qn_jrange *range, uint64_t i);

/* ---- strings (text.c) ---- */
const char *qn_jfind(const char *text, size_t n_bytes, const char *part, size_t n_part); /* or NULL */
size_t qn_jbyte_offset(const qn_jstr *s, size_t char_index); /* char_index <= n_chars */
bool qn_jsub(qn_jrender *r, const qn_jstr *s, size_t begin_byte, size_t end_byte, qn_jval *out);
bool qn_jchar(qn_jrender *r, const char *bytes, size_t n_bytes, qn_jval *out); /* one character */
bool qn_jis_space(uint32_t c);
bool qn_jis_printable(uint32_t c);
/* which: 1 left, 2 right, 3 both; chars NULL: white space */
void qn_jstrip(const qn_jstr *s, const qn_jstr *chars, int which, size_t *begin, size_t *end);
bool qn_jstrip_string(qn_jrender *r, const qn_jstr *s, const qn_jstr *chars, int which, qn_jval *out);
typedef enum qn_jcase { QN_J_UPPER, QN_J_LOWER, QN_J_TITLE_CHAR, QN_J_SWAP, QN_J_FOLD } qn_jcase;
bool qn_jcase_append(qn_buffer *b, const char *bytes, size_t n_bytes, qn_jcase how);
bool qn_jcase_map(qn_jrender *r, const qn_jstr *s, qn_jcase how, qn_jval *out);
bool qn_jcapitalize(qn_jrender *r, const qn_jstr *s, qn_jval *out);
bool qn_jreplace(qn_jrender *r, const qn_jstr *s, const qn_jstr *old, const qn_jstr *new_text,
                 int64_t max_count, qn_jval *out);
bool qn_jcenter(qn_jrender *r, const qn_jstr *s, int64_t width, int which, const qn_jstr *fill, qn_jval *out);
bool qn_jsplit_lines(qn_jrender *r, const qn_jstr *s, bool keep_ends, qn_jlist **out);
bool qn_jescape(qn_jrender *r, const qn_jstr *s, qn_jval *out); /* gives markup */
uint32_t qn_jupper_char(uint32_t c);                            /* simple mappings, for tests of case */
bool qn_jis_cased(uint32_t c, bool *upper);
bool qn_jis_letter(uint32_t c);

/* ---- printing (print.c) ---- */
bool qn_jprint(qn_jrender *r, qn_buffer *b, qn_jval v);  /* str() */
bool qn_jrepr(qn_jrender *r, qn_buffer *b, qn_jval v);   /* repr() */
bool qn_jto_str(qn_jrender *r, qn_jval v, qn_jval *out); /* str() as a value; a string stays itself */
void qn_jfloat_repr(double f, char text[48]);            /* shortest that reads back the same */
typedef struct qn_jjson_style {
    bool ensure_ascii, sort_keys;
    const qn_jstr *indent;                         /* NULL: on one line */
    const qn_jstr *item_separator, *key_separator; /* NULL: the default */
} qn_jjson_style;
bool qn_jjson(qn_jrender *r, qn_buffer *b, qn_jval v, const qn_jjson_style *style);

/* ---- formatting (format.c) ---- */
bool qn_jpercent(qn_jrender *r, const qn_jstr *format, qn_jval args, const qn_jargs *named, qn_jval *out);
bool qn_jstr_format(qn_jrender *r, const qn_jstr *format, const qn_jargs *args, qn_jval *out);

/* ---- arguments of builtins (arguments.c) ---- */
/* Puts the arguments under `names` (blank-separated) into out[]; MISSING where not given. */
bool qn_jbind(qn_jrender *r, const qn_jargs *args, const char *callee, const char *names, size_t n_required,
              qn_jval *out);
bool qn_jno_args(qn_jrender *r, const qn_jargs *args, const char *callee); /* there must be none */
bool qn_jarg_int(qn_jrender *r, qn_jval v, const char *what, int64_t fallback, int64_t *out);
bool qn_jarg_double(qn_jrender *r, qn_jval v, const char *what, double fallback, double *out);
bool qn_jarg_str(qn_jrender *r, qn_jval v, const char *what, const qn_jstr **out); /* MISSING, NONE: NULL */

/* ---- operators and access (operate.c) ---- */
bool qn_jadd(qn_jrender *r, qn_jval a, qn_jval b, qn_jval *out);
bool qn_jbinary(qn_jrender *r, char op, qn_jval a, qn_jval b,
                qn_jval *out); /* + - * / % and 'f' //, 'p' ** */
bool qn_jnegate(qn_jrender *r, qn_jval v, qn_jval *out);
bool qn_jgetattr(qn_jrender *r, qn_jval object, const qn_jstr *name, qn_jval *out);
bool qn_jgetitem(qn_jrender *r, qn_jval object, qn_jval key, qn_jval *out);
bool qn_jslice(qn_jrender *r, qn_jval object, const qn_jval bounds[3], qn_jval *out);
bool qn_jundefined_error(qn_jrender *r, qn_jval undefined);

/* ---- tables ---- */
const qn_jentry *qn_jfind_filter(const char *name, size_t n_bytes);
const qn_jentry *qn_jfind_test(const char *name, size_t n_bytes); /* call gives a BOOL */
const qn_jentry *qn_jfind_method(qn_jval self, const char *name, size_t n_bytes);
const qn_jentry *qn_jfind_global(const char *name, size_t n_bytes);
const qn_jentry *qn_jfind_in(const qn_jentry *table, const char *name, size_t n_bytes); /* ends at NULL */
/* Each table ends with a NULL name. */
extern const qn_jentry qn_jfilters_text[], qn_jfilters_sequence[], qn_jtests[];
extern const qn_jentry qn_jmethods_str[], qn_jmethods_container[], qn_jglobals[];

/* ---- calls (execute.c) ---- */
bool qn_jcall(qn_jrender *r, qn_jval callee, const qn_jargs *args, qn_jval *out);
bool qn_jloop_attr(qn_jrender *r, qn_jloop *loop, const qn_jstr *name, qn_jval *out);
bool qn_jloop_cycle(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out);
bool qn_jloop_changed(qn_jrender *r, qn_jval self, const qn_jargs *args, qn_jval *out);
bool qn_jmacro_attr(qn_jrender *r, const qn_jmacro *macro, const qn_jstr *name, qn_jval *out);

#endif
