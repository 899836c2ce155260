/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen.h - where a coordinator can be found: its run directory, its sockets, its status file; made
 * at the start (by hand; a launcher has made them already), taken away at the end. Context: HOST.
 */
#ifndef CKPT_LISTEN_H
#define CKPT_LISTEN_H

#include "server.h"

/*
 * listen_claim() - make the run directory of @c->name (NULL: a name is made) and its control socket.
 * Errors: E_EXISTS (a running job has the name), E_ACCESS, E_FAILED.
 */
int listen_claim(struct coordinator *c, struct err *err);
/* listen_at() - another socket, at @path; one that nobody listens on any more is replaced. */
int listen_at(struct coordinator *c, const char *path, struct err *err);
/* listen_directory() - where the job's checkpoints go, absolute, malloc'ed. @dir: of --checkpoint-dir, or NULL. */
char *listen_directory(const struct coordinator *c, const char *dir);
/* listen_status_file() - write {"name", "address", "pid"} to @path, in one step. */
int listen_status_file(const struct coordinator *c, const char *path, struct err *err);
/*
 * listen_daemon() - go on in a child in the background; the parent ends, with status 0, when the child
 * calls listen_ready(), with 1 if it ends before that. Returns what listen_ready() wants, -1 + err.
 */
int listen_daemon(struct err *err);
void listen_ready(int fd);
/* listen_remember() - note which directory @c->run_dir is now, so that listen_end() removes no other. */
void listen_remember(struct coordinator *c);
/*
 * listen_end() - take away run directory and sockets. The directory vanishes under its name in one step,
 * while we still listen: who claims the name next never meets half of it. Called again it does nothing:
 * the next job's directory may have got the very inode number that was noted.
 */
void listen_end(struct coordinator *c);

#endif
