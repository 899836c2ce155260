#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""python multiprocessing: a pool that is replaced while it works, queues, a shared array under a lock, shared memory,
a manager, a pipe; fork and spawn. Every piece of work must be done exactly once."""
import job

PROGRAM = r'''
import multiprocessing as mp, os, sys
from multiprocessing import shared_memory

def work(n):
    s = n
    for i in range(2000):
        s = (s * 1103515245 + i) % 2147483647
    with total.get_lock():
        total[0] += 1; total[1] = (total[1] + s) % (1 << 40)
    return s

def init(t):
    global total; total = t

def consumer(q, r, name):
    shm = shared_memory.SharedMemory(name=name); n = s = 0
    for block, value in iter(q.get, None):
        assert bytes(shm.buf[block * 64:block * 64 + 64]) == bytes([value]) * 64, block
        n += 1; s += value; r.put(block)
    shm.close(); r.put(("sum", n, s))

def echo(conn):
    for x in iter(conn.recv, None): conn.send(x)

def main(method):
    ctx = mp.get_context(method)
    total = ctx.Array("q", 2); q, r = ctx.Queue(), ctx.Queue(); m = ctx.Manager(); d = m.dict()
    shm = shared_memory.SharedMemory(create=True, size=64 * 64)
    here, there = ctx.Pipe()
    ps = [ctx.Process(target=consumer, args=(q, r, shm.name)) for _ in range(2)] + [ctx.Process(target=echo, args=(there,))]
    for p in ps: p.start()
    free = list(range(64)); sent = sums = n = 0; expect = 0
    with ctx.Pool(3, init, (total,), maxtasksperchild=20) as pool:
        print("ready", flush=True)
        while not os.path.exists("stop") or n < 3:
            got = pool.map_async(work, range(n, n + 30), chunksize=3)
            while free:
                b = free.pop(); v = (sent * 7) % 256; shm.buf[b * 64:b * 64 + 64] = bytes([v]) * 64
                q.put((b, v)); sent += 1; sums += v
            for _ in range(32): free.append(r.get())
            here.send((n, "x" * 100000)); assert here.recv() == (n, "x" * 100000)
            for s in got.get(): expect = (expect + s) % (1 << 40)
            n += 30 ; d[n] = n
        pool.close(); pool.join()
    assert total[0] == n and total[1] == expect, (list(total), n, expect)
    for _ in range(2): q.put(None)
    here.send(None); rest = sent - (len(free)) ; back = 0; done = []
    while len(done) < 2:
        x = r.get()
        if isinstance(x, tuple): done.append(x)
        else: back += 1
    assert back == 64 - len(free), (back, len(free))
    assert sum(x[1] for x in done) == sent and sum(x[2] for x in done) == sums, (done, sent, sums)
    for p in ps: p.join(); assert p.exitcode == 0, p
    assert sorted(d.keys()) == list(range(30, n + 1, 30)), d
    shm.close(); shm.unlink(); m.shutdown()
    print("right", method, n, flush=True)

if __name__ == "__main__":
    main(sys.argv[1])
'''


def main():
    for method in ("fork", "forkserver"):
        j = job.Job("multiproc")
        j.launch(job.PYTHON, j.write("program.py", PROGRAM), method)
        j.counts(rounds=max(1, job.ROUNDS // 2))
        j.check("no complaints", "Error" not in j.said() and "leaked" not in j.said())
        j.done()


main()
