#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ckpt_inspect on the checkpoint of a real program: what it says is what the program said of itself,
in a raw checkpoint and in a compressed one; damage is found; gdb reads its cores."""
import json
import os
import re
import shutil
import subprocess

from harness import check, compile_c, end, must, our, place, until

PROGRAM = r"""
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
char marker[] = "MARKER-IN-THE-DATA-SEGMENT";
volatile long counter;
__attribute__((noinline)) void inner_wait(void) { sleep(1000); __asm__ volatile(""); }
__attribute__((noinline)) void outer_call(int x) { inner_wait(); counter += x; }
static void *sleeper(void *arg) { outer_call(1); return arg; }
static void *spinner(void *arg)
{
	struct timespec t;
	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		counter++;
	}
	return arg;
}
int main(void)
{
	char *shared = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_t t;
	int p[2];

	if (pipe(p) || write(p[1], "unread", 6) != 6 || !fopen("name\xff", "w"))
		return 1;
	if (fork() == 0)
		_exit(7);
	if (fork() == 0) {
		strcpy(shared + 8192, "from the child");
		printf("child %d\n", getpid());
		fflush(stdout);
		for (;;)
			pause();
	}
	pthread_create(&t, 0, sleeper, 0);
	pthread_create(&t, 0, spinner, 0);
	usleep(100000);
	printf("parent %d marker %p shared %p\n", getpid(), (void *)marker, (void *)shared);
	fflush(stdout);
	for (;;)
		outer_call(2);
}
"""
# Of its lines, sorted.
WORDS = re.compile(r"child (\d+)\nparent (\d+) marker 0x(\w+) shared 0x(\w+)\n")


def inspect(*args, **more):
    return must("ckpt_inspect", *args, **more)


def as_json(verb, checkpoint, *args, want=0):
    text = inspect(verb, "--json", *args, checkpoint, want=want)
    try:
        return json.loads(text)
    except ValueError as e:
        check("JSON of " + verb, False, e, text[:200])
        return {}


def text_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def check_show(c, parent, child):
    s = as_json("show", c)
    check("show counts", (s["processes"], s["zombies"], s["threads"]) == (2, 1, 4), s)
    procs = {p["pid"]: p for p in s["process_list"]}
    check("show has the tree", parent in procs and procs.get(child, {}).get("ppid") == parent, procs)
    check("show has the zombie", [p["status"] for p in procs.values() if p["zombie"]] == [7 << 8], procs)
    check("show has the command", procs[parent]["command"].endswith("/prog"), procs[parent])
    text = inspect("show", c)
    check("show as text", str(parent) in text and "<ended>" in text, text)
    check("show is the default", inspect(c) == text)


def check_threads(c, parent, child):
    stacks = as_json("bt", c)
    names = [[f["symbol"].split("+")[0] for f in t.get("stack", [])] for t in stacks]
    main = [n for t, n in zip(stacks, names) if t["tid"] == parent][0]
    check("bt of the first thread", main[-5:-2] != [] and
          [n for n in main if n in ("inner_wait", "outer_call", "main")] == ["inner_wait", "outer_call", "main"],
          main)
    check("bt of the sleeping thread", any("outer_call" in n and "sleeper" in n for n in names), names)
    check("bt of the running thread", any("spinner" in n for n in names), names)
    check("the system call", {t["syscall_name"] for t in stacks if t["pid"] == child} == {"pause"}, stacks)
    check("bt as text", "outer_call" in inspect("bt", "--pid=%d" % parent, c))
    check("threads as text", str(parent) in inspect("threads", c))


def check_memory(c, parent, child, marker, shared):
    text = b"MARKER-IN-THE-DATA-SEGMENT\0"
    check("read", inspect("read", "--raw", c, str(parent), marker, str(len(text)), errors=None) == text)
    check("read dumps", "MARKER-IN-THE-DA" in inspect("read", c, str(parent), marker, "32"))
    at = "%x" % (int(shared, 16) + 8192)
    for pid in (parent, child):
        got = inspect("read", "--raw", c, str(pid), at, "14", errors=None)
        check("read of shared memory in %s" % ("parent" if pid == parent else "child"), got == b"from the child", got)
    inspect("read", c, str(parent), "10", "1", want=1)
    inspect("read", c, "1", marker, "1", want=1)
    inspect("read", c, str(parent), "xyz", "1", want=2)
    maps = as_json("maps", c)
    check("maps", any(m["start"] <= int(marker, 16) < m["end"] and m["name"].endswith("/prog") for m in maps))
    check("maps as text", "[stack]" in inspect("maps", "-p", str(parent), c))


def check_files(c, parent, child):
    files = as_json("files", c)
    pipes = [f for f in files if f["kind"] == "pipe"]
    check("the pipe's unread bytes", [p["unread_bytes"] for p in pipes] == [6, 6], pipes)
    check("holders", all({h["pid"] for h in p["holders"]} == {parent, child} for p in pipes), pipes)
    out = [f for f in files if f["name"].endswith("/out")]
    check("standard output", out and out[0]["kind"] == "file" and out[0]["pos"] > 0, files)
    check("a name that is not UTF-8", [f for f in files if f["name"].endswith("/name\u00ff")], files)
    check("files as text", "unread" in inspect("files", c))


def check_core(c, dir, parent):
    cores = os.path.join(dir, "cores")
    names = inspect("core", "-o", cores, c).split()
    check("cores", len(names) == 2, names)
    if not shutil.which("gdb"):
        print("skip gdb: it is not installed")
        return
    r = subprocess.run(["gdb", "-batch", "-nx", "-ex", "thread apply all bt", "-ex", "p marker",
                        os.path.join(dir, "prog"), os.path.join(cores, "core.%d" % parent)],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    text = r.stdout.decode(errors="replace")
    check("gdb sees the threads", all(re.search(r"#\d+ .*\b%s \(" % f, text) for f in
                                      ("inner_wait", "outer_call", "sleeper", "spinner", "main")), text)
    check("gdb sees the data", "MARKER-IN-THE-DATA-SEGMENT" in text, text)
    shutil.rmtree(cores)


def check_verify(c, dir):
    v = as_json("verify", c)
    check("verify", v["ok"] and all(i["ok"] for i in v["images"]) and len(v["images"]) == 3, v)
    bad = os.path.join(dir, "bad")
    for name in sorted(os.listdir(c)):
        shutil.copytree(c, bad)
        path = os.path.join(bad, name)
        with open(path, "r+b") as f:
            f.seek(os.path.getsize(path) - 9 if name == "checkpoint.img" else 6000)
            byte = f.read(1)
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([byte[0] ^ 4]))
        v = as_json("verify", bad, want=1)
        check("a flipped bit in " + name, not v["ok"] and
              [i["image"] for i in v["images"] if not i["ok"]] == [name], v)
        os.truncate(path, os.path.getsize(path) - 1)
        check("a missing byte of " + name, not as_json("verify", bad, want=1)["ok"])
        os.unlink(path)
        if name == "checkpoint.img":
            inspect("verify", bad, want=3)
        else:
            check("the loss of " + name, not as_json("verify", bad, want=1)["ok"])
        shutil.rmtree(bad)


def check_rest(a, b, dir, parent):
    check("no difference", json.loads(inspect("diff", "--json", a, a))["same"])
    d = json.loads(inspect("diff", "--json", a, b, want=1))
    changed = [p["pid"] for p in d["processes_changed"] if p["changed_bytes"]]
    check("the running process differs", parent in changed and not d["processes_removed"], d)
    inspect("diff", a, b, want=1)
    page = os.path.join(dir, "page.html")
    inspect("html", "-o", page, b)
    check("html", "outer_call" in text_of(page))
    check("records", "pipe_data" in inspect("records", a))
    check("records as JSON", "checkpoint.img" in as_json("records", a))
    inspect(want=2)
    inspect("show", "/nonexistent", want=3)
    inspect("maps", "--pid=1", a, want=1)
    inspect("--no-such-option", want=2)
    inspect("no-such-verb", a, want=2)
    check("help", "verify" in inspect("--help"))


def main():
    with place("inspect") as dir:
        prog, out, job = os.path.join(dir, "prog"), os.path.join(dir, "out"), os.path.basename(dir)
        compile_c(prog, PROGRAM, "-g", "-O1", "-lpthread")
        with open(out, "w", encoding="utf-8") as f:
            launch = subprocess.Popen([our("ckpt_launch"), "--name=" + job, prog], stdin=subprocess.DEVNULL, stdout=f)
        words = until(lambda: WORDS.search("".join(sorted(text_of(out).splitlines(True)))))
        check("the program says who it is", words, text_of(out))
        if not words:
            end()
        child, parent, marker, shared = words.groups()
        parent, child = int(parent), int(child)
        raw = must("ckpt_command", "--checkpoint", "--leave-running", "--compression=none", job).strip()
        packed = must("ckpt_command", "--checkpoint", "--compression=zstd", job).strip()
        launch.wait(20)
        for c in (raw, packed):
            print("#", c)
            check_show(c, parent, child)
            check_threads(c, parent, child)
            check_memory(c, parent, child, marker, shared)
            check_files(c, parent, child)
            check_core(c, dir, parent)
            check_verify(c, dir)
        check("the newest of the job", packed in inspect(job))
        check("JOB/ID", raw in inspect("show", "%s/%s" % (job, os.path.basename(raw))))
        check_rest(raw, packed, dir, parent)
    end()


main()
