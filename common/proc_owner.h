/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc_owner.h - look into processes of other users without CAP_SYS_PTRACE. Root in a container of
 * the stock kind lacks it, and a service there that became an ordinary user (nginx's workers, what
 * gosu starts) shows its memory map to that user alone. For the time of a look we are him, as
 * far as files are concerned: CAP_SETUID and CAP_SETGID suffice, which such containers leave. Context: HOST.
 */
#ifndef CKPT_PROC_OWNER_H
#define CKPT_PROC_OWNER_H

/*
 * proc_owner_enter() - after a look at @path (/proc/PID/...) failed with errno.
 * Return: 1 we are its owner now: try again, then proc_owner_leave(); 0 it would be of no use, errno
 * is as it was.
 */
int proc_owner_enter(const char *path);
/* proc_owner_leave() - errno is kept. */
void proc_owner_leave(void);

#endif
