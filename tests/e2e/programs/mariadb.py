#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mariadbd, which by default would use io_uring, or else kernel AIO, with clients inside of the job that must
not notice anything, and one outside, which comes again when a restart has cut its connection. Each transaction moves
an amount from one account to another and writes that down: in the end nothing has come or gone, what was
acknowledged is there once, and CHECK TABLE finds the tables whole."""
import re
import socket
import subprocess
import threading
import time

import job

# The mariadb client is fed line by line: each line is a transaction, and its answer the line that comes back.
CLIENT = r'''
import random, subprocess

class Client:
    def __init__(self, who, *options, **more):
        self.who, self.n, self.random = who, 0, random.Random(who)
        self.p = subprocess.Popen(["mariadb", "--no-defaults", "-u", "root", "-N", "-B", "--unbuffered", "--skip-reconnect",
                                   *options, "bank"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  **more)
    def ask(self, sql):
        """The one line that is the answer; '' when the connection is gone."""
        try:
            self.p.stdin.write(sql + "\n")
            self.p.stdin.flush()
        except BrokenPipeError:
            return ""
        return self.p.stdout.readline().strip()
    def move(self, n):
        a, b = self.random.sample(range(1, 201), 2)
        x = self.random.randint(1, 100)
        return self.ask(f"begin; update account set sum = sum - {x} where id = {min(a, b)}; "
                        f"update account set sum = sum + {x} where id = {max(a, b)}; "
                        f"insert into moves values ('{self.who}', {n}, {x}, repeat('{n % 10}', 2000)); commit; select {n};")
    def end(self):
        self.p.stdin.close()
        self.p.stdout.close()
        return self.p.wait()
'''

INSIDE = CLIENT + r'''
import os, sys, time
port, server_name, installer = sys.argv[1:]
me = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
subprocess.run([installer, "--no-defaults", "--datadir=" + os.getcwd() + "/db", "--user=" + me, "--auth-root-authentication-method=normal",
                "--skip-test-db", "--innodb-log-file-size=8M"], stdout=open("install.log", "w"), stderr=subprocess.STDOUT,
               check=True, stdin=subprocess.DEVNULL)
server = subprocess.Popen([server_name, "--no-defaults", "--datadir=" + os.getcwd() + "/db", "--socket=" + os.getcwd() + "/s",
                           "--port=" + port, "--bind-address=127.0.0.1", "--pid-file=" + os.getcwd() + "/pid", "--user=" + me,
                           "--tmpdir=" + os.getcwd(), "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M"],
                          stdout=open("log", "w"), stderr=subprocess.STDOUT)
options = ["--socket=s"]
while subprocess.run(["mariadb", "--no-defaults", "-u", "root", *options, "-e", "select 1"], stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL).returncode:
    if server.poll() is not None:
        sys.exit(open("log").read())
    time.sleep(0.02)
subprocess.run(["mariadb", "--no-defaults", "-u", "root", *options, "-e", """create database bank; use bank;
    create table account (id int primary key, sum bigint not null) engine=innodb;
    insert into account select seq, 1000 from seq_1_to_200;
    create table moves (who varchar(10), n int, x int, filler varchar(2000), primary key (who, n)) engine=innodb"""], check=True)
second = os.fork()
c = Client("second" if second == 0 else "first", *options)
if second:
    print("ready", flush=True)
n = 0
while not os.path.exists("stop"):
    n += 1
    got = c.move(n)
    assert got == str(n), (got, n)
    if second and n % 50 == 0:
        got = c.ask("select sum(sum) from account;")
        assert got == "200000", got
assert c.end() == 0
if second == 0:
    open("second", "w").write(str(n))
    os._exit(0)
_, status = os.waitpid(second, 0)
assert status == 0, status
c = Client("end", *options)
print("sums", c.ask("select sum(sum) from account;"), n, c.ask("select count(*) from moves where who = 'first';"),
      open("second").read(), c.ask("select count(*) from moves where who = 'second';"), flush=True)
print("outside", c.ask("select concat(count(*), ' ', ifnull(max(n), 0)) from moves where who = 'outside';"), flush=True)
print("check", c.ask("check table account, moves extended;"), c.p.stdout.readline().strip(), flush=True)
c.p.stdin.write("shutdown;\n")
c.end()
sys.exit(server.wait())
'''
exec(CLIENT)


class Outside(threading.Thread):
    """Writes numbers down. What was not acknowledged may be there or not; it is tried again."""
    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.acked, self.cut, self.ending, self.error = port, 0, 0, False, None

    def run(self):
        n = 1
        while not self.ending:
            c = Client("outside", "--protocol=tcp", "--host=127.0.0.1", f"--port={self.port}",
                       stderr=subprocess.DEVNULL)
            got = c.ask("select 'n', ifnull(max(n), 0) from moves where who = 'outside';").split()
            if got:
                there = int(got[1])
                if there not in (n - 1, n):
                    self.error = f"{there} is the last, {n - 1} was acknowledged"
                    return
                n = there + 1
            while got and not self.ending:
                if c.move(n) != str(n):
                    break
                self.acked = n
                n += 1
            if not self.ending:
                self.cut += 1
                time.sleep(0.05)
            c.end()


def main():
    j = job.Job("mariadb", needs=["mariadbd", "mariadb", "mariadb-install-db"])
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    j.launch(job.PYTHON, j.write("inside.py", INSIDE), port, job.find("mariadbd"), job.find("mariadb-install-db"))
    j.expect("ready")
    outside = Outside(port)
    outside.start()
    j.rounds()
    outside.ending = True
    outside.join(job.LIMIT)
    j.check("the client outside hangs", not outside.is_alive())
    j.check("the client outside", outside.error is None, outside.error)
    j.stop()
    total, first, first_there, second, second_there = map(int, j.expect("sums").split()[1:])
    j.check("the sum of all accounts", total == 200000, total)
    j.check("transactions inside", first == first_there and second == second_there, first, first_there, second, second_there)
    count, last = map(int, j.expect("outside").split()[1:])
    j.check("transactions outside", count == last and last in (outside.acked, outside.acked + 1), count, last, outside.acked)
    j.check("CHECK TABLE", re.search(r"account\tcheck\tstatus\tOK.*moves\tcheck\tstatus\tOK", j.said()), j.said())
    print(f"{first + second} transactions inside, {outside.acked} outside, which was cut off {outside.cut} times")
    j.done()


main()
