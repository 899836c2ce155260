#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Standard streams of one kind where another was: a program was started with a pipe, a file, /dev/null or a terminal
for its streams, and is restored with each of these; its output comes where it should, whole and once. A
file that output was appended to holds no NUL byte afterwards, whatever became of it in between."""
import os
import pty
import subprocess

from harness import PYTHON, check, end, our, place, tool, until
from terminal import Reader

PROGRAM = """
import os, sys, time
print("before", flush=True)
open(sys.argv[1] + "/up", "w").close()
while not os.path.exists(sys.argv[1] + "/go"):
    time.sleep(0.01)
print("after", flush=True)
print("error", file=sys.stderr, flush=True)
print("read", repr(sys.stdin.readline()), flush=True)
"""
KINDS = ("pipe", "file", "null", "terminal")


def drain(fd):
    """What comes until the end of the file."""
    return Reader(fd).rest(30).decode(errors="replace").replace("\r", "")


class Streams:
    """Three streams of one kind. files: where a file's are; close_ours() when the program has them."""

    def __init__(self, kind, files, input_text):
        self.kind, self.files, self.master = kind, files, -1
        if kind == "pipe":
            read, self.write = os.pipe()
            self.read, write = os.pipe()
            os.write(self.write, input_text)
            self.ours = [read, write, write]
        elif kind == "file":
            with open(files + ".in", "wb") as f:
                f.write(input_text)
            out = os.open(files + ".out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self.ours = [os.open(files + ".in", os.O_RDONLY), out, out]
        elif kind == "null":
            null = os.open("/dev/null", os.O_RDWR)
            self.ours = [null, null, null]
        else:
            self.master, slave = pty.openpty()
            os.write(self.master, input_text)
            self.ours = [slave, slave, slave]

    def start(self, *argv):
        child = subprocess.Popen(argv, stdin=self.ours[0], stdout=self.ours[1], stderr=self.ours[2],
                                 start_new_session=True)
        for fd in set(self.ours):
            os.close(fd)
        return child

    def text(self):
        if self.kind == "pipe":
            return drain(self.read)
        if self.kind == "terminal":
            return drain(self.master)
        if self.kind == "file":
            with open(self.files + ".out", encoding="utf-8") as f:
                return f.read()
        return ""

    def done(self):
        if self.kind == "pipe":
            os.close(self.read)
            os.close(self.write)
        if self.master >= 0:
            os.close(self.master)


def save(work, job, kind):
    """Run the program with streams of @kind, and checkpoint it. A restart goes on at once: "go" is there."""
    for name in ("up", "go"):
        if os.path.exists(os.path.join(work, name)):
            os.unlink(os.path.join(work, name))
    streams = Streams(kind, os.path.join(work, "first"), b"")
    child = streams.start(our("ckpt_launch"), "-q", "--name=" + job, PYTHON, "-S", "-c", PROGRAM, work)
    check("it begins, streams: " + kind, until(lambda: os.path.exists(os.path.join(work, "up"))))
    saved = tool("ckpt_command", "--checkpoint", job)
    check("checkpoint, streams: " + kind, saved.returncode == 0, saved.stdout, saved.stderr)
    child.wait(30)
    streams.done()
    open(os.path.join(work, "go"), "w", encoding="utf-8").close()


def restart(work, job, kind, *options):
    streams = Streams(kind, os.path.join(work, "second"), b"typed\n")
    child = streams.start(our("ckpt_restart"), "-q", *options, job)
    text = streams.text() if kind in ("pipe", "terminal") else ""
    status = child.wait(60)
    text = text or streams.text()
    streams.done()
    return status, text


def each(work, job, was):
    save(work, job, was)
    first = os.path.join(work, "first.out")
    for kind in KINDS:
        second = os.path.join(work, "second.out")
        with open(second, "w", encoding="utf-8") as f:
            f.write("head\n")
        if was == "file":       # it is gone, so that the restart's takes its place
            for name in ("first.out", "first.in"):
                if os.path.exists(os.path.join(work, name)):
                    os.unlink(os.path.join(work, name))
        status, text = restart(work, job, kind)
        what = "%s in the place of %s" % (kind, was)
        check(what + ": status", status == 0, status, text)
        if kind == "terminal":  # which shows what is typed, the job's own as well
            text = "\n".join(line for line in text.split("\n") if line != "typed")
        want = "" if kind == "null" else "after\nerror\nread 'typed\\n'\n"
        check(what, text == ("head\n" if kind == "file" else "") + want, repr(text))
        if was == "file":
            check(what + ": the old file does not come back", not os.path.exists(first))


def holes(work, job):
    """The file is there, but longer, shorter, or emptied."""
    save(work, job, "file")
    first = os.path.join(work, "first.out")
    with open(os.path.join(work, "first.in"), "w", encoding="utf-8") as f:
        f.write("typed\n")
    for name, content in (("as it was", "before\n"), ("empty", ""), ("shorter", "be"), ("longer", "before\nmore\n")):
        with open(first, "w", encoding="utf-8") as f:
            f.write(content)
        status, text = restart(work, job, "pipe")
        with open(first, "rb") as f:
            got = f.read()
        check("a file that is %s: nothing on the restart's streams" % name, status == 0 and text == "", status, text)
        check("a file that is %s: no hole, nothing lost" % name,
              got == content.encode() + b"after\nerror\nread 'typed\\n'\n", got)
    # One that somebody else wrote from the start of the restart's own stream.
    out = os.path.join(work, "script.out")
    with open(out, "w", encoding="utf-8") as f:
        f.write("a script's line\n")
        f.flush()
        child = tool("ckpt_restart", "-q", "--stdout=" + out, "--stderr=" + out, job, stdout=f, stderr=None)
    with open(out, "rb") as f:
        got = f.read()
    check("--stdout appends", child.returncode == 0 and got == b"a script's line\nafter\nerror\nread 'typed\\n'\n", got)


def main():
    with place("replace") as work:
        job = os.path.basename(work)
        for was in KINDS:
            each(work, job, was)
        holes(work, job)
    end()


main()
