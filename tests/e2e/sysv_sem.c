/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc.h"

#include <sys/socket.h>

const char *scn_doc =
	"System V semaphores keep values, waiters, rights, and what is undone when a process ends";

enum { COUNT = 60, LOCK = 0, WAITED = 1, UP = 2, DOWN = 3, BOTH = 4, HIGH = 5, LIMITED = 6 };

static int set;

static int op(int num, int by, int flags)
{
	struct sembuf b = { (unsigned short)num, (short)by, (short)flags };

	return semop(set, &b, 1);
}

static int value(int num)
{
	return scn_sys(semctl(set, num, GETVAL));
}

/*
 * Holds a lock, waits for another with a limit of a second, and ends without giving anything back.
 */
static pid_t holder(int pipe_fd, int not_mine)
{
	pid_t pid = scn_fork();

	if (pid == 0) {
		char byte;

		close(not_mine);
		scn_sys(op(LOCK, -1, SEM_UNDO));
		scn_sys(op(UP, 5, SEM_UNDO));
		scn_sys(op(DOWN, -7, SEM_UNDO));
		scn_sys(op(DOWN, 2, SEM_UNDO));
		scn_sys(op(HIGH, -32767, SEM_UNDO));
		scn_check(write(pipe_fd, "", 1) == 1, "write");
		scn_sys(op(WAITED, -3, SEM_UNDO));
		scn_check(write(pipe_fd, "", 1) == 1, "write");
		(void)!read(pipe_fd, &byte, 1);
		_exit(0);
	}
	return pid;
}

static void *limited(void *arg)
{
	struct sembuf b = { LIMITED, -1, 0 };
	struct timespec limit = { 1, 500000000 };
	int64_t *took = arg, before = scn_now();

	scn_check(semtimedop(set, &b, 1, &limit) < 0 && errno == EAGAIN, "semtimedop: %s",
		  strerror(errno));
	*took = scn_now() - before;
	return NULL;
}

static void await(int num, int ncount)
{
	while (semctl(set, num, GETNCNT) < ncount)
		scn_sleep_ms(2);
}

int main(int argc, char **argv)
{
	struct semid_ds was, now;
	int fds[2], fresh, pid_of_lock;
	int64_t took = 0;
	pthread_t t;
	pid_t child;
	char byte;

	ipc_clean(argc, argv);
	set = ipc_made("sem", scn_sys(semget(ipc_key(0), COUNT, IPC_CREAT | IPC_EXCL | 0600)));
	fresh = ipc_made("sem", scn_sys(semget(IPC_PRIVATE, 1, IPC_CREAT | 0640)));
	for (int i = 0; i < COUNT; i++)
		scn_sys(semctl(set, i, SETVAL, i * 3));
	scn_sys(semctl(set, LOCK, SETVAL, 1));
	scn_sys(semctl(set, WAITED, SETVAL, 0));
	scn_sys(semctl(set, HIGH, SETVAL, 32767));
	scn_sys(semctl(set, LIMITED, SETVAL, 0));
	scn_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	child = holder(fds[1], fds[0]);
	close(fds[1]);
	scn_check(read(fds[0], &byte, 1) == 1, "the child");
	await(WAITED, 1);
	/* Our own share: cancelled again in one, kept in the other. */
	scn_sys(op(BOTH, -2, SEM_UNDO));
	scn_sys(op(BOTH, 2, SEM_UNDO));
	t = scn_thread(limited, &took);
	await(LIMITED, 1);
	pid_of_lock = scn_sys(semctl(set, LOCK, GETPID));
	scn_sys(semctl(set, 0, IPC_STAT, &was));

	scn_checkpoint();

	scn_sys(semctl(set, 0, IPC_STAT, &now));
	scn_check(now.sem_perm.__key == was.sem_perm.__key &&
			  now.sem_perm.mode == was.sem_perm.mode &&
			  now.sem_perm.uid == was.sem_perm.uid &&
			  now.sem_perm.cuid == was.sem_perm.cuid && now.sem_nsems == COUNT &&
			  now.sem_otime,
		  "the set");
	scn_check(scn_sys(semget(ipc_key(0), 0, 0)) == set, "found by its key");
	scn_check(scn_sys(semctl(set, LOCK, GETPID)) == pid_of_lock && pid_of_lock == child,
		  "who had it last");
	scn_sys(semctl(fresh, 0, IPC_STAT, &now));
	scn_check(!now.sem_otime && (now.sem_perm.mode & 0777) == 0640 && !semctl(fresh, 0, GETPID),
		  "an unused set");
	for (int i = LIMITED + 1; i < COUNT; i++)
		scn_check(value(i) == i * 3, "value %d is %d", i, value(i));
	scn_check(value(LOCK) == 0 && value(UP) == 2 * 3 + 5 && value(DOWN) == 3 * 3 - 5 &&
			  value(HIGH) == 0 && value(BOTH) == 4 * 3,
		  "values %d %d %d %d %d", value(LOCK), value(UP), value(DOWN), value(HIGH),
		  value(BOTH));
	await(WAITED, 1);
	scn_check(op(LOCK, -1, IPC_NOWAIT) < 0 && errno == EAGAIN, "the lock is held");
	pthread_join(t, NULL);
	scn_check(took >= 1480 * MS, "the limit of 1.5 s was over after %lld ms",
		  (long long)(took / MS));

	scn_sys(op(WAITED, 4, 0));
	scn_check(read(fds[0], &byte, 1) == 1, "the child goes on");
	scn_check(value(WAITED) == 1, "the child has taken three");
	close(fds[0]);
	scn_reap(child, 0);
	scn_check(value(LOCK) == 1, "the lock comes back when its holder ends: %d", value(LOCK));
	scn_check(value(UP) == 2 * 3, "what was given is taken back: %d", value(UP));
	scn_check(value(DOWN) == 3 * 3, "what was taken is given back: %d", value(DOWN));
	scn_check(value(HIGH) == 32767, "as much as there can be: %d", value(HIGH));
	scn_check(value(WAITED) == 4, "what was taken afterwards, too: %d", value(WAITED));
	scn_check(value(BOTH) == 4 * 3, "what was cancelled: %d", value(BOTH));
	scn_sys(semctl(fresh, 0, IPC_STAT, &now));
	scn_check(!now.sem_otime, "the child's end counts as a use of a set that it never used");
	scn_sys(semctl(set, 0, IPC_RMID));
	scn_sys(semctl(fresh, 0, IPC_RMID));
	scn_pass();
}
