/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_namespaces.c - namespaces that a process is in and the job as a whole, of which its keeper stands for all, is
 * not: the program made them (unshare, setns, clone).
 *
 * Before a process is signalled it is refused what cannot be made again, where the signal alone would do harm: the
 * first process that is made in a new pid namespace, even by our library, is its process 1. When all stand still
 * the others are looked at (round_namespaces_look.c) and recorded: what it is, which user namespace it
 * belongs to, who is in it.
 */
#include <errno.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/namespaces.h"
#include "round_namespaces.h"

static const struct ns_kind kinds[] = {
	{ "uts", CLONE_NEWUTS, "is in a uts namespace of its own" },
	{ "net", CLONE_NEWNET, "is in a network namespace of its own" },
	{ "ipc", CLONE_NEWIPC, "is in an ipc namespace of its own" },
	{ "cgroup", CLONE_NEWCGROUP, "is in a cgroup namespace of its own" },
	{ "mnt", CLONE_NEWNS, "is in a mount namespace of its own" },
	{ "user", CLONE_NEWUSER, "is in a user namespace of its own" },
};
static const struct ns_kind pid_kind = { "pid", CLONE_NEWPID, "is in a pid namespace of its own" };
static const struct ns_kind time_kind = { "time", CLONE_NEWTIME, "is in a time namespace of its own" };
#define KIND_NET	1
#define KIND_USER	5

struct ns_id ns_id_of(pid_t pid, const char *file)
{
	char name[64];
	struct stat st;

	snprintf(name, sizeof(name), "ns/%s", file);
	return proc_lookup(pid, name, &st) ? (struct ns_id){ 0, 0 } : (struct ns_id){ st.st_dev, st.st_ino };
}

/* In gVisor every process has numbers of its own for one and the same. */
int ns_ids_are_two(struct ns_id a, struct ns_id b)
{
	return a.ino && b.ino && (a.ino != b.ino || a.dev != b.dev) && kernel_tells_namespaces();
}

/* The job's: all may be waiting for the last one to be looked at, so this is asked for once in a round. */
static struct ns_id of_job(const struct round *r, size_t kind)
{
	static struct ns_id all[ARRAY_SIZE(kinds)];

	if (!all[kind].ino)
		all[kind] = ns_id_of(r->p->keeper, kinds[kind].file);
	return all[kind];
}

static struct ns_id of_process(const struct rproc *p, size_t kind)
{
	return ns_id_of(p->look, kinds[kind].file);
}

/* It could not enter the job's directory, and not tell us from anybody else: no id of ours means the same there. */
static int is_strange(const struct rproc *p)
{
	struct proc_status st;

	return proc_status(p->look, 0, &st) == 0 && st.fsuid != geteuid();
}

int round_namespaces_apart(struct round *r, struct rproc *p, struct err *err)
{
	int other_net;

	if (round_namespaces_pid_apart(r, p, err))
		return -1;
	/* A name without a file is one of a network. */
	other_net = ns_ids_are_two(of_job(r, KIND_NET), of_process(p, KIND_NET));
	if (other_net && round_listen_for(r, p))
		return err_set(err, E_UNSUPPORTED_PROCESS, errno, "%s is in a network namespace of its own with another root "
			       "directory (chroot), and cannot be asked there; start ckpt_launch inside of it", round_who(p));
	if ((other_net || ns_ids_are_two(of_job(r, KIND_USER), of_process(p, KIND_USER))) && is_strange(p))
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s is in a user or network namespace of its own as another user than the job "
			       "(su, setpriv), and cannot be asked there; start ckpt_launch as that user", round_who(p));
	return 0;
}

/* ---- all of them ---- */

static int find(struct round *r, const struct rproc *p, const struct ns_kind *kind, int fd, uint32_t *ret, struct err *err);

/* The job's own user namespace is number 0; what belongs to none below it was not made by the job. */
static int find_owner(struct round *r, const struct rproc *p, const struct ns_kind *kind, int fd, uint32_t *ret,
		      struct err *err)
{
	struct ns_id job = of_job(r, KIND_USER);
	cleanup_close int owner = ns_owner(fd);
	struct stat st;

	if (owner < 0 || fstat(owner, &st))
		return err_set(err, E_OUTSIDE, 0, "%s is in a %s namespace (setns) that was not made by the job; start "
			       "ckpt_launch inside of it", round_who(p), kind->file);
	*ret = 0;
	if (st.st_ino == job.ino && st.st_dev == job.dev)
		return 0;
	return find(r, p, &kinds[KIND_USER], owner, ret, err);
}

static void describe(struct rspace *s, int fd)
{
	uid_t uid = 0;

	s->rec.uid_map = s->rec.gid_map = s->rec.setgroups = s->rec.hostname = s->rec.domainname = s->rec.settings = "";
	if (!s->seen)
		return;

	if (s->rec.kind == CLONE_NEWUSER) {
		ioctl(fd, NS_GET_OWNER_UID, &uid);
		s->rec.owner_uid = uid;
	}
	s->rec.uid_map = s->seen->uid_map;
	s->rec.gid_map = s->seen->gid_map;
	s->rec.setgroups = s->seen->setgroups;
	s->rec.hostname = s->seen->uts.nodename;
	s->rec.domainname = s->seen->uts.domainname;
	s->rec.lo = (uint32_t)s->seen->lo;
	s->rec.settings = s->seen->settings;
	s->rec.monotonic = s->seen->ahead[NS_MONOTONIC];
	s->rec.boottime = s->seen->ahead[NS_BOOTTIME];
}

/* *ret: the number of the namespace that @fd is of; it is added if it is a new one, behind its owner. */
static int find(struct round *r, const struct rproc *p, const struct ns_kind *kind, int fd, uint32_t *ret, struct err *err)
{
	struct rspace new = { .kind = kind, .member = p, .rec.kind = (uint32_t)kind->flag };
	struct stat st;

	if (fstat(fd, &st))
		return err_set(err, E_FAILED, errno, "looking at the %s namespace of %s", kind->file, round_who(p));
	for (size_t i = 0; i < r->nspaces; i++)
		if (r->spaces[i].id.ino == st.st_ino && r->spaces[i].id.dev == st.st_dev) {
			*ret = r->spaces[i].rec.id;
			return 0;
		}
	new.id = (struct ns_id){ st.st_dev, st.st_ino };
	if (find_owner(r, p, kind, fd, &new.rec.owner, err))
		return -1;
	if (kind != &pid_kind)
		new.seen = ns_look(r, fd, kind->flag);
	if (!new.seen && kind != &pid_kind)
		return err_set(err, E_ACCESS, 0, "%s is in a %s namespace of its own, which we may not enter", round_who(p),
			       kind->file);
	new.rec.id = *ret = (uint32_t)r->nspaces + 1;
	describe(&new, fd);
	r->spaces = xrealloc(r->spaces, (r->nspaces + 1) * sizeof(*r->spaces));
	r->spaces[r->nspaces++] = new;
	return 0;
}

int ns_find_pid(struct round *r, const struct rproc *p, int fd, uint32_t *ret, struct err *err)
{
	return find(r, p, &pid_kind, fd, ret, err);
}

static int add(struct round *r, const struct rproc *p, const struct ns_kind *kind, const char *file, uint32_t *ret, struct err *err)
{
	cleanup_close int fd = ns_open(p->look, file);

	if (fd < 0)
		return err_set(err, err_code_of_errno(errno), errno, "looking at the %s namespace of %s", kind->file,
			       round_who(p));
	return find(r, p, kind, fd, ret, err);
}

int ns_add_time(struct round *r, const struct rproc *p, const char *file, uint32_t *ret, struct err *err)
{
	return add(r, p, &time_kind, file, ret, err);
}

int ns_add_thread(struct round *r, const struct rproc *p, pid_t tid, int flag, uint32_t *ret, struct err *err)
{
	cleanup_close int fd = -1;
	size_t k = 0;

	while (kinds[k].flag != flag)
		k++;
	*ret = 0;
	if (!ns_ids_are_two(of_job(r, k), ns_id_of(tid, kinds[k].file)))
		return 0;
	fd = ns_open(tid, kinds[k].file);
	if (fd < 0)
		return err_set(err, err_code_of_errno(errno), errno, "looking at the %s namespace of %s", kinds[k].file,
			       round_who(p));
	return find(r, p, &kinds[k], fd, ret, err);
}

uint32_t round_namespace_of(const struct round *r, const struct rproc *p, int kind)
{
	for (size_t i = 0; i < p->nspaces; i++)
		if (r->spaces[p->spaces[i] - 1].rec.kind == (uint32_t)kind)
			return p->spaces[i];
	return 0;
}

uint32_t round_namespace_next(const struct round *r, int kind, uint32_t after)
{
	while (after < r->nspaces)
		if (r->spaces[after++].rec.kind == (uint32_t)kind)
			return after;
	return 0;
}

uint32_t round_namespace_owner(const struct round *r, uint32_t ns)
{
	return r->spaces[ns - 1].rec.owner;
}

const struct rproc *round_namespace_member(const struct round *r, uint32_t ns)
{
	return r->spaces[ns - 1].member;
}

int round_namespace_open(const struct round *r, uint32_t ns)
{
	return ns_open(r->spaces[ns - 1].member->look, r->spaces[ns - 1].kind->file);
}

/* One level up, by a map as /proc/PID/uid_map has it. -1: it is in none of its lines. */
static int map_up(const char *map, uint32_t *id)
{
	uint32_t inner, outer, count;
	int n;

	for (; sscanf(map, "%u %u %u%n", &inner, &outer, &count, &n) == 3; map += n)
		if (*id >= inner && *id - inner < count) {
			*id = outer + (*id - inner);
			return 0;
		}
	return -1;
}

uint32_t round_namespace_outer(const struct round *r, uint32_t ns, int group, uint32_t id)
{
	const struct rec_namespace *n = &r->spaces[ns - 1].rec;

	for (; n->owner; n = &r->spaces[n->owner - 1].rec) {
		const struct rec_namespace *owner = &r->spaces[n->owner - 1].rec;

		if (map_up(group ? owner->gid_map : owner->uid_map, &id))
			return group ? getegid() : geteuid();
	}
	return id;
}

/* Sockets are of one of these. */
static void add_net(struct round *r, uint64_t cookie, uint32_t id)
{
	r->set.nets = xrealloc(r->set.nets, (r->set.nnets + 1) * sizeof(*r->set.nets));
	r->set.nets[r->set.nnets++] = (struct res_net){ cookie, id };
}

static int check_net(struct round *r, const struct rspace *s, struct err *err)
{
	if (*s->seen->why)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s is in a network namespace of its own %s which cannot be made "
			       "again; start ckpt_launch inside of it", round_who(s->member), s->seen->why);
	if (!r->set.nnets) {
		/* Ours may well be one that we have no rights over. */
		int ours = !ns_ids_are_two(of_job(r, KIND_NET), ns_id_of(getpid(), "net"));
		cleanup_close int fd = ours ? -1 : ns_open(r->p->keeper, "net");
		cleanup_close int sock = ours ? socket(AF_UNIX, SOCK_STREAM, 0) : ns_socket(fd, AF_UNIX, SOCK_STREAM, 0);
		socklen_t len = sizeof(uint64_t);
		uint64_t cookie;

		if (sock < 0 || getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
			return err_set(err, err_code_of_errno(errno), errno, "looking at the job's network namespace");
		add_net(r, cookie, 0);
	}
	add_net(r, s->seen->cookie, s->rec.id);
	return 0;
}

/* A copy of what is shared with others would be another one. */
static int check_outside(const struct round *r, struct err *err)
{
	cleanup_free pid_t *pids = NULL;
	ssize_t n = r->nspaces ? proc_list(0, NULL, &pids) : 0;

	for (ssize_t i = 0; i < n; i++) {
		for (size_t k = 0; k < r->nspaces; k++) {
			const struct rspace *s = &r->spaces[k];
			struct ns_id has = ns_id_of(pids[i], s->kind->file);

			if (has.ino == s->id.ino && has.dev == s->id.dev && !round_is_of_job(r, pids[i]))
				return err_set(err, E_OUTSIDE, 0, "%s is in a %s namespace that process %d, which is not of the "
					       "job, is in, too; start ckpt_launch inside of it", round_who(s->member),
					       s->kind->file, (int)pids[i]);
		}
	}
	return 0;
}

int round_namespaces(struct round *r, struct err *err)
{
	for (size_t i = 0; i < r->nprocs; i++) {
		struct rproc *p = r->procs[i];

		if (round_namespaces_pid(r, p, err))
			return -1;
		/* Again, as it has run since then. */
		if (p->zombie)
			continue;
		if (round_namespaces_apart(r, p, err))
			return -1;
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			if (ns_ids_are_two(of_job(r, k), of_process(p, k)) &&
			    add(r, p, &kinds[k], kinds[k].file, &p->spaces[p->nspaces++], err))
				return -1;
		if (round_namespaces_time(r, p, err) || round_namespaces_threads(r, p, err))
			return -1;
	}
	for (size_t i = 0; i < r->nprocs; i++)
		if (!r->procs[i]->zombie && round_namespaces_children(r, r->procs[i], err))
			return -1;
	for (size_t i = 0; i < r->nspaces; i++)
		if (r->spaces[i].rec.kind == CLONE_NEWNET && check_net(r, &r->spaces[i], err))
			return -1;
	return check_outside(r, err) || round_mounts_job(r, err) || round_mounts(r, err) ? -1 : 0;
}

void round_namespaces_records(const struct round *r, struct rec_buf *manifest)
{
	for (size_t i = 0; i < r->nspaces; i++)
		rec_put_namespace(manifest, &r->spaces[i].rec);
	round_mounts_records(r, manifest);
}

void round_namespaces_members(struct rproc *p)
{
	for (size_t i = 0; i < p->nspaces; i++)
		rec_put_member(&p->recs, &(struct rec_member){ .namespace = p->spaces[i] });
	if (p->children)
		rec_put_member(&p->recs, &(struct rec_member){ .namespace = p->children });
	if (p->time_for_children)
		rec_put_member(&p->recs, &(struct rec_member){ .namespace = p->time_for_children, .for_children = 1 });
}

void round_namespaces_free(struct round *r)
{
	round_mounts_free(r);
	for (size_t i = 0; i < r->nspaces; i++)
		if (r->spaces[i].seen)
			ns_seen_free(r->spaces[i].seen);
	free(r->spaces);
	r->spaces = NULL;
	r->nspaces = 0;
}
