/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "../common/io.h"
#include "build.h"

struct build_op *build_op(struct build_ops *ops, uint32_t flags, uint32_t code, uint64_t nr,
			  uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	if (ops->n == ops->cap) {
		ops->cap = ops->cap ? 2 * ops->cap : 64;
		ops->ops = xrealloc(ops->ops, ops->cap * sizeof(*ops->ops));
	}
	ops->ops[ops->n] = (struct build_op){
		.op = {.code = code, .flags = flags, .nr = nr, .arg = {a, b, c, d, e, f}}};
	return &ops->ops[ops->n++];
}

uint64_t build_data(struct build *b, const void *data, size_t len)
{
	size_t at = (b->blob_len + 15) & ~15UL;

	if (at + len > b->blob_cap) {
		b->blob_cap = 2 * (at + len) + 4096;
		b->blob = xrealloc(b->blob, b->blob_cap);
	}
	memset(b->blob + b->blob_len, 0, at - b->blob_len);
	memcpy(b->blob + at, data, len);
	b->blob_len = at + len;
	return at;
}

void build_ptr(struct build *b, struct build_op *op, int arg, const void *data, size_t len)
{
	op->op.arg[arg] = build_data(b, data, len);
	op->relocate |= 1u << arg;
}

void build_use(struct build *b, uint64_t start, uint64_t end)
{
	b->used = xrealloc(b->used, (b->nused + 1) * sizeof(*b->used));
	b->used[b->nused++] = (struct span){ start, end };
}
