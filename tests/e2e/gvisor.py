# SPDX-License-Identifier: Apache-2.0
"""gvisor.py MODE FILE [again] - for gvisor.sh. Writes "NUMBER PID" lines to FILE.

all: threads, pipes, a child, memory, a pending signal; after SIGTERM says what it has found, and ends with 42.
lock, timer, oneshot, inherited: has something open of which the kernel of gVisor does not tell enough.
"""
import ctypes
import fcntl
import hashlib
import os
import select
import signal
import subprocess
import sys
import threading
import time

mode, path = sys.argv[1:3]


def say(what):
    with open(path, "a") as f:
        f.write("%s %d\n" % (what, os.getpid()))


if mode == "lock":
    held = [open(path + ".lock", "w") for _ in range(2)]
    for one in held:
        fcntl.flock(one, fcntl.LOCK_SH)
elif mode == "timer":
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    ctypes.CDLL(None).syscall(222, 1, None, ctypes.byref(ctypes.c_void_p()))	# timer_create, past libc's function
elif mode == "oneshot":
    watch = select.epoll()
    watch.register(os.pipe()[0], select.EPOLLIN | select.EPOLLONESHOT)
elif mode == "inherited" and len(sys.argv) == 3:
    watch = select.epoll()
    watch.register(os.pipe()[0], select.EPOLLIN)
    for fd in range(3, 10):
        try:
            os.set_inheritable(fd, True)
        except OSError:
            pass
    os.execv(sys.executable, [sys.executable] + sys.argv + ["again"])
if mode != "all":
    number = 0
    while True:
        say(number)
        number += 1
        time.sleep(0.1)

left_r, left_w = os.pipe()
os.write(left_w, b"left in the pipe")
memory = bytearray(os.urandom(1 << 20)) * 6
digest = hashlib.sha256(memory).hexdigest()
counts = [0] * 3
lock = threading.Lock()
stop = threading.Event()


def work(i):
    while not stop.wait(0.02):
        with lock:
            counts[i] += 1


threads = [threading.Thread(target=work, args=(i,)) for i in range(len(counts))]
for t in threads:
    t.start()

kid_r, kid_w = os.pipe()
kid = os.fork()
if kid == 0:
    os.close(kid_r)
    number = 0
    while True:
        os.write(kid_w, b"%d\n" % number)
        number += 1
        # In each new sandbox the clock begins at 0, and a wait is until a point in time.
        began = time.monotonic()
        time.sleep(0.1)
        if time.monotonic() < began + 0.1:
            os._exit(3)
os.close(kid_w)

ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
lines = os.fdopen(kid_r)
while not ended:
    say(lines.readline().strip())

wrong = []
heap = [bytearray(3000000) for _ in range(20)] + [str(i) * 10 for i in range(100000)]
del heap
before, over = list(counts), time.monotonic() + 60
while (stand := [i for i, n in enumerate(before) if counts[i] <= n]) and time.monotonic() < over:
    time.sleep(0.02)
say("threads run after %.2f s" % (time.monotonic() - over + 60))
if stand:
    wrong.append("threads do not run")
stop.set()
for t in threads:
    t.join()
if os.read(left_r, 100) != b"left in the pipe":
    wrong.append("pipe")
if hashlib.sha256(memory).hexdigest() != digest:
    wrong.append("memory")
if signal.SIGUSR1 not in signal.sigpending():
    wrong.append("pending signal")
os.kill(kid, signal.SIGKILL)
if os.waitpid(kid, 0) != (kid, signal.SIGKILL):
    wrong.append("child")
if subprocess.check_output(["echo", "hi"]) != b"hi\n":
    wrong.append("a new program")
with open(path, "a") as out:
    out.write("%s\n" % (", ".join(wrong) or "all is well"))
sys.exit(1 if wrong else 42)
