/* SPDX-License-Identifier: Apache-2.0 */
#include "in_job.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/agent.h"
#include "../common/job_env.h"
#include "../common/keeper.h"
#include "../common/proc.h"

/* Every process of a job comes from its keeper, whatever became of its parents: that is a subreaper. */
static int below_a_keeper(void)
{
	pid_t pid = getppid();
	struct proc_stat st;

	for (; pid > 0 && proc_stat(pid, 0, &st) == 0; pid = st.ppid)
		if (!strcmp(st.comm, KEEPER_COMM))
			return 1;
	return 0;
}

/* Not through libc: the library is behind that. */
static void execute_again(char **argv, const char *library)
{
	size_t n;
	char **envp = job_env_without(1, &n);

	envp[n] = job_env_preload(NULL, library);
	syscall(SYS_execve, "/proc/self/exe", argv, envp);
	free(envp[n]);
	free(envp);
}

int in_job_leave(char **argv, struct err *err)
{
	const char *job = getenv(ENV_DIR), *name = job ? strrchr(job, '/') : NULL;
	const void *api = job ? dlsym(RTLD_DEFAULT, "ckpt_api") : NULL;
	Dl_info info;

	if (!api)
		return 0;
	if (below_a_keeper())
		return err_set(err, E_EXISTS, 0, "this is run by job %s already, whose checkpoints hold all that is started "
			       "in it: start the program itself, without ckpt_launch", name ? name + 1 : job);
	if (dladdr(api, &info) && info.dli_fname)
		execute_again(argv, info.dli_fname);
	return 0;
}
