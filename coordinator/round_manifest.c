/* SPDX-License-Identifier: Apache-2.0 */
/* round_manifest.c - what is known of the job as a whole, as records: where, when, how it is to go on; its processes. */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include "../common/check_here.h"
#include "../common/io.h"
#include "../common/kernel.h"
#include "round_internal.h"

/* The build id of our own [vdso], which is the kernel's: the same for every process. */
static struct bytes vdso_id(unsigned char *buf, size_t size)
{
	struct proc_maps maps;
	struct bytes ret = { buf, 0 };

	if (proc_maps(getpid(), 0, &maps))
		return ret;
	for (size_t i = 0; i < maps.count; i++) {
		const unsigned char *base = (const unsigned char *)maps.maps[i].start;
		const Elf64_Ehdr *eh = (const void *)base;
		const Elf64_Phdr *ph;

		if (strcmp(maps.maps[i].path, "[vdso]"))
			continue;
		ph = (const void *)(base + eh->e_phoff);
		for (int k = 0; k < eh->e_phnum; k++) {
			const Elf64_Nhdr *n = (const void *)(base + ph[k].p_offset);

			if (ph[k].p_type != PT_NOTE)
				continue;
			for (const char *end = (const char *)n + ph[k].p_filesz;
			     (const char *)n < end;
			     n = (const void *)((const char *)(n + 1) + ((n->n_namesz + 3) & ~3u) +
						((n->n_descsz + 3) & ~3u)))
				if (n->n_type == NT_GNU_BUILD_ID && n->n_descsz <= size) {
					memcpy(buf,
					       (const char *)(n + 1) + ((n->n_namesz + 3) & ~3u),
					       n->n_descsz);
					ret.len = n->n_descsz;
				}
		}
	}
	proc_maps_free(&maps);
	return ret;
}

static int64_t clock_now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* We are where the job was started; where its keeper is was made for it, by ckpt_launch or ckpt_restart. */
static uint32_t has_own_net(pid_t keeper)
{
	cleanup_free char *ours = proc_link(getpid(), "ns/net"), *theirs = proc_link(keeper, "ns/net");

	return ours && theirs && strcmp(ours, theirs) && kernel_tells_namespaces();
}

void round_manifest_job(struct round *r)
{
	struct cpu_features cpu;
	struct utsname u;
	unsigned char id[64];
	size_t len = 0;
	struct rproc *root = NULL;
	char *command = NULL;
	struct rec_job job = { .name = r->p->job, .id = r->p->id, .version = PACKAGE_VERSION };

	uname(&u);
	round_names_of(r->p->keeper, &u);
	cpu_features_here(&cpu, &job.xfeatures, &job.xsave_size);
	for (size_t i = 0; i < r->nprocs && !root; i++)
		if (r->procs[i]->host_ppid == r->p->keeper && !r->procs[i]->zombie)
			root = r->procs[i];
	if (root)
		command = proc_read(root->look, "cmdline", &len);
	for (size_t i = 0; command && i + 1 < len; i++)
		if (!command[i])
			command[i] = ' ';
	job.host = u.nodename;
	job.kernel = u.release;
	job.arch = u.machine;
	job.created_ns = (uint64_t)clock_now(CLOCK_REALTIME);
	job.monotonic_ns = clock_now(CLOCK_MONOTONIC) + r->job_clock_delta;
	job.boottime_ns = clock_now(CLOCK_BOOTTIME) + r->job_boot_delta;
	job.page_size = PAGE_SIZE;
	job.cpuid = (struct bytes){ &cpu, sizeof(cpu) };
	job.keeper_pid = r->keeper_pid;
	job.root_pid = root ? root->pid : 0;
	job.uid = root ? root->status.ruid : 0;
	job.gid = root ? root->status.rgid : 0;
	job.hostname = u.nodename;
	job.domainname = u.domainname;
	job.command = command ? command : "";
	job.pause_ns =
		(uint64_t)((r->resumed_ns ? r->resumed_ns : io_monotonic_ns()) - r->stopped_ns);
	job.write_ns = (uint64_t)(io_monotonic_ns() - r->begun_ns);
	job.interval_s = (uint64_t)(r->p->interval_ns / 1000000000);
	job.keep = (uint64_t)r->p->keep;
	job.compression = r->p->compression ? r->p->compression : "none";
	job.directory = r->p->directory ? r->p->directory : "";
	job.vdso_id = vdso_id(id, sizeof(id));
	job.periodic = (uint32_t)r->p->periodic;
	job.tcp = tcp_policy_name(r->p->tcp);
	job.own_net = has_own_net(r->p->keeper);
	job.save_files = save_files_name(r->p->save_files_job);
	job.checkpoint_on = r->p->checkpoint_on;
	rec_put_job(&r->manifest, &job);
	for (size_t i = 0; i < r->ntasks; i++)
		rec_put_task(&r->manifest, &r->tasks[i]);
	round_namespaces_records(r, &r->manifest);
	round_filters_records(r);
	free(command);
}
