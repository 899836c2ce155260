/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the command line of ckpt_inspect. */
#include "inspect.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include "../common/io.h"
#include "../common/log.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION	"unknown"
#endif

enum { EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_WRONG_USE = 2, EXIT_NOT_FOUND = 3 };

static const char help[] =
	"Usage: ckpt_inspect [VERB] [OPTION]... CHECKPOINT [ARGUMENT]...\n"
	"CHECKPOINT is a directory, or JOB (its newest) or JOB/ID below the store of checkpoints.\n"
	"\n"
	"Verbs:\n"
	"  show                  the job and its process tree (this is the default)\n"
	"  maps                  memory mappings of each process\n"
	"  threads               threads, the calls they wait in, where they are\n"
	"  bt                    the stack of each thread\n"
	"  files                 open files, pipes, sockets and who holds them\n"
	"  read PID ADDR LENGTH  bytes of memory; ADDR is hexadecimal\n"
	"  core                  write an ELF core core.PID per process, for gdb\n"
	"  verify                check every checksum\n"
	"  diff A B              what changed between two checkpoints\n"
	"  records               all records, as they are in the images\n"
	"  html                  all of it as one web page\n"
	"\n"
	"  -j, --json            print JSON (not core, read and html)\n"
	"  -p, --pid=PID         only that process\n"
	"  -o, --output=PATH     core: directory for the files; read, html: the file to write\n"
	"      --raw             read: the bytes themselves\n"
	"  -v, --verbose         say more\n"
	"  -q, --quiet           no progress bar, no warnings\n"
	"      --help            show this text\n"
	"      --version         show the version\n"
	"\n"
	"Exit status: 0 done; 1 it failed, verify found damage, or diff found differences;\n"
	"2 wrong use; 3 no such checkpoint.\n";

static const struct verb {
	const char *name;
	/* NULL: see run_verb() */
	int (*run)(struct ckpt *c, const struct options *o, struct err *err);
	int nargs;
} verbs[] = {
	{ "show", verb_show, 0 }, { "maps", verb_maps, 0 }, { "threads", verb_threads, 0 },
	{ "bt", verb_bt, 0 }, { "files", verb_files, 0 }, { "core", verb_core, 0 },
	{ "read", verb_read, 3 }, { "records", verb_records, 0 }, { "html", verb_html, 0 },
	{ "verify", NULL, 0 }, { "diff", NULL, 1 },
};

enum { OPT_HELP = 256, OPT_VERSION, OPT_RAW };

static const struct option long_options[] = {
	{ "json",	no_argument,		NULL, 'j' },
	{ "pid",	required_argument,	NULL, 'p' },
	{ "output",	required_argument,	NULL, 'o' },
	{ "raw",	no_argument,		NULL, OPT_RAW },
	{ "verbose",	no_argument,		NULL, 'v' },
	{ "quiet",	no_argument,		NULL, 'q' },
	{ "help",	no_argument,		NULL, OPT_HELP },
	{ "version",	no_argument,		NULL, OPT_VERSION },
	{ 0 },
};

static int wrong_use(const char *fmt, const char *what)
{
	cleanup_free char *s = xasprintf("%s; see ckpt_inspect --help", fmt);

	log_error("%s%s", what, s);
	return EXIT_WRONG_USE;
}

static int parse_pid(const char *s, uint32_t *ret)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(s, &end, 10);
	if (errno || end == s || *end || *s == '-' || !n || n > UINT32_MAX)
		return -1;
	*ret = n;
	return 0;
}

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "jp:o:vq", long_options, NULL)) != -1) {
		switch (c) {
		case 'j':
			o->json = 1;
			break;
		case 'p':
			if (parse_pid(optarg, &o->pid) < 0)
				return wrong_use(" is not a process id", optarg);
			break;
		case 'o':
			o->output = optarg;
			break;
		case OPT_RAW:
			o->raw = 1;
			break;
		case 'v':
			log_set_level(LOG_INFO_);
			break;
		case 'q':
			log_set_level(LOG_ERROR_);
			break;
		case OPT_HELP:
			fputs(help, stdout);
			return fflush(stdout) == 0 ? EXIT_DONE : EXIT_NOT_DONE;
		case OPT_VERSION:
			printf("ckpt_inspect (ckpt) %s\n", PACKAGE_VERSION);
			return fflush(stdout) == 0 ? EXIT_DONE : EXIT_NOT_DONE;
		default:
			return EXIT_WRONG_USE;
		}
	}
	o->args = argv + optind;
	o->nargs = argc - optind;
	return -1;
}

/* The first word, unless it is the checkpoint itself. Takes it off the arguments. */
static const struct verb *take_verb(struct options *o)
{
	for (size_t i = 0; o->nargs && i < ARRAY_SIZE(verbs); i++)
		if (strcmp(o->args[0], verbs[i].name) == 0) {
			o->args++;
			o->nargs--;
			return &verbs[i];
		}
	return &verbs[0];
}

static int run_verb(const struct verb *v, const char *path, const struct options *o,
		    struct err *err)
{
	cleanup_free char *other = NULL;
	struct ckpt c;
	int r;

	if (strcmp(v->name, "verify") == 0)
		return verb_verify(path, o, err);
	if (strcmp(v->name, "diff") == 0) {
		other = load_dir(o->args[0], err);
		return other ? verb_diff(path, other, o, err) : -1;
	}
	if (load_checkpoint(path, &c, err) < 0)
		return -1;
	r = v->run(&c, o, err);
	load_free(&c);
	return r;
}

int main(int argc, char **argv)
{
	cleanup_free char *path = NULL;
	struct options o = { 0 };
	const struct verb *v;
	struct err err = { 0 };
	int r;

	log_init("ckpt_inspect");
	r = parse_options(argc, argv, &o);
	if (r >= 0)
		return r;
	v = take_verb(&o);
	if (v == &verbs[0] && o.nargs > 1 && strcmp(argv[optind], v->name) != 0)
		return wrong_use(" is no verb", o.args[0]);
	if (!o.nargs)
		return wrong_use("which checkpoint is meant is not said", "");
	if (o.nargs != v->nargs + 1)
		return wrong_use(o.nargs > v->nargs + 1 ? ": too many arguments"
							: ": arguments are missing",
				 v->name);
	path = load_dir(o.args[0], &err);
	o.args++;
	o.nargs--;
	r = path ? run_verb(v, path, &o, &err) : -1;
	if (r < 0)
		log_err(&err);
	if ((fflush(stdout) != 0 || ferror(stdout)) && r >= 0) {
		log_error("cannot write the output: %m");
		return EXIT_NOT_DONE;
	}
	if (r < 0 && err.code == E_NO_CHECKPOINT)
		return EXIT_NOT_FOUND;
	if (r < 0 && err.code == E_USAGE)
		return EXIT_WRONG_USE;
	return r ? EXIT_NOT_DONE : EXIT_DONE;
}
