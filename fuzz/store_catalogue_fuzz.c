/* store_catalogue_fuzz.c: a person's own catalogue: any bytes are refused, or give entries that hold. */
#include "store/catalogue.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_catalogue c = {.n_entries = 0};
    quern_error err = {.status = QUERN_OK};
    const quern_status s = qn_catalogue_add(&c, (const char *)data, size, "fuzz.json", &err);
    if (s != QUERN_OK && (err.status != s || err.message[0] == '\0')) abort();
    for (size_t i = 0; i < c.n_entries; i++) {
        const qn_catalogue_entry *e = &c.entries[i];
        if (e->name == NULL || e->tag == NULL || e->n_sources == 0) abort();
        if (strchr(e->name, '/') != NULL || strchr(e->tag, '/') != NULL || e->name[0] == '.' ||
            e->tag[0] == '.')
            abort();
        if (qn_catalogue_find(&c, e->name, e->tag) == NULL) abort();
        if (e->sha256 != NULL && strlen(e->sha256) != 64) abort();
    }
    qn_catalogue_deinit(&c);
    return 0;
}
