#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# move_server.sh - a server with its state moves to another machine: another network namespace with another
# address, other files but for the checkpoint's directory. Its listening sockets come back, on all addresses
# and on both protocols; a client that never knew the old machine is served, from the state of before; the
# client of before sees its connection end. Namespaces stand in for machines.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/../lib.sh"
command -v ip >/dev/null || skip "there is no ip(8)"
python=$(command -v /usr/bin/python3 || command -v python3) || skip "there is no python3"
place move /var/tmp
mkdir "$dir/programs" "$dir/shared" "$dir/first" "$dir/second"
cp "$bin"/ckpt_launch "$bin"/ckpt_restart "$bin"/ckpt_command "$bin"/ckpt_coordinator "$bin"/libckpt.so "$dir/programs"
# A key-value store: one process that listens for each protocol, a thread for each client.
cat >"$dir/first/server.py" <<'END'
import socketserver, socket, threading
table = {}
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            verb, key, *value = line.decode().split()
            if verb == "set":
                table[key] = value[0]
            self.wfile.write(("%s\n" % table.get(key, "-")).encode())
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
class Server6(Server):
    address_family = socket.AF_INET6
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()
servers = [Server(("0.0.0.0", 7000), Handler)]
try:
    servers.append(Server6(("::", 7000), Handler))
except OSError:
    print("no IPv6")
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("serving", flush=True)
servers[0].serve_forever()
END
# client.py ADDRESS LINE...: each line's answer
cat >"$dir/programs/client.py" <<'END'
import socket, sys
with socket.create_connection((sys.argv[1], 7000), timeout=30) as s:
    f = s.makefile("rw")
    for line in sys.argv[2:]:
        f.write(line + "\n")
        f.flush()
        print(f.readline().strip(), flush=True)
END
# stay.py ADDRESS: asks, and stays connected until the server's machine is gone
cat >"$dir/programs/stay.py" <<'END'
import socket, sys
s = socket.create_connection((sys.argv[1], 7000))
s.sendall(b"get color\n")
print("stays", s.recv(100).decode(), flush=True)
try:
    print("end", s.recv(100))
except ConnectionResetError:
    print("reset")
END

# A machine: network, mounts and processes of its own; @MY its address, $DISK its files.
spaces=(--net --pid --mount --ipc --uts --fork --mount-proc --kill-child=KILL)
[ "$(id -u)" = 0 ] || spaces+=(--user --map-root-user)
unshare "${spaces[@]}" true 2>/dev/null || skip "no network namespace can be made here"
cat >"$dir/programs/machine.sh" <<'END'
mount -t tmpfs none /run && mount -t tmpfs none /tmp && mkdir /tmp/app && mount --bind "$DISK" /tmp/app || exit 90
hostname "$NAME" && ip link set lo up && ip addr add "$MY/24" dev lo || exit 91
ip -6 addr add "$MY6/64" dev lo nodad 2>/dev/null
cd /tmp/app && export CKPT_DIR=$SHARED HOME=/tmp
client() { "$PYTHON" "$PROGRAMS/client.py" "$@"; }
export -f client
exec bash "$1"
END
export PROGRAMS=$dir/programs SHARED=$dir/shared PYTHON=$python
boot() { # NAME ADDRESS ADDRESS6 SCRIPT
	NAME=$1 MY=$2 MY6=$3 DISK=$dir/$1 unshare "${spaces[@]}" bash "$dir/programs/machine.sh" "$4" </dev/null >"$dir/$1.out" 2>&1 &
	machine=$!
}

cat >"$dir/one.sh" <<'END'
"$PROGRAMS/ckpt_launch" -q -n server "$PYTHON" /tmp/app/server.py >/tmp/app/log 2>&1 &
until grep -q serving /tmp/app/log; do sleep 0.02; done
echo "answers $(client "$MY" "set color blue" "set shape round" "get color" | xargs)"
"$PYTHON" "$PROGRAMS/stay.py" "$MY" >/tmp/app/stayed & stay=$!
until grep -q stays /tmp/app/stayed; do sleep 0.02; done
"$PROGRAMS/ckpt_command" --checkpoint server
echo "checkpoint $?"
wait $stay
END
boot first 10.77.1.1 fd77:1::1 "$dir/one.sh"
wait $machine
check "it serves on the first machine" grep -qx 'answers blue round blue' "$dir/first.out"
check "and is saved" grep -qx 'checkpoint 0' "$dir/first.out"
check "its client sees that it went" grep -Eq '^(end|reset)' "$dir/first/stayed"

# The second machine has nothing of the first one's disk. Its address is another; the old one is nobody's.
cat >"$dir/two.sh" <<'END'
ls /tmp/app
"$PROGRAMS/ckpt_restart" --stdout=/tmp/app/log --stderr=/tmp/app/log server & front=$!
until [ "$("$PROGRAMS/ckpt_command" --status server 2>/dev/null | awk 'NR == 2 { print $2 }')" = running ]; do
	kill -0 $front || exit 1
	sleep 0.02
done
echo "new $(client "$MY" "get color" "set color red" "get color" | xargs)"
echo "local $(client 127.0.0.1 "get shape" "get color" | xargs)"
[ ! -e /proc/net/if_inet6 ] || ! grep -q ' lo$' /proc/net/if_inet6 || echo "six $(client "$MY6" "get color" | xargs)"
client 10.77.1.1 "get color" 2>/dev/null && echo "the old address answers"
"$PROGRAMS/ckpt_command" --checkpoint --leave-running server >/dev/null
echo "again $?"
echo "after $(client "$MY" "get color")"
"$PROGRAMS/ckpt_command" --kill server
END
boot second 10.88.2.2 fd88:2::2 "$dir/two.sh"
wait $machine
check "a new client is served, from what was known before" grep -qx 'new blue red red' "$dir/second.out"
check "by every address that the machine has" grep -qx 'local round red' "$dir/second.out"
if grep -q '^six' "$dir/second.out"; then check "and by IPv6" grep -qx 'six red' "$dir/second.out"; fi
check "not by the old one" [ "$(grep -c 'the old address' "$dir/second.out")" = 0 ]
check "it can be saved here, too" grep -qx 'again 0' "$dir/second.out"
check "and goes on" grep -qx 'after red' "$dir/second.out"
exit $bad
