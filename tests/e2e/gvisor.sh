#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# gvisor.sh - the kernel of gVisor (runsc) instead of Linux: save in one sandbox, continue in a new one; saved
# on Linux, continued in there, saved again, continued on Linux. What that kernel does not tell is refused,
# and the program goes on. Needs root and runsc; each case runs as process 1 of a sandbox of its own.
set -u
bin=$(cd "${builddir:-.}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
skip() { echo "$*"; exit 77; }
for p in ckpt_launch ckpt_restart ckpt_command ckpt_coordinator libckpt.so; do
	[ -e "$bin/$p" ] || skip "there is no $bin/$p"
done
command -v runsc >/dev/null || skip "there is no runsc (gVisor)"
[ "$(id -u)" = 0 ] || skip "sandboxes are started by root only"
for fd in /proc/self/fd/*; do
	fd=${fd##*/}
	[ "$fd" -gt 2 ] && [ "$fd" != 255 ] && eval "exec $fd>&-"
done
dir=$(mktemp -d "${TMPDIR:-/tmp}/ckpt-gvisor.XXXXXX") || exit 1
chmod 755 "$dir"
boxes= front= bad=0 passed=0
runsc_() { runsc --root="$dir/state" --platform=ptrace --network=none --ignore-cgroups "$@"; }
cleanup() {
	for b in $boxes; do runsc_ kill "$b" KILL; runsc_ delete -force "$b"; done >/dev/null 2>&1
	[ -n "$front" ] && kill -9 "$front" 2>/dev/null
	cd / && rm -rf "$dir"
}
trap cleanup EXIT

# A root file system of nothing but the host's /usr, our programs, and the directory of this test as /c.
root=$dir/root c=$dir/c
mkdir -p "$root"/{usr,proc,sys,dev,etc,tmp,run,c,mnt,opt/ckpt} "$c" "$dir/ckpt"
cp "$bin"/ckpt_launch "$bin"/ckpt_restart "$bin"/ckpt_command "$bin"/ckpt_coordinator "$bin"/libckpt.so "$dir/ckpt"
cp "$here/gvisor.py" "$c"
cp /etc/ld.so.cache "$root/etc" 2>/dev/null
mounts=
mount_ro() { mounts="$mounts,{\"destination\":\"$2\",\"type\":\"bind\",\"source\":\"$1\",\"options\":[\"rbind\",\"ro\"]}"; }
mount_ro /usr /usr
mount_ro "$dir/ckpt" /opt/ckpt
for d in bin lib lib64; do
	if [ -L /$d ]; then ln -s "$(readlink /$d)" "$root/$d"; else mkdir "$root/$d"; mount_ro /$d /$d; fi
done

# box NAME UID COMMAND...: start it in a new sandbox, in the background; its output is in $dir/NAME
box() {
	local name=$1 uid=$2 b=$dir/bundle-$1 caps='' a args=
	shift 2
	for a; do a=${a//\\/\\\\}; args="$args,\"${a//\"/\\\"}\""; done
	[ "$uid" = 0 ] && caps='"CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_KILL","CAP_SETGID","CAP_SETUID"'
	mkdir -p "$b"
	cat >"$b/config.json" <<END
{"ociVersion":"1.0.0","hostname":"box","root":{"path":"$root","readonly":true},
 "process":{"terminal":false,"user":{"uid":$uid,"gid":$uid},"cwd":"/","args":[${args#,}],"noNewPrivileges":true,
  "env":["PATH=/opt/ckpt:/usr/bin:/bin","XDG_RUNTIME_DIR=/run","HOME=/tmp"],
  "capabilities":{"bounding":[$caps],"effective":[$caps],"permitted":[$caps]}},
 "mounts":[{"destination":"/proc","type":"proc","source":"proc"},
  {"destination":"/dev","type":"tmpfs","source":"tmpfs"},
  {"destination":"/tmp","type":"tmpfs","source":"tmpfs","options":["mode=1777"]},
  {"destination":"/run","type":"tmpfs","source":"tmpfs","options":["mode=1777"]},
  {"destination":"/c","type":"bind","source":"$c","options":["rbind","rw"]},
  {"destination":"/mnt","type":"bind","source":"$c","options":["rbind","rw"]}$mounts],
 "linux":{"namespaces":[{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"mount"},{"type":"network"}]}}
END
	boxes="$boxes $name"
	runsc_ run -bundle "$b" "$name" </dev/null >"$dir/$name" 2>&1 &
	box=$!
}
# over NAME: the status that it ended with
over() { wait "$box"; status=$?; runsc_ delete -force "$1" >/dev/null 2>&1; boxes=${boxes/ $1/}; }

# until_line FILE PATTERN: a line like that is there, within twenty seconds
until_line() {
	for _ in $(seq 200); do
		grep -Eqs -e "$2" "$1" && return 0
		sleep 0.1
	done
	return 1
}
lines() { cat "$1" 2>/dev/null | wc -l; }
# grows FILE N: N lines more than now
grows() {
	local want=$(($(lines "$1") + $2))
	for _ in $(seq 200); do
		[ "$(lines "$1")" -ge $want ] && return 0
		sleep 0.1
	done
	return 1
}
ok() { echo "ok   $*"; passed=$((passed + 1)); }
fail() { echo "FAIL $*"; bad=$((bad + 1)); return 1; }

box start 0 /bin/sh -c 'echo started' || skip "runsc does not start"
over start
grep -q started "$dir/start" || skip "runsc does not start: $(tail -n 1 "$dir/start")"

# save NAME UID DIR: checkpoint the job in sandbox NAME to /c/DIR/ID; the sandbox ends with it
save() {
	local said
	said=$(runsc_ exec -user "$2" -env PATH=/opt/ckpt:/usr/bin:/bin -env XDG_RUNTIME_DIR=/run "$1" \
		/opt/ckpt/ckpt_command --checkpoint job 2>&1) || { fail "$1: $said"; cat "$dir/$1"; return 1; }
	case $said in /c/$3/* | /mnt/$3/*) ;; *) fail "$1: ckpt_command said '$said'"; return 1 ;; esac
	over "$1"
	[ $status = 137 ] || fail "$1: ended with $status after its checkpoint"
}
# finish NAME UID PID FILE: the program, told to end, has found all that it had
finish() {
	runsc_ exec -user "$2" "$1" /bin/kill -TERM "$3" || { fail "$1: no process $3: $(cat "$dir/$1")"; return 1; }
	over "$1"
	[ $status = 42 ] || { fail "$1: ended with $status: $(tail -n 3 "$dir/$1" "$4")"; return 1; }
	grep -qx 'all is well' "$4" || fail "$1: $(tail -n 2 "$4")"
}

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
	said=$(runsc_ exec -env PATH=/opt/ckpt:/usr/bin:/bin -env XDG_RUNTIME_DIR=/run "$tag" \
		/opt/ckpt/ckpt_command --checkpoint job 2>&1) && fail "$tag: was saved: $said"
	case $said in *"($2)"*) ;; *) fail "$tag: $said" ;; esac
	[ -z "$(ls -A "$c/$tag")" ] || fail "$tag: left something behind"
	if grows "$out" 3; then ok "$tag: $said"; else fail "$tag: does not go on"; fi
	runsc_ kill "$tag" KILL >/dev/null 2>&1
	over "$tag"
}

cycle shell 0 /bin/sh -c "$loop" loop
cycle user 1000 /bin/sh -c "$loop" loop
if [ -n "$python" ]; then
	cycle python 0 "$python" /c/gvisor.py all
	refused lock E-KERNEL-FEATURE
	refused timer E-KERNEL-FEATURE
	refused epoll E-KERNEL-FEATURE
fi
across
echo "$passed cases passed, $bad failed"
[ $bad = 0 ]
