/* golden.h: where reference data lies, if it is there. */
#ifndef QN_TESTS_GOLDEN_H
#define QN_TESTS_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>

/* Path of a file of the reference data in a static buffer; false, with a line printed once a call, if the
 * data is not there (QUERN_GOLDEN, default ../shared/golden beside the source). */
bool golden_path(char out[1024], const char *relative);

/* The whole file; the test fails if it cannot be read. free() it. */
char *golden_read(const char *path, size_t *n_bytes);

#endif
