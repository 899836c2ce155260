#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""memcached (four threads, libevent) with clients inside of the job, which compare all that they get, and one outside."""
import socket
import threading
import time

import job

INSIDE = r'''
import hashlib, os, socket, subprocess, sys, threading, time
port = int(sys.argv[1])
server = subprocess.Popen(["memcached", "-p", str(port), "-l", "127.0.0.1", "-t", "4", "-m", "32", "-U", "0"] +
                          (["-u", "root"] if os.getuid() == 0 else []))
def connect():
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except OSError:
            time.sleep(0.02)
def client(me, result):
    f = connect().makefile("rwb"); n = 0; bad = 0
    def value(n): return hashlib.sha256(b"%d %d" % (me, n)).hexdigest().encode() * 20
    f.write(b"set c%d 0 0 1\r\n0\r\n" % me); f.flush(); assert f.readline() == b"STORED\r\n"
    while not os.path.exists("stop"):
        n += 1; v = value(n)
        f.write(b"set k%d:%d 0 0 %d\r\n%s\r\nincr c%d 1\r\nget k%d:%d\r\n" % (me, n % 200, len(v), v, me, me, n % 200)); f.flush()
        assert f.readline() == b"STORED\r\n"
        got = f.readline(); assert got == b"%d\r\n" % n, (got, n)
        f.readline(); got = f.readline()[:-2]; assert f.readline() == b"END\r\n"
        assert got == v, (got, v)
    result[me] = n
result = {}
threads = [threading.Thread(target=client, args=(i, result)) for i in range(4)]
for t in threads: t.start()
connect().close()
print("ready", flush=True)
for t in threads: t.join()
server.terminate(); server.wait()
assert sorted(result) == [0, 1, 2, 3] and all(result.values()), result
print("inside", sum(result.values()))
'''


def outside(port, ending, seen):
    while not ending:
        try:
            f = socket.create_connection(("127.0.0.1", port), timeout=job.LIMIT).makefile("rwb")
            while not ending:
                f.write(b"version\r\n")
                f.flush()
                line = f.readline()
                if not line:
                    break
                if not line.startswith(b"VERSION "):
                    seen.append(line)
            seen.append(b"")
        except OSError:
            seen.append(b"")
            time.sleep(0.02)


def main():
    j = job.Job("memcached", needs=["memcached"])
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    j.launch(job.PYTHON, j.write("inside.py", INSIDE), str(port))
    j.expect("ready")
    ending, seen = [], []
    t = threading.Thread(target=outside, args=(port, ending, seen), daemon=True)
    t.start()
    j.rounds()
    ending.append(1)
    t.join(job.LIMIT)
    j.check("the client outside", not t.is_alive() and not any(seen) and len(seen) >= j.restores, seen)
    j.stop()
    j.expect("inside")
    j.done()


main()
