#!/bin/sh
# Holds the habits that a compiler does not see: sources are plain UTF-8 text without tabs, carriage
# returns or trailing blanks, end with one line end, begin by saying what they are, and are not endless.
#   plain_text_test.sh SOURCE_ROOT
set -eu
cd "$1"
wrong=0
complain() { echo "$1"; wrong=1; }
tab=$(printf '\t') cr=$(printf '\r')
n_files=0
for file in $(find src include tests fuzz examples bench -name '*.[ch]' 2>/dev/null | LC_ALL=C sort); do
    n_files=$((n_files + 1))
    if LC_ALL=C grep -n -e "$tab" -e "$cr" -e ' $' "$file" >/dev/null; then
        complain "$file: tab, carriage return or trailing blank in line $(LC_ALL=C grep -n -e "$tab" -e "$cr" -e ' $' "$file" | head -1 | cut -d: -f1)"
    fi
    [ -z "$(tail -c 1 "$file")" ] || complain "$file: no line end at the end"
    case $(head -c 2 "$file") in '/*') ;; *) complain "$file: does not begin by saying what it is" ;; esac
    iconv -f UTF-8 -t UTF-8 "$file" >/dev/null 2>&1 || complain "$file: not UTF-8"
    [ "$(wc -l <"$file")" -le 1500 ] || complain "$file: over 1500 lines; cut it along its meaning"
done
[ "$n_files" -gt 0 ] || complain "no sources found"
echo "$n_files files read"
exit $wrong
