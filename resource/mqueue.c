/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mqueue.c - POSIX message queues: attributes, messages, owners; each made once, opened as often as
 * it was. Those that no process of the job has open the round finds (coordinator/round_mqueue.c).
 */
#include "mqueue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"

#define DELETED	     " (deleted)"
#define PERM_BITS	07777

static int mqueue_probe(const struct desc *d)
{
	struct statfs fs;

	return S_ISREG(d->st.st_mode) && !(d->flags & O_PATH) && fstatfs(d->fd, &fs) == 0 &&
	       fs.f_type == MQUEUE_MAGIC;
}

/* ---- saving ---- */

/* A description of our own: the job's may be for one direction only, and may block. */
static int own_description(const struct desc *d, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", d->fd);
	return open(path, flags | O_NONBLOCK | O_CLOEXEC);
}

/* Of a process of the job that is notified the round asks the rest (coordinator/round_notify.c). */
static int check_notified(struct res_set *set, struct desc *d, const struct mqueue_seen *q,
			  const struct mqueue_attr *a, struct err *err)
{
	if (!q->registered)
		return 0;
	if (!q->owner || (set->inside && !set->inside(set->arg, q->owner)))
		return res_refuse(set, d, E_OUTSIDE, err,
				  "a process outside of the job (pid %d) waits to be notified of "
				  "messages in it (mq_notify)",
				  (int)q->owner);
	if (!a->curmsgs || a->maxmsg >= MQUEUE_QUIET_ROOM)
		return 0;
	return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err,
			  "the one message that it has room for cannot be looked at without "
			  "notifying who waits for the next (mq_notify); receive it first");
}

static int mqueue_check(struct res_set *set, struct desc *d, struct err *err)
{
	cleanup_close int rd = own_description(d, O_RDONLY), rw = own_description(d, O_RDWR);
	struct mqueue_seen *q = mqueue_seen(set, &d->st);
	struct mqueue_attr a;

	if (mqueue_attr(d->fd, &a))
		return res_refuse(set, d, E_FAILED, err, "its attributes cannot be read");
	/* Who may not read it is nobody who would be notified: that is for who receives. */
	mqueue_tells(rd >= 0 ? rd : d->fd, q);
	if (a.curmsgs && rw < 0)
		return res_refuse(
			set, d, E_ACCESS, err,
			"it holds messages, which can be saved only by whom it belongs to");
	return check_notified(set, d, q, &a, err);
}

/* 0: the job's. */
static uint32_t namespace_of(const struct res_set *set, const struct desc *d)
{
	for (size_t i = 0; i < set->nipcs; i++)
		if (set->ipcs[i].dev == d->st.st_dev)
			return set->ipcs[i].id;
	return 0;
}

static int save_queue(struct res_set *set, const struct desc *d, int quiet, struct err *err)
{
	cleanup_free char *name =
		xstrdup(strrchr(d->link, '/') ? strrchr(d->link, '/') + 1 : d->link);
	cleanup_close int fd = own_description(d, O_RDWR);
	struct messages all = { 0 };
	struct mqueue_attr a;
	size_t n = strlen(name), k = strlen(DELETED);

	if (!d->st.st_nlink && n > k && !strcmp(name + n - k, DELETED))
		name[n - k] = 0;
	if (mqueue_attr(d->fd, &a))
		return res_refuse(set, d, E_FAILED, err, "its attributes cannot be read");
	if (a.curmsgs && mqueue_take(fd, quiet, &all, err)) {
		free(all.data);
		return err_prefix(err, "%s", d->link);
	}
	rec_put_mqueue_data(set->recs, &(struct rec_mqueue_data){
					       .queue = d->st.st_ino,
					       .name = name,
					       .unlinked = !d->st.st_nlink,
					       .mode = d->st.st_mode & PERM_BITS,
					       .uid = d->st.st_uid,
					       .gid = d->st.st_gid,
					       .maxmsg = (uint64_t)a.maxmsg,
					       .msgsize = (uint64_t)a.msgsize,
					       .messages = { all.data, all.len },
					       .namespace = namespace_of(set, d),
				       });
	free(all.data);
	return 0;
}

static int mqueue_save(struct res_set *set, struct desc *d, struct err *err)
{
	struct mqueue_seen *q = mqueue_seen(set, &d->st);

	rec_put_mqueue(set->recs, &(struct rec_mqueue){ .desc = d->id, .queue = d->st.st_ino });
	if (q->written)
		return 0;
	q->written = 1;
	return save_queue(set, d, q->registered, err);
}

/* ---- restoring ---- */

struct made {
	struct made *next;
	const struct rec_mqueue_data *rec;
	int fd, old;
};
static struct made *all_made;

static void raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_MSGQUEUE, &l) == 0 && l.rlim_cur != RLIM_INFINITY) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_MSGQUEUE, &l);
		l.rlim_cur = l.rlim_max = RLIM_INFINITY;
		if (setrlimit(RLIMIT_MSGQUEUE, &l))
			errno = 0; /* an ordinary user's stays where it is */
	}
}

static int make_named(const char *name, const struct rec_mqueue_data *q)
{
	struct mqueue_attr a = { .maxmsg = (long)q->maxmsg, .msgsize = (long)q->msgsize };

	return (int)syscall(SYS_mq_open, name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC,
			    0600, &a);
}

/* The job's own, left behind when it was ended? Then it is taken. */
static int take_old(const struct rec_mqueue_data *q)
{
	int fd = (int)syscall(SYS_mq_open, q->name, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0, NULL);
	struct mqueue_attr a;
	struct stat st;

	if (fd >= 0 && mqueue_attr(fd, &a) == 0 && fstat(fd, &st) == 0 && st.st_uid == q->uid &&
	    (uint64_t)a.maxmsg == q->maxmsg && (uint64_t)a.msgsize == q->msgsize) {
		mqueue_drain(fd);
		return fd;
	}
	cleanup_closep(&fd);
	errno = EEXIST;
	return -1;
}

/* An empty queue. *ret_old: it was there. */
static int make_empty(const struct rset *set, const struct rec_mqueue_data *q, int *ret_old,
		      struct err *err)
{
	cleanup_free char *other = xasprintf("%.200s.ckpt-%d", q->name, (int)getpid());
	const char *name = q->name;
	int fd = make_named(name, q), e;

	if (fd < 0 && errno == EEXIST && q->unlinked) {
		name = other;
		fd = make_named(name, q);
	} else if (fd < 0 && errno == EEXIST && !rset_owns_ipc(set, q->namespace)) {
		fd = take_old(q);
		*ret_old = 1;
	}
	e = errno;
	if (fd >= 0 && q->unlinked)
		syscall(SYS_mq_unlink, name);
	if (fd < 0 && e == EEXIST)
		return err_set(err, E_EXISTS, 0,
			       "message queue /%s exists here, and is not the job's; remove it or "
			       "restore in an ipc namespace of its own",
			       q->name);
	if (fd < 0)
		return err_set(err,
			       e == EINVAL || e == EMFILE || e == ENOSPC ? E_LIMIT
									 : err_code_of_errno(e),
			       e,
			       "making message queue /%s of %llu messages (ulimit -q, "
			       "/proc/sys/fs/mqueue)",
			       q->name, (unsigned long long)q->maxmsg);
	return fd;
}

static int fill(int fd, const struct rec_mqueue_data *q)
{
	struct messages_reader all = { .left = q->messages };

	while (messages_next(&all))
		if (mqueue_send(fd, all.text, all.len, (uint32_t)all.number))
			return -1;
	return 0;
}

/* In its namespace. */
static int make_here(struct rset *set, void *rec, struct err *err)
{
	const struct rec_mqueue_data *q = rec;
	int fd, old = 0;
	struct made *m;

	if (q->namespace) {	/* to those in a user namespace no others can belong there */
		setfsgid(q->gid);
		setfsuid(q->uid);
	}
	raise_limit();
	fd = make_empty(set, q, &old, err);
	if (fd < 0)
		return -1;
	m = xmalloc(sizeof(*m));
	*m = (struct made){ .next = all_made, .rec = q, .fd = fd, .old = old };
	all_made = m;
	if (fill(fd, q))
		return err_set(err, E_FAILED, errno, "filling message queue /%s", q->name);
	return fd;
}

/* The queue with that number, made at the first call. -1 + err. */
static int queue_fd(struct rset *set, uint64_t queue, struct err *err)
{
	const struct rec_mqueue_data *q;
	size_t pos = 0;

	for (const struct made *m = all_made; m; m = m->next)
		if (m->rec->queue == queue)
			return m->fd;
	while ((q = rec_next_mqueue_data(&set->manifest->recs, &pos)) && q->queue != queue)
		;
	if (!q)
		return err_set(err, E_CORRUPT, 0, "the manifest lacks a message queue");
	return rset_in_ipc(set, q->namespace, make_here, (void *)q, err);
}

static int mqueue_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_mqueue *m = rset_rec(set, d, mqueue, err);
	int fd;

	if (!m)
		return -1;
	fd = queue_fd(set, m->queue, err);
	if (fd < 0)
		return -1;
	d->fd = rset_reopen(fd, d->rec->flags & (O_ACCMODE | O_NONBLOCK));
	return d->fd < 0 ? err_set(err, E_FAILED, errno, "cannot open %s again", d->rec->name) : 0;
}

/* All are open: now they may become somebody else's. */
static int mqueue_finish(struct rset *set UNUSED, struct rdesc *d UNUSED, struct err *err UNUSED)
{
	for (struct made *m = all_made; m; m = m->next) {
		if (m->fd < 0)
			continue;
		if (fchown(m->fd, m->rec->uid, m->rec->gid) < 0 || fchmod(m->fd, m->rec->mode) < 0)
			log_info("message queue /%s has another owner here: %s", m->rec->name,
				 strerror(errno));
		cleanup_closep(&m->fd);
		m->fd = -1;
	}
	return 0;
}

void mqueue_forget(struct rset *set)
{
	for (struct made *m = all_made; m; m = m->next)
		if (!m->old && !m->rec->unlinked && !rset_owns_ipc(set, m->rec->namespace))
			syscall(SYS_mq_unlink, m->rec->name);
	all_made = NULL;
}

const struct res_ops res_mqueue = {
	.kind = RES_MQUEUE,
	.name = "mqueue",
	.probe = mqueue_probe,
	.check = mqueue_check,
	.save = mqueue_save,
	.open = mqueue_open,
	.finish = mqueue_finish,
};
