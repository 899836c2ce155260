/* SPDX-License-Identifier: Apache-2.0 */
/* stop_race.c - a process that another one stops and lets continue all the time, as cpulimit does. */
#include <sched.h>
#include "scn.h"

const char *scn_doc = "SIGSTOP that is on its way when everything stops holds up no checkpoint, and both go on";

struct counts { volatile long worked, stopped; };

static void advance(const volatile long *count, const char *what)
{
	int64_t end = scn_now() + 20000 * MS;
	long was = *count;

	while (*count == was) {
		scn_check(scn_now() < end, "%s at %ld", what, was);
		scn_sleep_ms(1);
	}
}

int main(void)
{
	struct counts *c = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t worker, stopper;

	scn_check(c != MAP_FAILED, "mmap");
	worker = scn_fork();
	while (worker == 0)
		c->worked++;
	stopper = scn_fork();
	while (stopper == 0) {
		kill(worker, SIGSTOP);
		sched_yield();
		kill(worker, SIGCONT);
		sched_yield();
		c->stopped++;
	}
	advance(&c->stopped, "the one that stops the other stands still");

	scn_checkpoint();

	advance(&c->stopped, "the one that stops the other stands still");
	advance(&c->worked, "the one that is stopped stands still");
	kill(stopper, SIGKILL);
	waitpid(stopper, NULL, 0);
	kill(worker, SIGKILL);
	waitpid(worker, NULL, 0);
	scn_pass();
}
