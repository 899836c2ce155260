#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# all.sh [PATTERN] - every scenario of scenarios.txt in all its flavors, two at a time, one line each.
# PATTERN: only those whose NAME/FLAVOR it matches (shell pattern).
# In a log, which may be read from its begin only, what failed comes first.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
pattern=${1:-*}
out=$(mktemp "${TMPDIR:-/tmp}/ckpt-e2e-all.XXXXXX") || exit 1
trap 'rm -f "$out" "$out.ipc"' EXIT

while read -r name flavors; do
	case $name in ''|'#'*) continue ;; esac
	for flavor in ${flavors:-alone}; do
		# shellcheck disable=SC2254
		case $name/$flavor in $pattern) echo "$name $flavor" ;; esac
	done
done <"$here/scenarios.txt" | E2E=$here LOCK=$out.ipc xargs -P 2 -L 1 sh -c '
	# These are in one namespace until they are restored; or there are few of them.
	case $1 in sysv*|mqueues|mqclosed|mqnotify|hugepages) exec 9>"$LOCK"; flock 9 ;; esac
	case $1 in
	*.sh) text=$("$E2E/$1" 2>&1); s=$?
		case $s in 0) r=PASS ;; 77) r="SKIP" ;; *) r=FAIL ;; esac
		[ $s = 0 ] && text=
		printf "%s\n" "$r $1${text:+: $text}" ;;
	*) text=$("$E2E/run.sh" "$1" "$2" 2>&1); printf "%s\n" "$text" ;;
	esac' sh | if [ -t 1 ]; then tee "$out"; else cat >"$out"; fi

if [ ! -t 1 ]; then
	awk '/^(PASS|SKIP) / { bad = 0 } /^FAIL / { bad = 1 } bad' "$out"
	awk '/^(PASS|SKIP) / { bad = 0 } /^FAIL / { bad = 1 } !bad' "$out"
fi
passed=$(grep -c '^PASS ' "$out") failed=$(grep -c '^FAIL ' "$out") skipped=$(grep -c '^SKIP ' "$out")
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
