/* SPDX-License-Identifier: Apache-2.0 */
/*
 * messages.h - a list of messages in one field of a record: each i64 type or priority, u64 length,
 * the bytes, padded to 8. For both kinds of message queue. Context: HOST.
 */
#ifndef CKPT_MESSAGES_H
#define CKPT_MESSAGES_H

#include "../common/record.h"

struct messages {
	unsigned char *data;
	size_t len, cap;
};
/* messages_add() - append one. Zero-initialise; free .data. */
void messages_add(struct messages *m, int64_t number, const void *text, size_t len);

struct messages_reader {
	struct bytes left;
	int64_t number;
	const void *text;
	size_t len;
};
/*
 * messages_next() - 1: number, text and len are those of the next one; 0: there is none (or none
 * that is whole).
 */
int messages_next(struct messages_reader *r);

#endif
