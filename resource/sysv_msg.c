/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysv_msg.c - System V message queues. Messages are looked at where they are (MSG_COPY), none is
 * taken out.
 */
#include "sysv_kind.h"

#include <errno.h>
#include <sys/msg.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/proc.h"
#include "messages.h"

#ifndef MSG_COPY
#define MSG_COPY	040000
#endif

#define PERM_BITS	0777

struct message {
	long type;
	char text[];
};

/* ---- saving ---- */

/* The longest message that there can be; the limit may have been lowered since. */
static size_t longest(uint64_t bytes)
{
	cleanup_free char *text = proc_readf(NULL, "/proc/sys/kernel/msgmax");

	return (size_t)MAX(bytes, text ? strtoull(text, NULL, 10) : 8192);
}

/* All messages of a queue of @bytes. 0, or -1 + errno. */
static int peek(int id, uint64_t bytes, struct messages *ret)
{
	size_t room = longest(bytes);
	cleanup_free struct message *m = xmalloc(sizeof(*m) + room);

	for (long i = 0;; i++) {
		ssize_t n = msgrcv(id, m, room, i, MSG_COPY | IPC_NOWAIT);

		if (n < 0)
			return errno == ENOMSG ? 0 : -1;
		messages_add(ret, m->type, m->text, (size_t)n);
	}
}

static int collect_one(const struct sysv_job *job, const int64_t *v, struct rec_buf *ret,
		       struct err *err)
{
	struct rec_sysv_msg q = {
		.key = (uint32_t)v[0],
		.id = (uint32_t)v[1],
		.mode = (uint32_t)v[2] & PERM_BITS,
		.lspid = (uint32_t)v[5],
		.lrpid = (uint32_t)v[6],
		.uid = (uint32_t)v[7],
		.gid = (uint32_t)v[8],
		.cuid = (uint32_t)v[9],
		.cgid = (uint32_t)v[10],
	};
	const struct sysv_use use = {
		.uid = q.uid,
		.cuid = q.cuid,
		.changed = v[13],
		.last = MAX(v[13], MAX(v[11], v[12])),
		.pids = { q.lspid, q.lrpid },
	};
	enum sysv_owner owner = sysv_whose(job, &use);
	struct messages all = { 0 };
	struct msqid_ds ds;
	int r = -1;

	if (owner == SYSV_OTHERS)
		return 0;
	if (msgctl((int)q.id, IPC_STAT, &ds) || (v[4] && peek((int)q.id, (uint64_t)v[3], &all))) {
		if (errno == ENOSYS)
			err_set(err, E_KERNEL_FEATURE, 0,
				"this kernel does not show the messages in System V queue %u "
				"(CONFIG_CHECKPOINT_RESTORE)",
				q.id);
		else if (owner == SYSV_LIKELY)
			r = 0;
		else
			err_set(err, err_code_of_errno(errno), errno,
				"cannot read System V message queue %u (key 0x%x)", q.id, q.key);
	} else {
		q.qbytes = ds.msg_qbytes;
		q.messages = (struct bytes){ all.data, all.len };
		rec_put_sysv_msg(ret, &q);
		r = 0;
	}
	free(all.data);
	return r;
}

int sysv_msg_collect(const struct sysv_job *job, struct rec_buf *ret, struct err *err)
{
	size_t n;
	cleanup_free struct sysv_row *rows = sysv_rows("msg", &n);

	for (size_t i = 0; i < n; i++)
		if (collect_one(job, rows[i].v, ret, err))
			return -1;
	return 0;
}

/* ---- restoring ---- */

static int make(const void *rec UNUSED, int key, int flags)
{
	return msgget(key, flags | 0600);
}

static void rm(int id)
{
	msgctl(id, IPC_RMID, NULL);
}

static int is_same(const void *rec, int id)
{
	const struct rec_sysv_msg *q = rec;
	struct msqid_ds ds;

	return msgctl(id, IPC_STAT, &ds) == 0 && (uint32_t)ds.msg_perm.__key == q->key &&
	       ds.msg_perm.uid == q->uid && ds.msg_perm.cuid == q->cuid;
}

static void drain(int id)
{
	char m[sizeof(long) + 1];

	while (msgrcv(id, m, 0, 0, MSG_NOERROR | IPC_NOWAIT) >= 0)
		;
}

static int send_empty(void *arg)
{
	const struct rec_sysv_msg *q = arg;
	const long type = 1;

	return msgsnd((int)q->id, &type, 0, IPC_NOWAIT);
}

static int receive_empty(void *arg)
{
	const struct rec_sysv_msg *q = arg;
	long type;

	return msgrcv((int)q->id, &type, 0, 0, IPC_NOWAIT) < 0 ? -1 : 0;
}

static int send_all(void *arg)
{
	const struct rec_sysv_msg *q = arg;
	struct messages_reader all = { .left = q->messages };
	struct message *m;
	int r = 0;

	while (r == 0 && messages_next(&all)) {
		m = xmalloc(sizeof(*m) + all.len);
		m->type = all.number;
		memcpy(m->text, all.text, all.len);
		r = msgsnd((int)q->id, m, all.len, IPC_NOWAIT);
		free(m);
	}
	return r;
}

static int set(const struct rec_sysv_msg *q, int final)
{
	struct msqid_ds ds;

	if (msgctl((int)q->id, IPC_STAT, &ds))
		return -1;
	if (final) {
		ds.msg_perm.uid = q->uid;
		ds.msg_perm.gid = q->gid;
		ds.msg_perm.mode = q->mode & PERM_BITS;
	}
	/* What was put in may be more than was allowed afterwards. */
	ds.msg_qbytes = final ? q->qbytes : MAX(ds.msg_qbytes, MAX(q->qbytes, q->messages.len));
	return msgctl((int)q->id, IPC_SET, &ds);
}

int sysv_msg_restore(struct rset *rs, const struct rec_sysv_msg *q, struct err *err)
{
	const struct sysv_name name = {
		.what = "message queue",
		.next_id = "msg_next_id",
		SYSV_NAME_OF(q),
	};
	int old = sysv_make(&name, rset_owns_ipc(rs, q->namespace), err), r = 0;

	if (old < 0)
		return -1;
	if (old)
		drain((int)q->id);
	/* Denied to ordinary users beyond kernel.msgmnb: the messages may fit nevertheless. */
	if (set(q, 0))
		set(&(struct rec_sysv_msg){ .id = q->id, .qbytes = q->qbytes }, 0);
	if (q->lrpid || (q->lspid && !q->messages.len)) {
		r = sysv_as(q->lspid, -1, -1, send_empty, (void *)q);
		if (r == 0)
			r = sysv_as(q->lrpid, -1, -1, receive_empty, (void *)q);
	}
	if (r == 0 && q->messages.len)
		r = sysv_as(q->lspid, -1, -1, send_all, (void *)q);
	if (r == 0)
		return 0;
	return err_set(err, errno == EAGAIN || errno == EINVAL ? E_LIMIT : err_code_of_errno(errno),
		       errno,
		       "filling System V message queue %u (kernel.msgmax and kernel.msgmnb may be "
		       "lower here)",
		       q->id);
}

int sysv_msg_finish(const struct rec_sysv_msg *q, struct err *err)
{
	struct rec_sysv_msg as_is = *q;
	struct msqid_ds ds;

	if (set(q, 1) == 0)
		return 0;
	if (msgctl((int)q->id, IPC_STAT, &ds))
		return err_set(err, E_FAILED, errno, "System V message queue %u", q->id);
	log_info("System V message queue %u has other owners or limits here", q->id);
	as_is.qbytes = MIN(q->qbytes, ds.msg_qbytes);
	if (set(&as_is, 1) == 0)
		return 0;
	as_is.uid = ds.msg_perm.uid; /* users that do not exist here: it stays ours */
	as_is.gid = ds.msg_perm.gid;
	return set(&as_is, 1) ? err_set(err, E_FAILED, errno,
					"permissions of System V message queue %u", q->id)
			      : 0;
}
