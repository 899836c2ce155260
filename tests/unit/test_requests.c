/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_requests.c - the coordinator's states: who is answered what, and when, whatever becomes of the
 * checkpoint's process. The round is a fake that does what the test says; the rest is the real thing.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "../../common/paths.h"
#include "../../coordinator/jobtree.h"
#include "../../coordinator/server.h"
#include "../../coordinator/store.h"
#include "fake_checkpoint.h"

#define MS	1000000LL

/* What the next round does; its process has a copy. */
static struct {
	enum { SUCCEED, REFUSE, CRASH, CRASH_AFTER_COMMIT, HANG } act;
	int ms;			/* it takes so long */
} fake;

int round_run(const struct round_params *p, struct round_result *ret, struct err *err)
{
	struct fake_checkpoint f = { .job = p->job, .id = p->id, .created_ns = (uint64_t)io_realtime_ns(),
				     .periodic = p->periodic };

	if (mkdir(p->tmp, 0700) < 0)
		return err_set(err, E_FAILED, errno, "%s", p->tmp);
	p->progress(p->progress_arg, "stop", 0, 0, 2);
	usleep((useconds_t)fake.ms * 1000);
	p->progress(p->progress_arg, "save", 1, 2, 2);
	if (fake.act == HANG)
		pause();
	if (fake.act == CRASH)
		kill(getpid(), SIGKILL);
	if (fake.act == REFUSE) {
		paths_remove_tree(p->tmp, NULL);
		return err_set(err, E_UNSUPPORTED_FD, 0, "descriptor 5 is an io_uring");
	}
	if (fake_checkpoint_write(p->tmp, &f) < 0 || rename(p->tmp, p->target) < 0)
		return err_set(err, E_EXISTS, errno, "%s", p->target);
	if (fake.act == CRASH_AFTER_COMMIT)
		kill(getpid(), SIGKILL);
	if (!p->leave_running)
		jobtree_kill(p->keeper);
	*ret = (struct round_result){ .bytes = 8192, .pause_ns = 1, .total_ns = 2, .nprocs = 2, .nthreads = 3 };
	return 0;
}

struct fixture {
	struct coordinator c;
	char root[64], dir[80];
	int listener, owner;
	pid_t keeper;
};

/* The keeper reaps one child and then ends, as the real one does. */
static pid_t start_keeper(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		if (fork() == 0) {
			if (fork() > 0)
				io_write_full(ready[1], "", 1);
			for (;;)
				pause();
		}
		while (wait(NULL) > 0)
			;
		_exit(0);
	}
	close(ready[1]);
	if (io_read_full(ready[0], &byte, 1) != 1)
		return -1;
	close(ready[0]);
	return pid;
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	int pair[2];

	f->keeper = start_keeper();		/* first: it must not inherit the owner's connection */
	strcpy(f->root, "/tmp/ckpt-test-requests.XXXXXX");
	if (!mkdtemp(f->root) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	snprintf(f->dir, sizeof(f->dir), "%s/store/j", f->root);
	f->c = (struct coordinator){ .name = "j", .run_dir = f->root, .directory = f->dir, .compression = "none",
				     .keep = 2, .signal_fd = -1 };
	server_init(&f->c);
	server_add_client(&f->c, pair[0], 1);
	f->owner = pair[1];
	fake.act = SUCCEED;
	fake.ms = 0;
	*state = f;
	return f->keeper > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->owner >= 0)
		close(f->owner);
	if (f->c.cp) {
		checkpoint_abort(&f->c);
		for (int i = 0; i < 100 && f->c.cp; i++)
			server_step(&f->c, 10 * MS);
	}
	while (jobtree_kill(f->keeper) > 0)
		usleep(1000);
	kill(f->keeper, SIGKILL);
	waitpid(f->keeper, NULL, 0);
	server_free(&f->c);
	paths_remove_tree(f->root, NULL);
	free(f);
	return 0;
}

static int client(struct fixture *f)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	server_add_client(&f->c, pair[0], 0);
	return pair[1];
}

static void ask(int fd, json_t *msg)
{
	assert_non_null(msg);
	assert_int_equal(control_send(fd, msg, NULL), 0);
	json_decref(msg);
}

static void steps(struct fixture *f, int ms)
{
	int64_t until = io_monotonic_ns() + ms * MS;

	while (io_monotonic_ns() < until && server_step(&f->c, 5 * MS))
		;
}

/* 1: there is something to read within @ms. */
static int answered(struct fixture *f, int fd, int ms)
{
	int64_t until = io_monotonic_ns() + ms * MS;
	char byte;

	while (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
		if (io_monotonic_ns() > until)
			return 0;
		server_step(&f->c, 5 * MS);
	}
	return 1;
}

/* The next message; at most 10 s. */
static json_t *answer(struct fixture *f, int fd)
{
	struct err err = { 0 };
	json_t *msg;

	assert_int_equal(answered(f, fd, 10000), 1);
	msg = control_recv(fd, &err);
	assert_non_null(msg);
	return msg;
}

static void expect_error(struct fixture *f, int fd, enum err_code code)
{
	json_t *msg = answer(f, fd);
	const char *got = json_string_value(json_object_get(json_object_get(msg, "error"), "code"));

	assert_non_null(got);
	assert_string_equal(got, err_name(code));
	json_decref(msg);
}

static void expect_checkpoint(struct fixture *f, int fd, const char *id)
{
	json_t *msg = answer(f, fd);
	const char *directory = json_string_value(json_object_get(msg, "directory"));

	assert_string_equal(json_string_value(json_object_get(msg, "id")), id);
	assert_non_null(directory);
	assert_int_equal(store_complete(directory), 1);
	json_decref(msg);
}

static void expect_state(struct fixture *f, const char *state)
{
	int fd = client(f);
	json_t *msg;

	ask(fd, json_pack("{s:s}", "request", "status"));
	msg = answer(f, fd);
	assert_string_equal(json_string_value(json_object_get(msg, "state")), state);
	json_decref(msg);
	close(fd);
}

static void register_job(struct fixture *f, const char *state)
{
	ask(f->owner, json_pack("{s:s, s:i, s:s, s:[{},{},{}], s:s, s:n}", "request", "register", "keeper", (int)f->keeper,
				"command", "prog arg", "std", "state", state, "last"));
	steps(f, 20);
}

static json_t *checkpoint_msg(const char *id)
{
	return json_pack("{s:s, s:b, s:s*}", "request", "checkpoint", "leave_running", 1, "id", id);
}

static int entries(const struct fixture *f)
{
	cleanup_free char *command = xasprintf("test \"$(ls -A %s 2>/dev/null | wc -l)\" -eq ", f->dir);

	for (int n = 0; n < 10; n++) {
		cleanup_free char *test = xasprintf("%s%d", command, n);

		if (system(test) == 0)
			return n;
	}
	return -1;
}

/* ---- the tests ---- */

static void status_before_and_after(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);
	json_t *msg, *p;

	expect_state(f, "starting");
	register_job(f, "restoring");
	expect_state(f, "restoring");
	register_job(f, "running");
	ask(fd, json_pack("{s:s}", "request", "status"));
	msg = answer(f, fd);
	assert_string_equal(json_string_value(json_object_get(msg, "name")), "j");
	assert_string_equal(json_string_value(json_object_get(msg, "state")), "running");
	assert_string_equal(json_string_value(json_object_get(msg, "command")), "prog arg");
	assert_int_equal(json_array_size(json_object_get(msg, "processes")), 2);
	p = json_array_get(json_object_get(msg, "processes"), 0);
	assert_int_equal(json_integer_value(json_object_get(p, "ppid")), f->keeper);
	assert_true(json_integer_value(json_object_get(p, "host_pid")) > 0);
	json_decref(msg);
	close(fd);
}

static void checkpoints_are_numbered(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	register_job(f, "running");
	ask(fd, checkpoint_msg(NULL));
	expect_checkpoint(f, fd, "1");
	ask(fd, checkpoint_msg("41"));
	expect_checkpoint(f, fd, "41");
	ask(fd, checkpoint_msg(NULL));
	expect_checkpoint(f, fd, "42");
	ask(fd, checkpoint_msg("41"));
	expect_error(f, fd, E_EXISTS);
	ask(fd, checkpoint_msg("../x"));
	expect_error(f, fd, E_USAGE);
	expect_state(f, "running");
	close(fd);
}

static void early_requests_wait(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	ask(fd, checkpoint_msg(NULL));
	assert_int_equal(answered(f, fd, 150), 0);
	register_job(f, "restoring");
	assert_int_equal(answered(f, fd, 150), 0);
	register_job(f, "running");
	expect_checkpoint(f, fd, "1");
	close(fd);
}

static void one_at_a_time(void **state)
{
	struct fixture *f = *state;
	int first = client(f), second = client(f), waiter = client(f);

	fake.ms = 300;
	register_job(f, "running");
	ask(first, checkpoint_msg(NULL));
	steps(f, 50);
	expect_state(f, "checkpointing");
	ask(second, checkpoint_msg(NULL));
	expect_error(f, second, E_BUSY);
	ask(waiter, json_pack("{s:s}", "request", "wait"));
	expect_checkpoint(f, first, "1");
	expect_checkpoint(f, waiter, "1");
	close(first);
	close(second);
	close(waiter);
}

static void progress_if_wanted(void **state)
{
	static const char *const phases[] = { "stop", "save" };
	struct fixture *f = *state;
	int fd = client(f);
	json_t *msg = checkpoint_msg(NULL);

	fake.ms = 50;
	register_job(f, "running");
	json_object_set_new(msg, "progress", json_true());
	ask(fd, msg);
	for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
		msg = answer(f, fd);
		assert_string_equal(json_string_value(json_object_get(json_object_get(msg, "progress"), "phase")), phases[i]);
		json_decref(msg);
	}
	expect_checkpoint(f, fd, "1");
	close(fd);
}

/* Who comes when it is half done, too; and who did not ask for it gets the outcome alone. */
static void progress_for_who_waits(void **state)
{
	struct fixture *f = *state;
	int fd = client(f), waiter = client(f), news = 0;
	json_t *msg;

	fake.ms = 300;
	register_job(f, "running");
	ask(fd, checkpoint_msg(NULL));
	steps(f, 50);
	expect_state(f, "checkpointing");
	ask(waiter, json_pack("{s:s, s:b}", "request", "wait", "progress", 1));
	for (;; news++) {
		msg = answer(f, waiter);
		if (!json_object_get(msg, "progress"))
			break;
		assert_non_null(json_string_value(json_object_get(json_object_get(msg, "progress"), "phase")));
		json_decref(msg);
	}
	assert_int_not_equal(news, 0);
	assert_string_equal(json_string_value(json_object_get(msg, "id")), "1");
	json_decref(msg);
	expect_checkpoint(f, fd, "1");
	close(fd);
	close(waiter);
}

static void a_client_that_leaves_changes_nothing(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	fake.ms = 100;
	register_job(f, "running");
	ask(fd, checkpoint_msg("x"));
	steps(f, 30);
	close(fd);
	for (int i = 0; i < 100 && f->c.cp; i++)	/* a disk may take its time over the fsync */
		steps(f, 100);
	assert_null(f->c.cp);
	assert_int_equal(entries(f), 1);
}

static void failures_leave_nothing(void **state)
{
	static const struct { int act; enum err_code code; } ways[] = {
		{ REFUSE, E_UNSUPPORTED_FD }, { CRASH, E_FAILED }, { HANG, E_TIMEOUT },
	};
	struct fixture *f = *state;
	int fd = client(f);

	register_job(f, "running");
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		json_t *msg = checkpoint_msg("x");

		fake.act = ways[i].act;
		json_object_set_new(msg, "timeout_ns", json_integer(100 * MS));
		ask(fd, msg);
		expect_error(f, fd, ways[i].code);
		assert_int_equal(access(f->dir, F_OK), -1);	/* not even the directory made for it */
		expect_state(f, "running");
	}
	fake.act = SUCCEED;
	ask(fd, checkpoint_msg("x"));
	expect_checkpoint(f, fd, "x");
	close(fd);
}

static void image_path(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *path = xasprintf("%s/a/b/", f->root), *inside = xasprintf("%s/full", f->root);
	int fd = client(f);
	json_t *msg = json_pack("{s:s, s:b, s:s}", "request", "checkpoint", "leave_running", 1, "image_path", path);

	register_job(f, "running");
	ask(fd, json_incref(msg));
	expect_checkpoint(f, fd, "b");
	ask(fd, msg);
	expect_error(f, fd, E_EXISTS);
	assert_int_equal(mkdir(inside, 0755), 0);		/* empty: good */
	ask(fd, json_pack("{s:s, s:b, s:s}", "request", "checkpoint", "leave_running", 1, "image_path", inside));
	expect_checkpoint(f, fd, "full");
	ask(fd, json_pack("{s:s, s:s}", "request", "checkpoint", "image_path", "relative"));
	expect_error(f, fd, E_USAGE);
	close(fd);
}

static void stopping_tells_the_launcher(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);
	json_t *msg;

	register_job(f, "running");
	ask(fd, json_pack("{s:s}", "request", "checkpoint"));
	expect_checkpoint(f, fd, "1");
	msg = answer(f, f->owner);
	assert_string_equal(json_string_value(json_object_get(msg, "event")), "checkpointed");
	json_decref(msg);
	close(fd);				/* it waits for who still listens to it */
	waitpid(f->keeper, NULL, 0);		/* its children are gone, so is it */
	close(f->owner);
	f->owner = -1;
	steps(f, 200);
	assert_int_equal(f->c.state, JOB_OVER);
	assert_int_equal(server_step(&f->c, 0), 0);
}

/* What is committed is committed: the job must not run on beside its own checkpoint. */
static void death_after_commit(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	fake.act = CRASH_AFTER_COMMIT;
	register_job(f, "running");
	ask(fd, json_pack("{s:s}", "request", "checkpoint"));
	expect_checkpoint(f, fd, "1");
	steps(f, 300);
	assert_int_equal(jobtree_kill(f->keeper), 0);
	close(fd);
}

static void kill_ends_everything(void **state)
{
	struct fixture *f = *state;
	int fd = client(f), busy = client(f);
	json_t *msg;
	int status;

	fake.act = HANG;
	register_job(f, "running");
	ask(busy, checkpoint_msg(NULL));
	steps(f, 50);
	ask(fd, json_pack("{s:s}", "request", "kill"));
	expect_error(f, busy, E_ABORTED);
	msg = answer(f, fd);
	assert_true(json_is_true(json_object_get(msg, "killed")));
	json_decref(msg);
	assert_int_equal(waitpid(f->keeper, &status, WNOHANG), f->keeper);
	assert_true(WIFEXITED(status));		/* it was given the time to pass the status on */
	assert_int_equal(entries(f), 0);
	close(fd);
	close(busy);
}

static void launcher_gone(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	ask(fd, checkpoint_msg(NULL));
	steps(f, 20);
	close(f->owner);
	f->owner = -1;
	expect_error(f, fd, E_NO_JOB);
	assert_int_equal(f->c.state, JOB_OVER);
	close(fd);
}

static void interval_keeps_the_newest(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	register_job(f, "running");
	ask(fd, checkpoint_msg("mine"));
	expect_checkpoint(f, fd, "mine");
	ask(fd, json_pack("{s:s, s:I}", "request", "interval", "ns", (json_int_t)(100 * MS)));
	json_decref(answer(f, fd));
	steps(f, 800);
	ask(fd, json_pack("{s:s, s:i}", "request", "interval", "ns", 0));
	json_decref(answer(f, fd));
	steps(f, 150);
	assert_int_equal(entries(f), 3);	/* two of the interval's, and the one made by hand */
	assert_true(json_is_true(json_object_get(f->c.last, "periodic")));
	ask(fd, json_pack("{s:s, s:i}", "request", "interval", "ns", -1));
	expect_error(f, fd, E_USAGE);
	close(fd);
}

/* Nobody asked for the interval's checkpoint, so it is no reason to refuse one that is asked for. */
static void a_request_waits_for_the_interval(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	fake.ms = 300;
	f->c.interval_ns = 50 * MS;
	register_job(f, "running");
	steps(f, 150);
	assert_non_null(f->c.cp);
	ask(fd, checkpoint_msg("mine"));
	expect_checkpoint(f, fd, "mine");
	close(fd);
}

static void nonsense(void **state)
{
	struct fixture *f = *state;
	int fd = client(f), half = client(f), evil = client(f);

	register_job(f, "running");
	ask(fd, json_pack("{s:s}", "request", "explode"));
	expect_error(f, fd, E_USAGE);
	ask(fd, json_pack("{s:i}", "request", 5));
	expect_error(f, fd, E_USAGE);
	ask(fd, json_pack("{s:s, s:i}", "request", "register", "keeper", (int)f->keeper));
	expect_error(f, fd, E_EXISTS);
	ask(fd, json_pack("{s:s, s:i}", "request", "checkpoint", "timeout_ns", -5));
	expect_error(f, fd, E_USAGE);
	assert_int_equal(io_write_full(half, "\xff\0\0\0{", 5), 0);
	assert_int_equal(io_write_full(evil, "\xff\xff\xff\xff", 4), 0);
	expect_error(f, evil, E_USAGE);
	assert_null(control_recv(evil, NULL));		/* and is hung up on */
	expect_state(f, "running");
	close(fd);
	close(half);
	close(evil);
}

/* Two questions in one go, then "no more of them": both are answered. */
static void half_closed(void **state)
{
	struct fixture *f = *state;
	int fd = client(f);

	register_job(f, "running");
	fake.ms = 50;
	ask(fd, checkpoint_msg("a"));
	ask(fd, checkpoint_msg("b"));
	shutdown(fd, SHUT_WR);
	expect_checkpoint(f, fd, "a");
	expect_checkpoint(f, fd, "b");
	steps(f, 50);
	assert_null(control_recv(fd, NULL));
	close(fd);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(status_before_and_after), TEST(checkpoints_are_numbered), TEST(early_requests_wait),
		TEST(one_at_a_time), TEST(progress_if_wanted), TEST(progress_for_who_waits),
		TEST(a_client_that_leaves_changes_nothing), TEST(failures_leave_nothing),
		TEST(image_path), TEST(stopping_tells_the_launcher), TEST(death_after_commit),
		TEST(kill_ends_everything), TEST(launcher_gone), TEST(interval_keeps_the_newest),
		TEST(a_request_waits_for_the_interval), TEST(nonsense), TEST(half_closed),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
