#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What takes longer than a second besides making and restoring shows on a terminal how far it is, too: ckpt_inspect
verify, and ckpt_command --wait for the memory of a restored job; with --quiet, and where stderr is no terminal, there
is nothing. Reading of images is held up by a library until the line was seen, so that nothing depends on the
machine's speed."""
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
import os, time
memory = os.urandom(1 << 20) * 40
print("up", flush=True)
while True:
    time.sleep(1)
"""
# Large reads, those of page data, but for the first few, take DELAY hundredths of a second each while there is the file "slow".
SLOW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>
static void slow(size_t n)
{
	static int reads;

	if (n < 65536 || __atomic_add_fetch(&reads, 1, __ATOMIC_RELAXED) <= 16)
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
"""
failures = []


def check(ok, what, *more):
    print("ok  " if ok else "FAIL", what, *([] if ok else more), flush=True)
    if not ok:
        failures.append(what)


def run(*words, **more):
    return subprocess.run([os.path.join(BIN, words[0]), *words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, timeout=120, **more)


def on_terminal(slow, words, env, seen):
    """@words with a terminal for stderr, slow until @seen matches what it says there (None: for two seconds)."""
    open(slow, "w", encoding="utf-8").close()
    master, slave = pty.openpty()
    with subprocess.Popen([os.path.join(BIN, words[0]), *words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=slave, env=env, start_new_session=True) as child:
        os.close(slave)
        text, end = b"", time.monotonic() + (60 if seen else 2)
        while True:
            if os.path.exists(slow) and (time.monotonic() > end or (seen and seen.search(text))):
                os.unlink(slow)
            if not select.select([master], [], [], 0.05)[0]:
                if child.poll() is not None:
                    break
                continue
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            text += data
        out = child.stdout.read()
    os.close(master)
    return child.returncode, text, out


def verify(job, slow, env):
    for words in ("ckpt_inspect", "verify", job), ("ckpt_inspect", "verify", "--json", job):
        status, text, out = on_terminal(slow, words, env, re.compile(rb"\r\x1b\[Kverifying +\[[#.]{20}\] +\d+%  \S+/\S+"))
        check(status == 0 and b"verifying" in text and text.endswith(b"\r\x1b[K"),
              "%s: the line is shown, and gone" % " ".join(words[:-1]), status, text)
        check(b"ok" in out and b"verifying" not in out, "and what was asked for is there", out)
    status, text, out = on_terminal(slow, ("ckpt_inspect", "-q", "verify", job), env, None)
    check(status == 0 and text == b"" and b": ok (" in out, "verify -q: nothing", status, text, out)
    done = run("ckpt_inspect", "verify", job, env=env)
    check(done.returncode == 0 and done.stderr == b"", "verify, in a pipe: nothing", done)


def wait(job, slow, env):
    """Memory that is read behind the program's back; only root's is."""
    open(slow, "w", encoding="utf-8").close()
    with subprocess.Popen([os.path.join(BIN, "ckpt_restart"), "-q", job], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env) as front:
        end = time.monotonic() + 60
        while b" running " not in run("ckpt_command", "--status", job).stdout and time.monotonic() < end:
            time.sleep(0.05)
        loading = os.path.join("/run/ckpt" if os.getuid() == 0 else "/tmp/ckpt-%d" % os.getuid(), job, "loading")
        if not os.path.exists(loading):
            os.unlink(slow)
            print("memory is not read behind the program's back here")
        else:
            status, text, out = on_terminal(slow, ("ckpt_command", "--wait", job), None,
                                            re.compile(rb"\r\x1b\[Kloading +\[[#.]{20}\] +\d+%  \S+/\S+"))
            check(status == 0 and b"loading" in text and text.endswith(b"\r\x1b[K") and out == b"",
                  "--wait: the line is shown, and gone", status, text, out)
            check(not os.path.exists(loading), "and it has waited")
        check(run("ckpt_command", "--wait", job).stderr == b"", "--wait: nothing to wait for")
        run("ckpt_command", "--kill", job)
        front.wait(60)


def main():
    work = tempfile.mkdtemp(prefix="ckpt-wait.")
    os.environ["CKPT_DIR"] = os.path.join(work, "store")
    job = os.path.basename(work)
    lib, slow = os.path.join(work, "slow.so"), os.path.join(work, "slow")
    try:
        with open(lib + ".c", "w", encoding="utf-8") as f:
            f.write(SLOW)
        if subprocess.run([*CC, "-shared", "-fPIC", "-o", lib, lib + ".c", "-ldl"], check=False).returncode:
            print("the compiler does not work")
            return 77
        env = dict(os.environ, SLOW=slow, LD_PRELOAD=lib)
        for codec in ("none", "zstd"):
            with subprocess.Popen([os.path.join(BIN, "ckpt_launch"), "-q", "--name=" + job, "--compress=" + codec,
                                   sys.executable, "-S", "-c", PROGRAM], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
                child.stdout.readline()
                done = run("ckpt_command", "--checkpoint", job)
                check(done.returncode == 0, codec + ": saved", done)
                child.wait(60)
            verify(job, slow, dict(env, DELAY="20"))
            if codec == "none":
                wait(job, slow, dict(env, DELAY="1000"))
    finally:
        run("ckpt_command", "-q", "--kill", job)
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
