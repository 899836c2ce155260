#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server whose clients are not of the job: they are not disturbed by a checkpoint that leaves it running; after a
restart it finds them reset, or closed, as --tcp says, and they can come again; or there is no checkpoint while there
are any. Its port in use, in a network of its own, and after a minute's worth of ended connections."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
LIMIT = 30.0
PREFIX = f"tcp-{os.getpid()}-"

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

failed = 0


def check(what, cond, *more):
    global failed
    print("ok  " if cond else "FAIL", what, *([] if cond else more), flush=True)
    failed += not cond


class Job:
    """The server, under ckpt_launch or ckpt_restart; what it says is in a file."""
    def __init__(self, dir, name, *args):
        self.dir, self.name = dir, name
        self.out = os.path.join(dir, name + ".out")
        open(self.out, "w").close()
        self.start("ckpt_launch", "-q", "-n", name, sys.executable, os.path.join(dir, "server.py"), *args)
        self.port = int(self.expect("port ").split()[1])

    def start(self, program, *args):
        with open(self.out, "a") as f:
            self.front = subprocess.Popen([os.path.join(BIN, program), *args], stdin=subprocess.DEVNULL, stdout=f,
                                          stderr=subprocess.STDOUT, cwd=self.dir)

    def said(self):
        with open(self.out) as f:
            return f.read()

    def expect(self, text):
        """The line that begins so."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            for line in self.said().splitlines():
                if line.startswith(text):
                    return line
            time.sleep(0.02)
        raise SystemExit(f"{self.name} does not say '{text}': {self.said()}")

    def command(self, *args):
        r = subprocess.run([os.path.join(BIN, "ckpt_command"), *args, self.name], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=LIMIT)
        return r.returncode, r.stdout + r.stderr

    def checkpoint(self, *args):
        status, text = self.command("--checkpoint", *args)
        check(f"checkpoint {' '.join(args)}", status == 0, text)
        if "--leave-running" not in args:
            self.front.wait(LIMIT)

    def call(self, text, sock=None):
        s = sock or self.connect()
        s.sendall(text)
        return s.recv(100)

    def connect(self):
        end = time.monotonic() + LIMIT
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def quit(self):
        check("goes on where it was", self.call(b"quit").endswith(b" quit"))
        check("its exit status", self.front.wait(LIMIT) == 5, self.front.returncode, self.said())


def gone(sock):
    """How the other end of a connection ended."""
    try:
        return "end" if sock.recv(100) == b"" else "data"
    except ConnectionResetError:
        return "reset"


def test_reset(dir):
    job = Job(dir, PREFIX + "reset", "reuse")
    c = job.connect()
    check("a client is served", job.call(b"one", c) == b"1 one")
    job.checkpoint("--leave-running")
    check("and served on", job.call(b"two", c) == b"2 two")
    job.checkpoint()
    check("its connection ends with the job", gone(c) in ("end", "reset"))
    job.start("ckpt_restart", job.name)
    job.expect("error ConnectionResetError")
    check("the server was told", True)
    check("clients come again", job.call(b"three") == b"3 three")
    # A checkpoint right after a restart, and again, with connections that were ended by either side.
    for i in range(3):
        job.call(b"hangup")
        job.connect().close()
        job.checkpoint()
        job.start("ckpt_restart", job.name)
    job.quit()


def test_close(dir):
    job = Job(dir, PREFIX + "close", "reuse")
    c = job.connect()
    job.call(b"one", c)
    status, text = job.command("--checkpoint", "--tcp=fail")
    check("no checkpoint with --tcp=fail", status == 1 and "E-OUTSIDE" in text and str(job.port) in text, status, text)
    status, text = job.command("--checkpoint", "--tcp=never")
    check("--tcp=never is wrong use", status == 2, status, text)
    check("nobody was disturbed", job.call(b"two", c) == b"2 two")
    job.checkpoint("--tcp=close")
    r = subprocess.run([os.path.join(BIN, "ckpt_restart"), "--check", "--tcp=fail", job.name], capture_output=True, text=True)
    check("no restart with --tcp=fail", r.returncode == 1 and "E-OUTSIDE" in r.stderr, r)
    job.start("ckpt_restart", job.name)
    job.expect("end")
    check("the server read the end", "error" not in job.said())
    job.quit()


def test_port(dir):
    job = Job(dir, PREFIX + "port")
    job.checkpoint()
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", job.port))
    taken.listen(1)
    r = subprocess.run([os.path.join(BIN, "ckpt_restart"), job.name], capture_output=True, text=True, timeout=LIMIT)
    check("a port in use is named", r.returncode == 125 and "E-BUSY" in r.stderr and f":{job.port}," in r.stderr, r)
    fronts = []
    for i in range(5):
        name = f"{job.name}.{i}"
        fronts.append((name, subprocess.Popen([os.path.join(BIN, "ckpt_restart"), "--namespaces=auto,net", "--name", name,
                                               os.path.join(os.environ["CKPT_DIR"], job.name, "1")],
                                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)))
    for name, front in fronts:
        end = time.monotonic() + LIMIT
        while subprocess.run([os.path.join(BIN, "ckpt_command"), "--kill", name], capture_output=True).returncode != 0:
            if front.poll() is not None or time.monotonic() > end:
                break
            time.sleep(0.05)
        front.wait(LIMIT)
        text = front.stderr.read()
        check("in a network of its own", front.returncode in (-9, 137), front.returncode, text)
        if "not to be had" in text:
            break
    taken.close()
    job.start("ckpt_restart", job.name)
    job.quit()


def test_network(dir):
    job = Job(dir, PREFIX + "network")
    inside = job.connect()
    job.call(b"one", inside)        # else it may still wait to be accepted
    job.checkpoint()
    job.start("ckpt_restart", "--namespaces=auto,net", job.name)
    job.expect("error ConnectionResetError")
    try:
        socket.create_connection(("127.0.0.1", job.port)).close()
        check("it is out of reach", False)
    except ConnectionRefusedError:
        check("it is out of reach", True)
    # Such a job is given one again, unless others are asked for.
    job.checkpoint()
    job.start("ckpt_restart", "--namespaces=pid,mount,ipc,uts" if os.getuid() == 0 else
              "--namespaces=user,pid,mount,ipc,uts", job.name)
    job.quit()
    inside.close()


def may_forget():
    """Connections that have ended can be forgotten by who has CAP_NET_ADMIN."""
    with open("/proc/self/status") as f:
        caps = int(next(x for x in f if x.startswith("CapEff:")).split()[1], 16)
    return caps >> 12 & 1


def test_ended(dir):
    """A listener without SO_REUSEADDR, whose server was the first to close."""
    job = Job(dir, PREFIX + "ended")
    for _ in range(3):
        c = job.connect()
        job.call(b"hangup", c)
        check("the server hangs up", gone(c) == "end")
        c.close()
    job.checkpoint()
    job.start("ckpt_restart", "--namespaces=auto", job.name)    # out of that again
    job.quit()
    check("ended connections hold nobody up", "waiting for" not in job.said(), job.said())


def main():
    if not os.path.exists(os.path.join(BIN, "ckpt_restart")):
        print(f"there is no {BIN}/ckpt_restart")
        return 77
    dir = tempfile.mkdtemp(prefix="ckpt-tcp.")
    os.environ["CKPT_DIR"] = os.path.join(dir, "store")
    with open(os.path.join(dir, "server.py"), "w") as f:
        f.write(PROGRAM)
    try:
        test_reset(dir)
        test_close(dir)
        test_port(dir)
        test_network(dir)
        if may_forget():
            test_ended(dir)
    finally:
        for name in "reset", "close", "port", "network", "ended":
            subprocess.run([os.path.join(BIN, "ckpt_command"), "--kill", PREFIX + name], capture_output=True)
        shutil.rmtree(dir)
    return failed != 0


sys.exit(main())
