/* arguments.c: what was given to a builtin, under its parameters' names; and the stable sort that
 * several builtins share. */
#include "chat/value.h"

#include <stdio.h>
#include <string.h>

static bool is_name(const qn_jstr *s, const char *name, size_t n_bytes)
{
    return s->n_bytes == n_bytes && memcmp(s->bytes, name, n_bytes) == 0;
}

bool qn_jbind(qn_jrender *r, const qn_jargs *args, const char *callee, const char *names, size_t n_required,
              qn_jval *out)
{
    size_t n = 0, n_used = 0;
    for (const char *name = names; *name != '\0'; n++) {
        const size_t length = strcspn(name, " ");
        out[n] = n < args->n ? args->values[n] : qn_jmissing();
        for (size_t i = 0; i < args->n_named; i++) {
            if (!is_name(args->names[i], name, length)) continue;
            if (n < args->n) return qn_jfail(r, "%s: '%.*s' is given twice", callee, (int)length, name);
            out[n] = args->values[args->n + i];
            n_used++;
        }
        if (out[n].kind == QN_J_MISSING && n < n_required)
            return qn_jfail(r, "%s: the argument '%.*s' is missing", callee, (int)length, name);
        name += length;
        name += *name == ' ';
    }
    if (args->n > n) return qn_jfail(r, "%s: takes at most %zu arguments, not %zu", callee, n, args->n);
    if (n_used == args->n_named) return true;
    for (size_t i = 0; i < args->n_named; i++) {
        const char *hit = names;
        bool known = false;
        while (*hit != '\0' && !known) {
            const size_t length = strcspn(hit, " ");
            known = is_name(args->names[i], hit, length);
            hit += length + (hit[length] == ' ');
        }
        if (!known)
            return qn_jfail(r, "%s: there is no argument '%s'", callee,
                            qn_quote(args->names[i]->bytes, args->names[i]->n_bytes).text);
    }
    return qn_jfail(r, "%s: an argument is given twice", callee);
}

bool qn_jno_args(qn_jrender *r, const qn_jargs *args, const char *callee)
{
    return qn_jbind(r, args, callee, "", 0, NULL);
}

bool qn_jarg_int(qn_jrender *r, qn_jval v, const char *what, int64_t fallback, int64_t *out)
{
    *out = fallback;
    if (v.kind == QN_J_MISSING || qn_jas_int(v, out)) return true;
    if (v.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, v);
    return qn_jfail(r, "%s must be an integer, not %s", what, qn_jtype_name(v));
}

bool qn_jarg_double(qn_jrender *r, qn_jval v, const char *what, double fallback, double *out)
{
    *out = fallback;
    if (v.kind == QN_J_MISSING) return true;
    if (qn_jis_number(v)) return *out = qn_jas_double(v), true;
    if (v.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, v);
    return qn_jfail(r, "%s must be a number, not %s", what, qn_jtype_name(v));
}

bool qn_jarg_str(qn_jrender *r, qn_jval v, const char *what, const qn_jstr **out)
{
    *out = NULL;
    if (v.kind == QN_J_MISSING || v.kind == QN_J_NONE) return true;
    if (v.kind == QN_J_STRING) return *out = v.s, true;
    if (v.kind == QN_J_UNDEFINED) return qn_jundefined_error(r, v);
    return qn_jfail(r, "%s must be a string, not %s", what, qn_jtype_name(v));
}

/* Merges the sorted runs [begin, middle) and [middle, end). */
static bool merge(qn_jrender *r, const qn_jval *keys, bool reverse, const uint32_t *from, uint32_t *to,
                  size_t begin, size_t middle, size_t end)
{
    size_t left = begin, right = middle;
    for (size_t i = begin; i < end; i++) {
        bool take_right = left == middle;
        if (left < middle && right < end) {
            int order; /* asked as "right < left", so that equal ones keep their order */
            const qn_jval a = keys[from[right]], b = keys[from[left]];
            if (!(reverse ? qn_jcompare(r, b, a, "<", &order) : qn_jcompare(r, a, b, "<", &order)))
                return false;
            take_right = order == -1;
        }
        to[i] = take_right ? from[right++] : from[left++];
    }
    return true;
}

bool qn_jsort(qn_jrender *r, const qn_jval *keys, size_t n, bool reverse, uint32_t **order)
{
    uint32_t *from = qn_jalloc(r, (n + 1) * sizeof *from), *to = qn_jalloc(r, (n + 1) * sizeof *to);
    if (from == NULL || to == NULL) return false;
    for (size_t i = 0; i < n; i++) from[i] = (uint32_t)i;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t begin = 0; begin < n; begin += 2 * width) {
            const size_t middle = begin + width < n ? begin + width : n;
            const size_t end = middle + width < n ? middle + width : n;
            if (!merge(r, keys, reverse, from, to, begin, middle, end)) return false;
        }
        uint32_t *swap = from;
        from = to, to = swap;
    }
    *order = from;
    return true;
}
