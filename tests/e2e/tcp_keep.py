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
import time

import harness
from harness import LIMIT, PYTHON, check, end, place, skip, tool

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


class Job(harness.Job):
    """The program, and its client, which is not of the job. @under: see launch()."""
    def __init__(self, top, name, family="4", under=()):
        super().__init__(top, name, os.path.join(top, name))
        open(self.at("lock"), "w", encoding="utf-8").close()
        self.launch(PYTHON, "-c", PROGRAM, family, under=under)
        port = int(self.expect("port ").split()[1])
        self.client = socket.create_connection(("::1" if family == "6" else "127.0.0.1", port))
        self.client.settimeout(LIMIT)
        self.full = int(self.expect("full ").split()[1])

    def go(self):
        open(self.at("go"), "w", encoding="utf-8").close()

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


def test(top, family):
    j = Job(top, "by" + family, family)
    j.client.sendall(b"early ")
    status, text = j.command("--checkpoint", "--tcp=keep", "--leave-running")
    if "nf_tables" in text or "no TCP_REPAIR" in text:
        skip("this kernel cannot keep connections")
    check("a checkpoint that leaves it running", status == 0, text)
    check("leaves no rules", "ckpt" not in rules(), rules())
    j.client.sendall(b"between ")
    status, text = j.command("--checkpoint", "--tcp=keep")
    check("a checkpoint that ends it", status == 0, text)
    check("its exit", j.wait() == 137, j.said())
    j.client.sendall(b"late ")
    with open(j.at("lock"), encoding="utf-8") as k:
        fcntl.flock(k, fcntl.LOCK_EX)
        j.restart()
        check("a restart fails", j.wait() == 125 and "E-BUSY" in j.said(), j.said())
    j.restart()
    j.go()
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
    status, text = j.command("--checkpoint", "--tcp=keep")
    check("once more", status == 0 and j.wait() == 137, text, j.said())
    j.restart()
    j.client.sendall(b"again")
    check("it goes on", j.receive(5) == b"AGAIN", j.said())
    status, text = j.command("--checkpoint", "--tcp=keep")
    j.wait()
    r = tool("ckpt_restart", "--check", "--namespaces=auto,net", j.name)
    check("not in a network of its own", r.returncode != 0 and "E-OUTSIDE" in r.stdout + r.stderr, r)
    j.restart("--tcp=reset")
    try:
        j.client.sendall(b"x")
        time_is_up = time.monotonic() + LIMIT
        while time.monotonic() < time_is_up:
            j.client.sendall(b"x")
            time.sleep(0.05)
        check("reset", False)
    except OSError:
        check("or it is reset, as the restart says", True)
    check("its end", j.wait() == 1 and "ConnectionResetError" in j.said(), j.front.returncode, j.said())
    check("no rules are left", "ckpt" not in rules(), rules())


def refused(top):
    """Without the capability."""
    j = Job(top, "less", under=["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"])
    status, text = j.command("--checkpoint", "--tcp=keep")
    check("it takes a capability", status == 1 and "E-OUTSIDE" in text and "CAP_NET_ADMIN" in text, text)
    j.go()
    j.client.sendall(b"END")
    while not j.client.recv(1 << 16).endswith(b"<END>nodelay"):
        pass
    j.client.sendall(b"quit")
    check("and the job runs on", j.wait() == 5, j.said())


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)     # IFF_UP, IFF_RUNNING
        fcntl.ioctl(s, 0x8914, request)                         # SIOCSIFFLAGS


def main():
    if os.getuid():
        skip("to keep a connection takes root")
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        skip("no network of our own is to be had here")
    if "inside" not in sys.argv:
        sys.exit(subprocess.run(["unshare", "-n", sys.executable, os.path.abspath(__file__), "inside"], check=False).returncode)
    loopback_up()
    with place("keep") as top:
        for family in "4", "6":
            test(top, family)
        refused(top)
    end()


main()
