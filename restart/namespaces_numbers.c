/* SPDX-License-Identifier: Apache-2.0 */
/*
 * namespaces_numbers.c - threads of processes in a user namespace of their own.
 *
 * Only who has rights over the pid namespace may choose a thread's id, and whoever is in a user namespace below has
 * none. So the stub asks for the number before, and takes the next; meanwhile nobody else is made.
 */
#include "restart.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "sync.h"

int namespaces_has_threads(const struct image *img)
{
	const struct rec_thread *t;
	size_t pos = 0, n = 0;

	while ((t = rec_next_thread(&img->recs, &pos)))
		n++;
	return n > 1;
}

int namespaces_numbers(const struct restart *r, int *ret_fd, struct err *err)
{
	*ret_fd = -1;
	for (size_t i = 0; i < r->ntasks && *ret_fd < 0; i++) {
		if (r->images[i].fd < 0 || namespaces_user(r, &r->images[i]) < 0 || !namespaces_has_threads(&r->images[i]))
			continue;
		*ret_fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
		if (*ret_fd < 0)
			return err_set(err, E_KERNEL_FEATURE, errno, "process %u (%s) has threads in a user namespace of its "
				       "own, for whose ids /proc/sys/kernel/ns_last_pid is needed", r->tasks[i].pid,
				       r->tasks[i].comm);
	}
	return 0;
}

/* Of thread @tid in the pid namespaces that the program had made: before that in the container's, which all of it takes from. */
static int count_within(const struct restart *r, uint32_t tid)
{
	const struct rec_thread *t;

	for (size_t i = 0; i < r->ntasks; i++) {
		const uint32_t *space = r->tasks[i].spaces.data, *number;
		size_t pos = 0;

		while (r->tasks[i].spaces.len && r->images[i].fd >= 0 && (t = rec_next_thread(&r->images[i].recs, &pos))) {
			number = t->pids.data;
			for (size_t k = 0; t->tid == tid && k < t->pids.len / sizeof(*number); k++)
				if (pid_spaces_count(r, space[k], number[k] - 1))
					return -1;
		}
	}
	return 0;
}

int namespaces_give_number(const struct restart *r, int fd, struct err *err)
{
	uint32_t tid = sync_number_wanted(r->sync);
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", tid - 1);

	if (!tid)
		return 0;
	if (count_within(r, tid) || pwrite(fd, text, (size_t)n, 0) != n)
		return err_set(err, E_KERNEL_FEATURE, errno, "choosing thread id %u for a process in a user namespace of its "
			       "own (/proc/sys/kernel/ns_last_pid)", tid);
	sync_number_given(r->sync);
	return 0;
}
