/* SPDX-License-Identifier: Apache-2.0 */
/* check_memory.c - what a checkpoint needs for its memory that may not be here: kinds of it, and files that it shows. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"
#include "../resource/barred.h"
#include "../resource/stored.h"
#include "build.h"
#include "mounts.h"

#define SHIFTS 64

/* A number in /sys of huge pages of 1 << @shift bytes; 0 where there are none. */
static int64_t pool(unsigned shift, const char *name)
{
	cleanup_free char *text = proc_readf(NULL, "/sys/kernel/mm/hugepages/hugepages-%llukB/%s",
					     (1ULL << shift) >> 10, name);

	return text ? strtoll(text, NULL, 10) : 0;
}

/* Those that are free and promised to nobody, and those that may be made. */
static int64_t to_be_had(unsigned shift)
{
	int64_t more = pool(shift, "nr_overcommit_hugepages") - pool(shift, "surplus_hugepages");

	return pool(shift, "free_hugepages") - pool(shift, "resv_hugepages") + MAX(more, 0);
}

/* As shared_file() of memory.c will open it: what can only be read is in the checkpoint. */
static int check_mapped(struct restart *r, const struct rec_task *t, const struct rec_area *a, struct err *err)
{
	char path[PATH_MAX];
	struct stat st;

	if (!((a->vmflags & AREA_VM_MAYWRITE) || (a->prot & PROT_WRITE)) ||
	    (r->rset.mounts && mounts_is_own(&r->rset, a->path)) ||
	    path_map(&r->rset, a->path, path, sizeof(path)))
		return 0;
	if (stat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR))
		return barred_check(path, O_RDWR, err);
	return stored_has(&r->rset, a->path) ? 0 :
		err_set(err, E_FILE_MISSING, 0, "%s, which process %u (%s) has mapped, is not there; put it back, or name "
			"another with --bind", path, t->pid, t->comm);
}

/* A file is mapped in parts, and by several processes: one complaint is enough. */
static void check_files(struct restart *r, void (*why)(void *arg, const struct err *err), void *arg)
{
	cleanup_free const char **seen = NULL;
	size_t n = 0;

	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_area *a;
		size_t pos = 0;

		r->rset.mounts = r->images[i].fd >= 0 ? namespaces_mounts(r, &r->images[i]) : 0;
		while (r->images[i].fd >= 0 && (a = rec_next_area(&r->images[i].recs, &pos))) {
			struct err err;
			size_t k = 0;

			while (k < n && strcmp(seen[k], a->path))
				k++;
			if (a->kind != AREA_KIND_SHARED || k < n || check_mapped(r, &r->tasks[i], a, &err) == 0)
				continue;
			seen = xrealloc(seen, (n + 1) * sizeof(*seen));
			seen[n++] = a->path;
			why(arg, &err);
		}
	}
	r->rset.mounts = 0;
}

void check_memory(struct restart *r, void (*why)(void *arg, const struct err *err), void *arg)
{
	int64_t wanted[SHIFTS] = { 0 };
	const struct rec_object *o;
	int sealed = 0;
	struct err err;

	for (size_t i = 0; i < r->ntasks; i++) {
		const struct rec_area *a;
		size_t pos = 0;

		while (r->images[i].fd >= 0 && (a = rec_next_area(&r->images[i].recs, &pos))) {
			if (a->hugetlb && a->hugetlb < SHIFTS && a->kind == AREA_KIND_ANON)
				wanted[a->hugetlb] += (int64_t)((a->end - a->start) >> a->hugetlb);
			sealed |= !!(a->vmflags & AREA_VM_SEALED);
		}
	}
	for (size_t pos = 0; (o = rec_next_object(&r->manifest.recs, &pos));)
		if (o->hugetlb && o->hugetlb < SHIFTS)
			wanted[o->hugetlb] += (int64_t)((o->size + (1ULL << o->hugetlb) - 1) >> o->hugetlb);
	for (unsigned shift = 0; shift < SHIFTS; shift++)
		if (wanted[shift] && wanted[shift] > to_be_had(shift)) {
			err_set(&err, E_LIMIT, 0,
				"the job has %lld huge pages of %llu kB, of which %lld are to be had here "
				"(/proc/sys/vm/nr_hugepages)",
				(long long)wanted[shift], (1ULL << shift) >> 10,
				(long long)MAX(to_be_had(shift), 0));
			why(arg, &err);
		}
	check_files(r, why, arg);
	if (sealed && syscall(SYS_mseal_, 0, 0, 0) < 0 && errno == ENOSYS) {
		err_set(&err, E_KERNEL_FEATURE, 0,
			"the job has sealed memory (mseal), which Linux before 6.10 does not know");
		why(arg, &err);
	}
}
