/* limit_test.c: templates that want too much, fail on purpose, or meet no memory. */
#include "chat_test.h"

#include <pthread.h>

#define LIMIT    QUERN_ERR_LIMIT
#define TEMPLATE QUERN_ERR_TEMPLATE

static void too_much_is_refused_before_it_is_built(void **state)
{
    (void)state;
    ASSERT_FAILS("{% for i in range(10**9) %}{% endfor %}", NULL, LIMIT,
                 "more than 1000000 evaluation steps");
    ASSERT_FAILS("{{ range(10**9)|list }}", NULL, LIMIT,
                 "a list of 1000000000 items is over the limit of 1000000");
    ASSERT_FAILS("{{ 'x' * 10**12 }}", NULL, LIMIT,
                 "a string of 1 bytes times 1000000000000 is over the limit");
    ASSERT_FAILS("{{ [1] * 10**10 }}", NULL, LIMIT, "a list of 1 items times 10000000000");
    ASSERT_FAILS("{{ range(900000)|join('x' * 1000) }}", NULL, LIMIT, "more than 16777216 bytes");
    ASSERT_FAILS("{{ ('a' * 1000000)|replace('a', 'b' * 1000) }}", NULL, LIMIT, "more than 16777216 bytes");
    ASSERT_FAILS("{{ ('a\\n' * 900000)|indent(1000) }}", NULL, LIMIT, "more than 16777216 bytes");
    ASSERT_FAILS("{{ 'a'|center(10**12) }}", NULL, LIMIT, "padding to 1000000000000 characters");
    ASSERT_FAILS("{{ 'a'.zfill(10**15) }}", NULL, LIMIT, "padding to 1000000000000000 characters");
    ASSERT_FAILS("{{ '\\t'.expandtabs(10**9) }}", NULL, LIMIT, "expandtabs");
    ASSERT_FAILS("{{ '%999999999d' % 1 }}", NULL, LIMIT, "width or precision");
    ASSERT_FAILS("{{ '%*d' % (10**12, 1) }}", NULL, LIMIT, "a width of 1000000000000");
    ASSERT_FAILS("{{ '%.99999d' % 1.5 }}", NULL, LIMIT, "with 99999 digits is over the limit of 500");
    ASSERT_FAILS("{{ '{:99999999999}'.format(1) }}", NULL, LIMIT, "width or precision");
    ASSERT_FAILS("{{ [[1]]|tojson(indent=10**9) }}", NULL, LIMIT, "an indent of 1000000000");
    ASSERT_FAILS("{{ ('a,' * 8000000).split(',') }}", NULL, LIMIT, "a list of more than 1000000 items");
    ASSERT_FAILS("{{ range(10)|slice(10**9)|list }}", NULL, LIMIT, "1000000000 slices");
    ASSERT_FAILS("{{ range(10)|batch(10**9, 1)|list }}", NULL, LIMIT, "filling up to 1000000000 items");
    ASSERT_FAILS("{{ 'a'.strip('b' * 10000) }}", NULL, LIMIT, "stripping a set");
    ASSERT_FAILS(
        "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}", NULL,
        LIMIT, "a string of 33554432 bytes is over the limit of 16 MiB");
    ASSERT_FAILS("{% set x = 'x' * 1000000 %}{% for i in range(1000) %}{{ x }}{% endfor %}", NULL, LIMIT,
                 "the output is larger than 16777216 bytes");
    ASSERT_FAILS("{% set l = [1] %}{% for x in l %}{% do l.append(x) %}{% endfor %}", NULL, LIMIT,
                 "evaluation steps");
    ASSERT_FAILS("{% set n = namespace(l=[]) %}{% for i in range(300) %}{% set n.l = n.l + ['x' * 1000000] %}"
                 "{% endfor %}{{ n.l|length }}",
                 NULL, LIMIT, "values take more than 256 MiB");
    ASSERT_FAILS("{{ range(-9223372036854775807, 9223372036854775807) }}", NULL, LIMIT, "range: more items");
}

static void the_limits_of_the_caller_hold(void **state)
{
    (void)state;
    const struct {
        qn_jinja_limits limits;
        const char *source, *part;
    } cases[] = {
        {{.max_steps = 50}, "{% for i in range(100) %}{% endfor %}", "more than 50 evaluation steps"},
        {{.max_output_bytes = 10}, "{{ 'x' * 11 }}", "the output is larger than 10 bytes"},
        {{.max_output_bytes = 10}, "12345678901", "the output is larger than 10 bytes"},
        {{.max_ns = 30000000},
         "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}"
         "{{ n.l|string|length }}",
         "longer than its time limit"},
        {{.max_ns = 30000000},
         "{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{{ 'b' in s }}{% endfor %}",
         "longer than its time limit"},
        {{.max_ns = 30000000},
         "{{ ('a' * 10000000).rfind('a' * 5000000 ~ 'b') }}",
         "longer than its time limit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_buffer text;
        quern_error err = {0};
        assert_int_equal(
            render_with(cases[i].source, strlen(cases[i].source), NULL, &cases[i].limits, &text, &err),
            LIMIT);
        if (strstr(err.message, cases[i].part) == NULL) fail_msg("%s: %s", cases[i].source, err.message);
        qn_buffer_deinit(&text);
    }
    qn_buffer text = {.max_bytes = 4}; /* the caller's own buffer is too small */
    qn_jinja *t;
    assert_int_equal(qn_jinja_parse(&t, "12345", 5, NULL), QUERN_OK);
    assert_int_equal(qn_jinja_render(t, NULL, 0, NULL, &text, NULL), LIMIT);
    qn_buffer_deinit(&text);
    qn_jinja_destroy(t);
}

/* before * n ~ middle ~ after * n */
static char *nested(const char *before, const char *middle, const char *after, size_t n)
{
    char *text = malloc(n * (strlen(before) + strlen(after)) + strlen(middle) + 1), *p = text;
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) p = stpcpy(p, before);
    p = stpcpy(p, middle);
    for (size_t i = 0; i < n; i++) p = stpcpy(p, after);
    return text;
}

static void nesting_is_bounded_everywhere(void **state)
{
    (void)state;
    static const struct {
        const char *open, *before, *middle, *after, *close;
        bool allowed; /* it is long, not deep */
    } shapes[] = {
        {"{{ ", "(", "1", ")", " }}", false},
        {"{{ ", "[", "1", "]", " }}", false},
        {"{{ ", "{1:", "1", "}", " }}", false},
        {"{{ ", "-", "1", "", " }}", false},
        {"{{ ", "not ", "1", "", " }}", false},
        {"{{ 1", "|abs", "", "", " }}", false},
        {"{{ a", ".b", "", "", " }}", false},
        {"{{ a", "[0]", "", "", " }}", false},
        {"{{ a", "()", "", "", " }}", false},
        {"{{ 1", "+1", "", "", " }}", false},
        {"{{ 1", "*1", "", "", " }}", false},
        {"{{ 1", "**1", "", "", " }}", false},
        {"{{ 1", " and 1", "", "", " }}", false},
        {"{{ 1", " or 1", "", "", " }}", false},
        {"{{ 1", " if 1 else 1", "", "", " }}", false},
        {"{{ 1", " if 1", "", "", " }}", false},
        {"{{ f(", "f(", "1", ")", ") }}", false},
        {"{{ a[", "a[", "1", "]", "] }}", false},
        {"{{ 1 is eq", " f(1) is eq", " 1", "", " }}", false},
        {"{{ 1|default(", "1|default(", "1", ")", ") }}", false},
        {"", "{% if 1 %}", "", "{% endif %}", "", false},
        {"", "{% for a in b %}", "", "{% endfor %}", "", false},
        {"", "{% set a %}", "", "{% endset %}", "", false},
        {"", "{% macro m() %}", "", "{% endmacro %}", "", false},
        {"", "{% filter upper %}", "", "{% endfilter %}", "", false},
        {"", "{% with %}", "", "{% endwith %}", "", false},
        {"", "{% call f() %}", "", "{% endcall %}", "", false},
        {"", "{% generation %}", "", "{% endgeneration %}", "", false},
        {"{% set ", "(", "a", ")", " = 1 %}", false},
        {"{% for ", "(", "a", ")", " in b %}{% endfor %}", false},
        {"{{ 1", " ~ 1", "", "", " }}", true},
        {"{{ 1", " < 1", "", "", " }}", true},
        {"{% if 0 %}", "{% elif 0 %}", "", "", "{% endif %}", true},
        {"{{ [", "1,", "1", "", "] }}", true},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (size_t n = 1; n <= 30000; n *= 10) {
            char *inner = nested(shapes[i].before, shapes[i].middle, shapes[i].after, n), *source;
            assert_true(asprintf(&source, "%s%s%s", shapes[i].open, inner, shapes[i].close) > 0);
            quern_error err = {0};
            qn_jinja *t;
            const quern_status status = qn_jinja_parse(&t, source, strlen(source), &err);
            const bool refused = n >= 1000 && !shapes[i].allowed;
            if (status == QUERN_OK ? refused : !refused || strstr(err.message, "in a row") == NULL) {
                if (!(refused && status == LIMIT && strstr(err.message, "nested deeper than") != NULL))
                    fail_msg("%.60s... with %zu: %d %s", source, n, (int)status, err.message);
            }
            if (status == QUERN_OK) { /* what is accepted also renders on a modest stack, or fails politely */
                qn_buffer text = {0};
                (void)qn_jinja_render(t, NULL, 0, NULL, &text, &err);
                qn_buffer_deinit(&text);
            }
            qn_jinja_destroy(t);
            free(source);
            free(inner);
        }
    }
}

static void recursion_ends(void **state)
{
    (void)state;
    ASSERT_FAILS("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", NULL, LIMIT,
                 "macros call each other more than 100 deep");
    ASSERT_FAILS("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
                 NULL, LIMIT, "macros call each other more than 100 deep");
    ASSERT_FAILS("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", NULL, LIMIT,
                 "more than 100 deep");
    ASSERT_FAILS("{% macro m() %}{% call m() %}{{ caller }}{% endcall %}{{ caller }}{% endmacro %}{{ m() }}",
                 NULL, LIMIT, "more than 100 deep");
    char *deep = nested("[0, ", "m()", "]", 60), *source; /* depth of expressions times depth of macros */
    assert_true(asprintf(&source, "{%% macro m() %%}{{ %s }}{%% endmacro %%}{{ m() }}", deep) > 0);
    ASSERT_FAILS(source, NULL, LIMIT, "evaluation nested deeper than 2000");
    free(source);
    free(deep);
}

/* A loop and a macro that are called when the scopes they came from have ended. */
static void late_calls_see_their_own_variables(void **state)
{
    (void)state;
    ASSERT_RENDERS(
        "{% set n = namespace() %}{% macro m(a) %}{% for x in [1] recursive %}{{ a }}{{ x }}"
        "{% set n.loop = loop %}{% endfor %}{% endmacro %}{{ m('q') }}"
        "{% macro other(b) %}{% with c = b %}{{ n.loop([2, 3]) }}{% endwith %}{% endmacro %}{{ other('z') }}",
        NULL, "q1q2q3");
    ASSERT_RENDERS(
        "{% set n = namespace() %}{% for x in [1, 2] %}{% macro m() %}{{ x }}{% endmacro %}"
        "{% if x == 1 %}{% set n.m = m %}{% endif %}{% endfor %}{% for y in [7, 8] %}{{ n.m() }}{% endfor %}",
        NULL, "11");
}

static void values_that_contain_themselves_are_cut(void **state)
{
    (void)state;
    ASSERT_RENDERS("{% set l = [1] %}{% do l.append(l) %}{{ l }} {{ l == l }} {{ l in l }} {{ l|length }}",
                   NULL, "[1, [...]] True True 2");
    ASSERT_RENDERS("{% set d = {} %}{% do d.update(a=d) %}{{ d }}", NULL, "{'a': {...}}");
    ASSERT_RENDERS("{% set n = namespace() %}{% set n.n = n %}{{ n }}", NULL,
                   "<Namespace {'n': <Namespace {...}>}>");
    ASSERT_FAILS("{% set l = [] %}{% do l.append(l) %}{{ l|tojson }}", NULL, TEMPLATE, "contains itself");
    ASSERT_FAILS("{% set a = [] %}{% do a.append(a) %}{% set b = [] %}{% do b.append(b) %}{{ a == b }}", NULL,
                 LIMIT, "nested deeper than 500 are not compared");
    ASSERT_FAILS("{% set a = [] %}{% do a.append(a) %}{% set b = [] %}{% do b.append(b) %}{{ [a, b]|sort }}",
                 NULL, LIMIT, "nested deeper than 500 are not compared");
    ASSERT_FAILS(
        "{% set n = namespace(l=[]) %}{% for i in range(1000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}",
        NULL, LIMIT, "nested deeper than 500 are not printed");
    ASSERT_FAILS("{% set n = namespace(l=[]) %}{% for i in range(1000) %}{% set n.l = [n.l] %}{% endfor %}{{ "
                 "n.l|tojson }}",
                 NULL, LIMIT, "nested deeper than 500 are not printed");
}

static void integers_do_not_overflow(void **state)
{
    (void)state;
    ASSERT_FAILS("{{ 2**63 }}", NULL, TEMPLATE, "2 ** 63 does not fit 64 bits");
    ASSERT_FAILS("{{ 9223372036854775807 + 1 }}", NULL, TEMPLATE, "integer overflow");
    ASSERT_FAILS("{{ -9223372036854775807 - 2 }}", NULL, TEMPLATE, "integer overflow");
    ASSERT_FAILS("{{ 4611686018427387904 * 2 }}", NULL, TEMPLATE, "integer overflow");
    ASSERT_FAILS("{{ (-9223372036854775807 - 1) // -1 }}", NULL, TEMPLATE, "integer overflow");
    ASSERT_FAILS("{{ (-9223372036854775807 - 1)|abs }}", NULL, TEMPLATE, "integer overflow");
    ASSERT_FAILS("{{ 9223372036854775808 }}", NULL, TEMPLATE, "does not fit 64 bits");
    ASSERT_FAILS("{{ '99999999999999999999'|int }}", NULL, TEMPLATE, "does not fit 64 bits");
    ASSERT_FAILS("{{ 1e300|int }}", NULL, TEMPLATE, "does not fit 64 bits");
    ASSERT_RENDERS(
        "{{ (-9223372036854775807 - 1) % -1 }} {{ -9223372036854775807 - 1 }} {{ 0x7fffffffffffffff }}"
        " {{ '-9223372036854775808'|int }} {{ (-9223372036854775807 - 1)|string|length }}",
        NULL, "0 -9223372036854775808 9223372036854775807 -9223372036854775808 20");
    ASSERT_RENDERS("{{ 'abc'[-9223372036854775807 - 1:9223372036854775807:9223372036854775807] }}"
                   "{{ 'abc'[::-9223372036854775807 - 1] }}{{ [1, 2][9223372036854775807:] }}"
                   "{{ range(0, 9223372036854775807, 4611686018427387904)|list }}",
                   NULL, "ac[][0, 4611686018427387904]");
    ASSERT_RENDERS("{{ 9007199254740993 == 9007199254740992.0 }} {{ 9007199254740993 > 9007199254740992.0 }}"
                   " {{ 9223372036854775807 < 1e19 }} {{ {1: 'a'}[1.0] }} {{ (1e308 * 10) > 5 }}"
                   " {{ (1e308 * 10 - 1e308 * 10) < 1 }}",
                   NULL, "False True True a True False");
    ASSERT_FAILS("{{ 1 / 0 }}", NULL, TEMPLATE, "line 1: division by zero");
    ASSERT_FAILS("{{ 1 % 0.0 }}", NULL, TEMPLATE, "division by zero");
}

static void a_failure_names_the_line_and_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *source, *message;
    } cases[] = {
        {"a\n{{ b.c.d }}", "line 2: 'b' is undefined"},
        {"\n\n{% for x in none %}\n{% endfor %}", "line 3: a value of type NoneType cannot be iterated over"},
        {"{{ 'a' +\n[1] }}", "line 1: '+' is not supported between str and list"},
        {"\r\n\r{{ m.content.strip() }}", "line 3: 'm' is undefined"},
        {"{{ {'a': none}.a.strip() }}", "line 1: None has no attribute 'strip'"},
        {"{{ 1|from_json }}", "line 1: there is no filter 'from_json'"},
        {"{{ 1 is odder }}", "line 1: there is no test 'odder'"},
        {"{{ strftime('x') }}", "line 1: 'strftime' is undefined"},
        {"{% set x = 1 %}{% set x.y = 2 %}", "line 1: 'x' is no namespace: its attribute 'y' cannot be set"},
        {"{% macro m(a) %}{% endmacro %}\n{{ m(1, 2) }}",
         "line 2: macro 'm' takes at most 1 arguments, not 2"},
        {"{% macro m(a) %}{% endmacro %}\n{{ m(b=2) }}", "line 2: macro 'm' has no argument 'b'"},
        {"{{ [1, 'a']|sort }}", "line 1: '<' is not supported between str and int"},
        {"{% for a, b in [1] %}{% endfor %}", "line 1: a value of type int cannot be iterated over"},
        {"{% for a, b in [[1]] %}{% endfor %}", "line 1: 2 values are expected here, but there are 1"},
        {"{{ 'x'.split('') }}", "line 1: split: the separator is empty"},
        {"{{ 'x'.strip(1) }}", "line 1: strip must be a string, not int"},
        {"{{ x|default(y=1) }}", "line 1: default: there is no argument 'y'"},
        {"{{ raise_exception('Only user and assistant!') }}", "Only user and assistant!"},
        {"{{ raise_exception() }}", "line 1: raise_exception: the argument 'message' is missing"},
        {"{{ raise_exception(unknown) }}", "line 1: raise_exception: the template gives no reason"},
        {"{{ raise_exception('\\x00') }}", "line 1: raise_exception: the template gives no reason"},
        {"{{ range(1, 2, 0) }}", "line 1: range: the step must not be 0"},
        {"{{ {[]: 1} }}", "line 1: a list cannot be a key of a mapping"},
        {"{{ loop(1) }}", "line 1: 'loop' is undefined"},
        {"{% for x in [1] %}{{ loop([]) }}{% endfor %}", "line 1: loop(...) needs {% for ... recursive %}"},
        /* the parser's */
        {"a\n{% if x %}\nb", "line 3: unexpected end of the template, expected elif"},
        {"{{ a b }}", "line 1: unexpected 'b', expected '}}'"},
        {"\n{% endif %}", "line 2: unknown or misplaced tag 'endif'"},
        {"{% frob %}", "line 1: unknown or misplaced tag 'frob'"},
        {"{{ 'abc }}", "line 1: string without its end '"},
        {"{# abc", "line 1: comment without its end '#}'"},
        {"{% raw %}\n{{ x }}", "line 1: {% raw %} without {% endraw %}"},
        {"{{ (1 }}", "line 1: unexpected '}', expected ')'"},
        {"{{ 1", "line 1: the template ends inside a tag: '}}' is missing"},
        {"{% include 'a' %}",
         "line 1: a chat template stands alone: include, import, from and extends are not available"},
        {"{% break %}", "line 1: 'break' outside of a loop"},
        {"{% for x in [] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
         "line 1: 'break' outside of a loop"},
        {"{% set none = 1 %}", "line 1: cannot assign to 'none'"},
        {"{{ f(a=1, 2) }}", "line 1: an argument without a name follows one with a name"},
        {"{{ ? }}", "line 1: unexpected character '?'"},
        {"{{ '\\ud800' }}", "line 1: a string escape names no Unicode character"},
        {"{{ '\\x4' }}", "line 1: \\x in a string wants 2 hexadecimal digits"},
        {"{{ 0b12 }}", "line 1: malformed number '0b12'"},
        {"\xff", "the template is not valid UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_buffer text;
        quern_error err = {0};
        if (render(cases[i].source, NULL, &text, &err) != TEMPLATE)
            fail_msg("%s: %s", cases[i].source, err.message);
        if (strncmp(err.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s\n  says     %s\n  expected %s", cases[i].source, err.message, cases[i].message);
        qn_buffer_deinit(&text);
    }
}

static void a_large_source_is_refused(void **state)
{
    (void)state;
    quern_error err = {0};
    qn_jinja *t;
    char *source = malloc((1 << 20) + 1);
    memset(source, 'x', (1 << 20) + 1);
    assert_int_equal(qn_jinja_parse(&t, source, (1 << 20) + 1, &err), LIMIT);
    assert_null(t);
    assert_int_equal(qn_jinja_parse(&t, source, 1 << 20, &err), QUERN_OK);
    qn_jinja_destroy(t);
    for (size_t i = 3; i + 3 < 1 << 20; i += 2) memcpy(source + i, "1,", 2);
    memcpy(source, "{{[", 3), memcpy(source + (1 << 20) - 5, "1 ]}}", 5);
    if (qn_jinja_parse(&t, source, 1 << 20, &err) != LIMIT) fail_msg("%s", err.message);
    assert_non_null(strstr(err.message, "more parts than 200000"));
    free(source);
}

/* Every allocation of parsing and rendering fails in turn. */
static void missing_memory_is_an_error_everywhere(void **state)
{
    (void)state;
    static const char source[] =
        "{% macro m(a, b=[1, 2]) %}{% for x in b recursive %}{{ a ~ x }}{% endfor %}{{ caller() }}{% "
        "endmacro %}"
        "{% set ns = namespace(l=[], t='') %}{% for i in range(40) %}{% set ns.l = ns.l + [i|string * 100] %}"
        "{% set ns.t = ns.t + 'abcdefghijklmnopqrstuvwxyz' * 40 %}{% endfor %}"
        "{% call m('x' 'y') %}{{ v|tojson(indent=2) }}{% endcall %}{% set block | upper %}{{ v.a }}{% endset "
        "%}{{ block }}"
        "{{ '%s %5.1f' % ('a', 1.5) }}{{ '{:>5}'.format(3) }}{{ v|dictsort|map('first')|join(',') }}{{ "
        "ns.l|join|length }}"
        "{{ v.b|sort|reverse|list }}{{ ns.t.split('m')|length }}{{ 'é'|upper }}{{ strftime_now('%Y') }}";
    json_t *v = json_pack("{s:{s:s,s:[i,i,i]}}", "v", "a", "text", "b", 3, 1, 2);
    const long live = qn_alloc_live();
    long n_failures = 0;
    for (long k = 0;; k++) {
        qn_buffer text;
        quern_error err = {0};
        qn_alloc_fail_at(k);
        const quern_status status = render_with(source, sizeof source - 1, v, NULL, &text, &err);
        const bool failed = qn_alloc_has_failed();
        qn_alloc_fail_at(-1);
        qn_buffer_deinit(&text);
        assert_int_equal(qn_alloc_live(), live);
        if (!failed) {
            if (status != QUERN_OK) fail_msg("%s", err.message);
            break;
        }
        assert_int_equal(status, QUERN_ERR_NOMEM);
        assert_int_equal(err.status, QUERN_ERR_NOMEM);
        n_failures++;
    }
    json_decref(v);
    print_message("%ld allocations failed in turn\n", n_failures);
    assert_true(n_failures > 20);
}

/* The source cut at every byte: an error or a rendering, never harm. */
static void a_cut_template_does_no_harm(void **state)
{
    (void)state;
    static const char source[] = "{%- macro m(a, b='c') -%}{{ a[1:-1:2]|default('x', true) }}{% endmacro "
                                 "%}{# note #}{% raw %}{{ }}{% endraw %}\n"
                                 "{% for k, v in {'ä': 1.5e3}.items() if v is not none recursive %}{{ "
                                 "loop.index ~ k }}{% else %}-{% endfor %}\n"
                                 "{% if not a and 1 in [1, (2,)] %}{{ '\\u00e9\\n' if b else m(1, b='d') "
                                 "}}{% elif x %}{% set y = -2 ** 3 %}{% endif %}";
    for (size_t n = 0; n < sizeof source; n++) {
        qn_buffer text;
        quern_error err = {0};
        char *exact = malloc(n > 0 ? n : 1); /* so that a read beyond it is seen */
        memcpy(exact, source, n);
        const quern_status status = render_with(exact, n, NULL, NULL, &text, &err);
        assert_true(status == QUERN_OK || (status == TEMPLATE && err.message[0] != '\0'));
        qn_buffer_deinit(&text);
        free(exact);
    }
}

typedef struct shared {
    const qn_jinja *tmpl;
    const json_t *variables;
    qn_buffer text;
} shared;

static void *render_often(void *user)
{
    shared *s = user;
    for (int i = 0; i < 50; i++) {
        qn_buffer_clear(&s->text);
        if (qn_jinja_render(s->tmpl, s->variables, TEST_NOW, NULL, &s->text, NULL) != QUERN_OK) return s;
    }
    return NULL;
}

static void one_template_serves_many_threads(void **state)
{
    (void)state;
    static const char source[] =
        "{% macro m(x, y='ü') %}{{ x }}{{ y|length }}{{ 'äö'[1] }}{% endmacro %}"
        "{% for k, v in d|dictsort %}{{ m(k) ~ v|tojson }}{{ strftime_now('%d %b') }}{% endfor %}";
    json_t *variables = json_loads("{\"d\": {\"b\": \"é\", \"a\": [1.5, null]}}", 0, NULL);
    qn_jinja *t;
    pthread_t threads[4];
    shared users[4];
    assert_int_equal(qn_jinja_parse(&t, source, sizeof source - 1, NULL), QUERN_OK);
    for (int i = 0; i < 4; i++) {
        users[i] = (shared){.tmpl = t, .variables = variables};
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, &users[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        assert_string_equal(users[i].text.data, "a1ö[1.5, null]14 Marb1ö\"é\"14 Mar");
        qn_buffer_deinit(&users[i].text);
    }
    qn_jinja_destroy(t);
    json_decref(variables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_much_is_refused_before_it_is_built),
        cmocka_unit_test(the_limits_of_the_caller_hold),
        cmocka_unit_test(nesting_is_bounded_everywhere),
        cmocka_unit_test(recursion_ends),
        cmocka_unit_test(late_calls_see_their_own_variables),
        cmocka_unit_test(values_that_contain_themselves_are_cut),
        cmocka_unit_test(integers_do_not_overflow),
        cmocka_unit_test(a_failure_names_the_line_and_the_reason),
        cmocka_unit_test(a_large_source_is_refused),
        cmocka_unit_test(missing_memory_is_an_error_everywhere),
        cmocka_unit_test(a_cut_template_does_no_harm),
        cmocka_unit_test(one_template_serves_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
