/* cache_program.c: writes a small model, compiles it, and removes the file. */
#include "cache_program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const tiny_model cache_plain_model = {.arch = "llama", .n_layer = 1},
                 cache_mixed_model = {.arch = "gemma2", .n_layer = 2, .window = 100},
                 cache_windows_model = {.arch = "gemma3", .n_layer = 1, .window = 100};

bool cache_program_init(cache_program *p, const tiny_model *m)
{
    char path[] = "/tmp/quern_cache_XXXXXX";
    quern_error err = {0};
    memset(p, 0, sizeof *p);
    const int fd = mkstemp(path);
    if (fd < 0) return false;
    close(fd);
    const bool ok = tiny_model_write(path, m) && qn_gguf_open(&p->gguf, path, &err) == QUERN_OK &&
                    qn_hparams_read(&p->hparams, &p->gguf, &err) == QUERN_OK &&
                    qn_weights_bind(&p->weights, &p->hparams, &p->gguf, &err) == QUERN_OK &&
                    qn_program_compile(&p->program, &p->hparams, &p->weights, &err) == QUERN_OK;
    if (!ok) fprintf(stderr, "%s\n", err.message);
    unlink(path);
    return ok;
}

void cache_program_deinit(cache_program *p)
{
    qn_program_deinit(&p->program);
    qn_weights_deinit(&p->weights);
    qn_gguf_close(&p->gguf);
}
