#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# gvisor.sh - the kernel of gVisor (runsc) instead of Linux: save in one sandbox, continue in a new one; saved
# on Linux, continued in there, saved again, continued on Linux. What that kernel does not tell is refused,
# and the program goes on. Needs root and runsc; each case runs as process 1 of a sandbox of its own.
# shellcheck source=tests/e2e/gvisor_lib.sh
. "$(dirname "$0")/gvisor_lib.sh"

loop='trap "echo all is well >>\$1; exit 42" TERM; i=0; while :; do echo "$i $$" >>$1; i=$((i+1)); sleep 0.1; done'
python=$(command -v /usr/bin/python3)

# cycle TAG UID COMMAND...: in a sandbox, in a second one, and in a third, with checkpoints in between
cycle() {
	local tag=$1 uid=$2 out=$c/$1.out was pid
	shift 2
	mkdir -m 777 "$c/$tag"
	: >"$out"; chmod 666 "$out"
	box "$tag-1" "$uid" ckpt_launch --name=job --checkpoint-dir="/c/$tag" "$@" "/c/$tag.out"
	grows "$out" 5 || { fail "$tag: does not run: $(cat "$dir/$tag-1")"; return; }
	save "$tag-1" "$uid" "$tag" || return
	was=$(tail -n 1 "$out") pid=$(awk 'END { print $2 }' "$out")
	for n in 2 3; do
		box "$tag-$n" "$uid" ckpt_restart --checkpoint-dir="/c/$tag" job
		grows "$out" 5 || { fail "$tag: does not go on in sandbox $n: $(cat "$dir/$tag-$n")"; return; }
		[ $n = 3 ] || save "$tag-$n" "$uid" "$tag" || return
	done
	# Its numbers go on, with the same pid
	awk -v pid="$pid" '$2 == pid && $1 != last + 1 && NR > 1 { bad = 1 } $2 != pid { bad = 1 } { last = $1 }
		END { exit bad }' "$out" || { fail "$tag: after '$was' its numbers do not go on"; return; }
	finish "$tag-3" "$uid" "$pid" "$out" && ok "$tag: three sandboxes, one after the other"
}

# From Linux, where it had ids that are free in a sandbox, into one, and out again.
across() {
	local out=$c/across.out pid
	mkdir -m 777 "$c/across"
	: >"$out"
	XDG_RUNTIME_DIR=$dir/run unshare --pid --fork --mount-proc --ipc --mount bash -c '
		cd / && mount --bind "$1" /mnt && mkdir -m 700 "$XDG_RUNTIME_DIR" || exit 1
		for i in $(seq 320); do /bin/true; done
		"$2/ckpt_launch" --name=job --checkpoint-dir=/mnt/across /bin/sh -c "$3" loop /mnt/across.out </dev/null &
		while [ "$(wc -l <"$1/across.out")" -lt 5 ]; do sleep 0.1; done
		"$2/ckpt_command" --checkpoint job >"$1/across.said" 2>&1 || exit 1
		wait' sh "$c" "$dir/ckpt" "$loop" >"$dir/across-0" 2>&1 ||
		{ fail "across: $(cat "$c/across.said" "$dir/across-0")"; return; }
	pid=$(awk 'END { print $2 }' "$out")
	box across-1 0 ckpt_restart --checkpoint-dir=/c/across job
	grows "$out" 5 || { fail "across: does not go on: $(cat "$dir/across-1")"; return; }
	save across-1 0 across || return
	XDG_RUNTIME_DIR=$dir/run unshare --mount bash -c '
		cd / && mount --bind "$1" /mnt && exec "$2/ckpt_restart" --checkpoint-dir=/mnt/across job' sh "$c" "$dir/ckpt" \
		</dev/null >"$dir/across-2" 2>&1 &
	front=$!
	grows "$out" 5 || { fail "across: does not go on on Linux: $(cat "$dir/across-2")"; return; }
	kill -TERM $front
	wait $front
	status=$? front=
	[ $status = 42 ] || { fail "across: ended with $status on Linux: $(cat "$dir/across-2")"; return; }
	awk -v pid="$pid" '$2 == pid && $1 != last + 1 && NR > 1 { exit 1 } { last = $1 }' "$out" &&
		grep -qx 'all is well' "$out" || { fail "across: $(tail -n 2 "$out")"; return; }
	ok "across: saved on Linux, continued in a sandbox, saved in there, continued on Linux"
}

# refused TAG CODE: a checkpoint is refused with that code, and the program goes on as if nothing had been asked
refused() {
	local tag=$1 out=$c/$1.out said
	mkdir -m 777 "$c/$tag"
	box "$tag" 0 ckpt_launch --name=job --checkpoint-dir="/c/$tag" "$python" /c/gvisor.py "$tag" "/c/$tag.out"
	grows "$out" 2 || { fail "$tag: does not run: $(cat "$dir/$tag")"; return; }
	said=$(runsc_ exec -env PATH=/opt/ckpt:/usr/bin:/bin -env XDG_RUNTIME_DIR=/run "$(id_of "$tag")" \
		/opt/ckpt/ckpt_command --checkpoint job 2>&1) && fail "$tag: was saved: $said"
	case $said in *"($2)"*) ;; *) fail "$tag: $said" ;; esac
	[ -z "$(ls -A "$c/$tag")" ] || fail "$tag: left something behind"
	if grows "$out" 3; then ok "$tag: $said"; else fail "$tag: does not go on"; fi
	runsc_ kill "$(id_of "$tag")" KILL >/dev/null 2>&1
	over "$tag"
}

cycle shell 0 /bin/sh -c "$loop" loop
cycle user 1000 /bin/sh -c "$loop" loop
if [ -n "$python" ]; then
	cycle python 0 "$python" /c/gvisor.py all
	refused lock E-KERNEL-FEATURE
	refused timer E-KERNEL-FEATURE
	refused oneshot E-KERNEL-FEATURE
	refused inherited E-KERNEL-FEATURE
fi
across
echo "$passed cases passed, $bad failed"
[ $bad = 0 ]
