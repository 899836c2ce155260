/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System V objects and POSIX message queues: sysv*.c, messages.c, mqueue*.c. In ipc namespaces of
 * our own: one in which the objects are made, a fresh one in which they are made again.
 */
#include "res_fixture.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "../../resource/mqueue.h"
#include "../../resource/sysv_kind.h"

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* An ipc namespace; the first time with a user namespace around it, if it takes that. */
static void fresh_namespace(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char text[32];

	if (unshare(CLONE_NEWIPC) == 0)
		return;
	if (unshare(CLONE_NEWUSER | CLONE_NEWIPC))
		skip();
	snprintf(text, sizeof(text), "%u %u 1", uid, uid);
	put_text("/proc/self/uid_map", text);
	put_text("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "%u %u 1", gid, gid);
	put_text("/proc/self/gid_map", text);
}

static void test_messages(void **state UNUSED)
{
	struct messages m = { 0 };
	struct messages_reader r;

	messages_add(&m, -5, "hello", 5);
	messages_add(&m, 1L << 40, "", 0);
	messages_add(&m, 7, "12345678", 8);
	for (size_t cut = 0; cut <= m.len; cut++) {
		int n = 0;

		r = (struct messages_reader){ .left = { m.data, cut } };
		while (messages_next(&r))
			n++;
		assert_true(n <= 3 && (n == 3) == (cut == m.len));
	}
	r = (struct messages_reader){ .left = { m.data, m.len } };
	assert_true(messages_next(&r));
	assert_int_equal(r.number, -5);
	assert_int_equal(r.len, 5);
	assert_memory_equal(r.text, "hello", 5);
	assert_true(messages_next(&r));
	assert_true(r.number == 1L << 40 && r.len == 0);
	assert_true(messages_next(&r));
	assert_memory_equal(r.text, "12345678", 8);
	assert_false(messages_next(&r));
	memset(m.data + 8, 0xff, 8); /* a length beyond all bounds */
	r = (struct messages_reader){ .left = { m.data, m.len } };
	assert_false(messages_next(&r));
	free(m.data);
}

static void test_whose(void **state UNUSED)
{
	const uint32_t self = (uint32_t)getpid(), other = (uint32_t)getppid(), uid = 12345;
	const int64_t now = io_realtime_ns() / 1000000000;
	struct sysv_job job = {
		.since = now - 10, .pids = &self, .npids = 1, .uids = &uid, .nuids = 1
	};
	const struct {
		struct sysv_use use;
		enum sysv_owner want;
	} rows[] = {
		{ { .uid = 1, .changed = now, .last = now }, SYSV_OTHERS },
		{ { .uid = 1, .changed = now - 99, .last = now, .pids = { 0, self } }, SYSV_OURS },
		{ { .uid = uid, .changed = now, .last = now }, SYSV_LIKELY },
		{ { .cuid = uid, .changed = now, .last = now, .pids = { 0x3fffff } }, SYSV_LIKELY },
		{ { .uid = uid, .changed = now - 99, .last = now }, SYSV_OTHERS },
		{ { .uid = uid, .changed = now, .last = now, .pids = { other } }, SYSV_OTHERS },
		/* The number was given to somebody else long after. */
		{ { .uid = uid, .changed = 5, .last = 5, .pids = { self } }, SYSV_OTHERS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(sysv_whose(&job, &rows[i].use), rows[i].want);
	job.all = 1;
	assert_int_equal(sysv_whose(&job, &rows[0].use), SYSV_OURS);
}

struct message {
	long type;
	char text[64];
};

/* Numbers far from those that a fresh namespace begins with. */
static void make_objects(int *ret_shm, int *ret_sem, int *ret_msg)
{
	struct message m = { .type = 3, .text = "first" };
	struct sembuf b = { 1, 5, 0 };

	for (int i = 0; i < 40; i++) {
		shmctl(shmget(IPC_PRIVATE, 1, 0600), IPC_RMID, NULL);
		semctl(semget(IPC_PRIVATE, 1, 0600), 0, IPC_RMID);
		msgctl(msgget(IPC_PRIVATE, 0600), IPC_RMID, NULL);
	}
	*ret_shm = shmget(0x1001, 10000, IPC_CREAT | 0640);
	*ret_sem = semget(0x1002, 3, IPC_CREAT | 0604);
	*ret_msg = msgget(0x1003, IPC_CREAT | 0600);
	assert_true(*ret_shm >= 0 && *ret_sem >= 0 && *ret_msg >= 0);
	assert_int_equal(semop(*ret_sem, &b, 1), 0);
	assert_int_equal(semctl(*ret_sem, 2, SETVAL, 32767), 0);
	assert_int_equal(msgsnd(*ret_msg, &m, 5, 0), 0);
	m = (struct message){ .type = 1, .text = "second" };
	assert_int_equal(msgsnd(*ret_msg, &m, 6, 0), 0);
}

static void check_objects(int shm, int sem, int msg)
{
	struct message m;

	assert_int_equal(shmget(0x1001, 0, 0), shm);
	assert_int_equal(semget(0x1002, 0, 0), sem);
	assert_int_equal(msgget(0x1003, 0), msg);
	assert_int_equal(semctl(sem, 0, GETVAL), 0);
	assert_int_equal(semctl(sem, 1, GETVAL), 5);
	assert_int_equal(semctl(sem, 2, GETVAL), 32767);
	assert_int_equal(semctl(sem, 0, GETPID), 0);
	assert_int_equal(msgrcv(msg, &m, sizeof(m.text), 1, IPC_NOWAIT), 6);
	assert_memory_equal(m.text, "second", 6);
	assert_int_equal(msgrcv(msg, &m, sizeof(m.text), 0, IPC_NOWAIT), 5);
	assert_memory_equal(m.text, "first", 5);
}

/* Everything of this namespace, in an image. */
static struct fix *collect(void)
{
	struct fix *f = fix_new();
	struct sysv_job job = { .all = 1 };
	size_t nfds = 0;
	int *fds = NULL;

	fix_must(f, sysv_collect(&job, &f->recs, &fds, &nfds, &f->err));
	for (size_t i = 0; i < nfds; i++)
		close(fds[i]);
	free(fds);
	fix_save(f);
	return f;
}

static void test_restore(void **state UNUSED)
{
	struct shmid_ds ds;
	struct fix *f;
	int shm, sem, msg;

	fresh_namespace();
	make_objects(&shm, &sem, &msg);
	f = collect();
	check_objects(shm, sem, msg);
	/*
	 * Where it is not our own: what is there is taken, if it is the same; else it is in the
	 * way.
	 */
	((struct rec_sysv_shm *)rec_first(sysv_shm, &f->image.recs))->content = 0;
	fix_must(f, sysv_restore(&f->rset, &f->err));
	check_objects(shm, sem, msg);
	shmctl(shm, IPC_RMID, NULL);
	assert_true(shmget(0x1001, 5, IPC_CREAT | 0600) != shm);
	assert_int_equal(sysv_restore(&f->rset, &f->err), -1);
	assert_int_equal(f->err.code, E_EXISTS);

	fresh_namespace();
	f->rset.own_ipc = 1;
	fix_must(f, sysv_restore(&f->rset, &f->err));
	fix_must(f, sysv_finish(&f->rset, &f->err));
	check_objects(shm, sem, msg);
	assert_int_equal(shmctl(shm, IPC_STAT, &ds), 0);
	assert_int_equal(ds.shm_perm.mode & 0777, 0640);
	assert_int_equal(ds.shm_segsz, 10000);
	fix_free(f);
}

/* As with a kernel, or in a container, that does not let the next number be chosen. */
static void test_search(void **state UNUSED)
{
	static const char *const files[] = { "shm_next_id", "sem_next_id", "msg_next_id" };
	struct fix *f;
	int shm, sem, msg;

	fresh_namespace();
	make_objects(&shm, &sem, &msg);
	f = collect();
	((struct rec_sysv_shm *)rec_first(sysv_shm, &f->image.recs))->content = 0;
	fresh_namespace();
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		cleanup_free char *path = xasprintf("/proc/sys/kernel/%s", files[i]);

		if (mount("/dev/null", path, NULL, MS_BIND, NULL))
			skip();
	}
	f->rset.own_ipc = 1;
	fix_must(f, sysv_restore(&f->rset, &f->err));
	check_objects(shm, sem, msg);
	fix_free(f);
}

/* What a process owes is made up for when it ends. */
static void test_undo(void **state UNUSED)
{
	static const struct {
		int value, adjust, after;
	} rows[] = {
		{ 0, 5, 5 },
		{ 5, -5, 0 },
		{ 32767, -32768, 0 },
		{ 0, 32767, 32767 },
		{ 16384, 16383, 32767 },
		{ 16384, -16384, 0 },
		{ 10, -20, 0 },
		{ 1, 1, 2 },
	};
	int set;

	fresh_namespace();
	set = semget(IPC_PRIVATE, ARRAY_SIZE(rows), 0600);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rec_buf b = { 0 };
		struct rec_list l;
		struct err err;
		pid_t pid;
		int status;

		assert_int_equal(semctl(set, (int)i, SETVAL, rows[i].value), 0);
		rec_put_sysv_undo(&b, &(struct rec_sysv_undo){ .id = (uint32_t)set,
							       .num = (uint32_t)i,
							       .adjust = rows[i].adjust });
		assert_int_equal(rec_parse(b.data, b.len, &l, &err), 0);
		pid = fork();
		if (pid == 0)
			_exit(sysv_restore_undo(&l, &err) ||
			      semctl(set, (int)i, GETVAL) != rows[i].value);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_int_equal(semctl(set, (int)i, GETVAL), rows[i].after);
		rec_list_free(&l);
		rec_buf_free(&b);
	}
}

static void test_mqueue(void **state UNUSED)
{
	struct mqueue_attr a = { .maxmsg = 5, .msgsize = 100 };
	struct messages all = { 0 }, again = { 0 };
	struct err err = { 0 };
	struct fix *f;
	size_t len;
	int q, ro;

	fresh_namespace();
	q = (int)syscall(SYS_mq_open, "test", O_RDWR | O_CREAT | O_NONBLOCK, 0600, &a);
	if (q < 0)
		skip();
	for (int i = 0; i < 5; i++)
		assert_int_equal(mqueue_send(q, "abcdef", (size_t)i, (uint32_t)i % 2), 0);
	assert_int_equal(mqueue_take(q, 0, &all, &err), 0);
	assert_int_equal(mqueue_take(q, 0, &again, &err), 0);
	assert_int_equal(all.len, again.len);
	assert_memory_equal(all.data, again.data, all.len);
	len = all.len;
	free(all.data);
	free(again.data);
	again = (struct messages){ 0 };

	ro = (int)syscall(SYS_mq_open, "test", O_RDONLY, 0, NULL);
	f = fix_new();
	fix_add(f, q);
	fix_add(f, ro);
	fix_save(f);
	syscall(SYS_mq_unlink, "test");
	f->rset.own_ipc = 1;
	fix_restore(f);
	assert_true(fix_same_file(fix_fd(f, q), fix_fd(f, ro)));
	assert_false(fix_same_file(fix_fd(f, q), q));
	assert_int_equal(fcntl(fix_fd(f, q), F_GETFL) & (O_NONBLOCK | O_ACCMODE),
			 O_NONBLOCK | O_RDWR);
	assert_int_equal(fcntl(fix_fd(f, ro), F_GETFL) & (O_NONBLOCK | O_ACCMODE), O_RDONLY);
	assert_int_equal(mqueue_take(fix_fd(f, q), 0, &again, &err), 0);
	assert_int_equal(again.len, len);
	close(q), close(ro);
	free(again.data);
	fix_free(f);
}

/* Priorities, each a message of as many bytes as its place, but for the last: @last bytes. */
static void quiet_row(const uint32_t *priorities, size_t n, size_t last)
{
	struct mqueue_attr a = { .maxmsg = MAX((long)n, MQUEUE_QUIET_ROOM), .msgsize = 100 };
	struct { uint64_t value; int signo, notify; uint64_t pad[6]; } ev = { .notify = SIGEV_NONE };
	struct messages first = { 0 }, again = { 0 };
	struct err err = { 0 };
	int q = (int)syscall(SYS_mq_open, "quiet", O_RDWR | O_CREAT | O_NONBLOCK, 0600, &a);

	assert_true(q >= 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(mqueue_send(q, "abcdefgh", i + 1 < n ? i : last, priorities[i]), 0);
	assert_int_equal(mqueue_take(q, 0, &first, &err), 0);
	assert_int_equal(syscall(SYS_mq_notify, q, &ev), 0);
	assert_int_equal(mqueue_take(q, 1, &again, &err), 0);
	assert_int_equal(first.len, again.len);
	assert_memory_equal(first.data, again.data, first.len);
	free(again.data);
	again = (struct messages){ 0 };
	assert_int_equal(syscall(SYS_mq_notify, q, &ev), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(mqueue_take(q, 0, &again, &err), 0);
	assert_int_equal(first.len, again.len);
	assert_memory_equal(first.data, again.data, first.len);
	assert_int_equal(syscall(SYS_mq_notify, q, &ev), 0);	/* that was not quiet */
	free(first.data);
	free(again.data);
	close(q);
	syscall(SYS_mq_unlink, "quiet");
}

static void test_quiet(void **state UNUSED)
{
	int q;

	fresh_namespace();
	q = (int)syscall(SYS_mq_open, "quiet", O_RDWR | O_CREAT, 0600, NULL);
	if (q < 0)
		skip();
	close(q);
	syscall(SYS_mq_unlink, "quiet");
	for (size_t last = 0; last < 3; last++) {
		quiet_row((uint32_t[]){ 0 }, 1, last);
		quiet_row((uint32_t[]){ 32767 }, 1, last);
		quiet_row((uint32_t[]){ 5, 5 }, 2, last);
		quiet_row((uint32_t[]){ 9, 1, 9, 4, 1, 1 }, 6, last);
		quiet_row((uint32_t[]){ 0, 3, 2, 1 }, 4, last);
		quiet_row((uint32_t[]){ 1, 1, 0, 0, 0 }, 5, last);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages), cmocka_unit_test(test_whose),
		cmocka_unit_test(test_restore),	 cmocka_unit_test(test_undo),
		cmocka_unit_test(test_mqueue),	 cmocka_unit_test(test_search),
		cmocka_unit_test(test_quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
