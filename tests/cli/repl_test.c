/* repl_test.c: interactive chat at a terminal of our own: messages, commands, Ctrl-C, history. */
#include "cli_util.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>

static const char *chat_model, *reasoning_model;

typedef struct terminal {
    int fd;
    pid_t pid;
    char seen[1 << 18];    /* all that the program wrote */
    size_t n_seen, n_read; /* n_read: up to where expectations have been met */
} terminal;

/* Opens the program's side of a new terminal; skips the test where the system has none to give. */
static int open_terminal(char *name, size_t size)
{
    const int fd = posix_openpt(O_RDWR | O_NOCTTY);
    if (fd < 0 || grantpt(fd) != 0 || unlockpt(fd) != 0 || ptsname_r(fd, name, size) != 0 ||
        access(name, R_OK | W_OK) != 0) {
        print_message("skipped: no pseudo-terminals here (/dev/pts is not mounted)\n");
        if (fd >= 0) close(fd);
        skip();
    }
    return fd;
}

static void start_model(terminal *t, const char *model, const char *options)
{
    memset(t, 0, sizeof *t);
    char name[128];
    t->fd = open_terminal(name, sizeof name);
    const struct winsize size = {.ws_row = 40, .ws_col = 200};
    ioctl(t->fd, TIOCSWINSZ, &size);
    t->pid = fork();
    assert_true(t->pid >= 0);
    if (t->pid > 0) return;
    setsid();
    const int slave = open(name, O_RDWR); /* becomes the controlling terminal */
    dup2(slave, 0), dup2(slave, 1), dup2(slave, 2);
    close(t->fd);
    setenv("TERM", "xterm", 1);
    alarm(100);
    char text[512], *argv[40] = {getenv("QUERN_EXE")};
    int n = 1;
    snprintf(text, sizeof text, "run %s %s", model, options);
    for (char *word = strtok(text, " "); word != NULL && n < 39; word = strtok(NULL, " ")) argv[n++] = word;
    execv(argv[0], argv);
    _exit(126);
}

static void start(terminal *t, const char *options)
{
    start_model(t, chat_model, options);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Waits until `text` appears after what was expected before. */
static void expect(terminal *t, const char *text)
{
    const double until = now() + 60;
    for (;;) {
        char *at = memmem(t->seen + t->n_read, t->n_seen - t->n_read, text, strlen(text));
        if (at != NULL) {
            t->n_read = (size_t)(at - t->seen) + strlen(text);
            return;
        }
        struct pollfd p = {t->fd, POLLIN, 0};
        poll(&p, 1, 200);
        const ssize_t n =
            (p.revents & POLLIN) != 0 ? read(t->fd, t->seen + t->n_seen, sizeof t->seen - t->n_seen - 1) : 0;
        if (n > 0) t->n_seen += (size_t)n;
        if (now() > until || ((p.revents & POLLHUP) != 0 && n <= 0))
            fail_msg("'%s' did not come; after what was expected before there is:\n%s", text,
                     t->seen + t->n_read);
    }
}

static void type(terminal *t, const char *text)
{
    const size_t n = strlen(text);
    assert_int_equal(write(t->fd, text, n), n);
}

static void at_prompt(terminal *t)
{
    expect(t, ">>> ");
}

/* Waits for the program's end; `again` (or NULL) is typed every second: a Ctrl-D that comes between the
 * prompt and the switch of the terminal to single characters is taken for something else, also with people.
 */
static int end_typing(terminal *t, const char *again)
{
    int status = 0;
    char rest[4096];
    double typed = now();
    struct pollfd p = {t->fd, POLLIN, 0};
    while (waitpid(t->pid, &status, WNOHANG) == 0) {
        if (poll(&p, 1, 20) > 0 && read(t->fd, rest, sizeof rest) < 0)
            usleep(1000); /* it must not wait for us */
        if (again == NULL || now() - typed < 1) continue;
        type(t, again);
        typed = now();
    }
    close(t->fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int end(terminal *t)
{
    return end_typing(t, NULL);
}

static json_t *saved(terminal *t, const char *name)
{
    type(t, cli_format("/save %s\n", cli_path(name)));
    expect(t, "saved to");
    at_prompt(t);
    json_t *o = json_load_file(cli_path(name), JSON_ALLOW_NUL, NULL);
    assert_non_null(o);
    json_t *messages = json_incref(json_object_get(o, "messages"));
    json_decref(o);
    return messages;
}

static const char *content(json_t *messages, size_t i)
{
    return json_string_value(json_object_get(json_array_get(messages, i), "content"));
}
static const char *role(json_t *messages, size_t i)
{
    return json_string_value(json_object_get(json_array_get(messages, i), "role"));
}

static terminal t;

static void a_conversation_is_kept(void **state)
{
    (void)state;
    start(&t, "-n 6 --seed 3 --ignore-eos");
    expect(&t, "/help");
    at_prompt(&t);
    type(&t, "/help\n");
    expect(&t, "/regen");
    expect(&t, "Ctrl-C");
    at_prompt(&t);
    type(&t, "hello\n");
    at_prompt(&t);
    type(&t, "\"\"\"first\n");
    expect(&t, "... ");
    type(&t, "second\n");
    expect(&t, "... ");
    type(&t, "third\"\"\"\n");
    at_prompt(&t);
    type(&t, "/stats\n");
    expect(&t, "of them cached"); /* the first turn was not computed again */
    char *count = strstr(t.seen, "prompt eval count:");
    assert_non_null(count);
    assert_null(strstr(count, " 0 of them cached"));
    at_prompt(&t);
    json_t *messages = saved(&t, "talk.json");
    assert_int_equal(json_array_size(messages), 4);
    assert_string_equal(content(messages, 0), "hello");
    assert_string_equal(role(messages, 1), "assistant");
    assert_string_equal(content(messages, 2), "first\nsecond\nthird");
    type(&t, "/regen\n");
    at_prompt(&t);
    json_t *again = saved(&t, "again.json");
    assert_int_equal(json_array_size(again), 4);
    assert_string_equal(content(again, 1), content(messages, 1));
    assert_string_not_equal(content(again, 3), content(messages, 3));
    type(&t, "/clear\n");
    expect(&t, "forgotten");
    at_prompt(&t);
    json_t *empty = saved(&t, "empty.json");
    assert_int_equal(json_array_size(empty), 0);
    type(&t, cli_format("/load %s\n", cli_path("talk.json")));
    expect(&t, "4 messages from");
    at_prompt(&t);
    json_t *loaded = saved(&t, "loaded.json");
    assert_true(json_equal(loaded, messages));
    type(&t, "/bye\n");
    assert_int_equal(end(&t), 0);
    json_decref(messages), json_decref(again), json_decref(empty), json_decref(loaded);
}

static void parameters_and_the_system_message_are_set(void **state)
{
    (void)state;
    start(&t, "-n 4 --ignore-eos --system first");
    at_prompt(&t);
    type(&t, "/system\n");
    expect(&t, "first");
    at_prompt(&t);
    type(&t, "/system be brief\n");
    expect(&t, "is set");
    at_prompt(&t);
    type(&t, "/set temperature 0\n");
    at_prompt(&t);
    type(&t, "/set parameter top_k 7\n");
    at_prompt(&t);
    type(&t, "/set\n");
    expect(&t, "top-k                  7");
    at_prompt(&t);
    type(&t, "/set max_tokens 9\n");
    at_prompt(&t);
    type(&t, "/set stop </x>\n");
    at_prompt(&t);
    type(&t, "/set temperature hot\n");
    expect(&t, "expected a number");
    at_prompt(&t);
    type(&t, "/set nonsense 1\n");
    expect(&t, "there is no parameter 'nonsense'");
    at_prompt(&t);
    type(&t, "/set samplers nonsense\n"); /* refused by the sampler; the old value stays */
    expect(&t, "nonsense'");
    at_prompt(&t);
    type(&t, "/set verbose\n");
    at_prompt(&t);
    type(&t, "hello\n");
    expect(&t, "eval count:           9 token(s)");
    at_prompt(&t);
    json_t *messages = saved(&t, "set.json");
    assert_string_equal(role(messages, 0), "system");
    assert_string_equal(content(messages, 0), "be brief");
    json_decref(messages);
    type(&t, "/nonsense\n");
    expect(&t, "unknown command '/nonsense'");
    at_prompt(&t);
    type(&t, "/load /nowhere.json\n");
    expect(&t, "/nowhere.json");
    at_prompt(&t);
    type(&t, "/save /nowhere/at/all.json\n");
    expect(&t, "No such file");
    at_prompt(&t);
    type(&t, "/regen\n");
    expect(&t, "eval count:");
    at_prompt(&t);
    type(&t, "\x04"); /* Ctrl-D */
    assert_int_equal(end_typing(&t, "\x04"), 0);
}

static void ctrl_c_stops_the_answer_and_not_the_program(void **state)
{
    (void)state;
    start(&t, "--ignore-eos --temp 0 -c 60000 --stop never-said");
    at_prompt(&t);
    type(&t, "\x03");
    expect(&t, "Ctrl-D or /bye");
    at_prompt(&t);
    type(&t, "hello\n");
    expect(&t, "hello\r\n");
    while (t.n_seen < t.n_read + 20) { /* the answer has begun */
        struct pollfd p = {t.fd, POLLIN, 0};
        assert_true(poll(&p, 1, 60000) > 0);
        const ssize_t n = read(t.fd, t.seen + t.n_seen, sizeof t.seen - t.n_seen - 1);
        assert_true(n > 0);
        t.n_seen += (size_t)n;
    }
    type(&t, "\x03");
    at_prompt(&t); /* long before the context is full */
    json_t *messages = saved(&t, "stopped.json");
    assert_int_equal(json_array_size(messages), 2);
    assert_true(json_string_length(json_object_get(json_array_get(messages, 1), "content")) > 0);
    json_decref(messages);
    type(&t, "/set max_tokens 3\n");
    at_prompt(&t);
    type(&t, "again\n");
    at_prompt(&t);
    type(&t, "\"\"\"abandoned\n");
    expect(&t, "... ");
    type(&t, "\x03");
    at_prompt(&t);
    messages = saved(&t, "after.json");
    assert_int_equal(json_array_size(messages), 4);
    json_decref(messages);
    type(&t, "/exit\n");
    assert_int_equal(end(&t), 0);
}

static void a_full_context_forgets_the_oldest_turns(void **state)
{
    (void)state;
    start(&t, "-n 20 --ignore-eos -c 160 --seed 1 --system remember");
    at_prompt(&t);
    for (int i = 0; i < 6; i++) {
        type(&t, cli_format("the %d. message of some length\n", i));
        at_prompt(&t);
    }
    t.seen[t.n_seen] = '\0';
    char *said = strstr(t.seen, "oldest turns are forgotten");
    assert_non_null(said);
    assert_null(strstr(said + 1, "oldest turns are forgotten")); /* once */
    json_t *messages = saved(&t, "full.json");
    assert_string_equal(role(messages, 0), "system");
    assert_int_equal(json_array_size(messages), 13); /* what the model is not shown is saved all the same */
    assert_string_equal(content(messages, json_array_size(messages) - 2), "the 5. message of some length");
    static char far_too_long[1200];
    memset(far_too_long, 'x', sizeof far_too_long - 2);
    for (size_t i = 3; i < sizeof far_too_long - 2; i += 7) far_too_long[i] = '7';
    far_too_long[sizeof far_too_long - 2] = '\n';
    type(&t, far_too_long);
    expect(&t, "the message is too long");
    at_prompt(&t);
    json_t *after = saved(&t, "too_long.json"); /* as before */
    assert_true(json_equal(after, messages));
    json_decref(messages), json_decref(after);
    type(&t, "/bye\n");
    assert_int_equal(end(&t), 0);
}

/* What was typed can be called again in the next chat, where the program edits lines. */
static void history_outlives_the_program(void **state)
{
    (void)state;
    FILE *f = fopen(cli_path("state/quern/history"), "r");
    if (f == NULL) {
        print_message("skipped: no history was kept (no line editing in this build, or no terminals here)\n");
        return;
    }
    fclose(f);
    start(&t, "-n 2 --ignore-eos");
    at_prompt(&t);
    type(&t, "/system unforgettable\n");
    expect(&t, "is set");
    at_prompt(&t);
    type(&t, "/bye\n");
    assert_int_equal(end(&t), 0);
    start(&t, "-n 2 --ignore-eos");
    at_prompt(&t);
    type(&t, "\x10\x10");               /* Ctrl-P twice: past /bye */
    expect(&t, "system unforgettable"); /* the slash is there already */
    type(&t, "\x15/bye\n");             /* Ctrl-U */
    assert_int_equal(end(&t), 0);
}

static void hostile_files_are_not_loaded(void **state)
{
    (void)state;
    static const char *const files[] = {
        "",
        "{",
        "[]x",
        "3",
        "{\"messages\": 3}",
        "[3]",
        "[{\"role\":\"user\"}]",
        "[{\"role\":\"user\",\"content\":3}]",
        "[{\"role\":\"wizard\",\"content\":\"x\"}]",
        "[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"system\",\"content\":\"x\"}]"};
    char input[4096] = "hello\n";
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *path = cli_path(cli_format("hostile%zu.json", i));
        cli_write(path, files[i], strlen(files[i]));
        strcat(strcat(strcat(input, "/load "), path), "\n");
    }
    strcat(strcat(strcat(input, "/save "), cli_path("kept.json")), "\n/bye\nnever reached\n");
    cli_result r = cli_run(cli_format("run %s --interactive -n 2 --ignore-eos", chat_model),
                           input); /* no terminal: plain lines */
    assert_int_equal(r.code, 0);
    size_t n_lines = 0;
    for (const char *p = r.err; (p = strstr(p, "quern: ")) != NULL; p++) n_lines++;
    assert_int_equal(n_lines, sizeof files / sizeof files[0]);
    assert_null(strstr(r.out, ">>> "));
    json_t *o = json_load_file(cli_path("kept.json"), JSON_ALLOW_NUL, NULL);
    assert_int_equal(json_array_size(json_object_get(o, "messages")), 2);
    json_decref(o);
    cli_free(&r);
}

static void answers_are_bound_and_freed(void **state)
{
    (void)state;
    start(&t, "--temp 0 -n 20");
    at_prompt(&t);
    type(&t, "/format regex [0-9]{4}\n");
    expect(&t, "answers are bound");
    at_prompt(&t);
    type(&t, "hello\n");
    at_prompt(&t);
    type(&t, "/format schema {\"enum\": [\"yes\"]}\n");
    expect(&t, "answers are bound");
    at_prompt(&t);
    type(&t, "hello\n");
    expect(&t, "\"yes\"");
    at_prompt(&t);
    static const char *const wrong[] = {"/format regex\n", "/format json now\n", "/format schema -\n",
                                        "/format yes\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        type(&t, wrong[i]);
        expect(&t, "json, schema FILE, grammar FILE, regex PATTERN or none");
        at_prompt(&t);
    }
    type(&t, "/format regex [z-a]\n"); /* what is wrong changes nothing */
    expect(&t, "quern: ");
    at_prompt(&t);
    type(&t, "/format\n");
    expect(&t, "answers are bound");
    at_prompt(&t);
    type(&t, "/format none\n");
    expect(&t, "answers are free");
    at_prompt(&t);
    json_t *messages = saved(&t, "bound.json");
    const char *number = content(messages, 1);
    assert_true(strlen(number) == 4 && strspn(number, "0123456789") == 4);
    assert_string_equal(content(messages, 3), "\"yes\"");
    json_decref(messages);
    type(&t, "/bye\n");
    assert_int_equal(end_typing(&t, "\x04"), 0);
}

/* Faint letters for what is thought; the conversation keeps it apart from what is said. */
static void reasoning_is_faint(void **state)
{
    (void)state;
    start_model(&t, reasoning_model, "--temp 0 -n 9 -l 264+30"); /* "aaaa..." */
    at_prompt(&t);
    type(&t, "hello\n");
    expect(&t, "\033[2m");
    expect(&t, "\033[0m");
    expect(&t, "ended within its reasoning");
    at_prompt(&t);
    json_t *thought = saved(&t, "thought.json");
    assert_string_equal(content(thought, 1), "");
    assert_int_equal(json_array_size(thought), 2);
    assert_non_null(json_object_get(json_array_get(thought, 1), "reasoning_content"));
    json_decref(thought);
    type(&t, "/set logit-bias 319+60\n"); /* the marker first, and never again */
    at_prompt(&t);
    type(&t, "/set presence-penalty 100\n");
    at_prompt(&t);
    type(&t, "/set reasoning hide\n");
    at_prompt(&t);
    type(&t, "/set reasoning loud\n");
    expect(&t, "auto, show and hide are possible");
    at_prompt(&t);
    type(&t, "/regen\n");
    at_prompt(&t);
    json_t *said = saved(&t, "said.json");
    assert_string_not_equal(content(said, 1), "");
    assert_null(json_object_get(json_array_get(said, 1), "reasoning_content"));
    json_decref(said);
    type(&t, "/bye\n");
    assert_int_equal(end_typing(&t, "\x04"), 0);
}

/* In one-shot mode Ctrl-C ends the answer and the program, and what was said is shown. */
static void one_shot_is_interrupted(void **state)
{
    (void)state;
    start(&t, "--raw -p hello --ignore-eos --temp 0 -c 60000 -l 262+1000"); /* "eeee..." */
    expect(&t, "eeee");
    type(&t, "\x03");
    assert_int_equal(end(&t), 130);
}

static int set_up(void **state)
{
    if (cli_set_up(state) != 0) return -1;
    static char paths[2][128];
    const tiny_model chat = {.type = QN_TYPE_Q8_0, .seed = 3, .chat_template = CLI_TEMPLATE},
                     reasoning = {.seed = 3, .chat_template = CLI_REASONING_TEMPLATE, .marker = "</think>"};
    snprintf(paths[0], sizeof paths[0], "%s/chat.gguf", cli_directory);
    snprintf(paths[1], sizeof paths[1], "%s/reasoning.gguf", cli_directory);
    chat_model = paths[0], reasoning_model = paths[1];
    return tiny_model_write(chat_model, &chat) && tiny_model_write(reasoning_model, &reasoning) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conversation_is_kept),
        cmocka_unit_test(parameters_and_the_system_message_are_set),
        cmocka_unit_test(ctrl_c_stops_the_answer_and_not_the_program),
        cmocka_unit_test(a_full_context_forgets_the_oldest_turns),
        cmocka_unit_test(history_outlives_the_program),
        cmocka_unit_test(hostile_files_are_not_loaded),
        cmocka_unit_test(reasoning_is_faint),
        cmocka_unit_test(answers_are_bound_and_freed),
        cmocka_unit_test(one_shot_is_interrupted),
    };
    return cmocka_run_group_tests(tests, set_up, cli_tear_down);
}
