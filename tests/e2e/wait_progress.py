#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What takes longer than a second besides making and restoring shows on a terminal how far it is, too: ckpt_inspect
verify, core and diff, and ckpt_command --wait for the memory of a restored job; with --quiet, and where stderr is no terminal, there
is nothing. Reading of images is held up by a library until the line was seen, so that nothing depends on the
machine's speed."""
import os
import pty
import re
import signal
import subprocess

from harness import PYTHON, check, compile_slow_reads, end, our, place, run_dir, tool, until
from terminal import Reader

PROGRAM = """
import os, signal, time
memory = bytearray(os.urandom(1 << 20) * 40)
def change(*args):
    for i in range(0, len(memory), 4096):
        memory[i] ^= 255
    print("changed", flush=True)
signal.signal(signal.SIGUSR1, change)
print("up", flush=True)
while True:
    time.sleep(1)
"""


def on_terminal(slow, words, env, seen):
    """@words with a terminal for stderr, slow until @seen matches what it says there (None: for two seconds)."""
    open(slow, "w", encoding="utf-8").close()
    master, slave = pty.openpty()
    with subprocess.Popen([our(words[0]), *words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=slave, env=env, start_new_session=True) as child:
        os.close(slave)
        terminal = Reader(master)
        if seen:
            terminal.until(seen)
        else:
            terminal.rest(2)
        os.unlink(slow)
        text = terminal.rest(120)
        out = child.stdout.read()
    os.close(master)
    return child.returncode, text, out


def line(phase, known):
    """What shows how far @phase is; @known: and how much there is."""
    return re.compile(rb"\r\x1b\[K" + phase + (rb" +\[[#.]{20}\] +\d+%  \S+/\S+" if known else rb" +\S+"))


def inspect(job, slow, env, work):
    for phase, want, words in ((b"writing", 0, ("ckpt_inspect", "core", "--output=" + work, job)),
                               (b"comparing", 1, ("ckpt_inspect", "diff", job + "/first", job))):
        one = dict(env, LEAST="4096", DELAY="1") if want else env
        status, text, out = on_terminal(slow, words, one, line(phase, not want))
        check("%s: the line is shown, and gone" % " ".join(words[:2]), status == want and
              line(phase, not want).search(text) and text.endswith(b"\r\x1b[K") and out, status, text, out)


def verify(job, slow, env):
    for words in ("ckpt_inspect", "verify", job), ("ckpt_inspect", "verify", "--json", job):
        status, text, out = on_terminal(slow, words, env, line(b"verifying", True))
        check("%s: the line is shown, and gone" % " ".join(words[:-1]),
              status == 0 and b"verifying" in text and text.endswith(b"\r\x1b[K"), status, text)
        check("and what was asked for is there", b"ok" in out and b"verifying" not in out, out)
    status, text, out = on_terminal(slow, ("ckpt_inspect", "-q", "verify", job), env, None)
    check("verify -q: nothing", status == 0 and text == b"" and b": ok (" in out, status, text, out)
    done = tool("ckpt_inspect", "verify", job, env=env)
    check("verify, in a pipe: nothing", done.returncode == 0 and done.stderr == "", done)


def wait(job, slow, env):
    """Memory that is read behind the program's back; only root's is."""
    open(slow, "w", encoding="utf-8").close()
    with subprocess.Popen([our("ckpt_restart"), "-q", job], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env) as front:
        until(lambda: " running " in tool("ckpt_command", "--status", job).stdout)
        loading = os.path.join(run_dir(job), "loading")
        if not os.path.exists(loading):
            os.unlink(slow)
            print("memory is not read behind the program's back here")
        else:
            status, text, out = on_terminal(slow, ("ckpt_command", "--wait", job), None,
                                            line(b"loading", True))
            check("--wait: the line is shown, and gone",
                  status == 0 and b"loading" in text and text.endswith(b"\r\x1b[K") and out == b"", status, text, out)
            check("and it has waited", not os.path.exists(loading))
        check("--wait: nothing to wait for", tool("ckpt_command", "--wait", job).stderr == "")
        tool("ckpt_command", "--kill", job)
        front.wait(60)


def main():
    with place("wait") as work:
        job, lib, slow = os.path.basename(work), os.path.join(work, "slow.so"), os.path.join(work, "slow")
        compile_slow_reads(lib)
        env = dict(os.environ, SLOW=slow, LD_PRELOAD=lib, LEAST="65536", FEW="16", DELAY="20")
        for codec in ("none", "zstd"):
            with subprocess.Popen([our("ckpt_launch"), "-q", "--name=" + job, "--compress=" + codec, PYTHON, "-S", "-c",
                                   PROGRAM], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL) as child:
                child.stdout.readline()
                tool("ckpt_command", "--checkpoint", "--leave-running", "--id=first", job)
                child.send_signal(signal.SIGUSR1)
                child.stdout.readline()
                done = tool("ckpt_command", "--checkpoint", job)
                check(codec + ": saved", done.returncode == 0, done)
                child.wait(60)
            verify(job, slow, env)
            inspect(job, slow, env, work)
            tool("ckpt_command", "--rm", job + "/first")
            if codec == "none":
                wait(job, slow, dict(env, DELAY="1000"))
    end()


main()
