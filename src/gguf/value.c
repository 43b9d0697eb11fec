/* value.c: finding metadata and reading it with its kind and range checked. */
#include "gguf/gguf.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const qn_gguf_value *qn_gguf_find(const qn_gguf *g, const char *key)
{
    const int64_t i = qn_hash_map_get(&g->value_index, key, strlen(key));
    return i == QN_HASH_NONE ? NULL : &g->values[i];
}

const qn_gguf_tensor *qn_gguf_find_tensor(const qn_gguf *g, const char *name)
{
    const int64_t i = qn_hash_map_get(&g->tensor_index, name, strlen(name));
    return i == QN_HASH_NONE ? NULL : &g->tensors[i];
}

bool qn_string_is(qn_string s, const char *text)
{
    return s.n_bytes == strlen(text) && memcmp(s.bytes, text, s.n_bytes) == 0;
}

bool qn_gguf_kind_is_integer(qn_gguf_kind kind)
{
    return kind == QN_GGUF_U64 || kind == QN_GGUF_I64 || (int)kind <= QN_GGUF_I32;
}

bool qn_gguf_kind_is_float(qn_gguf_kind kind)
{
    return kind == QN_GGUF_F32 || kind == QN_GGUF_F64;
}

const char *qn_gguf_kind_name(qn_gguf_kind kind)
{
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    return (size_t)kind < sizeof names / sizeof names[0] ? names[kind] : "unknown";
}

size_t qn_gguf_kind_bytes(uint32_t kind)
{
    static const unsigned char table[] = {
        [QN_GGUF_U8] = 1,  [QN_GGUF_I8] = 1,  [QN_GGUF_U16] = 2, [QN_GGUF_I16] = 2,
        [QN_GGUF_U32] = 4, [QN_GGUF_I32] = 4, [QN_GGUF_F32] = 4, [QN_GGUF_BOOL] = 1,
        [QN_GGUF_U64] = 8, [QN_GGUF_I64] = 8, [QN_GGUF_F64] = 8,
    };
    return kind < sizeof table ? table[kind] : 0;
}

/* ---- elements ---- */

typedef struct number { /* as it is in the file: a double cannot hold all of u64 and i64 */
    enum { NOTHING, UNSIGNED, SIGNED, REAL } form;
    uint64_t u;
    int64_t i;
    double f;
} number;

static number element(const qn_gguf_value *v, uint64_t index)
{
    const qn_gguf_kind kind = v->kind == QN_GGUF_ARRAY ? v->element_kind : v->kind;
    const uint64_t at = v->kind == QN_GGUF_ARRAY ? index : 0;
    number n = {.form = NOTHING};
#define READ(KIND, c_type, FORM, member)                                                                     \
    case QN_GGUF_##KIND: {                                                                                   \
        c_type x;                                                                                            \
        memcpy(&x, v->data + at * sizeof x, sizeof x);                                                       \
        n.form = FORM;                                                                                       \
        n.member = x;                                                                                        \
        return n;                                                                                            \
    }
    switch (kind) {
        READ(U8, uint8_t, UNSIGNED, u)
        READ(I8, int8_t, SIGNED, i)
        READ(U16, uint16_t, UNSIGNED, u)
        READ(I16, int16_t, SIGNED, i)
        READ(U32, uint32_t, UNSIGNED, u)
        READ(I32, int32_t, SIGNED, i)
        READ(F32, float, REAL, f)
        READ(BOOL, uint8_t, UNSIGNED, u)
        READ(U64, uint64_t, UNSIGNED, u)
        READ(I64, int64_t, SIGNED, i)
        READ(F64, double, REAL, f)
    case QN_GGUF_STRING:
    case QN_GGUF_ARRAY:
        break;
    }
#undef READ
    return n;
}

int64_t qn_gguf_element_int(const qn_gguf_value *v, uint64_t i)
{
    const number n = element(v, i);
    switch (n.form) {
    case UNSIGNED:
        return n.u > INT64_MAX ? INT64_MAX : (int64_t)n.u;
    case SIGNED:
        return n.i;
    case REAL:
        return !(n.f > -0x1p63) ? (isnan(n.f) ? 0 : INT64_MIN) : n.f >= 0x1p63 ? INT64_MAX : (int64_t)n.f;
    case NOTHING:
        break;
    }
    return 0;
}

double qn_gguf_element_float(const qn_gguf_value *v, uint64_t i)
{
    const number n = element(v, i);
    switch (n.form) {
    case UNSIGNED:
        return (double)n.u;
    case SIGNED:
        return (double)n.i;
    case REAL:
        return n.f;
    case NOTHING:
        break;
    }
    return 0;
}

/* ---- typed access ---- */

typedef struct shown_value {
    char text[480];
} shown_value;

static shown_value show(const qn_gguf_value *v)
{
    shown_value s;
    const char *kind = qn_gguf_kind_name(v->kind);
    const number n = v->kind == QN_GGUF_ARRAY ? (number){.form = NOTHING} : element(v, 0);
    if (v->kind == QN_GGUF_STRING)
        snprintf(s.text, sizeof s.text, "the string '%s'", qn_quote(v->data, v->n_bytes).text);
    else if (v->kind == QN_GGUF_ARRAY)
        snprintf(s.text, sizeof s.text, "an array of %llu %s", (unsigned long long)v->count,
                 qn_gguf_kind_name(v->element_kind));
    else if (v->kind == QN_GGUF_BOOL) snprintf(s.text, sizeof s.text, "the bool %s", n.u ? "true" : "false");
    else if (n.form == UNSIGNED) snprintf(s.text, sizeof s.text, "%llu (%s)", (unsigned long long)n.u, kind);
    else if (n.form == SIGNED) snprintf(s.text, sizeof s.text, "%lld (%s)", (long long)n.i, kind);
    else snprintf(s.text, sizeof s.text, "%g (%s)", n.f, kind);
    return s;
}

/* NULL with *status set: missing, or not what the caller can use. */
static const qn_gguf_value *find_required(const qn_gguf *g, const char *key, bool required,
                                          quern_status *status, quern_error *err)
{
    const qn_gguf_value *v = qn_gguf_find(g, key);
    *status = v == NULL && required ? qn_fail(err, QUERN_ERR_FORMAT, "key '%s': is missing", key) : QUERN_OK;
    return v;
}

static quern_status fail_needs(const qn_gguf_value *v, const char *key, const char *needs, quern_error *err)
{
    return qn_fail(err, QUERN_ERR_FORMAT, "key '%s': is %s, needs %s", key, show(v).text, needs);
}

quern_status qn_gguf_get_uint(const qn_gguf *g, const char *key, bool required, uint64_t min, uint64_t max,
                              uint64_t *out, quern_error *err)
{
    quern_status s;
    const qn_gguf_value *v = find_required(g, key, required, &s, err);
    if (v == NULL) return s;
    char needs[96];
    snprintf(needs, sizeof needs, "an integer from %llu to %llu", (unsigned long long)min,
             (unsigned long long)max);
    if (!qn_gguf_kind_is_integer(v->kind)) return fail_needs(v, key, needs, err);
    const number n = element(v, 0);
    if (n.form == SIGNED && n.i < 0) return fail_needs(v, key, needs, err);
    const uint64_t value = n.form == SIGNED ? (uint64_t)n.i : n.u;
    if (value < min || value > max) return fail_needs(v, key, needs, err);
    *out = value;
    return QUERN_OK;
}

quern_status qn_gguf_get_float(const qn_gguf *g, const char *key, bool required, float *out, quern_error *err)
{
    quern_status s;
    const qn_gguf_value *v = find_required(g, key, required, &s, err);
    if (v == NULL) return s;
    const double value = qn_gguf_kind_is_float(v->kind) ? element(v, 0).f : NAN;
    if (!(fabs(value) <= (double)FLT_MAX)) return fail_needs(v, key, "a finite float", err);
    *out = (float)value;
    return QUERN_OK;
}

quern_status qn_gguf_get_bool(const qn_gguf *g, const char *key, bool required, bool *out, quern_error *err)
{
    quern_status s;
    const qn_gguf_value *v = find_required(g, key, required, &s, err);
    if (v == NULL) return s;
    if (v->kind != QN_GGUF_BOOL) return fail_needs(v, key, "a bool", err);
    *out = element(v, 0).u != 0;
    return QUERN_OK;
}

quern_status qn_gguf_get_string(const qn_gguf *g, const char *key, bool required, qn_string *out,
                                quern_error *err)
{
    quern_status s;
    const qn_gguf_value *v = find_required(g, key, required, &s, err);
    if (v == NULL) return s;
    if (v->kind != QN_GGUF_STRING) return fail_needs(v, key, "a string", err);
    *out = (qn_string){v->data, v->n_bytes};
    return QUERN_OK;
}

quern_status qn_gguf_get_strings(const qn_gguf *g, const char *key, bool required, const qn_string **strings,
                                 size_t *count, quern_error *err)
{
    quern_status s;
    const qn_gguf_value *v = find_required(g, key, required, &s, err);
    *strings = NULL;
    *count = 0;
    if (v == NULL) return s;
    if (v->kind != QN_GGUF_ARRAY || v->element_kind != QN_GGUF_STRING)
        return fail_needs(v, key, "an array of strings", err);
    *strings = v->strings;
    *count = (size_t)v->count;
    return QUERN_OK;
}
