#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""node: a cluster of two HTTP servers with keep-alive clients in the job, worker threads with shared memory, child
processes, zlib and crypto on libuv's pool."""
import job

PROGRAM = r'''
const cluster = require('cluster'), http = require('http'), fs = require('fs'), zlib = require('zlib');
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads');
const { execFile } = require('child_process'), assert = require('assert'), crypto = require('crypto');
const { promisify } = require('util');
const stop = () => fs.existsSync('stop');
const sha = s => crypto.createHash('sha256').update(s).digest('hex');
const agent = new http.Agent({ keepAlive: true, maxSockets: 6 });

/* One request of a client, answered by a worker of the cluster. */
const post = (port, body) => new Promise((ok, bad) => {
	const request = http.request({ port, host: '127.0.0.1', method: 'POST', agent }, answer => {
		let s = '';
		answer.on('data', d => s += d);
		answer.on('end', () => ok(s));
		answer.on('error', bad);
	});
	request.on('error', bad);
	request.end(body);
});

async function client(port, me) {
	let n = 0;
	for (; !stop(); n++) {
		const body = `${me}:${n} `.repeat(me * me * 50 + 1);
		assert.equal(await post(port, body), sha(body));
	}
	return n;
}

async function pool() {
	const data = Buffer.alloc(200000, 'some text to be packed ');
	let n = 0;
	for (; !stop(); n++) {
		const packed = await promisify(zlib.gzip)(data);
		assert((await promisify(zlib.gunzip)(packed)).equals(data));
		const key = await promisify(crypto.pbkdf2)('a', 'b', 1000, 16, 'sha256');
		assert.equal(key.toString('hex').length, 32);
	}
	return n;
}

async function child() {
	let n = 0;
	for (; !stop(); n++) {
		const r = await promisify(execFile)('sh', ['-c', 'echo $((6*7))']);
		assert.equal(r.stdout, '42\n');
	}
	return n;
}

async function timers() {
	let n = 0;
	for (; !stop(); n++) {
		const t = process.hrtime.bigint();
		await promisify(setTimeout)(50);
		assert(process.hrtime.bigint() - t >= 48000000n);
	}
	return n;
}

async function threads() {
	const shared = new SharedArrayBuffer(4);
	const one = () => new Promise((ok, bad) => {
		const w = new Worker(__filename, { workerData: shared });
		w.on('message', ok);
		w.on('error', bad);
	});
	const [a, b] = await Promise.all([one(), one()]);
	assert.equal((a + b) | 0, new Int32Array(shared)[0]);
	return a;
}

async function main(port) {
	console.log('ready');
	const clients = [1, 2, 3, 4, 5, 6].map(i => client(port, i));
	const got = await Promise.all(clients.concat(pool(), child(), timers(), threads()));
	assert(got.every(n => n > 0), String(got));
	console.log('right', got.join(' '));
	agent.destroy();
	cluster.disconnect(() => process.exit(0));
}

function fail(...why) {
	console.log('wrong', ...why);
	process.exit(1);
}

if (!isMainThread) {
	const a = new Int32Array(workerData);
	let n = 0;
	const step = () => {
		for (let i = 0; i < 1000; i++, n++)
			Atomics.add(a, 0, 1);
		stop() ? parentPort.postMessage(n) : setImmediate(step);
	};
	step();
} else if (cluster.isPrimary) {
	let listening = 0;
	for (let i = 0; i < 2; i++)
		cluster.fork();
	cluster.on('exit', (w, code, sig) => w.exitedAfterDisconnect || fail('worker died', code, sig));
	cluster.on('listening', (w, address) => ++listening == 2 && main(address.port).catch(fail));
} else {
	http.createServer({ keepAliveTimeout: 600000, requestTimeout: 0, headersTimeout: 0 }, (request, answer) => {
		const h = crypto.createHash('sha256');
		request.on('data', d => h.update(d));
		request.on('end', () => answer.end(h.digest('hex')));
	}).listen(0, '127.0.0.1');
}
'''


def main():
    j = job.Job("node", needs=["node"])
    j.launch("node", j.write("program.js", PROGRAM))
    j.counts()
    j.done()


main()
