/* SPDX-License-Identifier: Apache-2.0 */
#include "ready.h"

#include <sys/mman.h>
#include "../common/agent.h"
#include "../common/compiler.h"

/* The page that the library maps when its handler is there (preload/init.c): nobody else wants one like that. */
static int has_marker(pid_t pid)
{
	struct proc_maps maps;
	int found = 0;

	if (proc_maps(pid, 0, &maps))
		return 0;
	for (size_t i = 0; i < maps.count && !found; i++) {
		const struct proc_map *m = &maps.maps[i];

		found = m->prot == PROT_WRITE && !m->shared && !*m->path && m->end - m->start == PAGE_SIZE;
	}
	proc_maps_free(&maps);
	return found;
}

int ready_now(pid_t pid, const struct proc_status *st)
{
	if (st->tells_signals)
		return (st->sig_cgt >> (AGENT_SIGNAL - 1)) & 1;
	return has_marker(pid);
}
