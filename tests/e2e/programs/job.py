# SPDX-License-Identifier: Apache-2.0
"""job.py - what the tests of real programs share: run a program as a job, keep it under load, and checkpoint it at
random moments; some of these end it, and it is restored.

    job = Job("redis", needs=["redis-server"])
    job.launch([...])
    job.await_line("ready")
    job.rounds()                # nothing here depends on how far the program has got
    job.stop()                  # the file "stop" appears in its directory: the program finishes its sums
    job.check(...)
    job.done()

The program runs until it sees the file, so a slow machine makes a test longer, not wrong. What is random comes from one
seed, which is printed. Environment: E2E_ROUNDS (default 2) rounds, each ends with a restart; E2E_SEED; E2E_USER to
run the job as somebody else (root only); E2E_KEEP=1 keeps the directory of a test that failed, E2E_LEAVE=1 its
processes as well.
"""
import atexit
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
LIMIT = float(os.environ.get("E2E_LIMIT", "60"))
ROUNDS = int(os.environ.get("E2E_ROUNDS", "2"))
SEED = int(os.environ.get("E2E_SEED", "1"))
# One that every user may run.
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


def skip(why):
    print("SKIP:", why)
    sys.exit(77)


def find(program):
    """Where a program is installed, or None; the sbin directories count too."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")


class Job:
    """A job in a directory of its own, which is its working directory. @daemon: what is launched goes into the
    background by itself."""
    def __init__(self, name, needs=(), user=None, daemon=False):
        for tool in ("ckpt_launch", "ckpt_command", "ckpt_restart", "ckpt_coordinator", "libckpt.so"):
            if not os.access(os.path.join(BIN, tool), os.X_OK):
                skip(f"there is no {tool} in {BIN}")
        for program in needs:
            if not find(program):
                skip(f"{program} is not installed")
        self.random = random.Random(SEED)
        self.front, self.log, self.helpers, self.failed = None, [], [], False
        self.daemon = daemon
        self.restores = self.checkpoints = 0
        self.user = os.environ.get("E2E_USER", user) if os.getuid() == 0 else None
        if self.user == "root":
            self.user = None
        if self.user and self.run_as(["test", "-x", os.path.join(BIN, "ckpt_launch")]).returncode:
            skip(f"{self.user} may not run what is in {BIN}")
        self.dir = tempfile.mkdtemp(prefix=f"ckpt-{name}.")
        os.chmod(self.dir, 0o755)
        self.name = os.path.basename(self.dir)
        self.work = self.path("work")
        os.mkdir(self.work)
        self.own(self.dir, self.work)
        self.out = self.path("out")
        open(self.out, "w", encoding="utf-8").close()
        self.own(self.out)
        self.env = dict(os.environ, E2E_TAG=self.dir, CKPT_DIR=self.path("store"), HOME=self.work, LC_ALL="C.UTF-8")
        for name in ("TMUX", "MAKEFLAGS", "MAKELEVEL"):
            self.env.pop(name, None)
        atexit.register(self.clean)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
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
        path = os.path.join(self.work, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
        self.own(path)
        return path

    def run_as(self, argv):
        return subprocess.run(self.as_user(argv), check=False, cwd="/")

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

    def _front(self, *argv):
        with open(self.out, "a", encoding="utf-8") as f:
            self.front = subprocess.Popen(self.as_user(list(argv)), cwd=self.work, env=self.env,
                                          stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT,
                                          start_new_session=True)

    def launch(self, argv):
        self._front(os.path.join(BIN, "ckpt_launch"), "-q", "--name=" + self.name, "--", *argv)

    def said(self):
        with open(self.out, encoding="utf-8", errors="replace") as f:
            return f.read()

    def until(self, what, condition, alive=True):
        """Wait until @condition() holds; fail when it does not within the limit, or the job has ended."""
        end = time.monotonic() + LIMIT
        while not (value := condition()):
            if alive and self.front.poll() is not None and not condition():
                self.fail(f"the job ended with {self.front.returncode}, waiting for: {what}")
            if time.monotonic() > end:
                self.fail(f"waited in vain for: {what}")
            time.sleep(0.02)
        return value

    def await_line(self, begin):
        return self.until(f"a line '{begin}'",
                          lambda: next((x for x in self.said().splitlines() if x.startswith(begin)), None))

    def command(self, *args):
        r = self.run(os.path.join(BIN, "ckpt_command"), *args, self.name)
        if r.returncode:
            self.fail(f"ckpt_command {' '.join(args)}: status {r.returncode}: {r.stdout.strip()}")
        return r.stdout

    def pause(self, longest):
        time.sleep(self.random.random() * longest)

    def checkpoint(self):
        """One that leaves the job running."""
        self.command("--checkpoint", "--leave-running", f"--compression={self.random.choice(('none', 'lz4'))}")
        self.checkpoints += 1

    def restart(self):
        """A checkpoint that ends the job, and a restart."""
        self.command("--checkpoint")
        status = self.front.wait(LIMIT)
        if status != (0 if self.daemon and not self.restores else 137):
            self.fail(f"the job was checkpointed and ended with {status}")
        self.until("the end of all processes", lambda: not self.processes(), alive=False)
        eager = ["--eager"] if self.random.random() < 0.3 else []
        self._front(os.path.join(BIN, "ckpt_restart"), *eager, self.name)
        self.restores += 1
        self.until("the restored job", self.running)

    def running(self):
        r = self.run(os.path.join(BIN, "ckpt_command"), "--status", self.name)
        return r.returncode == 0 and "running" in r.stdout

    def rounds(self, between=lambda: None, longest=0.4, rounds=ROUNDS):
        """Checkpoints at random; @between() is called after each one and each restart."""
        for _ in range(rounds):
            for _ in range(self.random.randint(1, 3)):
                self.pause(longest)
                self.checkpoint()
                between()
            self.pause(longest)
            self.restart()
            between()
        self.pause(longest)

    def stop(self, status=0):
        """Tell the program to finish; it must end with @status."""
        self.write("stop", "")
        try:
            got = self.front.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.fail("the job does not end")
        self.check(got == status, f"exit status {status}", f"not {got}")

    def check(self, ok, what, *more):
        if not ok:
            self.fail(what, *more)

    def fail(self, *what):
        self.failed = True
        print("FAIL", *what)
        print("    ended with:", self.front.poll() if self.front else "not launched")
        for pid in self.processes():
            for name in ("comm", "syscall", "wchan"):
                try:
                    with open(f"/proc/{pid}/{name}", encoding="utf-8") as f:
                        print("   ", pid, name, f.read().strip())
                except OSError:
                    pass
        print("".join("    " + x + "\n" for x in self.said().splitlines()[-30:]), flush=True)
        if os.environ.get("E2E_LEAVE"):
            print("left as it is:", self.dir, flush=True)
            os._exit(1)
        sys.exit(1)

    def done(self):
        """The last call of a test: everything was right; nothing may be left."""
        self.until("the end of all processes", lambda: not self.processes(), alive=False)
        print(f"PASS seed {SEED}, {self.checkpoints} checkpoints left it running, {self.restores} restarts, "
              f"{time.monotonic() - self.started:.1f} s")

    def processes(self):
        """The processes of the job: they have inherited the tag, or work in the directory."""
        found = []
        helpers = {p.pid for p in self.helpers}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    tagged = f"E2E_TAG={self.dir}".encode() in f.read().split(b"\0")
                if tagged or os.readlink(f"/proc/{pid}/cwd").startswith(self.dir):
                    if int(pid) not in helpers:
                        found.append(int(pid))
            except OSError:
                continue
        return found

    def clean(self):
        for p in self.helpers:
            p.kill()
            p.wait()
        for _ in range(20):
            left = self.processes()
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            if not left:
                break
            time.sleep(0.05)
        if self.front:
            self.front.wait()
        if os.environ.get("E2E_KEEP") and self.failed:
            print("    kept:", self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
