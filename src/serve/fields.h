/* fields.h: the fields of a request's JSON, read with their types and ranges. null means that a field is
 * absent. The first that is wrong becomes the request's problem, with its path. */
#ifndef QN_SERVE_FIELDS_H
#define QN_SERVE_FIELDS_H

#include "serve/problem.h"

#include <jansson.h>

/* An object and where it stands; problem is shared by all that belong to a request. */
typedef struct qn_fields {
    const json_t *object; /* borrowed */
    qn_problem *problem;
    char path[96]; /* "messages[2]."; empty: the request itself */
} qn_fields;

/* Parses the body of a request: strict JSON, not too deep. The root is to be freed with json_decref. NULL:
 * problem noted. */
json_t *qn_fields_parse(const char *body, size_t n_bytes, qn_problem *problem);
qn_fields qn_fields_of(const json_t *object, qn_problem *problem);

/* The value, or NULL where it is absent. */
const json_t *qn_field(const qn_fields *f, const char *name);

/* Each changes *value only where the field is there and right. True: it is, or is absent. Ranges are closed.
 */
bool qn_field_bool(const qn_fields *f, const char *name, bool *value);
bool qn_field_integer(const qn_fields *f, const char *name, int64_t least, int64_t most, int64_t *value);
bool qn_field_number(const qn_fields *f, const char *name, double least, double most, double *value);
bool qn_field_float(const qn_fields *f, const char *name, double least, double most, float *value);
bool qn_field_text(const qn_fields *f, const char *name, const char **value); /* borrowed */
bool qn_field_array(const qn_fields *f, const char *name, size_t most, const json_t **value);
bool qn_field_object(const qn_fields *f, const char *name, qn_fields *value); /* absent: object is NULL */
/* The i-th of the objects in an array that qn_field_array gave. */
bool qn_field_item(const qn_fields *f, const char *name, const json_t *array, size_t i, qn_fields *item);

/* Notes what is wrong with a field of it; false. */
__attribute__((format(printf, 4, 5))) bool qn_field_wrong(const qn_fields *f, qn_problem_kind kind,
                                                          const char *name, const char *format, ...);

#endif
