/* output_parser_fuzz.c: any bytes as what a model wrote. The first byte chooses the format, the second how
 * the text is cut; the rest is the text. What comes out is the same however it is cut, in the order of the
 * text; without tools and reasoning it is the text itself; and calls are told in order. */
#include "base/alloc.h"
#include "base/utf8.h"
#include "chat/output_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "output_parser_fuzz: %s\n", what);
    abort();
}

typedef struct record {
    qn_buffer events; /* as text, deltas of a kind put together */
    qn_buffer said;   /* content and reasoning */
    int kind, n_calls;
    bool in_call;
} record;

static bool add_event(void *user, const qn_output_event *e)
{
    record *r = user;
    const bool delta = e->kind != QN_OUTPUT_CALL && e->kind != QN_OUTPUT_CALL_END;
    require(!delta || e->n_bytes > 0, "an empty delta");
    require(r->in_call == (e->kind == QN_OUTPUT_ARGUMENTS || e->kind == QN_OUTPUT_CALL_END),
            "events out of order");
    if (e->kind == QN_OUTPUT_CALL) {
        require(e->call == r->n_calls++, "calls out of order");
        require(e->name[0] != '\0' && strlen(e->name) <= QN_OUTPUT_MAX_NAME + 1,
                "a name of no or many bytes");
        qn_buffer_printf(&r->events, "\ncall %s %s", e->id, e->name);
    } else if ((int)e->kind != r->kind) {
        qn_buffer_printf(&r->events, "\n%d%d ", (int)e->kind, e->complete);
    }
    r->in_call = e->kind == QN_OUTPUT_CALL || (r->in_call && e->kind != QN_OUTPUT_CALL_END);
    r->kind = delta ? (int)e->kind : -1;
    if (delta) qn_buffer_append(&r->events, e->text, e->n_bytes);
    if (delta && e->kind != QN_OUTPUT_ARGUMENTS) qn_buffer_append(&r->said, e->text, e->n_bytes);
    return true;
}

/* cut 0: in one piece; else in pieces of 1 to cut bytes. */
static record run(const qn_output_params *with, const char *text, size_t n_bytes, unsigned cut)
{
    record r = {.kind = -1};
    qn_output_params params = *with;
    qn_output_parser *p;
    params.emit = add_event;
    params.user = &r;
    require(qn_output_parser_create(&p, &params, NULL) == QUERN_OK, "no parser");
    for (size_t at = 0, k = 0; at < n_bytes; k++) {
        size_t piece = cut == 0 ? n_bytes : 1 + k * 7 % cut;
        if (piece > n_bytes - at) piece = n_bytes - at;
        require(qn_output_parser_push(p, text + at, piece, NULL) == QUERN_OK, "a text fails");
        at += piece;
    }
    require(qn_output_parser_finish(p, NULL) == QUERN_OK, "the end fails");
    require(qn_output_parser_held(p) == 0, "something is held back at the end");
    require(!r.in_call, "a call does not end");
    qn_output_parser_destroy(p);
    return r;
}

static bool same(const qn_buffer *b, const char *text, size_t n_bytes)
{
    return b->n_bytes == n_bytes && (n_bytes == 0 || memcmp(b->data, text, n_bytes) == 0);
}

/* Whether part is what is left of text when some bytes are taken out. */
static bool is_part(const qn_buffer *part, const char *text, size_t n_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < n_bytes && n < part->n_bytes; i++) n += text[i] == part->data[n];
    return n == part->n_bytes;
}

static void free_record(record *r)
{
    qn_buffer_deinit(&r->events);
    qn_buffer_deinit(&r->said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *tools, *none;
    if (tools == NULL) {
        tools = json_loads(
            "[{\"function\": {\"name\": \"f\", \"parameters\": {\"properties\": {\"s\": {\"type\": "
            "\"string\"}, \"n\": {\"type\": [\"null\", \"integer\"]}}}}}, {\"function\": {\"name\": \"g\"}}]",
            0, NULL);
        none = json_array();
    }
    if (size < 2) return 0;
    const long live = qn_alloc_live();
    const qn_output_format *format = &qn_output_formats[data[0] % qn_n_output_formats];
    const char *text = (const char *)data + 2;
    const size_t n_bytes = size - 2 < 8192 ? size - 2 : 8192;
    const json_t *offered[] = {tools, NULL, none};
    for (int i = 0; i < 3; i++) {
        const bool plain = i == 2;
        const qn_output_params params = {.format = format,
                                         .tools = offered[i],
                                         .prompt_end = data[1] & 0x80 ? "<think>\n" : NULL,
                                         .reasoning_is_content = plain};
        record whole = run(&params, text, n_bytes, 0), bytes = run(&params, text, n_bytes, 1);
        record cut = run(&params, text, n_bytes, 2 + (data[1] & 0x7f));
        require(same(&bytes.events, whole.events.data, whole.events.n_bytes),
                "byte by byte it is read otherwise");
        require(same(&cut.events, whole.events.data, whole.events.n_bytes), "cut it is read otherwise");
        require(is_part(&whole.said, text, n_bytes), "something is said that was not written");
        if (plain && format->message_begin == NULL && format->skip[0] == NULL)
            require(same(&whole.said, text, n_bytes), "something is lost");
        free_record(&whole);
        free_record(&bytes);
        free_record(&cut);
    }
    require(qn_alloc_live() == live, "memory is left behind");
    return 0;
}
