/* SPDX-License-Identifier: Apache-2.0 */
/* check_memory.c - what kinds of memory a checkpoint needs that this system may not have. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"
#include "build.h"

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

void check_memory(const struct restart *r, void (*why)(void *arg, const struct err *err), void *arg)
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
	if (sealed && syscall(SYS_mseal_, 0, 0, 0) < 0 && errno == ENOSYS) {
		err_set(&err, E_KERNEL_FEATURE, 0,
			"the job has sealed memory (mseal), which Linux before 6.10 does not know");
		why(arg, &err);
	}
}
