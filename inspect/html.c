/* SPDX-License-Identifier: Apache-2.0 */
/*
 * html.c - the html verb: everything that the other verbs show, as one page that needs nothing
 * else.
 */
#include "inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include "../common/io.h"

static const char style[] =
	"body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em;"
	"color:#222;background:#fff}"
	"h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em}"
	"table{border-collapse:collapse;margin:.5em 0}"
	"td,th{padding:.15em .8em .15em 0;text-align:left;vertical-align:top;"
	"border-bottom:1px solid #8884;font-variant-numeric:tabular-nums}"
	"td.n,th.n{text-align:right}code,td{overflow-wrap:anywhere}summary{cursor:pointer}"
	"@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}}";

/* Text from an image is data: nothing in it may become markup. */
static void text(FILE *f, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '&':
			fputs("&amp;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		default:
			if ((unsigned char)*s >= 0x20 && *s != 0x7f)
				fputc(*s, f);
			else
				fputs("&#xfffd;", f);
		}
}

enum show { PLAIN, NUMBER, HEX, SIZE };
struct column { const char *key, *title; enum show show; };

static void cell(FILE *f, const json_t *item, const struct column *col)
{
	const json_t *v = json_object_get(item, col->key);

	fputs(col->show == PLAIN ? "<td>" : "<td class=n>", f);
	if (json_is_string(v))
		text(f, json_string_value(v));
	else if (json_is_true(v))
		fputs("yes", f);
	else if (json_is_integer(v) && col->show == SIZE)
		text(f, text_size(json_integer_value(v)));
	else if (json_is_integer(v))
		fprintf(f, col->show == HEX ? "<code>%" PRIx64 "</code>" : "%" PRId64,
			(int64_t)json_integer_value(v));
	fputs("</td>", f);
}

static void table(FILE *f, json_t *list, const struct column *cols, size_t n)
{
	const json_t *item;
	size_t i;

	fputs("<table><tr>", f);
	for (size_t k = 0; k < n; k++)
		fprintf(f, cols[k].show == PLAIN ? "<th>%s</th>" : "<th class=n>%s</th>",
			cols[k].title);
	fputs("</tr>\n", f);
	json_array_foreach(list, i, item) {
		fputs("<tr>", f);
		for (size_t k = 0; k < n; k++)
			cell(f, item, &cols[k]);
		fputs("</tr>\n", f);
	}
	fputs("</table>\n", f);
	json_decref(list);
}

static const struct column job_columns[] = {
	{ "command", "command", PLAIN },	 { "host", "host", PLAIN },
	{ "kernel", "kernel", PLAIN },		 { "processes", "processes", NUMBER },
	{ "threads", "threads", NUMBER },	 { "bytes", "size", SIZE },
	{ "compression", "compression", PLAIN }, { "version", "ckpt", PLAIN },
};
static const struct column process_columns[] = {
	{ "pid", "pid", NUMBER },	    { "ppid", "parent", NUMBER },
	{ "pgid", "group", NUMBER },	    { "sid", "session", NUMBER },
	{ "threads", "threads", NUMBER },   { "fds", "fds", NUMBER },
	{ "mapped_bytes", "mapped", SIZE }, { "saved_bytes", "saved", SIZE },
	{ "zombie", "ended", PLAIN },	    { "comm", "name", PLAIN },
	{ "command", "command", PLAIN },
};
static const struct column file_columns[] = {
	{ "desc", "nr", NUMBER },
	{ "kind", "kind", PLAIN },
	{ "mode", "mode", PLAIN },
	{ "held", "pid:fd", PLAIN },
	{ "name", "name", PLAIN },
	{ "pos", "offset", NUMBER },
	{ "unread_bytes", "unread", NUMBER },
	{ "state", "state", PLAIN },
	{ "local", "local", PLAIN },
	{ "remote", "remote", PLAIN },
};
static const struct column frame_columns[] = {
	{ "frame", "#", NUMBER }, { "pc", "address", HEX }, { "symbol", "function", PLAIN },
	{ "module", "file", PLAIN },
};
static const struct column map_columns[] = {
	{ "start", "start", HEX },	  { "end", "end", HEX },
	{ "prot", "prot", PLAIN },	  { "kind", "kind", PLAIN },
	{ "saved_bytes", "saved", SIZE }, { "offset", "offset", HEX },
	{ "name", "name", PLAIN },	  { "image", "in", PLAIN },
};

static json_t *files(struct ckpt *c)
{
	json_t *list = model_files(c, 0), *d, *h;
	size_t i, k;

	json_array_foreach(list, i, d) {
		char *held = xstrdup("");

		json_array_foreach(json_object_get(d, "holders"), k, h) {
			char *more = xasprintf("%s%s%" PRId64 ":%" PRId64, held, k ? ", " : "",
					       text_int(h, "pid"), text_int(h, "fd"));

			free(held);
			held = more;
		}
		json_object_set_new(d, "held", json_string(held));
		free(held);
	}
	return list;
}

static void process(FILE *f, struct proc *p)
{
	const struct rec_thread *t;

	fprintf(f, "<h2 id=p%u>Process %u ", p->pid, p->pid);
	text(f, p->process->comm);
	fputs("</h2>\n", f);
	for (size_t pos = 0; (t = rec_next_thread(&p->img.recs, &pos));) {
		struct err err = { 0 };
		json_t *stack = model_stack(p, t, &err);

		fprintf(f, "<details><summary>Thread %u ", t->tid);
		text(f, t->comm);
		fputs("</summary>\n", f);
		if (stack)
			table(f, stack, frame_columns, ARRAY_SIZE(frame_columns));
		else
			text(f, err.msg);
		fputs("</details>\n", f);
	}
	fputs("<details><summary>Memory</summary>\n", f);
	table(f, model_maps(p), map_columns, ARRAY_SIZE(map_columns));
	fputs("</details>\n", f);
}

static void page(FILE *f, struct ckpt *c)
{
	json_t *jobs = json_array(), *procs = json_array();

	json_array_append_new(jobs, model_job(c));
	for (size_t i = 0; i < c->nprocs; i++)
		json_array_append_new(procs, model_process(c, &c->procs[i]));
	fputs("<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>\n"
	      "<meta name=viewport content=\"width=device-width\">\n<title>Checkpoint ", f);
	text(f, c->job->name);
	fputs("</title>\n<style>", f);
	fputs(style, f);
	fputs("</style></head><body>\n<h1>Checkpoint ", f);
	text(f, c->job->name);
	fputs("/", f);
	text(f, c->job->id);
	fprintf(f, "</h1>\n<p>%s, ", text_time(c->job->created_ns));
	text(f, c->path);
	fputs("</p>\n", f);
	table(f, jobs, job_columns, ARRAY_SIZE(job_columns));
	fputs("<h2>Processes</h2>\n", f);
	table(f, procs, process_columns, ARRAY_SIZE(process_columns));
	fputs("<h2>Open files</h2>\n", f);
	table(f, files(c), file_columns, ARRAY_SIZE(file_columns));
	for (size_t i = 0; i < c->nprocs; i++)
		if (c->procs[i].process)
			process(f, &c->procs[i]);
	fputs("</body></html>\n", f);
}

int verb_html(struct ckpt *c, const struct options *o, struct err *err)
{
	FILE *f = o->output ? fopen(o->output, "we") : stdout;
	int bad;

	if (!f)
		return err_set(err, err_code_of_errno(errno), errno, "cannot create %s", o->output);
	page(f, c);
	bad = fflush(f) != 0 || ferror(f);
	if (bad)
		err_set(err, err_code_of_errno(errno), errno, "cannot write the page");
	if (o->output)
		fclose(f);
	return bad ? -1 : 0;
}
