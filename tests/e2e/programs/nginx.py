#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nginx with two workers under load from wrk outside of the job: not one request is answered wrong, and what wrk
reports as errors are the connections that a restart reset. Then it loads its configuration anew."""
import os
import re
import socket
import urllib.request

import job

CONF = """
daemon off; master_process on; worker_processes 2; pid nginx.pid; error_log error.log notice; %s
events { worker_connections 200; }
http {
	access_log access.log; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
	sendfile on; keepalive_requests 1000000;
	upstream self { server 127.0.0.1:%d; keepalive 4; }
	server {
		listen 127.0.0.1:%d;
		location / { root .; }
		location /text { return 200 "the text\\n"; }
		location /proxy/ { proxy_pass http://self/; proxy_http_version 1.1; proxy_set_header Connection ""; }
	}
}
"""
# Says what came that was no answer of the server's.
LUA = """
local wrong = 0
local paths = { "/text", "/big", "/proxy/text", "/proxy/big" }
local i = 0
request = function() i = i + 1; return wrk.format("GET", paths[i % 4 + 1]) end
-- wrk puts what it had of an answer, when its connection was reset, in front of the next one: only the end is to be right.
response = function(status, headers, body)
	local right = body:sub(-9) == "the text\\n" or (#body >= 200000 and body:sub(-12) == "0123456789ab")
	if not (status == 200 and right) then wrong = wrong + 1 end
end
local threads = {}
setup = function(thread) table.insert(threads, thread) end
done = function(summary)
	local n = 0
	for _, t in ipairs(threads) do n = n + t:get("count_wrong") end
	print("requests " .. summary.requests .. " wrong " .. n .. " timeout " .. summary.errors.timeout .. " status " .. summary.errors.status)
end
"""


def main():
    j = job.Job("nginx", needs=["nginx", "wrk"])
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    user = "user nobody nogroup;" if os.getuid() == 0 and not j.user else ""
    conf = j.write("nginx.conf", CONF % (user, port, port))
    j.write("big", "0123456789abcdef\n" * 11764 + "0123456789ab")
    lua = LUA.replace("local wrong = 0", "count_wrong = 0").replace("wrong = wrong + 1", "count_wrong = count_wrong + 1")
    script = j.write("wrk.lua", lua)
    url = f"http://127.0.0.1:{port}"
    j.launch(job.find("nginx"), "-p", j.work, "-e", "error.log", "-c", conf)

    def get(path):
        try:
            with urllib.request.urlopen(url + path, timeout=job.LIMIT) as r:
                return r.read()
        except OSError:
            return b""
    j.until("an answer", lambda: get("/text") == b"the text\n")
    log = j.path("wrk.log")
    bench = []

    def load():
        if not bench or bench[-1].poll() is not None:
            bench.append(j.beside("wrk", "-t", "1", "-c", "8", "-d", "4s", "--timeout", str(int(job.LIMIT)), "-s", script, url, log=log))
    load()
    j.rounds(load)
    for p in bench:
        p.wait(job.LIMIT)
    with open(log, encoding="utf-8") as f:
        text = f.read()
    got = re.findall(r"^requests (\d+) wrong (\d+) timeout (\d+) status (\d+)$", text, re.M)
    j.check("wrk reports",
            len(got) == len(bench) and all(int(n) > 0 and wrong == timeout == status == "0" for n, wrong, timeout, status in got), text)
    pid = j.run("cat", "nginx.pid").stdout.strip()
    init = [p for p in j.processes() if open(f"/proc/{p}/status").read().split("NSpid:")[1].split("\n")[0].split()[-1] == pid]
    j.check("no master with pid", len(init) == 1, pid)
    j.check("no log", "worker process" in j.run("cat", "error.log").stdout)
    os.kill(init[0], 1)
    j.until("the workers to be replaced", lambda: "reconfiguring" in j.run("cat", "error.log").stdout)
    j.until("an answer", lambda: get("/proxy/text") == b"the text\n")
    os.kill(init[0], 3)
    status = j.front.wait(job.LIMIT)
    j.check("exit status", status == 0, status)
    j.done()


main()
