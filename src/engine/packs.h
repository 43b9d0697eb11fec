/* packs.h: a model's pack: found when it is opened, used, or written while the model works already. */
#ifndef QN_ENGINE_PACKS_H
#define QN_ENGINE_PACKS_H

#include "base/image.h"
#include "engine/pack_cache.h"

#include <pthread.h>

typedef struct qn_model_packs {
    qn_pack_cache cache;
    quern_pack_state state;
    qn_pack_key key;
    qn_pack pack;   /* where USED or THERE */
    qn_image image; /* where USED: the weights */
    char *source;   /* path of the model file, absolute */

    /* The thread that writes a pack, or moves one into huge pages. */
    pthread_t thread;
    bool working, writing;
    atomic_bool stop, finished;
    atomic_size_t done_bytes;
    uint64_t started_ns;
    quern_status status;
    quern_error err;
} qn_model_packs;

/* Settings, key, and whether there is a pack that fits. What is wrong with one is logged, never an error. */
quern_status qn_model_find_pack(quern_model *m, const quern_model_params *p, quern_error *err);
/* Instead of loading: state is USED afterwards. Does nothing where there is none. */
quern_status qn_model_use_pack(quern_model *m, quern_error *err);
/* Begins to write one where state is MISSING; the weights are loaded. */
void qn_model_write_pack(quern_model *m);
/* Ends the thread and gives everything back; before the weights are given back. */
void qn_model_close_pack(quern_model *m);

#endif
