#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A program under ckpt_launch finds what it would find without: descriptors, environment, signal mask and
dispositions, limits, priority, umask, directory, group and session. And ckpt_launch holds nothing open."""
import os
import resource
import signal
import subprocess
import tempfile
import time

from harness import LIMIT, check, end, our
from terminal import Reader

LAUNCH = our("ckpt_launch")

# Says everything that an exec'ed program inherits.
REPORT = r"""
import os, resource, signal, sys
fds = {}
for fd in range(64):
    try:
        st = os.fstat(fd)
    except OSError:
        continue
    fds[fd] = (st.st_dev, st.st_ino, os.get_inheritable(fd))
status = dict(l.rstrip("\n").split(":\t", 1) for l in open("/proc/self/status") if ":\t" in l)
out = [("fds", sorted(fds.items())), ("low", os.dup(int(sys.argv[2]))), ("cwd", os.getcwd()),
       ("umask", os.umask(0)), ("nice", os.nice(0)), ("pgrp-sid", [os.getpgrp() == int(sys.argv[3]), os.getsid(0) == int(sys.argv[4])]),
       ("limits", [resource.getrlimit(i) for i in range(16)]), ("groups", os.getgroups()),
       ("env", sorted((k, v) for k, v in os.environ.items() if k not in ("LD_PRELOAD", "CKPT_JOB_DIR", "_"))),
       ("oom", open("/proc/self/oom_score_adj").read()), ("affinity", sorted(os.sched_getaffinity(0)))]
for k in ("SigBlk", "SigIgn", "SigPnd", "ShdPnd", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid"):
    # Signal 33 is the library's and invisible through libc; posix_spawn (make) leaves it ignored.
    out.append((k, "%x" % (int(status[k], 16) & ~(1 << 32)) if k == "SigIgn" else status[k]))
os.write(int(sys.argv[2]), repr(out).encode())
"""


def same(what, prepare=None, pass_fds=(), env=None, cwd=None):
    """Run it natively and under ckpt_launch; compare."""
    results = []
    for prefix in ([], [LAUNCH, "--"]):
        with tempfile.TemporaryFile() as out:
            n = os.dup2(out.fileno(), 50, True)

            def before():
                os.setsid()
                if prepare:
                    prepare()

            # the shell becomes the program, or ckpt_launch: its pid is the group's and the session's
            p = subprocess.Popen(["/bin/sh", "-c", 'exec "$@" $$ $$', "sh", *prefix, "/usr/bin/env", "python3", "-c", REPORT, "arg", str(n)],
                                 preexec_fn=before, close_fds=True, pass_fds=(n, *pass_fds), env=env, cwd=cwd,
                                 stdin=subprocess.DEVNULL)
            status = p.wait(LIMIT)
            out.seek(0)
            text = out.read().decode()
            results.append((status, eval(text) if text else None))
            os.close(n)
    (s1, a), (s2, b) = results
    if a is None or b is None or s1 != s2:
        check(what, False, results)
        return
    for (k, x), (_, y) in zip(a, b):
        if k == "fds":
            # the temporary file is another one each time
            x = [(fd, v) for fd, v in x if fd != 50]
            y = [(fd, v) for fd, v in y if fd != 50]
        check("%s: %s" % (what, k), x == y, "natively", x, "with ckpt_launch", y)


def inherited():
    same("plain")
    same("stdin closed", lambda: os.close(0))
    same("stdout and stderr closed", lambda: (os.close(1), os.close(2)))
    same("all closed", lambda: os.closerange(0, 3))
    r, w = os.pipe()
    same("more descriptors", lambda: os.dup2(r, 7), pass_fds=(r, w))

    def attributes():
        signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1, signal.SIGCHLD, signal.SIGTERM, signal.SIGRTMIN + 2])
        for s in (signal.SIGHUP, signal.SIGCHLD, signal.SIGINT, signal.SIGTSTP, signal.SIGPIPE):
            signal.signal(s, signal.SIG_IGN)
        os.nice(3)
        os.umask(0o135)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (99, 199))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 21))
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 22, 1 << 23))
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])

    same("signals, limits", attributes, cwd="/usr")
    same("environment", env={"PATH": os.environ["PATH"], "A": "1", "B": "", "odd": "a b=c\n"})


def environment():
    def env(**kw):
        out = subprocess.run([LAUNCH, "-n", "env%d" % os.getpid(), "env"], stdout=subprocess.PIPE, check=True,
                             env=dict(os.environ, **kw)).stdout.decode()
        return dict(l.split("=", 1) for l in out.splitlines() if "=" in l)

    e = env()
    check("LD_PRELOAD", e["LD_PRELOAD"].endswith("/libckpt.so") and e["LD_PRELOAD"].startswith("/"), e["LD_PRELOAD"])
    check("CKPT_JOB_DIR", e["CKPT_JOB_DIR"].endswith("/ckpt/env%d" % os.getpid()) or "/ckpt-" in e["CKPT_JOB_DIR"])
    lib = e["LD_PRELOAD"]
    mine = subprocess.run("ldconfig -p 2>/dev/null | sed -n 's/.*=> \\(.*libm\\.so\\.6\\)$/\\1/p' | head -n 1", shell=True,
                          stdout=subprocess.PIPE, env=dict(os.environ, PATH=os.environ["PATH"] + ":/sbin:/usr/sbin")).stdout
    mine = mine.decode().strip() or "libm.so.6"
    check("the user's LD_PRELOAD stays, behind", env(LD_PRELOAD=mine)["LD_PRELOAD"] == lib + ":" + mine)
    check("ours is there once", env(LD_PRELOAD=lib)["LD_PRELOAD"] == lib)


def ends(fd, seconds):
    """End of file within that time?"""
    reader = Reader(fd)
    reader.rest(seconds)
    return reader.over


def pipes():
    """Only the program decides when a pipe ends."""
    for closes, held, what in (("exec >&-", (1,), "stdout"), ("exec 2>&-", (2,), "stderr"),
                               ("exec 9>&-", (9,), "descriptor 9"), ("exec >&- 2>&-", (1, 2), "stdout and stderr")):
        r, w = os.pipe()
        p = subprocess.Popen([LAUNCH, "sh", "-c", closes + "; exec sleep 10"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
                             preexec_fn=lambda: [os.dup2(w, fd) for fd in held])
        os.close(w)
        check("a program closes its %s: the reader sees the end" % what, ends(r, 3))
        p.terminate()
        p.wait()
        os.close(r)
    # and the other way round: a program ends when its reader does
    p = subprocess.Popen([LAUNCH, "sh", "-c", "while echo y; do :; done 2>/dev/null"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    p.stdout.read(10)
    p.stdout.close()
    check("SIGPIPE", p.wait(LIMIT) in (-signal.SIGPIPE, 0, 141), p.returncode)
    p = subprocess.Popen([LAUNCH, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = p.communicate(b"x" * 300000, LIMIT)
    check("standard input", out == b"x" * 300000 and p.returncode == 0)


def directory():
    """ckpt_launch does not keep the directory that it was started in busy."""
    d = tempfile.mkdtemp()
    p = subprocess.Popen([LAUNCH, "sh", "-c", "cd /; echo; exec sleep 10"], cwd=d, stdout=subprocess.PIPE)
    p.stdout.readline()
    time.sleep(0.1)
    cwds = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            cwds.append(os.readlink("/proc/%s/cwd" % pid))
        except OSError:
            pass
    check("the directory is free", d not in cwds)
    os.rmdir(d)
    p.terminate()
    p.wait()


def family():
    out = subprocess.run([LAUNCH, "sh", "-c", "sleep 0.2 & (sleep 0.3 & echo $! >&2); cat /proc/$!/stat; sleep 0.05; wait"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check("children", out.returncode == 0)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([LAUNCH, "sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"])
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    check("its processor time counts as ours", used > 0.05, used)


for test in (inherited, environment, pipes, directory, family):
    print("#", test.__name__, flush=True)
    test()
end()
