/* SPDX-License-Identifier: Apache-2.0 */
/* diff.c - the diff verb: what changed between two checkpoints, down to the pages. */
#include "inspect.h"

#include <inttypes.h>
#include <stdio.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/progress.h"

/* How far it is; how much there is to compare is known only then. */
struct looked { struct progress bar; uint64_t bytes; };

/* Of @list, the items that have no equal (by all of @keys) in @other. */
static json_t *missing(const json_t *list, const json_t *other, const char *const *keys)
{
	json_t *ret = json_array(), *x, *y;
	size_t i, k;

	json_array_foreach(list, i, x) {
		int found = 0;

		json_array_foreach(other, k, y) {
			found = 1;
			for (const char *const *key = keys; *key && found; key++)
				found = json_equal(json_object_get(x, *key),
						   json_object_get(y, *key));
			if (found)
				break;
		}
		if (!found)
			json_array_append(ret, x);
	}
	return ret;
}

/* {pid, fd, name} of all descriptors of a process. */
static json_t *descriptors(struct ckpt *c, uint32_t pid)
{
	json_t *files = model_files(c, pid), *ret = json_array(), *d, *h;
	size_t i, k;

	json_array_foreach(files, i, d)
		json_array_foreach(json_object_get(d, "holders"), k, h)
			json_array_append_new(ret, json_pack("{s:O, s:O, s:O}", "fd",
							     json_object_get(h, "fd"), "kind",
							     json_object_get(d, "kind"), "name",
							     json_object_get(d, "name")));
	json_decref(files);
	return ret;
}

/*
 * The next page at or behind @addr that either checkpoint holds; 0 none. Skips what is equal by
 * hash.
 */
static int next_pages(const struct area *a, const struct area *b, uint64_t *addr, uint64_t end,
		      uint64_t *ret_start, uint64_t *ret_end)
{
	for (;;) {
		uint64_t at_a = *addr, at_b = *addr;
		struct extent ra = { .addr = UINT64_MAX }, rb = { .addr = UINT64_MAX };
		int have = memory_next(a, &at_a, end, &ra) | memory_next(b, &at_b, end, &rb);

		if (!have)
			return 0;
		*ret_start = PAGE_DOWN(MIN(ra.addr, rb.addr));
		if (ra.addr == rb.addr && ra.len == rb.len && ra.hash && ra.hash == rb.hash) {
			*addr = ra.addr + ra.len;
			continue;
		}
		*ret_end = *ret_start + PAGE_SIZE;
		*addr = *ret_end;
		return 1;
	}
}

/* Bytes in pages that differ. Both areas cover [start, end). */
static int changed_bytes(struct proc *pa, struct proc *pb, const struct area *a,
			 const struct area *b, uint64_t start, uint64_t end, struct looked *looked,
			 uint64_t *ret, struct err *err)
{
	unsigned char x[PAGE_SIZE], y[PAGE_SIZE];
	uint64_t from, to;

	while (next_pages(a, b, &start, end, &from, &to)) {
		if (memory_read(pa, from, x, to - from, err) < 0 ||
		    memory_read(pb, from, y, to - from, err) < 0)
			return -1;
		if (memcmp(x, y, to - from) != 0)
			*ret += to - from;
		looked->bytes += to - from;
		progress_show(&looked->bar, "comparing", looked->bytes, 0, 0);
	}
	return 0;
}

static int compare_memory(struct proc *pa, struct proc *pb, struct looked *looked, json_t *o, struct err *err)
{
	json_t *areas = json_array();
	uint64_t sum = 0;

	for (size_t i = 0, k = 0; i < pa->nareas && k < pb->nareas;) {
		const struct area *a = &pa->areas[i], *b = &pb->areas[k];
		uint64_t start = MAX(a->rec->start, b->rec->start),
			 end = MIN(a->rec->end, b->rec->end), n = 0;

		if (start < end && changed_bytes(pa, pb, a, b, start, end, looked, &n, err) < 0) {
			json_decref(areas);
			return -1;
		}
		if (n)
			json_array_append_new(
				areas, json_pack("{s:I, s:I, s:s, s:I}", "start", (json_int_t)start,
						 "end", (json_int_t)end, "name", a->rec->path,
						 "changed_bytes", (json_int_t)n));
		sum += n;
		if (a->rec->end <= b->rec->end)
			i++;
		else
			k++;
	}
	json_object_set_new(o, "changed_bytes", json_integer(sum));
	json_object_set_new(o, "changed_areas", areas);
	return 0;
}

/* Put what is only in a and only in b under "KEY_removed" and "KEY_added"; frees the lists. */
static int put_lists(json_t *o, const char *what, json_t *a, json_t *b, const char *const *keys)
{
	cleanup_free char *removed = xasprintf("%s_removed", what),
			  *added = xasprintf("%s_added", what);
	json_t *only_a = missing(a, b, keys), *only_b = missing(b, a, keys);
	int differ = json_array_size(only_a) || json_array_size(only_b);

	json_object_set_new(o, removed, only_a);
	json_object_set_new(o, added, only_b);
	json_decref(a);
	json_decref(b);
	return differ;
}

static int compare_process(struct ckpt *a, struct ckpt *b, struct proc *pa, struct proc *pb,
			   struct looked *looked, json_t *list, struct err *err)
{
	static const char *const thread_keys[] = { "tid", "comm", NULL };
	static const char *const fd_keys[] = { "fd", "kind", "name", NULL };
	static const char *const map_keys[] = { "start", "end", "prot", "kind", "name", NULL };
	json_t *o = json_object();
	int differ = 0;

	json_object_set_new(o, "pid", json_integer(pa->pid));
	json_object_set_new(o, "comm", json_string(pb->task->comm));
	differ |= put_lists(o, "threads", model_threads(pa), model_threads(pb), thread_keys);
	differ |= put_lists(o, "fds", descriptors(a, pa->pid), descriptors(b, pb->pid), fd_keys);
	differ |= put_lists(o, "maps", model_maps(pa), model_maps(pb), map_keys);
	if (compare_memory(pa, pb, looked, o, err) < 0) {
		json_decref(o);
		return -1;
	}
	differ |= text_int(o, "changed_bytes") != 0;
	if (differ)
		json_array_append_new(list, o);
	else
		json_decref(o);
	return 0;
}

static struct proc *same_process(struct ckpt *c, const struct proc *p)
{
	for (size_t i = 0; i < c->nprocs; i++)
		if (c->procs[i].pid == p->pid && !c->procs[i].process == !p->process)
			return &c->procs[i];
	return NULL;
}

static json_t *only_in(struct ckpt *a, struct ckpt *b)
{
	json_t *list = json_array();

	for (size_t i = 0; i < a->nprocs; i++)
		if (!same_process(b, &a->procs[i]))
			json_array_append_new(list, model_process(a, &a->procs[i]));
	return list;
}

static int compare(struct ckpt *a, struct ckpt *b, const struct options *o, json_t *ret,
		   struct err *err)
{
	json_t *gone = only_in(a, b), *new = only_in(b, a), *list = json_array();
	struct looked looked = { 0 };

	json_object_set_new(ret, "a", json_string(a->path));
	json_object_set_new(ret, "b", json_string(b->path));
	json_object_set_new(ret, "processes_removed", gone);
	json_object_set_new(ret, "processes_added", new);
	json_object_set_new(ret, "processes_changed", list);
	progress_begin(&looked.bar, log_get_level() < LOG_WARN_);
	for (size_t i = 0; i < a->nprocs; i++) {
		struct proc *pa = &a->procs[i], *pb = same_process(b, pa);

		if (pb && pa->process && (!o->pid || o->pid == pa->pid) &&
		    compare_process(a, b, pa, pb, &looked, list, err) < 0) {
			progress_end(&looked.bar);
			return -1;
		}
	}
	progress_end(&looked.bar);
	return json_array_size(gone) || json_array_size(new) || json_array_size(list);
}

static void print_items(const json_t *o, const char *key, char sign, const char *what,
			const char *label)
{
	const json_t *x;
	size_t i;

	json_array_foreach(json_object_get(o, key), i, x) {
		cleanup_free char *name = text_printable(text_str(x, label));

		if (strcmp(what, "map") == 0)
			printf("  %c map %" PRIx64 "-%" PRIx64 " %s %s\n", sign,
			       text_int(x, "start"), text_int(x, "end"), text_str(x, "prot"), name);
		else
			printf("  %c %s %" PRId64 " %s\n", sign, what,
			       text_int(x, strcmp(what, "fd") == 0 ? "fd" : "tid"), name);
	}
}

static void print_diff(const json_t *d)
{
	const json_t *p, *a;
	size_t i, k;

	json_array_foreach(json_object_get(d, "processes_removed"), i, p)
		printf("- process %" PRId64 " %s\n", text_int(p, "pid"), text_str(p, "comm"));
	json_array_foreach(json_object_get(d, "processes_added"), i, p)
		printf("+ process %" PRId64 " %s\n", text_int(p, "pid"), text_str(p, "comm"));
	json_array_foreach(json_object_get(d, "processes_changed"), i, p) {
		printf("process %" PRId64 " %s: %s of memory changed\n", text_int(p, "pid"),
		       text_str(p, "comm"), text_size(text_int(p, "changed_bytes")));
		print_items(p, "threads_removed", '-', "thread", "comm");
		print_items(p, "threads_added", '+', "thread", "comm");
		print_items(p, "fds_removed", '-', "fd", "name");
		print_items(p, "fds_added", '+', "fd", "name");
		print_items(p, "maps_removed", '-', "map", "name");
		print_items(p, "maps_added", '+', "map", "name");
		json_array_foreach(json_object_get(p, "changed_areas"), k, a) {
			cleanup_free char *name = text_printable(text_str(a, "name"));

			printf("  ~ %" PRIx64 "-%" PRIx64 " %s %s\n", text_int(a, "start"),
			       text_int(a, "end"), text_size(text_int(a, "changed_bytes")), name);
		}
	}
}

int verb_diff(const char *path_a, const char *path_b, const struct options *o, struct err *err)
{
	json_t *d = json_object();
	struct ckpt a, b;
	int r = -1;

	if (load_checkpoint(path_a, &a, err) == 0) {
		if (load_checkpoint(path_b, &b, err) == 0) {
			r = compare(&a, &b, o, d, err);
			load_free(&b);
		}
		load_free(&a);
	}
	if (r >= 0) {
		json_object_set_new(d, "same", json_boolean(!r));
		if (o->json) {
			json_dumpf(d, stdout, JSON_INDENT(2));
			putchar('\n');
		} else {
			print_diff(d);
		}
	}
	json_decref(d);
	return r;
}
