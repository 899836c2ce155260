/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diag.h - where sock_diag(7) is asked: it tells of one network namespace only, which the job's is
 * not the same as ours after a restart that gave it one. Context: HOST.
 */
#ifndef CKPT_DIAG_H
#define CKPT_DIAG_H

/*
 * diag_open() - a sock_diag socket for the network namespace of the socket @fd; -1: for our own.
 * Its answers do not let one wait for ever. -1 + errno.
 */
int diag_open(int fd);
/* diag_netlink() - the same for another netlink @protocol. */
int diag_netlink(int fd, int protocol);

#endif
