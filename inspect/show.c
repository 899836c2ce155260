/* SPDX-License-Identifier: Apache-2.0 */
/* show.c - the verbs that print lists: show, maps, threads, bt, files, records. */
#include "inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include "../common/io.h"
#include "../common/units.h"

static void print_json(json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(j);
}

static int wanted(const struct options *o, const struct proc *p)
{
	return !o->pid || o->pid == p->pid;
}

/* --pid must name something. */
static int check_pid(struct ckpt *c, const struct options *o, struct err *err)
{
	return o->pid && !load_proc(c, o->pid, err) ? -1 : 0;
}

static char *number(int64_t n)
{
	static char bufs[16][24];
	static unsigned int next;
	char *buf = bufs[next++ % ARRAY_SIZE(bufs)];

	snprintf(buf, sizeof(bufs[0]), "%" PRId64, n);
	return buf;
}

static char *hex(uint64_t n)
{
	static char bufs[8][24];
	static unsigned int next;
	char *buf = bufs[next++ % ARRAY_SIZE(bufs)];

	snprintf(buf, sizeof(bufs[0]), "%" PRIx64, n);
	return buf;
}

/* ---- show ---- */

static void print_line(const char *label, const char *fmt, ...) PRINTF(2, 3);
static void print_line(const char *label, const char *fmt, ...)
{
	cleanup_free char *safe = NULL;
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	safe = text_printable(text);
	printf("%-12s %s\n", label, safe);
}

static void print_job(const json_t *j)
{
	char pause[32], total[32];

	print_line("checkpoint", "%s", text_str(j, "path"));
	print_line("job", "%s/%s", text_str(j, "job"), text_str(j, "id"));
	print_line("command", "%s", text_str(j, "command"));
	print_line("created", "%s by ckpt %s", text_time(text_int(j, "created_ns")),
		   text_str(j, "version"));
	print_line("machine", "%s, Linux %s, %s", text_str(j, "host"), text_str(j, "kernel"),
		   text_str(j, "arch"));
	units_format_time(pause, sizeof(pause), text_int(j, "pause_ns"));
	units_format_time(total, sizeof(total), text_int(j, "write_ns"));
	print_line("size", "%s, compression %s; the job stood still for %s, %s in all",
		   text_size(text_int(j, "bytes")), text_str(j, "compression"), pause, total);
	print_line("holds", "%" PRId64 " processes, %" PRId64 " threads, %" PRId64 " zombies",
		   text_int(j, "processes"), text_int(j, "threads"), text_int(j, "zombies"));
}

/* The children of @ppid below each other; @depth limits what a forged table could do. */
static void add_tree(struct text_table *t, const json_t *procs, int64_t ppid, int depth,
		     char *printed)
{
	const json_t *p;
	size_t i;

	json_array_foreach(procs, i, p) {
		cleanup_free char *name = NULL;
		const char *command = text_str(p, "command");

		if (printed[i] || (ppid >= 0 && text_int(p, "ppid") != ppid) || depth > 200)
			continue;
		printed[i] = 1;
		name = xasprintf("%*s%s", depth * 2, "", *command ? command : text_str(p, "comm"));
		if (json_is_true(json_object_get(p, "zombie")))
			text_row(t, number(text_int(p, "pid")), number(text_int(p, "ppid")),
				 number(text_int(p, "pgid")), number(text_int(p, "sid")), "-", "-",
				 "-", "-", name, "<ended>", NULL);
		else
			text_row(t, number(text_int(p, "pid")), number(text_int(p, "ppid")),
				 number(text_int(p, "pgid")), number(text_int(p, "sid")),
				 number(text_int(p, "threads")), number(text_int(p, "fds")),
				 text_size(text_int(p, "mapped_bytes")),
				 text_size(text_int(p, "saved_bytes")), name, NULL);
		add_tree(t, procs, text_int(p, "pid"), depth + 1, printed);
	}
}

int verb_show(struct ckpt *c, const struct options *o, struct err *err)
{
	json_t *job = model_job(c), *procs = json_array();
	struct text_table t = { 0 };
	cleanup_free char *printed = xcalloc(c->nprocs, 1);

	(void)err;
	for (size_t i = 0; i < c->nprocs; i++)
		json_array_append_new(procs, model_process(c, &c->procs[i]));
	if (o->json) {
		json_object_set_new(job, "process_list", procs);
		json_object_set_new(job, "descriptions", model_files(c, 0));
		print_json(job);
		return 0;
	}
	print_job(job);
	putchar('\n');
	text_row(&t, "PID", "PPID", "PGID", "SID", "THREADS", "FDS", "MAPPED", "SAVED", "COMMAND",
		 NULL);
	add_tree(&t, procs, c->job->keeper_pid, 0, printed);
	add_tree(&t, procs, -1, 0, printed);
	text_print(&t, ">>>>>>>>");
	json_decref(job);
	json_decref(procs);
	return 0;
}

/* ---- maps ---- */

static void print_map(struct text_table *t, const json_t *m)
{
	cleanup_free char *range =
		xasprintf("%s-%s", hex(text_int(m, "start")), hex(text_int(m, "end")));
	cleanup_free char *name =
		xasprintf("%s%s%s%s", text_str(m, "name"), *text_str(m, "image") ? " (in " : "",
			  text_str(m, "image"), *text_str(m, "image") ? ")" : "");

	text_row(t, range, text_str(m, "prot"), hex(text_int(m, "offset")), text_str(m, "kind"),
		 text_size((uint64_t)text_int(m, "end") - (uint64_t)text_int(m, "start")),
		 text_size(text_int(m, "saved_bytes")), name, NULL);
}

/* Run @model over the wanted processes; one flat list as JSON, or a table per process. */
static int each_process(struct ckpt *c, const struct options *o, json_t *(*model)(struct proc *p),
			void (*row)(struct text_table *t, const json_t *item), const char *align,
			struct err *err)
{
	json_t *all = json_array();
	int first = 1;

	if (check_pid(c, o, err) < 0) {
		json_decref(all);
		return -1;
	}
	for (size_t i = 0; i < c->nprocs; i++) {
		struct proc *p = &c->procs[i];
		struct text_table t = { 0 };
		json_t *list, *item;
		size_t k;

		if (!p->process || !wanted(o, p))
			continue;
		list = model(p);
		if (o->json) {
			json_array_extend(all, list);
		} else {
			cleanup_free char *comm = text_printable(p->process->comm);

			printf("%sprocess %u (%s)\n", first ? "" : "\n", p->pid, comm);
			json_array_foreach(list, k, item)
				row(&t, item);
			text_print(&t, align);
			first = 0;
		}
		json_decref(list);
	}
	if (o->json)
		print_json(all);
	else
		json_decref(all);
	return 0;
}

int verb_maps(struct ckpt *c, const struct options *o, struct err *err)
{
	return each_process(c, o, model_maps, print_map, "<<><>>", err);
}

/* ---- threads and stacks ---- */

static void print_thread(struct text_table *t, const json_t *th)
{
	cleanup_free char *where =
		xasprintf("0x%s %s", hex(text_int(th, "pc")), text_str(th, "symbol"));

	text_row(t, number(text_int(th, "tid")), text_str(th, "comm"),
		 *text_str(th, "syscall_name") ? text_str(th, "syscall_name") : "-", where,
		 text_str(th, "module"), NULL);
}

int verb_threads(struct ckpt *c, const struct options *o, struct err *err)
{
	return each_process(c, o, model_threads, print_thread, ">", err);
}

static json_t *model_stacks(struct proc *p)
{
	json_t *threads = model_threads(p), *o;
	const struct rec_thread *t;
	size_t pos = 0, i;

	json_array_foreach(threads, i, o) {
		struct err err = { 0 };
		json_t *stack;

		t = rec_next_thread(&p->img.recs, &pos);
		stack = t ? model_stack(p, t, &err) : NULL;
		if (stack)
			json_object_set_new(o, "stack", stack);
		else
			json_object_set_new(o, "error", json_string(err.msg));
	}
	return threads;
}

static void print_stack(struct text_table *t, const json_t *th)
{
	cleanup_free char *head = text_printable(text_str(th, "comm"));
	const json_t *f;
	size_t i;

	printf("thread %" PRId64 " (%s)%s%s\n", text_int(th, "tid"), head,
	       *text_str(th, "syscall_name") ? " in " : "", text_str(th, "syscall_name"));
	if (*text_str(th, "error"))
		printf("  no stack: %s\n", text_str(th, "error"));
	json_array_foreach(json_object_get(th, "stack"), i, f) {
		cleanup_free char *nr = xasprintf("  #%" PRId64, text_int(f, "frame"));
		cleanup_free char *pc = xasprintf("0x%012" PRIx64, text_int(f, "pc"));
		const char *symbol = text_str(f, "symbol");

		text_row(t, nr, pc, *symbol ? symbol : "??", text_str(f, "module"), NULL);
	}
	text_print(t, "");
}

int verb_bt(struct ckpt *c, const struct options *o, struct err *err)
{
	return each_process(c, o, model_stacks, print_stack, "", err);
}

/* ---- files ---- */

static char *holder_list(const json_t *d)
{
	char *s = xstrdup("");
	const json_t *h;
	size_t i;

	json_array_foreach(json_object_get(d, "holders"), i, h) {
		char *more = xasprintf("%s%s%" PRId64 ":%" PRId64, s, i ? "," : "",
				       text_int(h, "pid"), text_int(h, "fd"));

		free(s);
		s = more;
	}
	return s;
}

static char *detail(const json_t *d)
{
	const char *kind = text_str(d, "kind");
	int queue = json_object_get(d, "unread_bytes") != NULL;

	if (strcmp(kind, "unix") == 0 || strcmp(kind, "inet") == 0)
		return xasprintf("%s %s%s%s (%" PRId64 " unread)", text_str(d, "state"),
				 text_str(d, "local"), *text_str(d, "remote") ? " to " : "",
				 text_str(d, "remote"), text_int(d, "unread_bytes"));
	if (queue)
		return xasprintf("%" PRId64 " unread", text_int(d, "unread_bytes"));
	if (strcmp(kind, "eventfd") == 0)
		return xasprintf("count %" PRId64, text_int(d, "count"));
	if (json_is_true(json_object_get(d, "deleted")))
		return xasprintf("deleted, %" PRId64 " bytes, at %" PRId64, text_int(d, "size"),
				 text_int(d, "pos"));
	if (strcmp(kind, "file") == 0)
		return xasprintf("%s%" PRId64 " bytes, at %" PRId64,
				 json_is_true(json_object_get(d, "stored")) ? "stored, " : "",
				 text_int(d, "size"), text_int(d, "pos"));
	return xstrdup("");
}

int verb_files(struct ckpt *c, const struct options *o, struct err *err)
{
	struct text_table t = { 0 };
	json_t *list, *d;
	size_t i;

	if (check_pid(c, o, err) < 0)
		return -1;
	list = model_files(c, o->pid);
	if (o->json) {
		print_json(list);
		return 0;
	}
	text_row(&t, "DESC", "KIND", "MODE", "PID:FD", "NAME", "STATE", NULL);
	json_array_foreach(list, i, d) {
		cleanup_free char *held = holder_list(d), *more = detail(d);

		text_row(&t, number(text_int(d, "desc")), text_str(d, "kind"), text_str(d, "mode"),
			 held, text_str(d, "name"), more, NULL);
	}
	text_print(&t, ">");
	json_decref(list);
	return 0;
}

/* ---- records ---- */

static json_t *image_records(const struct image *img)
{
	json_t *list = json_array();

	for (size_t i = 0; i < img->recs.count; i++)
		json_array_append_new(list, model_record(&img->recs.recs[i]));
	return list;
}

static void print_record(const json_t *r)
{
	const char *key;
	json_t *v;

	printf("%s", text_str(r, "record"));
	json_object_foreach((json_t *)r, key, v) {
		cleanup_free char *text = NULL;

		if (strcmp(key, "record") == 0)
			continue;
		text = json_dumps(v, JSON_ENCODE_ANY);
		if (text && strlen(text) > 200)
			strcpy(text + 180, "...\"");
		printf(" %s=%s", key, text);
	}
	putchar('\n');
}

int verb_records(struct ckpt *c, const struct options *o, struct err *err)
{
	json_t *all = json_object(), *list, *r;
	const char *name;
	size_t i;

	if (check_pid(c, o, err) < 0) {
		json_decref(all);
		return -1;
	}
	if (!o->pid)
		json_object_set_new(all, "checkpoint.img", image_records(&c->manifest));
	for (i = 0; i < c->nprocs; i++)
		if (c->procs[i].process && wanted(o, &c->procs[i]))
			json_object_set_new(all, c->procs[i].task->image,
					    image_records(&c->procs[i].img));
	if (o->json) {
		print_json(all);
		return 0;
	}
	json_object_foreach(all, name, list) {
		printf("%s\n", name);
		json_array_foreach(list, i, r)
			print_record(r);
	}
	json_decref(all);
	return 0;
}
