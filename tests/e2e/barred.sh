#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# barred.sh - files that an ordinary user's job has open and that could not be opened again: a new one of mode 0400 is all
# the same; of another user's, which a privileged parent has left open, the checkpoint warns, --check and the
# restart name it, and --fd and --bind put another in its place.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "only root can leave a file open to another user"
user=(setpriv --reuid=54321 --regid=54321 --clear-groups)
"${user[@]}" test -x "$bin/ckpt_launch" || skip "an ordinary user may not run what is in $bin"
place barred
cd "$dir" || exit 1
chown 54321:54321 "$dir"
mkdir mine; chown 54321:54321 mine
: >secret; chmod 600 secret
: >mine/other; chown 54321:54321 mine/other
job=barred.$tag

cat >prog.sh <<'S'
set -C		# a new file
umask 0377
exec 7>mine/readonly
echo one >&5; echo uno >&7
: >"mine/ready"
until [ -e mine/stop ]; do sleep 0.05; done
echo two >&5; echo due >&7
S
# Descriptor 5 is root's file, in what is an ordinary user's from then on.
(exec 5>>secret; exec "${user[@]}" "$bin/ckpt_launch" --name="$job" bash prog.sh >job.out 2>&1 </dev/null) &
front=$!
there mine/ready "$front" || { fail "the program does not start"; exit 1; }
expect 0 "secret open as descriptor 5: user 54321 may not open it.*--fd=5:FILE" "${user[@]}" "$bin/ckpt_command" --checkpoint "$job"
check "one warning" test "$(grep -c . err)" = 1
wait "$front"
expect 1 "secret cannot be opened for writing.*E-ACCESS" "${user[@]}" "$bin/ckpt_restart" --check "$job"
expect 125 "secret cannot be opened for writing.*E-ACCESS" "${user[@]}" "$bin/ckpt_restart" "$job"
expect 0 any "${user[@]}" "$bin/ckpt_restart" --check --fd=5:"$dir/mine/other" "$job"
: >mine/stop
expect 0 '' "${user[@]}" "$bin/ckpt_restart" --fd=5:"$dir/mine/other" "$job"
check "it writes to the other" grep -qx two mine/other
check "and on to its own" test "$(cat mine/readonly)" = "uno
due"
check "whose mode is what it was" test "$(stat -c %a mine/readonly)" = 400
: >mine/other
expect 0 '' "${user[@]}" "$bin/ckpt_restart" --bind="$dir/mine/other:$dir/secret" "$job"
check "and with --bind" grep -qx two mine/other
check "the secret has not changed" test "$(cat secret)" = one
exit $bad
