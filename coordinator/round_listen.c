/* SPDX-License-Identifier: Apache-2.0 */
/* round_listen.c - where the leaders of a job's processes find the round, and who of those that come is one. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/kernel.h"
#include "../common/namespaces.h"
#include "round_internal.h"

#define SPEAK_LIMIT_S	1

/* Names without a file are those of a network, which the job may have for itself. */
static int nameless_socket(const struct round *r)
{
	const int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
	cleanup_free char *path = xasprintf("/proc/%d/ns/net", (int)r->p->keeper);
	cleanup_close int netns = open(path, O_RDONLY | O_CLOEXEC);
	struct stat theirs, ours;

	if (!kernel_tells_namespaces() || netns < 0 || fstat(netns, &theirs) || stat("/proc/self/ns/net", &ours) ||
	    (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino))
		return socket(AF_UNIX, type, 0);
	return ns_socket(netns, AF_UNIX, type, 0);
}

/*
 * For processes with other ids or another root directory: a socket of the same name without a file.
 * Anybody can connect to it; accept_leader() takes those only that belong to the job. That somebody
 * has taken the name is no reason to fail: most jobs do not need it.
 */
static int listen_nameless(const struct round *r, int sock)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t n = strlen(r->socket_path);

	if (sock < 0)
		return -1;
	if (n + 1 <= sizeof(addr.sun_path)) {
		memcpy(addr.sun_path + 1, r->socket_path, n);
		if (bind(sock, (struct sockaddr *)&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) == 0 &&
		    listen(sock, 4096) == 0)
			return sock;
	}
	close(sock);
	return -1;
}

/* Does our socket's name lead there from its root directory? */
static int sees_us(const struct round *r, const struct rproc *p)
{
	cleanup_free char *path = xasprintf("root%s", r->socket_path);
	struct stat ours, there;

	return stat(r->socket_path, &ours) == 0 && proc_lookup(p->look, path, &there) == 0 && ours.st_ino == there.st_ino &&
	       ours.st_dev == there.st_dev;
}

int round_listen_for(struct round *r, const struct rproc *p)
{
	cleanup_close int netns = -1;
	struct stat st;
	int fd;

	if (sees_us(r, p))
		return 0;
	netns = ns_open(p->look, "net");
	/* One that has just ended, a scout perhaps: the walk will tell. */
	if (netns < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -1;
	if (fstat(netns, &st))
		return -1;
	for (size_t i = 0; i < r->naway; i++)
		if (r->away[i].net == st.st_ino)
			return 0;
	fd = listen_nameless(r, ns_socket(netns, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	if (fd < 0)
		return -1;
	r->away = xrealloc(r->away, (r->naway + 1) * sizeof(*r->away));
	r->away[r->naway++] = (struct away){ st.st_ino, fd };
	return 0;
}

int round_listen(struct round *r, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	r->socket_path = xasprintf("%s/%s", r->p->run_dir, ROUND_SOCKET);
	if (strlen(r->socket_path) >= sizeof(addr.sun_path))
		return err_set(err, E_FAILED, 0, "%s: path too long for a socket", r->socket_path);
	strcpy(addr.sun_path, r->socket_path);
	unlink(r->socket_path);
	r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (r->listener < 0 || bind(r->listener, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(r->listener, 4096))
		return err_set(err, err_code_of_errno(errno), errno, "cannot listen on %s",
			       r->socket_path);
	r->nameless = listen_nameless(r, nameless_socket(r));
	return 0;
}

/* ---- who comes ---- */

/* Is it a thread of the job, or what looks for them for one (preload/scout.c)? */
static int is_ours(const struct round *r, pid_t pid)
{
	struct proc_stat st;

	return round_proc(r, pid) || (proc_stat(pid, 0, &st) == 0 && round_proc(r, st.ppid));
}

/* Of those that connect, a moment: who has something to say says it at once, and nobody else may keep the job waiting. */
static void limit_wait(int sock, time_t seconds)
{
	const struct timeval limit = { .tv_sec = seconds };

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

/* @m asks for /proc, which programs with another root directory may not have. */
static void give_proc(const struct round *r, int sock, const struct agent_msg *m)
{
	cleanup_free char *path = xasprintf("/proc/%d/root/proc", (int)r->p->keeper);
	cleanup_close int proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (proc >= 0)
		io_send_fds(sock, m, sizeof(*m), &proc, 1);
}

/*
 * Who has connected. gVisor gives our own pid for every peer: then it is who sent the first message, which has
 * credentials with it that the kernel has looked at. @m: that message, which is left where it is. 0: it does not say.
 */
static pid_t peer_of(int sock, struct agent_msg *m)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(struct ucred))]; } control = { 0 };
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
	};
	const int on = 1, off = 0;
	socklen_t len = sizeof(struct ucred);
	struct ucred cred;
	ssize_t n;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return 0;
	if (cred.pid != getpid())
		return recv(sock, m, sizeof(*m), MSG_PEEK) == sizeof(*m) ? cred.pid : 0;
	setsockopt(sock, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	n = recvmsg(sock, &msg, MSG_PEEK);
	setsockopt(sock, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off));
	if (n != sizeof(*m) || !CMSG_FIRSTHDR(&msg) || control.h.cmsg_type != SCM_CREDENTIALS)
		return 0;
	memcpy(&cred, CMSG_DATA(&control.h), sizeof(cred));
	return cred.pid;
}

static int take_hello(struct rproc *p, int sock, const struct agent_hello *hello, struct err *err)
{
	limit_wait(sock, 0);
	if (p->sock >= 0)
		close(p->sock);
	p->sock = sock;
	p->hello = *hello;
	if (p->was_stopped)
		round_was_stopped(p);
	if (hello->uncalled)
		return err_set(err, E_UNSUPPORTED_PROCESS, 0,
			       "%s has seccomp filters, and functions that are to be called before a checkpoint (ckpt.h): "
			       "its threads have to be stopped before those could run", round_who(p));
	if (!hello->stuck_tid)
		return 0;
	return err_set(err, E_NO_ANSWER, 0,
		       "thread %u of %s did not stop: it may block signal %d by a direct system call, or be in "
		       "an uninterruptible wait", hello->stuck_tid, round_who(p), AGENT_SIGNAL);
}

/* A leader has connected: who is it? Strangers are turned away. */
static int accept_leader(struct round *r, int listener, struct err *err)
{
	struct rproc peer = { 0 }, *p;
	struct agent_msg m;
	void *body = NULL;
	int fds[AGENT_FDS_MAX], ret = 0;
	struct err why;
	pid_t pid;
	size_t nfds;

	peer.sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (peer.sock < 0)
		return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR ? 0 :
			err_set(err, E_FAILED, errno, "cannot accept on %s", r->socket_path);
	limit_wait(peer.sock, SPEAK_LIMIT_S);
	pid = peer_of(peer.sock, &m);
	if (!pid)
		goto turn_away;
	/* A scout is no process of the job, and asks for this only. */
	if (m.magic == AGENT_MAGIC && m.version == AGENT_VERSION && m.type == AGENT_PROC && is_ours(r, pid)) {
		give_proc(r, peer.sock, &m);
		goto turn_away;
	}
	p = round_proc(r, pid);
	if (p && m.magic == AGENT_MAGIC && m.version == AGENT_VERSION && m.type == AGENT_TABLE && r->table < 0) {
		limit_wait(peer.sock, 0);
		r->table = peer.sock;
		return 0;
	}
	if (listener != r->listener && !p)
		goto turn_away;
	peer.host_pid = pid;
	if (round_recv(r, &peer, &m, &body, fds, &nfds, &why)) {
		/* it exec'ed or ended: the walk will tell. And what a stranger says is nothing to us. */
		if (why.code != E_PROCESS_DIED && p) {
			*err = why;
			ret = -1;
		}
		goto turn_away;
	}
	if (m.type != AGENT_HELLO || m.len != sizeof(p->hello))
		goto turn_away;
	if (!p) /* forked since the last walk, and signalled by nobody: a late answer to an older round */
		p = round_add(r, pid);
	ret = take_hello(p, peer.sock, body, err);
	free(body);
	return ret;
turn_away:
	free(body);
	close(peer.sock);
	return ret;
}

int round_accept(struct round *r, int wait_ms, struct err *err)
{
	const size_t n = 2 + r->naway;
	cleanup_free struct pollfd *pfd = xcalloc(n, sizeof(*pfd));

	for (size_t i = 0; i < n; i++)
		pfd[i] = (struct pollfd){ .fd = i ? i == 1 ? r->nameless : r->away[i - 2].fd : r->listener, .events = POLLIN };
	while (poll(pfd, n, wait_ms) > 0) {
		for (size_t i = 0; i < n; i++)
			if (pfd[i].revents && accept_leader(r, pfd[i].fd, err))
				return -1;
		wait_ms = 0;
	}
	return 0;
}
