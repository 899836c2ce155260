/* SPDX-License-Identifier: Apache-2.0 */
/* resource.c - the driver of saving: descriptions collected, told apart, checked, written. */
#include "resource.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"
#include "find_index.h"
#include "lock.h"
#include "merge.h"
#include "object.h"
#include "stored.h"
#include "table.h"

/* ---- collecting ---- */

static char *read_link(int fd)
{
	char path[40], buf[8192];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, buf, sizeof(buf) - 1);
	if (n < 0)
		return NULL;
	buf[n] = 0;
	return xstrdup(buf);
}

static int add_new(struct res_set *set, int fd, const struct stat *st, int flags, struct err *err)
{
	struct desc d = { .id = set->ndescs + 1, .fd = fd, .st = *st, .flags = flags, .pos = -1, .std = -1 };

	d.link = read_link(fd);
	d.fdinfo = proc_readf(NULL, "/proc/self/fdinfo/%d", fd);
	if (!d.link || !d.fdinfo) {
		int e = errno;

		free(d.link);
		free(d.fdinfo);
		return err_set(err, E_FAILED, e, "cannot read /proc/self/fdinfo/%d", fd);
	}
	if (!(flags & O_PATH) && !S_ISFIFO(st->st_mode) && !S_ISSOCK(st->st_mode))
		d.pos = lseek(fd, 0, SEEK_CUR);
	/* Doubling: the array's size is the next power of two. */
	if ((set->ndescs & (set->ndescs + 1)) == 0)
		set->descs = xrealloc(set->descs, (set->ndescs + 1) * 2 * sizeof(d));
	set->descs[set->ndescs++] = d;
	merge_add(set, &set->descs[d.id - 1]);
	by_ino_add(&set->inos, st->st_ino);
	return 0;
}

int res_set_add_one(struct res_set *set, int fd, struct err *err)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;
	uint32_t id;

	if (flags < 0 || fstat(fd, &st) < 0) {
		err_set(err, E_FAILED, errno, "cannot look at a descriptor");
		close(fd);
		return -1;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	id = merge_find(set, fd, &st, flags);
	if (id) {
		close(fd);
	} else {
		if (add_new(set, fd, &st, flags, err) < 0) {
			close(fd);
			return -1;
		}
		id = (uint32_t)set->ndescs;
	}
	return (int)id;
}

int res_set_add(struct res_set *set, int fd, uint32_t pid, int their_fd, uint32_t cloexec, struct err *err)
{
	int id = res_set_add_one(set, fd, err);
	struct desc *d;

	if (id < 0) {
		if (their_fd >= 0)
			err_prefix(err, "descriptor %d of process %u", their_fd, pid);
		return -1;
	}
	if (their_fd < 0)	/* in flight in a socket: nobody holds it */
		return 0;
	d = &set->descs[id - 1];
	if ((d->nholders & (d->nholders + 1)) == 0)
		d->holders = xrealloc(d->holders, (d->nholders + 1) * 2 * sizeof(*d->holders));
	d->holders[d->nholders++] = (struct holder){ pid, their_fd, cloexec };
	merge_holder(set, pid, their_fd, (uint32_t)id);
	return 0;
}

struct desc *res_desc_of(const struct res_set *set, uint32_t pid, int fd)
{
	uint32_t id = merge_holder_find(set, pid, fd);

	return id ? &set->descs[id - 1] : NULL;
}

const struct desc *res_same_ino(const struct res_set *set, uint64_t ino, const struct desc *after)
{
	uint32_t id = by_ino_next(&set->inos, ino, after ? after->id : 0);

	return id ? &set->descs[id - 1] : NULL;
}

int res_fdinfo_line(const struct desc *d, const char *what, size_t *pos, char *ret, size_t room)
{
	const size_t n = strlen(what);

	for (const char *line = d->fdinfo + *pos; *line; line = d->fdinfo + *pos) {
		size_t len = strcspn(line, "\n");

		*pos += len + (line[len] == '\n');
		if (strncmp(line, what, n) != 0)
			continue;
		len = MIN(len, room - 1);
		memcpy(ret, line, len);
		ret[len] = 0;
		return 1;
	}
	return 0;
}

uint32_t res_inside(const struct res_set *set, pid_t pid)
{
	return set->inside ? set->inside(set->arg, pid) : (uint32_t)pid;
}

/* "process 12 (name) has OBJECT open as descriptor 3: why" */
static void complain(const struct res_set *set, const struct desc *d, const char *why, va_list ap, char *text, size_t room)
{
	const struct holder *h = d->holders;
	const char *comm = h && set->comm ? set->comm(set->arg, h->pid) : NULL;
	size_t n;

	if (!h)
		snprintf(text, room, "a descriptor of %.200s is on its way through a socket: ", d->link);
	else
		snprintf(text, room, "process %u%s%s%s has %.200s open as descriptor %d: ", h->pid, comm ? " (" : "",
			 comm ? comm : "", comm ? ")" : "", d->link, h->fd);
	n = strlen(text);
	vsnprintf(text + n, room - n, why, ap);
}

int res_refuse(const struct res_set *set, const struct desc *d, enum err_code code, struct err *err,
	       const char *why, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, why);
	complain(set, d, why, ap, text, sizeof(text));
	va_end(ap);
	return err_set(err, code, 0, "%s", text);
}

void res_warn(struct res_set *set, const struct desc *d, const char *why, ...)
{
	char text[700], *old = set->warnings;
	va_list ap;

	va_start(ap, why);
	complain(set, d, why, ap, text, sizeof(text));
	va_end(ap);
	set->warnings = old ? xasprintf("%s\n%s", old, text) : xstrdup(text);
	free(old);
}

uint32_t res_net_of(const struct res_set *set, const struct desc *d)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (!set->nnets || !S_ISSOCK(d->st.st_mode))
		return 0;
	getsockopt(d->fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len);
	for (size_t i = 0; i < set->nnets; i++)
		if (set->nets[i].cookie == cookie)
			return set->nets[i].id;
	return RES_NET_OTHER;
}

/* ---- checking ---- */

static const struct res_ops *find_ops(const struct desc *d)
{
	for (size_t i = 0; res_table[i]; i++)
		if (res_table[i]->probe(d))
			return res_table[i];
	return &res_unknown;
}

/* Who is told of I/O (F_SETOWN) can be named again by who sees it only; 0: nobody does. */
static int owner_is_seen(const struct res_set *set, const struct desc *d)
{
	struct f_owner_ex owner = { .type = F_OWNER_TID, .pid = 0 };
	uint32_t pid = 0;
	int seen = 0;

	if (set->sees && fcntl(d->fd, F_GETOWN_EX, &owner) == 0 && owner.pid > 0)
		pid = res_inside(set, owner.pid);
	for (size_t i = 0; pid && i < d->nholders; i++)
		seen |= set->sees(set->arg, d->holders[i].pid, pid);
	return !pid || !d->nholders || seen;
}

int res_made_in_process(const struct desc *d)
{
	const struct res_ops *ops = find_ops(d);

	return ops->late || ops->attach;
}

int res_set_check(struct res_set *set, struct err *err)
{
	/* Kinds may add descriptions while we look (descriptors in flight in sockets). */
	for (size_t i = 0; i < set->ndescs; i++) {
		struct desc *d = &set->descs[i];

		d->ops = find_ops(d);
		res_std_mask(set, d, &d->std);
		if (res_find_mounts(set, d) && d->std < 0)
			return res_refuse(set, d, E_UNSUPPORTED_FD, err, "where it was opened nothing is mounted any more (umount -l, "
					  "pivot_root); close it first");
		free(d->priv);
		d->priv = NULL;
		if (d->ops->scan && d->ops->scan(set, d, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < set->ndescs; i++) {
		struct desc *d = &set->descs[i];

		if (!d->nholders && d->ops->late)
			return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err, "it can be saved only when it has arrived; try "
					  "again in a moment");
		if (d->std < 0 && res_net_of(set, d) == RES_NET_OTHER && !res_inherited(set, d))
			return res_refuse(set, d, E_UNSUPPORTED_FD, err, "it is of a network namespace that no process of the job "
					  "is in");
		if (!owner_is_seen(set, d))
			return res_refuse(set, d, E_UNSUPPORTED_FD, err, "who is told of it (F_SETOWN) is outside of its pid namespace, "
					  "and could not be named there again");
		if (d->ops->check && d->ops->check(set, d, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- writing ---- */

static void save_desc(struct res_set *set, const struct desc *d)
{
	struct f_owner_ex owner = { .type = F_OWNER_TID, .pid = 0 };
	int std, signal = fcntl(d->fd, F_GETSIG);

	if (fcntl(d->fd, F_GETOWN_EX, &owner) < 0 || owner.pid <= 0)
		owner = (struct f_owner_ex){ 0 };
	rec_put_desc(set->recs, &(struct rec_desc){
		.id = d->id,
		.kind = d->ops->kind,
		.flags = d->flags,
		.pos = d->pos,
		.own_type = owner.type,
		.own_pid = owner.pid ? res_inside(set, owner.pid) : 0,
		.signal = MAX(signal, 0),
		.std_mask = res_std_mask(set, d, &std),
		.std = d->std,
		.name = d->link,
		.dev = d->st.st_dev,
		.ino = d->st.st_ino,
		.mode = d->st.st_mode,
		.namespace = d->std < 0 && res_net_of(set, d) != RES_NET_OTHER ? res_net_of(set, d) : 0,
		.mounts = d->mounts,
	});
}

int res_set_save(struct res_set *set, struct err *err)
{
	for (size_t i = 0; i < set->ndescs; i++) {
		struct desc *d = &set->descs[i];

		save_desc(set, d);
		if (d->ops->save && d->ops->save(set, d, err) < 0)
			return -1;
		lock_save_desc(set, d);
	}
	return stored_save_all(set, err) < 0 ? -1 : object_save_all(set, err);
}

void res_set_ended(struct res_set *set)
{
	for (size_t i = 0; i < set->ndescs; i++) {
		struct desc *d = &set->descs[i];

		if (d->fd >= 0 && d->ops && d->ops->ended)
			d->ops->ended(set, d);
	}
}

void res_set_let_go(struct res_set *set)
{
	for (size_t i = 0; i < set->ndescs; i++) {
		struct desc *d = &set->descs[i];

		if (d->fd >= 0 && d->ops && d->ops->let_go)
			d->ops->let_go(set, d);
		cleanup_closep(&d->fd);
		d->fd = -1;		/* its number will be another file's */
	}
}

void res_set_free(struct res_set *set)
{
	for (size_t i = 0; i < set->ndescs; i++) {
		struct desc *d = &set->descs[i];

		cleanup_closep(&d->fd);
		free(d->link);
		free(d->fdinfo);
		free(d->holders);
		free(d->priv);
	}
	free(set->warnings);
	set->warnings = NULL;
	free(set->notes);
	set->notes = NULL;
	set->nnotes = 0;
	free(set->nets);
	set->nets = NULL;
	free(set->ipcs);
	set->ipcs = NULL;
	set->nnets = 0;
	free(set->spaces);
	set->spaces = NULL;
	set->nspaces = 0;
	free(set->mounts);
	set->mounts = NULL;
	set->nmounts = 0;
	free(set->signalfds);
	set->signalfds = NULL;
	set->nsignalfds = 0;
	free(set->locks);
	set->locks = NULL;
	set->nlocks = 0;
	free(set->descs);
	set->descs = NULL;
	set->ndescs = 0;
	by_ino_free(&set->inos);
	stored_free(set);
	object_free_all(set);
	merge_free(set);
	find_index_free(set->names);
	set->names = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(set->kind); i++) {
		free(set->kind[i]);
		set->kind[i] = NULL;
	}
}
