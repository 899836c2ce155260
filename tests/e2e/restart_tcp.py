#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server whose clients are not of the job: they are not disturbed by a checkpoint that leaves it running; after a
restart it finds them reset, or closed, as --tcp says, and they can come again; or there is no checkpoint while there
are any. Its port in use, in a network of its own, and after a minute's worth of ended connections."""
import os
import socket
import subprocess
import time

import harness
from harness import LIMIT, PYTHON, check, end, our, place, tool, until

PROGRAM = r"""
import selectors, socket, sys
def say(*a): print(*a, flush=True)
l = socket.socket()
if "reuse" in sys.argv: l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(("127.0.0.1", 0)); l.listen(50)
s = selectors.DefaultSelector(); s.register(l, selectors.EVENT_READ); n = 0
say("port", l.getsockname()[1])
while True:
    for key, _ in s.select():
        if key.fileobj is l:
            c, _ = l.accept(); s.register(c, selectors.EVENT_READ); continue
        try: d = key.fileobj.recv(100)
        except OSError as e: d = b""; say("error", type(e).__name__)
        else:
            if not d: say("end")
        if not d: s.unregister(key.fileobj); key.fileobj.close(); continue
        n += 1
        key.fileobj.send(b"%d %s" % (n, d))
        if d == b"hangup": s.unregister(key.fileobj); key.fileobj.close()
        if d == b"quit": sys.exit(5)
"""


class Job(harness.Job):
    """The server."""
    def __init__(self, top, name, *args):
        super().__init__(top, name)
        self.launch(PYTHON, os.path.join(top, "server.py"), *args)
        self.port = int(self.expect("port ").split()[1])

    def call(self, text, sock=None):
        s = sock or self.connect()
        s.sendall(text)
        return s.recv(100)

    def connect(self):
        last = time.monotonic() + LIMIT
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)
            except ConnectionRefusedError:
                if time.monotonic() > last:
                    raise
                time.sleep(0.02)

    def quit(self):
        check("goes on where it was", self.call(b"quit").endswith(b" quit"))
        check("its exit status", self.wait() == 5, self.front.returncode, self.said())


def gone(sock):
    """How the other end of a connection ended."""
    try:
        return "end" if sock.recv(100) == b"" else "data"
    except ConnectionResetError:
        return "reset"


def test_reset(top):
    job = Job(top, "reset", "reuse")
    c = job.connect()
    check("a client is served", job.call(b"one", c) == b"1 one")
    job.checkpoint("--leave-running")
    check("and served on", job.call(b"two", c) == b"2 two")
    job.checkpoint()
    check("its connection ends with the job", gone(c) in ("end", "reset"))
    job.restart()
    job.expect("error ConnectionResetError")
    check("the server was told", True)
    check("clients come again", job.call(b"three") == b"3 three")
    # A checkpoint right after a restart, and again, with connections that were ended by either side.
    for i in range(3):
        job.call(b"hangup")
        job.connect().close()
        job.checkpoint()
        job.restart()
    job.quit()


def test_close(top):
    job = Job(top, "close", "reuse")
    c = job.connect()
    job.call(b"one", c)
    status, text = job.command("--checkpoint", "--tcp=fail")
    check("no checkpoint with --tcp=fail", status == 1 and "E-OUTSIDE" in text and str(job.port) in text, status, text)
    status, text = job.command("--checkpoint", "--tcp=never")
    check("--tcp=never is wrong use", status == 2, status, text)
    check("nobody was disturbed", job.call(b"two", c) == b"2 two")
    job.checkpoint("--tcp=close")
    r = tool("ckpt_restart", "--check", "--tcp=fail", job.name)
    check("no restart with --tcp=fail", r.returncode == 1 and "E-OUTSIDE" in r.stderr, r)
    job.restart()
    job.expect("end")
    check("the server read the end", "error" not in job.said())
    job.quit()


def test_port(top):
    job = Job(top, "port")
    job.checkpoint()
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", job.port))
    taken.listen(1)
    r = tool("ckpt_restart", job.name)
    check("a port in use is named", r.returncode == 125 and "E-BUSY" in r.stderr and f":{job.port}," in r.stderr, r)
    fronts = []
    for i in range(5):
        name = f"{job.name}.{i}"
        fronts.append((name, subprocess.Popen([our("ckpt_restart"), "--namespaces=auto,net", "--name", name,
                                               os.path.join(os.environ["CKPT_DIR"], job.name, "1")],
                                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)))
    for name, front in fronts:
        until(lambda: tool("ckpt_command", "--kill", name).returncode == 0 or front.poll() is not None)
        front.wait(LIMIT)
        text = front.stderr.read()
        check("in a network of its own", front.returncode in (-9, 137), front.returncode, text)
        if "not to be had" in text:
            break
    taken.close()
    job.restart()
    job.quit()


def test_network(top):
    job = Job(top, "network")
    inside = job.connect()
    job.call(b"one", inside)        # else it may still wait to be accepted
    job.checkpoint()
    job.restart("--namespaces=auto,net")
    job.expect("error ConnectionResetError")
    try:
        socket.create_connection(("127.0.0.1", job.port)).close()
        check("it is out of reach", False)
    except ConnectionRefusedError:
        check("it is out of reach", True)
    # Such a job is given one again, unless others are asked for.
    job.checkpoint()
    job.restart("--namespaces=pid,mount,ipc,uts" if os.getuid() == 0 else
                "--namespaces=user,pid,mount,ipc,uts")
    job.quit()
    inside.close()


def may_forget():
    """Connections that have ended can be forgotten by who has CAP_NET_ADMIN."""
    with open("/proc/self/status") as f:
        caps = int(next(x for x in f if x.startswith("CapEff:")).split()[1], 16)
    return caps >> 12 & 1


def test_ended(top):
    """A listener without SO_REUSEADDR, whose server was the first to close."""
    job = Job(top, "ended")
    for _ in range(3):
        c = job.connect()
        job.call(b"hangup", c)
        check("the server hangs up", gone(c) == "end")
        c.close()
    job.checkpoint()
    job.start(our("ckpt_restart"), "--namespaces=auto", job.name)    # out of that again
    job.quit()
    check("ended connections hold nobody up", "waiting for" not in job.said(), job.said())


def main():
    with place("tcp") as top:
        with open(os.path.join(top, "server.py"), "w", encoding="utf-8") as f:
            f.write(PROGRAM)
        test_reset(top)
        test_close(top)
        test_port(top)
        test_network(top)
        if may_forget():
            test_ended(top)
    end()


main()
