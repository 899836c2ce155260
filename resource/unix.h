/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix.h - between the files that deal with AF_UNIX sockets: unix.c (checked and saved), unix_diag.c
 * and unix_notes.c (who is connected to whom), unix_queue.c (what is in their queues), unix_name.c (where their names are
 * now), unix_peer.c (who the other end is), unix_restore.c (made again), unix_fill.c (queues filled, when all are there). Context: HOST.
 */
#ifndef CKPT_UNIX_H
#define CKPT_UNIX_H

#include <sys/socket.h>
#include <sys/un.h>
#include "resource.h"

/* What the kernel tells about a socket, by its inode number (of which it knows 32 bits). */
struct unix_info {
	uint32_t ino;
	uint32_t peer;			/* 0: none, closed, or not yet accepted */
	uint32_t vfs_ino, vfs_dev;	/* of the bound file, as the kernel packs it; 0 none */
	uint32_t backlog;
	uint32_t first, pending;	/* clients in its queue: pending numbers from clients[first] on */
	uint8_t state, shutdown;
};
struct unix_table {
	size_t n;
	const uint32_t *clients;
	struct unix_info socks[];	/* by inode number; clients[] behind */
};

/* unix_diag() - of the network namespace of the socket @fd, in one malloc'ed block. NULL + errno. */
struct unix_table *unix_diag(int fd);
/* unix_diag_join() - both in one; each may be NULL, and is freed. */
struct unix_table *unix_diag_join(struct unix_table *a, struct unix_table *b);
const struct unix_info *unix_diag_find(const struct unix_table *t, uint64_t ino);

/*
 * unix_queue_scan() - res_ops.scan: what is in the receive queue, as encoded socket_data records in
 * d->priv (struct unix_queue). Descriptors in flight become descriptions without a holder.
 */
struct unix_queue { size_t len; unsigned char recs[]; };
int unix_queue_scan(struct res_set *set, struct desc *d, struct err *err);

/* unix_notes() - the same by the notes of the job's processes, where the kernel does not tell. malloc'ed. */
struct unix_table *unix_notes(const struct res_set *set);

/* ---- restart ---- */

/* rdesc.priv of a socket. */
struct unix_made {
	const struct rec_socket *rec;
	int path;			/* O_PATH descriptor of the file it is bound to, which may have no name; -1 */
	int partner;			/* other end of a pair whose peer is gone: closed when all is filled; -1 */
};
/* rset.kind: of all sockets. */
struct unix_named { const struct rec_socket *rec; struct rdesc *desc; };
struct unix_restart {
	int filled;			/* their queues are, or will be when there are processes */
	size_t n;			/* of those that others reach by their name: listeners, and for datagrams */
	struct unix_named named[];
};
struct unix_restart *unix_restart(struct rset *set);

int unix_open(struct rset *set, struct rdesc *d, struct err *err);
int unix_verify(struct rset *set, const struct rdesc *d, struct err *err);
int unix_finish(struct rset *set, struct rdesc *d, struct err *err);

/*
 * unix_peer.c: who a socket says that its peer is.
 * unix_peer_save() - into @r; r->peer_groups is malloc'ed.
 * unix_peer_of() - as saved. unix_peer_client() - likely, of one that waits to be accepted: as a process that has it.
 * unix_peer_listen(), unix_peer_connect(), unix_peer_pair() - these calls, as if @peer made them. 0, or -1 + errno.
 */
struct unix_peer { uint32_t pid, uid, gid; struct bytes groups; };
void unix_peer_save(const struct res_set *set, const struct desc *d, struct rec_socket *r);
struct unix_peer unix_peer_of(const struct rec_socket *r);
struct unix_peer unix_peer_client(struct rset *set, const struct rec_socket *r);
int unix_peer_listen(struct rset *set, struct unix_peer peer, int fd, uint32_t backlog);
int unix_peer_connect(struct rset *set, struct unix_peer peer, int fd, const struct sockaddr_un *to, socklen_t len);
int unix_peer_pair(struct rset *set, struct unix_peer peer, uint32_t type, int ret[2]);

const struct rec_socket *unix_rec(const struct rset *set, const struct rdesc *d, struct err *err);
/* unix_by_ino() - the restored socket that had inode @ino, NULL. */
struct rdesc *unix_by_ino(struct rset *set, uint64_t ino);
/* unix_by_name() - the socket of the job bound to @local, a listening one of that type, or else one for datagrams. NULL. */
struct rdesc *unix_by_name(struct rset *set, struct bytes local, uint32_t type, int listening);
/* unix_find_mounts() - d->mounts, at a checkpoint. 0; -1 it cannot be bound there again. */
int unix_find_mounts(const struct res_set *set, struct desc *d, const struct unix_info *info, struct err *err);
/* unix_find_file() - of a name that is a path: r->bound_file, mode and owner; what a relative one is relative to. */
void unix_find_file(struct res_set *set, const struct desc *d, const struct unix_info *info, const char *path,
		    struct rec_socket *r, char **ret_dir, char **ret_file);
/* unix_address() - what getsockname() or getpeername() says, in *@un. */
struct bytes unix_address(int fd, int (*get)(int, struct sockaddr *, socklen_t *), struct sockaddr_un *un);
/* unix_bind(), unix_connect() - by the saved address @a of @r (relative names: in r->dir). 0, or -1 + errno. */
int unix_bind(struct rset *set, int fd, const struct rec_socket *r, struct bytes a);
int unix_connect(struct rset *set, int fd, const struct rec_socket *r, struct bytes a);
/* unix_in_use() - does somebody answer under the name of @r? */
int unix_in_use(struct rset *set, const struct rec_socket *r);
/* unix_check_name() - can @r be bound to its name here? What stands there is not touched. */
int unix_check_name(struct rset *set, const struct rec_socket *r, struct err *err);
/*
 * unix_bind_aside() - unix_bind() to a path that may be somebody else's by now, who keeps it. The file made is
 * moved to @then, or (NULL) has no name any more. *ret_file: O_PATH descriptor of it.
 */
int unix_bind_aside(struct rset *set, int fd, const struct rec_socket *r, struct bytes a, const char *then, int *ret_file);
/* unix_reach() - the address by which the socket @fd, whose file is @path (-1: none), can be reached. Its length. */
socklen_t unix_reach(int fd, int path, struct sockaddr_un *ret);
/* unix_unlink() - remove the file of a bound name. */
void unix_unlink(struct rset *set, const struct rec_socket *r, struct bytes a);
/* unix_path() - where a bound name is now; -1: it is no path. */
int unix_path(struct rset *set, const struct rec_socket *r, struct bytes a, char *ret, size_t len);
/* unix_name_text() - an address for messages: "/path", "@abstract" or "no name". Returns @buf. */
const char *unix_name_text(struct bytes a, char *buf, size_t len);

#endif
