// SPDX-License-Identifier: Apache-2.0
//
// gvisor_node.js PORT - for gvisor_servers.sh: answers a line with a line, by what node has for that.
//
// zero, pid: 0, its process id. count: how often it was asked. inside: through a connection between two sockets of
// its own, open since it began. timer: when one that began before says so. thread: by a file read in libuv's threads. child: through the pipes of a child.
// SIGTERM ends it with status 42.
"use strict";
const net = require("net");
const fs = require("fs");
const { spawn } = require("child_process");

const port = Number(process.argv[2]);
const child = spawn("cat", { stdio: ["pipe", "pipe", "inherit"] });
let count = 0;
let inside = null;
let ticks = [];

function line(stream, what) {
	return new Promise((resolve) => {
		stream.once("data", (data) => resolve(data.toString()));
		(stream === child.stdout ? child.stdin : stream).write(what);
	});
}

async function answer(text) {
	switch (text.trim()) {
	case "pid": return process.pid + "\n";
	case "zero": return "0\n";
	case "count": return ++count + "\n";
	case "inside": return line(inside, text);
	case "thread": return (await fs.promises.readFile("/proc/self/status")).length > 0 ? "2 threads\n" : "nothing\n";
	case "timer": return new Promise((resolve) => ticks.push(() => resolve(text)));
	case "child": return line(child.stdout, text);
	default: return text;
	}
}

setInterval(() => {
	ticks.forEach((f) => f());
	ticks = [];
}, 50);
process.on("SIGTERM", () => process.exit(42));
net.createServer((s) => s.pipe(s)).listen(port + 1, "127.0.0.1", () => {
	inside = net.connect(port + 1, "127.0.0.1", () => {
		net.createServer((s) => {
			s.on("error", () => {});
			s.once("data", async (data) => s.end(await answer(data.toString())));
		}).listen(port, "127.0.0.1");
	});
});
