/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_landlock.c - Landlock rules (landlock(7)) cannot be read, so a restored program would be free that had locked
 * itself in. Processes tell how many layers there are (preload/landlock.c); those that we have, too, were
 * there before the job.
 */
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"
#include "round_internal.h"

/* 0 as well if it cannot be found out: then nobody's are taken for ours. */
static uint32_t count_ours(void)
{
	const uint64_t handled = LANDLOCK_HANDLED;
	uint32_t room = 0;
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		int rules = (int)syscall(LANDLOCK_CREATE_RULESET, &handled, sizeof(handled), 0);

		if (rules < 0)
			_exit(0);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		while (room < LANDLOCK_LAYERS && syscall(LANDLOCK_RESTRICT_SELF, rules, 0) == 0)
			room++;
		_exit((int)(LANDLOCK_LAYERS - room));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 0;
	return (uint32_t)WEXITSTATUS(status);
}

/* The same for every process that has some, and while it is asked for all of them wait. */
static uint32_t our_layers(void)
{
	static int known = -1;

	if (known < 0)
		known = (int)count_ours();
	return (uint32_t)known;
}

int round_landlock(const struct rproc *p, struct err *err)
{
	if (!p->process || !p->process->landlock || p->process->landlock <= our_layers())
		return 0;
	return err_set(err, E_UNSUPPORTED_PROCESS, 0,
		       "%s has locked itself in with Landlock rules, which cannot be read back", round_who(p));
}
