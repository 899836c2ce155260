/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <semaphore.h>
#include <sys/prctl.h>

const char *scn_doc =
	"locks, conditions, semaphores and barriers shared by processes, and a robust "
	"one whose owner is killed; the signal for a parent's death";

#define WORKERS 6
#define ROUNDS	200

static struct shared {
	pthread_mutex_t mutex, robust, inherit;
	pthread_cond_t cond;
	pthread_barrier_t barrier;
	pthread_rwlock_t rwlock;
	sem_t sem;
	int go, counter, inside, owner_has_it, waiting;
	int orphan_ready, parent_died;
} * s;

static void make(void)
{
	pthread_mutexattr_t ma;
	pthread_condattr_t ca;
	pthread_barrierattr_t ba;
	pthread_rwlockattr_t ra;

	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_init(&ma);
	pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&s->mutex, &ma);
	pthread_mutexattr_setprotocol(&ma, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&s->inherit, &ma);
	pthread_mutexattr_setprotocol(&ma, PTHREAD_PRIO_NONE);
	pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&s->robust, &ma);
	pthread_condattr_init(&ca);
	pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&s->cond, &ca);
	pthread_barrierattr_init(&ba);
	pthread_barrierattr_setpshared(&ba, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&s->barrier, &ba, WORKERS);
	pthread_rwlockattr_init(&ra);
	pthread_rwlockattr_setpshared(&ra, PTHREAD_PROCESS_SHARED);
	pthread_rwlock_init(&s->rwlock, &ra);
	sem_init(&s->sem, 1, 0);
}

static void worker(int i)
{
	int r;

	__atomic_add_fetch(&s->waiting, 1, __ATOMIC_SEQ_CST);
	/* A third each waits for the condition, the semaphore, the priority-inheriting lock. */
	if (i % 3 == 0) {
		pthread_mutex_lock(&s->mutex);
		while (!s->go)
			pthread_cond_wait(&s->cond, &s->mutex);
		pthread_mutex_unlock(&s->mutex);
	} else if (i % 3 == 1) {
		scn_sys(sem_wait(&s->sem));
	} else {
		scn_check(pthread_mutex_lock(&s->inherit) == 0, "inherit");
		pthread_mutex_unlock(&s->inherit);
	}
	pthread_barrier_wait(&s->barrier);
	for (int n = 0; n < ROUNDS; n++) {
		pthread_rwlock_wrlock(&s->rwlock);
		scn_check(s->inside++ == 0, "two are inside");
		s->counter++;
		s->inside--;
		pthread_rwlock_unlock(&s->rwlock);
		if (n % 50 == 0)
			pthread_barrier_wait(&s->barrier);
	}
	r = pthread_mutex_lock(&s->robust);
	scn_check(r == 0 || r == EOWNERDEAD, "the robust lock: %s", strerror(r));
	if (r == EOWNERDEAD) {
		pthread_mutex_consistent(&s->robust);
		s->owner_has_it++;
	}
	pthread_mutex_unlock(&s->robust);
	_exit(0);
}

static void on_usr1(int sig)
{
	(void)sig;
	s->parent_died = 1;
}

/* One whose parent will be killed. */
static void parent(void)
{
	if (scn_sys(fork()) == 0) {
		signal(SIGUSR1, on_usr1);
		scn_sys(prctl(PR_SET_PDEATHSIG, SIGUSR1));
		s->orphan_ready = 1;
		for (int64_t limit = scn_now() + 60000 * MS; scn_now() < limit && !s->parent_died;)
			scn_sleep_ms(5);
		_exit(0);
	}
	for (;;)
		pause();
}

int main(void)
{
	pid_t pid[WORKERS], owner, dying;

	make();
	scn_sys(prctl(PR_SET_CHILD_SUBREAPER, 1));
	pthread_mutex_lock(&s->inherit);
	owner = scn_fork();
	if (owner == 0) {
		pthread_mutex_lock(&s->robust);
		s->owner_has_it = 1;
		for (;;)
			pause();
	}
	dying = scn_fork();
	if (dying == 0)
		parent();
	for (int i = 0; i < WORKERS; i++) {
		pid[i] = scn_fork();
		if (pid[i] == 0)
			worker(i);
	}
	while (s->waiting < WORKERS || !s->owner_has_it || !s->orphan_ready)
		scn_sleep_ms(1);
	for (int i = 0; i < WORKERS; i++)
		scn_await_blocked(pid[i], pid[i]);

	scn_checkpoint();

	scn_check(pthread_mutex_trylock(&s->robust) == EBUSY, "the robust lock is free");
	scn_check(pthread_mutex_trylock(&s->inherit) == EDEADLK ||
			  pthread_mutex_trylock(&s->inherit) == EBUSY,
		  "the other lock is free");
	kill(owner, SIGKILL);
	waitpid(owner, NULL, 0);
	kill(dying, SIGKILL);
	waitpid(dying, NULL, 0);
	pthread_mutex_lock(&s->mutex);
	s->go = 1;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->mutex);
	for (int i = 0; i < WORKERS; i++)
		sem_post(&s->sem);
	pthread_mutex_unlock(&s->inherit);
	for (int i = 0; i < WORKERS; i++)
		scn_reap(pid[i], 0);
	scn_check(s->counter == WORKERS * ROUNDS, "%d of %d", s->counter, WORKERS * ROUNDS);
	scn_check(s->owner_has_it == 2, "%d times EOWNERDEAD", s->owner_has_it - 1);
	scn_check(waitpid(-1, NULL, 0) > 0 && s->parent_died, "the signal for the parent's death");
	scn_pass();
}
