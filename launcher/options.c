/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "../common/agent.h"
#include "../common/io.h"
#include "../common/paths.h"
#include "../common/units.h"

enum { OPT_COMPRESS = 256, OPT_SAVE_FILES, OPT_INCREMENTAL, OPT_BACKGROUND, OPT_SIGNAL, OPT_CHECKPOINT_ON, OPT_CONTAINER, OPT_ALLOW, OPT_HELP, OPT_VERSION };

static const struct option longs[] = {
	{ "name",		required_argument,	NULL, 'n' },
	{ "checkpoint-dir",	required_argument,	NULL, 'd' },
	{ "interval",		required_argument,	NULL, 'i' },
	{ "keep",		required_argument,	NULL, 'k' },
	{ "coordinator",	required_argument,	NULL, 'c' },
	{ "compress",		required_argument,	NULL, OPT_COMPRESS },
	{ "save-files",		required_argument,	NULL, OPT_SAVE_FILES },
	{ "incremental",	no_argument,		NULL, OPT_INCREMENTAL },
	{ "background",		required_argument,	NULL, OPT_BACKGROUND },
	{ "signal",		required_argument,	NULL, OPT_SIGNAL },
	{ "checkpoint-on",	required_argument,	NULL, OPT_CHECKPOINT_ON },
	{ "container",		no_argument,		NULL, OPT_CONTAINER },
	{ "allow",		required_argument,	NULL, OPT_ALLOW },
	{ "verbose",		no_argument,		NULL, 'v' },
	{ "quiet",		no_argument,		NULL, 'q' },
	{ "help",		no_argument,		NULL, OPT_HELP },
	{ "version",		no_argument,		NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 }
};

static const char help[] =
"Usage: ckpt_launch [OPTION]... [--] PROGRAM [ARG]...\n"
"Run PROGRAM so that it can be checkpointed.\n"
"\n"
"  -n, --name=JOB             the job's name (default: made from PROGRAM and the pid)\n"
"  -d, --checkpoint-dir=DIR   checkpoints go to DIR/ID (default: $CKPT_DIR/JOB/ID)\n"
"  -i, --interval=TIME        a checkpoint every TIME (30s, 10m, 1h), program left running\n"
"  -k, --keep=N               of these keep the newest N (default 2)\n"
"  -c, --coordinator=ADDR     run under the coordinator at ADDR (unix:PATH)\n"
"      --compress=CODEC       none, zlib, lz4 or zstd, with :LEVEL\n"
"      --save-files=none|open|written  store data files with the checkpoint, and put them\n"
"                             back at a restart: all that are open, or those open for writing\n"
"      --background=yes|no    write while the program goes on (this version: yes)\n"
"      --incremental          not in this version\n"
"      --signal=SIG           signal used inside the program (this version: 33)\n"
"      --checkpoint-on=SIG[,SIG]...  on that signal: checkpoint, then exit with status 85\n"
"      --allow=io_uring|aio   let the program have what a checkpoint cannot hold; it is told\n"
"                             else that the kernel has no such thing\n"
"      --container            in pid, ipc and network namespaces of its own, with a /proc of its own\n"
"  -v, --verbose              say more; with --version: which kernel features are in use\n"
"  -q, --quiet                say only what failed\n"
"      --help                 show this text\n"
"      --version              show the version\n"
"\n"
"Exit status: PROGRAM's own; 128+N if signal N ended it; 125 ckpt_launch itself failed;\n"
"126 PROGRAM cannot be executed or preloaded; 127 PROGRAM is not found.\n"
"\n"
"See also: ckpt_command --checkpoint JOB, ckpt_restart JOB\n";

int options_help(void)
{
	return fputs(help, stdout) < 0 || fflush(stdout) != 0 ? -1 : 0;
}

static const struct { const char *name; int number; } signals[] = {
	{ "HUP", SIGHUP }, { "INT", SIGINT }, { "QUIT", SIGQUIT }, { "ILL", SIGILL }, { "TRAP", SIGTRAP },
	{ "ABRT", SIGABRT }, { "IOT", SIGABRT }, { "BUS", SIGBUS }, { "FPE", SIGFPE }, { "KILL", SIGKILL },
	{ "USR1", SIGUSR1 }, { "SEGV", SIGSEGV }, { "USR2", SIGUSR2 }, { "PIPE", SIGPIPE },
	{ "ALRM", SIGALRM }, { "TERM", SIGTERM }, { "STKFLT", SIGSTKFLT }, { "CHLD", SIGCHLD },
	{ "CONT", SIGCONT }, { "STOP", SIGSTOP }, { "TSTP", SIGTSTP }, { "TTIN", SIGTTIN },
	{ "TTOU", SIGTTOU }, { "URG", SIGURG }, { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
	{ "VTALRM", SIGVTALRM }, { "PROF", SIGPROF }, { "WINCH", SIGWINCH }, { "IO", SIGIO },
	{ "POLL", SIGPOLL }, { "PWR", SIGPWR }, { "SYS", SIGSYS },
};

/* A whole decimal number, or -1. */
static int number(const char *s)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(s, &end, 10);
	return *s >= '0' && *s <= '9' && !*end && !errno && n <= 1000000 ? (int)n : -1;
}

int options_signal(const char *name)
{
	size_t i;
	int n = number(name);

	if (n >= 0)
		return n >= 1 && n < NSIG ? n : -1;
	if (!strncasecmp(name, "SIG", 3))
		name += 3;
	for (i = 0; i < ARRAY_SIZE(signals); i++)
		if (!strcasecmp(signals[i].name, name))
			return signals[i].number;
	if (strncasecmp(name, "RTM", 3))
		return -1;
	if (!strncasecmp(name, "RTMIN", 5) && (!name[5] || name[5] == '+')) {
		n = name[5] ? number(name + 6) : 0;
		return n >= 0 && n <= SIGRTMAX - SIGRTMIN ? SIGRTMIN + n : -1;
	}
	if (!strncasecmp(name, "RTMAX", 5) && (!name[5] || name[5] == '-')) {
		n = name[5] ? number(name + 6) : 0;
		return n >= 0 && n <= SIGRTMAX - SIGRTMIN ? SIGRTMAX - n : -1;
	}
	return -1;
}

static int parse_checkpoint_on(const char *list, sigset_t *ret, struct err *err)
{
	cleanup_free char *copy = xstrdup(list);
	char *rest = copy, *name;
	int sig;

	while ((name = strsep(&rest, ","))) {
		sig = options_signal(name);
		if (sig < 0)
			return err_set(err, E_USAGE, 0, "--checkpoint-on=%s: '%s' is not a signal", list, name);
		if (sig == SIGKILL || sig == SIGSTOP || sig == SIGCHLD || sig == SIGCONT || (sig >= 32 && sig < SIGRTMIN))
			return err_set(err, E_USAGE, 0, "--checkpoint-on=%s: %s cannot be waited for", list, name);
		sigaddset(ret, sig);
	}
	return 0;
}

/* The range of levels is the codec's own affair; that it is a number is ours. */
static int parse_compress(const char *s, struct err *err)
{
	static const struct { const char *name; int max; } codecs[] = {
		{ "none", -1 }, { "zlib", 9 }, { "lz4", 12 }, { "zstd", 19 },
	};
	size_t len = strcspn(s, ":"), i;
	int level;

	for (i = 0; i < ARRAY_SIZE(codecs); i++) {
		if (strlen(codecs[i].name) != len || strncmp(codecs[i].name, s, len))
			continue;
		if (!s[len])
			return 0;
		level = number(s + len + 1);
		if (level < 1 || level > codecs[i].max)
			break;
		return 0;
	}
	return err_set(err, E_USAGE, 0, "--compress=%s: must be none, zlib[:1-9], lz4[:1-12] or zstd[:1-19]", s);
}

static int parse_background(const char *s, struct err *err)
{
	if (!strcmp(s, "yes"))
		return 0;
	if (!strcmp(s, "no"))
		return err_set(err, E_USAGE, 0, "--background=no is not supported by this version: a program that "
			       "is left running always goes on while its checkpoint is written");
	return err_set(err, E_USAGE, 0, "--background=%s: must be yes or no", s);
}

static int parse_signal(const char *s, struct err *err)
{
	int sig = options_signal(s);

	if (sig == AGENT_SIGNAL)
		return 0;
	if (sig < 0)
		return err_set(err, E_USAGE, 0, "--signal=%s: that is not a signal", s);
	return err_set(err, E_USAGE, 0, "--signal=%s is not supported by this version: only %d, which no program "
		       "can block or catch, is", s, AGENT_SIGNAL);
}

/* The library is given the names in the one order: what is inherited is compared as text. */
static int parse_allow(const char *list, char *ret, size_t size, struct err *err)
{
	cleanup_free char *copy = xstrdup(list);
	char *rest = copy, *name;
	unsigned mask = 0;

	while ((name = strsep(&rest, ","))) {
		unsigned found = 0;

#define X(bit, known, why) found |= strcmp(name, known) ? 0U : (bit);
		WITHHELD(X)
#undef X
		if (!found)
			return err_set(err, E_USAGE, 0, "--allow=%s: must be io_uring, aio or both, with a comma", list);
		mask |= found;
	}
	*ret = 0;
#define X(bit, known, why) \
	if (mask & (bit)) \
		snprintf(ret + strlen(ret), size - strlen(ret), "%s%s", *ret ? "," : "", known);
	WITHHELD(X)
#undef X
	return 0;
}

static int parse_one(int opt, struct options *o, struct err *err)
{
	switch (opt) {
	case 'n':
		if (!paths_job_name_valid(optarg))
			return err_set(err, E_USAGE, 0, "--name=%s: a job's name is 1 to 48 letters, digits, '.', "
				       "'_', '-', not beginning with '.' or '-'", optarg);
		o->job.name = optarg;
		return 0;
	case 'd':
		if (!*optarg)
			return err_set(err, E_USAGE, 0, "--checkpoint-dir: the directory's name is empty");
		o->job.checkpoint_dir = optarg;
		return 0;
	case 'i':
		if (units_parse_time(optarg, &o->job.interval_ns) < 0)
			return err_set(err, E_USAGE, 0, "--interval=%s: that is not a time (30s, 10m, 1h)", optarg);
		return 0;
	case 'k':
		o->job.keep = number(optarg);
		if (o->job.keep < 1)
			return err_set(err, E_USAGE, 0, "--keep=%s: must be a number from 1", optarg);
		return 0;
	case 'c':
		if (!strncmp(optarg, "tcp:", 4))
			return err_set(err, E_USAGE, 0, "--coordinator=%s: tcp: is not supported by this version; "
				       "use unix:PATH", optarg);
		if (strncmp(optarg, "unix:", 5) || !optarg[5])
			return err_set(err, E_USAGE, 0, "--coordinator=%s: must be unix:PATH", optarg);
		o->coordinator = optarg;
		return 0;
	case OPT_COMPRESS:
		o->job.compression = optarg;
		return parse_compress(optarg, err);
	case OPT_SAVE_FILES:
		return save_files_parse(optarg, &o->job.save_files) == 0 ? 0 :
			err_set(err, E_USAGE, 0, "--save-files=%s: must be none, open or written", optarg);
	case OPT_INCREMENTAL:
		return err_set(err, E_USAGE, 0, "--incremental is not supported by this version: "
			       "every checkpoint is complete");
	case OPT_BACKGROUND:
		return parse_background(optarg, err);
	case OPT_SIGNAL:
		return parse_signal(optarg, err);
	case OPT_CHECKPOINT_ON:
		return parse_checkpoint_on(optarg, &o->checkpoint_on, err);
	case 'v':
		o->verbose = 1;
		return 0;
	case 'q':
		o->quiet = 1;
		return 0;
	case OPT_CONTAINER:
		o->container = 1;
		return 0;
	case OPT_ALLOW:
		return parse_allow(optarg, o->allow, sizeof(o->allow), err);
	case OPT_HELP:
		o->help = 1;
		return 0;
	case OPT_VERSION:
		o->version = 1;
		return 0;
	case ':':
		return err_set(err, E_USAGE, 0, "the option '%s' needs a value; see ckpt_launch --help", o->program[-1]);
	default:
		if (optopt > ' ' && optopt < 128 && o->program[-1][1] != '-')
			return err_set(err, E_USAGE, 0, "unknown option '-%c'; see ckpt_launch --help", optopt);
		return err_set(err, E_USAGE, 0, optopt ? "the option '%s' takes no value; see ckpt_launch --help"
			       : "unknown option '%s'; see ckpt_launch --help", o->program[-1]);
	}
}

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
	int opt;

	memset(ret, 0, sizeof(*ret));
	sigemptyset(&ret->checkpoint_on);
	optind = 0;
	opterr = 0;
	/* '+': the first argument that is no option is the program, and what follows is its own. */
	while ((opt = getopt_long(argc, argv, "+:n:d:i:k:c:vq", longs, NULL)) != -1) {
		ret->program = argv + optind;	/* for messages */
		if (parse_one(opt, ret, err) < 0)
			return -1;
	}
	ret->program = argv + optind;
	if (ret->help || ret->version)
		return 0;
	if (optind == argc)
		return err_set(err, E_USAGE, 0, "which program? see ckpt_launch --help");
	if (ret->coordinator && (ret->job.name || ret->job.checkpoint_dir || ret->job.interval_ns || ret->job.keep ||
				 ret->job.compression || ret->job.save_files))
		return err_set(err, E_USAGE, 0, "--name, --checkpoint-dir, --interval, --keep, --compress and "
			       "--save-files are options of the coordinator; give them to ckpt_coordinator, not with --coordinator");
	ret->job.program = ret->program[0];
	return 0;
}
