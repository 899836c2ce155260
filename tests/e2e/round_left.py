#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint leaves behind that fails, or whose process is killed: who was stopped (SIGSTOP, ^Z), and had to
go on to be looked at, is stopped again. And who connects to it and says nothing does not keep the job waiting."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
APART = os.path.join(os.environ.get("E2E_PROGRAMS", os.path.join(BIN, "tests/e2e")), "apart")
LIMIT = 60.0
failed = 0


def check(what, cond, *more):
    global failed
    print("ok  " if cond else "FAIL", what, *([] if cond else more), flush=True)
    failed += not cond


def until(cond, limit=LIMIT):
    end = time.monotonic() + limit
    while not cond():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def state(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rpartition(")")[2].split()[0]


class Job:
    """A shell, a process that it stopped, and one that is the last to be looked at."""

    def __init__(self, dir, name, kind):
        self.dir, self.name = os.path.join(dir, name), "left.%s.%d" % (name, os.getpid())
        os.mkdir(self.dir)
        script = 'sleep 1000 & kill -STOP $!; echo $! >pid; "$0" "$1"; kill -9 "$(cat pid)"'
        self.front = subprocess.Popen(
            [BIN + "/ckpt_launch", "-q", "-n", self.name, "sh", "-c", script, APART, kind], cwd=self.dir,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            env=dict(os.environ, CKPT_DIR=dir + "/store", CKPT_FAULT=dir + "/fault"))
        if not until(lambda: os.path.exists(self.dir + "/ready")):
            sys.exit("the job does not start")
        self.stopped = int(open(self.dir + "/pid").read())
        until(lambda: state(self.stopped) == "T")

    def checkpoint(self):
        return subprocess.run([BIN + "/ckpt_command", "--checkpoint", "--leave-running", self.name],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              timeout=LIMIT, env=dict(os.environ, CKPT_DIR=os.path.dirname(self.dir) + "/store"))

    def end(self):
        open(self.dir + "/stop", "w").close()
        check("the job of %s goes on" % self.name, self.front.wait(LIMIT) == 0, self.front.returncode)

    def socket(self):
        run = "/run/ckpt" if os.getuid() == 0 else "/tmp/ckpt-%d" % os.getuid()
        return "%s/%s/round" % (run, self.name)


def stays_stopped(job, what):
    check("it is stopped after " + what, until(lambda: state(job.stopped) == "T", 10), state(job.stopped))


def refused(dir):
    job = Job(dir, "refused", "seccomp")
    done = job.checkpoint()
    check("what cannot be saved is refused", done.returncode == 1 and "seccomp filters" in done.stderr, done.stderr)
    stays_stopped(job, "a refusal")
    job.end()


def killed(dir):
    job = Job(dir, "killed", "sleep")
    for point in "snapshot", "refuse", "save", "wait":
        with open(dir + "/fault", "w") as f:
            f.write(point + ":kill")
        check("it is killed at " + point, job.checkpoint().returncode == 1)
        stays_stopped(job, "a death at " + point)
    os.unlink(dir + "/fault")
    done = job.checkpoint()
    check("the next one works", done.returncode == 0, done.stderr)
    stays_stopped(job, "one that worked")
    job.end()


def silent(dir):
    """The round waits for the end of a vfork() of some seconds: long enough to find it."""
    job = Job(dir, "silent", "vfork")
    over, found = threading.Event(), []

    def connect():
        while not over.is_set() and len(found) < 2:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(job.socket())
                if found:
                    s.send(b"nothing that makes sense, and of any length")
                found.append(s)
            except OSError:
                s.close()
                time.sleep(0.001)

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        done = job.checkpoint()
        check("who says nothing is turned away", done.returncode == 0 and len(found) == 2, done.stderr, found)
    except subprocess.TimeoutExpired:
        check("who says nothing is turned away", False)
    over.set()
    thread.join()
    for s in found:
        s.close()
    job.end()


def main():
    if not os.path.exists(BIN + "/ckpt_launch") or not os.path.exists(APART):
        print("there is no ckpt_launch, or no apart")
        return 77
    dir = tempfile.mkdtemp(prefix="ckpt-left.")
    try:
        for test in refused, killed, silent:
            test(dir)
    finally:
        for name in "refused", "killed", "silent":
            subprocess.run([BIN + "/ckpt_command", "-q", "--kill", "left.%s.%d" % (name, os.getpid())],
                           stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(dir)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
