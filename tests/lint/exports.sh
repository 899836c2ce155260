#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# exports.sh - what libckpt.so shows to programs is exactly what exports.allow says, and what it wants
# from libc is in undefined.allow (compilers differ in what they need themselves). An accidental export would take the place of a program's own function; an accidental import is
# code that may run while another thread holds a lock of libc.
set -eu
: "${srcdir:=.}" "${builddir:=.}" "${NM:=nm}"
lib=$builddir/libckpt.so
bad=0

# compare WHAT ALLOWED: names on stdin against the list.
compare() {
	sed 's/#.*//; s/[[:space:]]*$//; /^$/d' "$srcdir/tests/lint/$2" | LC_ALL=C sort >"$tmp/allowed"
	LC_ALL=C sort -u >"$tmp/found"
	for name in $(LC_ALL=C comm -23 "$tmp/found" "$tmp/allowed"); do
		echo "$lib $1 $name, which tests/lint/$2 does not list"
		bad=1
	done
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$NM" -D --defined-only "$lib" | awk '{ print $NF }' | sed 's/@.*//' >"$tmp/exports"
"$NM" -D --undefined-only "$lib" | awk '{ print $NF }' | sed 's/@.*//' >"$tmp/undefined"
[ -s "$tmp/undefined" ] || { echo "$NM shows nothing of $lib"; exit 1; }
compare exports exports.allow <"$tmp/exports"
for name in $(LC_ALL=C comm -13 "$tmp/found" "$tmp/allowed"); do
	echo "tests/lint/exports.allow lists $name, but $lib does not export it"
	bad=1
done
compare imports undefined.allow <"$tmp/undefined"
exit $bad
