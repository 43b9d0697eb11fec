/* file_type.c: general.file_type numbers, from the GGUF specification. */
#include "engine/file_type.h"

static const char *most_common_type(const qn_gguf *g)
{
    uint64_t bytes[QN_TYPE_LIMIT] = {0};
    size_t best = 0;
    for (size_t i = 0; i < g->n_tensors; i++) bytes[g->tensors[i].type] += g->tensors[i].n_bytes;
    for (size_t t = 1; t < QN_TYPE_LIMIT; t++)
        if (bytes[t] > bytes[best]) best = t;
    return bytes[best] > 0 ? qn_tensor_type_get((uint32_t)best)->name : "unknown";
}

const char *qn_file_type_name(const qn_gguf *g)
{
    static const char *const names[] = {
        [0] = "F32",      [1] = "F16",      [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
        [8] = "Q5_0",     [9] = "Q5_1",     [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
        [13] = "Q3_K_L",  [14] = "Q4_K_S",  [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
        [18] = "Q6_K",    [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
        [23] = "IQ3_XXS", [24] = "IQ1_S",   [25] = "IQ4_NL", [26] = "IQ3_S",  [27] = "IQ3_M",
        [28] = "IQ2_S",   [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",  [32] = "BF16",
        [36] = "TQ1_0",   [37] = "TQ2_0",   [38] = "MXFP4"};
    uint64_t type = UINT64_MAX;
    if (qn_gguf_get_uint(g, "general.file_type", false, 0, UINT64_MAX, &type, NULL) == QUERN_OK &&
        type < sizeof names / sizeof names[0] && names[type] != NULL)
        return names[type];
    return most_common_type(g);
}
