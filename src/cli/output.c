/* output.c: errors, JSON, sizes and progress, alike in every command. */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

__attribute__((format(printf, 1, 0))) static void print_line(const char *format, va_list args)
{
    char raw[1024];
    quern_error line;
    vsnprintf(raw, sizeof raw, format, args);
    qn_fail(&line, QUERN_OK, "%s", raw); /* control bytes of quoted text do not reach the terminal */
    fprintf(stderr, "quern: %s\n", line.message);
}

int qn_cli_fail_text(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line(format, args);
    va_end(args);
    return QN_EXIT_FAILURE;
}

int qn_cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line(format, args);
    va_end(args);
    return QN_EXIT_USAGE;
}

int qn_cli_fail(const quern_error *err)
{
    return qn_cli_fail_text("%s", err->message);
}

int qn_cli_flush(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return QN_EXIT_OK;
    return qn_cli_fail_text("standard output: %s", errno != 0 ? strerror(errno) : "could not be written");
}

json_t *qn_cli_json_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

int qn_cli_print_json(json_t *value)
{
    /* 12 digits: more than any measure has, and no tail of binary fractions */
    char *text = value != NULL ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(value);
    if (text == NULL) return qn_cli_fail_text("JSON output: no memory");
    puts(text);
    free(text);
    return qn_cli_flush();
}

void qn_progress_update(qn_progress *p, uint64_t done, uint64_t total)
{
    const uint64_t now = qn_clock_ns();
    if (p->started_ns == 0) p->started_ns = now;
    if (!isatty(STDERR_FILENO) || now - p->started_ns < 300000000u || now - p->shown_ns < 100000000u ||
        total == 0)
        return;
    p->shown_ns = now;
    p->visible = true;
    const int width = 30, filled = (int)(done * (uint64_t)width / total);
    fprintf(stderr, "\r%s [%.*s%*s] %3d%% ", p->label, filled, "##############################",
            width - filled, "", (int)(done * 100 / total));
    fflush(stderr);
}

void qn_progress_finish(qn_progress *p)
{
    if (p->visible) fputs("\r\033[K", stderr);
    p->visible = false;
}

static const char *const kv_type_names[] = {[QUERN_KV_F16] = "f16",
                                            [QUERN_KV_F32] = "f32",
                                            [QUERN_KV_Q8_0] = "q8_0",
                                            [QUERN_KV_BF16] = "bf16",
                                            [QUERN_KV_Q4_0] = "q4_0"};

bool qn_cli_kv_type(const char *name, quern_kv_type *type)
{
    for (size_t i = 0; i < sizeof kv_type_names / sizeof kv_type_names[0]; i++)
        if (strcasecmp(name, kv_type_names[i]) == 0) return *type = (quern_kv_type)i, true;
    return false;
}

bool qn_cli_kv_types(const char *names, quern_kv_type *type_k, quern_kv_type *type_v)
{
    char name[16] = "";
    const char *slash = strchr(names, '/');
    if (slash == NULL) return qn_cli_kv_type(names, type_k) && qn_cli_kv_type(names, type_v);
    if ((size_t)(slash - names) >= sizeof name) return false;
    memcpy(name, names, (size_t)(slash - names));
    return qn_cli_kv_type(name, type_k) && qn_cli_kv_type(slash + 1, type_v);
}

const char *qn_cli_kv_type_name(quern_kv_type type)
{
    return kv_type_names[type];
}
