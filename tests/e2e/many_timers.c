/* SPDX-License-Identifier: Apache-2.0 */
/* many_timers.c - more POSIX timers than the library can tell of in one message. */
#include "scn.h"

#include <sys/resource.h>

const char *scn_doc = "thousands of POSIX timers are set to what they were set to, each under its id";

#define N	  6000
#define SECONDS	  100000

int main(void)
{
	struct sigevent none = { .sigev_notify = SIGEV_NONE };
	static timer_t timers[N];
	struct itimerspec its;
	struct rlimit l;

	scn_sys(getrlimit(RLIMIT_SIGPENDING, &l));
	l.rlim_cur = l.rlim_max;
	scn_sys(setrlimit(RLIMIT_SIGPENDING, &l));
	for (int i = 0; i < N; i++) {
		if (timer_create(CLOCK_MONOTONIC, &none, &timers[i]) < 0)
			scn_skip("only %d timers can be made (ulimit -i)", i);
		its = (struct itimerspec){ .it_value.tv_sec = SECONDS + 1000L * i };
		scn_sys(timer_settime(timers[i], 0, &its, NULL));
	}

	scn_checkpoint();

	for (int i = 0; i < N; i++) {
		scn_sys(timer_gettime(timers[i], &its));
		scn_check(its.it_value.tv_sec / 1000 == SECONDS / 1000 + i - 1, "timer %d expires in %ld s", i,
			  (long)its.it_value.tv_sec);
	}
	scn_pass();
}
