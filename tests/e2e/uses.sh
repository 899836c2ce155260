#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# uses.sh [PATTERN] - what checkpoints are made for, each use from its beginning to its end: the tests in uses/,
# two at a time. PATTERN: only those whose name matches it (shell pattern).
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
out=$(mktemp -d "${TMPDIR:-/tmp}/ckpt-uses.XXXXXX") || exit 1
trap 'rm -rf "$out"' EXIT

# What takes longest begins first.
for t in warm_start.py rewind.py reboot.sh post_mortem.py move_server.sh; do
	# shellcheck disable=SC2254
	case $t in ${1:-*}) echo "$t" ;; esac
done | HERE=$here/uses OUT=$out xargs -P 2 -n 1 sh -c '
	"$HERE/$1" >"$OUT/$1" 2>&1
	echo $? >"$OUT/$1.status"
	{ echo "# $1: status $(cat "$OUT/$1.status")"; cat "$OUT/$1"; } >"$OUT/$1.all"
	cat "$OUT/$1.all"' sh

passed=$(cat "$out"/*.status | grep -cx 0) skipped=$(cat "$out"/*.status | grep -cx 77)
all=$(find "$out" -name '*.status' | wc -l)
echo "$passed passed, $((all - passed - skipped)) failed, $skipped skipped"
[ $((passed + skipped)) = "$all" ] || exit 1
[ "$passed" -gt 0 ] || exit 77
