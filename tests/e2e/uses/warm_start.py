#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A service that takes long to start, ready at once: python with heavy modules and 500 MiB of data that it has made. It is
checkpointed when it is ready, and restored instead of started: one, then five clones at the same time. What
the clones' memory takes up is printed from smaps: what came from files is theirs together."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
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
failures = []


def check(ok, what, *more):
    print("ok  " if ok else "FAIL", what, *([] if ok else more), flush=True)
    if not ok:
        failures.append(what)


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


def tool(name, *args):
    done = subprocess.run([os.path.join(BIN, name), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          timeout=120, check=False)
    check(done.returncode == 0, "%s %s" % (name, " ".join(args[:1])), done.returncode)
    return done.stdout


def host_pids(job):
    return [p["host_pid"] for j in json.loads(tool("ckpt_command", "--status", "--json", job))
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
    work = tempfile.mkdtemp(prefix="ckpt-warm.", dir=os.environ.get("TMPDIR", "/var/tmp"))
    os.environ["CKPT_DIR"] = os.path.join(work, "store")
    job, size = os.path.basename(work), mebibytes()
    clones = []
    python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    try:
        cold = Service(os.path.join(BIN, "ckpt_launch"), "-q", "--name=" + job, python, "-c", SERVICE, str(size))
        check(cold.ask(size - 1) == "1 True\n", "it answers")
        cold_s = time.monotonic() - cold.begin
        tool("ckpt_command", "--checkpoint", job)
        cold.end()

        warm = Service(os.path.join(BIN, "ckpt_restart"), "-q", job)
        check(warm.ask(size - 1) == "2 True\n", "restored, it answers, and has forgotten nothing")
        warm_s = time.monotonic() - warm.begin
        print("     ready after %.3f s instead of %.2f s, %.0f times faster (%d MiB of data)"
              % (warm_s, cold_s, cold_s / warm_s, size))
        check(warm_s < cold_s, "it is ready before it could have started", warm_s, cold_s)
        check(warm.end() == 0, "it ends as it does")

        begin = time.monotonic()
        clones = [Service(os.path.join(BIN, "ckpt_restart"), "-q", "--name=%s.%d" % (job, n), job) for n in range(CLONES)]
        check(all(c.ask(n * 7) == "2 True\n" for n, c in enumerate(clones)), "five clones answer")
        print("     five clones ready after %.3f s" % (time.monotonic() - begin))
        check(all(c.ask(n) == "3 True\n" for n, c in enumerate(clones[:3])) and clones[4].ask(1) == "3 True\n",
              "each has its own state")
        for n in range(CLONES):
            tool("ckpt_command", "--wait", "%s.%d" % (job, n))
        pids = [pid for n in range(CLONES) for pid in host_pids("%s.%d" % (job, n))]
        sums = shares(pids)
        for kind, (rss, pss) in sums.items():
            print("     %s: %d MiB in each, %d MiB of memory for all five" % (
                {"file": "mapped from files and images", "anon": "anonymous memory"}[kind], rss / 1024 / len(pids), pss / 1024))
        check(sums["file"][1] < sums["file"][0] / 2, "what was mapped from files takes up less than half of five times", sums)
        check([c.end() for c in clones] == [0] * CLONES, "they end as they do")
        clones = []
    finally:
        for c in clones:
            c.child.kill()
        for n in range(CLONES):
            subprocess.run([os.path.join(BIN, "ckpt_command"), "-q", "--kill", "%s.%d" % (job, n)], stderr=subprocess.DEVNULL,
                           check=False)
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
