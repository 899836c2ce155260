/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysv_make.c - System V objects under the numbers that programs know them by, made by whom they
 * were made.
 *
 * The kernel lets the next number be chosen (since 3.9; who has CAP_CHECKPOINT_RESTORE in the
 * namespace, since 6.0; root before). Elsewhere objects are made and removed until it comes:
 * numbers count up, and after some dozens begin again, 32768 higher.
 */
#include "sysv_kind.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"

#define SEARCH_NS	10000000000LL

/* What was really made, and will not go with its namespace, for sysv_forget(). */
struct made {
	struct made *next;
	void (*remove)(int id);
	int id;
};
static struct made *all_made;

static void note(const struct sysv_name *name, int id)
{
	struct made *m = xmalloc(sizeof(*m));

	*m = (struct made){ .next = all_made, .remove = name->remove, .id = id };
	all_made = m;
}

void sysv_forget(void)
{
	for (struct made *m = all_made; m; m = m->next)
		m->remove(m->id);
	all_made = NULL;
}

/* ---- as somebody ---- */

struct answer {
	int ret, errnum;
};

static pid_t fork_as(uint32_t pid)
{
	const int32_t set_tid = (int32_t)pid;
	const uint64_t args[11] = {
		[4] = SIGCHLD,
		[8] = pid ? (uint64_t)(uintptr_t)&set_tid : 0,
		[9] = pid != 0,
	};
	pid_t got = pid ? (pid_t)syscall(SYS_clone3, args, sizeof(args)) : -1;

	return got < 0 ? fork() : got;
}

static void NORETURN act(uint32_t uid, uint32_t gid, int (*fn)(void *arg), void *arg,
			 struct answer *a)
{
	/* Denied, or unknown in our user namespace: then it is ours. */
	if (gid != (uint32_t)-1 && setresgid((gid_t)-1, gid, (gid_t)-1))
		errno = 0;
	if (uid != (uint32_t)-1 && setresuid((uid_t)-1, uid, (uid_t)-1))
		errno = 0;
	errno = 0;
	a->ret = fn(arg);
	a->errnum = errno;
	_exit(0);
}

int sysv_as(uint32_t pid, uint32_t uid, uint32_t gid, int (*fn)(void *arg), void *arg)
{
	struct answer *a;
	pid_t child;
	int ret = -1;

	if ((!pid || pid == (uint32_t)getpid()) && (uid == (uint32_t)-1 || uid == geteuid()) &&
	    (gid == (uint32_t)-1 || gid == getegid()))
		return fn(arg);
	a = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (a == MAP_FAILED)
		return -1;
	*a = (struct answer){ -1, ECHILD };
	child = fork_as(pid);
	if (child == 0)
		act(uid, gid, fn, arg, a);
	if (child > 0)
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	ret = a->ret;
	errno = a->errnum;
	munmap(a, PAGE_SIZE);
	return ret;
}

/* ---- under its number ---- */

static int choose_next(const struct sysv_name *name)
{
	cleanup_free char *path = xasprintf("/proc/sys/kernel/%s", name->next_id);
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	char text[16];
	int n = snprintf(text, sizeof(text), "%u\n", name->id);

	return fd >= 0 && write(fd, text, (size_t)n) == n ? 0 : -1;
}

static int make_now(void *arg)
{
	const struct sysv_name *name = arg;

	return name->make(name->rec, name->key ? (int)name->key : IPC_PRIVATE,
			  IPC_CREAT | IPC_EXCL);
}

static int not_made(const struct sysv_name *name, struct err *err)
{
	int e = errno;

	if (e == EEXIST)
		return err_set(err, E_EXISTS, 0,
			       "System V %s with key 0x%x exists here, and is not the job's; "
			       "remove it (ipcrm) or restore in an ipc namespace of its own",
			       name->what, name->key);
	return err_set(err, e == ENOSPC || e == EINVAL ? E_LIMIT : err_code_of_errno(e), e,
		       "making System V %s %u (limits: ipcs -l)", name->what, name->id);
}

static int search(const struct sysv_name *name, struct err *err)
{
	int64_t until = io_monotonic_ns() + SEARCH_NS;

	while (io_monotonic_ns() < until) {
		int id = make_now((void *)name);

		if (id < 0)
			return not_made(name, err);
		if (id == (int)name->id)
			return id;
		name->remove(id);
	}
	return err_set(err, E_KERNEL_FEATURE, 0,
		       "System V %s cannot be made with number %u here: "
		       "/proc/sys/kernel/%s cannot be written",
		       name->what, name->id, name->next_id);
}

int sysv_make(const struct sysv_name *name, int own_ipc, struct err *err)
{
	int id;

	if (!own_ipc && name->is_same(name->rec, (int)name->id))
		return 1;
	choose_next(name);
	id = sysv_as(name->cpid, name->cuid, name->cgid, make_now, (void *)name);
	if (id < 0)
		return not_made(name, err);
	if (id != (int)name->id) {
		name->remove(id);
		id = search(name, err);
		if (id < 0)
			return -1;
	}
	if (!own_ipc)
		note(name, id);
	return 0;
}
