/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>

const char *scn_doc = "daemons: children that have given up root, or all but a few of its rights, "
		      "or are not dumpable";

static int dumpable;

static void drop(void)
{
	scn_sys(setgroups(0, NULL));
	scn_sys(setgid(1001));
	scn_sys(setuid(1001));
	dumpable = prctl(PR_GET_DUMPABLE);
}

static void check_dropped(void)
{
	uid_t r, e, s;

	scn_sys(getresuid(&r, &e, &s));
	scn_check(r == 1001 && e == 1001 && s == 1001 && getegid() == 1001 &&
			  getgroups(0, NULL) == 0,
		  "%d %d %d", r, e, s);
	scn_check(setuid(0) < 0 && errno == EPERM, "root again");
	scn_check(prctl(PR_GET_DUMPABLE) == dumpable, "dumpable: %d, was %d",
		  prctl(PR_GET_DUMPABLE), dumpable);
	scn_check(access("/root", X_OK) < 0, "may go to /root");
}

/* Not root's rights, but some of them, in every set there is. */
static void few_rights(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	scn_sys(prctl(PR_CAPBSET_DROP, CAP_SYS_RAWIO));
	scn_sys(prctl(PR_SET_KEEPCAPS, 1));
	scn_sys(setresgid(1001, 1001, 1001));
	scn_sys(setresuid(1001, 1001, 1001));
	data[0].permitted = 1u << CAP_KILL | 1u << CAP_NET_RAW | 1u << CAP_CHOWN;
	data[0].effective = 1u << CAP_NET_RAW;
	data[0].inheritable = 1u << CAP_KILL;
	scn_sys(syscall(SYS_capset, &head, data));
	scn_sys(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
	dumpable = prctl(PR_GET_DUMPABLE);
}

static void check_few_rights(void)
{
	static const char *want =
		"CapInh:\t0000000000000020\nCapPrm:\t0000000000002021\nCapEff:\t0000000000002000\n";
	const char *text = scn_read_file("/proc/self/status");

	scn_check(strstr(text, want) && strstr(text, "CapAmb:\t0000000000000020\n"), "%s",
		  strstr(text, "CapInh"));
	scn_check(prctl(PR_CAPBSET_READ, CAP_SYS_RAWIO) == 0 &&
			  prctl(PR_CAPBSET_READ, CAP_CHOWN) == 1,
		  "bounding set");
	scn_check(prctl(PR_GET_DUMPABLE) == dumpable, "dumpable: %d, was %d",
		  prctl(PR_GET_DUMPABLE), dumpable);
}

static void hidden(void) { scn_sys(prctl(PR_SET_DUMPABLE, 0)); }

static void check_hidden(void) { scn_check(prctl(PR_GET_DUMPABLE) == 0, "dumpable"); }

static const struct {
	void (*become)(void), (*check)(void);
} kinds[] = {
	{ drop, check_dropped },
	{ few_rights, check_few_rights },
	{ hidden, check_hidden },
};

int main(void)
{
	int p[3][2], n = ARRAY_SIZE(kinds);
	pid_t pid[3];
	char *none;

	if (geteuid() != 0)
		scn_skip("only root can become others");
	scn_sys(chmod(".", 0777));
	/* Memory that can be read by others than its owner only in ways that dumpable forbids. */
	none = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(none, "hidden");
	scn_sys(mprotect(none, 4096, PROT_NONE));
	for (int i = 0; i < n; i++) {
		scn_sys(pipe(p[i]));
		pid[i] = scn_sys(fork());
		if (pid[i] == 0) {
			char c;

			kinds[i].become();
			scn_sys(read(p[i][0], &c, 1));
			kinds[i].check();
			scn_sys(mprotect(none, 4096, PROT_READ));
			scn_check(!strcmp(none, "hidden"), "hidden memory");
			_exit(0);
		}
		scn_await_blocked(pid[i], pid[i]);
	}

	scn_checkpoint();

	for (int i = 0; i < n; i++) {
		scn_sys(write(p[i][1], "x", 1));
		scn_reap(pid[i], 0);
	}
	scn_pass();
}
