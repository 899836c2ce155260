/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - ckpt_restart: the command line. */
#include "restart.h"

#include <ctype.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "low.h"
#include "../common/fds.h"
#include "../common/io.h"
#include "../common/log.h"
#include "../common/paths.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION	"unknown"
#endif

static const char help[] =
"Usage: ckpt_restart [OPTION]... JOB[/ID]\n"
"       ckpt_restart [OPTION]... --image-path=DIR\n"
"       ckpt_restart [OPTION]... --checkpoint=ID JOB\n"
"Restore the newest (or the named) checkpoint of JOB in a new container, attached to this terminal.\n"
"\n"
"      --image-path=DIR      restore the checkpoint in DIR\n"
"      --checkpoint=ID       restore that checkpoint of JOB\n"
"  -d, --checkpoint-dir=DIR  the checkpoints of JOB are in DIR\n"
"  -n, --name=JOB            name of the restored job; default: the one it had\n"
"      --detach              in the background; prints the job's name\n"
"      --check               restore nothing: say whether it would work here, and if not, why\n"
"      --namespaces=auto|none|LIST\n"
"                            what is made new: of user, pid, mount, ipc, uts, net, cgroup, time;\n"
"                            auto,net: a network of its own besides; default: auto, and net if the\n"
"                            job had one of its own\n"
"      --rootfs=DIR          another root directory\n"
"      --bind=SRC:DST        put a file or folder elsewhere (may be given several times)\n"
"      --stdin=FILE, --stdout=FILE, --stderr=FILE\n"
"                            other files in the place of the standard streams; output is appended\n"
"      --fd=N:FILE           another file in the place of what the first process has open as N\n"
"      --env=NAME=VALUE      tell it the program; it asks with ckpt_env() of ckpt.h\n"
"      --eager               read all memory before starting\n"
"      --map-memory          map memory from the checkpoint instead of reading it: starts at once, and copies\n"
"                            share what they do not change; the files must stay as long as the program runs\n"
"      --tcp=reset|close|keep|fail  connections that led out of the job: the program finds them reset or closed,\n"
"                            they go on, or nothing is restored; default: as the checkpoint was told\n"
"  -v, --verbose             say more\n"
"  -q, --quiet               say only what went wrong\n"
"      --help, --version     print that and exit\n"
"\n"
"The exit status is the program's; 128+N if signal N ended it; 125 if ckpt_restart failed.\n"
"With --check: 0 it would work, 1 it would not.\n";

enum {
	OPT_IMAGE_PATH = 256, OPT_CHECKPOINT, OPT_DETACH, OPT_CHECK, OPT_NAMESPACES, OPT_ROOTFS, OPT_BIND,
	OPT_STDIN, OPT_STDOUT, OPT_STDERR, OPT_FD, OPT_ENV, OPT_EAGER, OPT_MAP_MEMORY, OPT_TCP, OPT_HELP, OPT_VERSION,
};

static const struct option longs[] = {
	{ "image-path", required_argument, NULL, OPT_IMAGE_PATH },
	{ "checkpoint", required_argument, NULL, OPT_CHECKPOINT },
	{ "checkpoint-dir", required_argument, NULL, 'd' },
	{ "name", required_argument, NULL, 'n' },
	{ "detach", no_argument, NULL, OPT_DETACH },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "namespaces", required_argument, NULL, OPT_NAMESPACES },
	{ "rootfs", required_argument, NULL, OPT_ROOTFS },
	{ "bind", required_argument, NULL, OPT_BIND },
	{ "stdin", required_argument, NULL, OPT_STDIN },
	{ "stdout", required_argument, NULL, OPT_STDOUT },
	{ "stderr", required_argument, NULL, OPT_STDERR },
	{ "fd", required_argument, NULL, OPT_FD },
	{ "env", required_argument, NULL, OPT_ENV },
	{ "eager", no_argument, NULL, OPT_EAGER },
	{ "map-memory", no_argument, NULL, OPT_MAP_MEMORY },
	{ "tcp", required_argument, NULL, OPT_TCP },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static int parse_namespaces(struct restart_options *o, const char *list, struct err *err)
{
	cleanup_free char *copy = xstrdup(list);
	char *rest = copy, *word;

	o->namespaces_auto = !strcmp(list, "auto");
	o->namespaces = 0;
	if (o->namespaces_auto)
		o->namespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC |
				CLONE_NEWUTS | CLONE_NEWTIME;
	if (o->namespaces_auto || !strcmp(list, "none"))
		return 0;
	while ((word = strsep(&rest, ","))) {
		int flag = container_kind(word), others = o->namespaces;

		if (!strcmp(word, "auto")) {	/* and some more */
			parse_namespaces(o, word, err);
			o->namespaces |= others;
			continue;
		}
		if (!flag)
			return err_set(err, E_USAGE, 0,
				       "--namespaces=%s: there is no namespace '%s'; it must be "
				       "auto, none, "
				       "or some of user,pid,mount,ipc,uts,net,cgroup,time",
				       list, word);
		o->namespaces |= flag;
	}
	return 0;
}

/* An absolute path: directories change before it is used. */
static char *absolute(const char *path)
{
	cleanup_free char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);

	return cwd ? xasprintf("%s/%s", cwd, path) : xstrdup(path);
}

static int parse_bind(struct restart_options *o, const char *arg, struct err *err)
{
	const char *colon = strchr(arg, ':');
	cleanup_free char *src = NULL;

	if (!colon || colon == arg || colon[1] != '/')
		return err_set(err, E_USAGE, 0,
			       "--bind=%s: it must be SRC:DST, DST an absolute path", arg);
	src = xstrdup(arg);
	src[colon - arg] = '\0';
	o->binds = xrealloc(o->binds, (o->nbinds + 1) * sizeof(*o->binds));
	o->binds[o->nbinds++] = (struct restart_bind){ absolute(src), xstrdup(colon + 1) };
	return 0;
}

static int parse_fd(struct restart_options *o, const char *arg, struct err *err)
{
	char *end;
	long fd = strtol(arg, &end, 10);

	if (!isdigit((unsigned char)arg[0]) || *end != ':' || !end[1] || fd > INT_MAX)
		return err_set(err, E_USAGE, 0, "--fd=%s: it must be N:FILE", arg);
	if (fd < 3) {
		o->stdio[fd] = absolute(end + 1);
		return 0;
	}
	o->fds = xrealloc(o->fds, (o->nfds + 1) * sizeof(*o->fds));
	o->fds[o->nfds++] = (struct restart_fd){ (int)fd, absolute(end + 1) };
	return 0;
}

static int parse_job(struct restart_options *o, char *arg, struct err *err)
{
	char *slash = strchr(arg, '/');

	if (o->image_path)
		return err_set(err, E_USAGE, 0, "%s: with --image-path no job is named", arg);
	/* A path is no job's name, so there is no doubt what is meant. */
	if (arg[0] == '/' || arg[0] == '.') {
		o->image_path = arg;
		return 0;
	}
	if (slash) {
		if (o->id)
			return err_set(err, E_USAGE, 0,
				       "%s names a checkpoint, and so does --checkpoint=%s", arg,
				       o->id);
		*slash = '\0';
		o->id = slash + 1;
	}
	if (!paths_job_name_valid(arg))
		return err_set(err, E_USAGE, 0, "'%s' is not a job's name", arg);
	if (o->id && (!o->id[0] || o->id[0] == '.' || strchr(o->id, '/')))
		return err_set(err, E_USAGE, 0, "'%s' is not a checkpoint's name%s", o->id,
			       strchr(o->id, '/') ? "; a directory begins with / or . or comes with --image-path" : "");
	o->job = arg;
	return 0;
}

static int parse_option(struct restart_options *o, int c, struct err *err)
{
	switch (c) {
	case OPT_IMAGE_PATH:	o->image_path = optarg; break;
	case OPT_CHECKPOINT:	o->id = optarg; break;
	case 'd':		o->checkpoint_dir = optarg; break;
	case OPT_DETACH:	o->detach = 1; break;
	case OPT_CHECK:		o->check = 1; break;
	case OPT_ROOTFS:	o->rootfs = absolute(optarg); break;
	case OPT_EAGER:		o->eager = 1; break;
	case OPT_MAP_MEMORY:	o->map_memory = 1; break;
	case 'v':		log_set_level(LOG_INFO_); break;
	case 'q':		log_set_level(LOG_ERROR_); break;
	case OPT_STDIN:
	case OPT_STDOUT:
	case OPT_STDERR:	o->stdio[c - OPT_STDIN] = absolute(optarg); break;
	case OPT_NAMESPACES:
		o->namespaces_default = 0;
		return parse_namespaces(o, optarg, err);
	case OPT_TCP:
		if (tcp_policy_parse(optarg, &o->tcp) < 0)
			return err_set(err, E_USAGE, 0, "--tcp=%s: it must be reset, close, keep or fail", optarg);
		break;
	case OPT_BIND:		return parse_bind(o, optarg, err);
	case OPT_FD:		return parse_fd(o, optarg, err);
	case 'n':
		o->name = optarg;
		if (!paths_job_name_valid(optarg))
			return err_set(err, E_USAGE, 0, "--name=%s: that is not a job's name",
				       optarg);
		break;
	case OPT_ENV:
		if (!strchr(optarg, '='))
			return err_set(err, E_USAGE, 0, "--env=%s: NAME=VALUE is wanted", optarg);
		o->env = xrealloc(o->env, (o->nenv + 1) * sizeof(*o->env));
		o->env[o->nenv++] = optarg;
		break;
	default:
		return err_set(err, E_USAGE, 0,
			       "the command line is wrong; see ckpt_restart --help");
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct restart_options o = { 0 };
	struct err err;
	int closed, c;

	low_go(argv);
	closed = fds_reserve_stdio();
	log_init("ckpt_restart");
	if (parse_namespaces(&o, "auto", &err))
		goto usage;
	o.namespaces_default = 1;
	while ((c = getopt_long(argc, argv, "d:n:vq", longs, NULL)) != -1) {
		if (c == OPT_HELP)
			return fputs(help, stdout) < 0 || fflush(stdout) ? RESTART_EXIT_FAILED : 0;
		if (c == OPT_VERSION)
			return printf("ckpt_restart (ckpt) %s\n", PACKAGE_VERSION) < 0 ||
					       fflush(stdout)
				       ? RESTART_EXIT_FAILED
				       : 0;
		if (parse_option(&o, c, &err))
			goto usage;
	}
	if (optind < argc && parse_job(&o, argv[optind++], &err))
		goto usage;
	if (optind < argc) {
		err_set(&err, E_USAGE, 0, "'%s': one checkpoint is restored at a time",
			argv[optind]);
		goto usage;
	}
	if ((o.rootfs || o.nbinds) && !o.namespaces_auto && !(o.namespaces & CLONE_NEWNS)) {
		err_set(&err, E_USAGE, 0, "--rootfs and --bind need a mount namespace of the job's own: add mount to "
			"--namespaces, or leave that at auto");
		goto usage;
	}
	if (o.eager && o.map_memory) {
		err_set(&err, E_USAGE, 0, "--eager reads all memory before starting, and --map-memory none: one of them, please");
		goto usage;
	}
	if (!o.job && !o.image_path) {
		err_set(&err, E_USAGE, 0,
			"which checkpoint? Name a job, or give --image-path=DIR; see ckpt_restart "
			"--help");
		goto usage;
	}
	return restart_run(&o, closed);
usage:
	log_err(&err);
	return RESTART_EXIT_FAILED;
}
