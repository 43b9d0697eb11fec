/* construct_test.c: every construct, filter, test and method against what Python's jinja2 3.1.6 makes of it
 * (in the environment of published chat templates: trim_blocks, lstrip_blocks, loop controls, generation). */
#include "chat_test.h"

static const char variables[] =
    "{\"s\": \"Hello, World\", \"u\": \"Zürich ☃ 😀 ß\", \"e\": \"\", \"n\": null, \"i\": 7, \"z\":"
    " 0, \"neg\": -13, \"f\": 3.14159, \"b\": true, \"l\": [3, 1, 2], \"ls\": [\"b\", \"A\", \"c\""
    ", \"a\"], \"d\": {\"b\": 1, \"a\": [1, 2], \"C\": {\"x\": null}}, \"ld\": [{\"name\": \"bob\""
    ", \"age\": 5, \"g\": \"x\"}, {\"name\": \"Al\", \"age\": 3, \"g\": \"y\"}, {\"name\": \"cy\","
    " \"age\": 9, \"g\": \"x\"}], \"nested\": [[1, [2, 3]], [4]], \"q\": \"it's \\\"q\\\"\\n\\t\\\\"
    " \\u0001\342\200\213\", \"big\": 12345678901, \"sp\": \"  \\n padded\\t \", \"html\": \"<a hr"
    "ef=\\\"x\\\">&'</a>\"}";

static const struct {
    const char *source, *expected;
} rows[] = {
    {"{{ s }} {{ u }} {{ n }} {{ b }} {{ f }} {{ l }} {{ d }} {{ q }} {{ [q, u, n, b, 1.0, 1e100, 1"
     "e16, 1e15, 1e-5, 0.0001, -0.0, 123456789.123] }}",
     "Hello, World Zürich ☃ 😀 ß None True 3.14159 [3, 1, 2] {'b': 1, 'a': [1, 2], 'C': {'x': None}}"
     " it's \"q\"\n\t\\ \001\342\200\213 ['it\\'s \"q\"\\n\\t\\\\ \\x01\\u200b', 'Zürich ☃ 😀 ß', No"
     "ne, True, 1.0, 1e+100, 1e+16, 1000000000000000.0, 1e-05, 0.0001, -0.0, 123456789.123]"},
    {"{{ s|length }} {{ u|length }} {{ u[0:3] }} {{ u[::-1] }} {{ u[-1] }} {{ u[7] }} {{ s[1:-1:2] "
     "}} {{ s[::-2] }} {{ s[100:] }} {{ s[5:2] }} {{ l[-1] }} {{ l[5] is defined }} {{ l[::-1] }} {"
     "{ l[1:] }} {{ l[:-1] }}",
     "12 12 Zür ß 😀 ☃ hcirüZ ß ☃ el,Wr drW,le   2 False [2, 1, 3] [1, 2] [3, 1]"},
    {"{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2"
     " ** 10 }} {{ 2 ** -1 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1/3 }} {{ 2**3**2 }} {{ -2**2 }}",
     "5.0 3 -4 1 2 -2 1024 0.5 3.0 0.5 0.3333333333333333 64 4"},
    {"{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ [1,2] < [1,"
     "3] }} {{ (1,2) == (1,2) }} {{ [1] == (1,) }} {{ {'a':1} == {'a':1.0} }} {{ none == false }}",
     "True False True True True True True False True False"},
    {"{{ 'a' ~ 1 ~ none ~ 1.5 ~ [1] }} {{ 'x' * 3 }} {{ [1] * 2 + [3] }} {{ 3 * 'ab' }} {{ (1,) + ("
     "2,) }}",
     "a1None1.5[1] xxx [1, 1, 3] ababab (1, 2)"},
    {"{{ 'ell' in s }} {{ 'x' not in s }} {{ 1 in l }} {{ 'a' in d }} {{ 4 in range(0,10,2) }} {{ '"
     "b' in ['b'] and not false }} {{ not 1 in l }}",
     "True True True True True True False"},
    {"{{ i if b else z }} {{ (i if z) is defined }} {{ 'x' if z else 'y' if n else 'w' }}", "7 False w"},
    {"{{ s.upper() }} {{ u.upper() }} {{ u.lower() }} {{ s.title() }} {{ 'it\\'s a-b c'.title() }} "
     "{{ s.swapcase() }} {{ 'ΑΣΣ'.lower() }} {{ 'ßx'.capitalize() }} {{ 'ǆx'.title() }} {{ 'straße'"
     ".casefold() }} {{ 'ŉ'.upper() }} {{ 'ﬁn'.title() }}",
     "HELLO, WORLD ZÜRICH ☃ 😀 SS zürich ☃ 😀 ß Hello, World It'S A-B C hELLO, wORLD ασς Ssx ǅx stras"
     "se ʼN Fin"},
    {"{{ sp.strip() }}|{{ sp.lstrip() }}|{{ sp.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'.lstr"
     "ip('ab') }}|{{ 'öaö'.strip('ö') }}",
     "padded|padded\t |  \n padded|a|cba|a"},
    {"{{ 'a b  c '.rsplit() }} {{ ''.split() }} {{ ''.split(',') }} {{ 'abc'.partition('b') }} {{ '"
     "abcbd'.rpartition('b') }} {{ 'abc'.partition('x') }} {{ 'abc'.rpartition('x') }} {{ 'a\\nb\\r"
     "\\nc\\n'.splitlines() }} {{ 'a\\nb'.splitlines(true) }}",
     "['a', 'b', 'c'] [] [''] ('a', 'b', 'c') ('abc', 'b', 'd') ('abc', '', '') ('', '', 'abc') ['a"
     "', 'b', 'c'] ['a\\n', 'b']"},
    {"{{ 'hello'.find('l') }} {{ 'hello'.rfind('l') }} {{ 'hello'.find('z') }} {{ u.find('☃') }} {{"
     " 'hello'.count('l') }} {{ 'hello'.find('l', 3) }} {{ 'hello'.find('', 9) }} {{ 'hello'.count("
     "'') }} {{ 'hello'.index('e') }}",
     "2 3 -1 7 2 3 -1 6 1"},
    {"{{ 'hello'.startswith('he') }} {{ 'hello'.startswith(('x','h')) }} {{ 'hello'.endswith('lo') "
     "}} {{ 'hello'.startswith('l', 2) }} {{ 'abc'.replace('b','X') }} {{ 'aaa'.replace('a','b',2) "
     "}} {{ 'abc'.replace('','-') }} {{ 'abc'.removeprefix('a').removesuffix('c') }}",
     "True True True True aXc bba -a-b-c- b"},
    {"{{ 'ab'.center(7, '*') }} {{ 'abc'.center(6) }}| {{ 'ab'.ljust(5) }}|{{ 'ab'.rjust(5, '0') }}"
     " {{ '-42'.zfill(6) }} {{ '42'.zfill(1) }} {{ 'a\\tb'.expandtabs(4) }}",
     "***ab**  abc  | ab   |000ab -00042 42 a   b"},
    {"{{ 'abc'.isalpha() }} {{ 'ab1'.isalnum() }} {{ '12'.isdigit() }} {{ ' \\n'.isspace() }} {{ 'A"
     "B'.isupper() }} {{ 'ab1'.islower() }} {{ ''.isalpha() }} {{ 'Äb'.isalpha() }} {{ 'abc'.isasci"
     "i() }} {{ 'a_1'.isidentifier() }}",
     "True True True True True True False True True True"},
    {"{{ '-'.join(['a','b']) }} {{ '{} {}'.format('a', 1) }} {{ '{0}{1}{0}'.format('x','y') }} {{ '"
     "{a:>5}|{b:^7.2f}|{c:05d}|{d:x}|{e!r}'.format(a='x', b=3.14159, c=42, d=255, e='q') }} {{ '{{}"
     "}'.format() }} {{ '{:,}'.format(1234567) }} {{ '{:+d} {: d} {:e} {:g} {:%}'.format(3, 4, 1234"
     "5.678, 0.0001, 0.25) }}",
     "a-b a 1 xyx     x| 3.14  |00042|ff|'q' {} 1,234,567 +3  4 1.234568e+04 0.0001 25.000000%"},
    {"{{ '{:.3}'.format('abcdef') }} {{ '{:*^9}'.format('mid') }} {{ '{:#x} {:#o} {:b} {:X}'.format"
     "(255, 8, 5, 255) }} {{ '{:<{w}}|'.format('a', w=4) }} {{ '{0[a]} {0[b][1]}'.format({'a':1,'b'"
     ":[1,2]}) }} {{ '{:.3}'.format(3.14159) }} {{ '{}'.format(1.0) }} {{ '{:.0f} {:.10f}'.format(2"
     ".5, 1/3) }} {{ '{:08.3f}'.format(-3.14159) }}",
     "abc ***mid*** 0xff 0o10 101 FF a   | 1 2 3.14 1.0 2 0.3333333333 -003.142"},
    {"{{ '%s %d %5.2f %x %%' % ('a', 3, 3.14159, 255) }} {{ '%(a)s-%(b)05d' % {'a': 1, 'b': 42} }} "
     "{{ '%r' % 'x' }} {{ '%-5s|%5s|' % ('a','b') }} {{ '%s' % n }} {{ '%s' % [1,2] }} {{ '%e %g' %"
     " (12345.6789, 1e-7) }} {{ '%+d % d %o %X %#x %c' % (5, 5, 8, 255, 255, 'z') }} {{ '%05.1f' % "
     "3.14159 }} {{ '%.2s' % 'abc' }} {{ '%*d' % (5, 42) }} {{ '%i' % 3.99 }}",
     "a 3  3.14 ff % 1-00042 'x' a    |    b| None [1, 2] 1.234568e+04 1e-07 +5  5 10 FF 0xff z 003"
     ".1 ab    42 3"},
    {"{{ d.get('b') }} {{ d.get('zz') }} {{ d.get('zz', 5) }} {{ d.keys()|list }} {{ d.values()|lis"
     "t }} {{ d.items()|list }} {{ d.keys() }} {{ d.items() }} {{ d.a[1] }} {{ d['a'][0] }} {{ d.zz"
     " is defined }} {{ d.C.x }}",
     "1 None 5 ['b', 'a', 'C'] [1, [1, 2], {'x': None}] [('b', 1), ('a', [1, 2]), ('C', {'x': None}"
     ")] dict_keys(['b', 'a', 'C']) dict_items([('b', 1), ('a', [1, 2]), ('C', {'x': None})]) 2 1 F"
     "alse None"},
    {"{{ ls|sort }} {{ ls|sort(reverse=true) }} {{ ls|sort(case_sensitive=true) }} {{ ld|sort(attri"
     "bute='age')|map(attribute='name')|list }} {{ ld|sort(attribute='g,age')|map(attribute='name')"
     "|join(',') }} {{ l|sort|first }} {{ l|max }} {{ l|min }} {{ ls|max }} {{ ld|max(attribute='ag"
     "e') }} {{ []|max is defined }}",
     "['A', 'a', 'b', 'c'] ['c', 'b', 'A', 'a'] ['A', 'a', 'b', 'c'] ['Al', 'bob', 'cy'] bob,cy,Al "
     "1 3 1 c {'name': 'cy', 'age': 9, 'g': 'x'} False"},
    {"{{ d|dictsort }} {{ d|dictsort(true) }} {{ {'a':3,'b':1}|dictsort(false,'value') }} {{ {'a':3"
     ",'b':1}|dictsort(by='value', reverse=true) }} {{ d|items|list }}",
     "[('a', [1, 2]), ('b', 1), ('C', {'x': None})] [('C', {'x': None}), ('a', [1, 2]), ('b', 1)] ["
     "('b', 1), ('a', 3)] [('a', 3), ('b', 1)] [('b', 1), ('a', [1, 2]), ('C', {'x': None})]"},
    {"{{ l|sum }} {{ ld|sum(attribute='age') }} {{ [1.5,2]|sum }} {{ [[1],[2]]|sum(start=[]) }} {{ "
     "l|join('-') }} {{ ld|join(', ', attribute='name') }} {{ l|reverse|list }} {{ s|reverse }} {{ "
     "l|list }} {{ s|list }} {{ d|list }} {{ l|first }} {{ l|last }} {{ s|first }} {{ s|last }}",
     "6 17 3.5 [1, 2] 3-1-2 bob, Al, cy [2, 1, 3] dlroW ,olleH [3, 1, 2] ['H', 'e', 'l', 'l', 'o', "
     "',', ' ', 'W', 'o', 'r', 'l', 'd'] ['b', 'a', 'C'] 3 2 H d"},
    {"{{ ld|selectattr('age','gt',4)|map(attribute='name')|list }} {{ ld|rejectattr('g','equalto','"
     "x')|list }} {{ l|select('odd')|list }} {{ l|reject('even')|list }} {{ [0,1,'',none,'a']|selec"
     "t|list }} {{ ld|selectattr('name')|list|length }} {{ ld|selectattr('age','in',[3,5])|map(attr"
     "ibute='age')|list }} {{ l|select('divisibleby', 3)|list }} {{ l|select('>', 1)|list }}",
     "['bob', 'cy'] [{'name': 'Al', 'age': 3, 'g': 'y'}] [3, 1] [3, 1] [1, 'a'] 3 [5, 3] [3] [3, 2]"
     ""},
    {"{{ ls|map('upper')|list }} {{ ls|map('replace','a','Z')|list }} {{ ld|map(attribute='zz', def"
     "ault='?')|list }} {{ nested|map('length')|list }} {{ ld|map(attribute='name')|map('length')|s"
     "um }} {{ [1,2]|map('string')|join('+') }}",
     "['B', 'A', 'C', 'A'] ['b', 'A', 'c', 'Z'] ['?', '?', '?'] [2, 1] 7 1+2"},
    {"{{ [1,1,2,'a','A']|unique|list }} {{ ls|unique(case_sensitive=true)|list }} {% for g in ld|gr"
     "oupby('g') %}{{ g.grouper }}:{{ g.list|length }} {% endfor %}{% for k, v in ld|groupby('g') %"
     "}{{k}}{{v|map(attribute='name')|list}}{% endfor %} {{ ld|groupby('g') }}",
     "[1, 2, 'a'] ['b', 'A', 'c', 'a'] x:2 y:1 x['bob', 'cy']y['Al'] [('x', [{'name': 'bob', 'age':"
     " 5, 'g': 'x'}, {'name': 'cy', 'age': 9, 'g': 'x'}]), ('y', [{'name': 'Al', 'age': 3, 'g': 'y'"
     "}])]"},
    {"{{ range(7)|batch(3)|list }} {{ range(7)|batch(3,'x')|list }} {{ range(7)|slice(3)|list }} {{"
     " range(7)|slice(3,'x')|list }} {{ range(3) }} {{ range(2,8,3)|list }} {{ range(5,0,-2)|list }"
     "} {{ range(10)[2:5]|list }} {{ range(10)[-1] }}",
     "[[0, 1, 2], [3, 4, 5], [6]] [[0, 1, 2], [3, 4, 5], [6, 'x', 'x']] [[0, 1, 2], [3, 4], [5, 6]]"
     " [[0, 1, 2], [3, 4, 'x'], [5, 6, 'x']] range(0, 3) [2, 5] [5, 3, 1] [2, 3, 4] 9"},
    {"{{ s|indent }} {{ 'a\\nb\\n\\nc'|indent(2) }}|{{ 'a\\nb'|indent(2, true) }}|{{ 'a\\n\\nb'|ind"
     "ent(2, blank=true) }}|{{ 'a\\nb'|indent('> ') }}|{{ 'a\\nb\\n'|indent(1) }}",
     "Hello, World a\n  b\n\n  c|  a\n  b|a\n  \n  b|a\n> b|a\n b\n"},
    {"{{ 'foo bar baz qux'|truncate(9) }} {{ 'foo bar baz qux'|truncate(9, true) }} {{ 'foo bar baz"
     " qux'|truncate(11) }} {{ 'foo bar baz qux'|truncate(11, false, '...', 0) }} {{ 'foo bar-baz ("
     "x) {y}'|title }} {{ 'hello world'|capitalize }} {{ s|center(20) }}| {{ 'a b c'|wordcount }} {"
     "{ html|e }} {{ html|escape|safe }} {{ html|safe|e }} {{ html|forceescape }} {{ 'a b&c/ü'|urle"
     "ncode }}",
     "foo... foo ba... foo bar baz qux foo bar... Foo Bar-Baz (X) {Y} Hello world     Hello, World "
     "   | 3 &lt;a href=&#34;x&#34;&gt;&amp;&#39;&lt;/a&gt; &lt;a href=&#34;x&#34;&gt;&amp;&#39;&lt"
     ";/a&gt; <a href=\"x\">&'</a> &lt;a href=&#34;x&#34;&gt;&amp;&#39;&lt;/a&gt; a%20b%26c/%C3%BC"},
    {"{{ '42'|int }} {{ '4x'|int }} {{ '4x'|int(9) }} {{ '0x1A'|int(base=16) }} {{ '1a'|int(0,16) }"
     "} {{ '3.7'|int }} {{ 3.7|int }} {{ '3.7'|float }} {{ 'x'|float }} {{ 'x'|float(1.5) }} {{ tru"
     "e|int }} {{ none|int(3) }} {{ ' 12 '|int }} {{ '1_000'|int }} {{ '-5'|int }} {{ '1e3'|float }"
     "} {{ '1e3'|int }}",
     "42 0 9 26 26 3 3 3.7 0.0 1.5 1 3 12 1000 -5 1000.0 1000"},
    {"{{ 42.55|round }} {{ 42.55|round(1) }} {{ 42.55|round(1,'floor') }} {{ 42.1|round(0,'ceil') }"
     "} {{ 2.5|round }} {{ 3.5|round }} {{ 42|round }} {{ 1234|round(-2) }} {{ 2.675|round(2) }} {{"
     " -5|abs }} {{ -5.5|abs }} {{ 1000000|filesizeformat }} {{ 1024|filesizeformat(true) }} {{ 1|f"
     "ilesizeformat }} {{ 500|filesizeformat }} {{ 123456789|filesizeformat }}",
     "43.0 42.5 42.5 43.0 2.0 4.0 42 1200 2.67 5 5.5 1.0 MB 1.0 KiB 1 Byte 500 Bytes 123.5 MB"},
    {"{{ zz|default('x') }} {{ e|default('x') }} {{ e|default('x', true) }} {{ n|default('x') }} {{"
     " n|d('x', boolean=true) }} {{ zz|default }} {{ zz }} {{ zz|length }} {{ zz|list }} {{ zz is d"
     "efined }} {{ [zz] }} {{ zz == yy }} {{ zz ~ 'x' }} {{ zz|upper }}",
     "x  x None x   0 [] False [Undefined] True x "},
    {"{{ d|tojson }} {{ d|tojson(indent=2) }} {{ u|tojson }} {{ u|tojson(ensure_ascii=true) }} {{ d"
     "|tojson(sort_keys=true) }} {{ d|tojson(separators=(',',':')) }} {{ q|tojson }} {{ [1.0, 1e100"
     ", true, none, 'x']|tojson }} {{ {1:2, none:3, true:4, 1.5:6}|tojson }} {{ []|tojson }} {{ {}|"
     "tojson(indent=4) }} {{ [[],{}]|tojson(indent=1) }} {{ (1,2)|tojson }} {{ '\\u007f'|tojson }} "
     "{{ d|tojson(indent='--') }} {{ [1]|tojson(indent=0) }}",
     "{\"b\": 1, \"a\": [1, 2], \"C\": {\"x\": null}} {\n  \"b\": 1,\n  \"a\": [\n    1,\n    2\n  "
     "],\n  \"C\": {\n    \"x\": null\n  }\n} \"Zürich ☃ 😀 ß\" \"Z\\u00fcrich \\u2603 \\ud83d\\ude0"
     "0 \\u00df\" {\"C\": {\"x\": null}, \"a\": [1, 2], \"b\": 1} {\"b\":1,\"a\":[1,2],\"C\":{\"x\""
     ":null}} \"it's \\\"q\\\"\\n\\t\\\\ \\u0001\342\200\213\" [1.0, 1e+100, true, null, \"x\"] {\""
     "1\": 4, \"null\": 3, \"1.5\": 6} [] {} [\n [],\n {}\n] [1, 2] \"\177\" {\n--\"b\": 1,\n--\"a\""
     ": [\n----1,\n----2\n--],\n--\"C\": {\n----\"x\": null\n--}\n} [\n1\n]"},
    {"{{ '%s'|format(1) }} {{ '%s-%s'|format('a','b') }} {{ '%(x)s'|format(x=3) }} {{ 'abc'|replace"
     "('b','X') }} {{ 'aaa'|replace('a','b',1) }} {{ 123|replace(2,9) }} {{ ' x '|trim }} {{ 'xax'|"
     "trim('x') }} {{ 5|string ~ 'x' }} {{ d|attr('items') is defined }} {{ d|attr('b') is defined "
     "}} {{ 'AB'|lower }} {{ 1|upper }}",
     "1 a-b 3 aXc baa 193 x a 5x True False ab 1"},
    {"{{ 4 is even }} {{ 3 is odd }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(4) }} {{ s is str"
     "ing }} {{ i is number }} {{ i is integer }} {{ f is float }} {{ b is boolean }} {{ b is true "
     "}} {{ z is false }} {{ n is none }} {{ d is mapping }} {{ l is sequence }} {{ d is sequence }"
     "} {{ s is iterable }} {{ i is iterable }} {{ s is lower }} {{ 'ABC' is upper }} {{ range is c"
     "allable }} {{ s is callable }} {{ 1 is eq 1 }} {{ 1 is ne 1 }} {{ 1 is lt 2 }} {{ 2 is ge 2 }"
     "} {{ 1 is in [1,2] }} {{ n is sameas none }} {{ 'upper' is filter }} {{ 'nope' is filter }} {"
     "{ 'odd' is test }} {{ html|e is escaped }} {{ b is number }} {{ b is integer }} {{ zz is unde"
     "fined }} {{ zz is iterable }} {{ zz is sequence }} {{ n is not none }} {{ not n is none }}",
     "True True True False True True True True True True False True True True True True False False"
     " True True False True False True True True True True False True True True False True True Tru"
     "e False False"},
    {"{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ lo"
     "op.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.dept"
     "h }}{{ loop.cycle('a','b') }};{% endfor %}",
     "1032TrueFalse311a;2121FalseFalse3321b;3210FalseTrue311a;"},
    {"{% for x in [] %}x{% else %}empty{% endfor %}{% for x in l if x > 1 %}{{ loop.index }}{{ x }}"
     "{% else %}no{% endfor %}{% for x in l if x > 10 %}x{% else %}none{% endfor %}",
     "empty1322none"},
    {"{% for a, b in [(1,2),(3,4)] %}{{ a }}{{ b }}{% endfor %}{% for k, v in d.items() %}{{ k }}={"
     "{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for (a, (b, c)) in [(1,(2,3))] %}{{ "
     "a }}{{ b }}{{ c }}{% endfor %}{% for c in 'aü' %}[{{ c }}]{% endfor %}",
     "1234b=1;a=[1, 2];C={'x': None};baC123[a][ü]"},
    {"{% for x in [1,1,2,2,3] %}{% if loop.changed(x) %}{{ x }}{% endif %}{% endfor %}{% for x in r"
     "ange(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x "
     "}}{% endfor %}",
     "1230134"},
    {"{% for x in nested recursive %}[{% if x is iterable %}{{ loop(x) }}{% else %}{{ x }}@{{ loop."
     "depth }}{% endif %}]{% endfor %}",
     "[[1@2][[2@3][3@3]]][[4@2]]"},
    {"{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}{% set ns = names"
     "pace(a=1, b='q') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{"
     "{ ns.c is defined }}",
     "42317qFalse"},
    {"{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d2) = [3, 4] %}{{ c }}{{ d2 }}{% set t = 1, 2 %"
     "}{{ t }}{% set x %}block {{ s }}{% endset %}{{ x }}{% set y | upper | replace('H','J') %}hell"
     "o{% endset %}{{ y }}",
     "1234(1, 2)block Hello, WorldJELLO"},
    {"{% macro m(a, b=2, c='x') %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ "
     "m(1, c='z') }}{{ m(a=5) }}{{ m() }}{{ m.name }}{{ m.arguments }}",
     "[1,2,x][1,3,x][1,2,z][5,2,x][,2,x]m('a', 'b', 'c')"},
    {"{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1,2,3,x=4) }}{% macro n2(x) %}{{ "
     "x }}{{ caller() }}{{ caller is defined }}{% endmacro %}{% call n2('hi') %}body{{ s }}{% endca"
     "ll %}{% macro li(items) %}{% for i in items %}<{{ caller(i) }}>{% endfor %}{% endmacro %}{% c"
     "all(it) li([1,2]) %}i{{ it }}{% endcall %}",
     "(2, 3){'x': 4}hibodyHello, WorldTrue<i1><i2>"},
    {"{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1,2) }}{% set zz = 5 %}{% mac"
     "ro g() %}{{ zz }}{% endmacro %}{% set zz = 6 %}{{ g() }}",
     "11126"},
    {"{% macro f(a,b) %}{{a}}{{b}}{% endmacro %}{{ f(*[1,2]) }}{{ f(**{'a':3,'b':4}) }}{{ f(1, *[2]"
     ") }}{{ f(b=1, *[2]) }}",
     "12341221"},
    {"{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}{% with %}{% set q2 = 1 %"
     "}{{ q2 }}{% endwith %}{{ q2 is defined }}{% filter upper %}abc {{ s }}{% endfilter %}{% filte"
     "r replace('a','b')|upper %}aaa{% endfilter %}",
     "1False1FalseABC HELLO, WORLDBBB"},
    {"{% if i > 5 and (z or not n) %}yes{% elif b %}el{% else %}no{% endif %}{% if zz %}a{% endif %"
     "}{% if not zz %}b{% endif %}{% if l %}c{% endif %}{% if [] or {} or '' or 0 or 0.0 %}x{% else"
     " %}y{% endif %}",
     "yesbcy"},
    {"{% raw %}{{ not }} {% if %}{% endraw %}{# comment {{ x }} #}a{#- c -#}  b {%- raw -%}  x  {%-"
     " endraw -%}  c",
     "{{ not }} {% if %}abxc"},
    {"    a", "    a"},
    {"b", "b"},
    {"{{ [1,2,3][1] }} {{ {'a': {'b': 1}}.a.b }} {{ (1, 2, 3)[::-1] }} {{ 'abc'[1] }} {{ [[1,2],[3]"
     "][0][1] }} {{ {'a':1}['a'] }} {{ d.C['x'] }} {{ l.0 }} {{ nested.0.1.0 }}",
     "2 1 (3, 2, 1) b 2 1 None 3 2"},
    {"{{ strftime_now('%Y-%m-%d %H:%M:%S %A %B %d %b %j %p %I %y %%') }} {{ strftime_now('%-d %e') "
     "}}",
     "2025-03-14 09:26:53 Friday March 14 Mar 073 AM 09 25 % 14 14"},
    {"{% set c = cycler('a','b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set "
     "j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %} {{ dict(a=1, b=2) }} {{ dict("
     "[('x', 1)]) }} {{ dict({'q':1}, z=2) }}",
     "abab3, 1, 2 {'a': 1, 'b': 2} {'x': 1} {'q': 1, 'z': 2}"},
    {"{{ 'a' 'b' \"c\" }} {{ 'tab\\there\\n\\x41\\u00fc\\'' }} {{ \"a\\qb\" }} {{ 1_000 }} {{ 0x1F "
     "}} {{ 0b101 }} {{ 0o17 }} {{ 1e3 }} {{ 1.5e-3 }} {{ 1E5 }}",
     "abc tab\there\nAü' a\\qb 1000 31 5 15 1000.0 0.0015 100000.0"},
    {"{{ true and 'x' }} {{ false or 'y' }} {{ none or 0 or 'z' }} {{ 1 and 0 }} {{ not true }} {{ "
     "- 5 }} {{ +5 }} {{ --5 }} {{ -i }} {{ -i|abs }} {{ (-i)|abs }} {{ not i == 7 }}",
     "x y z 0 False -5 5 5 -7 7 7 False"},
    {"{% generation %}gen {{ s }}{% endgeneration %}{% do l.index(1) %}{% set ld2 = ld|list %}{{ ld"
     "2|length }}{% block foo %}B{{ s }}{% endblock %}{% autoescape false %}{{ html }}{% endautoesc"
     "ape %}",
     "gen Hello, World3BHello, World<a href=\"x\">&'</a>"},
    {"{{ html|safe ~ '<b>' }} {{ '<i>' + html|safe }} {{ (html|safe) + '<b>' }} {{ (html|safe).uppe"
     "r() + '<' }} {{ html|safe|trim + '<' }} {{ ('<' * 2)|safe * 2 + '>' }}",
     "<a href=\"x\">&'</a><b> &lt;i&gt;<a href=\"x\">&'</a> <a href=\"x\">&'</a>&lt;b&gt; <A HREF=\""
     "X\">&'</A>&lt; <a href=\"x\">&'</a>&lt; <<<<&gt;"},
    {"{{ l|map('string')|list }} {{ (l|map('string'))|string is string }} {{ l|select('odd') is ite"
     "rable }} {{ (l|reverse) is sequence }} {{ (l|reverse)|list }} {% set g = l|select('odd') %}{{"
     " g|list }}{{ g|list }} {% if []|select %}true{% endif %}",
     "['3', '1', '2'] True True False [2, 1, 3] [3, 1][] true"},
    {"{{ s.lower().upper().title() }} {{ s.split(', ')[1].replace('o','0') }} {{ (s ~ u).strip('H☃'"
     ").split()[-1] }} {{ d.items()|map('first')|list }} {{ d|length }} {{ d.items()|length }} {{ n"
     "ested|map('last')|list }} {{ [u]|join }} {{ 'x'.join(s) }}",
     "Hello, World W0rld ß ['b', 'a', 'C'] 3 3 [[2, 3], 4] Zürich ☃ 😀 ß Hxexlxlxox,x xWxoxrxlxd"},
    {"  {% if b %}  \n    a\n  {% endif %}\nb\n", "  \n    a\nb"},
    {"{%- if b -%}   x   {%- endif -%}   c {{- ' d ' -}} e {%+ if b %} f {%+ endif %} g {% if b +%}"
     "\nh{% endif %}\n\n",
     "xc d e  f  g \nh"},
    {"a\r\nb\r{{ 1 }}\r\n", "a\nb\n1"},
    {"\n\n{{ 1 }}\n\n", "\n\n1\n"},
    {"x{% raw %}\n a {% endraw %}\nb", "x\n a b"},
    {"  {% raw %}\n a {% endraw %}\nb", "\n a b"},
    {"  {#- c #}\n x\n  {# c #}\n y {# c #}\n z", " x\n y  z"},
    {"{% for x in l %}\n  {{ x }}\n{% endfor %}\nend", "  3\n  1\n  2\nend"},
    {"a\n   {%- if b %}\n  b\n   {%- endif %}\nc", "a  bc"},
    {"a {% if b %}\nb{% endif %}\n  {{ 'x' }}\n", "a b  x"},
    {"{{ '}}' }} {{ {'a':{}} }} {% if '%}' %}x{% endif %}", "}} {'a': {}} x"},
    {"\t {% set x = 1 %}\t\n{{ x }}", "\t\n1"},
    {"{% if b %}{% endif %}  {% if b %}x{% endif %}", "  x"},
    {"\302\240 {% if b %}x{% endif %}", "x"},
    {"{{ s }}\n{{ s }}\n", "Hello, World\nHello, World"},
    {"{#\n#}\n\n{%\nif b\n%}\nx\n{%\nendif\n%}\n", "\nx\n"},
    {"{% set x = namespace() %}{% set x.a = [1] %}{{ x.a }}", "[1]"},
    {"{{ loop is defined }}{% for i in l %}{% for j in l %}{{ loop.index }}{% endfor %}{{ loop.inde"
     "x }}{% endfor %}",
     "False123112321233"},
    {"{% for x in l %}{% set y = x %}{% endfor %}{{ y is defined }}", "False"},
    {"{% if b %}{% set y = 1 %}{% endif %}{{ y }}", "1"},
    {"{% if not zz is defined %}{% set zz = 1 %}{% endif %}{{ zz }}", "1"},
    {"{% macro a() %}{% set s = 'in' %}{{ s }}{% endmacro %}{{ a() }}{{ s }}", "inHello, World"},
    {"{% for s in l %}{{ s }}{% endfor %}{{ s }}", "312Hello, World"},
    {"{% macro o() %}{% macro p() %}P{{ s }}{% endmacro %}{{ p() }}{% endmacro %}{{ o() }}", "PHello, World"},
    {"{% for x in l recursive %}{{ x }}{% endfor %}", "312"},
};

static void constructs_render_as_in_python(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ASSERT_RENDERS(rows[i].source, variables, rows[i].expected);
    print_message("%zu templates\n", sizeof rows / sizeof rows[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(constructs_render_as_in_python)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
