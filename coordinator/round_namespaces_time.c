/* SPDX-License-Identifier: Apache-2.0 */
/*
 * round_namespaces_time.c - time namespaces that the program made. Whoever makes one stays where he is: his children are
 * born in it, or he is in it himself when he has started another program (Linux 6.3). What a process has are two, that
 * may differ. Its clocks are recorded as what they are ahead of the job's: that stays, as all go on together.
 */
#include <errno.h>
#include <sched.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/namespaces.h"
#include "round_namespaces.h"

#define OWN		"time"
#define CHILDRENS	"time_for_children"

/* The job's: asked for once in a round. */
static int is_jobs(const struct round *r, struct ns_id id)
{
	static struct ns_id job;

	if (!job.ino)
		job = ns_id_of(r->p->keeper, OWN);
	return !ns_ids_are_two(job, id);
}

int64_t round_clock_delta(const struct round *r, const struct rproc *p)
{
	int64_t its[NS_CLOCKS], ours[NS_CLOCKS];
	struct ns_id own = ns_id_of(p->look, OWN);

	/* Of who has two, the file tells of the other one; such a process is refused if neither is the job's. */
	if (is_jobs(r, own) || ns_ids_are_two(own, ns_id_of(p->look, CHILDRENS)) || ns_clocks(p->look, its) ||
	    ns_clocks(getpid(), ours))
		return r->job_clock_delta;
	return its[NS_MONOTONIC] - ours[NS_MONOTONIC];
}

int ns_look_time(const struct round *r, struct ns_seen *seen)
{
	int64_t job[NS_CLOCKS];

	if (ns_clocks(r->p->keeper, job) || ns_clocks(0, seen->ahead))
		return -1;
	for (int i = 0; i < NS_CLOCKS; i++)
		seen->ahead[i] -= job[i];
	return 0;
}

static int has_process(const struct round *r, struct ns_id childrens)
{
	for (size_t i = 0; i < r->nprocs; i++)
		if (!r->procs[i]->zombie && !ns_ids_are_two(childrens, ns_id_of(r->procs[i]->look, OWN)))
			return 1;
	return 0;
}

/*
 * As long as nobody is in it, its clocks can be set. That would be over if our library made a process there, or we went
 * and looked.
 */
static int check_children(struct round *r, const struct rproc *p, struct ns_id own, struct ns_id childrens, struct err *err)
{
	if (!is_jobs(r, own))
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s is in a time namespace of its own, and has another time namespace "
			       "for its children (unshare), which cannot be made again; start ckpt_launch inside of it",
			       round_who(p));
	if (has_process(r, childrens))
		return 0;
	r->set.again = 1;
	return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has a time namespace for its children (unshare), in which there is no "
		       "process yet; try again when there is one", round_who(p));
}

int round_namespaces_time(struct round *r, struct rproc *p, struct err *err)
{
	struct ns_id own = ns_id_of(p->look, OWN), childrens = ns_id_of(p->look, CHILDRENS);
	uint32_t owner;

	if (!is_jobs(r, own) && ns_add_time(r, p, OWN, &p->spaces[p->nspaces++], err))
		return -1;
	if (!ns_ids_are_two(own, childrens))
		return 0;
	if (check_children(r, p, own, childrens, err) || ns_add_time(r, p, CHILDRENS, &p->time_for_children, err))
		return -1;
	/* It can make it again where it is, or before it goes there. */
	owner = round_namespace_owner(r, p->time_for_children);
	if (owner && owner != round_namespace_of(r, p, CLONE_NEWUSER))
		return err_set(err, E_UNSUPPORTED_PROCESS, 0, "%s has a time namespace for its children (unshare) that belongs to a "
			       "user namespace which it is in no more, and cannot be made again; start ckpt_launch inside of it",
			       round_who(p));
	return 0;
}
