/* background.c: see background.h. On Linux a thread has a nice value of its own, and 0 means the caller. */
#include "base/background.h"

#include <errno.h>
#include <sys/resource.h>

enum { NICER_BY = 10 }; /* about a tenth of the weight in the scheduler; the system bounds it at 19 */

void qn_thread_to_background(void)
{
    errno = 0;
    const int now = getpriority(PRIO_PROCESS, 0);
    if (errno == 0) (void)setpriority(PRIO_PROCESS, 0, now + NICER_BY);
}
