/* choice.c: see choice.h. */
#include "grammar/choice.h"

#include <string.h>

quern_status qn_choice_build(qn_network *n, const char *const *texts, const size_t *n_bytes, size_t n_texts,
                             quern_error *err)
{
    qn_expressions e = {0};
    memset(n, 0, sizeof *n);
    if (n_texts == 0) return qn_fail(err, QUERN_ERR_ARGUMENT, "choice: there is no text to choose");
    e.root = qn_expression_new_rule(&e);
    const qn_expression choice = qn_expression_group(&e, QN_EXPRESSION_CHOICE);
    for (size_t i = 0; i < n_texts; i++)
        qn_expression_append(&e, choice, qn_expression_text(&e, texts[i], n_bytes[i]));
    qn_expression_define(&e, e.root, choice);
    const quern_status s = qn_network_build(n, &e, "choice", NULL, NULL, err);
    qn_expressions_deinit(&e);
    return s;
}
