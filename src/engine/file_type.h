/* file_type.h: the name of a file's quantization recipe, as people know it ("Q4_K_M"). */
#ifndef QN_ENGINE_FILE_TYPE_H
#define QN_ENGINE_FILE_TYPE_H

#include "gguf/gguf.h"

/* From general.file_type, else the type most of the weights have; a constant string. */
const char *qn_file_type_name(const qn_gguf *g);

#endif
