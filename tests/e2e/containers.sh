#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# containers.sh [PATTERN] - save what runs in one container, continue it in a new one: in docker as it is by
# default, podman (root's and an ordinary user's), runc, crun, bubblewrap (engines.sh), and from one to the other.
# Needs root, and the engines; what cannot be started here is left out, with the reason. Of all that
# doc/CONTAINERS.md says of them a part is tried; CKPT_TEST_CONTAINERS=full: everything. At the end the tables there
# are compared with what was found (doc/containers-table.sh). PATTERN: only the engines that match it.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
pattern=${1:-*} full=${CKPT_TEST_CONTAINERS:-}
[ "$(id -u)" = 0 ] || skip "container engines are started by root only"
dir=$(mktemp -d "${TMPDIR:-/tmp}/ckpt-containers.XXXXXX") || exit 1
chmod 755 "$dir"
tag=ckpt-test-${dir##*.}
profile=$here/../../share/seccomp.json
daemon='' count=0 last='' job='' left='' who=()
skip() { echo "skip $*"; }
# shellcheck source=tests/e2e/engines.sh
. "$here/engines.sh"
engines='docker podman rootless runc crun bwrap host'

# What of the machine may not be other than before.
places() { ls -d /run/{docker,containerd,libpod,netns,runc,crun,containers} /var/lib/{docker,containers,cni} 2>/dev/null; ls /sys/class/net; }
before=$(places)
# left_behind: prints what is
left_behind() {
	grep -oE " $dir[^ ]*" /proc/self/mounts
	grep -lasF -f <(printf '%s\n' "$dir" "$tag") /proc/[0-9]*/cmdline
	find /sys/fs/cgroup -name "$tag*" 2>/dev/null
	diff <(echo "$before") <(places)
}
cleanup() {
	local e n
	trap - EXIT INT TERM HUP
	for e in docker podman rootless; do engine=$e "${e}_end"; done
	for n in $(seq 50); do
		grep -oE " $dir[^ ]*" /proc/self/mounts | sort -r | xargs -r -n 1 umount -l 2>/dev/null
		find /sys/fs/cgroup -depth -name "$tag*" -type d -exec find {} -depth -type d -delete \; 2>/dev/null
		left=$(left_behind)
		[ -z "$left" ] && break
		sleep 0.1
	done
	cd / && rm -rf "$dir"
	[ -z "$left" ] || echo "FAIL left behind: $left"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

# The program: its number and pid at each step; it ends with 42 when it is asked to. The other does so without
# starting any program.
loop='trap "exit 42" TERM; i=0; while :; do echo "$i $$"; i=$((i+1)); sleep 0.1; done'
alone='import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *a: sys.exit(42))
for i in range(100000): print(i, os.getpid(), flush=True); time.sleep(0.1)'
# A service: it gives up being root, and with that is out of reach for root without CAP_SYS_PTRACE.
service='import os; os.setgroups([]); os.setgid(1000); os.setuid(1000)
'$alone

# until_line PATTERN: the output has a line like that, within twenty seconds
until_line() {
	for _ in $(seq 200); do
		${engine}_output 2>/dev/null | grep -Eq -e "$1" && return 0
		sleep 0.1
	done
	return 1
}
fail() { echo "FAIL $*"; bad=$((bad + 1)); return 1; }

# save ENGINE USER WHAT [CMD...]: runs the program there and checkpoints it into $c; what came last is in $last
save() {
	local name="$1 $2 $3" out engine=$1
	c=$dir/c-$BASHPID
	rm -rf "$c"; mkdir -m 777 "$c"
	[ $# -gt 3 ] || set -- "$@" sh -c "$loop"
	${engine}_start "$2" "$3" ckpt_launch --name "$job" --checkpoint-dir /c "${@:4}"
	until_line '^1 ' || { fail "$name: does not run"; ${engine}_output; ${engine}_drop; return 1; }
	out=$(${engine}_enter ckpt_command --checkpoint "$job" 2>&1) || { fail "$name: $out"; ${engine}_output; ${engine}_drop; return 1; }
	[ "$out" = /c/1 ] || fail "$name: ckpt_command said '$out'"
	out=$(${engine}_status)
	[ "$out" = 137 ] || fail "$name: the container ended with $out"
	last=$(${engine}_output | grep -E '^[0-9]+ [0-9]+$' | tail -n 1)
	${engine}_drop
}

# save_by_stop ENGINE USER: saved because the engine asks it to stop, and so is what was restored from that
save_by_stop() {
	local engine=$1 n cmd=(ckpt_launch --name "$job" --checkpoint-dir /c --checkpoint-on=TERM python3 -c "$alone")
	c=$dir/c-$BASHPID last='-1 x'
	rm -rf "$c"; mkdir -m 777 "$c"
	for n in 1 2; do
		${engine}_start "$2" plain "${cmd[@]}"
		until_line "^$((${last% *} + 3)) " || { fail "$1 $2 stop $n: $(${engine}_output)"; ${engine}_drop; return 1; }
		${engine}_stop
		[ "$(${engine}_status)" = 85 ] && [ -e "$c/$n/checkpoint.img" ] || fail "$1 $2 stop $n: $(${engine}_output | tail -n 3)"
		echo "ok   $1/$2 saved by its stop"
		last=$(${engine}_output | grep -E '^[0-9]+ [0-9]+$' | tail -n 1)
		${engine}_drop
		cmd=(ckpt_restart --checkpoint-dir=/c "$job")
	done
}

# resume ENGINE USER WHAT: in a new container it goes on, with the same pid; stop ends it with its own status
resume() {
	local name="$1 $2 $3" first t engine=$1 problems=$bad
	if [ "$3" = other ]; then
		${engine}_start "$2" "$3" ckpt_restart --checkpoint-dir=/c "$job"
	else	# no process is made in between: it is still the container's first
		# shellcheck disable=SC2016
		${engine}_start "$2" "$3" sh -c 'ckpt_restart --check "$@" && exec ckpt_restart "$@"' sh --checkpoint-dir=/c "$job"
	fi
	until_line "^$((${last% *} + 4)) ${last#* }\$" ||
		{ fail "$name: after '$last' comes: $(${engine}_output | head -n 20)"; ${engine}_drop; return 1; }
	[ "$3" = other ] || ${engine}_output | grep -q 'can be restored here' || fail "$name: --check says nothing"
	first=$(${engine}_output | grep -E -m 1 '^[0-9]+ [0-9]+$')
	[ "$first" = "$((${last% *} + 1)) ${last#* }" ] || fail "$name: '$first' came after '$last'"
	t=$(date +%s%N)
	${engine}_stop
	t=$((($(date +%s%N) - t) / 1000000))
	[ $t -lt 3000 ] || fail "$name: took $t ms to stop"
	t=$(${engine}_status)
	${engine}_drop
	[ "$t" = 42 ] || fail "$name: ended with $t"
	[ $problems = $bad ]
}

# Three at once from one checkpoint.
three() {
	local engine=$1 n ids=() problems=$bad
	for n in 1 2 3; do ${engine}_start "$2" plain ckpt_restart --checkpoint-dir=/c "$job"; ids+=("$id"); done
	for id in "${ids[@]}"; do
		until_line "^$((${last% *} + 4)) ${last#* }\$" || fail "$1 $2: three at once: $(${engine}_output | head -n 3)"
	done
	for id in "${ids[@]}"; do ${engine}_drop; done
	[ $problems = $bad ]
}

# terminal ENGINE USER: a prompt on it, by container_terminal.py, which starts containers in the foreground
terminal() {
	local engine=$1 cmd
	case $1 in
	docker) cmd=docker ;;
	podman) cmd="podman $(podman_flags podman)" ;;
	*) return 0 ;;
	esac
	rm -rf "$c"; mkdir -m 777 "$c"
	timeout 150 /usr/bin/python3 "$here/container_terminal.py" "$cmd" $(options "$2" plain) || fail "$1 $2: terminal"
}

# refuse ENGINE USER CODE: what is in $c is not restored there
refuse() {
	local engine=$1 out
	${engine}_start "$2" plain ckpt_restart --checkpoint-dir=/c "$job"
	[ "$(${engine}_status)" = 125 ] || fail "$1 $2: not refused"
	out=$(${engine}_output)
	case $out in *"$3"*) echo "ok   $1/$2 refuses with $3" ;; *) fail "$1 $2: $out" ;; esac
	${engine}_drop
}

# ---- which ----

# tried WHAT... : is one of these patterns, of the cells of the tables, part of the normal run?
in_part() {
	[ -n "$full" ] && return
	case $1 in
	docker/root/to/podman) ;;
	docker/*/to/*) [ "$1" = docker/user/to/host ] ;;
	docker/root/*|docker/user/plain|docker/user/ro|docker/user/three|podman/root/plain|podman/root/ro|podman/user/plain) ;;
	rootless/*/plain|runc/*/plain|crun/*/plain|bwrap/*/plain) ;;
	podman/root/to/runc|runc/root/to/host|host/root/to/docker|host/user/to/docker) ;;
	rootless/user/to/host|host/user/to/rootless) ;;
	*) return 1 ;;
	esac
}
has() { case " $have " in *" $1 "*) ;; *) return 1 ;; esac; }

# result CELL: after a case, $? says how it went
result() {
	local r=$?
	if [ $r = 0 ]; then echo "ok   $1"; echo "$1 yes" >>"$dir/results"; else echo "$1 no" >>"$dir/results"; fi
}

what_of() {	# ENGINE USER WHAT
	case $3 in
	three) three "$1" "$2" ;;	# of the plain one
	tty) save "$1" "$2" tty && resume "$1" "$2" plain && save "$1" "$2" plain && resume "$1" "$2" tty && terminal "$1" "$2" ;;
	other) save "$1" "$2" plain python3 -c "$alone" && resume "$1" "$2" other ;;
	drop) save "$1" "$2" plain python3 -c "$service" && resume "$1" "$2" plain ;;
	wide) save "$1" "$2" wide && resume "$1" "$2" wide && resume "$1" "$2" plain ;;
	admin) save "$1" "$2" admin && resume "$1" "$2" plain && resume "$1" "$2" admin ;;
	*) save "$1" "$2" "$3" && resume "$1" "$2" "$3" ;;
	esac
}

# contained ENGINE USER: ckpt_launch --container in a container works, or is refused with the reason and runs nothing
contained() {
	local engine=$1 name="$1 $2 --container" t
	${engine}_start "$2" plain ckpt_launch --container sh -c 'echo inside $$'
	t=$(${engine}_status)
	case $t in
	0) until_line '^inside 2$' ;;
	125) until_line 'container.*E-KERNEL-FEATURE' && ! ${engine}_output | grep -q inside ;;
	*) false ;;
	esac && echo "ok   $name: $t" || fail "$name: ended with $t: $(${engine}_output)"
	${engine}_drop
}

cases_of() {	# ENGINE USER
	local to what whats cell
	whats=${1}_what
	[ "$1" = host ] || contained "$1" "$2"
	if save "$1" "$2" plain; then
		for to in $have; do
			cell=$1/$2/to/$to
			[ "$to" = "$1" ] && cell=$1/$2/plain
			case $1/$2/$to in rootless/root/rootless) ;; rootless/root/*|*/root/rootless) continue ;; esac
			[ "$1" != "$to" ] || [ "$1" != host ] || continue
			in_part "$cell" && has "$to" && { resume "$to" "$2" plain; result "$cell"; }
		done
		[ "$1" != host ] && in_part "$1/$2/three" && { three "$1" "$2"; result "$1/$2/three"; }
		# The same user to the host, but root to itself.
		[ "$1/$2" = rootless/root ] && has docker && refuse docker user E-ACCESS
		[ "$1/$2" = docker/root ] && refuse docker user 'that user 1000 may read' && save_by_stop docker root
	elif [ "$1" != host ]; then
		false; result "$1/$2/plain"
	fi
	for what in ${!whats}; do
		[ "$2/$what" != user/drop ] && [ "$what" != plain ] && in_part "$1/$2/$what" && { what_of "$1" "$2" "$what"; result "$1/$2/$what"; }
	done
}

make_all() {
	mkdir -p "$dir/ckpt"
	cp "$bin"/ckpt_{launch,restart,command,coordinator} "$bin"/libckpt.so "$dir/ckpt"
	chmod -R a+rX "$dir/ckpt"
	c=$dir/c
	mkdir -m 777 "$c"
	make_images
}
make_all
have=
for engine in $engines; do
	# shellcheck disable=SC2254
	case $engine in $pattern) ;; *) continue ;; esac
	${engine}_ready && have="$have $engine"
done
[ "$have" != " host" ] && [ -n "$have" ] || { echo "no container engine can be started here"; exit 77; }

# Two at a time: docker's cases take half of the time.
group() {
	local e users
	trap - EXIT INT TERM HUP
	job=cr$1	# those on the host, and in containers that share a root directory, must differ
	for e in "${@:2}"; do
		users=${e%/*}_users
		has "${e%/*}" || continue
		case " ${!users} " in *" ${e#*/} "*) cases_of "${e%/*}" "${e#*/}" ;; esac
	done
	echo "$bad" >"$dir/bad-$1"
}
: >"$dir/results"
group 1 docker/root docker/user host/root &
one=$!
group 2 podman/root podman/user rootless/root rootless/user runc/root runc/user crun/root crun/user bwrap/root bwrap/user host/user &
wait $one $!
for n in 1 2; do
	read -r b <"$dir/bad-$n" || b=1
	bad=$((bad + b))
done
"$here/../../doc/containers-table.sh" --check "$dir/results" || bad=$((bad + 1))
[ -z "${CKPT_TEST_RESULTS:-}" ] || cp "$dir/results" "$CKPT_TEST_RESULTS"
echo "$(grep -c ' yes$' "$dir/results") cases passed, $bad failed in:$have"
trap - EXIT
cleanup
[ $bad = 0 ] && [ -z "$left" ]
