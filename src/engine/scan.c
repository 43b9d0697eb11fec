/* scan.c: reading every value of a tensor, to find what no model should hold. */
#include "engine/model.h"

#include "quant/decode.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t count_not_finite(const qn_gguf_tensor *t)
{
    enum { PIECE = 4096 }; /* values; a multiple of every block */
    qn_decode_fn *decode = qn_decode_get(t->type);
    float values[PIECE];
    uint64_t n_bad = 0;
    if (decode == NULL) return 0; /* integers are always finite */
    const qn_tensor_type_info *type = qn_tensor_type_get((uint32_t)t->type);
    for (uint64_t done = 0; done < t->n_values; done += PIECE) {
        const size_t n = t->n_values - done < PIECE ? (size_t)(t->n_values - done) : PIECE;
        decode(t->data + done / type->block_values * type->block_bytes, values, n);
        for (size_t i = 0; i < n; i++) n_bad += isfinite(values[i]) ? 0 : 1;
    }
    return n_bad;
}

quern_status quern_model_scan_tensor(const quern_model *m, size_t index, quern_tensor_scan *scan,
                                     quern_error *err)
{
    if (index >= m->gguf.n_tensors)
        return qn_fail(err, QUERN_ERR_NOT_FOUND, "tensor %zu: there are %zu", index, m->gguf.n_tensors);
    const qn_gguf_tensor *t = &m->gguf.tensors[index];
    memset(scan, 0, sizeof *scan);
    quern_tensor_info info;
    quern_model_tensor(m, index, &info);
    memcpy(scan->name, info.name, sizeof scan->name);
    scan->n_not_finite = count_not_finite(t);
    for (size_t i = 0; i < m->gguf.n_tensors; i++) {
        scan->total_bytes += m->gguf.tensors[i].n_bytes;
        if (i <= index) scan->done_bytes += m->gguf.tensors[i].n_bytes;
    }
    if (m->gguf.n_files > 0) qn_file_map_release(&m->gguf.files[t->file], t->file_offset, t->n_bytes);
    return QUERN_OK;
}
