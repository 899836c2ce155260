#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A job that had a terminal has one again after ckpt_restart: keys, ^C, ^Z and fg, window size, sessions
and foreground group, raw mode of the user's terminal and its end; and what happens where there is none."""
import fcntl
import os
import pty
import re
import select
import signal
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
LIMIT = 20.0

PROGRAM = r"""
import fcntl, os, select, signal, struct, sys, termios
def size():
    return struct.unpack("HHHH", fcntl.ioctl(TTY, termios.TIOCGWINSZ, b"\0" * 8))[:2]
def say(*a): os.write(1, (" ".join(map(str, a)) + "\n").encode())     # print() may not be interrupted by itself
TTY = os.open("/dev/tty", os.O_RDWR)
signal.signal(signal.SIGINT, lambda *a: say("got INT"))
signal.signal(signal.SIGCONT, lambda *a: say("got CONT"))
signal.signal(signal.SIGWINCH, lambda *a: say("size %d %d" % size()))
say("ready", os.getpid(), os.getppid(), os.getpgrp(), os.getsid(0), os.tcgetpgrp(TTY))
while True:
    while not select.select([0], [], [], 0.05)[0]:
        pass    # a handler that was due before the call would wait for a key otherwise
    line = sys.stdin.readline()
    if not line:
        say("end of file")
        sys.exit(6)
    line = line.strip()
    if line == "who":
        again = os.open("/dev/tty", os.O_RDWR)
        say("is", os.getpid(), os.getppid(), os.getpgrp(), os.getsid(0), os.tcgetpgrp(again), os.isatty(0), os.isatty(1))
        os.close(again)
    elif line == "quit":
        sys.exit(5)
    else:
        say("line", line)
"""

failed = 0


def check(what, cond, *more):
    global failed
    print("ok  " if cond else "FAIL", what, *([] if cond else more), flush=True)
    failed += not cond


class Terminal:
    """A program on a terminal of its own, whose session it leads."""
    def __init__(self, *argv, rows=33, cols=99):
        self.buf = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
            os.execvp(argv[0], argv)

    def expect(self, what, pattern):
        """Everything up to the pattern, as a match."""
        end = time.monotonic() + LIMIT
        while True:
            m = re.search(pattern.encode(), self.buf)
            if m:
                self.buf = self.buf[m.end():]
                check(what, True)
                return m
            more = b""
            if time.monotonic() < end:
                if not select.select([self.fd], [], [], 0.1)[0]:
                    continue
                try:
                    more = os.read(self.fd, 4096)
                except OSError:
                    pass
            if not more:
                check(what, False, "want", pattern, "have", self.buf)
                finish()
            self.buf += more

    def send(self, text):
        os.write(self.fd, text.encode())

    def resize(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def canonical(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ICANON)

    def wait_raw(self, raw=True):
        end = time.monotonic() + LIMIT
        while self.canonical() == raw and time.monotonic() < end:
            time.sleep(0.01)
        return self.canonical() != raw

    def end(self):
        """Exit status, as a shell has it."""
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    os.read(self.fd, 4096)
                except OSError:
                    time.sleep(0.05)


def checkpoint(job):
    r = subprocess.run([BIN + "/ckpt_command", "--checkpoint", job], stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=60)
    check("checkpoint of " + job, r.returncode == 0, r.stderr)


def finish():
    # Whatever of a failed test still runs.
    for job in jobs:
        subprocess.run([BIN + "/ckpt_command", "--kill", job], capture_output=True)
    shutil.rmtree(top, ignore_errors=True)
    sys.exit(1 if failed else 0)


def direct():
    job = jobs[0]
    t = Terminal(BIN + "/ckpt_launch", "-n", job, sys.executable, top + "/program.py")
    ids = t.expect("launched on a terminal", r"ready ([\d ]+)\r").group(1)
    checkpoint(job)
    t.end()
    t = Terminal(BIN + "/ckpt_restart", job, rows=44, cols=111)
    check("the user's terminal is raw", t.wait_raw())
    t.send("hello\n")
    t.expect("keys reach it", "line hello")
    t.send("who\n")
    is_now = t.expect("asked who it is", r"is ([\d ]+) True True\r").group(1)
    check("ids, session, groups as before", is_now == ids, is_now, ids)
    t.resize(20, 50)
    t.expect("the window's size", "size 20 50")
    t.send("\x03")
    t.expect("^C", "got INT")
    os.kill(t.pid, signal.SIGINT)
    t.expect("a signal to ckpt_restart", "got INT")
    checkpoint(job)
    check("ended by a checkpoint: 137", t.end() == 137)


def under_shell():
    job = jobs[0]
    t = Terminal("bash", "--norc", "-i")
    t.send("PS1='pro''mpt> '; bind 'set enable-bracketed-paste off'\n")
    t.expect("a shell", r"[\r\n]prompt> ")
    t.send(BIN + "/ckpt_restart " + job + "\n")
    check("raw in the foreground", t.wait_raw())
    t.send("one\n")
    t.expect("restored under a shell", "line one")
    t.send("\x1a")
    t.expect("^Z stops ckpt_restart for the shell", "Stopped")
    t.expect("the shell's prompt", "prompt> ")
    t.send("stty -a\n")
    t.expect("the terminal is as it was", "[^-]icanon")
    t.send("fg\n")
    t.expect("fg continues it", "got CONT")
    check("raw again", t.wait_raw())
    t.send("two\n")
    t.expect("it reads again", "line two")
    t.send("\x1a")
    t.expect("stopped again", "Stopped")
    t.send("bg\n")
    t.expect("bg continues it", "got CONT")
    t.send("echo $((6 * 7))\n")
    t.expect("the shell has the terminal", "42")
    t.send("fg\n")
    check("raw after fg of a running job", t.wait_raw())
    t.send("three\n")
    t.expect("it has the terminal", "line three")
    t.send("quit\n")
    t.expect("it ended", "prompt> ")
    t.send("echo status $?\n")
    t.expect("its exit status", "status 5")
    t.send("exit\n")
    t.end()


def from_shell():
    """The session's leader was a shell: somebody must stand in for it."""
    job = jobs[1]
    t = Terminal("bash", "--norc", "-i")
    t.send("%s/ckpt_launch -n %s %s %s/program.py\n" % (BIN, job, sys.executable, top))
    ids = t.expect("launched by a shell", r"ready ([\d ]+)\r").group(1)
    checkpoint(job)
    t.send("exit\n")
    t.end()
    t = Terminal(BIN + "/ckpt_restart", job)
    t.wait_raw()
    t.send("who\n")
    is_now = t.expect("restored", r"is ([\d ]+) True True\r").group(1)
    check("ids, session, groups as before", is_now == ids, is_now, ids)
    t.send("\x04")
    t.expect("^D", "end of file")
    check("exit status", t.end() == 6)


def without_terminal():
    job = jobs[1]
    r = subprocess.run([BIN + "/ckpt_restart", job], input=b"who\nx\n", capture_output=True, timeout=60)
    check("pipes for the terminal: streams", b"line x" in r.stdout and r.returncode == 6, r)
    check("pipes for the terminal: /dev/tty is still there", b" False False" in r.stdout, r)
    r = subprocess.run([BIN + "/ckpt_restart", "--detach", job], stdin=subprocess.DEVNULL,
                       capture_output=True, timeout=60)
    check("--detach prints the name and holds no pipe", r.stdout.decode() == job + "\n", r)
    checkpoint(job)
    t = Terminal(BIN + "/ckpt_restart", job)
    t.wait_raw()
    t.send("who\n")
    t.expect("on a terminal after --detach", r"is [\d ]+ True True\r")
    t.send("quit\n")
    check("exit status", t.end() == 5)


if not os.access(BIN + "/ckpt_restart", os.X_OK):
    print("there is no", BIN + "/ckpt_restart")
    sys.exit(77)
for number in map(int, os.listdir("/proc/self/fd")):
    if number > 2:
        try:
            os.close(number)
        except OSError:
            pass
top = tempfile.mkdtemp(prefix="ckpt-restart-tty.")
jobs = [os.path.basename(top) + ".1", os.path.basename(top) + ".2"]
os.environ["CKPT_DIR"] = top + "/store"
with open(top + "/program.py", "w") as f:
    f.write(PROGRAM)
os.chdir("/")
for part in (direct, under_shell, from_shell, without_terminal):
    print("--", part.__name__)
    part()
finish()
