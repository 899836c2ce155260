/* SPDX-License-Identifier: Apache-2.0 */
/*
 * namespaces.h - what makes namespaces a container, for ckpt_launch --container and ckpt_restart alike: done by a
 * process for the namespaces that it is in; and how others are entered. Context: HOST.
 */
#ifndef CKPT_NAMESPACES_H
#define CKPT_NAMESPACES_H

#include <sched.h>
#include <sys/types.h>
#include "err.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME		0x00000080
#endif

/*
 * ns_map_ids() - in a user namespace just made: one user and one group exist, @uid and @gid, which are
 * @outer_uid and @outer_gid outside. Nobody but root may map any others.
 */
int ns_map_ids(uint32_t uid, uid_t outer_uid, uint32_t gid, gid_t outer_gid, struct err *err);

/* ns_loopback() - @up 1: in a new network namespace, where it is down; 0: it is taken down. */
void ns_loopback(int up);

/* ns_own_proc() - a /proc that shows the new pid namespace. 0, or -1 + errno: many containers deny it. */
int ns_own_proc(void);

/* ns_own_mqueue() - the queues of the new ipc namespace, where the system has mounted those of the old one. */
void ns_own_mqueue(void);

/* ns_open() - /proc/PID/ns/KIND. -1 + errno. */
int ns_open(pid_t pid, const char *kind);
/* ns_owner() - the user namespace that @ns belongs to, of a user namespace the parent. -1: it is none that we may know. */
int ns_owner(int ns);
/*
 * ns_enter() - into @ns, of the kind @flag (CLONE_NEW*), and into its owner before, for the right to do so: for
 * children, as there may be no way back. 0, or -1 + errno.
 */
int ns_enter(int ns, int flag);
/* ns_made() - the descriptor that @make returns in a child of ours, wherever that goes before. -1 + errno, the child's. */
int ns_made(int (*make)(void *arg), void *arg);

/*
 * What is added to the machine's clocks: CLOCK_MONOTONIC, CLOCK_BOOTTIME, in ns.
 * ns_clocks() - in the time namespace that children of @pid (0: ours) are born in, which is the one that it is in unless it has made
 * another. 0, or -1: there are none, and all are 0. ns_set_clocks() - of one that we have just made. 0, or -1 + errno.
 */
enum { NS_MONOTONIC, NS_BOOTTIME, NS_CLOCKS };
int ns_clocks(pid_t pid, int64_t ret[NS_CLOCKS]);
int ns_set_clocks(const int64_t clocks[NS_CLOCKS]);
/* ns_clocks_text() - what is written for that into /proc/PID/timens_offsets, all at once. */
#define NS_CLOCKS_TEXT	128
void ns_clocks_text(const int64_t clocks[NS_CLOCKS], char ret[NS_CLOCKS_TEXT]);

/*
 * ns_socket() - socket(2) in the network namespace that @netns is a descriptor of, by a child that enters it: we stay
 * where we are. Return: the socket, or -1 + errno.
 */
int ns_socket(int netns, int domain, int type, int protocol);

#endif
