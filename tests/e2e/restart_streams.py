#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What becomes of standard streams over a restart: a script and the job in it write to one log; a pipe on
stderr is told why a restored job was ended, though the job was the last one to have it open."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
LINES = 30
PROGRAM = """
import subprocess, time
child = subprocess.Popen(["sleep", "100"])
print("ready", flush=True)
for n in range(%d):
    time.sleep(0.05)
    print("line", n, flush=True)
child.kill()
child.wait()
""" % LINES

failures = []


def check(ok, what, *more):
    print("ok  " if ok else "FAIL", what, *more)
    if not ok:
        failures.append(what)


def tool(name, *args, **more):
    more.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([os.path.join(BIN, name), *args], timeout=60, check=False, **more)


def until(path, text):
    for _ in range(1000):
        with open(path, encoding="utf-8") as f:
            if text in f.read():
                return
        time.sleep(0.02)


def job_saved(name, log_name):
    """Start the job, with its output in @log_name opened once as a script's is, and checkpoint it."""
    with open(log_name, "w", encoding="utf-8") as log:
        log.write("begin\n")
        log.flush()
        with subprocess.Popen([os.path.join(BIN, "ckpt_launch"), "-q", "--name=" + name, sys.executable,
                               "-c", PROGRAM], stdin=subprocess.DEVNULL, stdout=log) as job:
            until(log_name, "line 2\n")
            saved = tool("ckpt_command", "--checkpoint", name, stdout=subprocess.PIPE, text=True)
            job.wait()
        check(saved.returncode == 0, "checkpoint")
        log.write("restart\n")
        log.flush()
        restored = tool("ckpt_restart", name, stdout=log)
        log.write("end\n")
    check(restored.returncode == 0, "restart: status", restored.returncode)
    return saved.stdout.strip()


def one_log(log_name):
    with open(log_name, encoding="utf-8", errors="replace") as f:
        got = f.read().split("\n")
    notes = ("begin", "restart", "end")
    check([x for x in got if x in notes] == list(notes), "the script's lines are whole, and in order")
    check([x for x in got if x and x not in notes] == ["ready"] + ["line %d" % n for n in range(LINES)],
          "the program's lines are whole, and in order")


def damage(checkpoint, copy):
    """One bit of a late page, in each process: what is read before and behind the start."""
    shutil.copytree(checkpoint, copy)
    for name in os.listdir(copy):
        path = os.path.join(copy, name)
        if name == "checkpoint.img":
            continue
        with open(path, "r+b") as f:
            f.seek(os.path.getsize(path) * 3 // 4)
            byte = f.read(1)
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([byte[0] ^ 4]))


def main():
    work = tempfile.mkdtemp(prefix="ckpt-streams.")
    os.environ["CKPT_DIR"] = os.path.join(work, "store")
    name = "streams.%d" % os.getpid()
    log = os.path.join(work, "log")
    try:
        saved = job_saved(name, log)
        one_log(log)
        damage(saved, os.path.join(work, "bad"))
        for _ in range(8):
            got = tool("ckpt_restart", "--name=" + name + ".bad", "--image-path=" + os.path.join(work, "bad"),
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            check(got.returncode == 125 and "E-CORRUPT" in got.stderr, "told of the damage:", got.returncode,
                  got.stderr.strip())
    finally:
        tool("ckpt_command", "-q", "--kill", name, stderr=subprocess.DEVNULL)
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
