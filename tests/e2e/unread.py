#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a program has not read and nobody could put back: a checkpoint waits for the program to read it. If it does not, an
answer that it waits for (netlink) or events (inotify) are a reason to refuse, by name; packets that may be lost at any time
are a warning. And whoever reads late is asked late."""
import os
import sys

import harness
from harness import PYTHON, check, end, place

PROGRAM = r"""
import ctypes, os, select, socket, struct, sys, time
libc = ctypes.CDLL(None)
kind, when = sys.argv[1:]

def events():
    fd = libc.inotify_init1(os.O_CLOEXEC)
    libc.inotify_add_watch(fd, b".", 0x100)
    return fd, lambda n: open(f"file.{n}", "w").close()

def answers():
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    ask = struct.pack("=IHHIIB3x12x", 32, 18, 0x301, 1, 0, 0)   # RTM_GETLINK, all of them
    return s, lambda n: s.send(ask)

def news():
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 2)    # NETLINK_USERSOCK, of which root may tell a group
    s.bind((0, 1 << 4))
    other = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 2)
    def tell(n):
        try:
            other.sendto(b"\x14\0\0\0" + bytes(12) + b"news", (0, 1 << 4))
        except ConnectionRefusedError:      # by the kernel, to which it is told, too
            pass
    return s, tell

def packets():
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
    return s, lambda n: s.sendto(struct.pack("!BBHHH", 8, 0, 0xf7fe, 0, 1), ("127.0.0.1", 0))

where, make = globals()[kind]()
taken = 0

def take():
    global taken
    while select.select([where], [], [], 0)[0]:
        taken += len(os.read(where if isinstance(where, int) else where.fileno(), 1 << 16)) > 0

make(0)
select.select([where], [], [])
print("ready", flush=True)
n = 0
while not os.path.exists("stop"):
    n += 1
    if when == "never":
        time.sleep(0.05)
        continue
    make(n)
    time.sleep(0.03)    # with something unread
    take()
    time.sleep(0.01)
if when == "late":
    take()
print("taken", taken > 0, flush=True)
"""


def launch(top, kind, when):
    job = harness.Job(top, f"{kind}.{when}", os.path.join(top, f"{kind}.{when}"))
    job.launch(PYTHON, "-c", PROGRAM, kind, when)
    job.expect("ready")
    return job


def finish(job, taken):
    open(job.at("stop"), "w", encoding="ascii").close()
    job.expect("taken")
    check(f"{job.name} ends as it should", job.wait() == 0 and f"taken {taken}" in job.said(), job.said())


def restored(job):
    def is_running():
        status, text = job.command("--status")
        return status == 0 and "running" in text
    job.restart()
    job.until("the restored job", is_running)


def late(top, kind):
    """There is nothing unread for a moment only, again and again."""
    job = launch(top, kind, "late")
    for options in ["--leave-running"], ["--leave-running"], []:
        job.checkpoint(*options)
    restored(job)
    job.checkpoint("--leave-running")
    finish(job, True)


def never(top, kind, what):
    job = launch(top, kind, "never")
    status, text = job.command("--checkpoint")
    check(f"{kind} that nobody reads are a reason", status == 1 and what in text and "E-UNSUPPORTED-FD" in text, status, text)
    finish(job, False)


def lost(top, kind):
    job = launch(top, kind, "never")
    status, text = job.command("--checkpoint")
    check(f"{kind} that nobody reads are warned of", status == 0 and "lost at a restart" in text, status, text)
    job.wait()
    restored(job)
    finish(job, False)


def main():
    with place("unread") as top:
        for kind in "events", "answers":
            late(top, kind)
        never(top, "events", "events that the program has not read")
        never(top, "answers", "an answer of the kernel")
        if os.getuid() == 0:
            lost(top, "news")
            lost(top, "packets")
    end()


if __name__ == "__main__":
    sys.exit(main())
