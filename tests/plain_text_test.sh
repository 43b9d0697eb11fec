#!/bin/sh
# Holds the habits that a compiler does not see: sources are plain UTF-8 text without tabs, carriage
# returns or trailing blanks, end with one line end, begin by saying what they are, and are not endless.
#   plain_text_test.sh SOURCE_ROOT
set -eu
cd "$1"
wrong=0
complain() { echo "$*"; wrong=1; }
tab=$(printf '\t') cr=$(printf '\r')
# shellcheck disable=SC2046 # our own file names hold no blanks
set -- $(find src include tests fuzz bench examples -name '*.[ch]' | LC_ALL=C sort)
[ $# -gt 0 ] || complain "no sources found"

said=$(LC_ALL=C grep -nH -e "$tab" -e "$cr" -e " $" "$@" | cut -c1-120) || :
[ -z "$said" ] || complain "tab, carriage return or trailing blank: $said"
cat "$@" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 || complain "a source is not UTF-8"
said=$(awk '
    function finish() { if (lines > 1500) print before ": over 1500 lines; cut it along its meaning" }
    FNR == 1 {
        if (NR > 1) finish()
        before = FILENAME
        if ($0 !~ /^\/\*/) print FILENAME ": does not begin by saying what it is"
    }
    { lines = FNR }
    END { finish() }' "$@")
[ -z "$said" ] || complain "$said"
for file in "$@"; do
    [ -z "$(tail -c 1 "$file")" ] || complain "$file: no line end at the end"
done
echo "$# files read"
exit $wrong
