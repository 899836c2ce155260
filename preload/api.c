/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api.c - what ckpt.h offers to programs. Context: APP, but for api_run() (LEADER, before the others
 * are stopped, and HANDLER after) and api_closed() (HANDLER).
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "agent.h"
#include "ckpt.h"
#include "mem.h"
#include "sys.h"

#define HOOKS_MAX	16
#define REPLY_MAX	4096

struct hook { uint32_t event; void (*fn)(void *); void *arg; };
static struct hook *hooks;		/* atomic; HOOKS_MAX, mapped for the first one: few programs have any */
static uint32_t nhooks;			/* atomic; entries below it are complete */
static uint32_t forbidden;		/* atomic: nesting of ckpt_forbid() in all threads */
static uint32_t wanted;			/* atomic: a checkpoint came while it was forbidden */
int api_socket = -1; /* our connection during ckpt_checkpoint(): not the program's */

void api_run(int event)
{
	uint32_t n = __atomic_load_n(&nhooks, __ATOMIC_ACQUIRE);
	int saved = n ? errno : 0;

	for (uint32_t i = 0; i < n; i++)
		if (hooks[i].event == (uint32_t)event)
			hooks[i].fn(hooks[i].arg);
	if (n)
		errno = saved;
}

int api_has_hooks(void)
{
	return __atomic_load_n(&nhooks, __ATOMIC_ACQUIRE) != 0;
}

int api_closed(int call)
{
	if (!__atomic_load_n(&forbidden, __ATOMIC_ACQUIRE))
		return 0;
	if (!call)
		return 1;
	__atomic_store_n(&wanted, 1, __ATOMIC_RELEASE);
	/* It may have been allowed in between, by another thread that did not see `wanted`. */
	return __atomic_load_n(&forbidden, __ATOMIC_ACQUIRE) != 0;
}

static int enabled(void)
{
	return agent_self.dir[0] != 0;
}

static unsigned long restores(void)
{
	return agent_self.generation;
}

static void forbid(void)
{
	__atomic_add_fetch(&forbidden, 1, __ATOMIC_ACQ_REL);
}

static void allow(void)
{
	siginfo_t info;

	if (__atomic_sub_fetch(&forbidden, 1, __ATOMIC_ACQ_REL) ||
	    !__atomic_exchange_n(&wanted, 0, __ATOMIC_ACQ_REL))
		return;
	memset(&info, 0, sizeof(info));
	info.si_signo = AGENT_SIGNAL;
	info.si_code = SI_QUEUE;
	info.si_value.sival_ptr = (void *)AGENT_COOKIE;
	SYS(rt_tgsigqueueinfo, SYS0(getpid), SYS0(gettid), AGENT_SIGNAL, &info);
}

/* NULL: no memory. */
static struct hook *all_hooks(void)
{
	struct hook *all = __atomic_load_n(&hooks, __ATOMIC_ACQUIRE);
	size_t size = HOOKS_MAX * sizeof(*all);
	long r;

	if (all)
		return all;
	r = SYS(mmap, NULL, PAGE_UP(size), 3 /* READ|WRITE */, 0x22 /* PRIVATE|ANONYMOUS */, -1, 0);
	if (r < 0 && r > -4096)
		return NULL;
	if (__atomic_compare_exchange_n(&hooks, &all, (struct hook *)r, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return (struct hook *)r;
	SYS(munmap, r, PAGE_UP(size));
	return all;
}

static int on(enum ckpt_event event, void (*fn)(void *), void *arg)
{
	static uint32_t claimed;
	struct hook *all = all_hooks();
	uint32_t slot = all ? __atomic_fetch_add(&claimed, 1, __ATOMIC_ACQ_REL) : HOOKS_MAX;

	if (slot >= HOOKS_MAX)
		return -1;
	all[slot] = (struct hook){ (uint32_t)event, fn, arg };
	while (__atomic_load_n(&nhooks, __ATOMIC_ACQUIRE) != slot)
		;	/* another thread is one line above */
	__atomic_store_n(&nhooks, slot + 1, __ATOMIC_RELEASE);
	return 0;
}

static const char *env(const char *name)
{
	size_t n = str_len(name);

	for (const char *at = agent_self.env; *at; at += str_len(at) + 1)
		if (str_starts(at, name) && at[n] == '=')
			return at + n + 1;
	return NULL;
}

static int transfer(int sock, char *buf, size_t n, int sending)
{
	while (n) {
		long r = sending ? SYS(sendto, sock, buf, n, MSG_NOSIGNAL, NULL, 0) :
				   SYS(recvfrom, sock, buf, n, 0, NULL, NULL);

		if (r <= 0)
			return r < 0 ? (int)r : -EPIPE;
		buf += r;
		n -= (size_t)r;
	}
	return 0;
}

/* The coordinator's protocol (doc/protocol.md): a length and a JSON object, both ways. */
static int converse(int sock, uint64_t generation)
{
	static const char request[] = "{\"request\":\"checkpoint\",\"leave_running\":true}";
	char frame[sizeof(request) + 4], reply[REPLY_MAX];
	uint32_t len = sizeof(request) - 1;
	int r;

	memcpy(frame, &len, 4);
	memcpy(frame + 4, request, len);
	r = transfer(sock, frame, len + 4, 1);
	if (!r)
		r = transfer(sock, (char *)&len, 4, 0);
	/* Restored, we are here again, and the connection is not: that is the answer. */
	if (agent_self.generation != generation)
		return 1;
	if (r || len >= sizeof(reply))
		return r ? r : -EPROTO;
	r = transfer(sock, reply, len, 0);
	if (r)
		return r;
	reply[len] = 0;
	if (!str_after(reply, "\"error\""))
		return 0;
	return str_after(reply, "E-BUSY") ? -EAGAIN : -EIO;
}

static int checkpoint(void)
{
	static uint32_t busy;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uint64_t generation = agent_self.generation;
	int r;

	if (!enabled()) {
		errno = ENOSYS;
		return -1;
	}
	if (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE)) {
		errno = EAGAIN;
		return -1;
	}
	str_cat(addr.sun_path, sizeof(addr.sun_path), agent_self.dir);
	str_cat(addr.sun_path, sizeof(addr.sun_path), "/control");
	r = (int)SYS(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r >= 0) {
		api_socket = r;
		r = (int)SYS(connect, api_socket, &addr, sizeof(addr));
		if (!r)
			r = converse(api_socket, generation);
		if (agent_self.generation == generation)
			SYS(close, api_socket);
		api_socket = -1;
	}
	__atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
	if (r >= 0)
		return r;
	errno = -r;
	return -1;
}

EXPORT const struct ckpt_api ckpt_api = {
	.version = 1,
	.enabled = enabled,
	.restores = restores,
	.checkpoint = checkpoint,
	.forbid = forbid,
	.allow = allow,
	.on = on,
	.env = env,
};
