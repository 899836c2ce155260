/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc.h"

#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>

const char *scn_doc = "ipc namespaces that processes made, with objects of the same numbers, keys and names in each: memory attached, "
		      "not attached and removed, semaphores with what is owed to them, both kinds of message queues, owners, limits";

#define KEY	0x5e5e
#define SIZE	20000UL

static int ready[2], go[2];

static void pause_here(void)
{
	char c = 'r';

	scn_sys(write(ready[1], &c, 1));
	scn_check(read(go[0], &c, 1) == 1, "go");
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = -1;

	if (fd >= 0) {
		r = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
		close(fd);
	}
	return r;
}

/* Root needs no user namespace for it, and has one of the job's then. */
static void enter(int with_user)
{
	unsigned uid = geteuid(), gid = getegid();
	char text[64];

	if (!with_user && unshare(CLONE_NEWIPC) == 0)
		return;
	scn_sys(unshare(CLONE_NEWUSER | CLONE_NEWIPC));
	snprintf(text, sizeof(text), "7 %u 1", uid);
	scn_check(put("/proc/self/uid_map", text) == 0, "uid_map: %s", strerror(errno));
	put("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "7 %u 1", gid);
	scn_check(put("/proc/self/gid_map", text) == 0, "gid_map: %s", strerror(errno));
}

/* What one namespace has; of @seed depends all that is in it. */
struct have {
	unsigned seed;
	int shm, spare, gone, sem, msg;
	char *mem, *gone_mem;
	mqd_t open;
	struct shmid_ds ds;
	int back[2];
	pid_t holder;
};

static int give(int sem, int by, int flags)
{
	struct sembuf b = { 0, (short)by, (short)flags };

	return semop(sem, &b, 1);
}

/* Owes a semaphore, has what its parent has attached, and ends when told to. */
static pid_t start_holder(const struct have *h)
{
	pid_t pid;
	int p[2];
	char c;

	scn_sys(pipe(p));
	pid = scn_fork();
	if (pid == 0) {
		close(h->back[1]);
		scn_sys(give(h->sem, -3, SEM_UNDO));
		scn_sys(write(p[1], "h", 1));
		scn_check(read(h->back[0], &c, 1) == 1, "back");
		scn_check(scn_verify(h->mem + 4096, SIZE - 4096, h->seed) < 0, "content in the child");
		h->mem[0] = 'c';
		_exit(4);
	}
	scn_check(read(p[0], &c, 1) == 1, "the holder");
	close(p[0]);
	close(p[1]);
	return pid;
}

static void make(struct have *h, unsigned seed)
{
	struct { long type; char text[16]; } m = { .type = (long)seed };
	struct mq_attr attr = { .mq_maxmsg = 4, .mq_msgsize = 32 };
	char *mem;
	mqd_t q;

	h->seed = seed;
	h->shm = scn_sys(shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0640));
	h->spare = scn_sys(shmget(KEY + 1, SIZE, IPC_CREAT | IPC_EXCL | 0600));
	h->gone = scn_sys(shmget(IPC_PRIVATE, 4096, 0600));
	h->sem = scn_sys(semget(KEY, 2, IPC_CREAT | IPC_EXCL | 0600));
	h->msg = scn_sys(msgget(KEY, IPC_CREAT | IPC_EXCL | 0600));
	h->mem = scn_sys(shmat(h->shm, NULL, 0));
	scn_fill(h->mem + 4096, SIZE - 4096, seed);
	mem = scn_sys(shmat(h->spare, NULL, 0));
	scn_fill(mem, 5000, seed + 1);
	scn_sys(shmdt(mem));
	h->gone_mem = scn_sys(shmat(h->gone, NULL, 0));
	scn_fill(h->gone_mem, 4096, seed + 2);
	scn_sys(shmctl(h->gone, IPC_RMID, NULL));
	scn_sys(semctl(h->sem, 0, SETVAL, 10 + (int)seed));
	scn_fill(m.text, sizeof(m.text), seed);
	scn_sys(msgsnd(h->msg, &m, sizeof(m.text), 0));
	h->open = scn_sys(mq_open("/ckpt-scn-open", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr));
	ipc_mq_send(h->open, seed % 2 ? "odd" : "even", seed);
	q = scn_sys(mq_open("/ckpt-scn-closed", O_RDWR | O_CREAT | O_EXCL, 0640, &attr));
	ipc_mq_send(q, "first", 9);
	ipc_mq_send(q, seed % 2 ? "odd" : "even", seed);
	scn_sys(mq_close(q));
	scn_sys(pipe(h->back));
	h->holder = start_holder(h);
	scn_sys(shmctl(h->shm, IPC_STAT, &h->ds));
}

static void check_memory(struct have *h)
{
	struct shmid_ds now;
	char *mem;

	scn_sys(shmctl(h->shm, IPC_STAT, &now));
	scn_check(now.shm_perm.uid == h->ds.shm_perm.uid && now.shm_perm.cuid == h->ds.shm_perm.cuid &&
		  now.shm_perm.gid == h->ds.shm_perm.gid && now.shm_perm.mode == h->ds.shm_perm.mode,
		  "%d, %d, mode %o", (int)now.shm_perm.uid, (int)now.shm_perm.cuid, now.shm_perm.mode);
	scn_check(now.shm_cpid == h->ds.shm_cpid && now.shm_nattch == 2, "made by %d, attached %d times", (int)now.shm_cpid,
		  (int)now.shm_nattch);
	scn_check(scn_sys(shmget(KEY, 0, 0)) == h->shm && scn_sys(shmget(KEY + 1, 0, 0)) == h->spare, "numbers");
	scn_check(scn_verify(h->mem + 4096, SIZE - 4096, h->seed) < 0, "content");
	scn_check(scn_verify(h->gone_mem, 4096, h->seed + 2) < 0, "content of the removed one");
	scn_sys(shmctl(h->gone, IPC_STAT, &now));
	scn_check(now.shm_perm.mode & 01000 /* SHM_DEST */ && now.shm_nattch == 2, "the removed one is to stay");
	mem = scn_sys(shmat(h->spare, NULL, 0));
	scn_check(scn_verify(mem, 5000, h->seed + 1) < 0 && !mem[5000], "content of the unattached one");
	scn_sys(shmdt(mem));
}

static void check(struct have *h)
{
	struct { long type; char text[16]; } m;
	mqd_t q;

	check_memory(h);
	scn_check(scn_sys(semget(KEY, 0, 0)) == h->sem && scn_sys(msgget(KEY, 0)) == h->msg, "numbers");
	scn_check(scn_sys(semctl(h->sem, 0, GETVAL)) == 7 + (int)h->seed, "value %d", semctl(h->sem, 0, GETVAL));
	scn_check(scn_sys(semctl(h->sem, 0, GETPID)) == h->holder, "who changed it");
	scn_check(msgrcv(h->msg, &m, sizeof(m.text), 0, IPC_NOWAIT) == sizeof(m.text) && m.type == (long)h->seed &&
		  scn_verify(m.text, sizeof(m.text), h->seed) < 0, "message");
	ipc_mq_receive(h->open, h->seed % 2 ? "odd" : "even", h->seed);
	scn_check(mq_receive(h->open, (char[32]){ 0 }, 32, NULL) < 0 && errno == EAGAIN, "no more");
	q = scn_sys(mq_open("/ckpt-scn-closed", O_RDWR | O_NONBLOCK));
	ipc_mq_receive(q, h->seed > 9 ? h->seed % 2 ? "odd" : "even" : "first", h->seed > 9 ? h->seed : 9);
	scn_sys(mq_close(q));
	q = scn_sys(mq_open("/ckpt-scn-open", O_RDWR));
	ipc_mq_send(q, "one", 1);
	ipc_mq_receive(h->open, "one", 1);
	h->mem[0] = 'p';
	scn_sys(write(h->back[1], "b", 1));
	scn_reap(h->holder, 4);
	scn_check(h->mem[0] == 'c', "it is the child's memory, too");
	scn_check(scn_sys(semctl(h->sem, 0, GETVAL)) == 10 + (int)h->seed, "given back: %d", semctl(h->sem, 0, GETVAL));
}

static void first(void)
{
	struct have h;

	enter(0);
	make(&h, 1);
	pause_here();
	check(&h);
}

/* Numbers that do not begin with 0, limits, and segments that go with who has them. */
static void second(void)
{
	int limited;
	struct have h;

	enter(1);
	for (int i = 0; i < 5; i++) {
		int shm = scn_sys(shmget(IPC_PRIVATE, 1, 0600)), sem = scn_sys(semget(IPC_PRIVATE, 1, 0600));
		int msg = scn_sys(msgget(IPC_PRIVATE, 0600));

		scn_sys(shmctl(shm, IPC_RMID, NULL));
		scn_sys(semctl(sem, 0, IPC_RMID));
		scn_sys(msgctl(msg, IPC_RMID, NULL));
	}
	limited = put("/proc/sys/kernel/msgmni", "33") == 0;	/* older kernels let only the system's root */
	make(&h, 12);
	pause_here();
	check(&h);
	scn_check(!limited || atoi(scn_read_file("/proc/sys/kernel/msgmni")) == 33, "msgmni is %s",
		  scn_read_file("/proc/sys/kernel/msgmni"));
}

/* Segments end with who has them, there and from now on. */
static void forced(void)
{
	int id, is_forced;
	char *mem;
	pid_t pid;

	enter(0);
	is_forced = put("/proc/sys/kernel/shm_rmid_forced", "1") == 0;
	pid = scn_fork();
	if (pid == 0) {
		id = scn_sys(shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0600));
		mem = scn_sys(shmat(id, NULL, 0));
		scn_fill(mem, SIZE, 5);
		pause_here();
		scn_check(scn_verify(mem, SIZE, 5) < 0 && shmget(KEY, 0, 0) == id, "content");
		_exit(3);
	}
	scn_reap(pid, 3);
	id = shmget(KEY, 0, 0);
	scn_check((id < 0) == is_forced, "a segment that nobody has is %s", id < 0 ? "gone" : "there");
	scn_check(!is_forced || atoi(scn_read_file("/proc/sys/kernel/shm_rmid_forced")) == 1, "shm_rmid_forced");
}

/* Nobody of this user namespace is left who could be told from others. */
static void without_ids(void)
{
	int id;
	struct shmid_ds ds;
	char *mem;

	scn_sys(unshare(CLONE_NEWUSER | CLONE_NEWIPC));
	id = scn_sys(shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0600));
	mem = scn_sys(shmat(id, NULL, 0));
	scn_fill(mem, SIZE, 3);
	pause_here();
	scn_sys(shmctl(id, IPC_STAT, &ds));
	scn_check(ds.shm_perm.uid == geteuid() && (ds.shm_perm.mode & 0777) == 0600, "%d, %o", (int)ds.shm_perm.uid,
		  ds.shm_perm.mode);
	scn_check(scn_verify(mem, SIZE, 3) < 0, "content");
	scn_sys(semget(KEY, 1, IPC_CREAT | 0600));
}

/* Root's: what others made, of whom the job's user namespace knows by other numbers. */
static void of_others(void)
{
	int p[2], q[2];
	char c, path[64];
	pid_t pid;

	scn_sys(pipe(p));
	scn_sys(pipe(q));
	pid = scn_fork();
	if (pid == 0) {
		struct shmid_ds ds;
		struct stat st;
		pid_t maker;
		int id;

		scn_sys(unshare(CLONE_NEWUSER | CLONE_NEWIPC));
		scn_sys(write(p[1], "u", 1));
		scn_check(read(q[0], &c, 1) == 1, "maps");
		maker = scn_fork();
		if (maker == 0) {
			scn_sys(setgroups(0, NULL));
			scn_sys(setresgid(4, 4, 4));
			scn_sys(setresuid(3, 3, 3));
			scn_sys(shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0604));
			close(scn_sys(mq_open("/ckpt-scn-other", O_RDWR | O_CREAT, 0604, NULL)));
			_exit(0);
		}
		scn_reap(maker, 0);
		scn_sys(write(p[1], "i", 1));
		scn_check(read(q[0], &c, 1) == 1, "go");
		id = scn_sys(shmget(KEY, 0, 0));
		scn_sys(shmctl(id, IPC_STAT, &ds));
		scn_check(ds.shm_perm.uid == 3 && ds.shm_perm.cuid == 3 && ds.shm_perm.gid == 4 && ds.shm_perm.cgid == 4 &&
			  ds.shm_cpid == maker, "%d, %d", (int)ds.shm_perm.uid, (int)ds.shm_perm.gid);
		id = scn_sys(mq_open("/ckpt-scn-other", O_RDONLY));
		scn_sys(fstat(id, &st));
		scn_check(st.st_uid == 3 && st.st_gid == 4 && (st.st_mode & 0777) == 0604, "%d, %d", (int)st.st_uid,
			  (int)st.st_gid);
		_exit(6);
	}
	scn_check(read(p[0], &c, 1) == 1, "unshared");
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	scn_check(put(path, "0 100000 10\n20 0 5\n") == 0, "%s: %s", path, strerror(errno));
	snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
	scn_check(put(path, "0 200000 10\n20 0 5\n") == 0, "%s: %s", path, strerror(errno));
	scn_sys(write(q[1], "m", 1));
	scn_check(read(p[0], &c, 1) == 1, "its objects");
	pause_here();
	scn_sys(write(q[1], "g", 1));
	scn_reap(pid, 6);
}

static int exchange;

/* A queue that is open where nobody could open it by its name. */
static void hands_out(void)
{
	mqd_t q;
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } c = {
		.h = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS },
	};
	struct iovec v = { "q", 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = c.room, .msg_controllen = sizeof(c.room) };

	enter(0);
	umask(0);
	q = scn_sys(mq_open("/ckpt-scn-handed", O_RDWR | O_CREAT, 0666, NULL));
	memcpy(CMSG_DATA(&c.h), &q, sizeof(int));
	scn_sys(sendmsg(exchange, &m, 0));
	scn_sys(mq_close(q));
	pause_here();
	q = scn_sys(mq_open("/ckpt-scn-handed", O_RDWR));
	scn_sys(mq_send(q, "there", 5, 2));
}

static mqd_t take(int sock)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } c;
	char byte;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = c.room, .msg_controllen = sizeof(c.room) };
	mqd_t ret;

	scn_check(recvmsg(sock, &m, 0) == 1 && c.h.cmsg_type == SCM_RIGHTS, "the queue");
	memcpy(&ret, CMSG_DATA(&c.h), sizeof(int));
	return ret;
}

static pid_t start(void (*run)(void))
{
	pid_t pid = scn_fork();
	char c;

	if (pid == 0) {
		run();
		_exit(0);
	}
	scn_check(read(ready[0], &c, 1) == 1, "ready");
	return pid;
}

int main(void)
{
	void (*const all[])(void) = { first, second, forced, without_ids, hands_out, of_others };
	size_t n = geteuid() ? ARRAY_SIZE(all) - 1 : ARRAY_SIZE(all);
	pid_t pids[ARRAY_SIZE(all)], probe = scn_fork();
	char got[8192];
	int status, pair[2];
	unsigned priority;
	mqd_t handed;

	if (probe == 0)
		_exit(unshare(CLONE_NEWUSER) < 0 || put("/proc/self/setgroups", "deny") ? 1 : 0);
	if (waitpid(probe, &status, 0) < 0 || status)
		scn_skip("user namespaces are not to be had");
	scn_sys(pipe(ready));
	scn_sys(pipe(go));
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	exchange = pair[0];
	for (size_t i = 0; i < n; i++)
		pids[i] = start(all[i]);
	handed = take(pair[1]);

	scn_checkpoint();

	scn_check(mq_open("/ckpt-scn-handed", O_RDWR) < 0 && errno == ENOENT, "it is not the job's");
	for (size_t i = 0; i < n; i++)
		scn_sys(write(go[1], "g", 1));
	for (size_t i = 0; i < n; i++)
		scn_reap(pids[i], 0);
	scn_check(mq_receive(handed, got, sizeof(got), &priority) == 5 && !memcmp(got, "there", 5) && priority == 2,
		  "what came from there");
	scn_pass();
}
