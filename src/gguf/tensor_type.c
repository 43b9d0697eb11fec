/* tensor_type.c: the table of element types. */
#include "gguf/tensor_type.h"

const qn_tensor_type_info *qn_tensor_type_get(uint32_t type)
{
    static const qn_tensor_type_info unknown = {0}, table[QN_TYPE_LIMIT] = {
#define X(name, id, values, bytes) [id] = {#name, values, bytes},
                                                        QN_TENSOR_TYPE_MAP(X)
#undef X
                                                    };
    return type < QN_TYPE_LIMIT ? &table[type] : &unknown;
}
