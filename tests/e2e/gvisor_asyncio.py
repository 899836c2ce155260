# SPDX-License-Identifier: Apache-2.0
"""gvisor_asyncio.py PORT - for gvisor_servers.sh: answers a line with a line, by what asyncio has for that.

zero, pid: 0, its process id. count: how often it was asked. inside: through a connection between two sockets of its own, open since it began.
timer: when one that began before
says so. thread: by a thread that waits a moment, and wakes the loop. child: through the pipes of a child. pair: through a pair of sockets.
SIGTERM ends it with status 42.
"""
import asyncio
import os
import signal
import socket
import sys
import threading

port = int(sys.argv[1])
count = 0


async def main():
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    tick = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, lambda: ended.set_result(42))
    child = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    left, right = [await asyncio.open_connection(sock=s) for s in socket.socketpair()]

    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line)

    async def beat():
        while True:
            await asyncio.sleep(0.05)
            tick.set()
            tick.clear()

    async def answer(reader, writer):
        global count
        line = await reader.readline()
        what = line.decode().strip()
        if what == "pid":
            line = b"%d\n" % os.getpid()
        elif what == "zero":
            line = b"0\n"
        elif what == "count":
            count += 1
            line = b"%d\n" % count
        elif what == "inside":
            inside[1].write(line)
            line = await inside[0].readline()
        elif what == "thread":
            line = await loop.run_in_executor(None, lambda: b"%d threads\n" % (2 - threading.Event().wait(0.05)))
        elif what == "timer":
            await asyncio.wait_for(tick.wait(), 30)
        elif what == "child":
            child.stdin.write(line)
            line = await child.stdout.readline()
        elif what == "pair":
            left[1].write(line)
            line = await right[0].readline()
        writer.write(line)
        writer.close()

    beating = asyncio.create_task(beat())
    await asyncio.start_server(echo, "127.0.0.1", port + 1)
    inside = await asyncio.open_connection("127.0.0.1", port + 1)
    await asyncio.start_server(answer, "127.0.0.1", port)
    status = await ended
    beating.cancel()
    sys.exit(status)


asyncio.run(main())
