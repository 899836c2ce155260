#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL with pgbench inside of the job, which must not notice anything, and another one outside, which is started
again when a restart has cut its connections. In the end pgbench's invariant holds: the sums over accounts, branches,
tellers and history are the same; and no transaction that was reported is missing."""
import glob
import os
import re
import socket

import job

SCRIPT = r'''
set -u
PATH=$1:$PATH
initdb -A trust -N -U pg -D db >log 2>&1 || exit 9
postgres -D db -k "$PWD" -p "$2" -c listen_addresses=127.0.0.1 -c max_connections=30 -c shared_buffers=16MB -c autovacuum_naptime=1s \
	-c wal_level=minimal -c max_wal_senders=0 -c max_parallel_workers=2 >>log 2>&1 &
server=$!
export PGHOST=$PWD PGPORT=$2 PGUSER=pg PGDATABASE=postgres
until psql -c 'select 1' >/dev/null 2>&1; do sleep 0.05; done
pgbench -i -q -s 1 >>log 2>&1 || exit 8
echo ready
while [ ! -e stop ]; do
	pgbench -n -c 3 -j 2 -t 100 >bench.log 2>&1 || { echo "pgbench inside: $(cat bench.log)"; exit 7; }
	sed -n 's/^number of transactions actually processed: \([0-9]*\).*/inside \1/p' bench.log
done
echo "sums $(psql -qAt -F ' ' -c 'select (select sum(abalance) from pgbench_accounts),
	(select sum(bbalance) from pgbench_branches), (select sum(tbalance) from pgbench_tellers),
	(select coalesce(sum(delta), 0) from pgbench_history), (select count(*) from pgbench_history)')"
pg_amcheck -d postgres -t 'pgbench*' --install-missing >amcheck.log 2>&1 && echo amcheck ok
kill -INT $server; wait $server
'''


def main():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not found:
        job.skip("PostgreSQL is not installed")
    # It refuses to run as root.
    if os.environ.get("E2E_USER") == "root":
        del os.environ["E2E_USER"]
    j = job.Job("postgres", needs=["pgbench", "psql"], user="nobody")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    j.launch("bash", "-c", SCRIPT, "bash", found[-1], port)
    j.expect("ready")
    log = j.path("work", "outside.log")
    bench = []

    def outside():
        if not bench or bench[-1].poll() is not None:
            bench.append(j.beside(os.path.join(found[-1], "pgbench"), "-n", "-c", "2", "-j", "1", "-T", "2", "-h", "127.0.0.1",
                                  "-p", port, "-U", "pg", "postgres", log=log))
    outside()
    j.rounds(outside)
    for p in bench:
        p.wait(job.LIMIT)
    j.stop()
    accounts, branches, tellers, history, count = map(int, j.expect("sums").split()[1:])
    j.check("sums differ", accounts == branches == tellers == history, accounts, branches, tellers, history)
    inside = [int(x) for x in re.findall(r"^inside (\d+)$", j.said(), re.M)]
    with open(log, encoding="utf-8") as f:
        text = f.read()
    reported = [int(x) for x in re.findall(r"^number of transactions actually processed: (\d+)", text, re.M)]
    j.check("transactions inside", inside and all(x == 300 for x in inside), inside)
    j.check("transactions are lost", count >= sum(inside) + sum(reported), count, sum(inside), sum(reported))
    j.check("amcheck", "amcheck ok" in j.said(), j.run("cat", "amcheck.log").stdout)
    print(f"{count} transactions, {sum(inside)} inside, {sum(reported)} outside")
    j.done()


main()
