#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""asyncio: a server and its clients over TCP and a unix socket, subprocesses with pipes, timers and a thread pool, in one
event loop and in two processes. Nothing may be lost, doubled or out of order, and no time-out may come early."""
import job

PROGRAM = r'''
import asyncio, hashlib, os, sys, time

async def serve(reader, writer):
    while line := await reader.readline():
        n = int(line); body = await reader.readexactly(n)
        writer.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        await writer.drain()
    writer.close()

def stop(): return os.path.exists("stop")

async def client(connect, size):
    reader, writer = await connect(); n = 0
    while not stop():
        n += 1; body = (b"%d " % n * size)[:size]
        writer.write(b"%d\n" % len(body) + body); await writer.drain()
        assert await reader.readline() == hashlib.sha256(body).hexdigest().encode() + b"\n"
        assert await reader.readexactly(len(body)) == body
    writer.close(); await writer.wait_closed(); return n

async def child():
    n = 0
    while not stop():
        n += 1
        p = await asyncio.create_subprocess_exec("sort", "-n", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        out, _ = await p.communicate(b"".join(b"%d\n" % ((i * 7919) % 5000) for i in range(5000)))
        assert p.returncode == 0 and out.split() == [b"%d" % i for i in range(5000)]
    return n

async def long_child():
    p = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE); n = 0
    while not stop():
        n += 1; p.stdin.write(b"%d\n" % n); await p.stdin.drain(); assert await p.stdout.readline() == b"%d\n" % n
    p.stdin.close(); assert await p.wait() == 0; return n

async def timers():
    n = 0
    while not stop():
        t = time.monotonic(); await asyncio.sleep(0.05); n += 1
        assert time.monotonic() - t >= 0.049, "early"
        try: await asyncio.wait_for(asyncio.Event().wait(), 0.03); assert False
        except asyncio.TimeoutError: pass
    return n

async def threads():
    n = 0; loop = asyncio.get_running_loop()
    while not stop():
        n += 1; got = await asyncio.gather(*(loop.run_in_executor(None, pow, 3, 100000 + i, 1000003) for i in range(8)))
        assert got == [pow(3, 100000 + i, 1000003) for i in range(8)]
    return n

async def main():
    tcp = await asyncio.start_server(serve, "127.0.0.1", 0); port = tcp.sockets[0].getsockname()[1]
    unix = await asyncio.start_unix_server(serve, "sock")
    jobs = [client(lambda: asyncio.open_connection("127.0.0.1", port), s) for s in (10, 3000, 300000)]
    jobs += [client(lambda: asyncio.open_unix_connection("sock"), s) for s in (10, 3000, 300000)]
    other = await asyncio.create_subprocess_exec(sys.executable, __file__, str(port))
    print("ready", flush=True)
    got = await asyncio.gather(*jobs, child(), long_child(), timers(), threads())
    assert await other.wait() == 0 and all(got), got
    print("right", *got)

async def elsewhere(port):
    await asyncio.gather(*(client(lambda: asyncio.open_connection("127.0.0.1", port), 1000 * i) for i in range(1, 6)))

asyncio.run(elsewhere(int(sys.argv[1])) if len(sys.argv) > 1 else main())
'''


def main():
    j = job.Job("asynchronous")
    j.launch(job.PYTHON, j.write("program.py", PROGRAM))
    j.counts()
    j.done()


main()
