/* golden_templates.h: a walk through the published chat templates of the golden data (QUERN_GOLDEN). */
#ifndef TESTS_CHAT_GOLDEN_TEMPLATES_H
#define TESTS_CHAT_GOLDEN_TEMPLATES_H

#include <stddef.h>

typedef struct golden_template {
    const char *name, *source;
    size_t n_source;
    const char *cases; /* what was rendered from it: a JSON object a line */
} golden_template;

/* Calls `run` with each template; returns how many there are. The test is skipped where there is no golden
 * data, and fails where `run` leaves memory behind. */
int each_golden_template(void (*run)(const golden_template *t, void *user), void *user);

#endif
