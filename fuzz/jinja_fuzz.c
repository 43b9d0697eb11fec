/* jinja_fuzz.c: any bytes as a chat template. What parses is rendered over a fixed conversation with small
 * limits: the result keeps to them, is UTF-8, and is the same a second time. */
#include "base/alloc.h"
#include "base/utf8.h"
#include "chat/jinja.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "jinja_fuzz: %s\n", what);
    abort();
}

static const char conversation[] = "{\"messages\": [{\"role\": \"system\", \"content\": \"Be kind.\"}, "
                                   "{\"role\": \"user\", \"content\": \"Gr\\u00fc\\u00df \\ud83d\\ude00\"},"
                                   " {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": "
                                   "\"c1\", \"function\": {\"name\": \"f\", \"arguments\":"
                                   " {\"a\": [1, 2.5, true], \"b\": {}}}}]}, {\"role\": \"tool\", "
                                   "\"content\": [{\"type\": \"text\", \"text\": \"x\"}]}],"
                                   " \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", "
                                   "\"parameters\": {\"type\": \"object\"}}}],"
                                   " \"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"eos_token\": "
                                   "\"</s>\", \"s\": \"Hello, World\", \"n\": null,"
                                   " \"i\": 7, \"f\": -3.25, \"l\": [3, 1, 2], \"d\": {\"b\": 1, \"a\": [1, "
                                   "2]}, \"big\": 9223372036854775807}";

static bool same(const qn_buffer *a, const qn_buffer *b)
{
    return a->n_bytes == b->n_bytes && (a->n_bytes == 0 || memcmp(a->data, b->data, a->n_bytes) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *variables;
    if (variables == NULL) variables = json_loads(conversation, 0, NULL);
    require(variables != NULL, "the variables are no JSON");
    /* time is no limit here: what ends by time alone could differ from run to run */
    const qn_jinja_limits limits = {.max_steps = 5000, .max_output_bytes = 1 << 16, .max_ns = 60000000000u};
    qn_jinja *t;
    quern_error err = {0};
    const long live = qn_alloc_live();
    if (qn_jinja_parse(&t, (const char *)data, size, &err) == QUERN_OK) {
        qn_buffer first = {0}, second = {0};
        const quern_status a = qn_jinja_render(t, variables, 1741944413, &limits, &first, &err);
        const quern_status b = qn_jinja_render(t, variables, 1741944413, &limits, &second, NULL);
        require(a == b && same(&first, &second), "two renderings differ");
        require(first.n_bytes <= limits.max_output_bytes, "more output than allowed");
        require(qn_utf8_valid(first.data, first.n_bytes), "the output is not UTF-8");
        require(a == QUERN_OK || (first.n_bytes == 0 && err.message[0] != '\0'),
                "a failure without a message");
        qn_buffer_deinit(&first);
        qn_buffer_deinit(&second);
        qn_jinja_destroy(t);
    } else {
        require(t == NULL && err.message[0] != '\0', "a refusal without a message");
    }
    require(qn_alloc_live() == live, "memory is left behind");
    return 0;
}
