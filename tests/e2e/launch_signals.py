#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Signals reach a program under ckpt_launch as often as they would without: those sent to ckpt_launch
alone, those sent to its process group, those of the terminal; ^Z and fg; the end by a signal."""
import os
import pty
import resource
import signal
import subprocess
import tempfile
import time

from harness import LIMIT, PYTHON, check, end, our, until
from terminal import Reader, Terminal

LAUNCH = our("ckpt_launch")
SHELL = ("bash", "--norc", "--noprofile", "-i")

# Counts the signals it gets; says each; ends on a line of input or at QUIT.
COUNTER = r"""
import os, signal, sys, time
def say(s): os.write(1, (s + "\n").encode())
for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
          signal.SIGALRM, signal.SIGCONT, signal.SIGRTMIN + 1):
    signal.signal(s, lambda n, f: say("got %d" % n))
signal.signal(signal.SIGQUIT, lambda n, f: os._exit(7))
say("pid %d ppid %d pgrp %d" % (os.getpid(), os.getppid(), os.getpgrp()))
while True: time.sleep(0.05)
"""


def count(reader, text, settle=0.3):
    """How often it is a line of what came up to then."""
    return reader.rest(settle).replace(b"\r", b"").split(b"\n").count(text.encode())


def state(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def wait_state(pid, states, timeout=LIMIT):
    return until(lambda: state(pid) in states, timeout)


def start(**kw):
    p = subprocess.Popen([LAUNCH, "--", PYTHON, "-c", COUNTER], stdout=subprocess.PIPE,
                         stdin=subprocess.DEVNULL, start_new_session=True, **kw)
    r = Reader(p.stdout.fileno())
    assert r.until("pgrp"), r.text
    words = r.text.split()
    return p, r, int(words[1]), int(words[3])


def single_signals():
    p, r, pid, keeper = start()
    names = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
             signal.SIGALRM, signal.SIGCONT, signal.SIGRTMIN + 1]
    for s in names:
        before = count(r, "got %d" % s, 0)
        p.send_signal(s)
        r.until("got %d\n" % s)
        n = count(r, "got %d" % s, 0.1)
        check("signal %d sent to ckpt_launch arrives once" % s, n == before + 1, n)
    for s in names:
        before = count(r, "got %d" % s, 0)
        os.killpg(p.pid, s)
        n = count(r, "got %d" % s, 0.15)
        check("signal %d sent to the group arrives once" % s, n == before + 1, n)
    for s in names[:3]:
        os.kill(keeper, s)
    check("the keeper does not mind signals", count(r, "got %d" % signal.SIGTERM, 0.1) == 2 and state(keeper) in "SR")
    # What was sent to the keeper alone must not be taken for a half of a later group signal for ever.
    time.sleep(1.1)
    p.send_signal(signal.SIGTERM)
    check("and forgets them", count(r, "got %d" % signal.SIGTERM, 0.2) == 3)
    p.send_signal(signal.SIGQUIT)
    check("exit status after a handled signal", p.wait(LIMIT) == 7)


def early_signal():
    """A signal that comes while ckpt_launch is still starting is not lost."""
    bad = 0
    for i in range(30):
        p = subprocess.Popen([LAUNCH, "--", "sleep", "10"], start_new_session=True)
        time.sleep(i * 0.0002)
        os.killpg(p.pid, signal.SIGINT)
        try:
            bad += p.wait(3) != -signal.SIGINT
        except subprocess.TimeoutExpired:
            bad += 1
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()
    check("SIGINT during the start ends it", bad == 0, bad)


def death():
    for s in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1, signal.SIGPIPE, signal.SIGRTMIN + 3):
        p = subprocess.Popen([LAUNCH, "sh", "-c", "kill -%d $$" % s])
        check("ended by signal %d" % s, p.wait(LIMIT) == -s, p.returncode)
        r = subprocess.run(["sh", "-c", '"$0" sh -c "kill -%d \\$\\$"; exit $?' % s, LAUNCH], stderr=subprocess.DEVNULL)
        check("$? is 128+%d" % s, r.returncode == 128 + s, r.returncode)
    # No core of ours beside, or in place of, the program's.
    d = os.path.join(os.environ.get("TMPDIR", "/tmp"), "ckpt-core-%d" % os.getpid())
    os.mkdir(d)
    p = subprocess.Popen([LAUNCH, "sh", "-c", "ulimit -c 0; kill -SEGV $$"], cwd=d, preexec_fn=lambda:
                         resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2))
    check("ended by SIGSEGV", p.wait(LIMIT) == -signal.SIGSEGV)
    check("without a core", os.listdir(d) == [], os.listdir(d))
    os.rmdir(d)


def keeper_killed():
    p, r, pid, keeper = start()
    os.kill(keeper, signal.SIGKILL)
    time.sleep(0.1)
    p.send_signal(signal.SIGUSR1)
    check("a killed keeper: signals are still handed on", r.until("got %d\n" % signal.SIGUSR1))
    p.send_signal(signal.SIGQUIT)
    check("a killed keeper: the status is not lost", p.wait(LIMIT) == 7)


def front_killed():
    p, r, pid, keeper = start()
    p.kill()
    p.wait()
    os.kill(pid, signal.SIGUSR2)
    check("the program survives ckpt_launch", r.until("got %d\n" % signal.SIGUSR2))
    os.kill(pid, signal.SIGKILL)
    check("the keeper ends with the last process", until(lambda: not os.path.exists("/proc/%d/fd/0" % keeper)))


def waited(pid, flags):
    """The status, of a child that has stopped, for example."""
    return until(lambda: os.waitpid(pid, flags | os.WNOHANG)[1] or None)


def stop_and_go():
    p, r, pid, keeper = start()
    for how, stop, sig in (("TSTP to ckpt_launch", lambda: p.send_signal(signal.SIGTSTP), None),
                           ("STOP to the program", lambda: os.kill(pid, signal.SIGSTOP), signal.SIGSTOP),
                           ("STOP to the group", lambda: os.killpg(p.pid, signal.SIGSTOP), signal.SIGSTOP)):
        if sig is None:
            # An orphaned group, as a new session is, does not stop for SIGTSTP.
            stop()
            time.sleep(0.1)
            check("orphaned group: nobody stops", state(pid) not in "T" and state(p.pid) not in "T")
            continue
        stop()
        status = waited(p.pid, os.WUNTRACED)
        check(how + ": ckpt_launch is stopped, too", status is not None and os.WIFSTOPPED(status)
              and os.WSTOPSIG(status) == sig, status)
        check(how + ": the program is", wait_state(pid, "T"))
        before = count(r, "got %d" % signal.SIGCONT, 0)
        (os.killpg if "group" in how else os.kill)(p.pid, signal.SIGCONT)
        check(how + ": CONT continues both", wait_state(pid, "SR") and wait_state(p.pid, "SR"))
        n = count(r, "got %d" % signal.SIGCONT, 0.2) - before
        check(how + ": one SIGCONT", n == 1, n)
    # Continued behind ckpt_launch's back.
    for i in range(20):
        os.kill(pid, signal.SIGSTOP)
        if i % 2:
            wait_state(p.pid, "T")
        os.kill(pid, signal.SIGCONT)
        if not (wait_state(p.pid, "SR", 5) and wait_state(pid, "SR", 5)):
            check("CONT to the program continues ckpt_launch", False, i)
            break
        time.sleep(0.01)
    else:
        time.sleep(0.1)
        check("CONT to the program continues ckpt_launch", state(p.pid) in "SR")
    p.send_signal(signal.SIGQUIT)
    check("and then it ends as always", p.wait(LIMIT) == 7)


def job_control():
    t = Terminal(*SHELL, PS1="$ ")
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(COUNTER)
        script.flush()
        t.type("'%s' '%s' '%s'\n" % (LAUNCH, PYTHON, script.name))
        check("started in a terminal", t.until(" pgrp "))
    t.rest(0.2)
    pid = int(t.text[t.text.index(b"pid "):].split()[1])
    t.type("\x03")
    check("^C arrives once", t.until("got 2\r") and t.rest(0.2) and t.text.count(b"got 2\r") == 1)
    before = t.text.count(b"got %d" % signal.SIGWINCH)
    t.resize(30, 90)
    t.rest(0.3)
    check("a resize arrives once", t.text.count(b"got %d" % signal.SIGWINCH) == before + 1)
    for i in (1, 2):
        t.type("\x1a")
        check("^Z: the shell sees it", t.until("Stopped") or t.until("Angehalten", 0.1))
        check("^Z: the program is stopped", wait_state(pid, "T"))
        t.text = b""
        t.type("fg\n")
        check("fg: it goes on", wait_state(pid, "SR"))
        t.rest(0.3)
        check("fg: one SIGCONT", t.text.count(b"got %d\r" % signal.SIGCONT) == 1, t.text)
    t.type("\x1a")
    t.until("Stopped")
    t.text = b""
    t.type("bg\n")
    check("bg: it goes on", wait_state(pid, "SR"))
    t.type("kill -USR1 %1\n")
    t.rest(0.3)
    check("kill %%1 arrives once", t.text.count(b"got %d\r" % signal.SIGUSR1) == 1, t.text)
    t.type("fg\n")
    time.sleep(0.2)
    t.text = b""
    t.type("\x1c")
    t.type("echo st=$?\n")
    check("^\\ and the exit status", t.until("st=7"), t.text)
    t.type("exit\n")
    t.ended()


def reading_in_background():
    t = Terminal(*SHELL, PS1="$ ")
    t.type("'%s' cat &\n" % LAUNCH)
    time.sleep(0.5)
    t.type("\n")
    check("reading in the background stops the job", t.until("Stopped"), t.text)
    t.type("fg\n")
    time.sleep(0.3)
    t.type("hello\n\x04")
    check("fg: it reads on", t.until("hello\r\nhello"), t.text)
    t.type("echo st=$?\n")
    check("its status", t.until("st=0"))
    t.type("exit\n")
    t.ended()


def inner_shell():
    """An interactive shell makes groups of its own, and takes the terminal."""
    t = Terminal(*SHELL, PS1="$ ")
    t.type("'%s' bash --norc --noprofile -i\n" % LAUNCH)
    time.sleep(0.5)
    t.type("PS1='in''ner> '\n")
    check("inner shell", t.until("inner> "))
    t.type("sleep 30\n")
    time.sleep(0.3)
    t.type("\x1a")
    check("inner ^Z", t.until("Stopped"))
    t.type("kill %1; jobs\nsuspend\n")
    time.sleep(0.5)
    t.text = b""
    t.type("echo out''er $(jobs | wc -l)\n")
    check("suspend gives the outer shell back", t.until("outer 1"), t.text)
    t.type("fg\n")
    time.sleep(0.3)
    t.text = b""
    t.type("echo again''inner\n")
    check("fg", t.until("againinner"), t.text)
    t.type("exit 9\n")
    time.sleep(0.2)
    t.type("echo st=$?\n")
    check("status of the inner shell", t.until("st=9"), t.text)
    t.type("exit\n")
    t.ended()


def hangup():
    """ckpt_launch is the session's leader: then it alone is told of the terminal's end."""
    r, w = os.pipe()
    pid, fd = pty.fork()
    if pid == 0:
        os.set_inheritable(w, True)
        os.dup2(w, 9)
        os.execv(LAUNCH, [LAUNCH, "sh", "-c", "trap 'echo hup >&9; exit 3' HUP; echo up >&9; while :; do sleep 0.05; done"])
    os.close(w)
    out = Reader(r)
    check("session leader", out.until("up"))
    os.close(fd)
    check("SIGHUP of a closed terminal", out.until("hup"), out.text)
    _, status = os.waitpid(pid, 0)
    check("status after it", os.waitstatus_to_exitcode(status) == 3, status)
    check("descriptors are closed at the end", not out.more(LIMIT) or out.text.count(b"hup") == 1)


def nohup():
    p = subprocess.Popen(["sh", "-c", "trap '' HUP; exec \"$0\" sh -c 'echo up; sleep 0.5; exit 4'", LAUNCH],
                         stdout=subprocess.PIPE, start_new_session=True)
    Reader(p.stdout.fileno()).until("up")
    os.killpg(p.pid, signal.SIGHUP)
    check("an ignored SIGHUP stays ignored", p.wait(LIMIT) == 4, p.returncode)


def alarm_before():
    p = subprocess.Popen([LAUNCH, "sleep", "10"], preexec_fn=lambda: signal.alarm(1))
    check("an alarm set before the exec ends the program", p.wait(LIMIT) == -signal.SIGALRM, p.returncode)


def timeout_program():
    r = subprocess.run(["timeout", "0.5", LAUNCH, "sleep", "20"])
    check("timeout(1) ends it", r.returncode == 124, r.returncode)
    r = subprocess.run(["timeout", "-s", "KILL", "0.5", LAUNCH, "sleep", "0.6"], stderr=subprocess.DEVNULL)
    check("timeout -s KILL", r.returncode in (137, -9), r.returncode)


for test in (single_signals, early_signal, death, keeper_killed, front_killed, stop_and_go, job_control,
             reading_in_background, inner_shell, hangup, nohup, alarm_before, timeout_program):
    print("#", test.__name__, flush=True)
    test()
end()
