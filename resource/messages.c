/* SPDX-License-Identifier: Apache-2.0 */
#include "messages.h"

#include <string.h>
#include "../common/io.h"

struct head {
	int64_t number;
	uint64_t len;
};

static size_t padded(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

void messages_add(struct messages *m, int64_t number, const void *text, size_t len)
{
	struct head h = { number, len };
	size_t need = m->len + sizeof(h) + padded(len);

	if (need > m->cap) {
		m->cap = 2 * need;
		m->data = xrealloc(m->data, m->cap);
	}
	memset(m->data + m->len, 0, need - m->len);
	memcpy(m->data + m->len, &h, sizeof(h));
	if (len)
		memcpy(m->data + m->len + sizeof(h), text, len);
	m->len = need;
}

int messages_next(struct messages_reader *r)
{
	struct head h;
	size_t body;

	if (r->left.len < sizeof(h))
		return 0;
	memcpy(&h, r->left.data, sizeof(h));
	body = r->left.len - sizeof(h);
	if (h.len > body)
		return 0;
	r->number = h.number;
	r->text = (const char *)r->left.data + sizeof(h);
	r->len = h.len;
	body = MIN(body, padded(h.len));
	r->left.data = (const char *)r->text + body;
	r->left.len -= sizeof(h) + body;
	return 1;
}
