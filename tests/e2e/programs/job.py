# SPDX-License-Identifier: Apache-2.0
"""job.py - what the tests of real programs share: run a program as a job, keep it under load, and checkpoint it at
random moments; some of these end it, and it is restored.

    job = Job("redis", needs=["redis-server"])
    job.launch(...)
    job.expect("ready")
    job.rounds()                # nothing here depends on how far the program has got
    job.stop()                  # the file "stop" appears in its directory: the program finishes its sums
    job.expect("right")         # these four are job.counts()
    job.check("the sums", ...)
    job.done()

The program runs until it sees the file, so a slow machine makes a test longer, not wrong. What is random comes from one
seed, which is printed. Environment: E2E_ROUNDS (default 2) rounds, each ends with a restart; E2E_SEED; E2E_USER to
run the job as somebody else (root only); E2E_KEEP=1 keeps the directory of a test that failed, E2E_LEAVE=1 its
processes as well. What does not have to do with load and chance is in ../harness.py.
"""
import atexit
import contextlib
import os
import pwd
import random
import shutil
import subprocess
import sys
import time

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import harness  # noqa: E402
from harness import LIMIT, PYTHON, our, skip  # noqa: E402, F401

ROUNDS = int(os.environ.get("E2E_ROUNDS", "2"))
SEED = int(os.environ.get("E2E_SEED", "1"))


def find(program):
    """Where a program is installed, or None; the sbin directories count too."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")


class Job(harness.Job):
    """A job in a directory of its own; its working directory is below that. @daemon: what is launched goes into the
    background by itself."""
    def __init__(self, name, needs=(), user=None, daemon=False):
        for program in needs:
            if not find(program):
                skip(f"{program} is not installed")
        self.random = random.Random(SEED)
        self.helpers, self.daemon = [], daemon
        self.restores = self.checkpoints = 0
        self.user = os.environ.get("E2E_USER", user) if os.getuid() == 0 else None
        if self.user == "root":
            self.user = None
        if self.user and subprocess.run(self.as_user(["test", "-x", our("ckpt_launch")]), check=False, cwd="/").returncode:
            skip(f"{self.user} may not run what is in {harness.BIN}")
        self.left = contextlib.ExitStack()
        atexit.register(self.clean)
        self.dir = self.left.enter_context(harness.place(name))
        super().__init__(self.dir, cwd=self.path("work"))
        self.work = self.cwd
        self.own(self.dir, self.work, self.out)
        self.env = dict(os.environ, HOME=self.work, LC_ALL="C.UTF-8")
        for name in ("TMUX", "MAKEFLAGS", "MAKELEVEL"):
            self.env.pop(name, None)
        self.started = time.monotonic()

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def own(self, *paths):
        if self.user:
            who = pwd.getpwnam(self.user)
            for path in paths:
                os.chown(path, who.pw_uid, who.pw_gid)

    def write(self, name, text):
        """A file in the job's directory; its path."""
        path = self.at(name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
        self.own(path)
        return path

    def as_user(self, argv):
        if not self.user:
            return argv
        who = pwd.getpwnam(self.user)
        return ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", *argv]

    def run(self, *argv, **more):
        """Something beside the job, as its user and in its directory."""
        more.setdefault("stdin", subprocess.DEVNULL)
        more.setdefault("timeout", LIMIT)
        return subprocess.run(self.as_user(list(argv)), cwd=self.work, env=self.env, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)

    def beside(self, *argv, log="/dev/null", **more):
        """Something that runs beside the job."""
        with open(log, "a", encoding="utf-8") as f:
            p = subprocess.Popen(self.as_user(list(argv)), cwd=self.work, env=self.env, stdin=subprocess.DEVNULL,
                                 stdout=f, stderr=subprocess.STDOUT, **more)
        self.helpers.append(p)
        return p

    def start(self, *argv):
        super().start(*self.as_user(list(argv)))

    def command(self, *args):
        r = self.run(our("ckpt_command"), *args, self.name)
        return r.returncode, r.stdout

    def save(self, *options):
        status, text = self.command("--checkpoint", *options)
        self.check("checkpoint " + " ".join(options), status == 0, f"status {status}: {text.strip()}")

    def pause(self, longest):
        time.sleep(self.random.random() * longest)

    def leave_running(self):
        """A checkpoint that leaves the job running."""
        self.save("--leave-running", f"--compression={self.random.choice(('none', 'lz4'))}")
        self.checkpoints += 1

    def replace(self):
        """A checkpoint that ends the job, and a restart."""
        self.save()
        status = self.wait()
        if status != (0 if self.daemon and not self.restores else 137):
            self.fail(f"the job was checkpointed and ended with {status}")
        self.nobody_left()
        eager = ["--eager"] if self.random.random() < 0.3 else []
        self.start(our("ckpt_restart"), *eager, self.name)
        self.restores += 1
        self.until("the restored job", self.running)

    def running(self):
        status, text = self.command("--status")
        return status == 0 and "running" in text

    def rounds(self, between=lambda: None, longest=0.4, rounds=ROUNDS):
        """Checkpoints at random; @between() is called after each one and each restart."""
        for _ in range(rounds):
            for _ in range(self.random.randint(1, 3)):
                self.pause(longest)
                self.leave_running()
                between()
            self.pause(longest)
            self.replace()
            between()
        self.pause(longest)

    def stop(self, status=0):
        """Tell the program to finish; it must end with @status."""
        self.write("stop", "")
        got = self.wait()
        self.check(f"exit status {status}", got == status, f"not {got}")

    def counts(self, **rounds):
        """The course of a program that makes all its sums itself."""
        self.expect("ready")
        self.rounds(**rounds)
        self.stop()
        self.expect("right")

    def check(self, what, ok, *more):
        """Nothing is said unless it is wrong; then it is the end."""
        assert isinstance(what, str) and not isinstance(ok, str)
        if not ok:
            self.fail(what, *more)

    def fail(self, what, *more):
        harness.failures.append(what)
        try:
            super().fail(what, *more)
        finally:
            for pid in self.processes():
                for name in ("comm", "syscall", "wchan"):
                    with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", encoding="utf-8") as f:
                        print("   ", pid, name, f.read().strip(), flush=True)
            if os.environ.get("E2E_LEAVE"):
                print("left as it is:", self.dir, flush=True)
                os._exit(1)

    def done(self):
        """The last call of a test: everything was right; nothing may be left."""
        self.nobody_left()
        print(f"PASS seed {SEED}, {self.checkpoints} checkpoints left it running, {self.restores} restarts, "
              f"{time.monotonic() - self.started:.1f} s")

    def nobody_left(self):
        self.until("the end of all processes", lambda: not self.processes(), alive=False)

    def processes(self):
        """The processes of the job."""
        helpers = {p.pid for p in self.helpers}
        return [pid for pid in harness.tagged(self.dir) if pid not in helpers]

    def clean(self):
        for p in self.helpers:
            p.kill()
            p.wait()
        self.left.close()
        if self.front:
            self.front.wait()
