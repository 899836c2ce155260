/* SPDX-License-Identifier: Apache-2.0 */
/*
 * namespaces.c - namespaces that the program had made, within those of the container.
 *
 * Init has each made by a child, which goes into the owner, makes it and says how it is to be; from then on it
 * is a descriptor that all processes inherit, and those that were in it enter it. Its user namespace a
 * process enters in the stub, behind all that takes the container's rights and before it makes threads, with
 * its ids (creds.c): their numbers within follow from the maps.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/namespaces.h"
#include "../common/net_settings.h"
#include "../resource/sysv.h"
#include "build.h"
#include "mounts.h"

/* root: of a mount namespace. give: of a time namespace that a member makes, time_spaces_pair(); else -1. */
struct space { const struct rec_namespace *rec; int fd, root, give; };

static const struct { int flag; const char *link; } kinds[] = {
	{ CLONE_NEWUSER, "/proc/self/ns/user" },
	{ CLONE_NEWUTS, "/proc/self/ns/uts" },
	{ CLONE_NEWIPC, "/proc/self/ns/ipc" },
	{ CLONE_NEWCGROUP, "/proc/self/ns/cgroup" },
	{ CLONE_NEWNET, "/proc/self/ns/net" },
	{ CLONE_NEWNS, "/proc/self/ns/mnt" },
	{ CLONE_NEWTIME, "/proc/self/ns/time_for_children" },
};

static const struct space *find(const struct restart *r, uint32_t id)
{
	for (size_t i = 0; i < r->nspaces; i++)
		if (r->spaces[i].rec->id == id)
			return &r->spaces[i];
	return NULL;
}

static const char *name_of(const struct rec_namespace *n)
{
	static char name[16];

	container_names((int)n->kind, name, sizeof(name));
	return name;
}

static int is_known(const struct restart *r, const struct rec_namespace *n)
{
	const struct space *owner = find(r, n->owner);

	if (!n->id || find(r, n->id) || (n->owner && (!owner || owner->rec->kind != CLONE_NEWUSER)))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (n->kind == (uint32_t)kinds[i].flag)
			return 1;
	return n->kind == CLONE_NEWPID;
}

/* What is of a namespace, and of which kind. */
static const struct { enum rec_tag tag; uint32_t kind; const char *field; } owned[] = {
	{ REC_TAG_desc, CLONE_NEWNET, "namespace" }, { REC_TAG_mqueue_data, CLONE_NEWIPC, "namespace" },
	{ REC_TAG_sysv_shm, CLONE_NEWIPC, "namespace" }, { REC_TAG_sysv_sem, CLONE_NEWIPC, "namespace" },
	{ REC_TAG_sysv_msg, CLONE_NEWIPC, "namespace" }, { REC_TAG_desc, CLONE_NEWNS, "mounts" },
	{ REC_TAG_object, CLONE_NEWNS, "mounts" }, { REC_TAG_space_mount, CLONE_NEWNS, "namespace" },
	{ REC_TAG_space_fs, CLONE_NEWNS, "namespace" },
};

static uint32_t number_in(const struct rec *rec, const char *field)
{
	const struct rec_desc_entry *e = rec_entry(rec->tag);
	uint32_t ret = 0;

	for (size_t i = 0; i < e->nfields; i++)
		if (!strcmp(e->fields[i].name, field))
			memcpy(&ret, (const char *)rec->body + e->fields[i].offset, sizeof(ret));
	return ret;
}

static int is_there(const struct restart *r, const struct rec *rec)
{
	for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
		if (owned[i].tag == rec->tag && number_in(rec, owned[i].field)) {
			const struct space *s = find(r, number_in(rec, owned[i].field));

			if (!s || s->rec->kind != owned[i].kind)
				return 0;
		}
	return 1;
}

int namespaces_load(struct restart *r, struct err *err)
{
	const struct rec_namespace *n;
	const struct rec_member *m;
	size_t pos = 0;

	while ((n = rec_next_namespace(&r->manifest.recs, &pos))) {
		if (!is_known(r, n))
			return err_set(err, E_CORRUPT, 0, "%s: namespace %u makes no sense", r->manifest.name, n->id);
		r->spaces = xrealloc(r->spaces, (r->nspaces + 1) * sizeof(*r->spaces));
		r->spaces[r->nspaces++] = (struct space){ n, -1, -1, -1 };
	}
	for (size_t i = 0; i < r->manifest.recs.count; i++)
		if (!is_there(r, &r->manifest.recs.recs[i]))
			return err_set(err, E_CORRUPT, 0, "%s: something is in a namespace that is not there",
				       r->manifest.name);
	if (mounts_load(r, err))
		return -1;
	for (size_t i = 0; i < r->ntasks; i++) {
		if (pid_spaces_load(r, i, err))
			return -1;
		if (r->images[i].fd >= 0 && namespaces_threads_load(r, &r->images[i], err))
			return -1;
		pos = 0;
		while (r->images[i].fd >= 0 && (m = rec_next_member(&r->images[i].recs, &pos)))
			if (!find(r, m->namespace))
				return err_set(err, E_CORRUPT, 0, "%s: there is no namespace %u", r->images[i].name,
					       m->namespace);
	}
	return 0;
}

/* Which of that @kind the process is in, or its children are made in; NULL: the job's. */
static const struct space *space_of(const struct restart *r, const struct image *img, uint32_t kind)
{
	const struct rec_member *m;
	size_t pos = 0;

	while ((m = rec_next_member(&img->recs, &pos)))
		if (find(r, m->namespace)->rec->kind == kind && !m->for_children)
			return find(r, m->namespace);
	return NULL;
}

/* ---- making one ---- */

struct wish { const struct restart *r; const struct rec_namespace *rec; };

static int enter_owner(const struct wish *w)
{
	const struct space *owner = find(w->r, w->rec->owner);

	return owner ? setns(owner->fd, CLONE_NEWUSER) : 0;
}

static int set_names(const struct rec_namespace *n)
{
	return sethostname(n->hostname, strlen(n->hostname)) || setdomainname(n->domainname, strlen(n->domainname));
}

static void set_up_net(const struct rec_namespace *n)
{
	net_settings_restore(n->settings);
	if (n->lo)
		ns_loopback(1);
	if (n->lo > 1)
		ns_loopback(0);
}

/* In a child of init. */
static int make_one(void *arg)
{
	const struct wish *w = arg;

	if (w->rec->kind == CLONE_NEWUSER) {
		const struct space *owner = find(w->r, w->rec->owner);

		return namespaces_new_user(w->rec, owner ? owner->rec : NULL, owner ? owner->fd : -1);
	}
	if (enter_owner(w) || unshare((int)w->rec->kind))
		return -1;
	if (w->rec->kind == CLONE_NEWUTS && set_names(w->rec))
		return -1;
	if (w->rec->kind == CLONE_NEWNET)
		set_up_net(w->rec);
	if (w->rec->kind == CLONE_NEWTIME && time_spaces_set(w->r, w->rec))
		return -1;
	if (w->rec->kind == CLONE_NEWIPC)
		sysv_restore_limits(&w->r->manifest.recs, w->rec->id);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (w->rec->kind == (uint32_t)kinds[i].flag)
			return open(kinds[i].link, O_RDONLY | O_CLOEXEC);
	return -1;
}

static int not_made(const struct rec_namespace *n, struct err *err)
{
	int e = errno;

	if (n->kind == CLONE_NEWUSER && e == EPERM)
		return err_set(err, E_ACCESS, 0, "the user namespace that the program made cannot be made again here: user "
			       "namespaces are denied, or its ids (of uid_map and gid_map) are not ours to give; root may");
	return err_set(err, e == EPERM ? E_ACCESS : e == ENOSPC ? E_LIMIT : E_KERNEL_FEATURE, e,
		       "making the %s namespace that the program had made", name_of(n));
}

int namespaces_make(struct restart *r, struct err *err)
{
	for (size_t i = 0; i < r->nspaces; i++) {
		struct wish w = { r, r->spaces[i].rec };
		const struct space *owner = find(r, w.rec->owner);
		int fd = -1, root = -1, pair[2];

		if (w.rec->kind == CLONE_NEWPID)	/* its process 1 makes it: tree_nested.c */
			continue;
		if (w.rec->kind == CLONE_NEWTIME && time_spaces_given(r, w.rec->id)) {
			if (time_spaces_pair(&r->rset, pair, err))
				return -1;
			r->spaces[i].fd = pair[0];
			r->spaces[i].give = pair[1];
			continue;
		}
		if (w.rec->kind == CLONE_NEWNS) {
			if (mounts_make(r, w.rec, owner ? owner->fd : -1, &fd, &root, err))
				return -1;
			r->spaces[i].root = rset_move(&r->rset, root);
		} else {
			fd = ns_made(make_one, &w);
		}
		if (fd < 0)
			return not_made(w.rec, err);
		r->spaces[i].fd = rset_move(&r->rset, fd);
		if (r->spaces[i].fd < 0 || (root >= 0 && r->spaces[i].root < 0))
			return err_set(err, E_LIMIT, errno, "too many open files");
	}
	mounts_done(r);
	return 0;
}

/* ---- entering ---- */

/* Whoever has become another user for a moment has no rights to go anywhere. */
int namespaces_enter_one(struct rset *set, int kind, uint32_t ns)
{
	const struct space *s = find(set->arg, ns);
	const uid_t uid = geteuid();
	int ret;

	if (uid != getuid() && syscall(SYS_setresuid, -1, getuid(), -1))
		return -1;
	ret = s ? setns(s->fd, kind) : -1;
	if (uid != getuid() && syscall(SYS_setresuid, -1, uid, -1))
		return -1;
	return ret;
}

size_t namespaces_late_fds(const struct restart *r, int *fds, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < r->nspaces; i++)
		if (r->spaces[i].rec->kind == CLONE_NEWIPC && r->spaces[i].fd >= 0) {
			if (n < max)
				fds[n] = r->spaces[i].fd;
			n++;
		}
	return n;
}

void namespaces_let_go(struct restart *r)
{
	for (size_t i = 0; i < r->nspaces; i++)
		if (r->spaces[i].rec->kind == CLONE_NEWIPC)
			cleanup_closep(&r->spaces[i].fd);
}

/* It can be entered only alone, as that of the user. */
static int enter_time(const struct restart_task *t, const struct space *s, struct err *err)
{
	cleanup_close int taken = s->give < 0 ? -1 : time_spaces_take(t, s->rec, s->fd, err);

	if (s->give >= 0 && taken < 0)
		return -1;
	if (setns(taken >= 0 ? taken : s->fd, CLONE_NEWTIME))
		return err_set(err, err_code_of_errno(errno), errno, "entering its time namespace");
	t->r->clock_goes_on = 1;	/* in this process */
	t->r->monotonic_behind_ns = t->r->boot_behind_ns = 0;
	return 0;
}

static int enter_times(const struct restart_task *t, struct err *err)
{
	const struct space *s = space_of(t->r, t->image, CLONE_NEWTIME);

	if (s && enter_time(t, s, err))
		return -1;
	for (size_t i = 0; i < t->r->nspaces; i++)
		if (t->r->spaces[i].give >= 0 && time_spaces_give(t, t->r->spaces[i].rec, t->r->spaces[i].give, err))
			return -1;
	return 0;
}

void namespaces_build_times(struct build *b, struct build_ops *ops)
{
	const struct restart *r = b->t->r;

	for (size_t i = 0; i < r->nspaces; i++)
		if (r->spaces[i].give >= 0)
			time_spaces_build(b, ops, r->spaces[i].rec, r->spaces[i].give);
}

/* Of those that threads which exist already cannot enter, each by itself (build_thread_spaces()). */
static const struct space *space_of_all(const struct restart_task *t)
{
	static const uint32_t alone[] = { CLONE_NEWUSER, CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWIPC };
	const struct space *s = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(alone) && !s; i++)
		s = space_of(t->r, t->image, alone[i]);
	return s;
}

int namespaces_enter(struct restart_task *t, struct err *err)
{
	const struct space *all = t->r->ascend && namespaces_has_threads(t->image) ? space_of_all(t) : NULL;

	if (all)
		return err_set(err, E_KERNEL_FEATURE, 0, "it has threads and a namespace of its own (%s), and this container lets "
			       "nobody choose ids; restore in one with CAP_SYS_ADMIN or a seccomp profile that allows clone3 and unshare",
			       name_of(all->rec));
	if (enter_times(t, err) || namespaces_threads_stay(t, err))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct space *s = find(t->r, namespaces_of_all(t, (uint32_t)kinds[i].flag));

		if (s && !(kinds[i].flag & (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWTIME)) && setns(s->fd, kinds[i].flag))
			return err_set(err, err_code_of_errno(errno), errno, "entering its %s namespace", name_of(s->rec));
	}
	return 0;
}

uint32_t namespaces_member(const struct restart *r, const struct image *img, uint32_t kind)
{
	const struct space *s = space_of(r, img, kind);

	return s ? s->rec->id : 0;
}

uint32_t namespaces_children(const struct restart *r, const struct image *img)
{
	return namespaces_member(r, img, CLONE_NEWPID);
}

uint32_t namespaces_mounts(const struct restart *r, const struct image *img)
{
	return namespaces_member(r, img, CLONE_NEWNS);
}

int namespaces_fd(const struct restart *r, uint32_t id)
{
	const struct space *s = find(r, id);

	return s ? s->fd : -1;
}

int namespaces_root(const struct restart *r, uint32_t mounts)
{
	const struct space *s = find(r, mounts);

	return s ? s->root : -1;
}

int namespaces_enter_mounts(const struct restart_task *t, struct err *err)
{
	const struct space *s = space_of(t->r, t->image, CLONE_NEWNS);

	return s && setns(s->fd, CLONE_NEWNS) ? err_set(err, err_code_of_errno(errno), errno, "entering its mount namespace") : 0;
}

int namespaces_is_within(const struct restart *r, uint32_t id, uint32_t user)
{
	const struct space *s = find(r, id);

	while (s && s->rec->owner != user)
		s = find(r, s->rec->owner);
	return s != NULL;
}

int namespaces_is(const struct restart *r, uint32_t id, uint32_t kind)
{
	const struct space *s = find(r, id);

	return s && s->rec->kind == kind;
}

int namespaces_user(const struct restart *r, const struct image *img)
{
	const struct space *s = space_of(r, img, CLONE_NEWUSER);

	return s ? s->fd : -1;
}
