#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint leaves behind that fails, or whose process is killed: who was stopped (SIGSTOP, ^Z), and had to
go on to be looked at, is stopped again. And who connects to it and says nothing does not keep the job waiting."""
import os
import socket
import subprocess
import threading
import time

import harness
from harness import LIMIT, check, end, place, run_dir, skip, tool, until

APART = os.path.join(os.environ.get("E2E_PROGRAMS", harness.our("tests/e2e")), "apart")


def state(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rpartition(")")[2].split()[0]


def has_handler(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        name, caught = f.readline(), 0
        for line in f:
            if line.startswith("SigCgt:"):
                caught = int(line.split()[1], 16)
    return name.split()[1] == "sleep" and caught >> 32 & 1


class Job(harness.Job):
    """A shell, a process that it stopped, and one that is the last to be looked at."""
    def __init__(self, top, name, kind):
        super().__init__(top, name, os.path.join(top, name))
        self.env = dict(os.environ, CKPT_FAULT=os.path.join(top, "fault"))
        self.launch("sh", "-c", 'sleep 1000 & echo $! >pid.new; mv pid.new pid; until [ -e begun ]; do sleep 0.02; done; '
                    'kill -STOP $(cat pid); "$0" "$1"; kill -9 "$(cat pid)"', APART, kind)
        self.until("the process", lambda: os.path.exists(self.at("pid")))
        with open(self.at("pid"), encoding="ascii") as f:
            self.stopped = int(f.read())
        # Stopped before it has the library, it would be refused.
        until(lambda: has_handler(self.stopped))
        open(self.at("begun"), "w", encoding="ascii").close()
        self.until("the job's start", lambda: os.path.exists(self.at("ready")))
        until(lambda: state(self.stopped) == "T")

    def try_checkpoint(self):
        return tool("ckpt_command", "--checkpoint", "--leave-running", self.name, timeout=LIMIT)

    def end(self):
        open(self.at("stop"), "w", encoding="ascii").close()
        check("the job of %s goes on" % self.name, self.wait() == 0, self.front.returncode)


def stays_stopped(job, what):
    check("it is stopped after " + what, until(lambda: state(job.stopped) == "T", 10), state(job.stopped))


def refused(top):
    job = Job(top, "refused", "shared-files")
    done = job.try_checkpoint()
    check("what cannot be saved is refused", done.returncode == 1 and "shares its descriptors" in done.stderr, done.stderr)
    stays_stopped(job, "a refusal")
    job.end()


def killed(top):
    job = Job(top, "killed", "sleep")
    for point in "snapshot", "refuse", "save", "wait":
        with open(os.path.join(top, "fault"), "w") as f:
            f.write(point + ":kill")
        check("it is killed at " + point, job.try_checkpoint().returncode == 1)
        stays_stopped(job, "a death at " + point)
    os.unlink(os.path.join(top, "fault"))
    done = job.try_checkpoint()
    check("the next one works", done.returncode == 0, done.stderr)
    stays_stopped(job, "one that worked")
    job.end()


def silent(top):
    """The round waits for the end of a vfork() of some seconds: long enough to find it."""
    job = Job(top, "silent", "vfork")
    over, found = threading.Event(), []

    def connect():
        while not over.is_set() and len(found) < 2:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(os.path.join(run_dir(job.name), "round"))
                if found:
                    s.send(b"nothing that makes sense, and of any length")
                found.append(s)
            except OSError:
                s.close()
                time.sleep(0.001)

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        done = job.try_checkpoint()
        check("who says nothing is turned away", done.returncode == 0 and len(found) == 2, done.stderr, found)
    except subprocess.TimeoutExpired:
        check("who says nothing is turned away", False)
    over.set()
    thread.join()
    for s in found:
        s.close()
    job.end()


def main():
    if not os.path.exists(APART):
        skip("there is no apart")
    with place("left") as top:
        for test in refused, killed, silent:
            test(top)
    end()


main()
