/* page_key.h: what decides about the bits in a page of keys and values, as a name: the model's file, the
 * order of floating-point operations, and the types of what is cached. Pages that outlive the process, on the
 * disk or in a saved session, are believed only under the same name. */
#ifndef QN_ENGINE_PAGE_KEY_H
#define QN_ENGINE_PAGE_KEY_H

#include "engine/model.h"

enum { QN_PAGE_KEY_BYTES = 96 }; /* at most QN_PAGE_FILE_MAX_MODEL_KEY, and may name a directory */

/* Reads the model file's header and samples of its data through the mapping. */
void qn_page_key_make(char key[QN_PAGE_KEY_BYTES], const quern_model *model, qn_tensor_type type_k,
                      qn_tensor_type type_v);

#endif
