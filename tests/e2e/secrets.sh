#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# secrets.sh - an image holds all of a program's memory: it is 0600 in a directory that is 0700, whatever the
# umask is, and nothing is left in /tmp, /var/tmp, /dev/shm and /run, by what went well or by what failed or was
# killed. These directories are our own here (a mount namespace), so that whatever lies in them is ours.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
if [ "${1:-}" != inside ]; then
	opts=(--mount)
	[ "$(id -u)" = 0 ] || opts=(--mount --user --map-current-user)
	unshare "${opts[@]}" true 2>/dev/null || skip "no mount namespace can be made here"
	# What is built may lie below /tmp; so the copy that is run lies in a directory of ours.
	place secrets /var/tmp
	mkdir "$dir/bin" "$dir/work"
	cp "$bin"/ckpt_launch "$bin"/ckpt_restart "$bin"/ckpt_command "$bin"/ckpt_coordinator "$bin"/ckpt_inspect \
		"$bin"/libckpt.so "$dir/bin"
	unshare "${opts[@]}" --propagation private "$0" inside "$dir"
	exit
fi

job=secrets
mount --bind "$2" /mnt || skip "no mounts can be made here"
for d in /tmp /var/tmp /dev/shm /run; do
	if ! mount -t tmpfs -o mode=1777 none $d; then skip "no tmpfs for $d"; fi
done
bin=/mnt/bin dir=/mnt/work
cd $dir || exit 1
export CKPT_DIR=$dir/store HOME=$dir
umask 000
program='secret=correct-horse-battery; : >up; while [ ! -e go ]; do sleep 0.05; done; exit 3'

quiet() { "$@" >out 2>err; }
empty() { [ -z "$(find /tmp /var/tmp /dev/shm /run -mindepth 1 2>/dev/null)" ]; }
private() {
	local open
	open=$(find store \( -type f ! -perm 0600 \) -o \( -type d ! -perm 0700 \))
	[ -z "$open" ] || { find store -printf '%m %p\n'; return 1; }
}
whole() { [ -z "$(find store -name '.*' ! -name . 2>/dev/null)" ]; }
tidy() { # WHAT
	check "$1: nothing is left in /tmp and its like" within 30 empty
	check "$1: nothing half done in the store" within 30 whole
	check "$1: images for their owner alone" private
}
launch() {
	rm -f up go
	"$bin/ckpt_launch" -q -n $job "$@" sh -c "$program" >out 2>err </dev/null & front=$!
	check "the program runs" there up $front
}
status() { wait "$front"; [ $? = "$1" ]; }

for codec in none zstd; do
	launch --compress=$codec
	check "left running" quiet "$bin/ckpt_command" --checkpoint --leave-running $job
	check "checkpoint" quiet "$bin/ckpt_command" --checkpoint $job
	check "status 137" status 137
	tidy "a checkpoint ($codec)"
	: >go
	for option in "" --eager; do
		"$bin/ckpt_restart" -q $option $job >out 2>err </dev/null
		check "restart $option" [ $? = 3 ]
		tidy "a restart ($codec) $option"
	done
	# Damaged in the midst: refused before the start, or ended after it.
	cp -a store/$job/2 damaged
	image=$(find damaged -name '[0-9]*.img' | head -n 1)
	printf X | dd of="$image" bs=1 seek=$(($(stat -c %s "$image") * 3 / 4)) conv=notrunc 2>/dev/null
	"$bin/ckpt_restart" -q --eager --image-path=damaged >out 2>err </dev/null
	check "a damaged image is refused" [ $? = 125 ]
	tidy "a refused restart ($codec)"
	rm -rf damaged
	"$bin/ckpt_command" --rm $job/1 $job/2 >out
done

# Refused: a pipe that leads out.
mkfifo fifo
sleep 60 <>fifo & holder=$!
launch_pipe() {
	rm -f up go
	"$bin/ckpt_launch" -q -n $job sh -c "exec 7>fifo; $program" >out 2>err </dev/null & front=$!
	check "the program runs" there up $front
}
launch_pipe
check "a checkpoint that is refused" eval '! quiet "$bin/ckpt_command" --checkpoint $job'
: >go
check "the program goes on" status 3
tidy "a refused checkpoint"
kill $holder

# Killed: the coordinator and all that writes, while they write; then the job itself.
launch
"$bin/ckpt_command" --checkpoint --leave-running $job >out 2>err & asked=$!
pkill_ours() { local p; for p in $(pidof -x "$bin/$1" "$1"); do [ "$(readlink "/proc/$p/exe")" = "$bin/$1" ] && kill -9 "$p"; done; }
pkill_ours ckpt_coordinator
wait $asked 2>/dev/null
: >go
check "the program ends as it will without a coordinator" status 3
check "a new job of that name" within 30 "$bin/ckpt_launch" -q -n $job true
# When who writes and who would clear up after him are killed in the same instant, the next who looks does it.
quiet "$bin/ckpt_command" --ls $job
tidy "a coordinator that was killed"

# A core is as secret.
launch
"$bin/ckpt_command" --checkpoint $job >out
wait $front
"$bin/ckpt_inspect" core -o store/core $job >out
chmod 644 store/core/core.*
"$bin/ckpt_inspect" core -o store/core $job >out
check "a core holds it" eval 'grep -q correct-horse store/core/core.*'
tidy "a core"
[ "$bad" = 0 ] || exit 1
