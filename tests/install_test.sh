#!/bin/sh
# What `meson install` leaves behind is enough for a stranger: a C program finds the library through
# pkg-config and runs, linked shared and static; only quern_* is exported; the header suits C++ too.
#   install_test.sh SOURCE_ROOT BUILD_ROOT
set -eu
source=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "install: $*"; exit 1; }

DESTDIR=$work/root meson install -C "$build" --no-rebuild >"$work/log" 2>&1 || { cat "$work/log"; fail "meson install failed"; }
pc=$(find "$work/root" -name quern.pc)
[ -n "$pc" ] || fail "no quern.pc was installed"
library_dir=$(find "$work/root" -name libquern.so -exec dirname {} \;)
program=$(find "$work/root" -path '*/bin/quern')
[ -x "$program" ] || fail "no program was installed"
"$program" --version >"$work/version" || fail "the installed program does not start"
grep -q quern "$work/version" || fail "quern --version says $(cat "$work/version")"
[ -n "$(find "$work/root" -name quern.1)" ] || fail "no man page was installed"

cat >"$work/stranger.c" <<'EOF'
#include <quern.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    puts(quern_version());
    return strcmp(quern_status_text(QUERN_OK), "success") != 0;
}
EOF
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$work/root"
version=$(pkg-config --modversion quern)
# shellcheck disable=SC2046 # lists of options
${CC:-cc} -std=c99 -Wall -Wextra -Wpedantic -Werror "$work/stranger.c" -o "$work/shared" $(pkg-config --cflags --libs quern) ||
    fail "a program does not build against the shared library"
[ "$(LD_LIBRARY_PATH=$library_dir "$work/shared")" = "$version" ] || fail "the shared library does not say $version"
LD_LIBRARY_PATH=$library_dir ldd "$work/shared" | grep -q libquern || fail "the program is not linked with libquern.so"

# The example of the README: builds without a warning, and fails with one clear line.
# shellcheck disable=SC2046
${CC:-cc} -std=c11 -Wall -Wextra -Wpedantic -Werror "$source/examples/complete.c" -o "$work/complete" $(pkg-config --cflags --libs quern) ||
    fail "examples/complete.c does not build"
if LD_LIBRARY_PATH=$library_dir "$work/complete" "$work/absent.gguf" text >"$work/said" 2>&1; then fail "a missing model was no failure"; fi
[ "$(wc -l <"$work/said")" -eq 1 ] && grep -q 'absent.gguf: No such file' "$work/said" || fail "a missing model: $(cat "$work/said")"

# Statically: our own archive, with the system's shared libraries that it names as its private ones.
# (pkg-config --static would also want the archives behind those, which not every system has.)
directly=$(pkg-config --print-requires-private quern | sed 's/ .*//')
# shellcheck disable=SC2086 # lists of names and options
needs="$(PKG_CONFIG_SYSROOT_DIR='' pkg-config --libs $directly) $(sed -n 's/^Libs.private://p' "$pc")"
# shellcheck disable=SC2086
${CC:-cc} -std=c99 "$work/stranger.c" -o "$work/static" -I"$(dirname "$(find "$work/root" -name quern.h)")" \
    "$library_dir/libquern.a" $needs || fail "a program does not build against the static library"
[ "$("$work/static")" = "$version" ] || fail "the static library does not say $version"

stray=$(nm -D --defined-only "$library_dir/libquern.so" | awk '$3 !~ /^(quern_|_init$|_fini$)/ { print $3 }')
[ -z "$stray" ] || fail "libquern.so exports more than quern_*:" $stray
if command -v c++ >/dev/null; then
    c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ "$source/include/quern.h" || fail "quern.h is no C++"
fi
echo "installed, found, linked and run: quern $version"
