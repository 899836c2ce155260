/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <sched.h>

const char *scn_doc = "threads with a working directory, a root directory and a umask of their own (unshare(CLONE_FS)), as "
		      "file servers have them; others share theirs";

struct place { struct stat cwd, root; mode_t mask; };

static void look(struct place *ret)
{
	scn_sys(stat(".", &ret->cwd));
	scn_sys(stat("/", &ret->root));
	ret->mask = umask(0);
	umask(ret->mask);
}

static int same(const struct stat *a, const struct stat *b) { return a->st_dev == b->st_dev && a->st_ino == b->st_ino; }

/* A removed directory is another one of the same kind. */
static void compare(const char *who, const struct place *was)
{
	struct place now;

	look(&now);
	scn_check(was->cwd.st_nlink ? same(&now.cwd, &was->cwd) : now.cwd.st_nlink == 0, "%s: working directory", who);
	scn_check(same(&now.root, &was->root), "%s: root directory", who);
	scn_check(now.mask == was->mask, "%s: umask %o, was %o", who, now.mask, was->mask);
}

static void apart(void) { scn_sys(unshare(CLONE_FS)); }

static void elsewhere(void)
{
	apart();
	scn_sys(mkdir("elsewhere", 0700));
	scn_sys(chdir("elsewhere"));
	umask(0177);
}

/* Goes up, where nobody follows it. */
static void moves(void)
{
	struct stat st;

	close(scn_sys(open("file", O_WRONLY | O_CREAT | O_CLOEXEC, 0777)));
	scn_sys(stat("file", &st));
	scn_check((st.st_mode & 0777) == 0600, "mode %o", st.st_mode);
	scn_sys(unlink("file"));
	scn_sys(chdir(".."));
	scn_sys(rmdir("elsewhere"));
	umask(0);
}

static void removed(void)
{
	apart();
	scn_sys(mkdir("removed", 0700));
	scn_sys(chdir("removed"));
	scn_sys(rmdir("../removed"));
}

static void locked(void)
{
	apart();
	scn_sys(mkdir("jail", 0755));
	scn_sys(mkdir("jail/within", 0755));
	scn_sys(chroot("jail"));
	scn_sys(chdir("/within"));
}

static void is_locked(void)
{
	scn_check(access("/proc", F_OK) < 0, "it is out");
	scn_sys(chdir(".."));
	scn_sys(chdir(".."));
	scn_sys(rmdir("within"));
}

static const struct kind { const char *name; int for_all; void (*go)(void), (*check)(void); } kinds[] = {
	{ "with all", 1, NULL, NULL },
	{ "elsewhere", 1, elsewhere, moves },
	{ "apart", 1, apart, NULL },
	{ "removed", 1, removed, NULL },
	{ "locked in", 0, locked, is_locked },
};

struct one { const struct kind *kind; int begin[2], check[2]; pthread_t thread; };

static void *thread(void *arg)
{
	const struct one *t = arg;
	struct place was;
	char c = 0;

	if (t->kind->go)
		t->kind->go();
	look(&was);
	scn_sys(write(t->begin[1], &c, 1));
	scn_check(read(t->check[0], &c, 1) == 1, "%s: %s", t->kind->name, strerror(errno));
	compare(t->kind->name, &was);
	if (t->kind->check)
		t->kind->check();
	scn_sys(write(t->begin[1], &c, 1));
	return NULL;
}

static void begin(struct one *t, const struct kind *kind)
{
	char c;

	t->kind = kind;
	scn_sys(pipe(t->begin));
	scn_sys(pipe(t->check));
	t->thread = scn_thread(thread, t);
	scn_check(read(t->begin[0], &c, 1) == 1, "%s: %s", kind->name, strerror(errno));
}

static void check(struct one *t)
{
	char c;

	scn_sys(write(t->check[1], "", 1));
	scn_check(read(t->begin[0], &c, 1) == 1, "%s: %s", t->kind->name, strerror(errno));
}

/* The other way round: the main thread is locked in, and another one is not. */
static pid_t locked_main(int go[2])
{
	struct place was;
	struct one out;
	int ready[2];
	pid_t pid;
	char c;

	scn_sys(pipe(ready));
	pid = scn_fork();
	if (pid == 0) {
		begin(&out, &kinds[2]);
		scn_sys(mkdir("cell", 0755));
		scn_sys(chroot("cell"));
		scn_sys(chdir("/"));
		look(&was);
		scn_sys(write(ready[1], "", 1));
		scn_check(read(go[0], &c, 1) == 1, "%s", strerror(errno));
		compare("main thread, locked in", &was);
		check(&out);
		_exit(0);
	}
	scn_check(read(ready[0], &c, 1) == 1, "%s", strerror(errno));
	return pid;
}

int main(void)
{
	struct one threads[ARRAY_SIZE(kinds)];
	int root = geteuid() == 0, go[2];
	struct place was;
	pid_t locked = 0;

	umask(027);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (root || kinds[i].for_all)
			begin(&threads[i], &kinds[i]);
	scn_sys(pipe(go));
	if (root)
		locked = locked_main(go);
	look(&was);

	scn_checkpoint();

	compare("main thread", &was);
	for (size_t i = 1; i < ARRAY_SIZE(kinds); i++)
		if (root || kinds[i].for_all)
			check(&threads[i]);
	/* Nobody has taken another one along. */
	compare("main thread, afterwards", &was);
	check(&threads[0]);
	if (locked) {
		scn_sys(write(go[1], "", 1));
		scn_reap(locked, 0);
	}
	scn_pass();
}
