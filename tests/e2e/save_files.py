#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--save-files: data files are put back as they were at the checkpoint, those open for writing or all; also those
that were deleted since, and those that are only mapped. If the restart fails, none of them has changed; what could
not be put back is refused before."""
import fcntl
import os
import time

import harness
from harness import LIMIT, PYTHON, check, end, place, tool

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


class Job(harness.Job):
    """The program with its files."""
    def __init__(self, top, name, *options):
        super().__init__(top, name, os.path.join(top, name))
        for f, text in (("journal", b"one\n"), ("input", b"given\n"), ("lock", b""), ("mapped", b"0" * 4096),
                        ("sparse", b"")):
            with open(self.at(f), "wb") as out:
                out.write(text)
        os.chmod(self.at("journal"), 0o640)
        os.truncate(self.at("sparse"), 20 << 20)
        for fifo in "ask", "answer":
            os.mkfifo(self.at(fifo))
        self.launch(PYTHON, "-c", PROGRAM, options=options)
        self.ask("look")

    def open_fifo(self, name, mode):
        """Not for ever: its other end may be dead."""
        last = time.monotonic() + LIMIT
        while time.monotonic() < last and self.front.poll() is None:
            try:
                fd = os.open(self.at(name), (os.O_WRONLY if mode == "w" else os.O_RDONLY) | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.01)
                continue
            os.set_blocking(fd, True)
            return os.fdopen(fd, mode)
        return self.fail("it is gone")

    def ask(self, line, answer=True):
        with self.open_fifo("ask", "w") as f:
            f.write(line + "\n")
        if not answer:
            return
        last, text = time.monotonic() + LIMIT, ""
        with self.open_fifo("answer", "r") as f:
            while not text.endswith("\n") and time.monotonic() < last:
                text += f.read()
                time.sleep(0.005)
        return text.strip()

    def holds(self, what, journal, given, mapped):
        want = f"{journal} {given} {mapped}"
        got = self.ask("look")
        check(what, got == want, f"'{got}' is not '{want}'", self.said())

    def quit(self):
        self.ask("quit", answer=False)
        check("its exit status", self.wait() == 5, self.front.returncode, self.said())
        left = [f for f in os.listdir(self.cwd) if ".ckpt-" in f]
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


def test_written(top):
    j = Job(top, "written", "--save-files=written")
    j.ask("write two")
    before = os.stat(j.at("journal"))
    j.checkpoint()
    spoil(j)
    j.restart()
    j.holds("written files are as they were, read ones are not touched", ["one", "two"], ["other"], 1)
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
    j.holds("a second time", ["one", "two", "three"], ["other"], 2)
    check("a file that is as it was is left alone", os.stat(j.at("journal")).st_ino == inode)
    j.quit()


def test_open(top):
    j = Job(top, "open")
    j.checkpoint("--save-files=open")
    spoil(j)
    for f in "input", "sparse":
        os.unlink(j.at(f))
    j.restart()
    j.holds("all files are as they were, deleted ones too", ["one"], ["given"], 0)
    j.quit()


def test_failing(top):
    j = Job(top, "failing", "--save-files=written")
    j.checkpoint()
    spoil(j)
    os.unlink(j.at("sparse"))
    before = {f: (text_of(j, f), os.stat(j.at(f)).st_ino) for f in ("journal", "mapped", "input")}
    with open(j.at("lock")) as k:
        fcntl.flock(k, fcntl.LOCK_EX)
        j.restart()
        check("a restart fails", j.wait() == 125 and "E-BUSY" in j.said(), j.front.returncode, j.said())
    check("and has changed nothing", before == {f: (text_of(j, f), os.stat(j.at(f)).st_ino) for f in before})
    check("nor made anything", not os.path.exists(j.at("sparse")) and
          not [f for f in os.listdir(j.cwd) if ".ckpt-" in f], os.listdir(j.cwd))
    j.restart()
    j.holds("the next one works", ["one"], ["other"], 0)
    j.quit()


def test_refused(top):
    j = Job(top, "refused", "--save-files=written")
    j.ask("write two")
    os.link(j.at("journal"), j.at("second name"))
    status, text = j.command("--checkpoint")
    check("hard links are refused", status == 1 and "E-UNSUPPORTED-FD" in text and "journal" in text, text)
    j.holds("and the job runs on", ["one", "two"], ["given"], 1)
    status, text = j.command("--checkpoint", "--save-files=none", "--leave-running")
    check("but not without", status == 0, text)
    os.unlink(j.at("second name"))
    j.checkpoint()
    spoil(j)
    r = tool("ckpt_restart", "--check", j.name, cwd=j.cwd)
    check("--check: it would work", r.returncode == 0, r.stdout + r.stderr)
    for f in "journal", "mapped":
        os.unlink(j.at(f))
    os.mkdir(j.at("journal"))
    r = tool("ckpt_restart", "--check", j.name, cwd=j.cwd)
    check("--check: in the way of a file", r.returncode != 0 and "E-FILE-CHANGED" in r.stdout + r.stderr,
          r.stdout + r.stderr)
    os.rmdir(j.at("journal"))
    with open(j.at("elsewhere"), "w") as f:
        f.write("mine\n")
    j.restart("--fd=3:elsewhere")
    j.holds("a file named by --fd is not put back", ["mine"], ["other"], 1)
    j.quit()


def main():
    with place("files") as top:
        for test in test_written, test_open, test_failing, test_refused:
            test(top)
    end()


main()
