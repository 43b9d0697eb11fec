#!/bin/sh
# Holds the order of the rooms: a file includes only files of its own room and of rooms before it.
#   include_direction_test.sh SOURCE_ROOT
set -eu
rooms="base gguf quant kernel vocab grammar model device cache sample chat engine store serve agent assist cli"

# Prints one line for each include that points the wrong way; fails where there is one, or nothing to read.
check() { # a directory that holds the rooms
    (cd "$1" && find . -name '*.[ch]' | sed 's|^\./||' | LC_ALL=C sort) >"$work/files"
    [ -s "$work/files" ] || { echo "no sources below $1"; return 1; }
    (cd "$1" && awk -v rooms="$rooms" '
        BEGIN {
            n = split(rooms, list, " ")
            for (i = 1; i <= n; i++) rank[list[i]] = i
        }
        FNR == 1 {
            room = FILENAME
            sub(/\/.*/, "", room)
            if (!(room in rank)) complain("is in no known room (see the list in this test)")
            directory = FILENAME
            sub(/\/[^\/]*$/, "", directory)
        }
        function complain(why) { printf "%s:%d: %s\n", FILENAME, FNR, why; wrong++ }
        function exists(path,   line, there) { there = (getline line < path) >= 0; close(path); return there }
        /^[ \t]*#[ \t]*include[ \t]*"/ {
            split($0, part, "\"")
            header = part[2]
            includes++
            first = header
            sub(/\/.*/, "", first)
            if (header == "quern.h") next                    # the statuses and handles of the public header
            if (header ~ /(^|\/)\.\.(\/|$)/) complain("include \"" header "\" climbs out of its directory")
            else if (header !~ /\// || !(first in rank)) {   # a neighbour, or a file below this directory
                if (!exists(directory "/" header)) complain("include \"" header "\" names no room")
            } else if (rank[first] > rank[room]) {
                complain("room " room " must not know room " first " (include \"" header "\")")
            }
        }
        END {
            printf "%d includes between and within rooms read\n", includes
            exit wrong > 0
        }' $(cat "$work/files"))
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The test itself: it must see what it is for.
mkdir -p "$work/good/base" "$work/good/model" "$work/bad/quant/deep" "$work/bad/model"
: >"$work/good/base/a.h"
printf '#include "base/a.h"\n#include "quern.h"\n#include <stdio.h>\n' >"$work/good/model/m.c"
: >"$work/bad/model/m.h"
printf '/* */\n  #  include "model/m.h"\n' >"$work/bad/quant/deep/q.c"
check "$work/good" >/dev/null || { echo "a right include was refused"; exit 1; }
if check "$work/bad" >"$work/said"; then echo "a wrong include was not seen"; exit 1; fi
grep -q '^quant/deep/q.c:2: room quant must not know room model' "$work/said" || { cat "$work/said"; exit 1; }

check "$1/src"
