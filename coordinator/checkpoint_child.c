/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint_child.c - see checkpoint_child.h; and what becomes of the child if its coordinator dies. */

#include "checkpoint_child.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <limits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/paths.h"
#include "store.h"

#define REPORT_EVERY_NS	100000000LL
#define TRY_FOR_NS	3000000000LL	/* a job that is in an unlucky state comes out of it */
#define TRY_EVERY_MS	5		/* at first, then less and less often */
#define TRY_LEAST_MS	250		/* but so often */

struct reporter { int fd; int64_t last; const char *phase; };

static void report(void *arg, const char *phase, uint64_t done, uint64_t total, uint32_t nprocs)
{
	struct reporter *r = arg;
	int64_t now = io_monotonic_ns();
	json_t *msg;

	if (phase == r->phase && now - r->last < REPORT_EVERY_NS)
		return;
	r->phase = phase;
	r->last = now;
	msg = control_progress(phase, done, total, nprocs);
	control_send(r->fd, msg, NULL);		/* nobody there: SIGTERM is on its way */
	json_decref(msg);
}

/* What the handler below executes; set before the signal can come. */
static char *clean_argv[6];

/*
 * The coordinator has died. Removing a directory needs malloc and friends, which this signal may have
 * interrupted: so a fresh image of our own program does it. Its exec closes the connections to the
 * job, which thereby goes on.
 */
static void lost_coordinator(int sig)
{
	(void)sig;
	execv("/proc/self/exe", clean_argv);
	_exit(1);
}

static void arm_cleaner(const struct checkpoint *cp, const char *tmp, pid_t coordinator)
{
	struct sigaction sa = { .sa_handler = lost_coordinator };
	sigset_t none;

	clean_argv[0] = "ckpt_coordinator";
	clean_argv[1] = "--clean";
	clean_argv[2] = (char *)tmp;
	clean_argv[3] = cp->target;
	clean_argv[4] = cp->made ? cp->made : "";
	sigaction(SIGTERM, &sa, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != coordinator)
		raise(SIGTERM);
}

int checkpoint_clean_main(char **argv)
{
	cleanup_free char *parent = NULL;
	char *slash;

	if (!argv[0] || !argv[1] || !argv[2])
		return 2;
	syscall(SYS_close_range, 3u, (unsigned)INT_MAX, 0u);
	paths_remove_tree(argv[0], NULL);
	parent = xstrdup(argv[1]);
	slash = strrchr(parent, '/');
	if (slash)
		*slash = '\0';
	if (argv[2][0])
		store_unmake(parent, argv[2]);
	return 0;
}

static int try_round(const struct round_params *p, struct round_result *ret, struct err *err)
{
	int64_t until = io_monotonic_ns() + TRY_FOR_NS;
	int done;

	for (useconds_t ms = TRY_EVERY_MS; !(done = round_run(p, ret, err) == 0); ms = MIN(ms + ms / 2, TRY_LEAST_MS)) {
		int64_t now = io_monotonic_ns();

		if (!ret->again || now > until || (p->deadline_ns && now + ms * 1000000LL > p->deadline_ns))
			break;
		usleep(1000 * ms);
	}
	free(p->unread->all);
	return done ? 0 : -1;
}

static void put_warnings(json_t *msg, char *lines)
{
	json_t *list = lines ? json_array() : NULL;
	char *line;

	while ((line = strsep(&lines, "\n")))
		json_array_append_new(list, control_text(line));
	if (list)
		json_object_set_new(msg, "warnings", list);
}

void checkpoint_child(const struct coordinator *c, struct checkpoint *cp, const struct checkpoint_request *r,
		      int64_t deadline_ns, pid_t coordinator, int fd)
{
	char *tmp = store_tmp_path(cp->target, getpid());
	struct reporter reporter = { .fd = fd };
	struct round_unread unread = { 0 };
	struct round_params p = {
		.job = c->name, .id = cp->id, .run_dir = c->run_dir, .keeper = c->keeper, .mounts = c->mounts,
		.target = cp->target, .tmp = tmp,
		.compression = r->compression ? r->compression : c->compression,
		.leave_running = cp->leave_running, .deadline_ns = deadline_ns,
		.std = { c->std[0], c->std[1], c->std[2] },
		.inherited = c->inherited, .ninherited = c->ninherited,
		.interval_ns = c->interval_ns, .keep = c->keep, .periodic = cp->periodic,
		.directory = c->directory, .tcp = r->tcp,
		.save_files = r->save_files ? r->save_files : c->save_files,
		.save_files_job = c->save_files, .checkpoint_on = c->checkpoint_on, .progress = report, .progress_arg = &reporter,
		.unread = &unread,
	};
	struct round_result result = { 0 };
	struct err err = { 0 };
	json_t *msg;

	arm_cleaner(cp, tmp, coordinator);
	if (try_round(&p, &result, &err) < 0)
		msg = control_error(&err);
	else
		msg = json_pack("{s:I, s:I, s:I, s:i, s:i}", "bytes", (json_int_t)result.bytes,
				"pause_ns", (json_int_t)result.pause_ns, "total_ns", (json_int_t)result.total_ns,
				"processes", (int)result.nprocs, "threads", (int)result.nthreads);
	put_warnings(msg, result.warnings);
	control_send(fd, msg, NULL);
	_exit(0);
}
