# SPDX-License-Identifier: Apache-2.0
#
# gvisor_lib.sh - sandboxes of runsc (gVisor) for the tests that source it: each is made of nothing but the host's
# /usr, our programs and the directory of the test. Needs root and runsc; skips the test without them.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
command -v runsc >/dev/null || skip "there is no runsc (gVisor)"
[ "$(id -u)" = 0 ] || skip "sandboxes are started by root only"
place gvisor
boxes= front= passed=0
runsc_() { runsc --root="$dir/state" --platform=ptrace --network=none --ignore-cgroups "$@"; }
# id_of NAME: of its sandbox; runsc listens on an abstract socket of that name, which are one set for the whole machine
id_of() { echo "${dir##*.}.$1"; }
leaving() { for b in $boxes; do runsc_ kill "$(id_of "$b")" KILL; runsc_ delete -force "$(id_of "$b")"; done >/dev/null 2>&1; }

# A root file system of nothing but the host's /usr, our programs, and the directory of this test as /c.
root=$dir/root c=$dir/c
mkdir -p "$root"/{usr,proc,sys,dev,etc,tmp,run,c,mnt,opt/ckpt} "$c" "$dir/ckpt"
cp "$bin"/ckpt_launch "$bin"/ckpt_restart "$bin"/ckpt_command "$bin"/ckpt_coordinator "$bin"/libckpt.so "$dir/ckpt"
cp "$here/gvisor.py" "$c"
cp /etc/ld.so.cache /etc/passwd /etc/group "$root/etc" 2>/dev/null
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
	runsc_ run -bundle "$b" "$(id_of "$name")" </dev/null >"$dir/$name" 2>&1 &
	box=$!
}
# over NAME: the status that it ended with
over() { wait "$box"; status=$?; runsc_ delete -force "$(id_of "$1")" >/dev/null 2>&1; boxes=${boxes/ $1/}; }

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
	said=$(runsc_ exec -user "$2" -env PATH=/opt/ckpt:/usr/bin:/bin -env XDG_RUNTIME_DIR=/run "$(id_of "$1")" \
		/opt/ckpt/ckpt_command --checkpoint job 2>&1) || { fail "$1: $said"; cat "$dir/$1"; return 1; }
	case $said in /c/$3/* | /mnt/$3/*) ;; *) fail "$1: ckpt_command said '$said'"; return 1 ;; esac
	over "$1"
	[ $status = 137 ] || fail "$1: ended with $status after its checkpoint"
}
# finish NAME UID PID FILE: the program, told to end, has found all that it had
finish() {
	runsc_ exec -user "$2" "$(id_of "$1")" /bin/kill -TERM "$3" || { fail "$1: no process $3: $(cat "$dir/$1")"; return 1; }
	over "$1"
	[ $status = 42 ] || { fail "$1: ended with $status: $(tail -n 3 "$dir/$1" "$4")"; return 1; }
	grep -qx 'all is well' "$4" || fail "$1: $(tail -n 2 "$4")"
}
