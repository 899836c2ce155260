# SPDX-License-Identifier: Apache-2.0
"""harness.py - what the tests in python share: our programs, what is checked, and jobs in a directory of their own, of
which nothing is left in the end.

    with place("name") as top:
        job = Job(top, "first")
        job.launch(PYTHON, "-c", PROGRAM)
        job.expect("ready")
        job.checkpoint()
        job.restart()
        check("it ends as it does", job.wait() == 5, job.said())
    end()

Whatever is waited for is waited for up to LIMIT seconds (E2E_LIMIT), so a slow machine makes a test longer, not wrong.
Who imports it has closed what the test's own caller left open, and has found our programs, or else skips the test.
"""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
LIMIT = float(os.environ.get("E2E_LIMIT", "60"))
# One that every user may run.
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
failures = []


def skip(why):
    print("SKIP:", why)
    sys.exit(77)


def our(name):
    """The path of one of our programs."""
    return os.path.join(BIN, name)


def run_dir(job):
    """Where the sockets of a job's coordinator are."""
    return os.path.join("/run/ckpt" if os.getuid() == 0 else f"/tmp/ckpt-{os.getuid()}", job)


def check(what, ok, *more):
    """One line for each thing that is checked. @what is so if @ok; else @more is told."""
    assert isinstance(what, str) and not isinstance(ok, str)
    print("ok  " if ok else "FAIL", what, *([] if ok else more), flush=True)
    if not ok:
        failures.append(what)


def end():
    """The end of a test: with what was checked."""
    sys.exit(1 if failures else 0)


def until(condition, seconds=LIMIT):
    """Wait for @condition(); what it gave last, so something false if that was too long."""
    over = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < over:
        time.sleep(0.02)
    return value


def tool(name, *args, **more):
    """One of our programs, up to its end: with returncode, and stdout and stderr as text."""
    usual = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "errors": "replace",
             "timeout": 2 * LIMIT}
    return subprocess.run([our(name), *args], check=False, **{**usual, **more})


def must(name, *args, want=0, **more):
    """What one of our programs prints, whose exit status has to be @want."""
    r = tool(name, *args, **more)
    if r.returncode != want:
        check(f"{name} {' '.join(args)}: status {want}", False, r.returncode, r.stdout, r.stderr)
    return r.stdout


def compile_c(program, source, *options):
    """Make @program of @source, which is kept beside it."""
    with open(program + ".c", "w", encoding="utf-8") as f:
        f.write(source)
    if subprocess.run([*os.environ.get("CC", "cc").split(), "-o", program, program + ".c", *options],
                      check=False).returncode:
        skip("the compiler does not work")


def compile_slow_reads(library):
    """Make @library, to be loaded into one of our programs by LD_PRELOAD: reads of LEAST bytes and more, those of page data,
    but for the first FEW, take up to DELAY hundredths of a second each while there is the file SLOW."""
    compile_c(library, r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>
static void slow(size_t n)
{
	static int reads;

	if (n < (size_t)atoi(getenv("LEAST")) || __atomic_add_fetch(&reads, 1, __ATOMIC_RELAXED) <= atoi(getenv("FEW")))
		return;
	for (int i = atoi(getenv("DELAY")); i > 0 && !access(getenv("SLOW"), F_OK); i--)
		usleep(10000);
}
ssize_t pread(int fd, void *buf, size_t n, off_t at)
{
	slow(n);
	return ((ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread"))(fd, buf, n, at);
}
ssize_t pread64(int fd, void *buf, size_t n, off_t at)
{
	slow(n);
	return ((ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread64"))(fd, buf, n, at);
}
""", "-shared", "-fPIC", "-ldl")


def tagged(top):
    """The processes that have inherited the tag of place @top, or work below it; but not this one."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                ours = f"E2E_TAG={top}".encode() in f.read().split(b"\0")
            if (ours or os.readlink(f"/proc/{pid}/cwd").startswith(top)) and int(pid) != os.getpid():
                found.append(int(pid))
        except OSError:
            continue
    return found


def kill_jobs(begin):
    """Those whose names begin so."""
    with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
        for job in json.loads(tool("ckpt_command", "--status", "--json").stdout):
            if job["name"].startswith(begin):
                tool("ckpt_command", "--kill", job["name"])


def kill_tagged(top):
    """Again and again, as they may fork while we look."""
    def none_left():
        for pid in (left := tagged(top)):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return not left
    until(none_left, 5)


@contextlib.contextmanager
def place(name, parent=None):
    """A directory for a test, with the checkpoints of its jobs, whose names begin with the directory's name. In the end
    all that was started since has ended, and it is gone; E2E_KEEP=1 keeps that of a test that failed."""
    top = tempfile.mkdtemp(prefix=f"ckpt-{name}.", dir=parent)
    os.chmod(top, 0o755)
    os.environ.update(CKPT_DIR=os.path.join(top, "store"), E2E_TAG=top)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed = True
    try:
        yield top
        failed = bool(failures)
    finally:
        if tagged(top):
            kill_jobs(os.path.basename(top))
            until(lambda: not tagged(top), 5)
            kill_tagged(top)
        if failed and os.environ.get("E2E_KEEP"):
            print("    kept:", top)
        else:
            shutil.rmtree(top, ignore_errors=True)


class Job:
    """A program under ckpt_launch, and then ckpt_restart, in directory @cwd. What all of them say is in the file @out."""
    def __init__(self, top, name=None, cwd=None):
        self.name = os.path.basename(top) + (f".{name}" if name else "")
        self.cwd = cwd or top
        os.makedirs(self.cwd, exist_ok=True)
        self.out = os.path.join(top, (name or "job") + ".out")
        self.env = self.front = None
        open(self.out, "w", encoding="utf-8").close()

    def at(self, name):
        """The path of a file in its directory."""
        return os.path.join(self.cwd, name)

    def start(self, *argv):
        """In the background, with a session of its own: as from a batch system."""
        with open(self.out, "a", encoding="utf-8") as f:
            self.front = subprocess.Popen(argv, cwd=self.cwd, env=self.env, stdin=subprocess.DEVNULL, stdout=f,
                                          stderr=subprocess.STDOUT, start_new_session=True)

    def launch(self, *argv, options=(), under=()):
        """@under: a command that runs ckpt_launch."""
        self.start(*under, our("ckpt_launch"), "-q", "--name=" + self.name, *options, "--", *argv)

    def restart(self, *options):
        self.start(our("ckpt_restart"), "-q", *options, self.name)

    def said(self):
        with open(self.out, encoding="utf-8", errors="replace") as f:
            return f.read()

    def fail(self, what, *more):
        print("FAIL", f"{self.name}: {what}", *more, flush=True)
        print(f"    status {self.front.poll() if self.front else None}, and it said:")
        print("".join("    " + x + "\n" for x in self.said().splitlines()[-30:]), flush=True)
        sys.exit(1)

    def until(self, what, condition, alive=True):
        """Wait until @condition() holds; fail when it does not within the limit, or the job has ended."""
        over = object()
        value = until(lambda: condition() or alive and self.front.poll() is not None and over)
        if value is over:
            value = condition()     # its last deed
        return value or self.fail(f"waited in vain for {what}")

    def expect(self, begin):
        """The first line that begins so."""
        return self.until(f"a line '{begin}'",
                          lambda: next((x for x in self.said().splitlines() if x.startswith(begin)), None))

    def wait(self):
        """Its exit status."""
        try:
            return self.front.wait(LIMIT)
        except subprocess.TimeoutExpired:
            return self.fail("it does not end")

    def command(self, *args):
        """ckpt_command's status, and all that it says."""
        r = tool("ckpt_command", *args, self.name, cwd=self.cwd)
        return r.returncode, r.stdout + r.stderr

    def checkpoint(self, *options):
        """One that has to work."""
        status, text = self.command("--checkpoint", *options)
        check(" ".join(("checkpoint", *options)), status == 0, text)
        if "--leave-running" not in options:
            self.wait()


os.closerange(3, 1024)
if not os.access(our("ckpt_restart"), os.X_OK):
    skip(f"there is no {our('ckpt_restart')}")
