/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.c - JSON of jobs, processes, threads, mappings. The keys are public: see ckpt_inspect(1).
 */
#include "inspect.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "../common/io.h"
#include "put.h"

#define COMMAND_MAX	4096

static size_t count_threads(const struct proc *p)
{
	size_t pos = 0, n = 0;

	while (p->process && rec_next_thread(&p->img.recs, &pos))
		n++;
	return n;
}

static size_t count_fds(const struct proc *p)
{
	size_t pos = 0, n = 0;

	while (p->process && rec_next_fd(&p->img.recs, &pos))
		n++;
	return n;
}

/* The command line is where the program has it; for people, so with spaces between the words. */
static void put_command(json_t *o, const struct proc *p)
{
	char buf[COMMAND_MAX + 1];
	size_t n;

	buf[0] = 0;
	if (p->mm && p->mm->arg_end > p->mm->arg_start) {
		n = MIN(p->mm->arg_end - p->mm->arg_start, COMMAND_MAX);
		if (memory_read(p, p->mm->arg_start, buf, n, NULL) < 0)
			n = 0;
		while (n && !buf[n - 1])
			n--;
		for (size_t i = 0; i < n; i++)
			if (!buf[i])
				buf[i] = ' ';
		buf[n] = 0;
	}
	put_str(o, "command", buf);
}

/* Those that the program made, by their kind; the numbers are those of their records. */
static void put_namespaces(json_t *o, const struct ckpt *c, const struct proc *p)
{
	static const struct { int flag; const char *name; } kinds[] = {
		{ CLONE_NEWUSER, "user" }, { CLONE_NEWUTS, "uts" }, { CLONE_NEWIPC, "ipc" },
		{ CLONE_NEWCGROUP, "cgroup" }, { CLONE_NEWNET, "net" }, { CLONE_NEWNS, "mnt" },
		{ CLONE_NEWPID, "pid_for_children" }, { CLONE_NEWTIME, "time" },
	};
	json_t *all = json_object();
	const struct rec_member *m;
	size_t pos = 0;

	while ((m = rec_next_member(&p->img.recs, &pos))) {
		const struct rec_namespace *n;
		size_t at = 0;

		while ((n = rec_next_namespace(&c->manifest.recs, &at)))
			for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
				if (n->id == m->namespace && n->kind == (uint32_t)kinds[i].flag)
					put_int(all, m->for_children ? "time_for_children" : kinds[i].name, n->id);
	}
	json_object_set_new(o, "namespaces", all);
}

static void put_numbers(json_t *all, const char *name, struct bytes numbers)
{
	json_t *list = json_array();

	for (size_t i = 0; i < numbers.len / sizeof(uint32_t); i++)
		json_array_append_new(list, json_integer(((const uint32_t *)numbers.data)[i]));
	json_object_set_new(all, name, list);
}

/* The pid namespaces that the program made and this process is in, outermost first, with its numbers there. */
static void put_pid_namespaces(json_t *o, const struct rec_task *t)
{
	json_t *all;

	if (!t->spaces.len)
		return;
	all = json_object();
	put_numbers(all, "namespaces", t->spaces);
	put_numbers(all, "pids", t->pids);
	put_numbers(all, "pgids", t->pgids);
	put_numbers(all, "sids", t->sids);
	json_object_set_new(o, "pid_namespaces", all);
}

json_t *model_process(struct ckpt *c, struct proc *p)
{
	json_t *o = json_object();
	uint64_t mapped = 0, saved = 0;

	put_int(o, "pid", p->pid);
	put_int(o, "ppid", p->task->ppid);
	put_int(o, "pgid", p->task->pgid);
	put_int(o, "sid", p->task->sid);
	put_pid_namespaces(o, p->task);
	json_object_set_new(o, "zombie", json_boolean(p->task->zombie));
	put_str(o, "comm", p->task->comm);
	if (p->task->zombie)
		put_int(o, "status", p->task->status);
	json_object_set_new(o, "root", json_boolean(p->pid == c->job->root_pid));
	if (!p->process)
		return o;
	put_str(o, "exe", p->process->exe);
	put_command(o, p);
	put_str(o, "cwd", p->process->cwd);
	put_int(o, "uid", p->process->ruid);
	put_int(o, "gid", p->process->rgid);
	put_namespaces(o, c, p);
	put_int(o, "threads", count_threads(p));
	put_int(o, "fds", count_fds(p));
	for (size_t i = 0; i < p->nareas; i++)
		mapped += p->areas[i].rec->end - p->areas[i].rec->start;
	for (size_t i = 0; i < p->own.count; i++)
		saved += p->own.extents[i].len;
	put_int(o, "mapped_bytes", mapped);
	put_int(o, "saved_bytes", saved);
	put_str(o, "image", p->task->image);
	put_int(o, "image_bytes", p->img.size);
	return o;
}

static int64_t image_bytes(const struct ckpt *c)
{
	int64_t sum = c->manifest.size;

	for (size_t i = 0; i < c->nprocs; i++)
		sum += c->procs[i].img.size;
	return sum;
}

json_t *model_job(struct ckpt *c)
{
	const struct rec_job *j = c->job;
	json_t *o = json_object();
	size_t threads = 0, zombies = 0;

	for (size_t i = 0; i < c->nprocs; i++) {
		threads += count_threads(&c->procs[i]);
		zombies += c->procs[i].task->zombie != 0;
	}
	put_str(o, "path", c->path);
	put_str(o, "job", j->name);
	put_str(o, "id", j->id);
	put_str(o, "command", j->command);
	put_int(o, "created_ns", j->created_ns);
	put_str(o, "version", j->version);
	put_str(o, "host", j->host);
	put_str(o, "kernel", j->kernel);
	put_str(o, "arch", j->arch);
	put_str(o, "hostname", j->hostname);
	put_int(o, "keeper_pid", j->keeper_pid);
	put_int(o, "root_pid", j->root_pid);
	put_int(o, "uid", j->uid);
	put_int(o, "gid", j->gid);
	put_int(o, "pause_ns", j->pause_ns);
	put_int(o, "write_ns", j->write_ns);
	put_int(o, "interval_s", j->interval_s);
	put_str(o, "compression", *j->compression ? j->compression : "none");
	put_int(o, "bytes", image_bytes(c));
	put_int(o, "processes", c->nprocs - zombies);
	put_int(o, "zombies", zombies);
	put_int(o, "threads", threads);
	return o;
}

/* ---- threads ---- */

/* Calls that threads wait in; others are shown by number. */
static const struct { int nr; const char *name; } calls[] = {
#define CALL(name) { SYS_##name, #name }
	CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64), CALL(pwrite64),
	CALL(poll), CALL(ppoll), CALL(select), CALL(pselect6), CALL(epoll_wait),
	CALL(epoll_pwait), CALL(futex), CALL(nanosleep), CALL(clock_nanosleep), CALL(pause),
	CALL(rt_sigsuspend), CALL(rt_sigtimedwait), CALL(wait4), CALL(waitid), CALL(accept),
	CALL(accept4), CALL(connect), CALL(recvfrom), CALL(recvmsg), CALL(recvmmsg), CALL(sendto),
	CALL(sendmsg), CALL(sendmmsg), CALL(flock), CALL(fcntl), CALL(open), CALL(openat),
	CALL(ioctl), CALL(msgrcv), CALL(msgsnd), CALL(semop), CALL(semtimedop),
	CALL(mq_timedreceive), CALL(mq_timedsend), CALL(io_getevents), CALL(io_uring_enter),
	CALL(restart_syscall), CALL(splice), CALL(sendfile), CALL(fsync), CALL(getrandom),
	CALL(sched_yield), CALL(epoll_pwait2), CALL(futex_waitv), CALL(vfork), CALL(ptrace),
#undef CALL
};

static void put_syscall(json_t *o, int64_t nr)
{
	char buf[24];

	put_int(o, "syscall", nr);
	snprintf(buf, sizeof(buf), nr < 0 ? "" : "%" PRId64, nr);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].nr == nr)
			snprintf(buf, sizeof(buf), "%s", calls[i].name);
	put_str(o, "syscall_name", buf);
}

static void put_place(json_t *o, struct proc *p, uint64_t pc, uint64_t lookup)
{
	const char *path;
	char name[512];

	put_int(o, "pc", pc);
	put_str(o, "symbol", symbols_name(p, lookup, name, sizeof(name), &path));
	put_str(o, "module", path);
}

json_t *model_threads(struct proc *p)
{
	json_t *list = json_array();
	const struct rec_thread *t;
	size_t pos = 0;

	while (p->process && (t = rec_next_thread(&p->img.recs, &pos))) {
		json_t *o = json_object();

		put_int(o, "pid", p->pid);
		put_int(o, "tid", t->tid);
		put_str(o, "comm", t->comm);
		put_syscall(o, t->syscall);
		put_place(o, p, t->rip, t->rip);
		put_int(o, "sp", t->rsp);
		put_hex(o, "sigmask", t->sigmask);
		put_int(o, "policy", t->policy);
		put_int(o, "nice", t->nice);
		put_int(o, "priority", t->priority);
		/* Threads with the same ones have the same numbers. */
		put_numbers(o, "filters", t->filters);
		json_array_append_new(list, o);
	}
	return list;
}

struct stack_list { struct proc *p; json_t *list; };

/* A return address may be the first byte of the next function: look before it. */
static void add_frame(void *arg, int nr, uint64_t pc, uint64_t sp)
{
	struct stack_list *s = arg;
	json_t *o = json_object();

	put_int(o, "frame", nr);
	put_place(o, s->p, pc, nr ? pc - 1 : pc);
	put_int(o, "sp", sp);
	json_array_append_new(s->list, o);
}

json_t *model_stack(struct proc *p, const struct rec_thread *t, struct err *err)
{
	struct stack_list s = { p, json_array() };

	if (unwind_thread(p, t, add_frame, &s, err) < 0) {
		json_decref(s.list);
		return NULL;
	}
	return s.list;
}

/* ---- mappings ---- */

static const char *area_kind(uint32_t kind)
{
	switch (kind) {
	case AREA_KIND_ANON:
		return "anonymous";
	case AREA_KIND_FILE:
		return "file";
	case AREA_KIND_OBJECT:
		return "object";
	case AREA_KIND_SHARED:
		return "shared-file";
	}
	return "unknown";
}

static const char *area_name(const struct rec_area *a)
{
	if (*a->path)
		return a->path;
	if (a->vmflags & AREA_VM_HEAP)
		return "[heap]";
	if (a->vmflags & AREA_VM_STACK)
		return "[stack]";
	return a->name;
}

json_t *model_maps(struct proc *p)
{
	json_t *list = json_array();

	for (size_t i = 0; i < p->nareas; i++) {
		const struct rec_area *a = p->areas[i].rec;
		int shared = a->kind == AREA_KIND_OBJECT || a->kind == AREA_KIND_SHARED;
		json_t *o = json_object();
		char prot[5] = {
			a->prot & PROT_READ ? 'r' : '-', a->prot & PROT_WRITE ? 'w' : '-',
			a->prot & PROT_EXEC ? 'x' : '-', shared ? 's' : 'p', 0,
		};

		put_int(o, "pid", p->pid);
		put_int(o, "start", a->start);
		put_int(o, "end", a->end);
		put_str(o, "prot", prot);
		put_str(o, "kind", area_kind(a->kind));
		put_int(o, "offset", a->offset);
		put_str(o, "name", area_name(a));
		put_int(o, "object", a->object);
		put_int(o, "saved_bytes", memory_saved(&p->areas[i]));
		put_str(o, "image", a->image);
		json_array_append_new(list, o);
	}
	return list;
}

/* ---- any record ---- */

static json_t *hex_bytes(struct bytes b)
{
	cleanup_free char *s = xmalloc(b.len * 2 + 1);
	const unsigned char *p = b.data;

	for (size_t i = 0; i < b.len; i++)
		sprintf(s + 2 * i, "%02x", p[i]);
	s[b.len * 2] = 0;
	return json_string(s);
}

json_t *model_record(const struct rec *r)
{
	const struct rec_desc_entry *e = rec_entry(r->tag);
	json_t *o = json_object();

	put_str(o, "record", e->name);
	for (size_t i = 0; i < e->nfields; i++) {
		const void *p = (const char *)r->body + e->fields[i].offset;
		const char *key = e->fields[i].name;
		uint64_t v;

		switch (e->fields[i].type) {
		case REC_u32:
			put_int(o, key, *(const uint32_t *)p);
			break;
		case REC_u64:
			v = *(const uint64_t *)p;
			if (v > INT64_MAX)
				put_hex(o, key, v);
			else
				put_int(o, key, v);
			break;
		case REC_i64:
			put_int(o, key, *(const int64_t *)p);
			break;
		case REC_str:
			put_str(o, key, *(const char *const *)p);
			break;
		case REC_bytes:
			json_object_set_new(o, key, hex_bytes(*(const struct bytes *)p));
			break;
		}
	}
	return o;
}
