/* SPDX-License-Identifier: Apache-2.0 */
/* test_record.c - every record there and back; everything a file could do to the decoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "../../common/io.h"
#include "../../common/record.h"

static const char *const words[] = { "",	 "a",	      "seven c",
				     "eight ch", "nine char", "/a/longer/path with \xc3\xa4" };

/* Fill record number @n's fields with values that differ from one another. */
static void fill(const struct rec_desc_entry *e, void *rec, uint64_t n)
{
	for (size_t i = 0; i < e->nfields; i++) {
		void *p = (char *)rec + e->fields[i].offset;
		const char *word = words[(n + i) % ARRAY_SIZE(words)];

		switch (e->fields[i].type) {
		case REC_u32:
			*(uint32_t *)p = UINT32_MAX - n - i;
			break;
		case REC_u64:
			*(uint64_t *)p = UINT64_MAX - n - i;
			break;
		case REC_i64:
			*(int64_t *)p = -1 - (int64_t)(n + i);
			break;
		case REC_str:
			*(const char **)p = word;
			break;
		case REC_bytes:
			*(struct bytes *)p = (struct bytes){ word, strlen(word) + (*word ? 1 : 0) };
			break;
		}
	}
}

static void compare(const struct rec_desc_entry *e, const void *a, const void *b)
{
	for (size_t i = 0; i < e->nfields; i++) {
		const void *p = (const char *)a + e->fields[i].offset;
		const void *q = (const char *)b + e->fields[i].offset;
		const struct bytes *x = p, *y = q;

		switch (e->fields[i].type) {
		case REC_u32:
			assert_int_equal(*(const uint32_t *)p, *(const uint32_t *)q);
			break;
		case REC_u64:
		case REC_i64:
			assert_true(*(const uint64_t *)p == *(const uint64_t *)q);
			break;
		case REC_str:
			assert_string_equal(*(char *const *)p, *(char *const *)q);
			break;
		case REC_bytes:
			assert_int_equal(x->len, y->len);
			if (x->len)
				assert_memory_equal(x->data, y->data, x->len);
			break;
		}
	}
}

/* One record of every kind. */
static void put_all(struct rec_buf *b)
{
#define R(name, tag, need) { \
	struct rec_##name r; \
	fill(rec_entry(REC_TAG_##name), &r, tag); \
	rec_put_##name(b, &r); \
}
	RECORDS(R)
#undef R
}

/* In a block of exactly @len bytes, so that a sanitizer or valgrind sees a step outside. */
static int parse_copy(const void *data, size_t len, struct rec_list *ret, void **ret_copy,
		      struct err *err)
{
	*ret_copy = memcpy(xmalloc(len), data, len);
	return rec_parse(*ret_copy, len, ret, err);
}

static int parse_only(const void *data, size_t len, struct err *err)
{
	struct rec_list l;
	void *copy;
	int r = parse_copy(data, len, &l, &copy, err);

	if (r == 0)
		rec_list_free(&l);
	free(copy);
	return r;
}

static void test_all_kinds(void **state)
{
	struct rec_buf b = { 0 };
	struct rec_list l;
	struct err err = { 0 };

	(void)state;
	put_all(&b);
	assert_int_equal(rec_parse(b.data, b.len, &l, &err), 0);
	assert_int_equal(l.count, rec_table_len);
	for (size_t i = 0; i < rec_table_len; i++) {
		char want[1024];

		assert_true(rec_table[i].size <= sizeof(want));
		assert_int_equal(l.recs[i].tag, rec_table[i].tag);
		fill(&rec_table[i], want, rec_table[i].tag);
		compare(&rec_table[i], want, l.recs[i].body);
	}
	assert_ptr_equal(rec_first(job, &l), l.recs[0].body);
	rec_list_free(&l);
	rec_buf_free(&b);
}

static void test_next(void **state)
{
	struct rec_buf b = { 0 };
	struct rec_list l;
	size_t pos = 0;

	(void)state;
	rec_put_fd(&b, &(struct rec_fd){ .fd = 1 });
	rec_put_eventfd(&b, &(struct rec_eventfd){ .desc = 9 });
	rec_put_fd(&b, &(struct rec_fd){ .fd = 2 });
	assert_int_equal(rec_parse(b.data, b.len, &l, NULL), 0);
	assert_int_equal(rec_next_fd(&l, &pos)->fd, 1);
	assert_int_equal(rec_next_fd(&l, &pos)->fd, 2);
	assert_null(rec_next_fd(&l, &pos));
	assert_int_equal(rec_first(eventfd, &l)->desc, 9);
	assert_null(rec_first(job, &l));
	rec_list_free(&l);
	rec_buf_free(&b);
}

static void test_null_str(void **state)
{
	struct rec_buf b = { 0 };
	struct rec_list l;

	(void)state;
	rec_put_file(&b, &(struct rec_file){ .size = 1 });
	assert_int_equal(rec_parse(b.data, b.len, &l, NULL), 0);
	assert_string_equal(rec_first(file, &l)->path, "");
	rec_list_free(&l);
	rec_buf_free(&b);
}

static void test_empty(void **state)
{
	struct rec_list l;

	(void)state;
	assert_int_equal(rec_parse("", 0, &l, NULL), 0);
	assert_int_equal(l.count, 0);
	assert_null(rec_first(job, &l));
	rec_list_free(&l);
}

/*
 * A cut between two records cannot be seen here (the image's checksum sees it); any other must be.
 */
static void test_truncated(void **state)
{
	struct rec_buf b = { 0 };
	size_t whole = 0;

	(void)state;
	put_all(&b);
	for (size_t len = 0; len < b.len; len++) {
		struct err err = { 0 };

		if (parse_only(b.data, len, &err) == 0)
			whole++;
		else
			assert_int_equal(err.code, E_CORRUPT);
	}
	assert_int_equal(whole, rec_table_len);
	rec_buf_free(&b);
}

/* Touch every byte that a record gives out. */
static uint64_t touch(const struct rec_list *l)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < l->count; i++) {
		const struct rec_desc_entry *e = rec_entry(l->recs[i].tag);

		for (size_t k = 0; k < e->nfields; k++) {
			const void *p = (const char *)l->recs[i].body + e->fields[k].offset;
			const struct bytes *v = p;

			if (e->fields[k].type == REC_str)
				sum += strlen(*(const char *const *)p);
			else if (e->fields[k].type == REC_bytes)
				for (size_t n = 0; n < v->len; n++)
					sum += ((const unsigned char *)v->data)[n];
		}
	}
	return sum;
}

static void test_flipped(void **state)
{
	static const unsigned char masks[] = { 0x01, 0x80, 0xff };
	static volatile uint64_t sink;
	struct rec_buf b = { 0 };

	(void)state;
	put_all(&b);
	for (size_t i = 0; i < b.len; i++) {
		for (size_t m = 0; m < ARRAY_SIZE(masks); m++) {
			struct rec_list l;
			struct err err = { 0 };
			void *copy;

			b.data[i] ^= masks[m];
			if (parse_copy(b.data, b.len, &l, &copy, &err) == 0) {
				sink += touch(&l);
				rec_list_free(&l);
			} else {
				assert_true(err.code == E_CORRUPT || err.code == E_VERSION);
			}
			free(copy);
			b.data[i] ^= masks[m];
		}
	}
	rec_buf_free(&b);
}

/* ---- hand-made records ---- */

struct raw { uint64_t word[16]; };

static size_t head_at(uint64_t *word, uint32_t tag, uint32_t flags, uint64_t len)
{
	word[0] = tag | (uint64_t)flags << 32;
	word[1] = len;
	return 16;
}

static size_t head(struct raw *r, uint32_t tag, uint32_t flags, uint64_t len)
{
	return head_at(r->word, tag, flags, len);
}

static void test_unknown(void **state)
{
	struct raw r = { { 0 } };
	struct rec_list l;
	struct err err = { 0 };

	(void)state;
	head(&r, 0x7777, 0, 8);
	r.word[2] = 42;
	head_at(&r.word[3], REC_TAG_epoll, 1, 8);
	r.word[5] = 5;
	assert_int_equal(rec_parse(&r, 48, &l, &err), 0);
	assert_int_equal(l.count, 1);
	assert_int_equal(rec_first(epoll, &l)->desc, 5);
	rec_list_free(&l);

	head(&r, 0x7777, 1, 8);
	assert_int_equal(parse_only(&r, 48, &err), -1);
	assert_int_equal(err.code, E_VERSION);

	/* A flag of the future, on a record that is known. */
	head(&r, REC_TAG_epoll, 3, 8);
	assert_int_equal(parse_only(&r, 24, &err), -1);
	assert_int_equal(err.code, E_VERSION);
}

/* An older writer's record lacks the last fields, a newer one's has more of them. */
static void test_fields_absent_and_more(void **state)
{
	struct raw r = { { 0 } };
	struct rec_list l;

	(void)state;
	head(&r, REC_TAG_file, 1, 8);
	r.word[2] = 3;
	assert_int_equal(rec_parse(&r, 24, &l, NULL), 0);
	assert_int_equal(rec_first(file, &l)->desc, 3);
	assert_string_equal(rec_first(file, &l)->path, "");
	assert_int_equal(rec_first(file, &l)->size, 0);
	rec_list_free(&l);

	head(&r, REC_TAG_pipe_data, 1, 0);
	assert_int_equal(rec_parse(&r, 16, &l, NULL), 0);
	assert_non_null(rec_first(pipe_data, &l)->data.data);
	assert_int_equal(rec_first(pipe_data, &l)->data.len, 0);
	rec_list_free(&l);

	head(&r, REC_TAG_epoll, 1, 40);
	r.word[2] = 8;
	r.word[3] = ~0ULL;
	assert_int_equal(rec_parse(&r, 56, &l, NULL), 0);
	assert_int_equal(rec_first(epoll, &l)->desc, 8);
	rec_list_free(&l);
}

/* A mount record is four strings; put @len and @text where the first one stands. */
static int parse_str(uint64_t len, const void *text, size_t n)
{
	struct raw r = { { 0 } };
	struct err err = { 0 };
	int ret;

	head(&r, REC_TAG_mount, 0, 8 + n);
	r.word[2] = len;
	memcpy(&r.word[3], text, n);
	ret = parse_only(&r, 24 + n, &err);
	if (ret < 0)
		assert_int_equal(err.code, E_CORRUPT);
	return ret;
}

static void test_strings(void **state)
{
	(void)state;
	assert_int_equal(parse_str(3, "abc\0\0\0\0\0", 8), 0);
	assert_int_equal(parse_str(7, "abcdefg\0", 8), 0);
	assert_int_equal(parse_str(0, "\0\0\0\0\0\0\0\0", 8), 0);
	assert_int_equal(parse_str(8, "abcdefgh", 8), -1);			/* no NUL */
	assert_int_equal(parse_str(3, "abcd\0\0\0\0", 8), -1);			/* no NUL there */
	assert_int_equal(parse_str(3, "a\0c\0\0\0\0\0", 8), -1);		/* a NUL inside */
	assert_int_equal(parse_str(3, "abc\0x\0\0\0", 8), -1);			/* padding */
	assert_int_equal(parse_str(~0ULL, "abc\0\0\0\0\0", 8), -1); /* lengths that wrap around */
	assert_int_equal(parse_str(~0ULL - 7, "abc\0\0\0\0\0", 8), -1);
	assert_int_equal(parse_str(1ULL << 63, "abc\0\0\0\0\0", 8), -1);
	assert_int_equal(parse_str(9, "abc\0\0\0\0\0", 8), -1);
	assert_int_equal(parse_str(0, "", 0), -1); /* not even room for the NUL */
}

static void test_numbers(void **state)
{
	struct raw r = { { 0 } };
	struct err err = { 0 };

	(void)state;
	head(&r, REC_TAG_epoll, 1, 8);
	r.word[2] = 1ULL << 32;
	assert_int_equal(parse_only(&r, 24, &err), -1);
	assert_int_equal(err.code, E_CORRUPT);
}

static void test_record_lengths(void **state)
{
	static const uint64_t bad[] = { 1, 7, 12, 32, 1ULL << 63, ~0ULL, ~0ULL - 7, ~0ULL - 15 };
	struct raw r = { { 0 } };
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		head(&r, 0x7777, 0, bad[i]);
		assert_int_equal(parse_only(&r, 40, &err), -1);
		assert_int_equal(err.code, E_CORRUPT);
	}
}

/* Tags and tables are a contract with files on disk. */
static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < rec_table_len; i++) {
		assert_ptr_equal(rec_entry(rec_table[i].tag), &rec_table[i]);
		assert_true(rec_table[i].nfields > 0);
		for (size_t k = 0; k < i; k++) {
			assert_int_not_equal(rec_table[i].tag, rec_table[k].tag);
			assert_string_not_equal(rec_table[i].name, rec_table[k].name);
		}
	}
	assert_int_equal(REC_TAG_job, 0x0101);
	assert_int_equal(REC_TAG_extents, 0x0402);
	assert_null(rec_entry(0x7777));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_kinds),
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_null_str),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_fields_absent_and_more),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_record_lengths),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
