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

from harness import PYTHON, check, compile_c, end, must, our, place
from terminal import Reader

PROGRAM = """
import sys, time, os
memory = os.urandom(1 << 20) * 40
print("up", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
print("program", len(memory), flush=True)
"""
# Large reads, those of page data, wait for the file "go", after the first few.
HOLD = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>
static void hold(size_t n)
{
	static int reads;

	if (n >= 65536 && __atomic_add_fetch(&reads, 1, __ATOMIC_RELAXED) > 3)
		while (access(getenv("HOLD"), F_OK))
			usleep(10000);
}
ssize_t pread(int fd, void *buf, size_t n, off_t at)
{
	hold(n);
	return ((ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread"))(fd, buf, n, at);
}
ssize_t pread64(int fd, void *buf, size_t n, off_t at)
{
	hold(n);
	return ((ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread64"))(fd, buf, n, at);
}
"""
BAR = re.compile(rb"\r\x1b\[K(restoring|inflating) +(\[[#.]{20}\] +\d+% +)?\S+")


def remove(path):
    if os.path.exists(path):
        os.unlink(path)


def restart(job, env, wait, *options):
    """ckpt_restart with a terminal for stderr, held up until @wait(what it says); all that it said, and its stdout."""
    master, slave = pty.openpty()
    remove(env["HOLD"])
    child = subprocess.Popen([our("ckpt_restart"), *options, job], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=slave, env=env, start_new_session=True)
    os.close(slave)
    terminal = Reader(master)
    wait(terminal)
    open(env["HOLD"], "w", encoding="utf-8").close()
    out = child.stdout.read().decode()
    status = child.wait(60)
    text = terminal.rest(30)
    os.close(master)
    return status, text, out


def save(job, codec, go):
    remove(go)
    child = subprocess.Popen([our("ckpt_launch"), "-q", "--name=" + job, "--compress=" + codec, PYTHON, "-S", "-c", PROGRAM,
                              go], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    child.stdout.readline()
    must("ckpt_command", "--checkpoint", job)
    child.wait(30)


def main():
    with place("progress") as work:
        job, hold, go = os.path.basename(work), os.path.join(work, "hold.so"), os.path.join(work, "go")
        compile_c(hold, HOLD, "-shared", "-fPIC", "-ldl")
        env = dict(os.environ, HOLD=go, LD_PRELOAD=hold)
        for codec in ("none", "zstd"):
            save(job, codec, go)
            # Inflating shows the line with the next piece that is done, so after the hold.
            patience = 60 if codec == "none" else 1.5
            status, text, out = restart(job, env, lambda terminal: terminal.until(BAR, patience), "--eager")
            check(codec + ": the line is shown", BAR.search(text), text)
            check(codec + ": the program runs", status == 0 and out == "program %d\n" % (40 << 20), status, out, text)
            check(codec + ": and the line is gone", text.endswith(b"\r\x1b[K"), text[-200:])
            check(codec + ": it says how much there is", b"%  " in text or codec != "none", text)
            status, text, out = restart(job, env, lambda terminal: terminal.rest(1.5), "--eager", "--quiet")
            check(codec + ": nothing with --quiet", status == 0 and text == b"", status, text)
            remove(go)
            with subprocess.Popen([our("ckpt_restart"), "--eager", job], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as child:
                time.sleep(1.5)
                open(go, "w", encoding="utf-8").close()
                out, text = child.communicate(timeout=60)
            check(codec + ": nothing in a pipe", child.returncode == 0 and text == b"", text)
    end()


main()
