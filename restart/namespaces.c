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
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/namespaces.h"
#include "../common/net_settings.h"
#include "../resource/sysv.h"
#include "build.h"
#include "mounts.h"

struct space { const struct rec_namespace *rec; int fd, root; /* root: of a mount namespace */ };

static const struct { int flag; const char *link; } kinds[] = {
	{ CLONE_NEWUSER, "/proc/self/ns/user" },
	{ CLONE_NEWUTS, "/proc/self/ns/uts" },
	{ CLONE_NEWIPC, "/proc/self/ns/ipc" },
	{ CLONE_NEWCGROUP, "/proc/self/ns/cgroup" },
	{ CLONE_NEWNET, "/proc/self/ns/net" },
	{ CLONE_NEWNS, "/proc/self/ns/mnt" },
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

/* Of a process that is in pid namespaces. */
static int are_known(const struct restart *r, const struct rec_task *t)
{
	const uint32_t *id = t->spaces.data;

	for (size_t i = 0; i < t->spaces.len / sizeof(*id); i++)
		if (!find(r, id[i]) || find(r, id[i])->rec->kind != CLONE_NEWPID)
			return 0;
	return 1;
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
		r->spaces[r->nspaces++] = (struct space){ n, -1, -1 };
	}
	for (size_t i = 0; i < r->manifest.recs.count; i++)
		if (!is_there(r, &r->manifest.recs.recs[i]))
			return err_set(err, E_CORRUPT, 0, "%s: something is in a namespace that is not there",
				       r->manifest.name);
	if (mounts_load(r, err))
		return -1;
	for (size_t i = 0; i < r->ntasks; i++) {
		if (!are_known(r, &r->tasks[i]))
			return err_set(err, E_CORRUPT, 0, "%s: process %u is in a pid namespace that is not there",
				       r->manifest.name, r->tasks[i].pid);
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
		if (find(r, m->namespace)->rec->kind == kind)
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

static int write_at(int dir, const char *name, const char *text)
{
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

/*
 * Whoever may: its maker one id, his own; others who has the rights in the namespace above. What is there already
 * was written by the other one.
 */
static int write_maps(int dir, const struct rec_namespace *n)
{
	static const char *const names[] = { "uid_map", "gid_map" };
	int ret = 0;

	if (!strcmp(n->setgroups, "deny"))
		(void)!write_at(dir, "setgroups", "deny");	/* may be so already, from above */
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *text = i ? n->gid_map : n->uid_map;
		cleanup_free char *now = io_slurp(dir, names[i], NULL);

		if (*text && (!now || !*now) && write_at(dir, names[i], text))
			ret = -1;
	}
	return ret;
}

/* The user that it belongs to has all rights in it, from the namespace above. */
static int become(uint32_t uid)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (uid == geteuid() || !creds_settable())
		return 0;
	if (prctl(PR_SET_KEEPCAPS, 1) || setresuid(uid, uid, uid) || syscall(SYS_capget, &head, data))
		return -1;
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted;
	return (int)syscall(SYS_capset, &head, data);
}

/* Who makes a user namespace must have an id of the one above for a group as well. */
static void become_known(const struct wish *w)
{
	const struct space *owner = find(w->r, w->rec->owner);
	unsigned gid;

	if (owner && sscanf(owner->rec->gid_map, "%u", &gid) == 1)
		(void)!setresgid(gid, gid, gid);
}

/* Its first process, until the other end of @sock is closed. */
static void NORETURN be_first(const struct wish *w, int sock)
{
	int dir = -1, error;
	char c;

	if (become(w->rec->owner_uid) == 0 && enter_owner(w) == 0) {
		become_known(w);
		if (unshare(CLONE_NEWUSER) == 0)
			dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	error = errno;
	if (dir >= 0) {
		prctl(PR_SET_DUMPABLE, 1);	/* else the maps were root's to write */
		write_maps(dir, w->rec);
	}
	if (io_send_fds(sock, &error, sizeof(error), &dir, dir >= 0) == 0)
		(void)!read(sock, &c, 1);
	_exit(0);
}

static int finish_user(const struct wish *w, int dir)
{
	if (enter_owner(w) || write_maps(dir, w->rec))
		return -1;
	return openat(dir, "ns/user", O_RDONLY | O_CLOEXEC);
}

static int make_user(const struct wish *w)
{
	int pair[2], dir = -1, fd = -1, error = EPERM;
	size_t n = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		be_first(w, pair[1]);
	}
	close(pair[1]);
	if (pid > 0 && io_recv_fds(pair[0], &error, sizeof(error), &dir, 1, &n) == 1 && n == 1) {
		fd = finish_user(w, dir);
		error = errno;
	}
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	errno = error;
	return fd;
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

	if (w->rec->kind == CLONE_NEWUSER)
		return make_user(w);
	if (enter_owner(w) || unshare((int)w->rec->kind))
		return -1;
	if (w->rec->kind == CLONE_NEWUTS && set_names(w->rec))
		return -1;
	if (w->rec->kind == CLONE_NEWNET)
		set_up_net(w->rec);
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
		int fd = -1, root = -1;

		if (w.rec->kind == CLONE_NEWPID)	/* its process 1 makes it: tree_nested.c */
			continue;
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

int namespaces_enter(const struct restart_task *t, struct err *err)
{
	/* They exist already, and then nobody may enter. */
	if (t->r->ascend && namespaces_has_threads(t->image) && namespaces_user(t->r, t->image) >= 0)
		return err_set(err, E_KERNEL_FEATURE, 0, "it has threads in a user namespace of its own, and this container lets "
			       "nobody choose ids; restore in one with CAP_SYS_ADMIN or a seccomp profile that allows clone3 "
			       "and unshare");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct space *s = space_of(t->r, t->image, (uint32_t)kinds[i].flag);

		if (s && kinds[i].flag != CLONE_NEWUSER && kinds[i].flag != CLONE_NEWNS && setns(s->fd, kinds[i].flag))
			return err_set(err, err_code_of_errno(errno), errno, "entering its %s namespace", name_of(s->rec));
	}
	return 0;
}

uint32_t namespaces_children(const struct restart *r, const struct image *img)
{
	const struct space *s = space_of(r, img, CLONE_NEWPID);

	return s ? s->rec->id : 0;
}

uint32_t namespaces_mounts(const struct restart *r, const struct image *img)
{
	const struct space *s = space_of(r, img, CLONE_NEWNS);

	return s ? s->rec->id : 0;
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

int namespaces_user(const struct restart *r, const struct image *img)
{
	const struct space *s = space_of(r, img, CLONE_NEWUSER);

	return s ? s->fd : -1;
}
