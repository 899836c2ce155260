/* SPDX-License-Identifier: Apache-2.0 */
#include "orphans.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "ready.h"

static int is_in_tree(const struct round *r, pid_t pid)
{
	return round_is_ours(r, pid) || pid == 1;
}

/* The job's directory in its environment; after a restart that is not to be found, but the library is there. */
static int is_ours(const struct round *r, pid_t pid)
{
	static const char name[] = ENV_DIR "=";
	size_t len = 0;
	cleanup_free char *env = proc_read(pid, "environ", &len);
	struct proc_status st;

	for (size_t at = 0; env && at < len; at += strlen(env + at) + 1)
		if (!strncmp(env + at, name, sizeof(name) - 1))
			return !strcmp(env + at + sizeof(name) - 1, r->p->run_dir);
	return proc_status(pid, 0, &st) == 0 && ready_now(pid, &st);
}

int orphans_check(const struct round *r, struct err *err)
{
	cleanup_free pid_t *pids = NULL;
	ssize_t n = kernel_has_subreapers() ? 0 : proc_list(0, "", &pids);

	for (ssize_t i = 0; i < n; i++) {
		struct proc_stat st;

		if (is_in_tree(r, pids[i]) || proc_stat(pids[i], 0, &st) || st.ppid != 1 || st.state == 'Z' ||
		    !is_ours(r, pids[i]))
			continue;
		return err_set(err, E_UNSUPPORTED_PROCESS, 0,
			       "process %d (%s) has lost its parent and is a child of process 1 now, as this kernel knows "
			       "no subreapers (PR_SET_CHILD_SUBREAPER); end it first", (int)pids[i], st.comm);
	}
	return 0;
}
