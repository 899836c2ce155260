#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""redis-server with an append-only file, under load from clients inside of the job (one persistent, one that pipelines:
they must not notice anything) and from clients outside (they find their connection reset at a restart, come again, and
nothing that was acknowledged is lost)."""
import socket
import threading
import time

import job

# The protocol, for both sides.
CLIENT = r'''
import os, socket, subprocess, sys, time

class Redis:
    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.f = self.s.makefile("rb")
    def send(self, *commands):
        b = b""
        for c in commands:
            b += b"*%d\r\n" % len(c) + b"".join(b"$%d\r\n%s\r\n" % (len(x), x) for x in (str(y).encode() for y in c))
        self.s.sendall(b)
    def receive(self):
        line = self.f.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError
        kind, value = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(value)
        if kind == b"$":
            n = int(value)
            if n < 0:
                return None
            data = self.f.read(n + 2)
            if len(data) < n + 2:
                raise ConnectionResetError
            return data[:-2]
        return int(value) if kind == b":" else value
    def call(self, *command):
        self.send(command)
        return self.receive()
'''

INSIDE = CLIENT + r'''
port = int(sys.argv[1])
server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
                           "yes", "--appendfsync", "everysec", "--dir", ".", "--logfile", "log"])
while True:
    try:
        Redis(port).call("PING"); break
    except (OSError, RuntimeError):
        time.sleep(0.02)
pipelined = os.fork()
c = Redis(port)
n = 0
if pipelined == 0:
    while not os.path.exists("stop"):
        c.send(*(x for k in range(100) for x in (("INCR", "p"), ("SET", f"p:{(n + k) % 1000}", n + k))))
        for k in range(100):
            n += 1
            got = c.receive(); assert got == n, (got, n)
            assert c.receive() == b"OK"
    os._exit(0)
print("ready", flush=True)
while not os.path.exists("stop"):
    n += 1
    got = c.call("INCR", "n"); assert got == n, (got, n)
    c.call("SET", f"k{n}", n)
    got = c.call("GET", f"k{n}"); assert got == b"%d" % n, (got, n)
    if n % 500 == 0:        # a forked child writes all of it, while the clients go on
        c.send(("BGREWRITEAOF",)); c.f.readline()
    if n % 700 == 0:
        c.send(("BGSAVE", "SCHEDULE")); c.f.readline()
_, status = os.waitpid(pipelined, 0)
assert status == 0, status
for k in range(1, n + 1):
    got = c.call("GET", f"k{k}"); assert got == b"%d" % k, (k, got)
print("inside", n, "outside", *(int(c.call("GET", f"out{i}") or 0) for i in range(3)), flush=True)
c.send(("SHUTDOWN", "NOSAVE"))
assert server.wait() == 0
'''
exec(CLIENT)


class Outside(threading.Thread):
    """Counts. A value beyond what was acknowledged may only be the one whose answer was cut off."""
    def __init__(self, port, key):
        super().__init__(daemon=True)
        self.port, self.key, self.acked, self.resets, self.ending, self.error = port, key, 0, 0, False, None

    def run(self):
        pending = 0
        while not self.ending:
            try:
                c = Redis(self.port)
                while not self.ending:
                    pending = 1
                    got = c.call("INCR", self.key)
                    if got not in (self.acked + 1, self.acked + 1 + self.lost):
                        self.error = f"{self.key}: {got} after {self.acked}"
                        return
                    self.acked, self.lost = got, 0
            except OSError:
                self.resets += 1
                self.lost = pending
                time.sleep(0.02)

    lost = 0


def main():
    j = job.Job("redis", needs=["redis-server"])
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    j.launch(job.PYTHON, j.write("inside.py", INSIDE), str(port))
    j.expect("ready")
    clients = [Outside(port, f"out{i}") for i in range(3)]
    for c in clients:
        c.start()
    j.rounds()
    for c in clients:
        c.ending = True
    for c in clients:
        c.join(job.LIMIT)
        j.check("a client outside hangs", not c.is_alive())
        j.check("a client outside", c.error is None, c.error)
    j.stop()
    words = j.expect("inside").split()
    for c, got in zip(clients, map(int, words[3:])):
        j.check(f"{c.key}: the server has {got}, acknowledged {c.acked}", c.acked > 0 and got == c.acked)
        j.check("a connection survived a restart", c.resets >= j.restores)
    j.done()


main()
