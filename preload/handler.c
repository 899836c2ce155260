/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handler.c - our signal handler: where every thread of the program stops and from where it goes on,
 * after a checkpoint as after a restart.
 *
 * The signal is glibc's SIGSETXID: programs cannot block, catch or ignore it through libc, debuggers
 * pass it silently. glibc itself sends it (SI_TKILL) to make all threads change ids; ours comes with
 * SI_QUEUE and a cookie, all else is passed on to the handler that was there.
 *
 * While the handler runs every signal is blocked, so what happens here happens to the program in no
 * time. The first thread of a process that gets here is the leader.
 */
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/time_types.h>
#include <asm/prctl.h>
#include "agent.h"
#include "ckpt.h"
#include "mem.h"
#include "sys.h"

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif
#define PR_GET_IO_FLUSHER_ 58
#define SA_RESTORER_	0x04000000UL

struct round_state round_state;
static struct ksigaction
	chained; /* written by agent_arm() before the handler can see a signal for it */

void futex_wait(uint32_t *word, uint32_t value, int64_t timeout_ns)
{
	struct __kernel_timespec ts = { timeout_ns / 1000000000, timeout_ns % 1000000000 };

	SYS(futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ns ? &ts : NULL);
}

void futex_wake(uint32_t *word)
{
	SYS(futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff);
}

int64_t clock_ns(int clock)
{
	struct __kernel_timespec ts = { 0, 0 };

	SYS(clock_gettime, clock, &ts);
	return ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t program_clock(void)
{
	return clock_ns(1 /* CLOCK_MONOTONIC */) - agent_self.clock_delta;
}

long read_file(const char *path, char *buf, size_t size)
{
	long fd = proc_open(path, O_RDONLY | O_CLOEXEC), n = 0, r;

	if (fd < 0)
		return fd;
	while ((size_t)n < size - 1) {
		r = SYS(read, fd, buf + n, size - 1 - (size_t)n);
		if (r <= 0)
			break;
		n += r;
	}
	SYS(close, fd);
	buf[n] = 0;
	return n;
}

/*
 * Where glibc has the kernel clear a thread's id when it ends, where the kernel does not tell: `tid` in
 * struct pthread, in front of robust_prev and the list's head. It is believed if it holds our id.
 */
static uint64_t usual_tid_address(const struct agent_thread *t)
{
	uint64_t at = t->robust_list - 16;

	return t->robust_list && *(uint32_t *)at == t->tid ? at : 0;
}

/* What only the thread itself can tell. Context: HANDLER. */
static void describe(struct park *p)
{
	struct agent_thread *t = &p->pub;
	greg_t *regs = p->uc->uc_mcontext.gregs;
	uint32_t sig = 0;
	long r;

	t->tid = (uint32_t)SYS0(gettid);
	t->rec = (uint64_t)p;
	t->enter = (uint64_t)park_enter;
	SYS(arch_prctl, ARCH_GET_FS, &t->fs_base);
	SYS(arch_prctl, ARCH_GET_GS, &t->gs_base);
	SYS(get_robust_list, 0, &t->robust_list, &t->robust_len);
	if (SYS(prctl, PR_GET_TID_ADDRESS, &t->tid_address) < 0)
		t->tid_address = usual_tid_address(t);
	if (rseq_length) {
		t->rseq = t->fs_base + (uint64_t)rseq_offset;
		t->rseq_len = rseq_length;
		t->rseq_sig = RSEQ_SIG_X86;
	}
	if (SYS(prctl, PR_GET_PDEATHSIG, &sig) == 0)
		t->pdeathsig = sig;
	r = SYS(prctl, PR_GET_TIMERSLACK);
	t->timerslack = r > 0 ? (uint32_t)r : 0;
	r = SYS(ioprio_get, 1 /* IOPRIO_WHO_PROCESS */, 0);
	t->ioprio = r > 0 ? (uint64_t)r : 0;
	t->io_flusher = SYS(prctl, PR_GET_IO_FLUSHER_) > 0;
	t->cpuid_faults = SYS(arch_prctl, ARCH_GET_CPUID) == 0;
	t->no_new_privs = SYS(prctl, PR_GET_NO_NEW_PRIVS) > 0;
	r = SYS(prctl, PR_GET_SECUREBITS);
	t->securebits = r > 0 ? (uint32_t)r : 0;
	SYS(prctl, PR_GET_TSC, &t->tsc_mode);
	r = SYS(prctl, PR_MCE_KILL_GET);
	t->mce_kill = r > 0 ? (uint32_t)r : 0;
	for (long i = 0; i < AGENT_SPECULATION; i++) {
		r = SYS(prctl, PR_GET_SPECULATION_CTRL, i);
		t->speculation[i] = r > 0 ? (uint32_t)r : 0;
	}
	if (SYS(get_mempolicy, &t->mempolicy, t->nodes, AGENT_NODES, 0, 0) < 0)
		t->mempolicy = 0;
	t->uc = (uint64_t)p->uc;
	t->rip = (uint64_t)regs[REG_RIP];
	t->rsp = (uint64_t)regs[REG_RSP];
	memcpy(&t->sigmask, &p->uc->uc_sigmask, sizeof(t->sigmask));
	t->syscall_nr = -1;
	p->call.nr = -2;
	p->stopped_ns = program_clock();
	p->stopped_delta = agent_self.clock_delta;
}

/*
 * Let all followers go. Their records are on their stacks: gone as soon as the word is written. Who comes late, for a leader
 * that has given up, may have found it leading still, and be on the list only now: either sees what the other wrote.
 */
static void release_followers(void)
{
	struct park *p, *next;
	uint32_t none, me = __atomic_load_n(&round_state.leader, __ATOMIC_RELAXED);

	do {
		p = __atomic_exchange_n(&round_state.list, NULL, __ATOMIC_ACQ_REL);
		round_state.parked = 0;
		round_state.reentered = 0;
		round_state.dequeued = 0;
		round_state.all = 0;
		__atomic_store_n(&round_state.leader, 0, __ATOMIC_SEQ_CST);
		for (; p; p = next) {
			next = p->next;
			__atomic_store_n(&p->word, PARK_GO, __ATOMIC_RELEASE);
			futex_wake(&p->word);
		}
		none = 0;
	} while (__atomic_load_n(&round_state.list, __ATOMIC_SEQ_CST) &&
		 __atomic_compare_exchange_n(&round_state.leader, &none, me, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
}

/* Wait to be told to go on. Returns in the restored process as well. Context: HANDLER. */
static void follow(struct park *p)
{
	struct park *head;
	uint32_t none = 0;

	p->word = PARK_WAIT;
	if (park_save(p) == 0) {
		head = __atomic_load_n(&round_state.list, __ATOMIC_RELAXED);
		do
			p->next = head;
		while (!__atomic_compare_exchange_n(&round_state.list, &head, p, 0,
						    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
		__atomic_add_fetch(&round_state.parked, 1, __ATOMIC_RELEASE);
		/* not FUTEX_PRIVATE-agnostic by accident: the scout shares our memory, so the key is equal */
		futex_wake(&round_state.parked);
		if (!__atomic_load_n(&round_state.leader, __ATOMIC_SEQ_CST) &&
		    __atomic_compare_exchange_n(&round_state.leader, &none, p->pub.tid, 0, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED))
			release_followers();
	} else {
		__atomic_add_fetch(&round_state.reentered, 1, __ATOMIC_RELEASE);
		futex_wake(&round_state.reentered);
	}
	for (;;) {
		uint32_t word = __atomic_load_n(&p->word, __ATOMIC_ACQUIRE);

		if (word == PARK_GO)
			return;
		if (word != PARK_WAIT) {
			if (word == PARK_LOOK)
				p->pending_set = pending_set();
			else if (word == PARK_QUEUE)
				pending_queue(p->pending);
			else
				call_on(p->text + PARK_TEXT + PARK_STACK, word == PARK_TABLE ? tables_send : pending_take, p);
			__atomic_store_n(&p->word, PARK_WAIT, __ATOMIC_RELEASE);
			__atomic_add_fetch(&round_state.dequeued, 1, __ATOMIC_RELEASE);
			futex_wake(&round_state.dequeued);
			continue;
		}
		futex_wait(&p->word, PARK_WAIT, 0);
	}
}

/* The leader in a restored process: wait until nobody is in the stub any more, and drop it. */
static void leave_stub(void)
{
	uint32_t followers = 0, n;

	for (struct park *p = round_state.list; p; p = p->next)
		followers++;
	while ((n = __atomic_load_n(&round_state.reentered, __ATOMIC_ACQUIRE)) < followers)
		futex_wait(&round_state.reentered, n, 0);
	if (agent_self.stub_end)
		SYS(munmap, agent_self.stub_start, agent_self.stub_end - agent_self.stub_start);
	agent_self.stub_start = agent_self.stub_end = 0;
	notes_take_over();
	forked_restored();
}

static void lead(struct park *p)
{
	int restored, hooks = !round_state.all;

	/*
	 * The program's functions may wait for other threads, which stand still already if the round has stopped them.
	 * HELLO says so if there are any.
	 */
	if (hooks)
		api_run(CKPT_BEFORE);
	restored = park_save(p);
	if (restored)
		leave_stub();
	else
		leader_run(p);
	release_followers();
	if (hooks)
		api_run(restored ? CKPT_RESTORED : CKPT_RESUMED);
}

/* Context: HANDLER. Entered with all signals blocked. */
void agent_handler(int sig, siginfo_t *info, void *uc)
{
	uint32_t none = 0;
	struct park park;

	if (info->si_code != SI_QUEUE || info->si_value.sival_ptr != (void *)AGENT_COOKIE) {
		if ((unsigned long)chained.handler > 1)
			chained.handler(sig, info, uc);
		return;
	}
	memset(&park, 0, sizeof(park));
	park.uc = uc;
	/*
	 * A vfork child runs on its parent's memory: it is not to be stopped, it will exec or exit soon. Who is called in
	 * our constructor will be called again.
	 */
	if (!forked_is_own() ||
	    (!__atomic_load_n(&round_state.leader, __ATOMIC_ACQUIRE) && api_closed(info->si_errno != AGENT_ALL))) {
		park.call.nr = -2;
		park.stopped_ns = program_clock();
		retry_call_setup(&park);
		return;
	}

	describe(&park);
	if (info->si_errno == AGENT_ALL)
		__atomic_store_n(&round_state.all, 1, __ATOMIC_RELEASE);
	if (__atomic_compare_exchange_n(&round_state.leader, &none, park.pub.tid, 0,
					__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		park.pub.leader = 1;
		lead(&park);
	} else {
		follow(&park);
	}
	/*
	 * The scout and the round repeat themselves; a second signal that came while we were parked is
	 * delivered next. It is not thrown away: it may belong to the next round already.
	 */
	retry_call_setup(&park);
}

void agent_arm(void)
{
	unsigned long on_stack = __atomic_load_n(&agent_stacks_shared, __ATOMIC_RELAXED) ? 0 : SA_ONSTACK;
	struct ksigaction ours = {
		.handler = agent_handler,
		.flags = SA_SIGINFO | SA_RESTART | SA_RESTORER_ | on_stack,
		.restorer = agent_restorer,
		.mask = ~0UL,
	}, old;

	if (SYS(rt_sigaction, AGENT_SIGNAL, NULL, &old, sizeof(old.mask)) < 0 ||
	    (old.handler == agent_handler && (old.flags & SA_ONSTACK) == on_stack))
		return;
	if (old.handler != agent_handler)
		chained = old;
	SYS(rt_sigaction, AGENT_SIGNAL, &ours, NULL, sizeof(ours.mask));
}
