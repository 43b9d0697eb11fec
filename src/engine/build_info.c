/* build_info.c: what this build can do. */
#include "quern.h"

#include <quern_build_options.h> /* written by src/meson.build: what was found */

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif
#if defined(__x86_64__)
#define SETS "scalar, avx2, avx512, amx"
#else
#define SETS "scalar"
#endif
#if QUERN_HAVE_STORE
#define STORE "yes (libcurl, libcrypto)"
#else
#define STORE "no (built without libcurl or libcrypto)"
#endif
#if QUERN_HAVE_LINEEDIT
#define LINEEDIT "yes (libedit)"
#else
#define LINEEDIT "no (built without libedit)"
#endif
#if QUERN_HAVE_SERVER
#define SERVER "yes (libmicrohttpd)"
#else
#define SERVER "no (built without libmicrohttpd)"
#endif

const char *quern_build_info(void)
{
    return "compiler: " COMPILER "\ninstruction sets: " SETS "\npull: " STORE "\nline editing: " LINEEDIT
           "\nserver: " SERVER "\n";
}
