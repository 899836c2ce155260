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

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import PYTHON, check, end, must, our, place, tool, until  # noqa: E402

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


def stored(job):
    return {c["id"]: c for c in json.loads(tool("ckpt_command", "--ls", "--json", job).stdout or "[]") if c["complete"]}


def running(job):
    return tool("ckpt_command", "--status", job).returncode == 0


def last_three(job):
    """When a fourth has come and the first is gone."""
    now = stored(job)
    return now if len(now) == 3 and min(int(i) for i in now) > 1 else {}


def expected(log, created_ns):
    with open(log, encoding="ascii") as f:
        past = [tuple(map(int, line.split())) for line in f]
    return max([state for when, state in past if when <= created_ns])


def main():
    with place("rewind") as work:
        job, log, stop = os.path.basename(work), os.path.join(work, "log"), os.path.join(work, "stop")
        child = subprocess.Popen([our("ckpt_launch"), "-q", "--name=" + job, "--interval=1s", "--keep=3", PYTHON, "-S", "-c",
                                  PROGRAM, log, stop], stdin=subprocess.DEVNULL)
        kept = until(lambda: last_three(job))
        check("three are kept", len(kept) == 3, kept)
        must("ckpt_command", "--kill", job)
        child.wait(30)
        until(lambda: not running(job))     # one more may be under way
        kept = stored(job)
        check("and three they stay", len(kept) == 3, kept)
        shutil.copy(log, log + ".then")     # what is restored writes on
        open(stop, "w", encoding="ascii").close()
        states = []
        for n in sorted(kept, key=int, reverse=True) + sorted(kept, key=int):
            created = int(json.loads(must("ckpt_inspect", "show", "--json", "%s/%s" % (job, n)))["created_ns"])
            want = expected(log + ".then", created)
            # Under another name, as it makes checkpoints of its own again.
            must("ckpt_restart", "-q", "--name=%s.back" % job, "--stdout=" + os.path.join(work, "out"), "%s/%s" % (job, n))
            with open(os.path.join(work, "out"), encoding="ascii") as f:
                got = int(f.read().split()[-1])
            check("checkpoint %s brings back state %d" % (n, got), got - want in (0, 1), want)
            states.append(got)
        check("each as often as one likes", states[:3] == states[:2:-1] and len(set(states)) == 3, states)
        check("nothing has become of the others", sorted(stored(job)) == sorted(kept), stored(job))
    end()


main()
