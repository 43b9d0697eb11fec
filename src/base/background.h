/* background.h: work that shall not be in the way of other work. */
#ifndef QN_BASE_BACKGROUND_H
#define QN_BASE_BACKGROUND_H

/* From now on the calling thread, and threads that it creates, get processors after all others of the program
 * that want them; there is no way back. Where the system does not allow it nothing changes. */
void qn_thread_to_background(void);

#endif
