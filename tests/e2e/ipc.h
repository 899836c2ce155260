/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipc.h - for scenarios that make things which outlive them in the ipc namespace. A job that is
 * ended by its checkpoint leaves them there; run.sh calls the scenario once more, with "clean", to
 * remove them.
 */
#ifndef IPC_H
#define IPC_H

#include "scn.h"

#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

/* The list is in the working directory: NAME.kind of what was made, one to a line. */
static inline void ipc_note(const char *kind, const char *name)
{
	FILE *f = fopen(scn_file("ipc"), "a");

	scn_check(f, "list of objects");
	fprintf(f, "%s %s\n", kind, name);
	fclose(f);
}

static inline int ipc_made(const char *kind, int id)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", id);
	ipc_note(kind, name);
	return id;
}

/* ipc_clean() - first thing in main(): does not return if that is all we are wanted for. */
static inline void ipc_clean(int argc, char **argv)
{
	char kind[8], name[64];
	FILE *f;

	if (argc < 2 || strcmp(argv[1], "clean"))
		return;
	f = fopen("ipc", "r");
	while (f && fscanf(f, "%7s %63s", kind, name) == 2) {
		if (!strcmp(kind, "shm"))
			shmctl(atoi(name), IPC_RMID, NULL);
		else if (!strcmp(kind, "sem"))
			semctl(atoi(name), 0, IPC_RMID);
		else if (!strcmp(kind, "msg"))
			msgctl(atoi(name), IPC_RMID, NULL);
		else if (!strcmp(kind, "mq"))
			mq_unlink(name);
		else
			remove(name);
	}
	exit(0);
}

/* Keys that no other run has; the same in children when the first was asked for before. */
static inline key_t ipc_key(int n)
{
	static unsigned pid;

	if (!pid)
		pid = (unsigned)getpid();
	return (key_t)(0x436b0000u + (pid << 4) + (unsigned)n);
}

/* A message of a POSIX queue. */
static inline void ipc_mq_send(mqd_t q, const char *text, unsigned priority)
{
	scn_sys(mq_send(q, text, strlen(text), priority));
}

static inline void ipc_mq_receive(mqd_t q, const char *text, unsigned priority)
{
	char got[64];
	unsigned p;
	ssize_t n = scn_sys(mq_receive(q, got, sizeof(got), &p));

	scn_check((size_t)n == strlen(text) && !memcmp(got, text, (size_t)n) && p == priority,
		  "%.*s of priority %u, not %s of %u", (int)n, got, p, text, priority);
}

#endif
