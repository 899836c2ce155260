/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coordinator.c - main() of ckpt_coordinator: options, sockets, then the server's loop.
 *
 * ckpt_launch and ckpt_restart start it with the sockets made already (--listen-fd, --owner-fd; see
 * common/jobstart.h). Started by hand it makes its own and waits for a launcher to join.
 */

#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/paths.h"
#include "../common/units.h"
#include "listen.h"

enum { EXIT_OK, EXIT_FAILED, EXIT_WRONG_USE };

enum {
	OPT_JOB = 256, OPT_RUN_DIR, OPT_LISTEN_FD, OPT_OWNER_FD, OPT_CHECKPOINT_DIR, OPT_INTERVAL, OPT_KEEP,
	OPT_COMPRESS, OPT_SAVE_FILES, OPT_LISTEN, OPT_TOKEN_FILE, OPT_DAEMON, OPT_STATUS_FILE, OPT_CLEAN, OPT_HELP, OPT_VERSION,
};

static const struct option options[] = {
	{ "listen",		required_argument, NULL, OPT_LISTEN },
	{ "token-file",		required_argument, NULL, OPT_TOKEN_FILE },
	{ "daemon",		no_argument,	   NULL, OPT_DAEMON },
	{ "status-file",	required_argument, NULL, OPT_STATUS_FILE },
	{ "name",		required_argument, NULL, OPT_JOB },
	{ "checkpoint-dir",	required_argument, NULL, OPT_CHECKPOINT_DIR },
	{ "interval",		required_argument, NULL, OPT_INTERVAL },
	{ "keep",		required_argument, NULL, OPT_KEEP },
	{ "compress",		required_argument, NULL, OPT_COMPRESS },
	{ "save-files",		required_argument, NULL, OPT_SAVE_FILES },
	{ "verbose",		no_argument,	   NULL, 'v' },
	{ "quiet",		no_argument,	   NULL, 'q' },
	{ "help",		no_argument,	   NULL, OPT_HELP },
	{ "version",		no_argument,	   NULL, OPT_VERSION },
	/* between our own programs */
	{ "job",		required_argument, NULL, OPT_JOB },
	{ "run-dir",		required_argument, NULL, OPT_RUN_DIR },
	{ "listen-fd",		required_argument, NULL, OPT_LISTEN_FD },
	{ "owner-fd",		required_argument, NULL, OPT_OWNER_FD },
	{ "clean",		no_argument,	   NULL, OPT_CLEAN },
	{ 0 },
};

static const char help[] =
	"Usage: ckpt_coordinator [OPTION]...\n"
	"Serve one job: ckpt_launch and ckpt_restart start it by themselves.\n"
	"\n"
	"      --listen=unix:PATH    also listen at PATH (repeatable)\n"
	"      --name=JOB            the job's name\n"
	"      --checkpoint-dir=DIR  checkpoints go to DIR/ID; default $CKPT_DIR/JOB/ID\n"
	"      --interval=TIME       a checkpoint every TIME, program left running\n"
	"      --keep=N              of these keep the newest N (default 2)\n"
	"      --compress=CODEC      none, zlib, lz4 or zstd, with :LEVEL\n"
	"      --save-files=none|open|written  data files that are stored with a checkpoint\n"
	"      --daemon              go into the background when ready\n"
	"      --status-file=FILE    write name, address and pid to FILE when ready\n"
	"  -v, --verbose             say more\n"
	"  -q, --quiet               say only what failed\n"
	"      --help                show this text\n"
	"      --version             show the version\n";

struct arguments {
	const char *listen[8];
	size_t nlisten;
	const char *status_file, *checkpoint_dir;
	int listen_fd, owner_fd, daemon;
};

static int parse_fd(const char *s)
{
	char *end;
	long n = strtol(s, &end, 10);

	return *s && !*end && n >= 3 && n < 1 << 20 && fcntl((int)n, F_GETFD) >= 0 ? (int)n : -1;
}

/* From our own programs a plain number of nanoseconds, from people 10m. */
static int parse_interval(const struct arguments *a, const char *s, int64_t *ret)
{
	char *end;

	if (a->owner_fd >= 0) {
		*ret = strtoll(s, &end, 10);
		return *s && !*end && *ret >= 0 ? 0 : -1;
	}
	return units_parse_time(s, ret);
}

static int usage(const char *what, const char *value)
{
	log_error("%s '%s'; see ckpt_coordinator --help", what, value);
	return EXIT_WRONG_USE;
}

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct coordinator *c, struct arguments *a)
{
	const char *interval = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "vq", options, NULL)) != -1) {
		switch (opt) {
		case OPT_LISTEN:
			if (strncmp(optarg, "tcp:", 4) == 0)
				return usage("this version serves unix:PATH only, not", optarg);
			if (strncmp(optarg, "unix:/", 6) != 0)
				return usage("not unix: with an absolute path:", optarg);
			if (a->nlisten == ARRAY_SIZE(a->listen))
				return usage("too many addresses, at", optarg);
			a->listen[a->nlisten++] = optarg + 5;
			break;
		case OPT_TOKEN_FILE:
			return usage("a token is for tcp: addresses, which this version does not serve:", optarg);
		case OPT_DAEMON: a->daemon = 1; break;
		case OPT_STATUS_FILE: a->status_file = optarg; break;
		case OPT_JOB: c->name = optarg; break;
		case OPT_RUN_DIR: c->run_dir = optarg; break;
		case OPT_CHECKPOINT_DIR: a->checkpoint_dir = optarg; break;
		case OPT_INTERVAL: interval = optarg; break;
		case OPT_COMPRESS: c->compression = optarg; break;
		case OPT_SAVE_FILES:
			if (save_files_parse(optarg, &c->save_files) < 0)
				return usage("--save-files is none, open or written, not", optarg);
			break;
		case OPT_KEEP:
			c->keep = atoi(optarg);
			if (c->keep < 1)
				return usage("--keep wants a number from 1, not", optarg);
			break;
		case OPT_LISTEN_FD:
			if ((a->listen_fd = parse_fd(optarg)) < 0)
				return usage("not an open descriptor:", optarg);
			break;
		case OPT_OWNER_FD:
			if ((a->owner_fd = parse_fd(optarg)) < 0)
				return usage("not an open descriptor:", optarg);
			break;
		case OPT_CLEAN: return checkpoint_clean_main(argv + optind);
		case 'v': log_set_level(LOG_INFO_); break;
		case 'q': log_set_level(LOG_ERROR_); break;
		case OPT_HELP: return fputs(help, stdout) < 0 ? EXIT_FAILED : EXIT_OK;
		case OPT_VERSION: return printf("ckpt_coordinator (ckpt) %s\n", PACKAGE_VERSION) < 0;
		default: return EXIT_WRONG_USE;
		}
	}
	if (optind < argc)
		return usage("unexpected argument", argv[optind]);
	if ((a->owner_fd < 0) != (a->listen_fd < 0) || (a->owner_fd >= 0 && (!c->name || !c->run_dir)))
		return usage("--owner-fd goes with --listen-fd, --job and", "--run-dir");
	if (c->name && !paths_job_name_valid(c->name))
		return usage("not a job's name:", c->name);
	if (interval && parse_interval(a, interval, &c->interval_ns) < 0)
		return usage("not a time:", interval);
	c->by_hand = a->owner_fd < 0;
	return -1;
}

/* The launcher's own descriptors must not be held open by us: its reader would wait for our end. */
static void leave_launcher(const struct arguments *a)
{
	const char *env = getenv("CKPT_LOG");
	int low = MIN(a->listen_fd, a->owner_fd), high = MAX(a->listen_fd, a->owner_fd);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* with CKPT_LOG=LEVEL somebody wants to see our messages where the program's are */
	for (int fd = 0; null >= 0 && fd < (env && !strchr(env, ':') ? 2 : 3); fd++)
		dup2(null, fd);
	if (low > 3)
		syscall(SYS_close_range, 3u, (unsigned)low - 1, 0u);
	if (high > low + 1)
		syscall(SYS_close_range, (unsigned)low + 1, (unsigned)high - 1, 0u);
	syscall(SYS_close_range, (unsigned)high + 1, (unsigned)INT_MAX, 0u);
	setsid();
}

/* SIGTERM ends us in good order. What a terminal sends is for the job, not for its coordinator. */
static int setup_signals(int by_hand)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2 };
	sigset_t ends, none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	if (by_hand) {
		sigaddset(&ends, SIGINT);
		sigaddset(&ends, SIGHUP);
	}
	sigprocmask(SIG_BLOCK, &ends, NULL);
	return signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int argc, char **argv)
{
	static struct coordinator c = { .keep = 2, .compression = "none", .signal_fd = -1 };
	struct arguments a = { .listen_fd = -1, .owner_fd = -1 };
	struct err err = { 0 };
	int status, ready = -1;

	log_init("ckpt_coordinator");
	status = parse_options(argc, argv, &c, &a);
	if (status >= 0)
		return status;
	umask(077);
	if (c.by_hand) {
		if (listen_claim(&c, &err) < 0)
			goto failed;
	} else {
		leave_launcher(&a);
		c.listen_fds[c.nlisten++] = a.listen_fd;
	}
	listen_remember(&c);
	for (size_t i = 0; i < a.nlisten; i++)
		if (listen_at(&c, a.listen[i], &err) < 0)
			goto failed;
	c.directory = listen_directory(&c, a.checkpoint_dir);
	if (a.daemon && (ready = listen_daemon(&err)) < 0)
		goto failed;
	c.signal_fd = setup_signals(c.by_hand);
	if (a.status_file && listen_status_file(&c, a.status_file, &err) < 0)
		goto failed;
	if (chdir("/") < 0)
		log_warn("cannot leave the working directory");
	if (ready >= 0)
		listen_ready(ready);
	server_init(&c);
	if (a.owner_fd >= 0)
		server_add_client(&c, a.owner_fd, 1);
	server_run(&c);
	listen_end(&c);
	server_free(&c);
	return EXIT_OK;
failed:
	log_err(&err);
	listen_end(&c);
	return EXIT_FAILED;
}
