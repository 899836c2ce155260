# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2086,SC2154
#
# engines.sh - container engines for containers.sh, which sources this. Each is started by ourselves, with all that it
# writes in $dir; images are made of a root directory, nothing is fetched. For each ENGINE of $engines:
#
#   ENGINE_ready                  start it, run something in it; or say why not (skip) and return 1
#   ENGINE_users                  as whom programs can be run in it: root, user (1000)
#   ENGINE_what                   which kinds of containers it has, see below
#   ENGINE_start USER WHAT CMD... a new container in the background; sets $id. /c is $c, /opt/ckpt are our programs
#   ENGINE_enter CMD...           one of our programs in container $id, as its user
#   ENGINE_output, ENGINE_status  what $id printed; its exit status, when it has ended
#   ENGINE_stop, ENGINE_drop      ask it to end, as the engine does that; remove it
#
# WHAT: plain; ro (read-only, no capability); init (under the engine's own); tty; other (an image with none of the
# program's files); drop (as plain); admin (CAP_SYS_ADMIN); wide (our seccomp profile, and /proc unmasked).

# ---- images ----

# image DIR: a root directory of nothing but what is bound to it
image() {
	local d
	mkdir -p "$1"/{usr,proc,sys,dev,etc,tmp,var/tmp,root,home,run,c,opt/ckpt,sbin}
	chmod 1777 "$1/tmp" "$1/var/tmp"
	cp /etc/ld.so.cache "$1/etc" 2>/dev/null
	printf 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n' >"$1/etc/passwd"
	printf 'root:x:0:\nuser:x:1000:\n' >"$1/etc/group"
}

# The host's /usr and our programs.
make_images() {
	local d p lib
	image "$dir/root"
	mounts=(/usr)
	for d in bin lib lib64; do
		if [ -L /$d ]; then ln -s "$(readlink /$d)" "$dir/root/$d"; else mkdir "$dir/root/$d"; mounts+=("/$d"); fi
	done
	# Another one: our programs and their libraries, no shell, nothing to be bound.
	image "$dir/other"
	for p in "$dir/ckpt"/*; do
		for lib in $(ldd "$p" 2>/dev/null | grep -o '/[^ ]*'); do
			mkdir -p "$dir/other${lib%/*}"
			[ -e "$dir/other$lib" ] || cp -L "$lib" "$dir/other$lib"
		done
	done
}

# volumes WHAT FORMAT: each thing that is bound, by printf
volumes() {
	local m
	printf "$2" "$c" /c rw "$dir/ckpt" /opt/ckpt ro
	[ "$1" = other ] || for m in "${mounts[@]}"; do printf "$2" "$m" "$m" ro; done
}

# ---- docker, podman, and podman of an ordinary user ----

# options USER WHAT: of docker run, as podman's
options() {
	local image=ckpt-test
	[ "$1" = root ] || printf ' --user 1000:1000'
	[ "$engine/$1" != rootless/user ] || printf ' --userns=keep-id'
	case $2 in
	ro) printf ' --cap-drop ALL --read-only --tmpfs /tmp' ;;
	init) printf ' --init' ;;
	tty) printf ' -t' ;;
	admin) printf ' --cap-add SYS_ADMIN' ;;
	wide) printf ' --security-opt seccomp=%s' "$profile"
		[ "$engine" = docker ] && printf ' --security-opt systempaths=unconfined' ;;
	other) image=ckpt-other ;;
	esac
	volumes "$2" ' -v %s:%s:%s'
	printf ' --network none -e PATH=/opt/ckpt:/bin %s' $image
}
# import COMMAND...: our images into an engine; and can it run one?
import() {
	local i
	for i in root:ckpt-test other:ckpt-other; do
		tar -C "$dir/${i%:*}" -c . | "$@" import - "${i#*:}" >/dev/null 2>"$dir/err" || return 1
	done
	"$@" run --rm $(options root plain) /bin/true 2>"$dir/err"
}
try_import() {
	import "$@" && return 0
	skip "$engine: $(tail -n 1 "$dir/err")"
	return 1
}

docker_users='root user' docker_what='plain ro init tty other drop admin wide'
docker_ready() {
	command -v dockerd >/dev/null && command -v docker >/dev/null || { skip "docker: not installed"; return 1; }
	export DOCKER_HOST=unix://$dir/docker.sock
	local init= f
	for f in /usr/bin/docker-init /usr/bin/tini-static; do [ -x $f ] && init=$f; done
	[ -n "$init" ] || docker_what=${docker_what/ init/}
	dockerd ${init:+--init-path=$init} --data-root "$dir/docker" --exec-root "$dir/docker-run" -H "$DOCKER_HOST" \
		--pidfile "$dir/docker.pid" --storage-driver vfs --iptables=false --bridge=none \
		--cgroup-parent "/$tag" >"$dir/docker.log" 2>&1 &
	daemon=$!
	for _ in $(seq 200); do
		docker info >/dev/null 2>&1 && break
		kill -0 $daemon 2>/dev/null || break
		sleep 0.1
	done
	try_import docker
}
docker_start() { id=$(docker run -d $(options "$1" "$2") "${@:3}" 2>"$dir/err") || cat "$dir/err"; }
docker_enter() { docker exec "$id" "$@"; }
docker_status() { timeout 20 docker wait "$id"; }
docker_output() { docker logs "$id" 2>&1 | tr -d '\r'; }
docker_stop() { timeout 20 docker stop "$id" >/dev/null; }
docker_drop() { docker rm -f "$id" >/dev/null 2>&1; }
docker_end() {
	[ -n "$daemon" ] || return 0
	docker ps -aq 2>/dev/null | xargs -r docker rm -f >/dev/null 2>&1
	kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null
}

podman_users='root user' podman_what='plain ro init tty other drop admin wide'
podman_flags() {
	printf '%s ' --cgroup-manager=cgroupfs --events-backend=file --storage-driver=vfs --root "$dir/$1" --runroot "$dir/$1-run" \
		--tmpdir "$dir/$1-tmp"
	command -v runc >/dev/null && printf '%s ' --runtime "$(command -v runc)"
}
podman_prepare() {
	local hard init
	command -v podman >/dev/null || { skip "$engine: not installed"; return 1; }
	hard=$(ulimit -Hn)
	init=$(command -v catatonit || ls /usr/libexec/podman/catatonit /usr/bin/docker-init /usr/bin/tini-static 2>/dev/null | head -n 1)
	[ -n "$init" ] || podman_what=${podman_what/ init/} rootless_what=${rootless_what/ init/}
	printf '[containers]\ndefault_ulimits=["nofile=%s:%s", "nproc=4096:4096"]\ninit_path="%s"\n' \
		"$hard" "$hard" "$init" >"$dir/containers.conf"
	export CONTAINERS_CONF=$dir/containers.conf
}
podman_() { podman $(podman_flags podman) "$@"; }
podman_ready() { podman_prepare && try_import podman_; }
podman_start() {
	local cgroup=--cgroup-parent=/$tag
	[ "$engine" = podman ] || cgroup=
	id=$(${engine}_ run -d $cgroup $(options "$1" "$2") "${@:3}" 2>"$dir/err") || cat "$dir/err"
}
podman_enter() { ${engine}_ exec "$id" "$@"; }
podman_status() { timeout 20 bash -c "$(declare -f podman_flags rootless_ podman_); dir='$dir'; ${engine}_ wait $id"; }
podman_output() { ${engine}_ logs "$id" 2>&1 | tr -d '\r'; }
podman_stop() { ${engine}_ stop -t 15 "$id" >/dev/null; }
podman_drop() { ${engine}_ rm -f "$id" >/dev/null 2>&1; }
podman_end() { [ ! -d "$dir/podman" ] || podman_ rm -fa >/dev/null 2>&1; }

# It belongs to an ordinary user who has other ids to give to containers: /etc/subuid of our own making.
rootless_users='root user' rootless_what='plain ro init tty other drop wide'
rootless_() {
	unshare -m --propagation slave sh -c '
		dir=$1; shift
		for f in passwd subuid subgid; do mount --bind "$dir/etc-$f" /etc/$f || exit; done
		cd "$dir/rootless-home" && exec setpriv --reuid 1000 --regid 1000 --clear-groups env -i HOME="$PWD" \
			XDG_RUNTIME_DIR="$dir/rootless-xdg" TMPDIR="$dir/rootless-home" CONTAINERS_CONF="$dir/containers.conf" \
			PATH="$PATH" podman "$@"' sh "$dir" $(podman_flags rootless) "$@"
}
rootless_ready() {
	local d
	podman_prepare || return 1
	for d in newuidmap newgidmap setpriv; do
		command -v $d >/dev/null || { skip "$engine: there is no $d"; return 1; }
	done
	[ -e /etc/subuid ] && [ -e /etc/subgid ] || { skip "$engine: there is no /etc/subuid"; return 1; }
	mkdir -p "$dir"/rootless{,-run,-tmp,-home,-xdg}
	chmod 700 "$dir"/rootless{,-run,-tmp,-home,-xdg}
	chown 1000:1000 "$dir"/rootless{,-run,-tmp,-home,-xdg}
	{ grep -v '^[^:]*:[^:]*:1000:' /etc/passwd; echo "ckpt-test:x:1000:1000::$dir/rootless-home:/bin/sh"; } >"$dir/etc-passwd"
	echo ckpt-test:100000:65536 >"$dir/etc-subuid"
	cp "$dir/etc-subuid" "$dir/etc-subgid"
	try_import rootless_
}
for f in start enter status output stop drop; do eval "rootless_$f() { podman_$f \"\$@\"; }"; done
rootless_end() {
	[ -d "$dir/rootless" ] || return 0
	rootless_ rm -fa >/dev/null 2>&1
	# What keeps its namespaces is left on purpose.
	kill "$(cat "$dir/rootless-tmp/pause.pid")" 2>/dev/null
}

# ---- runc and crun ----

runc_users='root user' runc_what='plain other' crun_users='root user' crun_what='plain other'
runc_() { runc --root "$dir/runc-run" "$@"; }
# crun refuses a machine that has cgroups of both versions mounted, even when it is to use none.
crun_() {
	unshare -m sh -c 'mount -t tmpfs none /sys/fs/cgroup && exec crun --cgroup-manager=disabled "$@"' sh \
		--root "$dir/crun-run" "$@"
}
oci_spec() {	# USER WHAT CMD...
	mkdir -p "$dir/bundle-$id"
	(cd "$dir/bundle-$id" && rm -f config.json && $engine spec) || return 1
	WHO=$1 WHAT=$2 ROOT=$dir/root OTHER=$dir/other TAG=$tag/$id BINDS=$(volumes "$2" '%s:%s:%s ') \
		/usr/bin/python3 - "$dir/bundle-$id/config.json" "${@:3}" <<-'PY'
		import json, os, sys
		env, path = os.environ, sys.argv[1]
		spec = json.load(open(path))
		uid = 1000 * (env["WHO"] == "user")
		spec["process"].update(terminal=False, args=sys.argv[2:], rlimits=[], env=["PATH=/opt/ckpt:/bin"])
		spec["process"]["user"] = {"uid": uid, "gid": uid}
		spec["root"] = {"path": env["OTHER" if env["WHAT"] == "other" else "ROOT"], "readonly": False}
		spec["linux"]["cgroupsPath"] = "/" + env["TAG"]
		# The root directory is that of all; what runs in them is not.
		for to, mode in ("/run", "755"), ("/tmp", "1777"):
		    spec["mounts"].append({"destination": to, "source": "tmpfs", "type": "tmpfs", "options": ["mode=" + mode]})
		for bind in env["BINDS"].split():
		    source, to, mode = bind.split(":")
		    spec["mounts"].append({"destination": to, "source": source, "type": "bind",
		                           "options": ["rbind", mode]})
		json.dump(spec, open(path, "w"))
	PY
}
oci_ready() {
	command -v "$engine" >/dev/null || { skip "$engine: not installed"; return 1; }
	[ -x /usr/bin/python3 ] || { skip "$engine: there is no python3 to write a config.json"; return 1; }
	id=$tag-try
	oci_spec root plain /bin/true && ${engine}_ run --bundle "$dir/bundle-$id" $id >"$dir/err" 2>&1 </dev/null && return 0
	skip "$engine: $(tail -n 1 "$dir/err")"
	return 1
}
# background COMMAND...: its output and status in $dir/$id.*
background() {
	{ timeout 60 "$@" >"$dir/$id.out" 2>&1 </dev/null; echo $? >"$dir/$id.status"; } &
}
oci_start() {
	count=$((count + 1)) id=$tag-$engine-$BASHPID-$count
	oci_spec "$@"
	export dir
	export -f ${engine}_
	[ "$1" = root ] && who[count]=0 || who[count]=1000
	# shellcheck disable=SC2016
	background bash -c '"$0"_ run --bundle "$dir/bundle-$1" "$1"' "$engine" "$id"
}
oci_enter() { local u=${who[${id##*-}]}; ${engine}_ exec --user "$u:$u" "$id" /opt/ckpt/"$@"; }
oci_status() { for _ in $(seq 200); do [ -s "$dir/$id.status" ] && break; sleep 0.1; done; cat "$dir/$id.status" 2>/dev/null; }
oci_output() { cat "$dir/$id.out"; }
oci_stop() { ${engine}_ kill "$id" TERM; oci_status >/dev/null; }
oci_drop() { ${engine}_ delete -f "$id" >/dev/null 2>&1; rm -rf "$dir/bundle-$id" "$dir/$id".*; }
for f in ready start enter status output stop drop; do eval "runc_$f() { oci_$f \"\$@\"; }; crun_$f() { oci_$f \"\$@\"; }"; done

# ---- bubblewrap, as root and as an ordinary user; it has no exec: one goes in with nsenter ----

bwrap_users='root user' bwrap_what='plain init other'
bwrap_args() {	# USER WHAT
	local image=$dir/root
	[ "$2" = other ] && image=$dir/other
	printf ' --bind %s / --proc /proc --dev /dev --tmpfs /tmp --tmpfs /run --chdir /' "$image"
	volumes "$2" '%s %s %s\n' | while read -r from to mode; do
		case $mode in ro) printf ' --ro-bind %s %s' "$from" "$to" ;; *) printf ' --bind %s %s' "$from" "$to" ;; esac
	done
	[ "$1" = user ] && printf ' --unshare-user'
	printf ' --unshare-pid --unshare-ipc --unshare-uts --unshare-net --setenv PATH /opt/ckpt:/bin'
	[ "$2" = init ] || printf ' --as-pid-1'
}
bwrap_as() {
	if [ "$1" = user ]; then shift; setpriv --reuid 1000 --regid 1000 --clear-groups "$@"; else shift; "$@"; fi
}
bwrap_ready() {
	command -v bwrap >/dev/null || { skip "bwrap: not installed"; return 1; }
	if ! bwrap $(bwrap_args root plain) /bin/true 2>"$dir/err"; then
		skip "bwrap: $(tail -n 1 "$dir/err")"
		return 1
	fi
	bwrap_as user bwrap $(bwrap_args user plain) /bin/true 2>"$dir/err" && return 0
	skip "bwrap of an ordinary user: $(tail -n 1 "$dir/err")"
	bwrap_users=root
}
bwrap_start() {
	count=$((count + 1)) id=bwrap-$BASHPID-$count
	who[count]=$1
	export -f bwrap_as
	# shellcheck disable=SC2016
	background bash -c 'bwrap_as "$@" 9>"$0"' "$dir/$id.info" "$1" bwrap $(bwrap_args "$1" "$2") --info-fd 9 "${@:3}"
}
bwrap_pid() { sed -n 's/.*"child-pid": *\([0-9]*\).*/\1/p' "$dir/$id.info"; }
bwrap_enter() {
	local u=${who[${id##*-}]}
	if [ "$u" = user ]; then
		# Its user namespace is one within the one that the others belong to.
		nsenter -t "$(bwrap_pid)" -m -p -i -u -n setpriv --reuid 1000 --regid 1000 --clear-groups /opt/ckpt/"$@"
	else
		nsenter -t "$(bwrap_pid)" -m -p -i -u -n /opt/ckpt/"$@"
	fi
}
bwrap_status() { oci_status; }
bwrap_output() { oci_output; }
# Its own process 1 passes nothing on.
bwrap_stop() {
	local p
	p=$(bwrap_pid)
	[ "$(cat /proc/$p/comm)" != bwrap ] || p=$(cat /proc/$p/task/$p/children)
	kill $p
	oci_status >/dev/null
}
bwrap_drop() { [ -s "$dir/$id.status" ] || kill -9 "$(bwrap_pid)" 2>/dev/null; rm -f "$dir/$id".*; }

# ---- the host itself: /c is $c there ----

host_users='root user' host_what=plain
host_ready() { :; }
host_start() {
	local a args=()
	count=$((count + 1)) id=host-$BASHPID-$count
	who[count]=$1
	for a in "${@:3}"; do args+=("${a//\/c/$c}"); done
	export -f bwrap_as
	# shellcheck disable=SC2016
	background bash -c 'cd / && PATH=$1/ckpt:$PATH && echo $$ >"$0" && shift && u=$1 && shift &&
		if [ "$u" = user ]; then exec setpriv --reuid 1000 --regid 1000 --clear-groups "$@"; else exec "$@"; fi' \
		"$dir/$id.pid" "$dir" "$1" "${args[@]}"
}
host_enter() { bwrap_as "${who[${id##*-}]}" "$dir/ckpt/$1" "${@:2}" | sed "s,^$c,/c,"; }
host_status() { oci_status; }
host_output() { oci_output; }
host_stop() { kill "$(cat "$dir/$id.pid")"; oci_status >/dev/null; }
host_drop() { [ -s "$dir/$id.status" ] || kill -9 "$(cat "$dir/$id.pid")" 2>/dev/null; rm -f "$dir/$id".*; }
