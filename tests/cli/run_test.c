/* run_test.c: `quern run` with one prompt: where it comes from, what comes out, how it fails. */
#include "cli_util.h"

#include "base/utf8.h"

#include <jansson.h>

static const char *plain_model, *chat_model, *reasoning_model;

static json_t *run_json(const char *arguments, const char *input)
{
    cli_result r = cli_run(arguments, input);
    json_error_t where;
    json_t *o = json_loadb(r.out, r.n_out, JSON_ALLOW_NUL, &where);
    if (r.code != 0 || o == NULL) fail_msg("'%s': exit %d: %s%s", arguments, r.code, r.err, r.out);
    cli_free(&r);
    return o;
}

static const char *text_of(json_t *o)
{
    return json_string_value(json_object_get(o, "text"));
}
static long number_of(json_t *o, const char *key)
{
    return (long)json_integer_value(json_object_get(o, key));
}

static void json_tells_all(void **state)
{
    (void)state;
    json_t *o =
        run_json(cli_format("run %s --raw hello -n 7 --temp 0 --ignore-eos --report", plain_model), NULL);
    assert_non_null(text_of(o));
    assert_string_equal(json_string_value(json_object_get(o, "finish_reason")), "length");
    assert_int_equal(number_of(o, "completion_tokens"), 7);
    assert_true(number_of(o, "prompt_tokens") > 1);
    assert_true(json_is_integer(json_object_get(o, "seed")));
    assert_true(json_number_value(json_object_get(json_object_get(o, "timings"), "generate_ms")) > 0);
    json_decref(o);
}

static void streamed_text_is_the_text(void **state)
{
    (void)state;
    json_t *o =
        run_json(cli_format("run %s --raw hello -n 30 --seed 5 --ignore-eos --report", plain_model), NULL);
    cli_result r = cli_run(
        cli_format("run -m %s --raw -p hello -n 30 --seed 5 --ignore-eos --verbose", plain_model), NULL);
    assert_int_equal(r.code, 0);
    const size_t n = json_string_length(json_object_get(o, "text"));
    assert_true(r.n_out == n || r.n_out == n + 1); /* a line end is put after it */
    assert_memory_equal(r.out, text_of(o), n);
    assert_true(qn_utf8_valid(r.out, r.n_out));
    static const char *const lines[] = {
        "total duration:", "load duration:", "prompt eval count:", "prompt eval rate:", "eval count:",
        "eval rate:",      "seed:"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) assert_non_null(strstr(r.err, lines[i]));
    assert_non_null(strstr(strstr(r.err, "seed:"), " 5\n"));
    cli_free(&r);
    json_decref(o);
}

static void the_seed_decides_and_nothing_else(void **state)
{
    (void)state;
    static const char *const ways[] = {"-t 1", "-t 2", "-t 3 -b 1", "-t 2 -b 7 -c 300"};
    json_t *first = run_json(
        cli_format("run %s --raw hello -n 25 --temp 1.5 --seed 11 --ignore-eos --report", plain_model), NULL);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        json_t *o =
            run_json(cli_format("run %s --raw hello -n 25 --temp 1.5 --seed 11 --ignore-eos --report %s",
                                plain_model, ways[i]),
                     NULL);
        assert_true(json_equal(json_object_get(o, "text"), json_object_get(first, "text")));
        json_decref(o);
    }
    json_t *other = run_json(
        cli_format("run %s --raw hello -n 25 --temp 1.5 --seed 12 --ignore-eos --report", plain_model), NULL);
    assert_false(json_equal(json_object_get(other, "text"), json_object_get(first, "text")));
    json_decref(other);
    /* a random seed is told, and gives the same again */
    json_t *random =
        run_json(cli_format("run %s --raw hello -n 25 --temp 1.5 --ignore-eos --report", plain_model), NULL);
    json_t *again =
        run_json(cli_format("run %s --raw hello -n 25 --temp 1.5 --ignore-eos --report --seed %ld",
                            plain_model, number_of(random, "seed")),
                 NULL);
    assert_true(json_equal(json_object_get(random, "text"), json_object_get(again, "text")));
    json_decref(random);
    json_decref(again);
    json_decref(first);
}

static void prompts_come_from_everywhere(void **state)
{
    (void)state;
    cli_write(cli_path("prompt.txt"), "from a file\n", 12);
    /* the same tokens whichever way: the same answer at temperature 0 */
    const char *tail = "-n 5 --temp 0 --ignore-eos --report";
    json_t *both = run_json(cli_format("run %s hello %s", chat_model, tail), "from a pipe\n");
    json_t *one = run_json(cli_format("run\x1f%s\x1fhello\n\nfrom a pipe\x1f-n\x1f"
                                      "5\x1f--temp\x1f"
                                      "0\x1f--ignore-eos\x1f--report",
                                      chat_model),
                           NULL);
    assert_int_equal(number_of(both, "prompt_tokens"), number_of(one, "prompt_tokens"));
    assert_true(json_equal(json_object_get(both, "text"), json_object_get(one, "text")));
    json_t *pipe_only = run_json(cli_format("run %s %s", chat_model, tail), "hello\n\nfrom a pipe\n");
    assert_true(json_equal(json_object_get(pipe_only, "text"), json_object_get(one, "text")));
    json_t *file = run_json(cli_format("run %s -f %s %s", chat_model, cli_path("prompt.txt"), tail), NULL);
    json_t *same = run_json(cli_format("run\x1f%s\x1f"
                                       "from a file\x1f-n\x1f"
                                       "5\x1f--temp\x1f"
                                       "0\x1f--ignore-eos\x1f--report",
                                       chat_model),
                            NULL);
    assert_true(json_equal(json_object_get(file, "text"), json_object_get(same, "text")));
    /* the system message stands in front */
    json_t *system = run_json(cli_format("run %s hello --system world %s", chat_model, tail), NULL);
    json_t *raw = run_json(cli_format("run\x1f%s\x1f--raw\x1fsystem: world\nuser: hello\nassistant:\x1f-n\x1f"
                                      "5\x1f--temp\x1f"
                                      "0\x1f--ignore-eos\x1f--report",
                                      chat_model),
                           NULL);
    assert_int_equal(number_of(system, "prompt_tokens") + 1, number_of(raw, "prompt_tokens")); /* and <s> */
    json_decref(both), json_decref(one), json_decref(pipe_only), json_decref(file), json_decref(same),
        json_decref(system), json_decref(raw);
}

static void stop_texts_are_not_shown(void **state)
{
    (void)state;
    const char *tail = "--raw hello -n 30 --temp 0 --ignore-eos";
    json_t *o = run_json(cli_format("run %s %s --report", plain_model, tail), NULL);
    const char *text = text_of(o);
    const size_t n = strlen(text);
    for (size_t at = 0; at + 4 < n && at < 16;
         at += 5) { /* across tokens: pieces of any length at any place */
        size_t begin = at, end = at + 4;
        while (begin < n && ((unsigned char)text[begin] & 0xc0) == 0x80) begin++;
        while (end < n && ((unsigned char)text[end] & 0xc0) == 0x80) end++;
        char stop[32] = "";
        memcpy(stop, text + begin, end - begin);
        if (strpbrk(stop, "\n\r") != NULL) continue;
        cli_result r = cli_run(cli_format("run\x1f%s\x1f--raw\x1fhello\x1f-n\x1f"
                                          "30\x1f--temp\x1f"
                                          "0\x1f--ignore-eos\x1f--stop\x1fnever\x1f--stop\x1f%s",
                                          plain_model, stop),
                               NULL);
        const size_t expected = (size_t)(strstr(text, stop) - text);
        assert_int_equal(r.code, 0);
        assert_true(r.n_out >= expected && r.n_out <= expected + 1);
        assert_memory_equal(r.out, text, expected);
        cli_free(&r);
    }
    json_decref(o);
}

static void sampling_options_arrive(void **state)
{
    (void)state;
    /* token 262 ("e") is forced by a bias, then banned */
    json_t *o =
        run_json(cli_format("run %s --raw hello -n 4 --report -l 262+1000 --top-k 1", plain_model), NULL);
    assert_string_equal(text_of(o), "eeee");
    json_decref(o);
    o = run_json(cli_format("run %s --raw hello -n 4 --report -l 262+1000 -l 262-inf -l 263+1000 --temp 0",
                            plain_model),
                 NULL);
    assert_null(strchr(text_of(o), 'e'));
    json_decref(o);
    static const char *const accepted[] = {
        "--top-p 0.5 --min-p 0.1 --typical 0.9 --top-n-sigma 1 --xtc-probability 0.5 --xtc-threshold 0.2",
        ("--dry-multiplier 0.8 --dry-base 2 --dry-allowed-length 1 --dry-penalty-last-n 64 "
         "--dry-sequence-breaker x"),
        "--repeat-penalty 1.2 --repeat-last-n -1 --presence-penalty 0.5 --frequency-penalty 0.5",
        "--mirostat 2 --mirostat-ent 4 --mirostat-lr 0.2",
        "--mirostat 1",
        "--dynatemp-range 0.3 --dynatemp-exp 2",
        "--samplers top_k;temperature",
        "--temp 0",
        "-ctk q8_0 -ctv f32",
        "-ctk bf16 -ctv q4_0",
        "-ngl 99",
    };
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        o = run_json(cli_format("run %s --raw hello -n 2 --report --ignore-eos %s", plain_model, accepted[i]),
                     NULL);
        assert_int_equal(number_of(o, "completion_tokens"), 2);
        json_decref(o);
    }
}

static void wrong_usage_is_one_line_and_exit_2(void **state)
{
    (void)state;
    static const struct {
        const char *options, *said;
    } cases[] = {
        {"--tempp 1", "did you mean --temp"},
        {"--temp hot", "--temp"},
        {"--temp -1", "from 0"},
        {"--temp nan", "--temp"},
        {"--top-p 2", "from 0 to 1"},
        {"-n", "needs a value"},
        {"-n 1e5", "whole number"},
        {"-c -5", "-c"},
        {"-t 100000", "from 0 to 256"},
        {"--seed 99999999999999999999", "--seed"},
        {"-ctk q2_k", "q2_k"},
        {"--raw --system x", "--system"},
        {"-p twice", "twice"},
        {"--raw --interactive", "exclude"},
        {"--json=yes", "takes no value"},
        {"--session x --raw", "--session has no place"},
        {"--session x --report", "--session has no place"},
        {"and more", "quote a prompt"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cli_expect_failure(cli_format("run %s hello %s", plain_model, cases[i].options), NULL, 2,
                           cases[i].said);
    cli_expect_failure("run", NULL, 2, "MODEL");
    cli_expect_failure(cli_format("run %s", plain_model), NULL, 2, "no prompt");
    cli_expect_failure(cli_format("run %s", chat_model), "", 2, "no prompt");
    cli_expect_failure("runn", NULL, 2, "unknown command");
}

static void failures_are_one_line_and_exit_1(void **state)
{
    (void)state;
    static char noise[5000], cut[60000], whole[8 << 20];
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)(i * 37 + i / 7);
    cli_write(cli_path("noise.gguf"), noise, sizeof noise);
    cli_write(cli_path("page.gguf"), "<!DOCTYPE html><html>", 21);
    cli_write(cli_path("empty.gguf"), "", 0);
    FILE *f = fopen(plain_model, "rb");
    assert_non_null(f);
    const size_t n_whole = fread(whole, 1, sizeof whole, f);
    fclose(f);
    assert_true(n_whole > sizeof cut && n_whole < sizeof whole);
    memcpy(cut, whole, sizeof cut);
    cli_write(cli_path("cut.gguf"), cut, sizeof cut);
    char *arch = memmem(whole, n_whole, "llama", 5); /* the value of general.architecture comes first */
    assert_non_null(arch);
    memcpy(arch, "llamx", 5);
    cli_write(cli_path("unknown.gguf"), whole, n_whole);
    const tiny_model broken = {.chat_template = "{% for m in messages %}"};
    assert_true(tiny_model_write(cli_path("broken.gguf"), &broken));

    cli_expect_failure(cli_format("run %s hi", cli_path("noise.gguf")), NULL, 1, "noise.gguf");
    cli_expect_failure(cli_format("run %s hi", cli_path("page.gguf")), NULL, 1, "HTML");
    cli_expect_failure(cli_format("run %s hi", cli_path("empty.gguf")), NULL, 1, "empty.gguf");
    cli_expect_failure(cli_format("run %s hi", cli_path("cut.gguf")), NULL, 1, "cut.gguf");
    cli_expect_failure(cli_format("run %s hi", cli_path("unknown.gguf")), NULL, 1, "llamx");
    cli_expect_failure(cli_format("run %s hi", cli_path("missing.gguf")), NULL, 1, "missing.gguf");
    cli_expect_failure(cli_format("run %s hi", cli_directory), NULL, 1, "directory");
    cli_expect_failure("run smollm3 hi", NULL, 1, "smollm3");
    cli_expect_failure(cli_format("run %s hi -c 900000000", plain_model), NULL, 1, "-c");
    cli_expect_failure(cli_format("run %s hi -f %s", plain_model, cli_path("nowhere.txt")), NULL, 1,
                       "nowhere.txt");
    cli_expect_failure(cli_format("run %s hi -l 262", plain_model), NULL, 1, "ID+BIAS");
    cli_expect_failure(cli_format("run %s hi -l 320+1", plain_model), NULL, 1, "320");
    cli_expect_failure(cli_format("run %s hi --samplers top_q", plain_model), NULL, 1, "top_q");
    cli_expect_failure(cli_format("run\x1f%s\x1fhi\x1f--stop\x1f", plain_model), NULL, 1, "stop");
    cli_expect_failure(cli_format("run %s hi --system x", plain_model), NULL, 1, "no chat template");
    cli_expect_failure(cli_format("run %s longer_than_four -c 4", plain_model), NULL, 1, "larger -c");
    cli_expect_failure(cli_format("run %s \xff\xfe", chat_model), NULL, 1, "UTF-8");
}

/* Any bytes can be completed; a conversation is of text. */
static void bytes_that_are_no_text(void **state)
{
    (void)state;
    static const char bytes[] = "a\0b\xff\xc3 c";
    cli_result r =
        cli_run_to(cli_format("run %s --raw -n 2 --ignore-eos", plain_model), bytes, sizeof bytes - 1, NULL);
    assert_int_equal(r.code, 0);
    assert_true(r.n_out > 0 && qn_utf8_valid(r.out, r.n_out));
    cli_free(&r);
    r = cli_run_to(cli_format("run %s -n 2", chat_model), bytes, sizeof bytes - 1, NULL);
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "--raw"));
    cli_free(&r);
}

static const char *part_of(json_t *report, const char *part)
{
    const char *text = json_string_value(json_object_get(json_object_get(report, "message"), part));
    return text != NULL ? text : "";
}

static void expect_output(const char *arguments, const char *wanted, const char *said)
{
    cli_result r = cli_run(arguments, NULL);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, wanted);
    if (said == NULL) assert_string_equal(r.err, "");
    else assert_non_null(strstr(r.err, said));
    cli_free(&r);
}

/* What is redirected is the answer alone, unless all is asked for. Some answers end within their reasoning.
 */
static void reasoning_is_told_apart(void **state)
{
    (void)state;
    int n_whole = 0;
    for (int seed = 0; seed < 12; seed++) {
        const char *how =
            cli_format("run %s hello -n 40 --ignore-eos --seed %d -l 319+4", reasoning_model, seed);
        json_t *report = run_json(cli_format("%s --report", how), NULL);
        const char *said = part_of(report, "content"), *thought = part_of(report, "reasoning_content");
        const char *answer = cli_format("%s%s", said, said[0] != '\0' ? "\n" : ""),
                   *warning = said[0] != '\0' ? NULL : "ended within its reasoning";
        assert_true(thought[0] != '\0' || said[0] != '\0');
        const size_t n = json_string_length(json_object_get(report, "text"));
        if (thought[0] == '\0' || strlen(text_of(report)) != n || memchr(text_of(report), '\n', n) != NULL) {
            json_decref(report); /* what these tests cannot compare: NUL bytes, blanks around the marker */
            continue;
        }
        n_whole += said[0] != '\0';
        expect_output(how, answer, warning);
        expect_output(cli_format("%s --reasoning hide", how), answer, warning);
        expect_output(cli_format("%s --reasoning show", how),
                      cli_format("<think>\n%s\n</think>\n\n%s", thought, answer), warning);
        json_decref(report);
    }
    assert_true(n_whole > 0);
    cli_expect_failure(cli_format("run %s hello --reasoning faint", reasoning_model), NULL, 2,
                       "show and hide");
    cli_result r = cli_run(cli_format("show %s", reasoning_model), NULL);
    assert_non_null(strstr(r.out, "may begin with reasoning"));
    cli_free(&r);
}

/* A model that thinks first does so, and then the schema holds. */
static void a_schema_binds_what_follows_the_reasoning(void **state)
{
    (void)state;
    for (int seed = 0; seed < 5; seed++) {
        const char *how =
            cli_format("run %s hello -n 60 --seed %d -l 319+3 --regex [0-9]{3,5}", reasoning_model, seed);
        json_t *report = run_json(cli_format("%s --report", how), NULL);
        const char *said = part_of(report, "content"), *end = strstr(text_of(report), "</think>");
        assert_non_null(end);
        assert_int_equal(strspn(said, "0123456789"), strlen(said));
        assert_in_range(strlen(said), 3, 5);
        expect_output(how, cli_format("%s\n", said), NULL);
        json_decref(report);
    }
}

static void a_broken_template_leaves_completion(void **state)
{
    (void)state;
    cli_result r = cli_run(cli_format("run %s hi -n 2", cli_path("broken.gguf")), NULL);
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "--raw"));
    cli_free(&r);
    r = cli_run(cli_format("run %s --raw hi -n 2 --ignore-eos", cli_path("broken.gguf")), NULL);
    assert_int_equal(r.code, 0);
    assert_true(r.n_out > 0);
    cli_free(&r);
}

/* One more turn of a conversation; returns what was said on standard error. */
static char *say(const char *text, const char *session, char **said)
{
    cli_result r = cli_run(
        cli_format("run %s %s --session %s -n 9 --temp 0 --ignore-eos --verbose", chat_model, text, session),
        NULL);
    if (r.code != 0) fail_msg("%s", r.err);
    *said = strdup(r.out);
    char *err = strdup(r.err);
    cli_free(&r);
    return err;
}

static size_t count_messages(const char *path)
{
    json_t *all = json_load_file(path, JSON_ALLOW_NUL, NULL);
    assert_non_null(all);
    const size_t n = json_array_size(json_object_get(all, "messages"));
    json_decref(all);
    return n;
}

static void copy_file(const char *from, const char *to)
{
    assert_int_equal(system(cli_format("cp '%s' '%s'", from, to)), 0);
}

static void a_session_goes_on_where_it_was(void **state)
{
    (void)state;
    char *said[4], *err, talk[128], other[128];
    snprintf(talk, sizeof talk, "%s", cli_path("talk.json"));
    snprintf(other, sizeof other, "%s", cli_path("other.json"));
    err = say("hello", talk, &said[0]);
    assert_non_null(strstr(err, " 0 of them cached"));
    free(err);
    assert_int_equal(count_messages(talk), 2);
    copy_file(talk, other);
    err = say("again", talk, &said[1]);
    assert_null(strstr(err, " 0 of them cached"));
    free(err);
    assert_int_equal(count_messages(talk), 4);
    err = say("again", other, &said[2]); /* without the state: the same, only later */
    assert_non_null(strstr(err, " 0 of them cached"));
    free(err);
    assert_string_equal(said[1], said[2]);
    copy_file(other, talk);
    cli_write(cli_path("talk.json.state"), "damaged", 7);
    err = say("more", talk, &said[3]);
    assert_non_null(strstr(err, "talk.json.state: is no saved session"));
    free(err);
    assert_int_equal(count_messages(talk), 6);
    for (size_t i = 0; i < 4; i++) free(said[i]);
    cli_write(talk, "{}", 2);
    cli_expect_failure(cli_format("run %s hello --session %s", chat_model, talk), NULL, 1,
                       "is not a saved conversation");
    cli_result r = cli_run(cli_format("run %s hello -n 2 --session /nowhere/at/all", chat_model), NULL);
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "/nowhere/at/all"));
    cli_free(&r);
}

static void output_that_fails_is_said(void **state)
{
    (void)state;
    static const char *const commands[] = {"run %s hi -n 30 --ignore-eos",
                                           "run %s hi -n 3 --report",
                                           "show %s --json",
                                           "explain %s",
                                           "plan %s",
                                           "tokenize %s hello"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        char command[256];
        snprintf(command, sizeof command, "%.*s%s%s", (int)(strstr(commands[i], "%s") - commands[i]),
                 commands[i], plain_model, strstr(commands[i], "%s") + 2);
        cli_result r = cli_run_to(command, NULL, 0, "/dev/full");
        if (r.code != 1 || strstr(r.err, "No space left") == NULL)
            fail_msg("%s: exit %d: %s", command, r.code, r.err);
        assert_ptr_equal(strchr(r.err, '\n'), r.err + r.n_err - 1);
        cli_free(&r);
    }
    /* a pipe that is closed after the first byte, as head does */
    const char *line = cli_format("'%s' run %s hi -n 400 --ignore-eos --temp 0 2>'%s' </dev/null | head -c 1 "
                                  ">/dev/null; exit ${PIPESTATUS[0]}",
                                  getenv("QUERN_EXE"), plain_model, cli_path("said"));
    cli_write(cli_path("pipe.sh"), line, strlen(line));
    const int status = system(cli_format("bash %s", cli_path("pipe.sh")));
    assert_int_equal(status >> 8, 1);
    char said[512] = "";
    FILE *f = fopen(cli_path("said"), "r");
    assert_non_null(f);
    assert_true(fread(said, 1, sizeof said - 1, f) > 0);
    fclose(f);
    assert_string_equal(said, "quern: standard output: Broken pipe\n");
}

static int set_up(void **state)
{
    if (cli_set_up(state) != 0) return -1;
    const tiny_model plain = {.type = QN_TYPE_Q8_0},
                     chat = {.type = QN_TYPE_Q8_0, .seed = 3, .chat_template = CLI_TEMPLATE},
                     reasoning = {.type = QN_TYPE_Q8_0,
                                  .seed = 3,
                                  .chat_template = CLI_REASONING_TEMPLATE,
                                  .marker = "</think>"};
    static char paths[3][128];
    snprintf(paths[0], sizeof paths[0], "%s/plain.gguf", cli_directory);
    snprintf(paths[1], sizeof paths[1], "%s/chat.gguf", cli_directory);
    snprintf(paths[2], sizeof paths[2], "%s/reasoning.gguf", cli_directory);
    plain_model = paths[0], chat_model = paths[1], reasoning_model = paths[2];
    const bool ok = tiny_model_write(plain_model, &plain) && tiny_model_write(chat_model, &chat) &&
                    tiny_model_write(reasoning_model, &reasoning);
    return ok ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_tells_all),
        cmocka_unit_test(streamed_text_is_the_text),
        cmocka_unit_test(the_seed_decides_and_nothing_else),
        cmocka_unit_test(prompts_come_from_everywhere),
        cmocka_unit_test(stop_texts_are_not_shown),
        cmocka_unit_test(sampling_options_arrive),
        cmocka_unit_test(wrong_usage_is_one_line_and_exit_2),
        cmocka_unit_test(failures_are_one_line_and_exit_1),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(a_broken_template_leaves_completion),
        cmocka_unit_test(reasoning_is_told_apart),
        cmocka_unit_test(a_schema_binds_what_follows_the_reasoning),
        cmocka_unit_test(a_session_goes_on_where_it_was),
        cmocka_unit_test(output_that_fails_is_said),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}
