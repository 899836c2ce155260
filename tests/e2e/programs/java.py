#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""java: a thread pool, NIO selectors with clients over TCP, timers, a mapped file, child processes, and the collector at
work all the while."""
import job

PROGRAM = r'''
import java.io.*;
import java.net.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.file.*;
import java.security.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class Program {
	static boolean stop() { return Files.exists(Path.of("stop")); }

	static void check(boolean ok, String what) {
		if (!ok) throw new AssertionError(what);
	}

	/* Sends back what comes, with one selector for all. */
	static void serve(ServerSocketChannel listener) throws IOException {
		Selector selector = Selector.open();
		listener.configureBlocking(false);
		listener.register(selector, SelectionKey.OP_ACCEPT);
		for (;;) {
			selector.select(1000);
			for (Iterator<SelectionKey> i = selector.selectedKeys().iterator(); i.hasNext();) {
				SelectionKey key = i.next();
				i.remove();
				if (key.isAcceptable()) {
					SocketChannel c = listener.accept();
					c.configureBlocking(false);
					c.register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(30000));
				} else {
					echo(key, (SocketChannel) key.channel(), (ByteBuffer) key.attachment());
				}
			}
		}
	}

	static void echo(SelectionKey key, SocketChannel c, ByteBuffer b) throws IOException {
		if (key.isReadable() && c.read(b) < 0) {
			c.close();
			return;
		}
		b.flip();
		c.write(b);
		b.compact();
		key.interestOps((b.hasRemaining() ? SelectionKey.OP_READ : 0) |
				(b.position() > 0 ? SelectionKey.OP_WRITE : 0));
	}

	static long client(int port, int size) throws Exception {
		Socket c = new Socket("127.0.0.1", port);
		DataOutputStream o = new DataOutputStream(new BufferedOutputStream(c.getOutputStream()));
		DataInputStream i = new DataInputStream(c.getInputStream());
		byte[] in = new byte[size], out = new byte[size];
		long n = 0;
		for (; !stop(); n++) {
			new Random(n).nextBytes(out);
			o.writeLong(n);
			o.write(out);
			o.flush();
			check(i.readLong() == n, "number");
			i.readFully(in);
			check(Arrays.equals(in, out), "bytes");
		}
		c.close();
		return n;
	}

	static long digest(long m, AtomicLong done) throws Exception {
		MessageDigest d = MessageDigest.getInstance("SHA-256");
		List<byte[]> garbage = new ArrayList<>();
		for (int k = 0; k < 200; k++) {
			garbage.add(new byte[5000]);
			d.update(garbage.get(k));
		}
		done.incrementAndGet();
		return m;
	}

	static long pool(ExecutorService workers) throws Exception {
		AtomicLong done = new AtomicLong();
		long n = 0;
		for (; !stop(); n++) {
			List<Future<Long>> f = new ArrayList<>();
			for (int k = 0; k < 20; k++) {
				final long m = k;
				f.add(workers.submit(() -> digest(m, done)));
			}
			long got = 0;
			for (Future<Long> x : f) got += x.get();
			check(got == 190, "sum");
		}
		check(done.get() == n * 20, "each was done once");
		return n;
	}

	static long timers(ScheduledExecutorService timer) throws Exception {
		long n = 0;
		for (; !stop(); n++) {
			long t = System.nanoTime();
			timer.schedule(() -> 1, 30, TimeUnit.MILLISECONDS).get();
			check(System.nanoTime() - t >= 30000000L, "early");
			t = System.nanoTime();
			Thread.sleep(20);
			check(System.nanoTime() - t >= 20000000L, "slept");
			check(new LinkedBlockingQueue<Integer>().poll(10, TimeUnit.MILLISECONDS) == null, "poll");
		}
		return n;
	}

	static long mapped() throws Exception {
		FileChannel f = FileChannel.open(Path.of("mapped"), StandardOpenOption.CREATE, StandardOpenOption.READ,
						 StandardOpenOption.WRITE);
		MappedByteBuffer m = f.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 16);
		ByteBuffer b = ByteBuffer.allocate(8);
		long n = 0;
		for (; !stop(); n++) {
			int at = (int) (n * 8 % (1 << 16));
			m.putLong(at, n);
			b.clear();
			f.read(b, at);
			check(b.getLong(0) == n, "mapped");
		}
		return n;
	}

	static long child() throws Exception {
		long n = 0;
		for (; !stop(); n++) {
			Process p = new ProcessBuilder("sh", "-c", "read x; echo $((x * 2)); exit 3").start();
			p.outputWriter().append(n + "\n").close();
			check(p.inputReader().readLine().equals("" + 2 * n), "child");
			check(p.waitFor() == 3, "status");
		}
		return n;
	}

	static void serveAll(ServerSocketChannel l) {
		try {
			serve(l);
		} catch (Exception e) {
			e.printStackTrace();
			System.exit(1);
		}
	}

	public static void main(String[] args) throws Exception {
		ServerSocketChannel l = ServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", 0));
		int port = l.socket().getLocalPort();
		Thread server = new Thread(() -> serveAll(l));
		server.setDaemon(true);
		server.start();
		ExecutorService workers = Executors.newFixedThreadPool(4), jobs = Executors.newCachedThreadPool();
		ScheduledExecutorService timer = Executors.newScheduledThreadPool(1);
		List<Future<Long>> f = new ArrayList<>();
		f.add(jobs.submit(() -> client(port, 100)));
		f.add(jobs.submit(() -> client(port, 9000)));
		f.add(jobs.submit(() -> pool(workers)));
		f.add(jobs.submit(() -> timers(timer)));
		f.add(jobs.submit(() -> mapped()));
		f.add(jobs.submit(() -> child()));
		System.out.println("ready");
		try {
			String said = "";
			for (Future<Long> x : f) {
				check(x.get() > 0, "none");
				said += " " + x.get();
			}
			System.out.println("right" + said);
		} catch (Exception e) {
			e.printStackTrace();
			System.exit(1);
		}
		System.exit(0);
	}
}
'''


def main():
    j = job.Job("java", needs=["java", "javac"])
    j.write("Program.java", PROGRAM)
    r = j.run("javac", "Program.java")
    j.check("javac", r.returncode == 0, r.stdout)
    j.launch("java", "-Xmx128m", "-XX:-UsePerfData", "Program")
    j.counts()
    j.done()


main()
