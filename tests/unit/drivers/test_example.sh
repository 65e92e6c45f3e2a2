#!/bin/sh
# SPDX-License-Identifier: MIT
# The example driver as a stranger builds it: from the installed headers, with nothing but the
# compiler and pkg-config; then loaded and put through everything that is asked of a driver.
#
#     test_example.sh CONFORMANCE
set -eu
conformance=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/splitring-example-XXXXXX")
trap 'rm -rf "$dir"' EXIT

meson install -C "$SR_BUILD" --no-rebuild --tags devel --destdir "$dir/root" >"$dir/log" 2>&1 ||
	{ cat "$dir/log" >&2; exit 1; }
pc=$(find "$dir/root" -name splitring.pc)
[ -n "$pc" ] || { echo "no splitring.pc was installed" >&2; exit 1; }
prefix=$(PKG_CONFIG_PATH=${pc%/*} pkg-config --variable=prefix splitring)
cflags=$(PKG_CONFIG_PATH=${pc%/*} pkg-config --define-variable=prefix="$dir/root$prefix" --cflags splitring)
# shellcheck disable=SC2086  # flags are words
${CC:-cc} -Wall -Wextra -Werror -O2 -shared -fPIC $cflags \
	-o "$dir/blk-xor.so" "$SR_SOURCE/examples/blk-xor/blk-xor.c"
# The driver that docs/writing-a-driver.md shows is compiled as it stands there.
awk '/^```c$/ { on = 1; next } /^```/ { on = 0 } on' "$SR_SOURCE/docs/writing-a-driver.md" >"$dir/hole.c"
# shellcheck disable=SC2086
${CC:-cc} -Wall -Werror -shared -fPIC $cflags -o "$dir/hole.so" "$dir/hole.c"
# The interface is for C++ too.
if command -v c++ >/dev/null; then
	echo '#include <splitring/blk_options.h>' >"$dir/a.cc"
	# shellcheck disable=SC2086
	c++ -Wall -Wextra -Werror -fsyntax-only $cflags "$dir/a.cc"
fi
"$conformance" --load "$dir/blk-xor.so" --image "$dir" "xor:@,key=0x21"
