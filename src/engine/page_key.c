/* page_key.c: see page_key.h. */
#include "engine/page_key.h"

#include <stdio.h>

enum {
    KERNEL_ORDER = 1 /* to be counted up when the order of floating-point operations changes in any kernel, or
                        what lies where in a page */
};

void qn_page_key_make(char key[QN_PAGE_KEY_BYTES], const quern_model *model, qn_tensor_type type_k,
                      qn_tensor_type type_v)
{
    qn_pack_key file;
    char hex[2 * QN_PACK_DIGEST_BYTES + 1];
    qn_pack_key_make(&file, &model->gguf);
    for (size_t i = 0; i < QN_PACK_DIGEST_BYTES; i++) snprintf(hex + 2 * i, 3, "%02x", file.bytes[i]);
    snprintf(key, QN_PAGE_KEY_BYTES, "%s-%d-%d-%d", hex, KERNEL_ORDER, (int)type_k, (int)type_v);
}
