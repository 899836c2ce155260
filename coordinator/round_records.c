/* SPDX-License-Identifier: Apache-2.0 */
/* round_records.c - what is known of a process and of the job, put down as records. */
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include "../common/check_here.h"
#include "../common/io.h"
#include "../common/kernel.h"
#include "../resource/lock.h"
#include "round_internal.h"

/* sched_getattr(2) has no declaration in older libcs. */
struct sched_attr_ {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static long read_number(pid_t pid, const char *name, int base, long otherwise)
{
	char *text = proc_read(pid, name, NULL);
	long ret = text ? strtol(text, NULL, base) : otherwise;

	free(text);
	return ret;
}

/* Of a directory without a name: who else has it? */
static void identify_cwd(pid_t pid, struct rec_process *rec)
{
	struct stat st;

	if (proc_lookup(pid, "cwd", &st) == 0) {
		rec->cwd_dev = st.st_dev;
		rec->cwd_ino = st.st_ino;
	}
}

static void put_process(struct rproc *p)
{
	const struct proc_status *st = &p->status;
	const struct agent_process *a = p->process;
	char *autogroup = proc_read(p->host_pid, "autogroup", NULL);
	struct cpu_features cpu;
	size_t len = strlen(p->cwd);
	int deleted = len > 10 && !strcmp(p->cwd + len - 10, " (deleted)");
	struct rec_process rec = {
		.pid = p->pid,
		.comm = p->comm,
		.exe = p->exe,
		.cwd = p->cwd,
		.cwd_deleted = (uint32_t)deleted,
		.root = p->root,
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
		.securebits = a->securebits,
		.personality = (uint32_t)read_number(p->look, "personality", 16, 0),
		.dumpable = a->dumpable,
		.no_new_privs = a->no_new_privs,
		.child_subreaper = a->child_subreaper,
		.thp_disable = a->thp_disable,
		.tsc_mode = a->tsc_mode,
		.mce_kill = a->mce_kill,
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
	if (deleted) {
		p->cwd[len - 10] = 0;
		identify_cwd(p->look, &rec);
	}
	if (autogroup && strstr(autogroup, "nice "))
		rec.autogroup = strtol(strstr(autogroup, "nice ") + 5, NULL, 10);
	rec_put_process(&p->recs, &rec);
	free(autogroup);
}

/* Our number of the thread that sees itself as @tid. */
static pid_t host_tid(const struct rproc *p, uint32_t tid, const pid_t *tids, ssize_t n)
{
	struct proc_status st;

	if (p->status.ns_depth == 1)
		return (pid_t)tid;
	for (ssize_t i = 0; i < n; i++)
		if (!proc_status(p->host_pid, tids[i], &st) && st.nspid[st.ns_depth - 1] == tid)
			return tids[i];
	return 0;
}

static uint32_t inside_tid(const struct rproc *p, uint32_t host)
{
	struct proc_status st;

	if (p->status.ns_depth > 1 && !proc_status(p->host_pid, (pid_t)host, &st))
		return st.nspid[st.ns_depth - 1];
	return host;
}

/* gVisor has only the older calls. */
static int get_scheduling(pid_t tid, struct sched_attr_ *ret)
{
	struct sched_param param = { 0 };

	if (syscall(SYS_sched_getattr, tid, ret, sizeof(*ret), 0) == 0)
		return 0;
	if (errno != ENOSYS)
		return -1;
	ret->policy = (uint32_t)MAX(0, sched_getscheduler(tid));
	ret->nice = getpriority(PRIO_PROCESS, (id_t)tid);
	if (sched_getparam(tid, &param) == 0)
		ret->priority = (uint32_t)param.sched_priority;
	return 0;
}

static void put_threads(struct rproc *p)
{
	pid_t *tids = NULL;
	ssize_t n = proc_list(p->host_pid, "task", &tids);

	for (size_t i = 0; i < p->nthreads; i++) {
		const struct agent_thread *t = &p->threads[i];
		pid_t tid = host_tid(p, t->tid, tids, n);
		struct sched_attr_ attr = { .size = sizeof(attr) };
		unsigned char cpus[1024];
		struct proc_stat st;
		long cpu_len;
		struct rec_thread rec = {
			.tid = t->tid,
			.leader = t->leader,
			.rec = t->rec,
			.enter = t->enter,
			.stack = t->stack,
			.uc = t->uc,
			.rip = t->rip,
			.rsp = t->rsp,
			.fs_base = t->fs_base,
			.gs_base = t->gs_base,
			.tid_address = t->tid_address,
			.robust_list = t->robust_list,
			.robust_len = t->robust_len,
			.rseq = t->rseq,
			.rseq_len = t->rseq_len,
			.rseq_sig = t->rseq_sig,
			.sigmask = t->sigmask,
			.pdeathsig = t->pdeathsig,
			.timerslack = t->timerslack,
			.ioprio = t->ioprio,
			.syscall = t->syscall_nr,
			.cpuid_faults = t->cpuid_faults,
			.io_flusher = t->io_flusher,
			.speculation = {t->speculation, sizeof(t->speculation)},
			.mempolicy = t->mempolicy,
			.nodes = {t->nodes, t->mempolicy ? sizeof(t->nodes) : 0},
		};

		rec.comm = proc_stat(p->host_pid, tid, &st) ? p->comm : st.comm;
		if (get_scheduling(tid, &attr) == 0) {
			rec.policy = attr.policy;
			rec.sched_flags = (uint32_t)attr.flags;
			rec.nice = attr.nice;
			rec.priority = attr.priority;
			rec.runtime_ns = attr.runtime;
			rec.deadline_ns = attr.deadline;
			rec.period_ns = attr.period;
		}
		cpu_len = syscall(SYS_sched_getaffinity, tid, sizeof(cpus), cpus);
		if (cpu_len > 0)
			rec.affinity = (struct bytes){ cpus, (size_t)cpu_len };
		rec_put_thread(&p->recs, &rec);
	}
	free(tids);
}

static void put_signals(struct rproc *p)
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
		t.tid = t.notify & 4 ? inside_tid(p, t.tid) : 0;
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
	put_threads(p);
	put_signals(p);
	put_limits(p);
	put_fds(r, p);
	if (lock_save(&r->set, p->look, p->pid, &p->recs, err))
		return -1;
	round_sysv_records(p);
	round_notify_records(p);
	put_memory(p);
	return 0;
}

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

/* uts names as the job sees them: another namespace's cannot be read without entering it. */
static void job_names(struct round *r, struct utsname *u)
{
	char *name = proc_read(r->p->keeper, "root/proc/sys/kernel/hostname", NULL);

	uname(u);
	if (name && *name) {
		name[strcspn(name, "\n")] = 0;
		snprintf(u->nodename, sizeof(u->nodename), "%s", name);
	}
	free(name);
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

	job_names(r, &u);
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
	free(command);
}
