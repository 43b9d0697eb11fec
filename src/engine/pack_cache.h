/* pack_cache.h: the directory of packs (model/pack_file.h): which there are, how much room they may take,
 * who may write. Every file is DIRECTORY/KEY.pack; what can be seen under such a name is whole, for it was
 * written beside, synced, then renamed. The directory and the files are the user's own and writable for
 * nobody else; others are refused. A pack that is removed while processes use it stays with them. */
#ifndef QN_ENGINE_PACK_CACHE_H
#define QN_ENGINE_PACK_CACHE_H

#include "base/log.h"
#include "model/pack_file.h"

#include <stdatomic.h>

typedef struct qn_pack_cache {
    char *directory;      /* absolute; made when the first pack is written */
    quern_pack_mode mode; /* never DEFAULT; OFF where there is no directory either */
    uint64_t max_bytes;   /* of all packs; 0: 20 % of what is free with them, at most 32 GiB */
    uint64_t min_bytes;   /* smaller weights are packed anew each time */
    uint64_t (*free_bytes)(const char *path); /* tests put their own here */
} qn_pack_cache;

/* After the parameters and the environment: QUERN_PACK_CACHE, QUERN_PACK_CACHE_MAX, QUERN_PACK_CACHE_MIN. */
quern_status qn_pack_cache_init(qn_pack_cache *c, const quern_model_params *p, const qn_log *log,
                                quern_error *err);
void qn_pack_cache_deinit(qn_pack_cache *c);

typedef struct qn_pack { /* an open pack, its header checked */
    int fd;
    bool is_open;
    uint8_t *bytes; /* the header's */
    qn_pack_header header;
} qn_pack;

/* QUERN_ERR_NOT_FOUND; _ARGUMENT: somebody else could have written it; _FORMAT, _IO, _NOMEM. */
quern_status qn_pack_open(qn_pack *pack, const qn_pack_cache *c, const qn_pack_key *key, quern_error *err);
void qn_pack_close(qn_pack *pack);       /* takes one that was never opened, zeroed */
void qn_pack_touch(const qn_pack *pack); /* it was used just now */

typedef struct qn_pack_write {
    const qn_weights *weights; /* loaded */
    const qn_gguf *gguf;
    const qn_pack_key *key;
    const char *source; /* path of the model file */
    atomic_bool *stop;
    atomic_size_t *done_bytes;
} qn_pack_write;

/* Makes room by removing the packs that were used least recently, and writes one. QUERN_ERR_BUSY: another
 * process is writing; _LIMIT: no room; _CANCELED: what reached the disk is kept, and the next call for this
 * key goes on from there; _IO. Then nothing has changed but for what was removed. */
quern_status qn_pack_store(const qn_pack_cache *c, const qn_pack_write *w, quern_error *err);

/* Removes the pack of this key. */
void qn_pack_discard(const qn_pack_cache *c, const qn_pack_key *key);

#endif
