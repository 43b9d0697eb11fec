/* format.h: numbers and times as people read them. */
#ifndef QN_CLI_FORMAT_H
#define QN_CLI_FORMAT_H

#include <stdint.h>

typedef struct qn_cli_text {
    char text[32];
} qn_cli_text;

qn_cli_text qn_cli_bytes(uint64_t n_bytes);            /* "98 MB", "4.7 GB": powers of 1000 */
qn_cli_text qn_cli_age(int64_t then_s, int64_t now_s); /* "3 days ago" */
qn_cli_text qn_cli_duration(double seconds);           /* "42s", "3m10s", "2h05m" */

#endif
