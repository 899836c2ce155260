#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# programs.sh [NAME...] - real programs under load, checkpointed and restored at random moments (programs/): each
# test in turn, two at a time, one line each; every other one as nobody, where root runs them. What is not
# installed is skipped. E2E_ROUNDS, E2E_SEED, E2E_USER: see programs/job.py.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "there is no python3"
out=$(mktemp "${TMPDIR:-/tmp}/ckpt-programs.XXXXXX") || exit 1
trap 'rm -f "$out"' EXIT

# The long ones first.
[ $# -gt 0 ] || set -- mpi postgres mariadb java make node multiproc shell nginx memcached asynchronous redis tmux git watch
users=(root root)
if [ "$(id -u)" = 0 ] && setpriv --reuid=nobody --clear-groups test -x "$bin/ckpt_launch"; then
	users=(root nobody)
fi
n=0
for name; do
	echo "$name ${E2E_USER:-${users[n++ % 2]}}"
done | PROGRAMS=$here/programs xargs -P 2 -L 1 sh -c '
	text=$(E2E_USER=$2 timeout -k 10 300 python3 -B "$PROGRAMS/$1.py" 2>&1); s=$?
	case $s in 0) r=PASS ;; 77) r=SKIP ;; *) r=FAIL ;; esac
	printf "%s %s as %s: %s\n" $r "$1" "$2" "$text"' sh | tee "$out"

passed=$(grep -c '^PASS [a-z]* as' "$out") failed=$(grep -c '^FAIL [a-z]* as' "$out")
echo "$passed passed, $failed failed, $(grep -c '^SKIP [a-z]* as' "$out") skipped"
[ "$failed" = 0 ] || exit 1
[ "$passed" -gt 0 ] || exit 77
