#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A restart that takes longer than a second shows on a terminal how far it has come, and the line is gone before the
program runs; with --quiet, and where stderr is no terminal, there is none. Reading of images is held up by a
library in ckpt_restart until the line was seen, so that nothing depends on the machine's speed."""
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
CC = os.environ.get("CC", "cc").split()
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
failures = []


def check(ok, what, *more):
    print("ok  " if ok else "FAIL", what, *([] if ok else more), flush=True)
    if not ok:
        failures.append(what)


def read_until(fd, done, seconds):
    """What came until @done(it) is true, the time is over, or the terminal is closed."""
    got, end = b"", time.monotonic() + seconds
    while time.monotonic() < end and not done(got):
        if not select.select([fd], [], [], 0.05)[0]:
            continue
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        got += data
    return got


def restart(work, job, env, wait, *options):
    """ckpt_restart with a terminal for stderr, held up until @wait(what it said); all that it said, and its stdout."""
    master, slave = pty.openpty()
    go = os.path.join(work, "go")
    if os.path.exists(go):
        os.unlink(go)
    child = subprocess.Popen([os.path.join(BIN, "ckpt_restart"), *options, job], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=slave, env=env, start_new_session=True)
    os.close(slave)
    text = wait(master)
    open(go, "w", encoding="utf-8").close()
    out = child.stdout.read().decode()
    status = child.wait(60)
    text += read_until(master, lambda got: False, 30)
    os.close(master)
    return status, text, out


def save(work, job, codec):
    go = os.path.join(work, "go")
    if os.path.exists(go):
        os.unlink(go)
    child = subprocess.Popen([os.path.join(BIN, "ckpt_launch"), "-q", "--name=" + job, "--compress=" + codec,
                              sys.executable, "-S", "-c", PROGRAM, go], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    child.stdout.readline()
    subprocess.run([os.path.join(BIN, "ckpt_command"), "--checkpoint", job], stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, check=True, timeout=60)
    child.wait(30)


def main():
    work = tempfile.mkdtemp(prefix="ckpt-progress.")
    os.environ["CKPT_DIR"] = os.path.join(work, "store")
    job = os.path.basename(work)
    hold = os.path.join(work, "hold.so")
    try:
        with open(hold + ".c", "w", encoding="utf-8") as f:
            f.write(HOLD)
        if subprocess.run([*CC, "-shared", "-fPIC", "-o", hold, hold + ".c", "-ldl"], check=False).returncode:
            print("the compiler does not work")
            return 77
        env = dict(os.environ, HOLD=os.path.join(work, "go"), LD_PRELOAD=hold)
        for codec in ("none", "zstd"):
            save(work, job, codec)
            # Inflating shows the line with the next piece that is done, so after the hold.
            patience = 60 if codec == "none" else 1.5
            status, text, out = restart(work, job, env, lambda fd: read_until(fd, BAR.search, patience), "--eager")
            check(BAR.search(text), codec + ": the line is shown", text)
            check(status == 0 and out == "program %d\n" % (40 << 20), codec + ": the program runs", status, out, text)
            check(text.endswith(b"\r\x1b[K"), codec + ": and the line is gone", text[-200:])
            check(b"%  " in text or codec != "none", codec + ": it says how much there is", text)
            status, text, out = restart(work, job, env, lambda fd: read_until(fd, lambda got: False, 1.5), "--eager",
                                        "--quiet")
            check(status == 0 and text == b"", codec + ": nothing with --quiet", status, text)
            os.unlink(env["HOLD"])
            with subprocess.Popen([os.path.join(BIN, "ckpt_restart"), "--eager", job], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as child:
                time.sleep(1.5)
                open(env["HOLD"], "w", encoding="utf-8").close()
                out, text = child.communicate(timeout=60)
            check(child.returncode == 0 and text == b"", codec + ": nothing in a pipe", text)
    finally:
        subprocess.run([os.path.join(BIN, "ckpt_command"), "-q", "--kill", job], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
