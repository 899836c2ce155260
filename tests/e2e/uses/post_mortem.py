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

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import check, compile_c, end, must, our, place, tool, until  # noqa: E402

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


def pid_of(job, comm):
    status = json.loads(tool("ckpt_command", "--status", "--json", job).stdout or "[]")
    return next((p["host_pid"] for j in status for p in j["processes"] if p["comm"] == comm), 0)


def look(copy, work, pid):
    shown = json.loads(must("ckpt_inspect", "show", "--json", copy))
    check("show: one process, two threads", (shown["processes"], shown["threads"]) == (1, 2), shown)
    stacks = json.loads(must("ckpt_inspect", "bt", "--json", copy))
    names = {t["tid"]: [f["symbol"].split("+")[0] for f in t["stack"]] for t in stacks}
    want = ["take_second", "transfer"]
    check("bt: both threads are in take_second() of transfer()",
          len(names) == 2 and all([n for n in s if n in want] == want for s in names.values()), names)
    check("bt: one from main(), one from back()",
          "main" in names.get(pid, []) and any("back" in s for t, s in names.items() if t != pid), names)
    check("bt: both wait for a futex", all(t["syscall_name"] == "futex" for t in stacks), stacks)
    check("threads: as text", "futex" in must("ckpt_inspect", "threads", copy))
    cores = os.path.join(work, "cores")
    must("ckpt_inspect", "core", "-o", cores, copy)
    return os.path.join(cores, "core.%d" % pid)


def debug(core, program):
    if not shutil.which("gdb"):
        print("skip gdb: it is not installed")
        return
    gdb = subprocess.run(["gdb", "-batch", "-nx", "-ex", "thread apply all bt", "-ex", "p transfers",
                          "-ex", "p accounts[0]->owner",
                          "-ex", "p accounts[1]->cents", "-ex", "p accounts[0]->lock.__data.__owner", program, core],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                         timeout=120, check=False)
    text = gdb.stdout
    check("gdb: its status", gdb.returncode == 0, text)
    for frame in (r"take_second \(second=0x", r"transfer \(first=0x[0-9a-f]+, second=0x[0-9a-f]+, cents=250\)",
                  r"transfer \(first=0x[0-9a-f]+, second=0x[0-9a-f]+, cents=100\)", r"\bback \(", r"\bmain \("):
        check("gdb: " + frame, re.search(frame, text), text)
    for value in ("4711", "Ada Lovelace", "123457"):
        check("gdb: the value " + value, value in text, text)


def main():
    with place("look") as work:
        job, program, copy = os.path.basename(work), os.path.join(work, "bank"), os.path.join(work, "evidence")
        compile_c(program, PROGRAM, "-g", "-O0", "-lpthread")
        child = subprocess.Popen([our("ckpt_launch"), "-q", "--name=" + job, program], stdin=subprocess.DEVNULL)
        check("it hangs", until(lambda: (pid := pid_of(job, "bank")) and hangs(pid)))
        pid = pid_of(job, "bank")
        where = must("ckpt_command", "--checkpoint", job).strip()
        child.wait(30)
        shutil.copytree(where, copy)
        shutil.rmtree(where)
        before = digest(copy)
        debug(look(copy, work, pid), program)
        check("no byte of the checkpoint has changed", digest(copy) == before)
        check("and nothing of it runs", program not in executed())
    end()


main()
