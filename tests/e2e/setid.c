/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <grp.h>
#include <sys/prctl.h>

const char *scn_doc = "set*id functions of a program with threads still reach every thread, and "
		      "ids are as they were";

#define THREADS 10
#define GROUPS 600		/* as in large directories of users */

static volatile int stop;

static void *thread(void *arg)
{
	while (!stop)
		usleep(1000);
	return arg;
}

/* All threads have the same, as the kernel says it. */
static void same_in_all_threads(const char *uids, const char *gids)
{
	char path[64], want[128];

	for (pid_t tid = getpid(); tid < getpid() + 200; tid++) {
		const char *text;

		snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
		text = scn_read_file(path);
		if (!*text)
			continue;
		snprintf(want, sizeof(want), "\nUid:\t%s\n", uids);
		scn_check(strstr(text, want), "thread %d: no%s in\n%s", tid, want, text);
		snprintf(want, sizeof(want), "\nGid:\t%s\n", gids);
		scn_check(strstr(text, want), "thread %d: no%s in\n%s", tid, want, text);
	}
}

int main(void)
{
	pthread_t t[THREADS];
	gid_t groups[GROUPS], got[GROUPS + 1];
	int before;

	if (geteuid() != 0)
		scn_skip("only root can become others");
	scn_sys(chmod(".", 0777));
	for (int i = 0; i < THREADS; i++)
		t[i] = scn_thread(thread, NULL);
	for (unsigned int i = 0; i < GROUPS; i++)
		groups[i] = 12 + 22 * i;
	scn_sys(setgroups(GROUPS, groups));
	scn_sys(setresgid(1001, 1002, 1003));
	/* What was root keeps being able to go on with others. */
	scn_sys(prctl(PR_SET_KEEPCAPS, 1));
	scn_sys(setresuid(1001, 1002, 0));
	scn_sys(prctl(PR_SET_DUMPABLE, 1));
	before = prctl(PR_GET_SECUREBITS);

	scn_checkpoint();

	same_in_all_threads("1001\t1002\t0\t1002", "1001\t1002\t1003\t1002");
	scn_check(getgroups(GROUPS + 1, got) == GROUPS && !memcmp(got, groups, sizeof(groups)), "groups");
	scn_check(prctl(PR_GET_SECUREBITS) == before && prctl(PR_GET_KEEPCAPS) == 1,
		  "securebits %x, was %x", prctl(PR_GET_SECUREBITS), before);
	scn_sys(seteuid(0));
	same_in_all_threads("1001\t0\t0\t0", "1001\t1002\t1003\t1002");
	scn_sys(setegid(1003));
	same_in_all_threads("1001\t0\t0\t0", "1001\t1003\t1003\t1003");
	scn_sys(setresuid(1005, 1005, 1005));
	same_in_all_threads("1005\t1005\t1005\t1005", "1001\t1003\t1003\t1003");
	scn_check(setuid(0) < 0 && errno == EPERM, "root again");
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	scn_pass();
}
