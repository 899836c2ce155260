#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sysv_refuse.sh - System V objects that cannot be saved are refused by name, and the job
# runs on; a job that is ended leaves no memory segment behind, but what was there before it.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
[ -r /proc/sysvipc/shm ] || skip "no System V objects here"
place sysv
job='' outsider=''
leaving() { for id in $(cat "$dir"/shm.* 2>/dev/null); do ipcrm -m "$id" 2>/dev/null; done; }
removed() { ! grep -qE "^ *-?[0-9]+ +$1 " /proc/sysvipc/shm; }

# What all programs below begin with: libc's functions, and "ready" when everything is set up.
cat >"$dir/lib.py" <<'P'
import ctypes, os, sys, time
c = ctypes.CDLL(None, use_errno=True)
c.shmat.restype = ctypes.c_void_p
c.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
dir = os.path.dirname(os.path.abspath(__file__))
def check(r):
    if r in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return r
def shm(name, size=40960):
    id = check(c.shmget(0, size, 0o1600))
    open(dir + "/shm." + name, "w").write("%d\n" % id)
    return id
def attach(id):
    return check(c.shmat(id, None, 0))
def ready(name):
    open(dir + "/ready." + name, "w").close()
    time.sleep(300)
P

start() {	# NAME: program $dir/NAME.py under ckpt_launch
	job=sysv.$1.$tag
	"$bin/ckpt_launch" --name="$job" python3 "$dir/$1.py" </dev/null >"$dir/$1.out" 2>&1 &
	within 10 is_there "$dir/ready.$1" || fail "$1 does not start"
}

refused() {	# NAME CODE WORDS: its checkpoint is
	start "$1"
	if "$bin/ckpt_command" --checkpoint --leave-running "$job" >"$dir/said" 2>&1; then
		fail "$1 is not refused"
	elif ! grep -q "$2" "$dir/said" || ! grep -q "$3" "$dir/said"; then
		fail "$1 is refused with: $(cat "$dir/said")"
	fi
	"$bin/ckpt_command" --status "$job" >/dev/null 2>&1 || fail "$1 does not run on"
	"$bin/ckpt_command" --kill "$job" >/dev/null 2>&1
	job=''
	wait
}

cat >"$dir/partial.py" <<'P'
from lib import *
at = attach(shm("partial"))
check(c.munmap(ctypes.c_void_p(at + 4096), 4096))
ready("partial")
P
refused partial E-UNSUPPORTED-MEMORY 'part of System V shared memory'

# Attached by somebody outside, too: refused as long as that is so; then ended and restored.
cat >"$dir/shared.py" <<'P'
from lib import *
id = shm("shared")
ctypes.memset(attach(id), 65, 40960)
ready("shared")
P
cat >"$dir/outsider.py" <<'P'
from lib import *
attach(int(sys.argv[1]))
ready("outsider")
P
start shared
id=$(cat "$dir/shm.shared")
python3 "$dir/outsider.py" "$id" & outsider=$!
within 10 is_there "$dir/ready.outsider" || fail "the outsider does not start"
"$bin/ckpt_command" --checkpoint --leave-running "$job" >"$dir/said" 2>&1 && fail "memory shared with others is not refused"
grep -q "E-OUTSIDE" "$dir/said" && grep -q "memory $id " "$dir/said" || fail "shared memory is refused with: $(cat "$dir/said")"
kill $outsider; wait $outsider 2>/dev/null; outsider=''
"$bin/ckpt_command" --checkpoint --leave-running "$job" >"$dir/said" 2>&1 || fail "refused: $(cat "$dir/said")"
removed "$id" && fail "the segment of a job that runs is gone"
"$bin/ckpt_command" --checkpoint "$job" >"$dir/said" 2>&1 || fail "refused: $(cat "$dir/said")"
wait
within 10 removed "$id" || fail "segment $id of a job that was ended is left"
job=''

# Made before the job: it stays.
id=$(cd "$dir" && python3 -c 'from lib import *; print(shm("before"))') || fail "no segment"
sleep 2.1
cat >"$dir/before.py" <<'P'
from lib import *
attach(int(open(dir + "/shm.before").read()))
ready("before")
P
start before
"$bin/ckpt_command" --checkpoint "$job" >"$dir/said" 2>&1 || fail "refused: $(cat "$dir/said")"
wait
removed "$id" && fail "a segment that was there before the job was removed"
job=''
exit $bad
