#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# launch_container.sh - ckpt_launch --container: the job's own pids, which start low, its own network, queues
# and /proc; as root and as an ordinary user. It is checkpointed and restored like any other, with a network
# of its own again; signals arrive once; where namespaces are denied it is refused and nothing has run.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
python=$(command -v /usr/bin/python3 || command -v python3) || skip "there is no python3"
place container
job=container.$tag front=0 tries=0
as=()
cd "$dir" || exit 1
ok() { echo "ok   $who: $*"; }
fail() {
	echo "FAIL $who: $*"
	[ $bad = 1 ] || tail -n 20 "$work/out" "$work/err"
	bad=1
}

# A server and its client in one: what it finds at its start, and, whenever it is asked, that all is as it was.
cat >program.py <<'END'
import os, signal, socket, sys
work = sys.argv[1]
got = []
signal.signal(signal.SIGTERM, lambda *a: got.append(1))
ids = (os.getpid(), os.getppid(), os.getuid(), os.getgid())
procs = sorted(int(n) for n in os.listdir("/proc") if n.isdigit())
assert ids[:2] == (2, 1) and procs == [1, 2], (ids, procs)
assert os.getpgrp() == 2, os.getpgrp()
server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
server.settimeout(20)
queues = {name: os.readlink("/proc/self/ns/" + name) for name in ("ipc", "net", "pid", "mnt")}
client = socket.create_connection(server.getsockname())
peer = server.accept()[0]
def answer(step):
    assert (os.getpid(), os.getppid(), os.getuid(), os.getgid()) == ids
    again = socket.create_connection(server.getsockname())
    server.accept()[0].sendall(b"new")
    assert again.recv(10) == b"new"
    peer.sendall(b"old")
    assert client.recv(10) == b"old"
    with open(work + "/new", "w") as f:
        f.write("%d %s %s\n" % (len(got), queues["net"], queues["ipc"]))
    os.rename(work + "/new", work + "/ready." + step)
answer("0")
for step in "123":
    while not os.path.exists(work + "/go." + step):
        signal.sigtimedwait([], 0.02)
    answer(step)
sys.exit(9)
END

launch() { "${as[@]}" "$bin/ckpt_launch" "$@"; }
command() { "${as[@]}" timeout 30 "$bin/ckpt_command" "$@" >"$work/said" 2>>"$work/err"; }
start() { # PROGRAM...: as the job's front
	"${as[@]}" setsid "$@" >>"$work/out" 2>>"$work/err" </dev/null & front=$!
}
ends() { wait "$front"; [ $? = "$1" ]; }

run() {
	work=$dir/$who
	mkdir "$work"
	if [ "$who" = user ]; then chown "$uid:$uid" "$work"; fi
	export HOME=$work CKPT_DIR=$work/store
	launch --container true >"$work/out" 2>"$work/err" || {
		grep -q E-KERNEL-FEATURE "$work/err" && echo "skip $who: $(cat "$work/err")" && return
		check "namespaces can be had" false
		return
	}
	tries=$((tries + 1))
	check "the program's status" ended_with 5 launch --container sh -c 'exit 5'
	check "a signal's" ended_with 137 bash -c '"$@"; exit $?' x "${as[@]}" "$bin/ckpt_launch" --container sh -c 'kill -9 $$'
	check "no such program" ended_with 127 launch --container ./none

	start "$bin/ckpt_launch" --container -n "$job" "$python" -S "$dir/program.py" "$work" "$port"
	check "a container of its own" there "$work/ready.0" $front
	check "its network and queues are not ours" [ "$(cut -d' ' -f2,3 "$work/ready.0")" != \
		"$(readlink /proc/self/ns/net) $(readlink /proc/self/ns/ipc)" ]
	command --status "$job"
	check "both numbers in the status" grep -Eq '^2 +[0-9]{2,} +1 ' "$work/said"
	kill -TERM -- "-$front"		# the whole group, front and keeper
	check "left running" command --checkpoint --leave-running "$job"
	: >"$work/go.1"
	check "as before after a checkpoint" there "$work/ready.1" $front
	check "a signal to the group has come once" [ "$(cut -d' ' -f1 "$work/ready.1")" = 1 ]
	check "checkpoint" command --checkpoint "$job"
	check "status 137" ends 137

	start "$bin/ckpt_restart" "$job"
	: >"$work/go.2"
	check "as before after a restart" there "$work/ready.2" $front
	check "a second checkpoint" command --checkpoint "$job"
	check "status 137" ends 137
	start "$bin/ckpt_restart" "$job"
	: >"$work/go.3"
	check "as before after a second restart" there "$work/ready.3" $front
	check "its own status" ends 9
	front=0
	check "nothing is left" within 10 gone "$(run_dir_of "$job" "$uid")"

	# A limit of the user namespace that we make for this stands for all that denies namespaces.
	unshare --user --map-root-user --mount-proc --pid --fork --mount sh -c \
		'echo 0 >/proc/sys/user/max_net_namespaces' 2>/dev/null || return
	# shellcheck disable=SC2016
	"${as[@]}" unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_net_namespaces && shift &&
		exec "$@"' x x "$bin/ckpt_launch" --container touch "$work/ran" >"$work/out" 2>"$work/err"
	check "refused where they are denied" [ "$?/$(grep -c 'container: .*E-KERNEL-FEATURE' "$work/err")" = 125/1 ]
	check "and nothing has run" [ ! -e "$work/ran" ]
}
ended_with() { local want=$1; shift; "$@" >>"$work/out" 2>>"$work/err" </dev/null; [ $? = "$want" ]; }

# The port is taken here: a job that came back into our network would fail.
"$python" -S -c 'import socket, time
s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True); time.sleep(600)' >taken &
within 30 test -s taken || exit 1
port=$(cat taken)
uid=$(id -u)
if [ "$uid" = 0 ]; then
	who=root; run
	uid=65534 who=user as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	if "${as[@]}" test -x "$bin/ckpt_launch"; then run; else echo "skip: nobody may not run $bin/ckpt_launch"; fi
else
	who=user; run
fi
[ $tries -gt 0 ] || exit 77
exit $bad
