#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sandboxes.sh - programs in mount namespaces that unshare(1) and bwrap(1) made are checkpointed twice and restored: what
# is mounted is the same, and so are the files in file systems of their own. What cannot be had again is refused by name.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
place sandboxes
said() { tail -n 20 "$name.err" "$name.out" "$dir"/err 2>/dev/null; }
cd "$dir" || exit 1
mkdir shown data point

# In the sandbox: $1 is a directory that is seen there, $2 one that is nowhere else
cat >inside.sh <<'END'
cd "$2" || exit 1
# The container of a restart has a /proc of its own.
mounts() { sed '/ \/proc/d; s/^[0-9]* [0-9]* [0-9:]* //; s/ \(shared\|master\):[0-9]*//g' /proc/self/mountinfo | sort; }
echo private >file
mkdir sub
ln -s file link
exec 5<file
read -r -n 3 <&5
mounts >"$1/before"
dev=$(cd /dev && echo *)
numbers() { echo "$$ $(sed -n '/^NSpid:/p; /^PPid:/p' /proc/$$/status)"; }
numbers=$(numbers)
: >"$1/ready"
until [ -e "$1/go" ]; do sleep 0.05; done
mounts >"$1/after"
read -r rest <&5
[ "$rest" = vate ] && [ "$PWD" = "$2" ] && [ "$(cat link)" = private ] && [ -d sub ] && [ "$(echo *)" = "file link sub" ] &&
	[ "$(cd /dev && echo *)" = "$dev" ] && [ "$(numbers)" = "$numbers" ] && echo x >/dev/null && echo good >"$1/result"
END

survives() {	# NAME DIRECTORY COMMAND...
	local name=$1 own=$2 job=sb.$1.$tag n; shift 2
	rm -f shown/*
	"$bin/ckpt_launch" --name="$job" "$@" bash "$dir/inside.sh" "$dir/shown" "$own" >"$name.out" 2>"$name.err" </dev/null &
	if ! there shown/ready $!; then
		if [ ! -s shown/before ] && [ -n "${may_lack:-}" ]; then echo "skip $name: $(tail -n 1 "$name.err")"; else fail "$name starts"; fi
		return
	fi
	for n in 1 2; do
		"$bin/ckpt_command" --checkpoint "$job" >>"$name.out" 2>"$name.err" || { fail "$name: checkpoint $n"; return; }
		wait $!
		"$bin/ckpt_restart" "$job" >>"$name.out" 2>"$name.err" </dev/null &
		within 30 is_running "$job" || { fail "$name: restart $n"; return; }
	done
	: >shown/go
	wait $!
	check "$name is as it was" grep -qx good shown/result
	if [ -s shown/after ] && ! cmp -s shown/before shown/after; then
		diff shown/before shown/after >"$name.out"
		fail "$name: other mounts"
	fi
}

refused() {	# NAME PATTERN COMMAND...
	local name=$1 job=sr.$1.$tag pattern=$2; shift 2
	rm -f shown/*
	"$bin/ckpt_launch" --name="$job" "$@" >"$name.out" 2>"$name.err" </dev/null &
	if ! there shown/ready $!; then echo "skip $name"; return; fi
	expect 1 "$pattern" "$bin/ckpt_command" --checkpoint "$job"
	check "$name runs on" is_running "$job"
	"$bin/ckpt_command" --kill "$job" >/dev/null 2>&1
	wait $! 2>/dev/null
}

# shellcheck disable=SC2016 # for the shells in there
own='mount -t tmpfs -o size=1m,nosuid of-ours point && mount --bind data shown/../data && exec "$@"'
if [ "$(id -u)" = 0 ]; then
	survives unshare "$dir/point" unshare -m sh -c "$own" sh
fi
may_lack=1
survives unshare-user "$dir/point" unshare -Urm sh -c "$own" sh
survives unshare-pids "$dir/point" unshare -Urpf --mount-proc sh -c "$own" sh
# A second one, with the same file systems: /proc, which is made last, and that of the first.
survives unshare-twice "$dir/point" unshare -Urpf --mount-proc sh -c "${own%exec*}unshare -m \"\$@\"; exit \$?" sh
if command -v bwrap >/dev/null; then
	box=(bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --ro-bind "$bin" "$bin" --bind "$dir" "$dir" --dir /tmp/own)
	survives bwrap /tmp/own "${box[@]}"
	survives bwrap-apart /tmp/own "${box[@]}" --unshare-user --unshare-net --unshare-ipc --unshare-uts
	survives bwrap-all /tmp/own "${box[@]}" --unshare-all
	# Nothing of the usual root directory, nor the job's.
	survives bwrap-bare /own bwrap --unshare-user --unshare-net --ro-bind /usr /usr --symlink usr/bin /bin \
		--symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /own \
		--ro-bind "$bin" "$bin" --ro-bind "$dir/inside.sh" "$dir/inside.sh" --bind "$dir/shown" "$dir/shown"
fi
may_lack=

# Threads are looked for by a process of a moment, which is in there as well.
if command -v bwrap python3 >/dev/null; then
	rm -f shown/* && job=st.$tag
	"$bin/ckpt_launch" --name="$job" "${box[@]}" --unshare-all python3 -c '
import sys, threading, time
threading.Thread(target=time.sleep, args=(300,), daemon=True).start()
open(sys.argv[1], "w").close()
time.sleep(300)' "$dir/shown/ready" >threads.out 2>threads.err </dev/null &
	if there shown/ready $!; then
		for _ in {1..20}; do expect 0 any "$bin/ckpt_command" --checkpoint --leave-running "$job"; done
		"$bin/ckpt_command" --kill "$job" >/dev/null 2>&1
	else
		echo "skip threads: $(tail -n 1 threads.err)"
	fi
	wait $! 2>/dev/null
fi

# shellcheck disable=SC2016
refused overlay 'overlay.*E-UNSUPPORTED-PROCESS' unshare -Urm sh -c 'mkdir data/l data/u data/w &&
	mount -t overlay -o lowerdir=data/l,upperdir=data/u,workdir=data/w o point && : >shown/ready && sleep 60'
# shellcheck disable=SC2016
refused hidden 'hidden.*E-UNSUPPORTED-PROCESS' unshare -Urm sh -c 'mount -t tmpfs a point && : >point/file &&
	mount --bind shown point && : >shown/ready && sleep 60'
# shellcheck disable=SC2016
refused removed 'working directory that was removed.*E-UNSUPPORTED-PROCESS' unshare -Urm sh -c 'mount -t tmpfs a point &&
	mkdir point/dir && cd point/dir && rmdir ../dir && : >../../shown/ready && sleep 60'
# shellcheck disable=SC2016
refused detached 'nothing is mounted any more.*E-UNSUPPORTED-FD' unshare -Urm sh -c 'mount -t tmpfs a point && exec 7>point/file &&
	umount -l point && : >shown/ready && sleep 60'

# In the job's own container. It waits, as its mounts at the beginning are the container's.
rm -f shown/* && job=sc.$tag name=container
"$bin/ckpt_launch" --name="$job" --container sh -c 'until [ -e shown/go ]; do sleep 0.05; done
	mount -t tmpfs mine point && : >shown/ready; sleep 60' >container.out 2>container.err </dev/null &
if within 30 is_running "$job" && : >shown/go && within 30 eval 'is_there shown/ready || grep -q . container.err'; is_there shown/ready; then
	expect 1 "program has mounted mine.*job's container.*E-UNSUPPORTED-PROCESS" "$bin/ckpt_command" --checkpoint "$job"
else
	echo "skip container: $(tail -n 1 container.err)"
fi
"$bin/ckpt_command" --kill "$job" >/dev/null 2>&1
{ wait $!; } 2>/dev/null
exit $bad
