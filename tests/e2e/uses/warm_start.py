#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A service that takes long to start, ready at once: python with heavy modules and 500 MiB of data that it has made. It is
checkpointed when it is ready, and restored instead of started: once read, once mapped (--map-memory), then five clones
at the same time that map it. What they take up together is measured from smaps, when each has looked at all its data."""
import json
import os
import subprocess
import sys
import time

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import PYTHON, check, end, must, our, place  # noqa: E402

CLONES = 5
SERVICE = r"""
import sys
for name in ("numpy", "asyncio", "concurrent.futures", "ctypes", "decimal", "email.message", "html", "http.server", "json",
             "logging.config", "multiprocessing.pool", "pydoc", "sqlite3", "ssl", "tarfile", "unittest.mock", "urllib.request",
             "xml.dom.minidom", "xmlrpc.client", "zipfile"):
    try:
        __import__(name)
    except ImportError:
        pass
import hashlib, random
count = int(sys.argv[1])
make = random.Random(42)
pages = [make.randbytes(1 << 20) for n in range(count)]
index = {hashlib.sha256(page).hexdigest(): n for n, page in enumerate(pages)}
changes = 0
for line in sys.stdin:
    n = int(line) % count
    changes += 1
    print(changes, index[hashlib.sha256(pages[n]).hexdigest()] == n, flush=True)
"""


def mebibytes():
    """500, or what a small machine has for it and its clones."""
    with open("/proc/meminfo", encoding="ascii") as f:
        free = [int(line.split()[1]) for line in f if line.startswith("MemAvailable:")][0] // 1024
    return max(20, min(500, free // (3 * CLONES)))


class Service:
    def __init__(self, *argv):
        self.begin = time.monotonic()
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, n):
        self.child.stdin.write("%d\n" % n)
        self.child.stdin.flush()
        return self.child.stdout.readline()

    def end(self):
        self.child.stdin.close()
        status = self.child.wait(60)
        self.child.stdout.close()
        return status


def host_pids(job):
    return [p["host_pid"] for j in json.loads(must("ckpt_command", "--status", "--json", job))
            for p in j["processes"]]


def shares(pids):
    """KiB of Rss and Pss, of mappings with a file and of anonymous ones."""
    sums = {"file": [0, 0], "anon": [0, 0]}
    for pid in pids:
        kind = "anon"
        with open("/proc/%d/smaps" % pid, encoding="utf-8") as f:
            for line in f:
                words = line.split()
                if "-" in words[0] and not words[0].endswith(":"):
                    kind = "file" if len(words) > 5 and words[5].startswith("/") else "anon"
                elif words[0] in ("Rss:", "Pss:"):
                    sums[kind][words[0] == "Pss:"] += int(words[1])
    return sums


def main():
    with place("warm", os.environ.get("TMPDIR", "/var/tmp")) as work:
        job, size = os.path.basename(work), mebibytes()
        cold = Service(our("ckpt_launch"), "-q", "--name=" + job, PYTHON, "-c", SERVICE, str(size))
        check("it answers", cold.ask(size - 1) == "1 True\n")
        cold_s = time.monotonic() - cold.begin
        must("ckpt_command", "--checkpoint", job)
        cold.end()

        for way in ([], ["--map-memory"]):
            warm = Service(our("ckpt_restart"), "-q", *way, job)
            check("restored, it answers, and has forgotten nothing", warm.ask(size - 1) == "2 True\n")
            warm_s = time.monotonic() - warm.begin
            print("     ready after %.3f s instead of %.2f s, %.0f times faster (%d MiB of data%s)"
                  % (warm_s, cold_s, cold_s / warm_s, size, ", mapped" if way else ""))
            check("it is ready before it could have started", warm_s < cold_s, warm_s, cold_s)
            check("it ends as it does", warm.end() == 0)

        begin = time.monotonic()
        clones = [Service(our("ckpt_restart"), "-q", "--map-memory", "--name=%s.%d" % (job, n), job) for n in range(CLONES)]
        check("five clones answer", all(c.ask(n * 7) == "2 True\n" for n, c in enumerate(clones)))
        print("     five clones ready after %.3f s" % (time.monotonic() - begin))
        check("each has its own state",
              all(c.ask(n) == "3 True\n" for n, c in enumerate(clones[:3])) and clones[4].ask(1) == "3 True\n")
        check("each has all its data", all(c.ask(n).endswith(" True\n") for n in range(size) for c in clones))
        pids = [pid for n in range(CLONES) for pid in host_pids("%s.%d" % (job, n))]
        sums = shares(pids)
        for kind, (rss, pss) in sums.items():
            print("     %s: %d MiB in each, %d MiB of memory for all five" % (
                {"file": "mapped from files and images", "anon": "anonymous memory"}[kind], rss / 1024 / len(pids), pss / 1024))
        total = sums["file"][1] + sums["anon"][1]
        print("     together %d MiB" % (total / 1024))
        check("five take up less than two would", total < 2 * (sums["file"][0] + sums["anon"][0]) / CLONES, sums)
        check("they end as they do", [c.end() for c in clones] == [0] * CLONES)
    end()


main()
