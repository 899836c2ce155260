#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench.py [OPTION]... [NAME]... - what ckpt costs, against the same program without it.

Runs are in pairs, A B A B ..., so that what else the machine does meets both; a line shows the
medians, the median of the pairs' ratios, and the smallest and the largest of these. Nothing here
passes or fails. NAME (or BENCH_FILTER, words) are shell patterns of benchmarks; --list shows them.
DMTCP and CRIU are measured beside ckpt where they are installed, and usable.
"""
import argparse
import fnmatch
import glob
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.abspath(os.environ.get("builddir", "."))
LIMIT = 120.0			# seconds until a job that says nothing counts as broken
NULL = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]

args = None
work = None			# logs and stored jobs
store = None			# images: a tmpfs


def program(name):
    """One of ours: of this build, else installed."""
    path = os.path.join(HERE, name)
    return path if os.path.exists(path) else shutil.which(name) or sys.exit("bench: %s is not built" % name)


def helper(name):
    return os.path.join(HERE, "bench", name)


def seconds(argv):
    """Wall-clock time of a program, from before it is started until it was waited for."""
    begun = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=NULL)
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError("%s ended with wait status %d" % (" ".join(argv), status))
    return time.perf_counter() - begun


def number(argv):
    return float(subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout)


# ---- output ----

def show(name, unit, native, other, ratios, who="ckpt"):
    def cell(values):
        if not values:
            return "-"
        return "%.*f %s" % (0 if statistics.median(values) >= 1000 else 3 if statistics.median(values) < 10 else 1,
                            statistics.median(values), unit)
    spread = ""
    if ratios:
        spread = "%8.3f  (%.3f .. %.3f)" % (statistics.median(ratios), min(ratios), max(ratios))
    print("%-26s %-7s %15s %15s %s" % (name, who, cell(native), cell(other), spread), flush=True)


def title(text, first, second, third):
    print("\n%s\n%-26s %-7s %15s %15s %8s  (min .. max)" % (text, "", "", first, second, third), flush=True)


def compare(name, unit, native, others, pairs):
    """@native and each of @others ({who: function}) return one measurement."""
    for who, other in others.items():
        a, b = [], []
        for _ in range(pairs):
            a.append(native())
            b.append(other())
        show(name, unit, a, b, quotients(a, b), who)


# ---- programs as they run, and as they start ----

def launchers():
    """How to run a program under ckpt, and under what else there is."""
    ret = {"ckpt": [program("ckpt_launch"), "--quiet"]}
    if shutil.which("dmtcp_launch"):
        ret["dmtcp"] = [shutil.which("dmtcp_launch"), "--new-coordinator", "-q", "-q"]
    return ret


def bench_loop(name):
    argv = [helper("loops"), name, str(args.ms)]
    compare(name, "ns", lambda: number(argv),
            {who: lambda l=launch: number(l + argv) for who, launch in launchers().items()}, args.pairs)


def bench_launch(_):
    true = shutil.which("true")
    for who, launch in launchers().items():
        a, b = [], []
        for _ in range(args.pairs * 10):
            a.append(1000 * seconds([true]))
            b.append(1000 * seconds(launch + [true]))
        show("launch", "ms", a, b, quotients(a, b), who)
        show("launch, added", "ms", [], [y - x for x, y in zip(a, b)], [], who)


# ---- checkpoints ----

class Job:
    """bench/job, and what it has said."""
    count = 0

    def __init__(self, mib, processes):
        Job.count += 1
        self.name = "bench-%d-%d" % (os.getpid(), Job.count)
        self.dir = os.path.join(store, self.name)
        self.image = os.path.join(self.dir, "c")
        self.log = os.path.join(work, self.name + ".log")
        self.front = self.spawn([helper("job"), str(mib), str(processes), self.log])
        end = time.monotonic() + LIMIT
        while "ready" not in self.lines():
            if time.monotonic() > end or self.front.poll() is not None:
                raise RuntimeError("job %s does not start" % self.name)
            time.sleep(0.01)
        time.sleep(0.05)

    def lines(self):
        try:
            with open(self.log) as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def gaps(self, since):
        """[ns, before, after] of each time it stood still, after CLOCK_REALTIME @since."""
        all_gaps = [[int(n) for n in line.split()[1:]] for line in self.lines() if line.startswith("gap")]
        return [g for g in all_gaps if g[2] > since]

    def restart(self, *options):
        """Seconds from the start of the restart to the program's first own instruction."""
        begun = time.time_ns()
        self.front = self.respawn(options)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and self.front.poll() in (None, 0):
            back = [g for g in self.gaps(begun) if g[1] < begun]
            if back:
                return (back[0][2] - begun) / 1e9
            time.sleep(0.005)
        raise RuntimeError("job %s did not come back" % self.name)

    def image_files(self):
        return glob.glob(os.path.join(self.image, "*"))

    def drop(self):
        self.end()
        shutil.rmtree(self.dir, ignore_errors=True)


def run(*argv):
    """Seconds that a program takes, which has to succeed."""
    begun = time.perf_counter()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def background(*argv):
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True)


class CkptJob(Job):
    who = "ckpt"

    def spawn(self, argv):
        return background(program("ckpt_launch"), "--quiet", "--name=" + self.name, "--checkpoint-dir=" + self.dir,
                          *argv)

    def checkpoint(self, running):
        ret = run(program("ckpt_command"), "--quiet", "--checkpoint", "--id=c",
                  "--leave-running=%s" % ("true" if running else "false"), self.name)
        if not running:
            self.front.wait()
        return ret

    def respawn(self, options):
        return background(program("ckpt_restart"), "--image-path=" + self.image, "--name=" + self.name, *options)

    def end(self):
        if self.front.poll() is None:
            run(program("ckpt_command"), "--quiet", "--kill", self.name)
            self.front.wait()


class CriuJob(Job):
    who = "criu"

    def spawn(self, argv):
        self.pid = None
        ret = background(*argv)
        self.pid = ret.pid
        return ret

    def checkpoint(self, running):
        os.makedirs(self.image)
        ret = run(criu(), "dump", "--tree=%d" % self.pid, "--images-dir=" + self.image, "--log-file=dump.log",
                  *(["--leave-running"] if running else []))
        if not running:
            self.front.wait()
        return ret

    def respawn(self, _):
        return background(criu(), "restore", "--restore-detached", "--images-dir=" + self.image,
                          "--log-file=restore.log")

    def end(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if self.front.pid == self.pid:
            self.front.wait()
        while os.path.exists("/proc/%d" % self.pid) and self.front.pid != self.pid:
            time.sleep(0.001)


def criu():
    return shutil.which("criu", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def kinds():
    """Jobs of ours, and of CRIU where that is there, works, and may be used."""
    usable = criu() and os.geteuid() == 0 and \
        subprocess.run([criu(), "check"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    return [CkptJob, CriuJob] if usable else [CkptJob]


def rounds():
    return range(args.pairs // 2 or 1)


def ms(values):
    return [1000 * v for v in values]


def quotients(a, b):
    return [y / x for x, y in zip(a, b)]


def plain(*argv):
    return number([helper("plain"), *map(str, argv)]) / 1e9


def plain_write(mib):
    path = os.path.join(store, "plain")
    ret = plain("write", mib, path)
    os.unlink(path)
    return ret


def bench_stop(name):
    """Default checkpoint: blocking, the job ends after it."""
    mib = int(name.split("-")[1])
    for kind in kinds():
        a, b = [], []
        for _ in rounds():
            a.append(plain_write(mib))
            job = kind(mib, 1)
            b.append(job.checkpoint(False))
            job.drop()
        show("%s, time" % name, "ms", ms(a), ms(b), [], job.who)
        show("%s, speed" % name, "MiB/s", [mib / t for t in a], [mib / t for t in b], quotients(b, a), job.who)


def bench_running(name):
    mib = int(name.split("-")[1])
    for kind in kinds():
        job = kind(mib, 1)
        fork, write, pause, total = [], [], [], []
        for _ in rounds():
            fork.append(plain("fork", mib))
            write.append(plain_write(mib))
            begun = time.time_ns()
            total.append(job.checkpoint(True))
            time.sleep(0.1)
            pause.append(max(g[0] for g in job.gaps(begun)) / 1e9)
            shutil.rmtree(job.image)
        job.drop()
        show("%s, pause" % name, "ms", ms(fork), ms(pause), quotients(fork, pause), job.who)
        show("%s, total" % name, "ms", ms(write), ms(total), quotients(write, total), job.who)


def bench_restart(name):
    mib = int(name.split("-")[1])
    for kind in kinds():
        job = kind(mib, 1)
        job.checkpoint(False)
        read, lazy, mapped, eager = [], [], [], []
        for _ in rounds():
            read.append(plain("read", mib, max(job.image_files(), key=os.path.getsize)))
            for times, options in ((lazy, []), (mapped, ["--map-memory"]), (eager, ["--eager"])):
                times.append(job.restart(*(options if kind is CkptJob else [])))
                job.end()
        job.drop()
        show(name, "ms", ms(read), ms(lazy), quotients(read, lazy), job.who)
        if kind is CkptJob:
            show("%s, --map-memory" % name, "ms", ms(read), ms(mapped), quotients(read, mapped), job.who)
            show("%s, --eager" % name, "ms", ms(read), ms(eager), quotients(read, eager), job.who)


def bench_processes(name):
    count = int(name.split("-")[1])
    for kind in kinds():
        stop, running, back = [], [], []
        for _ in rounds():
            job = kind(0, count)
            running.append(job.checkpoint(True))
            shutil.rmtree(job.image)
            stop.append(job.checkpoint(False))
            back.append(job.restart())
            job.drop()
        for what, times in (("checkpoint", stop), ("left running", running), ("restart", back)):
            show("%s, %s" % (name, what), "ms", [], ms(times), [], job.who)


def bench_size(_):
    for kind in kinds():
        job = kind(0, 1)
        job.checkpoint(False)
        show("image of one process", "KiB", [], [sum(map(os.path.getsize, job.image_files())) / 1024], [], job.who)
        job.drop()


def memory_enough(mib):
    """A job of that size, its image and the same again to compare with."""
    with open("/proc/meminfo") as f:
        free = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable")) // 1024
    room = os.statvfs(store)
    return free > 3 * mib + 512 and room.f_bavail * room.f_frsize > (2 * mib + 64) << 20


def sized(function):
    def run(name):
        if memory_enough(int(name.split("-")[1])):
            function(name)
        else:
            print("%-26s skipped: not enough memory" % name, flush=True)
    return run


def groups():
    """(title, columns, {name: function})"""
    loops = subprocess.run([helper("loops"), "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    plain_ckpt = ("plain", "ckpt", "ratio")
    return [
        ("A program at work, per turn", ("native", "launched", "ratio"), {name: bench_loop for name in loops}),
        ("Start and end of a program", ("native", "launched", "ratio"), {"launch": bench_launch}),
        ("Checkpoint of random memory to %s; plain: write(2) of the same bytes" % store, plain_ckpt,
         {"stop-1024": sized(bench_stop)}),
        ("Checkpoint, left running; plain: fork(2), write(2)", plain_ckpt, {"running-1024": sized(bench_running)}),
        ("Restart until the program runs; plain: read(2) of its image", plain_ckpt,
         {"restart-%d" % mib: sized(bench_restart) for mib in (1, 64, 1024, 4096)}),
        ("Many small processes", ("", "ckpt", ""), {"processes-%d" % n: bench_processes for n in (50, 200)}),
        ("Size", ("", "ckpt", ""), {"size": bench_size}),
    ]


def tmpfs():
    """Where images go, so that no disk is measured: BENCH_DIR, else /dev/shm, else the usual place."""
    for path in (os.environ.get("BENCH_DIR"), "/dev/shm", tempfile.gettempdir()):
        if path and os.access(path, os.W_OK):
            return path
    return "."


def main():
    global args, work, store
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=int(os.environ.get("BENCH_PAIRS", "10")), help="runs of each")
    parser.add_argument("--ms", type=int, default=100, help="length of one run of a loop")
    parser.add_argument("--list", action="store_true", help="names of the benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    wanted = args.names or os.environ.get("BENCH_FILTER", "*").split()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="ckpt-bench-") as work, \
         tempfile.TemporaryDirectory(prefix="ckpt-bench-", dir=tmpfs()) as store:
        os.environ["CKPT_DIR"] = os.path.join(work, "store")
        for text, columns, benchmarks in groups():
            chosen = [n for n in benchmarks if any(fnmatch.fnmatchcase(n, w) for w in wanted)]
            if args.list:
                print("\n".join(chosen))
                continue
            if chosen:
                title(text, *columns)
            for name in chosen:
                try:
                    benchmarks[name](name)
                except (RuntimeError, OSError, subprocess.CalledProcessError) as e:
                    print("%-26s could not be measured: %s" % (name, e), flush=True)
                    failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
