/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.c - one encoder and one decoder for all records, driven by the table made from
 * records.def.
 */
#include "record.h"

#include <endian.h>
#include "io.h"

#define HEAD_SIZE	16		/* u32 tag, u32 flags, u64 len */
#define FLAG_REQUIRED	0x1u		/* a reader that does not know the tag must refuse */

/* ---- the table ---- */

#define REC_FIELD(S, type, field, doc) { #field, REC_##type, offsetof(struct rec_##S, field), doc },
#define R(name, tag, need) \
	static const struct rec_field fields_##name[] = { REC_##name(REC_FIELD, name) };
RECORDS(R)
#undef R

enum { NEED_REQUIRED = 1, NEED_OPTIONAL = 0 };

const struct rec_desc_entry rec_table[] = {
#define R(name, tag, need) \
	{ #name, REC_TAG_##name, NEED_##need, sizeof(struct rec_##name), \
	  fields_##name, ARRAY_SIZE(fields_##name) },
	RECORDS(R)
#undef R
};
const size_t rec_table_len = ARRAY_SIZE(rec_table);

const struct rec_desc_entry *rec_entry(enum rec_tag tag)
{
	for (size_t i = 0; i < rec_table_len; i++)
		if (rec_table[i].tag == tag)
			return &rec_table[i];
	return NULL;
}

/* ---- writing ---- */

static size_t pad8(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

static unsigned char *grow(struct rec_buf *b, size_t n)
{
	if (b->cap - b->len < n) {
		size_t cap = b->cap ? b->cap * 2 : 4096;

		while (cap < b->len + n)
			cap *= 2;
		b->data = xrealloc(b->data, cap);
		b->cap = cap;
	}
	b->len += n;
	return b->data + b->len - n;
}

static void put64(struct rec_buf *b, uint64_t v)
{
	v = htole64(v);
	memcpy(grow(b, sizeof(v)), &v, sizeof(v));
}

/* @extra: zero bytes that must follow (a str's NUL) before the padding. */
static void put_blob(struct rec_buf *b, const void *data, size_t len, size_t extra)
{
	size_t whole = pad8(len + extra);
	unsigned char *p;

	put64(b, len);
	p = grow(b, whole);
	if (len)
		memcpy(p, data, len);
	memset(p + len, 0, whole - len);
}

static void put_record(struct rec_buf *b, const struct rec_desc_entry *e, const void *rec)
{
	size_t head = b->len;
	uint32_t word[2] = { htole32(e->tag), htole32(e->required ? FLAG_REQUIRED : 0) };
	uint64_t len;

	memcpy(grow(b, sizeof(word)), word, sizeof(word));
	put64(b, 0);
	for (size_t i = 0; i < e->nfields; i++) {
		const void *p = (const char *)rec + e->fields[i].offset;

		switch (e->fields[i].type) {
		case REC_u32:
			put64(b, *(const uint32_t *)p);
			break;
		case REC_u64:
		case REC_i64:
			put64(b, *(const uint64_t *)p);
			break;
		case REC_str: {
			const char *s = *(const char *const *)p;

			put_blob(b, s, s ? strlen(s) : 0, 1);
			break;
		}
		case REC_bytes: {
			const struct bytes *v = p;

			put_blob(b, v->data, v->len, 0);
			break;
		}
		}
	}
	len = htole64(b->len - head - HEAD_SIZE);
	memcpy(b->data + head + 8, &len, sizeof(len));
}

void rec_buf_free(struct rec_buf *b)
{
	free(b->data);
	*b = (struct rec_buf){ 0 };
}

/* The index of a record in rec_table, known when compiling. */
enum {
#define R(name, tag, need) INDEX_##name,
	RECORDS(R)
#undef R
};

#define R(name, tag, need) \
void rec_put_##name(struct rec_buf *b, const struct rec_##name *r) \
{ \
	put_record(b, &rec_table[INDEX_##name], r); \
}
RECORDS(R)
#undef R

/* ---- reading ---- */

/* What is left of a section or a body. It is never read behind @end. */
struct cursor { const unsigned char *p, *end; };

static int get64(struct cursor *c, uint64_t *ret)
{
	if (c->end - c->p < 8)
		return -1;
	memcpy(ret, c->p, 8);
	*ret = le64toh(*ret);
	c->p += 8;
	return 0;
}

/* The padding must be zero: so every image has exactly one encoding, and a str ends in a NUL. */
static int get_blob(struct cursor *c, size_t extra, const void **ret, size_t *ret_len)
{
	uint64_t len;
	size_t whole;

	if (get64(c, &len) < 0 || len > (size_t)(c->end - c->p))
		return -1;
	whole = pad8(len + extra);
	if (whole > (size_t)(c->end - c->p))
		return -1;
	for (size_t i = len; i < whole; i++)
		if (c->p[i])
			return -1;
	*ret = c->p;
	*ret_len = len;
	c->p += whole;
	return 0;
}

static int get_field(struct cursor *c, enum rec_field_type type, void *ret)
{
	const void *data;
	uint64_t v;
	size_t len;

	switch (type) {
	case REC_u32:
		if (get64(c, &v) < 0 || v > UINT32_MAX)
			return -1;
		*(uint32_t *)ret = v;
		return 0;
	case REC_u64:
	case REC_i64:
		return get64(c, ret);
	case REC_str:
		if (get_blob(c, 1, &data, &len) < 0 || memchr(data, 0, len))
			return -1;
		*(const char **)ret = data;
		return 0;
	case REC_bytes:
		if (get_blob(c, 0, &data, &len) < 0)
			return -1;
		*(struct bytes *)ret = (struct bytes){ data, len };
		return 0;
	}
	return -1;
}

/* Fields that an older writer did not know are absent; those of a newer one are left unread. */
static int get_body(const struct rec_desc_entry *e, struct cursor body, void *ret, struct err *err)
{
	for (size_t i = 0; i < e->nfields; i++) {
		const struct rec_field *f = &e->fields[i];
		void *p = (char *)ret + f->offset;

		if (f->type == REC_str)
			*(const char **)p = "";
		else if (f->type == REC_bytes)
			*(struct bytes *)p = (struct bytes){ "", 0 };
		if (body.p < body.end && get_field(&body, f->type, p) < 0)
			return err_set(err, E_CORRUPT, 0, "a %s record is damaged at its field %s",
				       e->name, f->name);
	}
	return 0;
}

struct head { uint32_t tag, flags; struct cursor body; };

/* 1: a record, the cursor behind it; 0: the end; -1: damaged. */
static int get_head(struct cursor *c, struct head *ret)
{
	uint32_t word[2];
	uint64_t len;

	if (c->p == c->end)
		return 0;
	if (c->end - c->p < HEAD_SIZE)
		return -1;
	memcpy(word, c->p, sizeof(word));
	c->p += sizeof(word);
	ret->tag = le32toh(word[0]);
	ret->flags = le32toh(word[1]);
	if (get64(c, &len) < 0 || len > (size_t)(c->end - c->p) || len % 8)
		return -1;
	ret->body = (struct cursor){ c->p, c->p + len };
	c->p += len;
	return 1;
}

/*
 * First pass: check all heads, count what is known. Other flags than FLAG_REQUIRED are of a future
 * that this reader cannot judge, so they count as required.
 */
static int measure(struct cursor c, size_t *ret_count, size_t *ret_size, struct err *err)
{
	const unsigned char *start = c.p;
	struct head h;
	int r;

	while ((r = get_head(&c, &h)) > 0) {
		const struct rec_desc_entry *e = rec_entry(h.tag);

		if (h.flags & ~FLAG_REQUIRED || (!e && h.flags & FLAG_REQUIRED))
			return err_set(err, E_VERSION, 0,
				       "the image holds a record (tag 0x%x, flags 0x%x) that this "
				       "version of ckpt does not know; use the version that wrote "
				       "it, or a later one", h.tag, h.flags);
		if (!e)
			continue;
		++*ret_count;
		*ret_size += pad8(e->size);
	}
	if (r < 0)
		return err_set(err, E_CORRUPT, 0, "a record's length at byte %zu of %zu is wrong",
			       (size_t)(c.p - start), (size_t)(c.end - start));
	return 0;
}

int rec_parse(const void *data, size_t len, struct rec_list *ret, struct err *err)
{
	struct cursor c = { data, (const unsigned char *)data + len };
	size_t count = 0, size = 0;
	struct rec_list l = { 0 };
	struct head h;
	char *body;

	if (measure(c, &count, &size, err) < 0)
		return -1;
	/*
	 * Sizes come from the file: too much of it is its fault, not a reason to end the program.
	 */
	l.storage = calloc(1, count * sizeof(struct rec) + size + 1);
	if (!l.storage)
		return err_set(err, E_FAILED, 0, "no memory for %zu records", count);
	l.recs = l.storage;
	body = (char *)l.storage + count * sizeof(struct rec);
	while (get_head(&c, &h) > 0) {
		const struct rec_desc_entry *e = rec_entry(h.tag);

		if (!e)
			continue;
		if (get_body(e, h.body, body, err) < 0) {
			rec_list_free(&l);
			return -1;
		}
		l.recs[l.count++] = (struct rec){ e->tag, body };
		body += pad8(e->size);
	}
	*ret = l;
	return 0;
}

void rec_list_free(struct rec_list *l)
{
	free(l->storage);
	*l = (struct rec_list){ 0 };
}

static const void *next(const struct rec_list *l, size_t *pos, enum rec_tag tag)
{
	while (*pos < l->count) {
		const struct rec *r = &l->recs[(*pos)++];

		if (r->tag == tag)
			return r->body;
	}
	return NULL;
}

#define R(name, tag, need) \
const struct rec_##name *rec_next_##name(const struct rec_list *l, size_t *pos) \
{ \
	return next(l, pos, REC_TAG_##name); \
}
RECORDS(R)
#undef R
