#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that are asked for permission by fanotify: who decides about all of a mount is refused; who decides about a
file that the checkpoint needs makes it fail, and keeps it waiting for ever no more than anybody else. And where it is not
root who restores, a program that had root's fanotify is refused."""
import os
import sys

import harness
from harness import PYTHON, check, end, place, skip, tool

PROGRAM = r"""
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
PERMIT, ADD, MOUNT, OPEN_PERM, OPEN = 4, 1, 0x10, 0x10000, 0x20
how, path = sys.argv[1:]
data = open(path)
fd = libc.fanotify_init(1 | (0 if how == "notify" else PERMIT), os.O_RDONLY | os.O_CLOEXEC)
if fd < 0 or libc.fanotify_mark(fd, ADD | (MOUNT if how == "mount" else 0),
                                ctypes.c_uint64(OPEN if how == "notify" else OPEN_PERM), -100, path.encode()) < 0:
    print("none:", os.strerror(ctypes.get_errno()), flush=True)
    sys.exit(0)
print("ready", flush=True)
while True:
    events = os.read(fd, 4096)
    while events:
        size, _, _, _, mask, event, _ = struct.unpack("=IBBHQii", events[:24])
        if mask & OPEN_PERM:
            os.write(fd, struct.pack("=iI", event, 1))
        os.close(event)
        events = events[size:]
"""


def launch(top, name, how, options=()):
    job = harness.Job(top, name, os.path.join(top, name))
    with open(job.at("data"), "w", encoding="ascii") as f:
        f.write("what is guarded\n")
    path = job.at("data")
    if how == "mount":		# of nothing that anybody else needs
        path = "/dev/shm/" + os.path.basename(top)
        with open(path, "w", encoding="ascii"):
            pass
    job.launch(PYTHON, "-c", PROGRAM, how, path, options=options)
    job.until("the job's start", lambda: "ready" in job.said() or "none" in job.said())
    if "none" in job.said():
        skip(job.said())
    return job


def refused(job, what, *options):
    done = tool("ckpt_command", "--checkpoint", *options, job.name)
    check(f"{what} is refused", done.returncode == 1 and "fanotify" in done.stderr and "E-UNSUPPORTED-FD" in done.stderr,
          done.returncode, done.stderr)
    with open(job.at("data"), encoding="ascii") as f:	# it answers
        check(f"{what} goes on", job.front.poll() is None and f.read() == "what is guarded\n", job.said())
    tool("ckpt_command", "--kill", job.name)


def without_rights(top):
    job = launch(top, "rights", "notify")
    job.checkpoint()
    for options in ["--check"], []:
        done = tool("ckpt_restart", "--namespaces=user,pid,mount,ipc,uts", *options, job.name)
        check(f"a restart{''.join(options)} without rights is refused",
              done.returncode != 0 and "E-ACCESS" in done.stdout + done.stderr and "fanotify" in done.stdout + done.stderr,
              done.returncode, done.stdout, done.stderr)
    done = tool("ckpt_restart", "--check", job.name)
    check("with them it is not", done.returncode == 0, done.stdout, done.stderr)


def main():
    if os.getuid():
        skip("only root may be asked for permission by fanotify")
    with place("fanotify") as top:
        without_rights(top)
        try:
            refused(launch(top, "mount", "mount"), "who decides about a mount")
        finally:
            os.unlink("/dev/shm/" + os.path.basename(top))
        refused(launch(top, "file", "file"), "who decides about a file that is to be stored", "--save-files=open")
    end()


if __name__ == "__main__":
    sys.exit(main())
