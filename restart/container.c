/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container.c - the namespaces in which the job lives again, and what must be mounted and set in
 * them.
 *
 * Root makes them directly. An ordinary user makes a user namespace first, in which the job's
 * user id is mapped to his own and he has the rights to make the others. With --namespaces=auto
 * what the kernel or an outer container denies is left out, as far as the job can do without.
 */
#include "ascend.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/log.h"
#include "../common/namespaces.h"
#include "filters.h"
#include "../common/pids.h"

#define NS_PER_S	1000000000LL

static const struct { int flag; const char *name; int needed; } kinds[] = {
	{ CLONE_NEWUSER, "user", 0 },
	{ CLONE_NEWPID, "pid", 1 },
	{ CLONE_NEWNS, "mount", 0 },
	{ CLONE_NEWIPC, "ipc", 0 },
	{ CLONE_NEWUTS, "uts", 0 },
	{ CLONE_NEWNET, "net", 0 },
	{ CLONE_NEWCGROUP, "cgroup", 0 },
	{ CLONE_NEWTIME, "time", 0 },
};

int container_kind(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].name, name))
			return kinds[i].flag;
	return 0;
}

void container_names(int flags, char *ret, size_t len)
{
	size_t used = 0;

	*ret = 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds) && used < len; i++)
		if (flags & kinds[i].flag)
			used += (size_t)snprintf(ret + used, len - used, "%s%s", used ? " " : "",
						 kinds[i].name);
}

/*
 * Make the flags of @want, all at once or, when they are not all needed, one after the other.
 * Return: those that were made, -1 when one that is needed could not be.
 */
static int make_each(int want, int keep_trying, struct err *err)
{
	int made = 0;

	if (!want || unshare(want) == 0)
		return want;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!(want & kinds[i].flag))
			continue;
		if (unshare(kinds[i].flag) == 0) {
			made |= kinds[i].flag;
			continue;
		}
		if (kinds[i].needed || !keep_trying)
			return err_set(err, E_KERNEL_FEATURE, 0, "making a new %s namespace: %s%s",
				       kinds[i].name, strerror(errno), geteuid() && errno == EPERM ?
				       "; only root may without a new user namespace besides (--namespaces=user,..., "
				       "or auto)" : "");
		log_info("going on without a new %s namespace: %s", kinds[i].name, strerror(errno));
	}
	return made;
}

/* The clocks of the job go on from where they were, not from this machine's start. */
static int set_clocks(const struct restart *r, struct err *err)
{
	static const clockid_t clocks[NS_CLOCKS] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME };
	int64_t offsets[NS_CLOCKS];

	/* Offsets count from the machine's clock, ours may already have one. */
	ns_clocks(0, offsets);
	for (int i = 0; i < NS_CLOCKS; i++) {
		struct timespec now;

		clock_gettime(clocks[i], &now);
		offsets[i] += (i == NS_BOOTTIME ? r->job->boottime_ns : r->job->monotonic_ns) -
			      (now.tv_sec * NS_PER_S + now.tv_nsec);
	}
	return ns_set_clocks(offsets) ? err_set(err, E_KERNEL_FEATURE, errno, "setting the clocks of a new time namespace") : 0;
}

/*
 * A time namespace of which we may not set the clocks (CAP_SYS_TIME) shows the same as the one we came
 * from: then there is none, for all that depends on it.
 */
static int enter_time(const struct restart *r, struct err *err)
{
	if (!kernel_has_time_namespaces() || unshare(CLONE_NEWTIME))
		return err_set(err, E_KERNEL_FEATURE, errno, "making a new time namespace");
	return set_clocks(r, err);
}

/* The first pid that the job needs and that is in use here; 0: it can do without a namespace. */
static uint32_t pid_in_use(const struct restart *r)
{
	for (size_t i = 0; i <= r->ntasks; i++) {
		uint32_t pid = i ? r->tasks[i - 1].pid : r->job->keeper_pid;

		if (kill((pid_t)pid, 0) == 0 || errno != ESRCH)
			return pid;
	}
	return 0;
}

static int pids_free(const struct restart *r, struct err *err)
{
	uint32_t pid = pid_in_use(r);

	if (pid && pids_new_container())
		ascend_refuse(pid, err);
	else if (pid)
		err_prefix(err, "process id %u is in use here, and for an own pid namespace", pid);
	return !pid;
}

/*
 * A new container that we were started in will do, unless we may make one as good: in many a /proc
 * for another pid namespace is denied, and the one that is there would show other numbers.
 */
static int is_container(const struct restart *r)
{
	struct err err;
	uint32_t last = 0, now;

	for (size_t i = 0; i < r->ntasks; i++)
		last = MAX(last, r->tasks[i].pid);
	return pids_new_container() && !pid_in_use(r) && !pids_restorable() &&
	       ascend_check(r->job->keeper_pid, last, &now, &err) == 0;
}

/*
 * Without a user namespace, and without the right to take another's, our id has to be the job's: it
 * would find itself somebody else.
 */
static int check_user(const struct restart *r, struct err *err)
{
	if (creds_settable() || (geteuid() == r->job->uid && getegid() == r->job->gid))
		return 0;
	return err_set(err, E_ACCESS, 0,
		       "the job ran as user %u and group %u, here we are %u and %u, may not become another and "
		       "not make a user namespace; restore as that user, or in a container with CAP_SETUID and "
		       "CAP_SETGID or a seccomp profile that allows unshare", r->job->uid, r->job->gid,
		       (unsigned)geteuid(), (unsigned)getegid());
}

static int enter_user(struct restart *r, struct err *err)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWUSER))
		return err_set(err, E_KERNEL_FEATURE, errno, "making a new user namespace");
	return ns_map_ids(r->job->uid, uid, r->job->gid, gid, err);
}

int container_enter(struct restart *r, struct err *err)
{
	int want = r->o.namespaces, made = 0, more;
	struct err why;			/* of what is left out: @err stays as it is when we succeed */

	if (r->o.namespaces_auto && !(want & CLONE_NEWNET) && !r->o.rootfs && !r->o.nbinds &&
	    is_container(r)) {
		log_info("this is a new container already: no other is made in it");
		r->namespaces = 0;
		return check_user(r, err) ? -1 : filters_check_rights(r, err);
	}

	/* Root needs no user namespace unless it lacks the rights, as in most outer containers. */
	if (r->o.namespaces_auto && geteuid() == 0) {
		made = make_each(want & ~(CLONE_NEWUSER | CLONE_NEWTIME), 1, &why);
		if (made >= 0)
			want &= CLONE_NEWTIME;
		else
			made = 0;
	}
	if (want & CLONE_NEWUSER) {
		if (enter_user(r, &why) == 0) {
			made |= CLONE_NEWUSER;
			want &= ~CLONE_NEWUSER;
		} else if (r->o.namespaces_auto && pids_free(r, &why)) {
			log_info("going on without a container of our own: %s", why.msg);
			want = 0;
		} else {
			*err = why;
			return -1;
		}
	}
	more = make_each(want & ~CLONE_NEWTIME, r->o.namespaces_auto, err);
	if (more < 0)
		return -1;
	made |= more;
	if (want & CLONE_NEWTIME) {
		if (enter_time(r, &why) == 0) {
			made |= CLONE_NEWTIME;
		} else if (!r->o.namespaces_auto) {
			*err = why;
			return -1;
		} else {
			log_info("going on without a new time namespace: %s", why.msg);
		}
	}
	/* Nobody asks for a network of its own without need. */
	if (r->o.namespaces & ~made & CLONE_NEWNET)
		return err_set(err, E_KERNEL_FEATURE, 0, "a new network namespace is not to be had here");
	r->namespaces = made;
	if (!(made & CLONE_NEWUSER) && check_user(r, err))
		return -1;
	return filters_check_rights(r, err);
}

static int enter_rootfs(const char *dir, struct err *err)
{
	static const char *const kept[] = { "dev", "proc", "sys" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		char from[16];

		snprintf(path, sizeof(path), "%s/%s", dir, kept[i]);
		snprintf(from, sizeof(from), "/%s", kept[i]);
		if (mount(from, path, NULL, MS_BIND | MS_REC, NULL))
			log_info("%s of the new root directory stays as it is: %s", kept[i],
				 strerror(errno));
	}
	if (mount(dir, dir, NULL, MS_BIND | MS_REC, NULL) || chdir(dir) ||
	    syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return err_set(err, E_FAILED, errno, "making %s the root directory", dir);
	return 0;
}

/*
 * A /dev/shm of the job's own if it has shared memory there, so that many can be restored at once;
 * unless it lives there itself, or has files there that nobody saved.
 */
int container_wants_shm(const struct restart *r)
{
	static const char dir[] = "/dev/shm/";
	const struct rec_thread_dirs *t;
	const struct rec_process *p;
	const struct rec_object *o;
	const struct rec_file *f;
	size_t pos = 0;
	int any = 0;

	while ((o = rec_next_object(&r->manifest.recs, &pos)))
		any |= o->kind == OBJECT_SHM || o->kind == OBJECT_SHM_DIR;
	pos = 0;
	while ((f = rec_next_file(&r->manifest.recs, &pos)))
		if (!f->object && !strncmp(f->path, dir, sizeof(dir) - 1))
			return 0;
	for (size_t i = 0; i < r->ntasks; i++) {
		if (r->images[i].fd < 0)
			continue;
		p = rec_first(process, &r->images[i].recs);
		if (p && (!strncmp(p->cwd, dir, sizeof(dir) - 1) ||
			  !strncmp(p->exe, dir, sizeof(dir) - 1)))
			return 0;
		pos = 0;
		while ((t = rec_next_thread_dirs(&r->images[i].recs, &pos)))
			if (!strncmp(t->cwd, dir, sizeof(dir) - 1))
				return 0;
	}
	return any && r->o.namespaces & CLONE_NEWNS;
}

static int setup_mounts(struct restart *r, struct err *err)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return err_set(err, E_KERNEL_FEATURE, errno, "making the mounts private");
	for (size_t i = 0; i < r->o.nbinds; i++) {
		cleanup_free char *to = xasprintf("%s%s", r->o.rootfs ? r->o.rootfs : "", r->o.binds[i].dst);

		if (mount(r->o.binds[i].src, to, NULL, MS_BIND | MS_REC, NULL))
			return err_set(err, err_code_of_errno(errno), errno, "--bind: putting %s at %s",
				       r->o.binds[i].src, to);
	}
	if (r->o.rootfs && enter_rootfs(r->o.rootfs, err))
		return -1;
	if (r->namespaces & CLONE_NEWPID) {
		r->own_proc = ns_own_proc() == 0;
		if (!r->own_proc)
			log_info("/proc goes on showing the processes outside: %s",
				 strerror(errno));
	}
	if (r->rset.own_shm &&
	    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")) {
		log_info("going on with the /dev/shm that is there: %s", strerror(errno));
		r->rset.own_shm = 0;
	}
	if (r->namespaces & CLONE_NEWIPC)
		ns_own_mqueue();
	return 0;
}

int container_setup(struct restart *r, struct err *err)
{
	if (r->namespaces & CLONE_NEWUTS) {
		if (sethostname(r->job->hostname, strlen(r->job->hostname)) ||
		    setdomainname(r->job->domainname, strlen(r->job->domainname)))
			log_info("the host name stays as it is here: %s", strerror(errno));
	}
	r->own_proc = !(r->namespaces & CLONE_NEWPID);
	if (r->namespaces & CLONE_NEWNET)
		ns_loopback(1);
	if (r->namespaces & CLONE_NEWNS)
		return setup_mounts(r, err);
	r->rset.own_shm = 0;
	if (r->o.rootfs || r->o.nbinds)
		return err_set(err, E_KERNEL_FEATURE, 0,
			       "--rootfs and --bind need a mount namespace");
	return 0;
}
