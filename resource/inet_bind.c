/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet_bind.c - addresses taken again, though what is left of the job that was ended may still occupy
 * them; and why one cannot be had.
 */
#include "inet.h"

#include <errno.h>
#include <time.h>
#include "../common/io.h"
#include "../common/log.h"

/* Sockets of a job that was just ended may take that long to go. */
#define WAIT_NS		3000000000LL
/* What is left of a connection that was closed: TIME_WAIT. */
#define LONG_NS		62000000000LL
#define NAP_NS		20000000L
#define FORGET_NS	500000000LL

/* Is it worth while to try again? */
static int may_become_free(struct inet_restart *all, const struct inet_addr *a, enum inet_bind wait)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	int64_t now = io_monotonic_ns();
	char text[INET_TEXT];

	if (wait == INET_BIND_ONCE || now > all->deadline + LONG_NS)
		return 0;
	if (now > all->deadline && (wait != INET_BIND_PATIENT || inet_diag_listens(a)))
		return 0;
	if (now > all->deadline && !all->told) {
		all->told = 1;
		log_warn("waiting for %s, which connections that have ended occupy for up to a "
			 "minute",
			 inet_text(a, text, sizeof(text)));
	}
	nanosleep(&nap, NULL);
	return 1;
}

int inet_bind(struct rset *set, int fd, int family, const struct inet_addr *a, enum inet_bind wait)
{
	struct inet_restart *all = inet_restart(set);
	union inet_sockaddr u;
	socklen_t len = inet_sockaddr_of(a, family, &u);
	int made = 0;
	int64_t forget_at = 0;

	if (!all->deadline)
		all->deadline = io_monotonic_ns() + WAIT_NS;
	if (inet_option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM)
		inet_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	while (bind(fd, &u.any, len) < 0) {
		if (errno == EADDRNOTAVAIL && set->own_net && !made && inet_add_address(a) == 0) {
			made = 1;
			continue;
		}
		if (errno != EADDRINUSE)
			return -1;
		/* Again after a while: what was ended with the job may not have come so far yet. */
		if (wait != INET_BIND_ONCE && io_monotonic_ns() >= forget_at) {
			inet_forget_ended(a);
			forget_at = io_monotonic_ns() + FORGET_NS;
			continue;
		}
		if (!may_become_free(all, a, wait)) {
			errno = EADDRINUSE;
			return -1;
		}
	}
	return 0;
}

int inet_bind_error(int errnum, const struct inet_addr *a, const char *does, struct err *err)
{
	char text[INET_TEXT];

	inet_text(a, text, sizeof(text));
	switch (errnum) {
	case EADDRINUSE:
		return err_set(err, E_BUSY, 0,
			       "%s, where the program %s, is in use here; end what uses it, or "
			       "give the job a network of its own with --namespaces=auto,net",
			       text, does);
	case EADDRNOTAVAIL:
		return err_set(err, E_KERNEL_FEATURE, 0,
			       "there is no address %s here, where the program %s; give the job a "
			       "network of its own with --namespaces=auto,net",
			       text, does);
	case EACCES: case EPERM:
		return err_set(err, E_ACCESS, 0,
			       "%s, where the program %s, may not be used by this user here", text,
			       does);
	default:
		return err_set(err, E_FAILED, errnum, "cannot take %s, where the program %s", text,
			       does);
	}
}
