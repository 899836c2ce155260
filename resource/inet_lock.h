/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_lock.h - what arrives for a TCP connection that is kept (--tcp=keep) is thrown away, by rules
 * of nf_tables, while nobody holds it: the kernel would answer it with a reset. The other end sends
 * it again later. So is what the kernel sends of it: the other end shall not have more than what was
 * saved says. While a checkpoint is made, the rules go with the process that makes it, whatever
 * becomes of that; those of an ended job stay until a restart has its connections. Context: HOST.
 */
#ifndef CKPT_INET_LOCK_H
#define CKPT_INET_LOCK_H

#include "inet.h"

/* inet_lock_name() - that of a table which stays; @number: by chance. */
void inet_lock_name(char ret[INET_LOCK_NAME], uint64_t number);
/*
 * inet_lock_open() - a table @name without rules, in the network namespace of the socket @fd.
 * @mortal: it ends with the descriptor that is returned; else that need not stay open. -1 + errno.
 */
int inet_lock_open(int fd, const char *name, int mortal);
/* inet_lock_add() - throw away what is sent between @local and @remote. 0, or -1 + errno. */
int inet_lock_add(int nl, const char *name, const struct inet_addr *local, const struct inet_addr *remote);
/* inet_lock_remove() - in our own network namespace. One that is not there, or has no such name, is no error. */
void inet_lock_remove(const char *name);

#endif
