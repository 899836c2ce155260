#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looking into a job that hangs, without running it ever again: two threads have each other's lock. The checkpoint is
copied away, the job ended; ckpt_inspect shows the processes, the stack of each thread with names, and writes a core
from which gdb tells the same, and the values of variables. Nothing is executed, and no byte of the checkpoint changes."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("builddir", "."))
CC = os.environ.get("CC", "cc").split()
PROGRAM = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
struct account { char owner[32]; long cents; pthread_mutex_t lock; };
static struct account *accounts[2];
volatile int in_the_middle, transfers = 4711;
__attribute__((noinline)) int take_second(struct account *second)
{
	int r;

	__atomic_add_fetch(&in_the_middle, 1, __ATOMIC_SEQ_CST);
	while (in_the_middle < 2)
		usleep(1000);
	r = pthread_mutex_lock(&second->lock);
	return r + transfers;
}
__attribute__((noinline)) int transfer(struct account *first, struct account *second, long cents)
{
	int r;

	pthread_mutex_lock(&first->lock);
	r = take_second(second);
	first->cents -= cents;
	return r;
}
static void *back(void *arg)
{
	transfer(accounts[1], accounts[0], 100);
	return arg;
}
int main(void)
{
	const char *names[] = { "Ada Lovelace", "Charles Babbage" };
	pthread_t t;

	for (int i = 0; i < 2; i++) {
		accounts[i] = calloc(1, sizeof(*accounts[i]));
		strcpy(accounts[i]->owner, names[i]);
		accounts[i]->cents = 123456 + i;
		pthread_mutex_init(&accounts[i]->lock, NULL);
	}
	pthread_create(&t, NULL, back, NULL);
	return transfer(accounts[0], accounts[1], 250) ? 0 : 1;
}
"""
failures = []


def check(ok, what, *more):
    print("ok  " if ok else "FAIL", what, *([] if ok else more), flush=True)
    if not ok:
        failures.append(what)


def run(*argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                          check=False)
    text = done.stdout.decode(errors="replace")
    check(done.returncode == 0, "%s %s" % (os.path.basename(argv[0]), argv[1]), text)
    return text


def hangs(pid):
    """Both threads wait, and for each other: they have gone where they wait."""
    try:
        tids = os.listdir("/proc/%d/task" % pid)
        calls = [open("/proc/%d/task/%s/syscall" % (pid, t), encoding="ascii").read().split()[0] for t in tids]
    except OSError:
        return False
    return len(calls) == 2 and calls == ["202", "202"]


def digest(folder):
    return {name: hashlib.sha256(open(os.path.join(folder, name), "rb").read()).hexdigest() for name in os.listdir(folder)}


def executed():
    """The programs of all processes."""
    found = set()
    for name in os.listdir("/proc"):
        try:
            found.add(os.readlink("/proc/%s/exe" % name))
        except OSError:
            continue
    return found


def run_quietly(*argv):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          timeout=60, check=False).stdout


def look(copy, work, pid):
    inspect = os.path.join(BIN, "ckpt_inspect")
    shown = json.loads(run(inspect, "show", "--json", copy))
    check((shown["processes"], shown["threads"]) == (1, 2), "show: one process, two threads", shown)
    stacks = json.loads(run(inspect, "bt", "--json", copy))
    names = {t["tid"]: [f["symbol"].split("+")[0] for f in t["stack"]] for t in stacks}
    want = ["take_second", "transfer"]
    check(len(names) == 2 and all([n for n in s if n in want] == want for s in names.values()),
          "bt: both threads are in take_second() of transfer()", names)
    check("main" in names.get(pid, []) and any("back" in s for t, s in names.items() if t != pid),
          "bt: one from main(), one from back()", names)
    check(all(t["syscall_name"] == "futex" for t in stacks), "bt: both wait for a futex", stacks)
    check("futex" in run(inspect, "threads", copy), "threads: as text")
    cores = os.path.join(work, "cores")
    run(inspect, "core", "-o", cores, copy)
    return os.path.join(cores, "core.%d" % pid)


def debug(core, program):
    if not shutil.which("gdb"):
        print("skip gdb: it is not installed")
        return
    text = run("gdb", "-batch", "-nx", "-ex", "thread apply all bt", "-ex", "p transfers", "-ex", "p accounts[0]->owner",
               "-ex", "p accounts[1]->cents", "-ex", "p accounts[0]->lock.__data.__owner", program, core)
    for frame in (r"take_second \(second=0x", r"transfer \(first=0x[0-9a-f]+, second=0x[0-9a-f]+, cents=250\)",
                  r"transfer \(first=0x[0-9a-f]+, second=0x[0-9a-f]+, cents=100\)", r"\bback \(", r"\bmain \("):
        check(re.search(frame, text), "gdb: " + frame, text)
    for value in ("4711", "Ada Lovelace", "123457"):
        check(value in text, "gdb: the value " + value, text)


def main():
    work = tempfile.mkdtemp(prefix="ckpt-look.")
    os.environ["CKPT_DIR"] = os.path.join(work, "store")
    job, program, copy = os.path.basename(work), os.path.join(work, "bank"), os.path.join(work, "evidence")
    try:
        with open(program + ".c", "w", encoding="ascii") as f:
            f.write(PROGRAM)
        if subprocess.run([*CC, "-g", "-O0", "-o", program, program + ".c", "-lpthread"], check=False).returncode:
            print("the compiler does not work")
            return 77
        child = subprocess.Popen([os.path.join(BIN, "ckpt_launch"), "-q", "--name=" + job, program],
                                 stdin=subprocess.DEVNULL)
        pid, end = 0, time.monotonic() + 60
        while not (pid and hangs(pid)) and time.monotonic() < end:
            time.sleep(0.02)
            status = json.loads(run_quietly(os.path.join(BIN, "ckpt_command"), "--status", "--json", job) or "[]")
            pid = [p["host_pid"] for j in status for p in j["processes"] if p["comm"] == "bank"][:1]
            pid = pid[0] if pid else 0
        check(pid and hangs(pid), "it hangs")
        where = run(os.path.join(BIN, "ckpt_command"), "--checkpoint", job).strip()
        child.wait(30)
        shutil.copytree(where, copy)
        shutil.rmtree(where)
        before = digest(copy)
        debug(look(copy, work, pid), program)
        check(digest(copy) == before, "no byte of the checkpoint has changed")
        check(program not in executed(), "and nothing of it runs")
    finally:
        subprocess.run([os.path.join(BIN, "ckpt_command"), "-q", "--kill", job], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
