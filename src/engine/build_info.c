/* build_info.c: what this build can do. */
#include "quern.h"

#ifdef QUERN_HAVE_STORE
#define STORE "pull: yes (libcurl, libcrypto)"
#else
#define STORE "pull: no (built without libcurl or libcrypto)"
#endif
#if defined(__x86_64__)
#define SETS "scalar, avx2, avx512"
#else
#define SETS "scalar"
#endif

const char *quern_build_info(void)
{
    return "compiler: " __VERSION__ "\ninstruction sets: " SETS "\n" STORE "\n";
}
