/* status.c: what each status means, from the one list in quern.h. */
#include "quern.h"

const char *quern_version(void)
{
    return QUERN_VERSION;
}

const char *quern_status_text(quern_status status)
{
    switch (status) {
#define X(name, value, text)                                                                                 \
    case QUERN_##name:                                                                                       \
        return text;
        QUERN_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}
