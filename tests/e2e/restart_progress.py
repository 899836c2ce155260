#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A restart that takes longer than a second shows on a terminal how far it has come, and the line is gone before the
program runs; with --quiet, and where stderr is no terminal, there is none. Reading of images is held up by a
library in ckpt_restart until the line was seen, so that nothing depends on the machine's speed."""
import os
import pty
import re
import subprocess
import time

from harness import PYTHON, check, compile_slow_reads, end, must, our, place
from terminal import Reader

PROGRAM = """
import sys, time, os
memory = os.urandom(1 << 20) * 40
print("up", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
print("program", len(memory), flush=True)
"""
BAR = re.compile(rb"\r\x1b\[K(restoring|inflating) +(\[[#.]{20}\] +\d+% +)?\S+")


def hold(slow, go):
    """Reads take for ever, and the program does not end."""
    open(slow, "w", encoding="utf-8").close()
    if os.path.exists(go):
        os.unlink(go)


def release(slow, go):
    os.unlink(slow)
    open(go, "w", encoding="utf-8").close()


def restart(job, env, go, wait, *options):
    """ckpt_restart with a terminal for stderr, held up until @wait(what it says); all that it said, and its stdout."""
    master, slave = pty.openpty()
    hold(env["SLOW"], go)
    child = subprocess.Popen([our("ckpt_restart"), *options, job], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=slave, env=env, start_new_session=True)
    os.close(slave)
    terminal = Reader(master)
    wait(terminal)
    release(env["SLOW"], go)
    out = child.stdout.read().decode()
    status = child.wait(60)
    text = terminal.rest(30)
    os.close(master)
    return status, text, out


def save(job, codec, slow, go):
    hold(slow, go)
    child = subprocess.Popen([our("ckpt_launch"), "-q", "--name=" + job, "--compress=" + codec, PYTHON, "-S", "-c", PROGRAM,
                              go], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    child.stdout.readline()
    must("ckpt_command", "--checkpoint", job)
    child.wait(30)


def main():
    with place("progress") as work:
        job, lib, slow, go = [os.path.basename(work)] + [os.path.join(work, name) for name in ("slow.so", "slow", "go")]
        compile_slow_reads(lib)
        env = dict(os.environ, SLOW=slow, LD_PRELOAD=lib, LEAST="65536", FEW="3", DELAY="100000")
        for codec in ("none", "zstd"):
            save(job, codec, slow, go)
            # Inflating shows the line with the next piece that is done, so after the hold.
            patience = 60 if codec == "none" else 1.5
            status, text, out = restart(job, env, go, lambda terminal: terminal.until(BAR, patience), "--eager")
            check(codec + ": the line is shown", BAR.search(text), text)
            check(codec + ": the program runs", status == 0 and out == "program %d\n" % (40 << 20), status, out, text)
            check(codec + ": and the line is gone", text.endswith(b"\r\x1b[K"), text[-200:])
            check(codec + ": it says how much there is", b"%  " in text or codec != "none", text)
            status, text, out = restart(job, env, go, lambda terminal: terminal.rest(1.5), "--eager", "--quiet")
            check(codec + ": nothing with --quiet", status == 0 and text == b"", status, text)
            hold(slow, go)
            with subprocess.Popen([our("ckpt_restart"), "--eager", job], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as child:
                time.sleep(1.5)
                release(slow, go)
                out, text = child.communicate(timeout=60)
            check(codec + ": nothing in a pipe", child.returncode == 0 and text == b"", text)
    end()


main()
