#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server on a unix socket whose clients are not of the job: they are not disturbed by a checkpoint that leaves it
running; after a restart it has read what they sent before, finds them gone, and they can come again. With --tcp=fail, or
where the job itself is the client, there is no checkpoint."""
import os
import socket
import time

import harness
from harness import LIMIT, PYTHON, check, end, our, place

SERVER = r"""
import os, selectors, socket, sys
def say(*a): print(*a, flush=True)
l = socket.socket(socket.AF_UNIX); l.bind("socket"); l.listen(50)
s = selectors.DefaultSelector(); s.register(l, selectors.EVENT_READ); n = 0
say("ready")
while True:
    for key, _ in s.select():
        if key.fileobj is l:
            while os.path.exists("wait"): pass
            c, _ = l.accept(); s.register(c, selectors.EVENT_READ); continue
        while os.path.exists("busy"): pass
        try: d = key.fileobj.recv(100)
        except OSError as e: d = b""; say("error", type(e).__name__)
        else: say("got", d.decode() or "end")
        if not d: s.unregister(key.fileobj); key.fileobj.close(); continue
        n += 1
        try: key.fileobj.send(b"%d %s" % (n, d))
        except BrokenPipeError: say("broken", d.decode())
        if d == b"quit": sys.exit(5)
"""
CLIENT = r"""
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print("connected", flush=True); s.recv(1)
"""


def gone(sock):
    """Has the other end gone?"""
    try:
        return sock.recv(9) == b""
    except ConnectionResetError:
        return True


class Job(harness.Job):
    """The server."""
    def __init__(self, top, name):
        super().__init__(top, name, os.path.join(top, name))
        self.launch(PYTHON, "-c", SERVER)
        self.expect("ready")

    def connect(self):
        s, last = socket.socket(socket.AF_UNIX), time.monotonic() + LIMIT
        s.settimeout(LIMIT)
        while True:
            try:
                s.connect(self.at("socket"))
                return s
            except (ConnectionRefusedError, FileNotFoundError):
                if time.monotonic() > last:
                    raise
                time.sleep(0.02)

    def call(self, text, sock=None):
        s = sock or self.connect()
        s.sendall(text)
        return s.recv(100)

    def flag(self, name, on):
        if on:
            open(self.at(name), "w", encoding="ascii").close()
        else:
            os.unlink(self.at(name))


def test_clients(top):
    job = Job(top, "clients")
    idle, asks = job.connect(), job.connect()
    check("a client is served", job.call(b"one", idle) == b"1 one" and job.call(b"two", asks) == b"2 two")
    job.checkpoint("--leave-running")
    check("and served on", job.call(b"three", idle) == b"3 three")
    job.flag("busy", True)
    asks.sendall(b"four")
    job.flag("wait", True)
    waits = job.connect()
    job.checkpoint()
    check("its connections end with the job", gone(idle) and gone(waits))
    job.flag("wait", False)
    job.flag("busy", False)
    job.restart()
    job.expect("got four")
    job.expect("broken four")
    check("clients can come again, and it counts on", job.call(b"five") == b"5 five", job.said())
    check("two have gone", job.said().count("got end") >= 2 and "error" not in job.said(), job.said())
    check("it ends where it was to end", job.call(b"quit") == b"6 quit" and job.wait() == 5, job.said())


def test_refused(top):
    job = Job(top, "refused")
    idle = job.connect()
    check("a client is served", job.call(b"one", idle) == b"1 one")
    r = harness.tool("ckpt_command", "--checkpoint", "--tcp=fail", job.name)
    check("--tcp=fail: no checkpoint", r.returncode == 1 and "E-OUTSIDE" in r.stderr, r.stderr)
    other = harness.Job(top, "other")
    other.launch(PYTHON, "-c", CLIENT, job.at("socket"))
    other.expect("connected")
    r = harness.tool("ckpt_command", "--checkpoint", other.name)
    check("nor of a client", r.returncode == 1 and "E-OUTSIDE" in r.stderr, r.stderr)
    check("both go on", job.call(b"two", idle) == b"2 two")
    harness.tool("ckpt_command", "--kill", other.name)
    other.wait()
    check("it ends where it was to end", job.call(b"quit") == b"3 quit" and job.wait() == 5, job.said())


with place("unix") as place_top:
    test_clients(place_top)
    test_refused(place_top)
end()
