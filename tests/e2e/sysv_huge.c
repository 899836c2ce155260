/* SPDX-License-Identifier: Apache-2.0 */
/* sysv_huge.c - System V memory of explicit huge pages, as MPI libraries and databases take it where there is some. */
#include "ipc.h"

const char *scn_doc = "a segment of huge pages, not a whole number of them, keeps its bytes and its pages";

#define HUGE (2UL << 20)
#define SIZE (HUGE + 300000)

/* Half of a huge page cannot be given other rights. */
static void verify(char *mem)
{
	ssize_t at = scn_verify(mem, 200000, 1);

	scn_check(at < 0, "byte %zd differs", at);
	at = scn_verify(mem + HUGE, 300000, 2);
	scn_check(at < 0, "byte %zd of the second page differs", at);
	scn_check(mprotect(mem + 4096, 4096, PROT_READ) < 0 && errno == EINVAL, "its pages are not huge any more");
}

int main(int argc, char **argv)
{
	int id, to[2];
	char *mem, c;
	pid_t pid;

	ipc_clean(argc, argv);
	id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | SHM_HUGETLB | 0600);
	if (id < 0 && (errno == ENOMEM || errno == EPERM))
		scn_skip("no huge pages (/proc/sys/vm/nr_hugepages), or not for this user");
	scn_check(id >= 0, "shmget: %s", strerror(errno));
	ipc_made("shm", id);
	mem = shmat(id, NULL, 0);
	scn_check(mem != (void *)-1, "shmat: %s", strerror(errno));
	scn_fill(mem, 200000, 1);
	scn_fill(mem + HUGE, 300000, 2);
	scn_sys(pipe(to));
	pid = scn_fork();
	if (pid == 0) {
		scn_sys(read(to[0], &c, 1));
		verify(mem);
		mem[HUGE - 1] = 'x';
		_exit(0);
	}

	scn_checkpoint();

	verify(mem);
	scn_sys(write(to[1], "x", 1));
	scn_reap(pid, 0);
	scn_check(mem[HUGE - 1] == 'x', "not shared any more");
	scn_sys(shmctl(id, IPC_RMID, NULL));
	scn_pass();
}
