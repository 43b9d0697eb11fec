/* format.c: see format.h. */
#include "format.h"

#include <stdio.h>

qn_cli_text qn_cli_bytes(uint64_t n_bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    qn_cli_text out;
    double value = (double)n_bytes;
    int unit = 0;
    while (value >= 999.5 && unit < 6) value /= 1000, unit++;
    snprintf(out.text, sizeof out.text, unit > 0 && value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

qn_cli_text qn_cli_age(int64_t then_s, int64_t now_s)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{31557600, "year"}, {2629800, "month"}, {604800, "week"}, {86400, "day"},
                 {3600, "hour"},     {60, "minute"},     {1, "second"}};
    qn_cli_text out;
    const int64_t age = now_s - then_s;
    for (int i = 0; i < 7 && age > 0; i++) {
        const int64_t n = age / units[i].seconds;
        if (n == 0) continue;
        snprintf(out.text, sizeof out.text, "%lld %s%s ago", (long long)n, units[i].name, n == 1 ? "" : "s");
        return out;
    }
    snprintf(out.text, sizeof out.text, "just now");
    return out;
}

qn_cli_text qn_cli_duration(double seconds)
{
    qn_cli_text out;
    if (!(seconds < 360000)) snprintf(out.text, sizeof out.text, "days");
    else if (seconds < 60) snprintf(out.text, sizeof out.text, "%ds", (int)(seconds + 0.5));
    else if (seconds < 3600)
        snprintf(out.text, sizeof out.text, "%dm%02ds", (int)seconds / 60, (int)seconds % 60);
    else snprintf(out.text, sizeof out.text, "%dh%02dm", (int)seconds / 3600, (int)seconds / 60 % 60);
    return out;
}
