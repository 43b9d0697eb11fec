/* log.c: formats a line, makes quoted text harmless, hands it on. */
#include "base/log.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

void qn_log_write(const qn_log *log, quern_log_level level, const char *format, ...)
{
    if (log == NULL || log->fn == NULL) return;
    char raw[sizeof((quern_error *)0)->message];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    if (n < 0) return;
    quern_error line;
    qn_fail(&line, QUERN_OK, "%s", raw);
    log->fn(log->user, level, line.message);
}
