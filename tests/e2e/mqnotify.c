/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc.h"

#include <limits.h>
#include <semaphore.h>

const char *scn_doc = "who waits to be notified of messages (mq_notify) is notified, once, with what was asked for";

#define STACK (192 << 10)

enum { PLAIN, REALTIME, FULL, NOBODY, THREAD, AGAIN, CHILD, CLOSED, PENDING, OTHER_FD, QUEUES };

static char names[QUEUES][64];
static mqd_t q[QUEUES];

/* ---- signals: handlers note them ---- */

static volatile sig_atomic_t caught[65], code[65];
static union sigval value[65];

static void handler(int sig, siginfo_t *info, void *uc)
{
	(void)uc;
	code[sig] = info->si_code;
	value[sig] = info->si_value;
	caught[sig]++;
}

static void catch(int sig)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART };

	scn_sys(sigaction(sig, &sa, NULL));
}

static void ask_for(mqd_t queue, int sig, void *ptr)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig, .sigev_value.sival_ptr = ptr };

	scn_sys(mq_notify(queue, &ev));
}

static void expect(int sig, int times, void *ptr)
{
	scn_check(caught[sig] == times, "signal %d came %d times", sig, (int)caught[sig]);
	scn_check(!times || (code[sig] == SI_MESGQ && value[sig].sival_ptr == ptr), "code %d, value %p",
		  (int)code[sig], value[sig].sival_ptr);
}

/* ---- threads ---- */

static sem_t told;
static void *told_value;
static size_t told_stack;
static pid_t told_by;

static void thread(union sigval v)
{
	pthread_attr_t attr;

	told_value = v.sival_ptr;
	scn_check(pthread_getattr_np(pthread_self(), &attr) == 0, "attributes");
	pthread_attr_getstacksize(&attr, &told_stack);
	pthread_attr_destroy(&attr);
	told_by = (pid_t)syscall(SYS_gettid);
	sem_post(&told);
}

static void ask_for_thread(mqd_t queue, void *ptr, size_t stack)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = thread,
			       .sigev_value.sival_ptr = ptr };
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, stack ? stack : PTHREAD_STACK_MIN);
	ev.sigev_notify_attributes = stack ? &attr : NULL;
	scn_sys(mq_notify(queue, &ev));
	pthread_attr_destroy(&attr);
}

static void expect_thread(mqd_t queue, void *ptr)
{
	ipc_mq_send(queue, "thread", 0);
	while (sem_wait(&told))
		scn_check(errno == EINTR, "sem_wait");
	scn_check(told_value == ptr, "value %p", told_value);
	/* It blocks no signals, so none that is to stay pending may come while it is there. */
	while (!syscall(SYS_tgkill, getpid(), told_by, 0))
		scn_sleep_ms(1);
	ipc_mq_receive(queue, "thread", 0);
}

/* Threads that were told are on their way out for a moment; libc's helper stays. */
static void await_end_of_threads(void)
{
	for (int n = 0; n != 2; scn_sleep_ms(1)) {
		const char *at = strstr(scn_read_file("/proc/self/status"), "Threads:");

		n = at ? atoi(at + strlen("Threads:")) : 0;
	}
}

/* ---- a child, with a descriptor that it got from its parent ---- */

static pid_t child(int ready, int go)
{
	pid_t pid = scn_fork();
	char c = 0;

	if (pid)
		return pid;
	catch(SIGUSR2);
	ask_for(q[CHILD], SIGUSR2, &q[CHILD]);
	scn_check(write(ready, &c, 1) == 1, "write");
	scn_check(read(go, &c, 1) == 1, "read");
	expect(SIGUSR2, 1, &q[CHILD]);
	_exit(0);
}

static int busy(mqd_t queue)
{
	struct sigevent none = { .sigev_notify = SIGEV_NONE };

	return mq_notify(queue, &none) < 0 && errno == EBUSY;
}

int main(int argc, char **argv)
{
	struct mq_attr attr = { .mq_maxmsg = 5, .mq_msgsize = 64 };
	int rt = SIGRTMIN + 3, ready[2], go[2];
	siginfo_t info;
	sigset_t set;
	mqd_t twin;
	pid_t pid;
	char c = 0;

	ipc_clean(argc, argv);
	for (int i = 0; i < QUEUES; i++) {
		snprintf(names[i], sizeof(names[i]), "/ckpt-scn-%d-%d", (int)getpid(), i);
		ipc_note("mq", names[i]);
		q[i] = scn_sys(mq_open(names[i], O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr));
	}
	sem_init(&told, 0, 0);
	catch(SIGUSR1);
	catch(rt);
	catch(SIGWINCH);
	scn_sys(pipe(ready));
	scn_sys(pipe(go));

	ask_for(q[PLAIN], SIGUSR1, (void *)12345);
	ask_for(q[REALTIME], rt, &q[REALTIME]);
	/* Not of these messages, but of the next in an empty queue. */
	ipc_mq_send(q[FULL], "first", 7);
	ipc_mq_send(q[FULL], "second", 7);
	ipc_mq_send(q[FULL], "third", 3);
	ipc_mq_send(q[FULL], "", 3);
	ask_for(q[FULL], SIGWINCH, &q[FULL]);
	scn_check(!busy(q[NOBODY]) && busy(q[NOBODY]), "SIGEV_NONE");
	ask_for_thread(q[THREAD], &q[THREAD], STACK);
	ask_for_thread(q[AGAIN], NULL, STACK);
	expect_thread(q[AGAIN], NULL);
	ask_for_thread(q[AGAIN], &q[AGAIN], 0);
	pid = child(ready[1], go[0]);
	scn_check(read(ready[0], &c, 1) == 1, "read");
	/* Undone by a descriptor that is closed, whichever. */
	twin = scn_sys(mq_open(names[CLOSED], O_RDWR));
	ask_for(q[CLOSED], SIGUSR1, NULL);
	scn_sys(mq_close(twin));
	/* Before there is another thread, and until none is left: libc's block nothing. */
	await_end_of_threads();
	sigemptyset(&set);
	sigaddset(&set, rt + 1);
	scn_sys(sigprocmask(SIG_BLOCK, &set, NULL));
	ask_for(q[PENDING], rt + 1, (void *)99);
	ipc_mq_send(q[PENDING], "pending", 0);
	/* By one descriptor, which had its turn, then by another. */
	catch(rt + 2);
	ask_for(q[OTHER_FD], rt + 2, (void *)1);
	ipc_mq_send(q[OTHER_FD], "turn", 0);
	ipc_mq_receive(q[OTHER_FD], "turn", 0);
	expect(rt + 2, 1, (void *)1);
	twin = scn_sys(mq_open(names[OTHER_FD], O_WRONLY));
	ask_for(twin, rt + 2, (void *)2);

	for (int round = 0; round < 2; round++) {
		void *want = round ? (void *)54321 : (void *)12345;

		scn_checkpoint();

		expect(SIGUSR1, round, (void *)12345);
		scn_check(busy(q[PLAIN]) && busy(q[REALTIME]) && busy(q[THREAD]) && busy(q[AGAIN]) &&
				  busy(q[FULL]) && busy(q[OTHER_FD]),
			  "registrations");
		ipc_mq_send(q[PLAIN], "plain", 0);
		expect(SIGUSR1, round + 1, want);
		ipc_mq_send(q[PLAIN], "once", 0);
		expect(SIGUSR1, round + 1, want);
		ipc_mq_receive(q[PLAIN], "plain", 0);
		ipc_mq_receive(q[PLAIN], "once", 0);
		ask_for(q[PLAIN], SIGUSR1, (void *)54321);
		if (round)
			break;
		scn_check(scn_sys(sigwaitinfo(&set, &info)) == rt + 1 && info.si_code == SI_MESGQ &&
				  info.si_value.sival_ptr == (void *)99,
			  "what was pending");
		expect_thread(q[AGAIN], &q[AGAIN]);
		ask_for_thread(q[AGAIN], &q[AGAIN], STACK);
	}

	scn_check(caught[rt] == 0 && caught[SIGWINCH] == 0, "too early");
	ipc_mq_send(q[REALTIME], "realtime", 0);
	expect(rt, 1, &q[REALTIME]);
	ipc_mq_receive(q[FULL], "first", 7);
	ipc_mq_receive(q[FULL], "second", 7);
	ipc_mq_receive(q[FULL], "third", 3);
	ipc_mq_receive(q[FULL], "", 3);
	expect(SIGWINCH, 0, NULL);
	ipc_mq_send(q[FULL], "next", 0);
	expect(SIGWINCH, 1, &q[FULL]);
	scn_check(busy(q[NOBODY]), "SIGEV_NONE");
	ipc_mq_send(q[NOBODY], "nobody", 0);
	scn_check(!busy(q[NOBODY]), "SIGEV_NONE, once");
	expect_thread(q[THREAD], &q[THREAD]);
	scn_check(told_stack >= STACK && told_stack < 2 * STACK, "stack of %zu bytes", told_stack);
	expect_thread(q[AGAIN], &q[AGAIN]);
	ask_for_thread(q[THREAD], NULL, STACK);
	scn_sys(mq_notify(q[THREAD], NULL));
	scn_check(!busy(q[CLOSED]), "one that was undone");
	ipc_mq_send(q[CHILD], "child", 0);
	scn_check(write(go[1], &c, 1) == 1, "write");
	scn_reap(pid, 0);
	ipc_mq_send(q[OTHER_FD], "other", 0);
	expect(rt + 2, 2, (void *)2);
	for (int i = 0; i < QUEUES; i++)
		scn_sys(mq_unlink(names[i]));
	scn_pass();
}
