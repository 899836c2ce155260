#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# layout.sh - every exec of a job maps libckpt.so, and touches what the dynamic linker writes there: two mappings,
# of which the writable one is one page; no code that is written to, none that is writable, and nothing but libc needed.
set -eu
: "${builddir:=.}" "${READELF:=readelf}"
lib=$builddir/libckpt.so
bad=0

complain() { echo "$lib $1"; bad=1; }

tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
"$READELF" -lW "$lib" | awk '$1 == "LOAD"' >"$tmp"
[ "$(wc -l <"$tmp")" = 2 ] || complain "is mapped in another way than as code and data: $(cat "$tmp")"
grep -q 'RWE' "$tmp" && complain "has code that can be written to"
while read -r _ _ address _ _ size flags _; do
	case $flags in RW) ;; *) continue ;; esac
	[ $((address / 4096)) = $(((address + size - 1) / 4096)) ] || complain "has more than one page of data (what is seldom needed can have a mapping of its own)"
done <"$tmp"
"$READELF" -dW "$lib" | grep -q TEXTREL && complain "has relocations in its code"
needed=$("$READELF" -dW "$lib" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[ "$needed" = libc.so.6 ] || complain "needs $needed"
exit $bad
