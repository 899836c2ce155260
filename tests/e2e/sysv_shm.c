/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc.h"

const char *scn_doc = "System V shared memory keeps number, key, rights, bytes, and is attached "
		      "where and as it was";

#define SIZE  (300000)
#define PAGES	4096UL

static void unchanged(int id, const struct shmid_ds *was, const char *what)
{
	struct shmid_ds now;

	scn_sys(shmctl(id, IPC_STAT, &now));
	scn_check(now.shm_segsz == was->shm_segsz, "%s: size %zu", what, now.shm_segsz);
	scn_check(now.shm_perm.__key == was->shm_perm.__key, "%s: key %x", what,
		  now.shm_perm.__key);
	scn_check(now.shm_perm.mode == was->shm_perm.mode, "%s: mode %o", what, now.shm_perm.mode);
	scn_check(now.shm_perm.uid == was->shm_perm.uid && now.shm_perm.cuid == was->shm_perm.cuid,
		  "%s: owner", what);
	scn_check(now.shm_cpid == was->shm_cpid, "%s: made by %d, not %d", what, now.shm_cpid,
		  was->shm_cpid);
	scn_check(now.shm_nattch == was->shm_nattch, "%s: attached %lu times", what,
		  now.shm_nattch);
}

static int make(key_t key, size_t size, int mode)
{
	return ipc_made("shm", scn_sys(shmget(key, size, IPC_CREAT | IPC_EXCL | mode)));
}

/* Made by a process that is no more, and attached by nobody. */
static int make_left_over(void)
{
	int id;
	pid_t pid = scn_fork();

	if (pid == 0) {
		char *mem;

		id = make(ipc_key(1), SIZE, 0640);
		mem = scn_sys(shmat(id, NULL, 0));
		scn_fill(mem + 8192, 1000, 7);
		_exit(0);
	}
	scn_reap(pid, 0);
	return scn_sys(shmget(ipc_key(1), 0, 0));
}

/* A child: says that it is there, waits for a byte to change, and looks at what it has. */
static pid_t reader(int id, volatile int *shared)
{
	pid_t pid = scn_fork();

	if (pid == 0) {
		volatile int *own = scn_sys(shmat(id, NULL, SHM_RDONLY));

		shared[1] = 1;
		while (own[0] == 0)
			scn_sleep_ms(2);
		scn_check(own != shared, "attached elsewhere");
		scn_check(scn_verify((char *)own + PAGES, SIZE - PAGES, 3) < 0,
			  "content in the child");
		shared[2] = own[0];
		_exit(0);
	}
	while (!shared[1])
		scn_sleep_ms(1);
	return pid;
}

static int writable(const void *at)
{
	char want[32], line[512], perms[8] = "";
	FILE *f = fopen("/proc/self/maps", "r");

	snprintf(want, sizeof(want), "%lx-", (unsigned long)at);
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, want, strlen(want)))
			sscanf(line, "%*s %7s", perms);
	fclose(f);
	scn_check(perms[0], "not mapped at %p", at);
	return perms[1] == 'w';
}

int main(int argc, char **argv)
{
	struct shmid_ds main_ds, left_ds, gone_ds, split_ds;
	int id, left, gone, split, big;
	char *mem, *twice, *gone_mem, *split_mem, *fixed = (char *)0x3f0000000000, *left_mem;
	volatile int *shared;
	pid_t child;

	ipc_clean(argc, argv);
	id = make(ipc_key(0), SIZE, 0600);
	mem = scn_sys(shmat(id, fixed, 0));
	twice = scn_sys(shmat(id, NULL, SHM_RDONLY));
	shared = (volatile int *)mem;
	scn_fill(mem + PAGES, SIZE - PAGES, 3);
	child = reader(id, shared);

	left = make_left_over();
	gone = make(IPC_PRIVATE, 5000, 0600);
	gone_mem = scn_sys(shmat(gone, NULL, 0));
	scn_fill(gone_mem, 5000, 4);
	scn_sys(shmctl(gone, IPC_RMID, NULL));
	split = make(IPC_PRIVATE, 8 * PAGES, 0700);
	split_mem = scn_sys(shmat(split, NULL, SHM_EXEC));
	scn_fill(split_mem, 8 * PAGES, 5);
	scn_sys(mprotect(split_mem + 2 * PAGES, PAGES, PROT_READ));
	scn_sys(mprotect(split_mem + 7 * PAGES, PAGES, PROT_NONE));
	/* Mostly holes. */
	big = make(IPC_PRIVATE, 256UL << 20, 0600);
	scn_sys(shmctl(id, IPC_STAT, &main_ds));
	scn_sys(shmctl(left, IPC_STAT, &left_ds));
	scn_sys(shmctl(gone, IPC_STAT, &gone_ds));
	scn_sys(shmctl(split, IPC_STAT, &split_ds));

	scn_checkpoint();

	unchanged(id, &main_ds, "keyed");
	unchanged(left, &left_ds, "unattached");
	unchanged(gone, &gone_ds, "removed");
	unchanged(split, &split_ds, "split");
	scn_check(scn_sys(shmget(ipc_key(0), 0, 0)) == id, "found by its key");
	scn_check(scn_verify(mem + PAGES, SIZE - PAGES, 3) < 0, "content");
	scn_check(scn_verify(twice + PAGES, SIZE - PAGES, 3) < 0,
		  "content of the second attachment");
	scn_check(writable(mem) && !writable(twice), "rights");
	scn_check(scn_verify(gone_mem, 5000, 4) < 0, "content of the removed one");
	scn_check(scn_verify(split_mem, 7 * PAGES, 5) < 0, "content of the split one");
	scn_check(writable(split_mem) && !writable(split_mem + 2 * PAGES),
		  "rights of the split one");
	scn_sys(mprotect(split_mem + 7 * PAGES, PAGES, PROT_READ));
	scn_check(scn_verify(split_mem, 8 * PAGES, 5) < 0, "content that could not be read");
	left_mem = scn_sys(shmat(left, NULL, 0));
	scn_check(!left_mem[0] && scn_verify(left_mem + 8192, 1000, 7) < 0,
		  "content of the unattached one");

	shared[0] = 4711; /* the child must see it */
	scn_reap(child, 0);
	scn_check(shared[2] == 4711, "the child's answer is %d", shared[2]);
	scn_sys(shmdt(gone_mem));
	scn_check(shmctl(gone, IPC_STAT, &gone_ds) < 0,
		  "the removed one is there without anybody who has it");
	scn_sys(shmdt(mem));
	scn_sys(shmdt(twice));
	scn_sys(shmctl(id, IPC_RMID, NULL));
	scn_sys(shmctl(left, IPC_RMID, NULL));
	scn_sys(shmctl(split, IPC_RMID, NULL));
	scn_sys(shmctl(big, IPC_RMID, NULL));
	scn_pass();
}
