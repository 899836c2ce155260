/* SPDX-License-Identifier: Apache-2.0 */
/* conn.c - see conn.h. */

#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../common/io.h"

#define HEAD		4		/* the length in front of each message */
#define READ_PIECE	65536u
#define READ_AT_ONCE	(1u << 20)	/* then the other connections get their turn */

void conn_init(struct conn *c, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	*c = (struct conn){ .fd = fd };
	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->in);
	free(c->out);
	*c = (struct conn){ .fd = -1, .eof = 1, .broken = 1 };
}

void conn_fill(struct conn *c)
{
	size_t got = 0;

	while (!c->eof && got < READ_AT_ONCE && c->in_len < HEAD + CONTROL_MAX + READ_PIECE) {
		ssize_t n;

		if (c->in_cap - c->in_len < READ_PIECE) {
			c->in_cap = c->in_cap * 2 + READ_PIECE;
			c->in = xrealloc(c->in, c->in_cap);
		}
		n = recv(c->fd, c->in + c->in_len, READ_PIECE, MSG_DONTWAIT);
		if (n > 0) {
			c->in_len += (size_t)n;
			got += (size_t)n;
		} else if (n == 0) {
			c->eof = 1;
		} else if (errno == EAGAIN) {
			return;
		} else if (errno != EINTR) {
			c->eof = c->broken = 1;
		}
	}
}

static uint32_t get_le32(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;

	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

int conn_next(struct conn *c, json_t **ret, struct err *err)
{
	json_error_t why;
	uint32_t len;

	if (c->in_len < HEAD)
		return 0;
	len = get_le32(c->in);
	if (len > CONTROL_MAX)
		return err_set(err, E_USAGE, 0, "a message of %u bytes is longer than the %u that are allowed",
			       len, CONTROL_MAX);
	if (c->in_len - HEAD < len)
		return 0;
	*ret = json_loadb(c->in + HEAD, len, JSON_REJECT_DUPLICATES, &why);
	c->in_len -= HEAD + len;
	memmove(c->in, c->in + HEAD + len, c->in_len);
	if (!*ret)
		return err_set(err, E_USAGE, 0, "a message is not JSON: %s", why.text);
	if (!json_is_object(*ret)) {
		json_decref(*ret);
		return err_set(err, E_USAGE, 0, "a message is not a JSON object");
	}
	return 1;
}

size_t conn_pending(const struct conn *c)
{
	return c->out_len - c->out_off;
}

void conn_flush(struct conn *c)
{
	while (!c->broken && conn_pending(c)) {
		ssize_t n = send(c->fd, c->out + c->out_off, conn_pending(c), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0)
			c->out_off += (size_t)n;
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR)
			c->broken = 1;
	}
	c->out_off = c->out_len = 0;
}

void conn_put(struct conn *c, json_t *msg)
{
	size_t len = json_dumpb(msg, NULL, 0, JSON_COMPACT);
	char *p;

	if (c->broken || len == 0 || conn_pending(c) + HEAD + len > CONTROL_MAX) {
		c->broken = 1;
		json_decref(msg);
		return;
	}
	if (c->out_off) {
		memmove(c->out, c->out + c->out_off, conn_pending(c));
		c->out_len -= c->out_off;
		c->out_off = 0;
	}
	if (c->out_cap - c->out_len < HEAD + len) {
		c->out_cap = c->out_len + HEAD + len;
		c->out = xrealloc(c->out, c->out_cap);
	}
	p = c->out + c->out_len;
	for (int i = 0; i < HEAD; i++)
		p[i] = (char)(len >> 8 * i);
	json_dumpb(msg, p + HEAD, len, JSON_COMPACT);
	c->out_len += HEAD + len;
	json_decref(msg);
	conn_flush(c);
}
