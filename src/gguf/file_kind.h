/* file_kind.h: what a file that is not a model most likely is, so that the error can say it. */
#ifndef QN_GGUF_FILE_KIND_H
#define QN_GGUF_FILE_KIND_H

#include <stddef.h>

/* From the first bytes (64 are plenty): "an HTML page (download the file itself ...)", a noun phrase
 * with the remedy; NULL if nothing known. */
const char *qn_file_kind(const char *data, size_t n_bytes);

#endif
