#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--save-files: data files are put back as they were at the checkpoint, those open for writing or all; also those
that were deleted since, and those that are only mapped. If the restart fails, none of them has changed; what could
not be put back is refused before."""
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
LIMIT = 30.0

# Reads a line from its fifo, answers with what its files hold, appends the line to its journal.
PROGRAM = r"""
import fcntl, mmap, os, sys
j = open("journal", "a+b", buffering=0); i = open("input", "rb", buffering=0); k = open("lock", "rb")
fcntl.flock(k, fcntl.LOCK_EX)
with open("mapped", "r+b") as f: m = mmap.mmap(f.fileno(), 4096)
w = open("sparse", "r+b", buffering=0)
while True:
    with open("ask") as f: line = f.readline().strip()
    if line == "quit": sys.exit(5)
    if line.startswith("write "): j.write(line[6:].encode() + b"\n"); m[0] += 1; w.seek(9 << 20); w.write(line.encode())
    j.seek(0); i.seek(0)
    with open("answer", "w") as f: print(j.read().decode().split(), i.read().decode().split(), m[0] - 48, file=f)
"""

failed = 0


def check(what, cond, *more):
    global failed
    print("ok  " if cond else "FAIL", what, *([] if cond else more), flush=True)
    failed += not cond


class Job:
    def __init__(self, dir, name, *args):
        self.dir, self.name = dir, f"{name}-{os.getpid()}"
        for f, text in (("journal", b"one\n"), ("input", b"given\n"), ("lock", b""), ("mapped", b"0" * 4096),
                        ("sparse", b"")):
            with open(self.at(f), "wb") as out:
                out.write(text)
        os.chmod(self.at("journal"), 0o640)
        os.truncate(self.at("sparse"), 20 << 20)
        for fifo in "ask", "answer":
            if not os.path.exists(self.at(fifo)):
                os.mkfifo(self.at(fifo))
        self.start("ckpt_launch", "-q", "-n", self.name, *args, sys.executable, "-c", PROGRAM)
        self.ask("look")

    def at(self, name):
        return os.path.join(self.dir, name)

    def start(self, program, *args):
        self.out = self.at(self.name + ".out")
        with open(self.out, "w") as f:
            self.front = subprocess.Popen([os.path.join(BIN, program), *args], stdin=subprocess.DEVNULL, stdout=f,
                                          stderr=subprocess.STDOUT, cwd=self.dir)

    def restart(self, *args):
        self.start("ckpt_restart", "-q", *args, self.name)

    def said(self):
        with open(self.out) as f:
            return f.read()

    def open_fifo(self, name, mode):
        """Not for ever: its other end may be dead."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and self.front.poll() is None:
            try:
                fd = os.open(self.at(name), (os.O_WRONLY if mode == "w" else os.O_RDONLY) | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.01)
                continue
            os.set_blocking(fd, True)
            return os.fdopen(fd, mode)
        raise SystemExit(f"FAIL {self.name} is gone: {self.said()}")

    def ask(self, line, answer=True):
        with self.open_fifo("ask", "w") as f:
            f.write(line + "\n")
        if not answer:
            return
        end, text = time.monotonic() + LIMIT, ""
        with self.open_fifo("answer", "r") as f:
            while not text.endswith("\n") and time.monotonic() < end:
                text += f.read()
                time.sleep(0.005)
        return text.strip()

    def command(self, *args):
        r = subprocess.run([os.path.join(BIN, "ckpt_command"), "--checkpoint", *args, self.name],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, cwd=self.dir)
        return r.returncode, r.stdout + r.stderr

    def checkpoint(self, *args):
        status, text = self.command(*args)
        check(f"checkpoint {' '.join(args)}", status == 0, text)
        self.front.wait(LIMIT)

    def expect(self, what, journal, given, mapped):
        want = f"{journal} {given} {mapped}"
        got = self.ask("look")
        check(what, got == want, f"'{got}' is not '{want}'", self.said())

    def quit(self):
        self.ask("quit", answer=False)
        check("its exit status", self.front.wait(LIMIT) == 5, self.front.returncode, self.said())
        left = [f for f in os.listdir(self.dir) if ".ckpt-" in f]
        check("nothing is left behind", not left, left)


def spoil(job):
    """What somebody, or a further life of the program, does to the files after the checkpoint."""
    with open(job.at("journal"), "a") as f:
        f.write("lost\n")
    with open(job.at("input"), "w") as f:
        f.write("other\n")
    with open(job.at("mapped"), "r+b") as f:
        f.write(b"7")
    with open(job.at("sparse"), "r+b") as f:
        f.seek(1 << 20)
        f.write(b"spoiled")


def text_of(job, name):
    with open(job.at(name), "rb") as f:
        return f.read()


def test_written(dir):
    j = Job(dir, "files-written", "--save-files=written")
    j.ask("write two")
    before = os.stat(j.at("journal"))
    j.checkpoint()
    spoil(j)
    j.restart()
    j.expect("written files are as they were, read ones are not touched", ["one", "two"], ["other"], 1)
    now = os.stat(j.at("journal"))
    check("mode, owner, time", (now.st_mode, now.st_uid, now.st_mtime_ns) ==
          (before.st_mode, before.st_uid, before.st_mtime_ns), now, before)
    s = os.stat(j.at("sparse"))
    check("holes", s.st_size == 20 << 20 and s.st_blocks < 1000 and b"spoiled" not in text_of(j, "sparse") and
          b"write two" in text_of(j, "sparse"), s)
    j.ask("write three")
    # The job keeps its choice over a restart.
    j.checkpoint()
    inode = os.stat(j.at("journal")).st_ino
    j.restart()
    j.expect("a second time", ["one", "two", "three"], ["other"], 2)
    check("a file that is as it was is left alone", os.stat(j.at("journal")).st_ino == inode)
    j.quit()


def test_open(dir):
    j = Job(dir, "files-open")
    j.checkpoint("--save-files=open")
    spoil(j)
    for f in "input", "sparse":
        os.unlink(j.at(f))
    j.restart()
    j.expect("all files are as they were, deleted ones too", ["one"], ["given"], 0)
    j.quit()


def test_failing(dir):
    j = Job(dir, "files-failing", "--save-files=written")
    j.checkpoint()
    spoil(j)
    os.unlink(j.at("sparse"))
    before = {f: (text_of(j, f), os.stat(j.at(f)).st_ino) for f in ("journal", "mapped", "input")}
    with open(j.at("lock")) as k:
        fcntl.flock(k, fcntl.LOCK_EX)
        j.restart()
        check("a restart fails", j.front.wait(LIMIT) == 125 and "E-BUSY" in j.said(), j.front.returncode, j.said())
    check("and has changed nothing", before == {f: (text_of(j, f), os.stat(j.at(f)).st_ino) for f in before})
    check("nor made anything", not os.path.exists(j.at("sparse")) and
          not [f for f in os.listdir(dir) if ".ckpt-" in f], os.listdir(dir))
    j.restart()
    j.expect("the next one works", ["one"], ["other"], 0)
    j.quit()


def test_refused(dir):
    j = Job(dir, "files-refused", "--save-files=written")
    j.ask("write two")
    os.link(j.at("journal"), j.at("second name"))
    status, text = j.command()
    check("hard links are refused", status == 1 and "E-UNSUPPORTED-FD" in text and "journal" in text, text)
    j.expect("and the job runs on", ["one", "two"], ["given"], 1)
    status, text = j.command("--save-files=none", "--leave-running")
    check("but not without", status == 0, text)
    os.unlink(j.at("second name"))
    j.checkpoint()
    spoil(j)
    r = subprocess.run([os.path.join(BIN, "ckpt_restart"), "--check", j.name], capture_output=True, text=True,
                       cwd=dir, timeout=LIMIT)
    check("--check: it would work", r.returncode == 0, r.stdout + r.stderr)
    for f in "journal", "mapped":
        os.unlink(j.at(f))
    os.mkdir(j.at("journal"))
    r = subprocess.run([os.path.join(BIN, "ckpt_restart"), "--check", j.name], capture_output=True, text=True,
                       cwd=dir, timeout=LIMIT)
    check("--check: in the way of a file", r.returncode != 0 and "E-FILE-CHANGED" in r.stdout + r.stderr,
          r.stdout + r.stderr)
    os.rmdir(j.at("journal"))
    with open(j.at("elsewhere"), "w") as f:
        f.write("mine\n")
    j.restart("--fd=3:elsewhere")
    j.expect("a file named by --fd is not put back", ["mine"], ["other"], 1)
    j.quit()


def main():
    top = tempfile.mkdtemp(prefix="ckpt-files.")
    os.environ["CKPT_DIR"] = os.path.join(top, "store")
    try:
        for test in test_written, test_open, test_failing, test_refused:
            dir = os.path.join(top, test.__name__)
            os.mkdir(dir)
            test(dir)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    sys.exit(1 if failed else 0)


main()
