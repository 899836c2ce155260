/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <linux/mempolicy.h>

const char *scn_doc = "threads and mappings keep the memory policies that they have chosen (set_mempolicy, mbind)";

#define PAGE	4096UL
#define LARGE	(32UL << 20)	/* for the pager of a restart */

static const unsigned long node0 = 1;

struct policy { int mode, used; unsigned long nodes[16]; };

static int want(void *at, size_t len, int mode)
{
	int local = (mode & ~MPOL_MODE_FLAGS) == MPOL_LOCAL;

	return (int)syscall(SYS_mbind, at, len, mode, local ? NULL : &node0, local ? 0 : 64, 0);
}

static struct policy policy_of(const void *at)
{
	struct policy p = { 0 };

	scn_sys(syscall(SYS_get_mempolicy, &p.mode, p.nodes, 1024, at, at ? MPOL_F_ADDR : 0));
	return p;
}

static void check(const void *at, const struct policy *was, const char *what)
{
	struct policy p = policy_of(at);

	scn_check(p.mode == was->mode && !memcmp(p.nodes, was->nodes, sizeof(p.nodes)),
		  "%s: mode %x of %lx, not %x of %lx", what, (unsigned)p.mode, p.nodes[0],
		  (unsigned)was->mode, was->nodes[0]);
}

static char *map(size_t len, int flags, int fd)
{
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, 0);

	scn_check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

static const int modes[] = {
	MPOL_BIND, MPOL_PREFERRED, MPOL_INTERLEAVE, MPOL_LOCAL, MPOL_BIND | MPOL_F_STATIC_NODES,
	MPOL_INTERLEAVE | MPOL_F_RELATIVE_NODES, 5 /* MPOL_PREFERRED_MANY */, 6 /* MPOL_WEIGHTED_INTERLEAVE */,
};
#define N ARRAY_SIZE(modes)

/* A thread, or the only one of a child, with a policy of its own, or with none. */
struct task { int mode, ready[2], go[2]; };

static void *task(void *arg)
{
	const struct task *t = arg;
	struct policy was;
	char c = 0;

	scn_sys(syscall(SYS_set_mempolicy, t->mode, t->mode ? &node0 : NULL, t->mode ? 64 : 0));
	was = policy_of(NULL);
	scn_check(was.mode == t->mode, "mode %d", was.mode);
	scn_check(write(t->ready[1], &c, 1) == 1, "write");
	while (read(t->go[0], &c, 1) < 0)
		scn_check(errno == EINTR, "read");
	check(NULL, &was, "thread");
	return NULL;
}

static void task_init(struct task *t, int mode)
{
	t->mode = mode;
	scn_sys(pipe(t->ready));
	scn_sys(pipe(t->go));
}

int main(void)
{
	struct policy was[N], main_was, part_was, shared_was, file_was, none = { 0 };
	struct task tasks[3];
	char *areas[N], *large, *shared, *file, c = 0;
	pthread_t threads[2];
	int fd, set = 0;
	pid_t pid;

	if (syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0))
		scn_skip("no memory policies here: %s", strerror(errno));
	for (size_t i = 0; i < N; i++) {
		areas[i] = map(8 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		set += want(areas[i] + PAGE, 3 * PAGE, modes[i]) == 0;
		scn_fill(areas[i], 8 * PAGE, (unsigned)i);
		was[i] = policy_of(areas[i] + PAGE);
	}
	scn_check(set >= 4, "only %d policies can be had here", set);
	large = map(LARGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	scn_sys(want(large + LARGE / 2, LARGE / 4, MPOL_BIND));
	part_was = policy_of(large + LARGE / 2);
	scn_fill(large, LARGE, 99);
	shared = map(4 * PAGE, MAP_SHARED | MAP_ANONYMOUS, -1);
	scn_sys(want(shared, 4 * PAGE, MPOL_INTERLEAVE));
	shared_was = policy_of(shared);
	fd = scn_sys(open(scn_file("mapped"), O_RDWR | O_CREAT, 0600));
	scn_sys(ftruncate(fd, 4 * PAGE));
	file = map(4 * PAGE, MAP_PRIVATE, fd);
	scn_sys(want(file, 4 * PAGE, MPOL_PREFERRED));
	file_was = policy_of(file);
	scn_fill(file, PAGE, 7);

	task_init(&tasks[0], MPOL_DEFAULT);
	task_init(&tasks[1], MPOL_INTERLEAVE);
	task_init(&tasks[2], MPOL_PREFERRED);
	pid = scn_fork();
	if (!pid) {
		task(&tasks[2]);
		_exit(0);
	}
	scn_sys(syscall(SYS_set_mempolicy, MPOL_BIND, &node0, 64));
	main_was = policy_of(NULL);
	for (int i = 0; i < 2; i++)
		threads[i] = scn_thread(task, &tasks[i]);
	for (int i = 0; i < 3; i++)
		scn_check(read(tasks[i].ready[0], &c, 1) == 1, "read");

	scn_checkpoint();

	check(NULL, &main_was, "main thread");
	for (size_t i = 0; i < N; i++) {
		check(areas[i] + PAGE, &was[i], "area");
		check(areas[i], &none, "what is before it");
		check(areas[i] + 4 * PAGE, &none, "what is behind it");
		scn_check(scn_verify(areas[i], 8 * PAGE, (unsigned)i) < 0, "its content");
	}
	check(large + LARGE / 2, &part_was, "a part of a large area");
	check(large, &none, "the rest of it");
	check(large + LARGE - PAGE, &none, "the end of it");
	scn_check(scn_verify(large, LARGE, 99) < 0, "its content");
	check(shared, &shared_was, "shared memory");
	check(file, &file_was, "a file");
	scn_check(scn_verify(file, PAGE, 7) < 0, "its content");
	for (int i = 0; i < 3; i++)
		scn_check(write(tasks[i].go[1], &c, 1) == 1, "write");
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	scn_reap(pid, 0);
	scn_pass();
}
