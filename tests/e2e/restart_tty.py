#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A job that had a terminal has one again after ckpt_restart: keys, ^C, ^Z and fg, window size, sessions
and foreground group, raw mode of the user's terminal and its end; and what happens where there is none."""
import os
import signal
import subprocess

from harness import PYTHON, check, end, our, place, tool
from terminal import Terminal

RESTART = our("ckpt_restart")
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


def checkpoint(job):
    r = tool("ckpt_command", "--checkpoint", job)
    check("checkpoint of " + job, r.returncode == 0, r.stderr)


def direct():
    job = jobs[0]
    t = Terminal(our("ckpt_launch"), "-n", job, PYTHON, program)
    ids = t.expect("launched on a terminal", r"ready ([\d ]+)\r").group(1)
    checkpoint(job)
    t.ended()
    t = Terminal(RESTART, job, rows=44, columns=111)
    check("the user's terminal is raw", t.goes_raw())
    t.type("hello\n")
    t.expect("keys reach it", "line hello")
    t.type("who\n")
    is_now = t.expect("asked who it is", r"is ([\d ]+) True True\r").group(1)
    check("ids, session, groups as before", is_now == ids, is_now, ids)
    t.resize(20, 50)
    t.expect("the window's size", "size 20 50")
    t.type("\x03")
    t.expect("^C", "got INT")
    os.kill(t.pid, signal.SIGINT)
    t.expect("a signal to ckpt_restart", "got INT")
    checkpoint(job)
    check("ended by a checkpoint: 137", t.ended() == 137)


def under_shell():
    job = jobs[0]
    t = Terminal("bash", "--norc", "-i")
    t.type("PS1='pro''mpt> '; bind 'set enable-bracketed-paste off'\n")
    t.expect("a shell", r"[\r\n]prompt> ")
    t.type(f"{RESTART} {job}\n")
    check("raw in the foreground", t.goes_raw())
    t.type("one\n")
    t.expect("restored under a shell", "line one")
    t.type("\x1a")
    t.expect("^Z stops ckpt_restart for the shell", "Stopped")
    t.expect("the shell's prompt", "prompt> ")
    t.type("stty -a\n")
    t.expect("the terminal is as it was", "[^-]icanon")
    t.type("fg\n")
    t.expect("fg continues it", "got CONT")
    check("raw again", t.goes_raw())
    t.type("two\n")
    t.expect("it reads again", "line two")
    t.type("\x1a")
    t.expect("stopped again", "Stopped")
    t.type("bg\n")
    t.expect("bg continues it", "got CONT")
    t.type("echo $((6 * 7))\n")
    t.expect("the shell has the terminal", "42")
    t.type("fg\n")
    check("raw after fg of a running job", t.goes_raw())
    t.type("three\n")
    t.expect("it has the terminal", "line three")
    t.type("quit\n")
    t.expect("it ended", "prompt> ")
    t.type("echo status $?\n")
    t.expect("its exit status", "status 5")
    t.type("exit\n")
    t.ended()


def from_shell():
    """The session's leader was a shell: somebody must stand in for it."""
    job = jobs[1]
    t = Terminal("bash", "--norc", "-i")
    t.type(f"{our('ckpt_launch')} -n {job} {PYTHON} {program}\n")
    ids = t.expect("launched by a shell", r"ready ([\d ]+)\r").group(1)
    checkpoint(job)
    t.type("exit\n")
    t.ended()
    t = Terminal(RESTART, job)
    t.goes_raw()
    t.type("who\n")
    is_now = t.expect("restored", r"is ([\d ]+) True True\r").group(1)
    check("ids, session, groups as before", is_now == ids, is_now, ids)
    t.type("\x04")
    t.expect("^D", "end of file")
    check("exit status", t.ended() == 6)


def without_terminal():
    job = jobs[1]
    r = subprocess.run([RESTART, job], input=b"who\nx\n", capture_output=True, timeout=60, check=False)
    check("pipes for the terminal: streams", b"line x" in r.stdout and r.returncode == 6, r)
    check("pipes for the terminal: /dev/tty is still there", b" False False" in r.stdout, r)
    r = tool("ckpt_restart", "--detach", job)
    check("--detach prints the name and holds no pipe", r.stdout == job + "\n", r)
    checkpoint(job)
    t = Terminal(RESTART, job)
    t.goes_raw()
    t.type("who\n")
    t.expect("on a terminal after --detach", r"is [\d ]+ True True\r")
    t.type("quit\n")
    check("exit status", t.ended() == 5)


with place("restart-tty") as top:
    jobs = [os.path.basename(top) + ".1", os.path.basename(top) + ".2"]
    program = os.path.join(top, "program.py")
    with open(program, "w", encoding="utf-8") as f:
        f.write(PROGRAM)
    os.chdir("/")
    for part in (direct, under_shell, from_shell, without_terminal):
        print("--", part.__name__)
        part()
end()
