/* SPDX-License-Identifier: Apache-2.0 */
#include "look.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include "agent.h"
#include "mem.h"
#include "sys.h"

#undef errno

/* <linux/fs.h> of Linux 6.11 has it */
struct procmap_query_ {
	uint64_t size, query_flags, query_addr, start, end, flags, page_size, offset, ino;
	uint32_t dev_major, dev_minor, name_size, build_id_size;
	uint64_t name_addr, build_id_addr;
};
#define PROCMAP_QUERY_	0xc0686611UL
#define COVERING_OR_NEXT 0x10
#define VMA_SHARED	0x8
_Static_assert(offsetof(struct agent_self, aside) == 2608, "syscall_x86_64.S");
_Static_assert(sizeof(struct procmap_query_) == 0x68, "PROCMAP_QUERY_ has it");

/* A mapping for the time of the question; at the end of it is the stack of who asks. */
#define ROOM		(32UL << 10)
struct room {
	uint64_t at;
	struct look found;
	int error;
	char text[4096];
};

static uint64_t device(uint64_t major, uint64_t minor)
{
	return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffUL) << 12 | (major & ~0xfffUL) << 32;
}

static uint64_t hex(const char **at)
{
	uint64_t n = 0;

	for (;; ++*at) {
		if (**at >= '0' && **at <= '9')
			n = n * 16 + (uint64_t)(**at - '0');
		else if (**at >= 'a' && **at <= 'f')
			n = n * 16 + (uint64_t)(**at - 'a' + 10);
		else
			return n;
	}
}

/* "55a0-55b0 rw-p 00001000 fd:00 1234   path" */
static void take_line(struct look *k, const char *s)
{
	uint64_t major;

	k->start = hex(&s), s++;
	k->end = hex(&s), s++;
	k->prot = (s[0] == 'r' ? PROT_READ : 0) | (s[1] == 'w' ? PROT_WRITE : 0) | (s[2] == 'x' ? PROT_EXEC : 0);
	k->shared = s[3] == 's';
	s += 5;
	hex(&s), s++;
	major = hex(&s), s++;
	k->dev = device(major, hex(&s)), s++;
	k->ino = str_u64(s, NULL);
}

/* Where the kernel is too old to be asked for one address: its list, line by line. */
static int read_list(struct room *k, int fd)
{
	size_t have = 0, from, i, lines = 0;
	long n;

	while ((n = SYS(read, fd, k->text + have, sizeof(k->text) - have)) > 0) {
		have += (size_t)n;
		for (from = i = 0; i < have; i++) {
			if (k->text[i] != '\n')
				continue;
			k->text[i] = '\0';
			take_line(&k->found, k->text + from);
			lines++;
			if (k->found.end > k->at)
				return 0;
			from = i + 1;
		}
		if (!from && have == sizeof(k->text))	/* a long path: nothing behind here is needed */
			have = 256;
		memmove(k->text, k->text + from, have - MIN(from, have));
		have -= MIN(from, have);
	}
	return n < 0 ? (int)n : lines ? -ENOENT : -ESRCH;
}

static int ask(void *arg)
{
	struct room *k = arg;
	struct procmap_query_ q = { .size = sizeof(q), .query_flags = COVERING_OR_NEXT, .query_addr = k->at };
	int fd = (int)SYS(open, "/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);
	long r;

	if (fd < 0) {
		k->error = fd == -ENOENT ? -EACCES : fd;	/* no /proc: that says nothing of what is mapped */
		return 0;
	}
	r = SYS(ioctl, fd, PROCMAP_QUERY_, &q);
	if (r == 0) {
		k->found = (struct look){
			.start = q.start,
			.end = q.end,
			.dev = device(q.dev_major, q.dev_minor),
			.ino = q.ino,
			.prot = (int)(q.flags & (PROT_READ | PROT_WRITE | PROT_EXEC)),	/* the same bits */
			.shared = (q.flags & VMA_SHARED) != 0,
		};
		k->error = 0;
	} else {
		k->error = r == -ENOENT ? -ENOENT : read_list(k, fd);
	}
	SYS(close, fd);
	return 0;
}

int look_at(uint64_t at, struct look *ret)
{
	long r = SYS(mmap, NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct room *k = (struct room *)r;

	if (r < 0 && r > -4096)
		return (int)r;
	k->at = at;
	k->error = -EAGAIN;
	r = clone_on(CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_VFORK, (char *)k + ROOM, ask, k);
	if (r >= 0)
		r = k->error;
	*ret = k->found;
	SYS(munmap, k, ROOM);
	return (int)r;
}
