/* SPDX-License-Identifier: Apache-2.0 */
/* round_records.c - what is known of a process, put down as records. */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include "../common/check_here.h"
#include "../common/io.h"
#include "../common/kernel.h"
#include "../resource/lock.h"
#include "round_internal.h"

static long read_number(pid_t pid, const char *name, int base, long otherwise)
{
	char *text = proc_read(pid, name, NULL);
	long ret = text ? strtol(text, NULL, base) : otherwise;

	free(text);
	return ret;
}

static void put_process(struct rproc *p)
{
	const struct proc_status *st = &p->status;
	const struct agent_process *a = p->process;
	const struct agent_thread *main = round_threads_main(p);
	char *autogroup = proc_read(p->host_pid, "autogroup", NULL);
	struct cpu_features cpu;
	struct rec_process rec = {
		.pid = p->pid,
		.comm = p->comm,
		.exe = p->exe,
		.cwd = p->dirs.cwd,
		.cwd_deleted = (uint32_t)p->dirs.cwd_deleted,
		.cwd_dev = p->dirs.cwd_dev,
		.cwd_ino = p->dirs.cwd_ino,
		.cwd_mode = p->dirs.cwd_mode,
		.root = p->dirs.root,
		.umask = st->tells_umask ? st->umask : a->umask,
		.ruid = st->ruid,
		.euid = st->euid,
		.suid = st->suid,
		.fsuid = st->fsuid,
		.rgid = st->rgid,
		.egid = st->egid,
		.sgid = st->sgid,
		.fsgid = st->fsgid,
		.groups = {st->groups, (size_t)st->ngroups * sizeof(uint32_t)},
		.cap_inh = st->cap_inh,
		.cap_prm = st->cap_prm,
		.cap_eff = st->cap_eff,
		.cap_bnd = st->cap_bnd,
		.cap_amb = st->cap_amb,
		.securebits = main ? main->securebits : 0,
		.personality = (uint32_t)read_number(p->look, "personality", 16, 0),
		.dumpable = a->dumpable,
		.no_new_privs = main ? main->no_new_privs : 0,
		.child_subreaper = a->child_subreaper,
		.thp_disable = a->thp_disable,
		.tsc_mode = main ? main->tsc_mode : 0,
		.mce_kill = main ? main->mce_kill : 0,
		.cpu_ms = p->stat.cpu_ms,
		.oom_score_adj = read_number(p->host_pid, "oom_score_adj", 10, 0),
		.coredump_filter = (uint32_t)read_number(p->look, "coredump_filter", 16, 0x33),
		.xcomp_perm = a->xcomp_perm,
		.self = p->hello.self,
		.agent_version = AGENT_VERSION,
		.mdwe = a->mdwe,
		.memory_merge = a->memory_merge,
		.pkeys = a->pkeys,
		.main_ended = (uint32_t)p->main_ended,
		.main_status = (uint32_t)p->stat.exit_code,
	};

	/* A processor without protection keys has none to give away, as if all were taken. */
	cpu_features_here(&cpu, NULL, NULL);
	if (!(cpu.leaf7[2] & bit_OSPKE))
		rec.pkeys = 0;
	if (autogroup && strstr(autogroup, "nice "))
		rec.autogroup = strtol(strstr(autogroup, "nice ") + 5, NULL, 10);
	rec_put_process(&p->recs, &rec);
	free(autogroup);
}

static uint32_t inside_tid(const struct round *r, const struct rproc *p, uint32_t host)
{
	uint32_t tid = p->status.ns_depth > 1 ? round_tid(r, p, (pid_t)host) : 0;

	return tid ? tid : host;
}

static void put_signals(const struct round *r, struct rproc *p)
{
	for (uint32_t i = 0; i < 64; i++) {
		struct rec_sigaction a = {
			.signal = i + 1,
			.handler = p->process->sigaction[i].handler,
			.flags = p->process->sigaction[i].flags,
			.restorer = p->process->sigaction[i].restorer,
			.mask = p->process->sigaction[i].mask,
		};

		if (a.handler || a.flags)
			rec_put_sigaction(&p->recs, &a);
	}
	for (size_t i = 0; i < p->npending; i++) {
		struct rec_pending s = {
			.tid = p->pending[i].tid, .siginfo = {p->pending[i].siginfo, 128}};

		rec_put_pending(&p->recs, &s);
	}
	for (uint32_t i = 0; i < 3; i++) {
		struct rec_itimer t = {
			.which = i, .value_us = (uint64_t)p->process->itimer[i].value_us,
			.interval_us = (uint64_t)p->process->itimer[i].interval_us,
		};

		/* It has gone off, and is set again when the program takes the SIGALRM that is pending. */
		if (i == ITIMER_REAL && !t.value_us)
			t.value_us = t.interval_us;
		if (t.value_us || t.interval_us)
			rec_put_itimer(&p->recs, &t);
	}
	for (size_t i = 0; i < p->ntimers; i++) {
		struct rec_timer t = p->timer_recs[i];

		t.value_ns = (uint64_t)p->timers[i].value_ns;
		t.interval_ns = (uint64_t)p->timers[i].interval_ns;
		t.overrun = (uint32_t)p->timers[i].overrun;
		t.tid = !(t.notify & 4) ? 0 : p->hides_timers ? t.tid : inside_tid(r, p, t.tid);
		rec_put_timer(&p->recs, &t);
	}
}

static void put_limits(struct rproc *p)
{
	for (uint32_t i = 0; i < MIN(RLIM_NLIMITS, AGENT_RLIMITS); i++) {
		struct rec_rlimit rec = {
			.resource = i,
			.soft = p->process->rlimit[i].soft,
			.hard = p->process->rlimit[i].hard,
		};

		/* What is made up must not become a limit where there is such a one. */
		if (kernel_has_rlimit(i))
			rec_put_rlimit(&p->recs, &rec);
	}
}

static void put_fds(struct round *r, struct rproc *p)
{
	for (size_t i = 0; i < r->set.ndescs; i++)
		for (size_t k = 0; k < r->set.descs[i].nholders; k++) {
			const struct holder *h = &r->set.descs[i].holders[k];
			struct rec_fd rec = {
				.fd = (uint32_t)h->fd, .desc = r->set.descs[i].id, .cloexec = h->cloexec,
			};

			if (h->pid == p->pid && h->fd >= 0)
				rec_put_fd(&p->recs, &rec);
		}
}

static void put_memory(struct rproc *p)
{
	const struct proc_stat *s = &p->stat;
	struct rec_mm mm = {
		.start_code = s->start_code,
		.end_code = s->end_code,
		.start_data = s->start_data,
		.end_data = s->end_data,
		.start_brk = s->start_brk,
		.brk = p->process->brk,
		.start_stack = s->start_stack,
		.arg_start = s->arg_start,
		.arg_end = s->arg_end,
		.env_start = s->env_start,
		.env_end = s->env_end,
		.auxv = {p->auxv, p->auxv_len},
		.vdso = p->vdso,
		.vdso_len = p->vdso_len,
		.vvar = p->vvar,
		.vvar_len = p->vvar_len,
		.lock_new = p->lock_new,
	};

	rec_put_mm(&p->recs, &mm);
	for (size_t i = 0; i < p->nareas; i++) {
		if (p->areas[i].image[0])
			p->areas[i].rec.image = p->areas[i].image;
		rec_put_area(&p->recs, &p->areas[i].rec);
	}
}

int round_records(struct round *r, struct rproc *p, struct err *err)
{
	put_process(p);
	round_namespaces_members(p);
	round_cgroups_records(r, p);
	round_threads_records(r, p);
	put_signals(r, p);
	put_limits(p);
	put_fds(r, p);
	if (lock_save(&r->set, p->look, p->pid, &p->recs, err))
		return -1;
	round_sysv_records(p);
	round_notify_records(p);
	put_memory(p);
	round_numa_records(p);
	return 0;
}
