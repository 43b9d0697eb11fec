/* options.c: one table a command gives parsing, range checks and help. */
#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether `typed` (n bytes) is one of the names in "-t, --threads". */
static bool has_name(const char *names, const char *typed, size_t n)
{
    for (const char *p = names; *p != '\0';) {
        const size_t length = strcspn(p, ", ");
        if (length == n && memcmp(p, typed, n) == 0) return true;
        p += length;
        p += strspn(p, ", ");
    }
    return false;
}

static const qn_option *find(const qn_option *options, size_t n, const char *typed, size_t typed_bytes)
{
    for (size_t i = 0; i < n; i++)
        if (has_name(options[i].names, typed, typed_bytes)) return &options[i];
    return NULL;
}

static size_t distance(const char *a, size_t n_a, const char *b, size_t n_b) /* Levenshtein, short words */
{
    size_t row[64];
    if (n_b >= 64) return 64;
    for (size_t j = 0; j <= n_b; j++) row[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            const size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
            if (change < row[j]) row[j] = change;
        }
    }
    return row[n_b];
}

static int unknown_option(const char *command, const qn_option *options, size_t n, const char *typed,
                          size_t typed_bytes)
{
    size_t best = 4;
    char suggestion[96] = "";
    for (size_t i = 0; i < n; i++)
        for (const char *name = options[i].names; *name != '\0';) {
            const size_t name_bytes = strcspn(name, ", "), d = distance(typed, typed_bytes, name, name_bytes);
            if (d < best)
                best = d,
                snprintf(suggestion, sizeof suggestion, "; did you mean %.*s?", (int)name_bytes, name);
            name += name_bytes;
            name += strspn(name, ", ");
        }
    return qn_cli_usage("%s: unknown option '%.*s'%s (see quern %s --help)", command, (int)typed_bytes, typed,
                        suggestion, command);
}

static int bad_value(const char *command, const qn_option *o, const char *text)
{
    if (o->kind == QN_INT)
        return qn_cli_usage("%s: %s %s: expected a whole number from %.0f to %.0f", command, o->names, text,
                            o->min, o->max);
    return qn_cli_usage("%s: %s %s: expected a number from %g to %g", command, o->names, text, o->min,
                        o->max);
}

/* Returns -1 if the value was taken. */
static int take_value(const char *command, const qn_option *o, const char *text)
{
    char *end;
    errno = 0;
    if (o->kind == QN_TEXT) {
        *(const char **)o->value = text;
    } else if (o->kind == QN_TEXTS) {
        qn_texts *list = o->value;
        if (list->n_items == QN_MAX_TEXTS)
            return qn_cli_usage("%s: %s: given more than %d times", command, o->names, QN_MAX_TEXTS);
        list->items[list->n_items++] = text;
    } else if (o->kind == QN_INT) {
        const long v = strtol(text, &end, 10);
        if (end == text || *end != '\0' || errno != 0 || (double)v < o->min || (double)v > o->max)
            return bad_value(command, o, text);
        *(long *)o->value = v;
    } else {
        const double v = strtod(text, &end);
        if (end == text || *end != '\0' || !isfinite(v) || v < o->min || v > o->max)
            return bad_value(command, o, text);
        *(double *)o->value = v;
    }
    return -1;
}

static void print_help(const char *command, const qn_option *options, size_t n)
{
    const qn_command *c = qn_command_find(command);
    printf("usage: quern %s %s\n\n%s\n\noptions\n", command, c->arguments, c->summary);
    for (size_t i = 0; i < n; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", options[i].names, options[i].argument != NULL ? " " : "",
                 options[i].argument != NULL ? options[i].argument : "");
        printf("  %-26s%s%s\n", left, strlen(left) > 25 ? "\n                            " : "",
               options[i].help);
    }
    printf("  %-26s%s\n", "-h, --help", "this text");
    if (c->details != NULL) printf("\n%s\n", c->details);
}

/* One option at argv[*i]; returns -1 to go on. */
static int take_option(const char *command, const qn_option *options, size_t n, int argc, char **argv, int *i)
{
    const char *typed = argv[*i], *equals = typed[1] == '-' ? strchr(typed, '=') : NULL;
    const size_t typed_bytes = equals != NULL ? (size_t)(equals - typed) : strlen(typed);
    if (has_name("-h, --help", typed, typed_bytes)) {
        print_help(command, options, n);
        return qn_cli_flush();
    }
    const qn_option *o = find(options, n, typed, typed_bytes);
    if (o == NULL) return unknown_option(command, options, n, typed, typed_bytes);
    if (o->kind == QN_FLAG) {
        if (equals != NULL) return qn_cli_usage("%s: %.*s takes no value", command, (int)typed_bytes, typed);
        *(bool *)o->value = true;
        return -1;
    }
    if (equals != NULL) return take_value(command, o, equals + 1);
    if (*i + 1 >= argc) return qn_cli_usage("%s: %s needs a value (%s)", command, typed, o->argument);
    return take_value(command, o, argv[++*i]);
}

int qn_options_set(const char *command, const qn_option *options, size_t n_options, const char *name,
                   const char *value)
{
    char typed[64] = "--";
    size_t n = 2;
    for (; name[n - 2] != '\0' && n + 1 < sizeof typed; n++)
        typed[n] = name[n - 2] == '_' ? '-' : name[n - 2];
    const qn_option *o = find(options, n_options, typed, n);
    if (o == NULL) return qn_cli_usage("%s: there is no parameter '%s'", command, name);
    if (o->kind != QN_FLAG)
        return value[0] != '\0' ? take_value(command, o, value)
                                : qn_cli_usage("%s: %s needs a value", command, name);
    const bool on = strcmp(value, "") == 0 || strcmp(value, "true") == 0 || strcmp(value, "on") == 0 ||
                    strcmp(value, "1") == 0;
    if (!on && strcmp(value, "false") != 0 && strcmp(value, "off") != 0 && strcmp(value, "0") != 0)
        return qn_cli_usage("%s: %s is true or false, not '%s'", command, name, value);
    *(bool *)o->value = on;
    return -1;
}

int qn_options_parse(const char *command, const qn_option *options, size_t n_options, int *argc, char **argv,
                     int min_args, int max_args)
{
    int kept = 1;
    bool literal = false;
    for (int i = 1; i < *argc; i++) {
        if (literal || argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[kept++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            literal = true;
        } else {
            const int code = take_option(command, options, n_options, *argc, argv, &i);
            if (code >= 0) return code;
        }
    }
    *argc = kept;
    const char *arguments = qn_command_find(command)->arguments;
    if (kept - 1 < min_args)
        return qn_cli_usage("%s: too few arguments: quern %s %s (see quern %s --help)", command, command,
                            arguments, command);
    if (kept - 1 > max_args)
        return qn_cli_usage("%s: unexpected argument '%s' (see quern %s --help)", command, argv[max_args + 1],
                            command);
    return -1;
}
