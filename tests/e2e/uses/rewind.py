#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Going back to any of the last three interval checkpoints: a program that writes down when it reached which
state is checkpointed every second; three are kept, and each of them, in any order, brings it back to what it was
at that instant. What was not kept is gone, and the later ones are not touched by a return to an earlier one."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
PROGRAM = """
import os, sys, time
state, past = 0, []
while not os.path.exists(sys.argv[2]):
    state += 1
    past.append(state * state)
    with open(sys.argv[1], "a") as log:
        log.write("%d %d\\n" % (time.time_ns(), state))
    time.sleep(0.02)
assert past == [n * n for n in range(1, state + 1)]
print(state)
"""
failures = []


def check(ok, what, *more):
    print("ok  " if ok else "FAIL", what, *([] if ok else more), flush=True)
    if not ok:
        failures.append(what)


def tool(name, *args):
    done = subprocess.run([os.path.join(BIN, name), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          timeout=60, check=False)
    check(done.returncode == 0, "%s %s" % (name, " ".join(args[:1])), done.returncode, done.stdout)
    return done.stdout


def stored(job):
    done = subprocess.run([os.path.join(BIN, "ckpt_command"), "--ls", "--json", job], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60, check=False)
    return {c["id"]: c for c in json.loads(done.stdout or "[]") if c["complete"]}


def running(job):
    return subprocess.run([os.path.join(BIN, "ckpt_command"), "--status", job], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode == 0


def await_checkpoints(job):
    """The last three, when a fourth has come and the first is gone."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        now = stored(job)
        if len(now) == 3 and min(int(i) for i in now) > 1:
            return now
        time.sleep(0.1)
    return {}


def expected(log, created_ns):
    with open(log, encoding="ascii") as f:
        past = [tuple(map(int, line.split())) for line in f]
    return max([state for when, state in past if when <= created_ns])


def main():
    work = tempfile.mkdtemp(prefix="ckpt-rewind.")
    os.environ["CKPT_DIR"] = os.path.join(work, "store")
    job, log, stop = os.path.basename(work), os.path.join(work, "log"), os.path.join(work, "stop")
    try:
        child = subprocess.Popen([os.path.join(BIN, "ckpt_launch"), "-q", "--name=" + job, "--interval=1s", "--keep=3",
                                  sys.executable, "-S", "-c", PROGRAM, log, stop], stdin=subprocess.DEVNULL)
        kept = await_checkpoints(job)
        check(len(kept) == 3, "three are kept", kept)
        tool("ckpt_command", "--kill", job)
        child.wait(30)
        while running(job):     # one more may be under way
            time.sleep(0.02)
        kept = stored(job)
        check(len(kept) == 3, "and three they stay", kept)
        shutil.copy(log, log + ".then")     # what is restored writes on
        open(stop, "w", encoding="ascii").close()
        states = []
        for n in sorted(kept, key=int, reverse=True) + sorted(kept, key=int):
            created = int(json.loads(tool("ckpt_inspect", "show", "--json", "%s/%s" % (job, n)))["created_ns"])
            want = expected(log + ".then", created)
            # Under another name, as it makes checkpoints of its own again.
            tool("ckpt_restart", "-q", "--name=%s.back" % job, "--stdout=" + os.path.join(work, "out"), "%s/%s" % (job, n))
            with open(os.path.join(work, "out"), encoding="ascii") as f:
                got = int(f.read().split()[-1])
            check(got - want in (0, 1), "checkpoint %s brings back state %d" % (n, got), want)
            states.append(got)
        check(states[:3] == states[:2:-1] and len(set(states)) == 3, "each as often as one likes", states)
        check(sorted(stored(job)) == sorted(kept), "nothing has become of the others", stored(job))
    finally:
        subprocess.run([os.path.join(BIN, "ckpt_command"), "-q", "--kill", job], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
