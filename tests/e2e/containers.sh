#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# containers.sh [PATTERN] - save what runs in one container, continue it in a new one: in docker as it is by
# default, podman, runc, crun, bubblewrap, and from one to the other. Needs root, and the engines; what
# cannot be started here is left out, with the reason. PATTERN: only the engines that match it.
set -u
bin=$(cd "${builddir:-.}" && pwd)
pattern=${1:-*}
for p in ckpt_launch ckpt_restart ckpt_command ckpt_coordinator libckpt.so; do
	[ -e "$bin/$p" ] || { echo "there is no $bin/$p"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "container engines are started by root only"; exit 77; }
for fd in /proc/self/fd/*; do
	fd=${fd##*/}
	[ "$fd" -gt 2 ] && [ "$fd" != 255 ] && eval "exec $fd>&-"
done
dir=$(mktemp -d "${TMPDIR:-/tmp}/ckpt-containers.XXXXXX") || exit 1
chmod 755 "$dir"
daemon= bad=0 passed=0
cleanup() {
	if [ -n "$daemon" ]; then
		docker ps -aq 2>/dev/null | xargs -r docker rm -f >/dev/null 2>&1
		kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null
	fi
	[ -d "$dir/podman" ] && podman_ rm -fa >/dev/null 2>&1
	grep -o " $dir/[^ ]*" /proc/self/mounts | sort -r | xargs -r -n 1 umount -l 2>/dev/null
	cd / && rm -rf "$dir"
}
trap cleanup EXIT

# The program: its number and pid at each step; it ends with 42 when it is asked to.
loop='trap "exit 42" TERM; i=0; while :; do echo "$i $$"; i=$((i+1)); sleep 0.1; done'

# A root file system of nothing but the host's /usr and our programs.
root=$dir/root
mkdir -p "$root"/{usr,proc,sys,dev,etc,tmp,var/tmp,root,home,run,c,opt/ckpt,sbin} "$dir/ckpt"
chmod 1777 "$root/tmp" "$root/var/tmp"
cp "$bin"/ckpt_launch "$bin"/ckpt_restart "$bin"/ckpt_command "$bin"/ckpt_coordinator "$bin"/libckpt.so "$dir/ckpt"
chmod -R a+rX "$dir/ckpt"
cp /etc/ld.so.cache "$root/etc" 2>/dev/null
printf 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nuser:x:1000:\n' >"$root/etc/group"
mounts=(/usr)
for d in bin lib lib64; do
	if [ -L /$d ]; then ln -s "$(readlink /$d)" "$root/$d"; else mkdir "$root/$d"; mounts+=("/$d"); fi
done

skip() { echo "skip $*"; }

# ---- engines: start TAG OPTS CMD..., enter CMD..., status (when it has ended), output, stop, drop ----

docker_ready() {
	command -v dockerd >/dev/null && command -v docker >/dev/null || { skip "docker: not installed"; return 1; }
	export DOCKER_HOST=unix://$dir/docker.sock
	local init=
	for f in /usr/bin/docker-init /usr/bin/tini-static; do [ -x $f ] && init=$f; done
	dockerd ${init:+--init-path=$init} --data-root "$dir/docker" --exec-root "$dir/docker-run" -H "$DOCKER_HOST" \
		--pidfile "$dir/docker.pid" --storage-driver vfs --iptables=false --bridge=none >"$dir/docker.log" 2>&1 &
	daemon=$!
	for _ in $(seq 100); do
		docker info >/dev/null 2>&1 && break
		kill -0 $daemon 2>/dev/null || break
		sleep 0.1
	done
	tar -C "$root" -c . | docker import - ckpt-test >/dev/null 2>"$dir/err" &&
		docker run --rm --network none $(volumes) ckpt-test /bin/true 2>"$dir/err" && return 0
	skip "docker: $(tail -n 1 "$dir/err")"
	return 1
}
volumes() {
	local m
	printf ' -v %s:/c -v %s:/opt/ckpt:ro' "$c" "$dir/ckpt"
	for m in "${mounts[@]}"; do printf ' -v %s:%s:ro' "$m" "$m"; done
}
docker_start() { local o=$2; shift 2; id=$(docker run -d --network none $o $(volumes) -e PATH=/opt/ckpt:/bin ckpt-test "$@"); }
docker_enter() { docker exec "$id" "$@"; }
docker_status() { timeout 10 docker wait "$id"; }
docker_output() { docker logs "$id" 2>&1 | tr -d '\r'; }
docker_stop() { timeout 20 docker stop "$id" >/dev/null; }
docker_drop() { docker rm -f "$id" >/dev/null 2>&1; }

podman_() {
	podman --root "$dir/podman" --runroot "$dir/podman-run" --cgroup-manager=cgroupfs --events-backend=file \
		--storage-driver=vfs "${podman_runtime[@]}" "$@"
}
podman_runtime=()
podman_ready() {
	local hard
	command -v podman >/dev/null || { skip "podman: not installed"; return 1; }
	command -v runc >/dev/null && podman_runtime=(--runtime "$(command -v runc)")
	hard=$(ulimit -Hn)
	printf '[containers]\ndefault_ulimits=["nofile=%s:%s", "nproc=4096:4096"]\n' "$hard" "$hard" >"$dir/containers.conf"
	export CONTAINERS_CONF=$dir/containers.conf
	tar -C "$root" -c . | podman_ import - ckpt-test >/dev/null 2>"$dir/err" &&
		podman_ run --rm --network none $(volumes) ckpt-test /bin/true 2>"$dir/err" && return 0
	skip "podman: $(tail -n 1 "$dir/err")"
	return 1
}
podman_start() { local o=$2; shift 2; id=$(podman_ run -d --network none $o $(volumes) -e PATH=/opt/ckpt:/bin ckpt-test "$@"); }
podman_enter() { podman_ exec "$id" "$@"; }
podman_status() { timeout 10 podman --root "$dir/podman" --runroot "$dir/podman-run" --cgroup-manager=cgroupfs \
	--events-backend=file --storage-driver=vfs wait "$id"; }
podman_output() { podman_ logs "$id" 2>&1 | tr -d '\r'; }
podman_stop() { podman_ stop -t 15 "$id" >/dev/null; }
podman_drop() { podman_ rm -f "$id" >/dev/null 2>&1; }

# runc and crun: $oci is the command
oci_spec() {
	local uid=$1; shift
	mkdir -p "$dir/bundle-$id"
	(cd "$dir/bundle-$id" && rm -f config.json && $oci_name spec) || return 1
	ROOT=$root UIDS=$uid BINDS="/c:$c:rw /opt/ckpt:$dir/ckpt:ro $(for m in "${mounts[@]}"; do echo "$m:$m:ro"; done)" \
		/usr/bin/python3 - "$dir/bundle-$id/config.json" "$@" <<-'PY'
		import json, os, sys
		path = sys.argv[1]
		spec = json.load(open(path))
		spec["process"].update(terminal=False, args=sys.argv[2:], rlimits=[], env=["PATH=/opt/ckpt:/bin"])
		spec["process"]["user"] = {"uid": int(os.environ["UIDS"]), "gid": int(os.environ["UIDS"])}
		spec["root"] = {"path": os.environ["ROOT"], "readonly": False}
		for bind in os.environ["BINDS"].split():
		    to, source, mode = bind.split(":")
		    spec["mounts"].append({"destination": to, "source": source, "type": "bind",
		                           "options": ["rbind", mode]})
		json.dump(spec, open(path, "w"))
	PY
}
oci_ready() {
	command -v "$oci_name" >/dev/null || { skip "$1: not installed"; return 1; }
	[ -x /usr/bin/python3 ] || { skip "$1: there is no python3 to write a config.json"; return 1; }
	id=ckpt-try$$
	oci_spec 0 /bin/true && $oci run --bundle "$dir/bundle-$id" $id >"$dir/err" 2>&1 </dev/null && return 0
	skip "$1: $(tail -n 1 "$dir/err")"
	return 1
}
oci_start() {
	local uid=0; id=ckpt-$1-$$; [ -n "$2" ] && uid=${2##* }; shift 2
	oci_uid=$uid
	oci_spec "$uid" "$@"
	{ timeout 30 $oci run --bundle "$dir/bundle-$id" "$id" >"$dir/$id.out" 2>&1 </dev/null; echo $? >"$dir/$id.status"; } &
}
oci_enter() { $oci exec --user "$oci_uid:$oci_uid" "$id" /opt/ckpt/"$@"; }
oci_status() { for _ in $(seq 100); do [ -s "$dir/$id.status" ] && break; sleep 0.1; done; cat "$dir/$id.status"; }
oci_output() { cat "$dir/$id.out"; }
oci_stop() { $oci kill "$id" TERM; oci_status >/dev/null; }
oci_drop() { $oci delete -f "$id" >/dev/null 2>&1; rm -rf "$dir/bundle-$id" "$dir/$id".*; }
# crun refuses a machine that has cgroups of both versions mounted, even when it is to use none.
printf '#!/bin/sh\nmount -t tmpfs none /sys/fs/cgroup && exec crun --cgroup-manager=disabled "$@"\n' >"$dir/crun.sh"
for e in runc crun; do
	eval "${e}_ready() { oci_name=$e oci='$e --root $dir/$e-run'; [ $e = crun ] && oci='unshare -m sh $dir/crun.sh --root $dir/crun-run'; oci_ready $e; }"
	for f in start enter status output stop drop; do eval "${e}_$f() { oci_$f \"\$@\"; }"; done
done

# bubblewrap has no exec: one goes in with nsenter
bwrap_args() {
	local m
	printf ' --bind %s / --proc /proc --dev /dev --tmpfs /tmp --tmpfs /run --bind %s /c --ro-bind %s /opt/ckpt' "$root" "$c" "$dir/ckpt"
	for m in "${mounts[@]}"; do printf ' --ro-bind %s %s' "$m" "$m"; done
	printf ' --unshare-pid --unshare-ipc --unshare-uts --unshare-net --as-pid-1 --setenv PATH /opt/ckpt:/bin'
}
bwrap_ready() {
	command -v bwrap >/dev/null || { skip "bwrap: not installed"; return 1; }
	bwrap $(bwrap_args) /bin/true 2>"$dir/err" && return 0
	skip "bwrap: $(tail -n 1 "$dir/err")"
	return 1
}
bwrap_start() {
	local o=$2; id=bwrap-$1; shift 2
	{ timeout 30 bwrap $(bwrap_args) $o --info-fd 9 "$@" >"$dir/$id.out" 2>&1 </dev/null 9>"$dir/$id.info"; echo $? >"$dir/$id.status"; } &
}
bwrap_pid() { sed -n 's/.*"child-pid": *\([0-9]*\).*/\1/p' "$dir/$id.info"; }
bwrap_enter() { nsenter -t "$(bwrap_pid)" -a /opt/ckpt/"$@"; }
bwrap_status() { oci_status; }
bwrap_output() { cat "$dir/$id.out"; }
bwrap_stop() { kill "$(bwrap_pid)"; oci_status >/dev/null; }
bwrap_drop() { rm -f "$dir/$id".*; }

# the host itself: /c is $c there
host_start() {
	local a args=(); id=host-$1; shift 2
	for a in "$@"; do
		case $a in /c) a=$c ;; *=/c) a=${a%/c}$c ;; esac
		args+=("$a")
	done
	{
		cd / || exit
		PATH=$dir/ckpt:$PATH "${args[@]}" >"$dir/$id.out" 2>&1 </dev/null &
		echo $! >"$dir/$id.pid"
		wait $!
		echo $? >"$dir/$id.status"
	} 2>/dev/null &
}
host_enter() { "$dir/ckpt/$1" "${@:2}" | sed "s,^$c,/c,"; }
host_status() { oci_status; }
host_output() { cat "$dir/$id.out"; }
host_stop() { kill "$(cat "$dir/$id.pid")"; oci_status >/dev/null; }
host_drop() { [ -s "$dir/$id.status" ] || kill -9 "$(cat "$dir/$id.pid")" 2>/dev/null; rm -f "$dir/$id".*; }

# ---- a case ----

# until_line COMMAND PATTERN: its output has a line like that, within ten seconds
until_line() {
	for _ in $(seq 100); do
		"$1" 2>/dev/null | grep -Eq -e "$2" && return 0
		sleep 0.1
	done
	return 1
}

fail() { echo "FAIL $*"; bad=$((bad + 1)); return 1; }

# save ENGINE OPTS: runs the program there and checkpoints it into $c; what came last is in $last
save() {
	local e=$1 name="$1${2:+ $2}" out
	rm -rf "$c"; mkdir -m 777 "$c"
	${e}_start save "$2" ckpt_launch --name cr --checkpoint-dir /c sh -c "$loop"
	until_line ${e}_output '^1 ' || { fail "$name: does not run"; ${e}_output; ${e}_drop; return 1; }
	out=$(${e}_enter ckpt_command --checkpoint cr 2>&1) || { fail "$name: $out"; ${e}_output; ${e}_drop; return 1; }
	[ "$out" = /c/1 ] || fail "$name: ckpt_command said '$out'"
	out=$(${e}_status)
	[ "$out" = 137 ] || fail "$name: the container ended with $out"
	last=$(${e}_output | grep -E '^[0-9]+ [0-9]+$' | tail -n 1)
	${e}_drop
}

# resume ENGINE OPTS: in a new container it goes on, with the same pid; stop ends it with its own status
resume() {
	local e=$1 name="$1${2:+ $2}" next first t
	next="$((${last% *} + 1)) ${last#* }"
	${e}_start resume "$2" ckpt_restart --checkpoint-dir=/c cr
	until_line ${e}_output "^$((${last% *} + 4)) ${last#* }\$" ||
		{ fail "$name: after '$last' comes: $(${e}_output | head -n 3)"; ${e}_drop; return 1; }
	first=$(${e}_output | head -n 1)
	[ "$first" = "$next" ] || fail "$name: '$first' came after '$last'"
	t=$(date +%s%N)
	${e}_stop
	t=$((($(date +%s%N) - t) / 1000000))
	[ $t -lt 3000 ] || fail "$name: took $t ms to stop"
	t=$(${e}_status)
	${e}_drop
	[ "$t" = 42 ] || { fail "$name: ended with $t"; return 1; }
}

check() {
	local before=$bad
	save "$1" "$2" && resume "$3" "$4"
	[ $bad != $before ] || { echo "ok   $1${2:+ $2} -> $3${4:+ $4}"; passed=$((passed + 1)); }
}
same() { check "$1" "$2" "$1" "$2"; }

# Three at once from one checkpoint.
three() {
	local e=$1 n ids=() before=$bad
	save "$e" "$2" || return
	for n in 1 2 3; do ${e}_start "resume$n" "$2" ckpt_restart --checkpoint-dir=/c cr; ids+=("$id"); done
	for id in "${ids[@]}"; do
		until_line ${e}_output "^$((${last% *} + 4)) ${last#* }\$" || { fail "$e: three at once: $(${e}_output | head -n 3)"; }
	done
	for id in "${ids[@]}"; do ${e}_drop; done
	[ $bad != $before ] || { echo "ok   $e${2:+ $2} -> three at once"; passed=$((passed + 1)); }
}

c=$dir/c
mkdir -m 777 "$c"
have=
for e in docker podman runc crun bwrap; do
	# shellcheck disable=SC2254
	case $e in $pattern) ;; *) continue ;; esac
	${e}_ready && have="$have $e"
done
[ -n "$have" ] || { echo "no container engine can be started here"; exit 77; }

in_docker() {
	same docker ""
	same docker "--user 1000:1000"
	same docker "--cap-drop ALL --read-only --tmpfs /tmp"
	same docker "--user 1000:1000 --cap-drop ALL --read-only --tmpfs /tmp"
	check docker "-t" docker ""
	check docker "" docker "-t --user 0"
	if docker run --rm --init --network none $(volumes) ckpt-test /bin/true >/dev/null 2>&1; then
		check docker "--init" docker ""
		check docker "-t" docker "-t --init"
	fi
	three docker "--user 1000:1000"
	check docker "--user 1000:1000" host ""
	check host "" docker ""
}
in_podman() {
	same podman ""
	same podman "--user 1000:1000"
	same podman "--cap-drop all --read-only --tmpfs /tmp"
	case $have in *docker*) check docker "" podman "" ;; esac
	case $have in *runc*) runc_ready && check podman "" runc "" ;; esac
}
in_runc() { runc_ready; same runc ""; same runc "--user 1000"; }
in_crun() { crun_ready; same crun ""; same crun "--user 1000"; }
in_bwrap() { same bwrap ""; }

# Docker's cases take half of the time, so the others go beside them.
group() {
	trap - EXIT
	c=$dir/c-$1
	mkdir -m 777 "$c"
	for e in "${@:2}"; do
		case " $have " in *" $e "*) "in_$e" ;; esac
	done
	echo "$passed $bad" >"$dir/result-$1"
}
group 1 docker &
group1=$!
group 2 podman runc crun bwrap &
wait $group1 $!
for n in 1 2; do
	read -r p b <"$dir/result-$n" || b=1
	passed=$((passed + p)) bad=$((bad + b))
done
echo "$passed cases passed, $bad failed in:$have"
[ $bad = 0 ]
