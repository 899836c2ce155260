/* SPDX-License-Identifier: Apache-2.0 */
/* sysv.c - which System V objects are the job's, and all of them saved; limits of the namespace. */
#include "sysv_kind.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/proc.h"

#define NS_PER_S	1000000000LL

/* ---- what there is ---- */

static int parse_row(const char *line, struct sysv_row *ret)
{
	int n = 0;

	for (; n < 16; n++) {
		char *end;

		ret->v[n] = strtoll(line, &end, n == 2 ? 8 : 10);
		if (end == line)
			break;
		line = end;
	}
	return n;
}

struct sysv_row *sysv_rows(const char *kind, size_t *ret_n)
{
	cleanup_free char *text = proc_readf(NULL, "/proc/sysvipc/%s", kind);
	struct sysv_row *rows = xcalloc(1, sizeof(*rows));
	char *save, *line = text ? strtok_r(text, "\n", &save) : NULL;

	*ret_n = 0;
	while (line && (line = strtok_r(NULL, "\n", &save))) { /* the first one holds the titles */
		rows = xrealloc(rows, (*ret_n + 1) * sizeof(*rows));
		rows[*ret_n] = (struct sysv_row){ { 0 } };
		if (parse_row(line, &rows[*ret_n]) >= 10)
			++*ret_n;
	}
	return rows;
}

int sysv_unlisted(void)
{
	struct shm_info shm = { 0 };
	struct seminfo sem = { 0 };
	struct msginfo msg = { 0 };

	if (access("/proc/sysvipc", F_OK) == 0)
		return 0;
	if (shmctl(0, SHM_INFO, (struct shmid_ds *)&shm) < 0)
		shm.used_ids = 0;
	if (semctl(0, 0, SEM_INFO, &sem) < 0)
		sem.semusz = 0;
	if (msgctl(0, MSG_INFO, (struct msqid_ds *)&msg) < 0)
		msg.msgpool = 0;
	return shm.used_ids + sem.semusz + msg.msgpool;
}

/* ---- whose it is ---- */

static int is_among(const uint32_t *list, size_t n, uint32_t what)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == what)
			return 1;
	return 0;
}

/*
 * Does process @pid live, and did it at the time of @last already? Else its number was given away
 * again.
 */
static int is_alive(uint32_t pid, int64_t last)
{
	struct proc_stat st;
	struct timespec now;
	int64_t age;

	if (kill((pid_t)pid, 0) && errno == ESRCH)
		return 0;
	if (proc_stat((pid_t)pid, 0, &st))
		return 1;
	clock_gettime(CLOCK_BOOTTIME, &now);
	age = now.tv_sec - (int64_t)st.start_time / sysconf(_SC_CLK_TCK);
	return io_realtime_ns() / NS_PER_S - age <= last + 1;
}

enum sysv_owner sysv_whose(const struct sysv_job *job, const struct sysv_use *use)
{
	enum sysv_owner ret = SYSV_OTHERS;

	if (job->all)
		return SYSV_OURS;
	for (size_t i = 0; i < ARRAY_SIZE(use->pids); i++)
		if (use->pids[i] && is_among(job->pids, job->npids, use->pids[i]) &&
		    is_alive(use->pids[i], use->last))
			return SYSV_OURS;
	if (use->changed >= job->since && (is_among(job->uids, job->nuids, use->uid) ||
					   is_among(job->uids, job->nuids, use->cuid)))
		ret = SYSV_LIKELY;
	for (size_t i = 0; i < ARRAY_SIZE(use->pids) && ret == SYSV_LIKELY; i++)
		if (use->pids[i] && is_alive(use->pids[i], use->last))
			ret = SYSV_OTHERS;
	return ret;
}

/* ---- limits ---- */

static const char *const limits[] = {
	"kernel/shmmax",	  "kernel/shmall",	  "kernel/shmmni",
	SYSV_RMID_FORCED,	  "kernel/sem",			  "kernel/msgmax",
	"kernel/msgmnb",	  "kernel/msgmni",	  "fs/mqueue/msg_max",
	"fs/mqueue/msgsize_max",  "fs/mqueue/queues_max",
};

static void collect_limits(struct rec_buf *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		cleanup_free char *text = proc_readf(NULL, "/proc/sys/%s", limits[i]);

		if (!text)
			continue;
		text[strcspn(text, "\n")] = 0;
		rec_put_ipc_limit(ret, &(struct rec_ipc_limit){ .name = limits[i], .value = text });
	}
}

static int write_limit(const char *name, const char *value)
{
	cleanup_free char *path = xasprintf("/proc/sys/%s", name);
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value) ? 0 : -1;
}

static void restore_limit(const struct rec_ipc_limit *l)
{
	cleanup_free char *now = proc_readf(NULL, "/proc/sys/%s", l->name);

	if (!now)
		return;
	now[strcspn(now, "\n")] = 0;
	if (strcmp(now, l->value) && write_limit(l->name, l->value))
		log_info("/proc/sys/%s stays %s, it was %s", l->name, now, l->value);
}

static int is_limit(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (!strcmp(name, limits[i]))
			return 1;
	return 0;
}

/* @late: what waits until all memory is attached. */
static void restore_limits(const struct rec_list *recs, uint32_t ns, int late)
{
	const struct rec_ipc_limit *l;
	size_t pos = 0;

	while ((l = rec_next_ipc_limit(recs, &pos)))
		if (l->namespace == ns && is_limit(l->name) && (strcmp(l->name, SYSV_RMID_FORCED) == 0) == late)
			restore_limit(l);
}

void sysv_restore_limits(const struct rec_list *recs, uint32_t ns)
{
	restore_limits(recs, ns, 0);
}

/* ---- all of it ---- */

int sysv_collect(const struct sysv_job *job, struct rec_buf *ret, int **ret_fds, size_t *ret_nfds,
		 struct err *err)
{
	size_t begun = ret->len;

	if (sysv_shm_collect(job, ret, ret_fds, ret_nfds, err) || sysv_sem_collect(job, ret, err) ||
	    sysv_msg_collect(job, ret, err))
		return -1;
	if (job->all || job->queues || ret->len > begun)
		collect_limits(ret);
	return 0;
}

/* Those of set->ipc, in which we are. */
static int restore_here(struct rset *set, void *arg UNUSED, struct err *err)
{
	const struct rec_list *recs = &set->manifest->recs;
	const struct rec_sysv_shm *shm;
	const struct rec_sysv_sem *sem;
	const struct rec_sysv_msg *msg;
	size_t pos = 0;

	while ((shm = rec_next_sysv_shm(recs, &pos)))
		if (shm->namespace == set->ipc && sysv_shm_restore(set, shm, err))
			return -1;
	pos = 0;
	while ((sem = rec_next_sysv_sem(recs, &pos)))
		if (sem->namespace == set->ipc && sysv_sem_restore(set, sem, err))
			return -1;
	pos = 0;
	while ((msg = rec_next_sysv_msg(recs, &pos)))
		if (msg->namespace == set->ipc && sysv_msg_restore(set, msg, err))
			return -1;
	return 0;
}

static int finish_here(struct rset *set, void *arg UNUSED, struct err *err)
{
	const struct rec_list *recs = &set->manifest->recs;
	const struct rec_sysv_shm *shm;
	const struct rec_sysv_sem *sem;
	const struct rec_sysv_msg *msg;
	size_t pos = 0;

	while ((shm = rec_next_sysv_shm(recs, &pos)))
		if (shm->namespace == set->ipc && sysv_shm_finish(shm, err))
			return -1;
	pos = 0;
	while ((sem = rec_next_sysv_sem(recs, &pos)))
		if (sem->namespace == set->ipc && sysv_sem_finish(sem, err))
			return -1;
	pos = 0;
	while ((msg = rec_next_sysv_msg(recs, &pos)))
		if (msg->namespace == set->ipc && sysv_msg_finish(msg, err))
			return -1;
	if (rset_owns_ipc(set, set->ipc))
		restore_limits(recs, set->ipc, 1);
	return 0;
}

/* @fn in the job's ipc namespace, and in each that the program had made. */
static int everywhere(struct rset *set, rset_call *fn, struct err *err)
{
	const struct rec_namespace *n;
	size_t pos = 0;

	if (fn(set, NULL, err))
		return -1;
	while ((n = rec_next_namespace(&set->manifest->recs, &pos)))
		if (n->kind == CLONE_NEWIPC && rset_in_ipc(set, n->id, fn, NULL, err))
			return -1;
	return 0;
}

int sysv_restore(struct rset *set, struct err *err)
{
	if (set->own_ipc)
		sysv_restore_limits(&set->manifest->recs, 0);
	return everywhere(set, restore_here, err);
}

int sysv_finish(struct rset *set, struct err *err)
{
	return everywhere(set, finish_here, err);
}
