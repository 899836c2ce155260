#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What becomes of standard streams over a restart: a script and the job in it write to one log; a pipe on
stderr is told why a restored job was ended, though the job was the last one to have it open."""
import os
import shutil
import subprocess

from harness import PYTHON, check, end, our, place, tool, until

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


def holds(path, text):
    with open(path, encoding="utf-8") as f:
        return text in f.read()


def job_saved(name, log_name):
    """Start the job, with its output in @log_name opened once as a script's is, and checkpoint it."""
    with open(log_name, "w", encoding="utf-8") as log:
        log.write("begin\n")
        log.flush()
        with subprocess.Popen([our("ckpt_launch"), "-q", "--name=" + name, PYTHON, "-c", PROGRAM],
                              stdin=subprocess.DEVNULL, stdout=log) as job:
            until(lambda: holds(log_name, "line 2\n"))
            saved = tool("ckpt_command", "--checkpoint", name)
            job.wait()
        check("checkpoint", saved.returncode == 0)
        log.write("restart\n")
        log.flush()
        restored = tool("ckpt_restart", name, stdout=log, stderr=None)
        log.write("end\n")
    check("restart: status", restored.returncode == 0, restored.returncode)
    return saved.stdout.strip()


def one_log(log_name):
    with open(log_name, encoding="utf-8", errors="replace") as f:
        got = f.read().split("\n")
    notes = ("begin", "restart", "end")
    check("the script's lines are whole, and in order", [x for x in got if x in notes] == list(notes))
    check("the program's lines are whole, and in order",
          [x for x in got if x and x not in notes] == ["ready"] + ["line %d" % n for n in range(LINES)])


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
    with place("streams") as work:
        name = os.path.basename(work)
        log = os.path.join(work, "log")
        saved = job_saved(name, log)
        one_log(log)
        damage(saved, os.path.join(work, "bad"))
        for _ in range(8):
            got = tool("ckpt_restart", "--name=" + name + ".bad", "--image-path=" + os.path.join(work, "bad"),
                       stdout=subprocess.DEVNULL)
            check("told of the damage:", got.returncode == 125 and "E-CORRUPT" in got.stderr, got.returncode,
                  got.stderr.strip())
    end()


main()
