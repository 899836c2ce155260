#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# mq_outside.sh - of the POSIX message queues that nobody in the job has open, those that it made are saved with it;
# not those that a process outside has open, nor those that nobody has used since the job began.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
# In an ipc namespace of our own: a checkpoint of somebody else's job would open our queues, as they may be its.
if [ "${1:-}" != inside ]; then
	unshare --ipc true 2>/dev/null || skip "unshare --ipc is denied"
	exec unshare --ipc "$0" inside
fi
place mq
name=ckpt-test.$tag job=mq.$tag
outsider=''
# queues DO NAME...: make, open (for as long as "stop" is not there) or unlink them
cat >"$dir/queues.py" <<'X'
import ctypes, os, sys, time
libc = ctypes.CDLL("librt.so.1", use_errno=True)
attr = (ctypes.c_long * 8)(0, 2, 16)
for name in sys.argv[2:]:
    if sys.argv[1] == "unlink":
        libc.mq_unlink(name.encode())
    elif sys.argv[1] == "open":
        fd = libc.mq_open(name.encode(), os.O_RDWR)
        assert fd >= 0, os.strerror(ctypes.get_errno())
    else:
        fd = libc.mq_open(name.encode(), os.O_CREAT | os.O_RDWR, 0o600, attr)
        assert fd >= 0, os.strerror(ctypes.get_errno())
        libc.mq_send(fd, b"one", 3, 0)
        libc.mq_close(fd)
print("ready", flush=True)
while sys.argv[1] != "unlink" and not os.path.exists(sys.argv[1] + ".stop"):
    time.sleep(0.1)
X
queues() { (cd "$dir" && exec python3 queues.py "$@" </dev/null); }
leaving() { queues unlink "/$name.before" "/$name.free" "/$name.open" >"$dir/unlinked"; }

: >"$dir/early.stop"
queues early "/$name.before" >"$dir/early" 2>&1 || skip "no message queue can be made here: $(tail -n 1 "$dir/early")"
# What was used in the same second in which the job began counts as used by it.
later=$(($(date +%s) + 3))
is_later() { [ "$(date +%s)" -ge $later ]; }
within 30 is_later
(cd "$dir" && exec "$bin/ckpt_launch" -q --name="$job" python3 queues.py make "/$name.free" "/$name.open" >made 2>&1 </dev/null) &
within 30 grep -qs ready "$dir/made" || { echo "the program does not start: $(cat "$dir/made")"; exit 1; }
queues open "/$name.open" >"$dir/opened" 2>&1 &
outsider=$!
within 30 grep -qs ready "$dir/opened" || { echo "the outsider does not start: $(cat "$dir/opened")"; exit 1; }

saved() { "$bin/ckpt_inspect" records "$dir/store/$job/$1" | grep -q "^mqueue_data .*$name.$2"; }
"$bin/ckpt_command" --checkpoint --id=one --leave-running "$job" >"$dir/said" 2>&1 || { cat "$dir/said"; exit 1; }
saved one free || fail "what the job made is not saved"
for what in open before; do
	! saved one $what || fail "what is not only the job's ($what) is saved"
done
: >"$dir/open.stop"
wait "$outsider"
outsider=''
"$bin/ckpt_command" --checkpoint --id=two --leave-running "$job" >"$dir/said" 2>&1 || { cat "$dir/said"; exit 1; }
for what in free open; do
	saved two $what || fail "what nobody else has any more ($what) is not saved"
done
: >"$dir/make.stop"
exit $bad
