#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# shm_outside.sh - of the files in /dev/shm that nobody in the job has open, those that the job made are saved with
# it; not those that a process outside has open or mapped, nor those that were there before.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "needs python3"
# One of our own, if it may be: a checkpoint of somebody else's job would open our files, as they may be its.
if [ "${1:-}" != inside ] && unshare --mount mount -t tmpfs none /dev/shm 2>/dev/null; then
	exec unshare --mount sh -c 'mount -t tmpfs none /dev/shm && exec "$0" inside' "$0"
fi
[ -w /dev/shm ] && [ "$(stat -f -c %T /dev/shm)" = tmpfs ] || skip "no /dev/shm here"
place shm
name=ckpt-test.$tag job=shm.$tag
outsiders=()
leaving() { rm -f "/dev/shm/$name".*; }
made() { [ -e "/dev/shm/$name.$1" ]; }

echo before >"/dev/shm/$name.before"
# The kernel notes when a file was made; what is of the same second as the job's begin counts as made by it.
later=$(($(date +%s) + 3))
is_later() { [ "$(date +%s)" -ge $later ]; }
within 30 is_later
"$bin/ckpt_launch" -q --name="$job" sh -c 'for f in free open mapped; do echo "$f" >"/dev/shm/$0.$f"; done; while :; do sleep 1; done' \
	"$name" </dev/null >/dev/null &
within 30 made mapped || { echo "the program does not start"; exit 1; }
[ "$(stat -c %W "/dev/shm/$name.free")" != 0 ] || skip "this kernel does not tell when a file was made"
outsider='import mmap, os, sys, time
f = open("/dev/shm/" + sys.argv[1], "r+")
m = sys.argv[2] == "mapped" and mmap.mmap(f.fileno(), 4)
if m: f.close()
print(flush=True)
time.sleep(300)'
for what in open mapped; do
	python3 -c "$outsider" "$name.$what" $what >"$dir/$what" </dev/null &
	outsiders+=($!)
	within 30 test -s "$dir/$what" || { echo "the outsider does not start"; exit 1; }
done

saved() { "$bin/ckpt_inspect" records "$dir/store/$job/$1" | grep -q "$name.$2"; }
"$bin/ckpt_command" --checkpoint --id=one --leave-running "$job" >"$dir/said" 2>&1 || { cat "$dir/said"; exit 1; }
saved one free || fail "what the job made is not saved"
for what in open mapped before; do
	! saved one $what || fail "what is not only the job's ($what) is saved"
done
kill "${outsiders[@]}"; wait "${outsiders[@]}" 2>/dev/null
outsiders=()
"$bin/ckpt_command" --checkpoint --id=two --leave-running "$job" >"$dir/said" 2>&1 || { cat "$dir/said"; exit 1; }
for what in free open mapped; do
	saved two $what || fail "what nobody else has any more ($what) is not saved"
done
exit $bad
