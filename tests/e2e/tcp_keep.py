#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--tcp=keep: a connection whose other end is not of the job goes on after a restart, with what was unread, what was
on its way, and what the other end sent while nobody was there; by IPv4 and IPv6. A restart that fails does it no harm.
Where it cannot be kept, that is said before."""
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
LIMIT = 30.0

# Fills the connection as far as it goes, and reads nothing until it is told to.
PROGRAM = r"""
import fcntl, os, socket, sys, time
def say(*a): print(*a, flush=True)
l = socket.socket(socket.AF_INET6 if "6" in sys.argv else socket.AF_INET)
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(("::1" if "6" in sys.argv else "127.0.0.1", 0)); l.listen(5)
k = open("lock"); fcntl.flock(k, fcntl.LOCK_EX)
say("port", l.getsockname()[1])
c, _ = l.accept(); c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
c.setblocking(False); n = 0
out = bytes(i * 7 % 251 for i in range(1 << 16))
try:
    while True: n += c.send(out[n % len(out):])
except BlockingIOError: pass
say("full", n)
while not os.path.exists("go"): time.sleep(0.01)
c.setblocking(True); got = b""
while not got.endswith(b"END"): got += c.recv(100)
c.sendall(b"<" + got + b">" + (b"nodelay" if c.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) else b"?"))
while True:
    d = c.recv(100)
    if d == b"quit": sys.exit(5)
    c.sendall(d.upper())
"""

failed = 0


def check(what, cond, *more):
    global failed
    print("ok  " if cond else "FAIL", what, *([] if cond else more), flush=True)
    failed += not cond


class Job:
    def __init__(self, dir, name, *args):
        self.dir, self.name, self.out = dir, name, os.path.join(dir, "out")
        for f in "out", "lock":
            open(os.path.join(dir, f), "w").close()
        self.start("ckpt_launch", "-q", "-n", name, sys.executable, "-c", PROGRAM, *args)
        port = int(self.expect("port ").split()[1])
        self.client = socket.create_connection(("::1" if "6" in args else "127.0.0.1", port))
        self.client.settimeout(LIMIT)
        self.full = int(self.expect("full ").split()[1])

    def start(self, program, *args):
        with open(self.out, "a") as f:
            self.front = subprocess.Popen([os.path.join(BIN, program), *args], stdin=subprocess.DEVNULL, stdout=f,
                                          stderr=subprocess.STDOUT, cwd=self.dir)

    def said(self):
        with open(self.out) as f:
            return f.read()

    def expect(self, text):
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            for line in self.said().splitlines():
                if line.startswith(text):
                    return line
            time.sleep(0.02)
        raise SystemExit(f"FAIL {self.name} does not say '{text}': {self.said()}")

    def checkpoint(self, *args):
        r = subprocess.run([os.path.join(BIN, "ckpt_command"), "--checkpoint", *args, self.name],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
        return r.returncode, r.stdout + r.stderr

    def receive(self, n):
        data = b""
        while len(data) < n:
            try:
                d = self.client.recv(n - len(data))
            except OSError as e:
                print("after", len(data), "of", n, "bytes:", e, self.said())
                break
            if not d:
                break
            data += d
        return data


def rules():
    """What ckpt has left in nf_tables."""
    if not shutil.which("nft"):
        return ""
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout


def test(dir, family):
    j = Job(dir, f"keep{family}-{os.getpid()}", family)
    j.client.sendall(b"early ")
    status, text = j.checkpoint("--tcp=keep", "--leave-running")
    if "nf_tables" in text or "no TCP_REPAIR" in text:
        print("SKIP: this kernel cannot keep connections")
        j.front.kill()
        sys.exit(77)
    check("a checkpoint that leaves it running", status == 0, text)
    check("leaves no rules", "ckpt" not in rules(), rules())
    j.client.sendall(b"between ")
    status, text = j.checkpoint("--tcp=keep")
    check("a checkpoint that ends it", status == 0, text)
    check("its exit", j.front.wait(LIMIT) == 137, j.said())
    j.client.sendall(b"late ")
    with open(os.path.join(dir, "lock")) as k:
        fcntl.flock(k, fcntl.LOCK_EX)
        j.start("ckpt_restart", "-q", j.name)
        check("a restart fails", j.front.wait(LIMIT) == 125 and "E-BUSY" in j.said(), j.said())
    j.start("ckpt_restart", "-q", j.name)
    open(os.path.join(dir, "go"), "w").close()
    j.client.sendall(b"END")
    out = bytes(i * 7 % 251 for i in range(1 << 16))
    got = j.receive(j.full)
    check("what it sent arrives", got == (out * (j.full // len(out) + 1))[:j.full], len(got), j.full, j.said())
    want = b"<early between late END>nodelay"
    got = j.receive(len(want))
    check("what was sent to it has arrived", got == want, got, j.said())
    j.client.sendall(b"more")
    check("and it goes on", j.receive(4) == b"MORE")
    check("without rules", "ckpt" not in rules(), rules())
    # A second generation.
    status, text = j.checkpoint("--tcp=keep")
    check("once more", status == 0 and j.front.wait(LIMIT) == 137, text, j.said())
    j.start("ckpt_restart", "-q", j.name)
    j.client.sendall(b"again")
    check("it goes on", j.receive(5) == b"AGAIN", j.said())
    status, text = j.checkpoint("--tcp=keep")
    j.front.wait(LIMIT)
    r = subprocess.run([os.path.join(BIN, "ckpt_restart"), "--check", "--namespaces=auto,net", j.name],
                       capture_output=True, text=True)
    check("not in a network of its own", r.returncode != 0 and "E-OUTSIDE" in r.stdout + r.stderr, r)
    j.start("ckpt_restart", "-q", "--tcp=reset", j.name)
    try:
        j.client.sendall(b"x")
        time_is_up = time.monotonic() + LIMIT
        while time.monotonic() < time_is_up:
            j.client.sendall(b"x")
            time.sleep(0.05)
        check("reset", False)
    except OSError:
        check("or it is reset, as the restart says", True)
    check("its end", j.front.wait(LIMIT) == 1 and "ConnectionResetError" in j.said(), j.front.returncode, j.said())
    check("no rules are left", "ckpt" not in rules(), rules())


def refused(dir):
    """Without the capability."""
    less = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    j = Job.__new__(Job)
    j.dir, j.name, j.out = dir, f"keep-less-{os.getpid()}", os.path.join(dir, "out")
    open(j.out, "w").close()
    open(os.path.join(dir, "lock"), "w").close()
    with open(j.out, "a") as f:
        j.front = subprocess.Popen([*less, os.path.join(BIN, "ckpt_launch"), "-q", "-n", j.name, sys.executable, "-c",
                                    PROGRAM, "4"], stdin=subprocess.DEVNULL, stdout=f, stderr=f, cwd=dir)
    j.client = socket.create_connection(("127.0.0.1", int(j.expect("port ").split()[1])))
    j.client.settimeout(LIMIT)
    j.expect("full ")
    status, text = j.checkpoint("--tcp=keep")
    check("it takes a capability", status == 1 and "E-OUTSIDE" in text and "CAP_NET_ADMIN" in text, text)
    open(os.path.join(dir, "go"), "w").close()
    j.client.sendall(b"END")
    while not j.client.recv(1 << 16).endswith(b"<END>nodelay"):
        pass
    j.client.sendall(b"quit")
    check("and the job runs on", j.front.wait(LIMIT) == 5, j.said())


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)     # IFF_UP, IFF_RUNNING
        fcntl.ioctl(s, 0x8914, request)                         # SIOCSIFFLAGS


def main():
    if os.getuid():
        print("SKIP: to keep a connection takes root")
        sys.exit(77)
    if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        print("SKIP: no network of our own is to be had here")
        sys.exit(77)
    if "inside" not in sys.argv:
        r = subprocess.run(["unshare", "-n", sys.executable, os.path.abspath(__file__), "inside"])
        sys.exit(r.returncode)
    loopback_up()
    top = tempfile.mkdtemp(prefix="ckpt-keep.")
    os.chmod(top, 0o755)
    os.environ["CKPT_DIR"] = os.path.join(top, "store")
    try:
        for family in "4", "6":
            dir = os.path.join(top, family)
            os.mkdir(dir)
            test(dir, family)
        dir = os.path.join(top, "user")
        os.mkdir(dir)
        refused(dir)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    sys.exit(1 if failed else 0)


main()
