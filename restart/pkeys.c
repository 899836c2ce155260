/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pkeys.c - memory protection keys: which ones are taken, and what they protect. What a thread may do
 * with them (PKRU) is a register, and comes back with the others.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include "build.h"

#define PKEYS 16

/*
 * The key that the kernel itself has taken for memory that may only be executed; 0 none. It goes with
 * the protection: who makes such memory readable loses the key.
 */
static uint32_t kernels_key(const struct build *b)
{
	const struct rec_area *a;
	size_t pos = 0;

	while ((a = rec_next_area(&b->t->image->recs, &pos)) != NULL)
		if (a->prot == PROT_EXEC && a->pkey)
			return a->pkey;
	return 0;
}

/*
 * They are given out in ascending order. Before anything is mapped all are taken but the kernel's own, so
 * that it comes to the same one again; afterwards those that the program did not have are given back.
 */
void pkeys_take(struct build *b)
{
	uint32_t own = kernels_key(b);

	for (uint32_t key = 1; b->t->process->pkeys > 1 && key < PKEYS; key++)
		build_sys(&b->ops, 0, SYS_pkey_alloc, 0, 0);
	if (own)
		build_sys(&b->ops, 0, SYS_pkey_free, own);
}

void pkeys_protect(struct build *b, const struct rec_area *a)
{
	if (a->pkey && a->prot != PROT_EXEC)
		build_sys(&b->ops, 0, SYS_pkey_mprotect, a->start, a->end - a->start, a->prot, a->pkey);
}

void pkeys_give_back(struct build *b)
{
	for (uint32_t key = 1; b->t->process->pkeys > 1 && key < PKEYS; key++)
		if (!(b->t->process->pkeys & 1U << key))
			build_sys(&b->ops, 0, SYS_pkey_free, key);
}
