/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restart.c - a restart from beginning to end. This page is the list; each step is a file:
 *
 *	load		load.c		all images opened and verified
 *	streams		tty.c		the standard streams and the terminal of the new job
 *	check		check.c		everything that speaks against it, at once; trial.c with --check
 *	job		jobstart.h	a name, a coordinator
 *	container	container.c	namespaces; init.c is process 1 of it, and there:
 *	  open		resource/	every description once
 *	  tree		tree_make.c	the processes, by their true parents
 *	  task		task.c		in each of them: descriptors, directories, limits, signals
 *	  memory	memory.c, stub/	then memory and threads; all wait for each other
 *	pager		pager.c		beside all that: what they need of their memory, verified
 *	go		sync.c		released, when every one of them is ready
 *	front		front.c		signals, terminal, exit status
 *	(show		show.c		how far it has come, on a terminal)
 *
 * Until the release nothing of the program has run; a failure before it ends all that was made.
 */
#include "restart.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../common/fault.h"
#include "../common/fds.h"
#include "../common/io.h"
#include "../common/keeper.h"
#include "../common/log.h"
#include "../common/paths.h"
#include "../resource/object.h"
#include "frames.h"
#include "lazy.h"
#include "mounts.h"
#include "numa.h"
#include "packed.h"
#include "pager.h"
#include "sync.h"
#include "trial.h"

#define NS_PER_S	1000000000LL
#define END_NS		(5 * NS_PER_S)

static void say(void *arg, const struct err *err)
{
	(void)arg;
	show_end();
	log_err(err);
}

static const struct image *image_of(struct rset *set, uint32_t pid)
{
	const struct restart *r = set->arg;

	for (size_t i = 0; i < r->ntasks; i++)
		if (r->tasks[i].pid == pid && r->images[i].fd >= 0)
			return &r->images[i];
	return NULL;
}

/* The pages of a shared object that no description leads to stand in a process' image. */
static int fill_object(struct rset *set, uint32_t owner, uint64_t object, int fd, struct err *err)
{
	const struct image *img = image_of(set, owner);
	int ret;

	if (img) {
		numa_adopt(img);
		ret = object_fill_from_image(img, object, fd, err);
		numa_drop();
		return ret;
	}
	return err_set(err, E_CORRUPT, 0, "shared memory was process %u's, which has no image", owner);
}

static int load(struct restart *r, struct err *err)
{
	if (fault(FAULT_load, err) || load_checkpoint(r, err) || load_fd_base(r, err) || tty_prepare(r, err))
		return -1;
	if (r->o.namespaces_default && r->job->own_net)
		r->o.namespaces |= CLONE_NEWNET;
	r->rset.fd_base = r->fd_base;
	r->rset.path = path_map;
	r->rset.is_replaced = path_is_replaced;
	r->rset.object_fill = fill_object;
	r->rset.image_of = image_of;
	r->rset.enter = namespaces_enter_one;
	r->rset.is_own = mounts_is_own;
	r->rset.number = pid_spaces_number;
	r->rset.arg = r;
	r->rset.own_net = (r->o.namespaces & CLONE_NEWNET) != 0;
	r->rset.own_user = !r->o.namespaces_auto && (r->o.namespaces & CLONE_NEWUSER) != 0;
	r->rset.tcp = r->o.tcp;
	frames_probe(&r->frames);
	r->thp_always = lazy_thp_always();
	r->memory_mode = lazy_wanted(r);
	return packed_inflate(r, err) || rset_init(&r->rset, &r->manifest, err);
}

/*
 * Where the checkpoints of the restored job go: a folder of its own only if the job had chosen
 * one.
 */
static const char *chosen_directory(const struct restart *r)
{
	cleanup_free char *root = paths_store_root(),
			  *usual = xasprintf("%s/%s", root, r->job->name);

	return !r->job->directory[0] || !strcmp(usual, r->job->directory) ? NULL
									  : r->job->directory;
}

static enum save_files wanted_files(const struct restart *r)
{
	enum save_files ret = SAVE_FILES_UNSET;

	save_files_parse(r->job->save_files, &ret);
	return ret;
}

static int start_job(struct restart *r, struct err *err)
{
	const struct job_options o = {
		.name = r->o.name ? r->o.name : r->job->name,
		.program = r->job->command,
		.checkpoint_dir = chosen_directory(r),
		.interval_ns = (int64_t)r->job->interval_s * NS_PER_S,
		.keep = (int)r->job->keep,
		.save_files = wanted_files(r),
		.compression = r->job->compression[0] ? r->job->compression : NULL,
	};

	r->library = paths_library(err);
	if (!r->library)
		return -1;
	if (fault(FAULT_job, err))
		return -1;
	if (job_start(&o, &r->run, err) == 0) {
		r->run.checkpoint_on = r->job->checkpoint_on;
		return 0;
	}
	if (err->code == E_EXISTS && !r->o.name)
		err_set(err, E_EXISTS, 0,
			"job %s is running; give the restored one another name with --name=JOB",
			o.name);
	return -1;
}

/*
 * Init sees that somebody failed, and ends the container with itself; unless it hangs in a system
 * call.
 */
static void end_container(pid_t init)
{
	const struct timespec nap = { 0, 10000000L };
	int64_t until = io_monotonic_ns() + END_NS;

	while (waitpid(init, NULL, WNOHANG) == 0) {
		if (io_monotonic_ns() > until)
			kill(init, SIGKILL);
		nanosleep(&nap, NULL);
	}
}

/* The terminal is the program's as soon as it runs. */
static int restore_shown(struct restart *r, int sock, pid_t init, pid_t *ret_keeper, struct err *err)
{
	int ret = front_restore(r, sock, init, ret_keeper, err);

	show_end();
	return ret;
}

/*
 * Everything from the first process to the release. *ret_sock: socket to the keeper. Return:
 * init's pid, or -1.
 */
static pid_t restore(struct restart *r, int *ret_sock, struct err *err)
{
	int tell[2], pages[2], std[3], on = 1;
	pid_t init, keeper;

	r->sync = sync_make(err);
	if (!r->sync)
		return -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, tell) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pages))
		return err_set(err, E_LIMIT, errno, "a pair of sockets");
	setsockopt(tell[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	r->tell = tell[1];
	r->hear = tell[0];
	r->pager_sock = rset_move(&r->rset, pages[1]);
	if (r->pager_sock < 0)
		return err_set(err, E_LIMIT, errno, "too many open files");
	keeper_block_signals(NULL);
	init = fault(FAULT_init, err) ? -1 : init_start(r, err);
	close(r->pager_sock);
	if (init >= 0)
		r->pager = pager_start(r, pages[0], init, err);
	close(pages[0]);
	close(tell[1]);
	*ret_sock = tell[0];
	if (init < 0)
		return -1;
	for (int n = 0; n < 3; n++)
		std[n] = r->rset.std_override[n] >= 0 ? r->rset.std_override[n] : r->rset.std[n];
	if (r->pager > 0 && restore_shown(r, tell[0], init, &keeper, err) == 0 &&
	    job_register(&r->run, keeper, r->job->command, std, "running", r->dir, err) == 0 &&
	    fault(FAULT_release, err) == 0) {
		if (sync_go(r->sync) == 0)
			return init;
		sync_failed(r->sync, err);
	}
	sync_fail(r->sync, 0, err);
	end_container(init);
	if (r->pager > 0)
		waitpid(r->pager, NULL, 0);
	return -1;
}

/* --detach: go on in a child; the parent returns in it, and waits for it to say how it went. */
static int go_to_background(int *ret_pipe)
{
	unsigned char status = RESTART_EXIT_FAILED;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -1;
	pid = fork();
	if (pid < 0)
		return -1;
	if (pid == 0) {
		close(fds[0]);
		setsid();
		*ret_pipe = fds[1];
		return 0;
	}
	close(fds[1]);
	if (io_read_full(fds[0], &status, 1) != 1)
		waitpid(pid, NULL, 0);
	_exit(status);
}

/* The job runs; whoever waits for us may go on. */
static void released(struct restart *r, int pipe_fd)
{
	const unsigned char status = 0;

	log_info("job %s: %s", r->run.name, r->job->command);
	if (!r->o.detach)
		return;
	printf("%s\n", r->run.name);
	fflush(stdout);
	for (int fd = 0; fd < 3; fd++)
		fds_null(fd);
	(void)!write(pipe_fd, &status, 1);
	close(pipe_fd);
}

static int fail(const struct err *err)
{
	show_end();
	log_err(err);
	return RESTART_EXIT_FAILED;
}

/* Not a reason against it: a job that was saved on one kind of machine may go on on another. */
static void tell_nodes(const struct restart *r)
{
	char nodes[200];

	numa_missing(r, nodes, sizeof(nodes));
	if (!*nodes)
		return;
	show_end();
	log_warn("memory nodes %s, which the program has chosen for its memory (numa(7)), are not here or not allowed; "
		 "the kernel chooses in their place", nodes);
}

int restart_run(const struct restart_options *o, int std_closed)
{
	static struct restart r;	/* big, and every process that is made refers to it */
	int sock = -1, pipe_fd = -1, reasons;
	struct err err = { .code = E_FAILED };
	pid_t init;

	r = (struct restart){ .o = *o, .dir_fd = -1, .tell = -1, .std_closed = std_closed };
	show_begin();
	if (load(&r, &err)) {
		fail(&err);
		return o->check && err.code != E_NO_CHECKPOINT ? 1 : RESTART_EXIT_FAILED;
	}
	reasons = check_restart(&r, say, NULL);
	if (o->check && !reasons) {
		printf("%s can be restored here\n", r.dir);
		trial_print(&r, stdout);
	}
	if (o->check)
		return reasons ? 1 : 0;
	if (reasons)
		return RESTART_EXIT_FAILED;
	tell_nodes(&r);
	if (o->detach && go_to_background(&pipe_fd))
		return fail((err_set(&err, E_FAILED, errno, "going to the background"), &err));
	if (start_job(&r, &err))
		return fail(&err);
	init = restore(&r, &sock, &err);
	if (init < 0) {
		fail(&err);
		job_leave(&r.run, NS_PER_S);
		return RESTART_EXIT_FAILED;
	}
	released(&r, pipe_fd);
	/* Nobody looks at what a detached job's terminal shows, but somebody must take it. */
	if (o->detach && r.pty_master < 0)
		return 0;
	keeper_exit_as(front_run(&r, sock, init));
}
