#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""node: a cluster of two HTTP servers with keep-alive clients in the job, worker threads with shared memory, child
processes, zlib and crypto on libuv's pool. One worker of the cluster is replaced on the way."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import job  # noqa: E402

PROGRAM = r'''
const cluster = require('cluster'), http = require('http'), fs = require('fs'), crypto = require('crypto'), zlib = require('zlib');
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads');
const { execFile } = require('child_process'), assert = require('assert'), util = require('util');
const stop = () => fs.existsSync('stop');
const sha = s => crypto.createHash('sha256').update(s).digest('hex');

if (!isMainThread) {
	const a = new Int32Array(workerData); let n = 0;
	const step = () => { for (let i = 0; i < 1000; i++) { Atomics.add(a, 0, 1); n++; } stop() ? parentPort.postMessage(n) : setImmediate(step); };
	step();
} else if (cluster.isPrimary) {
	let deaths = 0, replaced = 0;
	for (let i = 0; i < 2; i++) cluster.fork();
	cluster.on('exit', (w, code, sig) => { deaths++; if (!w.exitedAfterDisconnect) { console.log('worker died', code, sig); process.exit(1); } });
	cluster.once('listening', (w, address) => { setTimeout(() => main(address.port).catch(e => { console.log('error', e); process.exit(1); }), 200); });
	const agent = new http.Agent({ keepAlive: true, maxSockets: 6 });
	const post = (port, body) => new Promise((ok, bad) => {
		const r = http.request({ port, host: '127.0.0.1', method: 'POST', agent }, res => {
			let s = ''; res.on('data', d => s += d); res.on('end', () => ok(s)); res.on('error', bad); });
		r.on('error', bad); r.end(body); });
	async function client(port, me) { let n = 0;
		while (!stop()) { const body = `${me}:${n} `.repeat(me * me * 50 + 1); assert.equal(await post(port, body), sha(body)); n++; } return n; }
	async function pool() { let n = 0; const data = Buffer.alloc(200000, 'some text to be packed ');
		while (!stop()) { const z = await util.promisify(zlib.gzip)(data); assert((await util.promisify(zlib.gunzip)(z)).equals(data));
			const k = await util.promisify(crypto.pbkdf2)('a', 'b', 1000, 16, 'sha256'); assert.equal(k.toString('hex').length, 32); n++; } return n; }
	async function child() { let n = 0; while (!stop()) { const r = await util.promisify(execFile)('sh', ['-c', 'echo $((6*7))']); assert.equal(r.stdout, '42\n'); n++; } return n; }
	async function timers() { let n = 0; while (!stop()) { const t = process.hrtime.bigint(); await util.promisify(setTimeout)(50); assert(process.hrtime.bigint() - t >= 48000000n); n++; } return n; }
	async function threads() { const shared = new SharedArrayBuffer(4);
		const got = await Promise.all([0, 1].map(() => new Promise((ok, bad) => { const w = new Worker(__filename, { workerData: shared }); w.on('message', ok); w.on('error', bad); })));
		assert.equal((got[0] + got[1]) | 0, new Int32Array(shared)[0]); return got[0]; }
	async function main(port) {
		console.log('ready');
		const got = await Promise.all([1, 2, 3, 4, 5, 6].map(i => client(port, i)).concat(pool(), child(), timers(), threads()));
		assert(got.every(n => n > 0), String(got));
		console.log('right', got.join(' '));
		agent.destroy(); cluster.disconnect(() => process.exit(0));
	}
} else {
	http.createServer({ keepAliveTimeout: 600000, requestTimeout: 0, headersTimeout: 0 }, (q, r) => { const h = crypto.createHash('sha256'); q.on('data', d => h.update(d)); q.on('end', () => r.end(h.digest('hex'))); }).listen(0, '127.0.0.1');
}
'''


def main():
    j = job.Job("node", needs=["node"])
    j.launch(["node", j.write("program.js", PROGRAM)])
    j.await_line("ready")
    j.rounds()
    j.stop()
    j.await_line("right")
    j.done()


main()
