/* SPDX-License-Identifier: Apache-2.0 */
/* model_files.c - JSON of open file descriptions and of who holds them under which number. */
#include "inspect.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "../common/io.h"
#include "put.h"

static const char *const kinds[] = {
	[RES_FILE] = "file",
	[RES_PIPE] = "pipe",
	[RES_EVENTFD] = "eventfd",
	[RES_TIMERFD] = "timerfd",
	[RES_SIGNALFD] = "signalfd",
	[RES_EPOLL] = "epoll",
	[RES_TTY] = "tty",
	[RES_MEMFD] = "memfd",
	[RES_UNIX] = "unix",
	[RES_INET] = "inet",
	[RES_INOTIFY] = "inotify",
	[RES_DEVICE] = "device",
	[RES_DIRECTORY] = "directory",
	[RES_PIDFD] = "pidfd",
	[RES_PROC] = "proc",
	[RES_MQUEUE] = "mqueue",
	[RES_NETLINK] = "netlink",
	[RES_PACKET] = "packet",
	[RES_FANOTIFY] = "fanotify",
};

static const char *access_mode(uint32_t flags)
{
	if (flags & O_PATH)
		return "path";
	switch (flags & O_ACCMODE) {
	case O_RDONLY:
		return "r";
	case O_WRONLY:
		return "w";
	}
	return "rw";
}

/* "127.0.0.1:80", "[::1]:80", "/run/x", "@abstract"; "" for none. */
static char *address(struct bytes b)
{
	char text[INET6_ADDRSTRLEN];
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		char bytes[sizeof(struct sockaddr_un) + 1];
	} a = { .bytes = "" };
	size_t path = offsetof(struct sockaddr_un, sun_path);

	if (b.len < sizeof(sa_family_t))
		return xstrdup("");
	memcpy(&a, b.data, MIN(b.len, sizeof(struct sockaddr_un)));
	switch (a.sa.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &a.in.sin_addr, text, sizeof(text));
		return xasprintf("%s:%u", text, ntohs(a.in.sin_port));
	case AF_INET6:
		inet_ntop(AF_INET6, &a.in6.sin6_addr, text, sizeof(text));
		return xasprintf("[%s]:%u", text, ntohs(a.in6.sin6_port));
	case AF_UNIX:
		if (b.len <= path)
			return xstrdup("");
		if (a.un.sun_path[0])
			return xstrdup(a.un.sun_path);
		return xasprintf("@%.*s", (int)(MIN(b.len, sizeof(a.un)) - path - 1),
				 a.un.sun_path + 1);
	}
	return xasprintf("family %d", a.sa.sa_family);
}

static const char *socket_state(uint32_t state)
{
	static const char *const names[] = { "unconnected", "bound", "listening", "connected",
					     "closed" };

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

static uint64_t pipe_unread(const struct ckpt *c, uint64_t pipe)
{
	const struct rec_pipe_data *r;

	for (size_t pos = 0; (r = rec_next_pipe_data(&c->manifest.recs, &pos));)
		if (r->pipe == pipe)
			return r->data.len;
	return 0;
}

static uint64_t socket_unread(const struct ckpt *c, uint64_t ino)
{
	const struct rec_socket_data *r;
	uint64_t sum = 0;

	for (size_t pos = 0; (r = rec_next_socket_data(&c->manifest.recs, &pos));)
		if (r->ino == ino)
			sum += r->data.len;
	return sum;
}

static void put_socket(json_t *o, const struct ckpt *c, const struct rec_socket *r)
{
	cleanup_free char *local = address(r->local), *remote = address(r->remote);

	put_int(o, "socket", r->ino);
	put_int(o, "family", r->family);
	put_int(o, "type", r->type);
	put_str(o, "state", socket_state(r->state));
	put_str(o, "local", local);
	put_str(o, "remote", remote);
	put_int(o, "peer", r->peer);
	put_int(o, "unread_bytes", socket_unread(c, r->ino));
}

/* Are its contents in the checkpoint (--save-files)? */
static int is_stored(const struct ckpt *c, const char *path)
{
	const struct rec_stored_file *r;

	for (size_t pos = 0; (r = rec_next_stored_file(&c->manifest.recs, &pos));)
		if (strcmp(r->path, path) == 0)
			return 1;
	return 0;
}

/* What the record of its kind adds. */
static void put_kind(json_t *o, const struct ckpt *c, uint32_t id)
{
	for (size_t i = 0; i < c->manifest.recs.count; i++) {
		const struct rec *r = &c->manifest.recs.recs[i];
		const struct rec_file *f = r->body;
		const struct rec_pipe *p = r->body;
		const struct rec_eventfd *e = r->body;
		const struct rec_timerfd *t = r->body;
		const struct rec_memfd *m = r->body;
		const struct rec_pidfd *pidfd = r->body;
		const struct rec_socket *s = r->body;
		const struct rec_tty *tty = r->body;

		if (r->tag == REC_TAG_file && f->desc == id) {
			put_str(o, "path", f->path);
			put_int(o, "size", f->size);
			json_object_set_new(o, "deleted", json_boolean(f->deleted));
			json_object_set_new(o, "stored", json_boolean(is_stored(c, f->path)));
		} else if (r->tag == REC_TAG_pipe && p->desc == id) {
			put_int(o, "pipe", p->pipe);
			put_int(o, "unread_bytes", pipe_unread(c, p->pipe));
		} else if (r->tag == REC_TAG_eventfd && e->desc == id) {
			put_int(o, "count", e->count);
		} else if (r->tag == REC_TAG_timerfd && t->desc == id) {
			put_int(o, "value_ns", t->value_ns);
			put_int(o, "interval_ns", t->interval_ns);
		} else if (r->tag == REC_TAG_memfd && m->desc == id) {
			put_int(o, "object", m->object);
		} else if (r->tag == REC_TAG_pidfd && pidfd->desc == id) {
			put_int(o, "process", pidfd->pid);
		} else if (r->tag == REC_TAG_socket && s->desc == id) {
			put_socket(o, c, s);
		} else if (r->tag == REC_TAG_tty && tty->desc == id) {
			put_str(o, "path", tty->path);
			put_int(o, "rows", tty->rows);
			put_int(o, "cols", tty->cols);
		}
	}
}

static json_t *holders(struct ckpt *c, uint32_t id, uint32_t pid)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->nprocs; i++) {
		const struct rec_fd *f;

		if (!c->procs[i].process || (pid && c->procs[i].pid != pid))
			continue;
		for (size_t pos = 0; (f = rec_next_fd(&c->procs[i].img.recs, &pos));) {
			json_t *o;

			if (f->desc != id)
				continue;
			o = json_object();
			put_int(o, "pid", c->procs[i].pid);
			put_int(o, "fd", f->fd);
			json_object_set_new(o, "cloexec", json_boolean(f->cloexec));
			json_array_append_new(list, o);
		}
	}
	return list;
}

json_t *model_files(struct ckpt *c, uint32_t pid)
{
	json_t *list = json_array();
	const struct rec_desc *d;

	for (size_t pos = 0; (d = rec_next_desc(&c->manifest.recs, &pos));) {
		json_t *held = holders(c, d->id, pid), *o;

		if (pid && !json_array_size(held)) {
			json_decref(held);
			continue;
		}
		o = json_object();
		put_int(o, "desc", d->id);
		put_str(o, "kind",
			d->kind < ARRAY_SIZE(kinds) && kinds[d->kind] ? kinds[d->kind] : "unknown");
		put_str(o, "name", d->name);
		put_str(o, "mode", access_mode(d->flags));
		put_int(o, "flags", d->flags);
		put_int(o, "pos", d->pos);
		put_int(o, "std", d->std);
		json_object_set_new(o, "holders", held);
		put_kind(o, c, d->id);
		json_array_append_new(list, o);
	}
	return list;
}
