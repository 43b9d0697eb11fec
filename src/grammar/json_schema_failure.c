/* json_schema_failure.c: how compiling a schema ends early, and the place in the schema that is told. */
#include "grammar/json_schema_compile.h"

#include <stdio.h>

enum { MAX_POINTER_DEPTH = 200 };

/* The JSON pointer of a schema within a document, found by its address. */
static bool find_pointer(const json_t *at, const json_t *wanted, qn_buffer *path, int depth)
{
    const size_t n_before = path->n_bytes;
    if (at == wanted) return true;
    if (depth > MAX_POINTER_DEPTH) return false;
    for (size_t i = 0; json_is_array(at) && i < json_array_size(at); i++) {
        qn_buffer_printf(path, "/%zu", i);
        if (find_pointer(json_array_get(at, i), wanted, path, depth + 1)) return true;
        path->n_bytes = n_before;
    }
    for (void *m = schema_members(at); m != NULL; m = schema_next_member(at, m)) {
        qn_buffer_putc(path, '/');
        for (const char *k = json_object_iter_key(m); *k != '\0'; k++) {
            if (*k == '~') qn_buffer_puts(path, "~0");
            else if (*k == '/') qn_buffer_puts(path, "~1");
            else qn_buffer_putc(path, *k);
        }
        if (find_pointer(json_object_iter_value(m), wanted, path, depth + 1)) return true;
        path->n_bytes = n_before;
    }
    return false;
}

void schema_pointer_of(const schema_compiler *c, const json_t *where, char out[200])
{
    qn_buffer path = {.max_bytes = 64 << 10};
    const bool found = where != NULL && find_pointer(c->root, where, &path, 0);
    if (path.data != NULL && found) path.data[path.n_bytes] = '\0';
    snprintf(out, 200, "%s%s", found ? "#" : "in a part made from it",
             found && path.data != NULL && path.n_bytes > 0 ? path.data : "");
    qn_buffer_deinit(&path);
}

bool schema_fail(schema_compiler *c, quern_status status, const json_t *where, const char *format, ...)
{
    char what[256], pointer[200];
    va_list arguments;
    if (c->status != QUERN_OK) return false;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    schema_pointer_of(c, where, pointer);
    c->status = qn_fail(c->err, status, "JSON schema, %s: %s", pointer, what);
    return false;
}

bool schema_no_memory(schema_compiler *c)
{
    if (c->status == QUERN_OK) c->status = qn_fail(c->err, QUERN_ERR_NOMEM, "JSON schema: no memory");
    return false;
}

bool schema_unsupported(schema_compiler *c, const json_t *where, const char *keyword, const char *why)
{
    if (c->options.lenient || c->probing) return true;
    return schema_fail(c, QUERN_ERR_UNSUPPORTED, where, "\"%s\" %s", keyword, why);
}

bool schema_spend(schema_compiler *c, uint64_t work)
{
    if (c->work > work) return c->work -= work, true;
    c->work = 0;
    if (c->status == QUERN_OK)
        c->status = qn_fail(c->err, QUERN_ERR_LIMIT, "JSON schema: too much work: it is too complex");
    return false;
}
