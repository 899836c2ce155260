/* SPDX-License-Identifier: Apache-2.0 */
/* inet_addr.c - addresses of both families. */
#include "inet.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

struct inet_addr inet_addr_of(struct bytes b)
{
	union inet_sockaddr u;
	struct inet_addr a;

	memset(&a, 0, sizeof(a));
	memset(&u, 0, sizeof(u));
	memcpy(&u, b.data ? b.data : "", b.data ? MIN(b.len, sizeof(u)) : 0);
	if (u.any.sa_family == AF_INET6) {
		memcpy(a.ip, &u.in6.sin6_addr, sizeof(a.ip));
		a.port = ntohs(u.in6.sin6_port);
		a.scope = u.in6.sin6_scope_id;
	} else if (u.any.sa_family == AF_INET) {
		memcpy(a.ip, mapped, sizeof(mapped));
		memcpy(a.ip + 12, &u.in.sin_addr, 4);
		a.port = ntohs(u.in.sin_port);
	}
	return a;
}

struct bytes inet_name(int fd, int (*get)(int, struct sockaddr *, socklen_t *),
		       union inet_sockaddr *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	if (get(fd, &ret->any, &len) < 0)
		return (struct bytes){ 0 };
	return (struct bytes){ ret, MIN((size_t)len, sizeof(*ret)) };
}

int inet_addr_same(const struct inet_addr *a, const struct inet_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int inet_addr_wildcard(const struct inet_addr *a)
{
	static const uint8_t none[16];

	return memcmp(a->ip, none, 16) == 0 ||
	       (memcmp(a->ip, mapped, 12) == 0 && memcmp(a->ip + 12, none, 4) == 0);
}

int inet_addr_is_v4(const struct inet_addr *a)
{
	return memcmp(a->ip, mapped, sizeof(mapped)) == 0;
}

int inet_addr_covers(const struct inet_addr *bound, const struct inet_addr *a)
{
	return bound->port == a->port &&
	       (inet_addr_wildcard(bound) || memcmp(bound->ip, a->ip, 16) == 0);
}

socklen_t inet_sockaddr_of(const struct inet_addr *a, int family, union inet_sockaddr *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->any.sa_family = family;
	if (family == AF_INET6) {
		memcpy(&ret->in6.sin6_addr, a->ip, 16);
		ret->in6.sin6_port = htons(a->port);
		ret->in6.sin6_scope_id = a->scope;
		return sizeof(ret->in6);
	}
	memcpy(&ret->in.sin_addr, a->ip + 12, 4);
	ret->in.sin_port = htons(a->port);
	return sizeof(ret->in);
}

const char *inet_text(const struct inet_addr *a, char *buf, size_t len)
{
	int four = inet_addr_is_v4(a);
	char host[INET6_ADDRSTRLEN] = "?";

	inet_ntop(four ? AF_INET : AF_INET6, four ? a->ip + 12 : a->ip, host, sizeof(host));
	snprintf(buf, len, four ? "%s:%u" : "[%s]:%u", host, a->port);
	return buf;
}

int inet_option(int fd, int level, int name)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) < 0 ? -1 : v;
}

int inet_set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

int inet_is_stream(const struct rec_socket *r)
{
	return r->type == SOCK_STREAM;
}
