/* SPDX-License-Identifier: Apache-2.0 */
/*
 * children.h - who the children of a process are. Where the kernel says so by itself
 * (/proc/PID/task/TID/children, CONFIG_PROC_CHILDREN), it does not matter how much else runs on the
 * machine; elsewhere the parents of all processes are read, once. Context: HOST.
 */
#ifndef CKPT_CHILDREN_H
#define CKPT_CHILDREN_H

#include <sys/types.h>

struct child { pid_t pid, ppid; };

/* All processes, by parent, when that is needed. Zero-initialise; free with children_free(). */
struct children { struct child *all; size_t count; int known; };

/*
 * children_of() - children of all threads of @pid, zombies included, malloc'ed in *ret (NULL: none).
 * @threads: how many it has; 0: not known.
 *
 * This is no picture of one instant. A child that ends while the kernel writes the list may make it
 * leave out the one behind. But then it is in the list and is not in /proc any more, or not below
 * @pid: who looks at each afterwards finds out, and has to ask again.
 * Return: count; -1 when @pid or a thread of it is gone, and its children may be somebody else's.
 */
ssize_t children_of(struct children *c, pid_t pid, int threads, pid_t **ret);
void children_free(struct children *c);

#endif
