/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>

const char *scn_doc = "threads with ids, groups, capabilities, securebits, no_new_privs and the like of their own, as file servers "
		      "have them, which take the ids of whom they serve; a main thread that may less than others";

#define LINES 16

/* What a thread may, as the kernel says it, and what no file tells. */
struct rights { char text[LINES][160]; int securebits, keepcaps, no_new_privs, tsc, mce_kill; };

static void look(struct rights *ret)
{
	static const char *const names[] = { "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
					     "NoNewPrivs" };
	FILE *f = fopen("/proc/thread-self/status", "re");
	char line[4096];

	memset(ret, 0, sizeof(*ret));
	scn_check(f != NULL, "%s", strerror(errno));
	while (fgets(line, sizeof(line), f))
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			if (!strncmp(line, names[i], strlen(names[i])) && line[strlen(names[i])] == ':')
				snprintf(ret->text[i], sizeof(ret->text[i]), "%.150s", line);
	fclose(f);
	ret->securebits = prctl(PR_GET_SECUREBITS);
	ret->keepcaps = prctl(PR_GET_KEEPCAPS);
	prctl(PR_GET_TSC, &ret->tsc);
	ret->mce_kill = prctl(PR_MCE_KILL_GET, 0, 0, 0, 0);
	ret->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
}

static void compare(const char *who, const struct rights *was)
{
	struct rights now;

	look(&now);
	for (size_t i = 0; i < LINES; i++)
		scn_check(!strcmp(now.text[i], was->text[i]), "%s: %swas %s", who, now.text[i], was->text[i]);
	scn_check(now.securebits == was->securebits && now.keepcaps == was->keepcaps, "%s: securebits %x, were %x", who,
		  now.securebits, was->securebits);
	scn_check(now.tsc == was->tsc && now.mce_kill == was->mce_kill, "%s: PR_GET_TSC %d, was %d; PR_MCE_KILL_GET %d, was %d", who,
		  now.tsc, was->tsc, now.mce_kill, was->mce_kill);
	scn_check(now.no_new_privs == was->no_new_privs, "%s: no_new_privs %d", who, now.no_new_privs);
}

/* By bare system calls: those of libc change all threads. */
static void ids(int r, int e, int s)
{
	scn_sys(syscall(SYS_setresgid, r + 100, e + 100, s + 100));
	scn_sys(syscall(SYS_setresuid, r, e, s));
}

static void serve(void)
{
	const gid_t groups[] = { 12, 34, 56789 };

	scn_sys(syscall(SYS_setgroups, ARRAY_SIZE(groups), groups));
	scn_sys(syscall(SYS_setresgid, -1, 1002, -1));
	scn_sys(syscall(SYS_setresuid, -1, 1001, -1));
}

/* What it makes is the other's, and it may be root again; but no other thread has changed. */
static void serves(void)
{
	struct stat st;

	scn_sys(mkdir("served", 0700));
	scn_sys(stat("served", &st));
	scn_check(st.st_uid == 1001 && st.st_gid == 1002, "a directory of %u:%u", st.st_uid, st.st_gid);
	scn_sys(syscall(SYS_setresuid, -1, 0, -1));
	scn_sys(rmdir("served"));
}

static void give_up(void) { ids(1005, 1005, 1005); }

static void gave_up(void)
{
	scn_check(syscall(SYS_setresuid, -1, 0, -1) < 0 && errno == EPERM, "root again");
	scn_check(access("/root", X_OK) < 0, "may go to /root");
}

static void set_fsids(void)
{
	syscall(SYS_setfsgid, 2002);
	syscall(SYS_setfsuid, 2001);
}

static void has_fsids(void)
{
	struct stat st;

	scn_sys(mkdir("fs", 0700));
	scn_sys(stat("fs", &st));
	scn_check(st.st_uid == 2001 && st.st_gid == 2002, "a directory of %u:%u", st.st_uid, st.st_gid);
	scn_sys(rmdir("fs"));
}

static void few_rights(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	scn_sys(prctl(PR_CAPBSET_DROP, CAP_SYS_RAWIO));
	scn_sys(prctl(PR_SET_KEEPCAPS, 1));
	ids(1001, 1001, 1001);
	data[0].permitted = 1u << CAP_KILL | 1u << CAP_NET_RAW | 1u << CAP_CHOWN;
	data[0].effective = 1u << CAP_NET_RAW;
	data[0].inheritable = 1u << CAP_KILL;
	scn_sys(syscall(SYS_capset, &head, data));
	scn_sys(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
}

/* Root without force, for the moment. */
static void lower(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	scn_sys(syscall(SYS_capget, &head, data));
	data[0].effective &= ~(1u << CAP_CHOWN | 1u << CAP_SETUID);
	scn_sys(syscall(SYS_capset, &head, data));
}

static void lowered(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	scn_check(chown(".", 1, 1) < 0 && errno == EPERM, "chown");
	scn_sys(syscall(SYS_capget, &head, data));
	data[0].effective |= 1u << CAP_CHOWN;
	scn_sys(syscall(SYS_capset, &head, data));
	scn_sys(chown(".", 0, 0));
}

static void bits(void) { scn_sys(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP_LOCKED)); }
static void keep(void) { scn_sys(prctl(PR_SET_KEEPCAPS, 1)); }
static void no_more(void) { scn_sys(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); }

static void no_clock(void) { scn_sys(prctl(PR_SET_TSC, PR_TSC_SIGSEGV)); }
static void die_early(void) { scn_sys(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0)); }

static const struct kind { const char *name; int for_all; void (*set)(void), (*check)(void); } kinds[] = {
	{ "as it was", 1, NULL, NULL },
	{ "no_new_privs", 1, no_more, NULL },
	{ "keepcaps", 1, keep, NULL },
	{ "without a clock", 1, no_clock, NULL },
	{ "ends early", 1, die_early, NULL },
	{ "serves", 0, serve, serves },
	{ "gave up", 0, give_up, gave_up },
	{ "fs ids", 0, set_fsids, has_fsids },
	{ "few rights", 0, few_rights, NULL },
	{ "lowered", 0, lower, lowered },
	{ "securebits", 0, bits, NULL },
};

struct one { const struct kind *kind; int begin[2], check[2]; pthread_t thread; };

static void *thread(void *arg)
{
	const struct one *t = arg;
	struct rights was;
	char c = 0;

	if (t->kind->set)
		t->kind->set();
	look(&was);
	scn_sys(write(t->begin[1], &c, 1));
	scn_check(read(t->check[0], &c, 1) == 1, "%s: %s", t->kind->name, strerror(errno));
	compare(t->kind->name, &was);
	if (t->kind->check)
		t->kind->check();
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

static void end(struct one *t)
{
	scn_sys(write(t->check[1], "", 1));
	pthread_join(t->thread, NULL);
}

/* The other way round: its main thread has given up what its threads still have. */
static pid_t weak_main(int go[2])
{
	int ready[2];
	struct one root, other;
	struct rights was;
	pid_t pid;
	char c;

	scn_sys(pipe(ready));
	pid = scn_fork();
	if (pid == 0) {
		begin(&root, &kinds[0]);
		give_up();
		begin(&other, &kinds[1]);
		look(&was);
		scn_sys(write(ready[1], "", 1));
		scn_check(read(go[0], &c, 1) == 1, "%s", strerror(errno));
		compare("weak main thread", &was);
		end(&root);
		end(&other);
		_exit(0);
	}
	scn_check(read(ready[0], &c, 1) == 1, "%s", strerror(errno));
	return pid;
}

int main(void)
{
	struct one threads[ARRAY_SIZE(kinds)];
	int root = geteuid() == 0, go[2];
	struct rights was;
	pid_t weak = 0;

	scn_sys(chmod(".", 0777));
	look(&was);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (root || kinds[i].for_all)
			begin(&threads[i], &kinds[i]);
	scn_sys(pipe(go));
	if (root)
		weak = weak_main(go);

	scn_checkpoint();

	compare("main thread", &was);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (root || kinds[i].for_all)
			end(&threads[i]);
	if (weak) {
		scn_sys(write(go[1], "", 1));
		scn_reap(weak, 0);
	}
	scn_pass();
}
