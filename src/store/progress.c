/* progress.c: see progress.h. */
#include "store/progress.h"

#include "base/clock.h"

#include <string.h>

enum { TELL_EVERY_MS = 100, RATE_EVERY_MS = 400 };

static void update_rate(qn_progress *p, uint64_t now, uint64_t done)
{
    quern_store_progress *v = &p->view;
    if (p->mark_ns == 0 || done < p->mark_bytes) {
        p->mark_ns = now;
        p->mark_bytes = done;
        v->bytes_per_second = 0;
    } else if (now - p->mark_ns >= (uint64_t)RATE_EVERY_MS * 1000000) {
        const double rate = (double)(done - p->mark_bytes) / ((double)(now - p->mark_ns) * 1e-9);
        v->bytes_per_second = v->bytes_per_second > 0 ? 0.7 * v->bytes_per_second + 0.3 * rate : rate;
        p->mark_ns = now;
        p->mark_bytes = done;
    }
    const bool known = v->total_bytes >= done && v->total_bytes > 0 && v->bytes_per_second > 0;
    v->seconds_left = known ? (double)(v->total_bytes - done) / v->bytes_per_second : -1;
}

bool qn_progress_tell(qn_progress *p, quern_store_phase phase, uint64_t done_bytes, uint64_t total_bytes)
{
    if (p->fn == NULL || p->canceled) return !p->canceled;
    const uint64_t now = qn_clock_ns();
    const bool changed = p->told_ns == 0 || phase != p->view.phase;
    if (changed) p->mark_ns = 0;
    const bool finished = done_bytes == total_bytes && done_bytes != p->view.done_bytes;
    if (!changed && !finished && now - p->told_ns < (uint64_t)TELL_EVERY_MS * 1000000) return true;
    p->view.phase = phase;
    p->view.done_bytes = done_bytes;
    p->view.total_bytes = total_bytes;
    update_rate(p, now, done_bytes);
    p->told_ns = now;
    if (!p->fn(p->user, &p->view)) p->canceled = true;
    return !p->canceled;
}

void qn_progress_file(qn_progress *p, const char *file)
{
    p->view.file = file;
    p->told_ns = p->mark_ns = 0;
}

quern_status qn_progress_canceled(quern_error *err, const char *what)
{
    return qn_fail(err, QUERN_ERR_CANCELED, "%s: canceled (pull again to go on)",
                   qn_quote(what, strlen(what)).text);
}
