/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <sys/prctl.h>
#include <linux/securebits.h>
#include <asm/prctl.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/resource.h>

const char *scn_doc = "what the kernel keeps for a process or a thread beside its memory and "
		      "descriptors, and prctl(2) and its kin tell";

/*
 * One per child: set() makes it something unusual (not 0: it cannot be had here), get() says in words what
 * it is. A second thread tells in the same way what is a thread's own.
 */
struct attribute {
	const char *name;
	int (*set)(void);
	void (*get)(char *text, size_t size);
};

/* What prctl(option) returns, and what it writes. */
#define GETTER(name, option)                                                                       \
	static void get_##name(char *text, size_t size)                                            \
	{                                                                                          \
		int value = 0, r = prctl(option, &value, 0, 0, 0);                                 \
		snprintf(text, size, "%d %d", r, r < 0 ? errno : value);                           \
	}
#define GETTER0(name, option)                                                                      \
	static void get_##name(char *text, size_t size)                                            \
	{                                                                                          \
		int r = prctl(option, 0, 0, 0, 0);                                                 \
		snprintf(text, size, "%d %d", r, r < 0 ? errno : 0);                               \
	}
#define SETTER(name, ...)                                                                          \
	static int set_##name(void) { return (int)(__VA_ARGS__); }

/* Set by prctl(option, value); prctl(asked) returns what it is, or writes it. */
#define RETURNED(name, option, value, asked)                                                       \
	SETTER(name, prctl(option, value, 0, 0, 0))                                                \
	GETTER0(name, asked)
#define WRITTEN(name, option, value, asked)                                                        \
	SETTER(name, prctl(option, value, 0, 0, 0))                                                \
	GETTER(name, asked)

WRITTEN(deathsig, PR_SET_PDEATHSIG, SIGWINCH, PR_GET_PDEATHSIG)
WRITTEN(reaper, PR_SET_CHILD_SUBREAPER, 1, PR_GET_CHILD_SUBREAPER)
RETURNED(nnp, PR_SET_NO_NEW_PRIVS, 1, PR_GET_NO_NEW_PRIVS)
RETURNED(undumpable, PR_SET_DUMPABLE, 0, PR_GET_DUMPABLE)
RETURNED(keepcaps, PR_SET_KEEPCAPS, 1, PR_GET_KEEPCAPS)
RETURNED(slack, PR_SET_TIMERSLACK, 123456, PR_GET_TIMERSLACK)
RETURNED(thp, PR_SET_THP_DISABLE, 1, PR_GET_THP_DISABLE)
WRITTEN(tsc, PR_SET_TSC, PR_TSC_SIGSEGV, PR_GET_TSC)
RETURNED(securebits, PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP_LOCKED, PR_GET_SECUREBITS)
RETURNED(mdwe, 65 /* PR_SET_MDWE */, 1, 66)
RETURNED(ksm, 67 /* PR_SET_MEMORY_MERGE */, 1, 68)
RETURNED(flusher, 57 /* PR_SET_IO_FLUSHER */, 1, 58)
SETTER(mce, prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0))
GETTER0(mce, PR_MCE_KILL_GET)
SETTER(speculation, prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0))
static void get_speculation(char *text, size_t size)
{
	snprintf(text, size, "%d %d", prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0),
		 prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, 0, 0, 0));
}

/* ---- files of /proc/self ---- */

static int write_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -1;
	r = write(fd, value, strlen(value)) == (ssize_t)strlen(value) ? 0 : -1;
	close(fd);
	return r;
}

#define PROC_FILE(name, path)                                                                      \
	static void get_##name(char *text, size_t size)                                            \
	{                                                                                          \
		snprintf(text, size, "%.200s", scn_read_file(path));                               \
	}

SETTER(oom, write_file("/proc/self/oom_score_adj", "321"))
PROC_FILE(oom, "/proc/self/oom_score_adj")
SETTER(filter, write_file("/proc/self/coredump_filter", "0x5b"))
PROC_FILE(filter, "/proc/self/coredump_filter")
SETTER(personality, personality(ADDR_NO_RANDOMIZE | UNAME26 | STICKY_TIMEOUTS) < 0)
PROC_FILE(personality, "/proc/self/personality")
SETTER(comm, prctl(PR_SET_NAME, "a (b) c\n", 0, 0, 0))
PROC_FILE(comm, "/proc/self/comm")
static int set_nothing(void) { return 0; }
PROC_FILE(cgroup, "/proc/self/cgroup")

/* The lines of status that tell of ids and rights. */
static void get_status(char *text, size_t size)
{
	static const char *const names[] = { "Umask:", "Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:",
					     "CapEff:", "CapBnd:", "CapAmb:", "Seccomp:" };
	const char *status = scn_read_file("/proc/self/status"), *at;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if ((at = strstr(status, names[i])))
			n += (size_t)snprintf(text + n, size - n, "%.*s;", (int)strcspn(at, "\n"), at);
}

static int set_umask(void)
{
	umask(0135);
	return 0;
}

static int change_caps(uint32_t drop, uint32_t inherit)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return -1;
	data[0].effective &= ~drop;
	data[0].inheritable |= inherit;
	return (int)syscall(SYS_capset, &head, data);
}

static int set_ambient(void)
{
	return change_caps(1 << CAP_SYS_NICE, 1 << CAP_NET_RAW) ||
	       prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0);
}

SETTER(bounding, prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0) ||
       prctl(PR_CAPBSET_DROP, CAP_MKNOD, 0, 0, 0))

/* ---- scheduling ---- */

struct attr { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority;
	      uint64_t runtime, deadline, period; uint32_t util_min, util_max; };

static int set_sched(struct attr a)
{
	a.size = sizeof(a);
	return (int)syscall(SYS_sched_setattr, 0, &a, 0);
}

static void get_sched(char *text, size_t size)
{
	struct attr a = { 0 };
	long ioprio = syscall(SYS_ioprio_get, 1, 0);
	cpu_set_t cpus;

	syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0);
	sched_getaffinity(0, sizeof(cpus), &cpus);
	snprintf(text, size, "policy %u flags %lx nice %d priority %u %lu/%lu/%lu util %u-%u ioprio %ld cpus %d",
		 a.policy, (long)a.flags, a.nice, a.priority, (long)a.runtime, (long)a.deadline,
		 (long)a.period, a.util_min, a.util_max, ioprio, CPU_COUNT(&cpus));
}

SETTER(nice, setpriority(PRIO_PROCESS, 0, 7))
SETTER(batch, set_sched((struct attr){ .policy = SCHED_BATCH, .nice = 3, .flags = 1 }))
SETTER(idle, set_sched((struct attr){ .policy = SCHED_IDLE }))
SETTER(rr, set_sched((struct attr){ .policy = SCHED_RR, .priority = 4, .flags = 1 }))
SETTER(deadline, set_sched((struct attr){ .policy = 6, .runtime = 1000000, .deadline = 50000000,
					  .period = 100000000, .flags = 1 }))
SETTER(ioprio, syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6))
SETTER(clamp, set_sched((struct attr){ .flags = 0x78, .util_min = 100, .util_max = 700 }))

/* ---- memory ---- */

SETTER(future, mlockall(MCL_CURRENT | MCL_FUTURE))
SETTER(onfault, mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
/* Is new memory locked, and is it there at once? */
static void get_future(char *text, size_t size)
{
	unsigned char there[4] = { 0 };
	char *p = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long before = atol(strstr(scn_read_file("/proc/self/status"), "VmLck:") + 6);

	mincore(p, 16384, there);
	munmap(p, 16384);
	snprintf(text, size, "%d %ld", there[0] & 1,
		 before - atol(strstr(scn_read_file("/proc/self/status"), "VmLck:") + 6));
}

static int set_policy(void)
{
	unsigned long node0 = 1;

	return (int)syscall(SYS_set_mempolicy, MPOL_BIND, &node0, 64);
}

static void get_policy(char *text, size_t size)
{
	unsigned long nodes[16] = { 0 };
	int mode = -1;
	long r = syscall(SYS_get_mempolicy, &mode, nodes, 1024, 0, 0);

	snprintf(text, size, "%ld %d %lx", r, mode, nodes[0]);
}

/* ---- the processor ---- */

SETTER(cpuid, syscall(SYS_arch_prctl, 0x1012 /* ARCH_SET_CPUID */, 0))
static void get_cpuid(char *text, size_t size)
{
	snprintf(text, size, "%ld", syscall(SYS_arch_prctl, 0x1011));
}

#define A(name, set, get) { name, set_##set, get_##get }
static const struct attribute attributes[] = {
	A("signal for the parent's death", deathsig, deathsig), A("subreaper", reaper, reaper),
	A("no_new_privs", nnp, nnp), A("dumpable", undumpable, undumpable), A("keepcaps", keepcaps, keepcaps),
	A("timer slack", slack, slack), A("no huge pages", thp, thp), A("no time stamp counter", tsc, tsc),
	A("securebits", securebits, securebits), A("memory denies write and execute", mdwe, mdwe),
	A("merge all memory", ksm, ksm), A("I/O flusher", flusher, flusher), A("machine check", mce, mce),
	A("speculation", speculation, speculation), A("oom_score_adj", oom, oom),
	A("coredump_filter", filter, filter), A("personality", personality, personality),
	A("name", comm, comm), A("cgroup", nothing, cgroup), A("umask", umask, status),
	A("ambient capability", ambient, status), A("bounding set", bounding, status),
	A("nice", nice, sched), A("SCHED_BATCH", batch, sched), A("SCHED_IDLE", idle, sched),
	A("SCHED_RR", rr, sched), A("SCHED_DEADLINE", deadline, sched), A("I/O priority", ioprio, sched),
	A("utilization clamp", clamp, sched), A("mlockall(MCL_FUTURE)", future, future),
	A("mlockall(MCL_ONFAULT)", onfault, future), A("memory policy", policy, policy),
	A("cpuid faults", cpuid, cpuid),
};
#define N ARRAY_SIZE(attributes)

static int ready[2], go[2];

static void run(const struct attribute *a)
{
	char before[1024], after[1024], c = a->set() ? 's' : 'r';

	a->get(before, sizeof(before));
	scn_sys(write(ready[1], &c, 1));
	while (read(go[0], &c, 1) < 0)
		scn_check(errno == EINTR, "read: %s", strerror(errno));
	a->get(after, sizeof(after));
	if (strcmp(before, after)) {
		fprintf(stderr, "%s: was %s, is %s\n", a->name, before, after);
		_exit(1);
	}
	_exit(0);
}

int main(void)
{
	int made = 0, bad = 0, status;
	pid_t pids[N];
	char c;

	scn_sys(pipe(ready));
	scn_sys(pipe(go));
	for (size_t i = 0; i < N; i++) {
		pids[i] = scn_fork();
		if (!pids[i])
			run(&attributes[i]);
		scn_check(read(ready[0], &c, 1) == 1, "read");
		made += c == 'r';
	}
	scn_check(made > 10, "only %d attributes can be set here", made);

	scn_checkpoint();

	for (size_t i = 0; i < N; i++)
		scn_check(write(go[1], "g", 1) == 1, "write");
	for (size_t i = 0; i < N; i++) {
		scn_check(waitpid(pids[i], &status, 0) == pids[i], "waitpid");
		if (status)
			fprintf(stderr, "%s: status %x\n", attributes[i].name, (unsigned)status);
		bad += status != 0;
	}
	scn_check(!bad, "%d attributes are not what they were", bad);
	scn_pass();
}
