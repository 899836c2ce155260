/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_ranges.c - restart/ranges.c: the table of pages that are still to come, held against a plain
 * array with one entry per page while a random program drops, moves and loads parts of it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "restart/ranges.h"

#define PAGES	256
#define PAGE(n)	((uint64_t)(n) << 12)
#define BASE	1000		/* number of the first page: addresses are not offsets */

static struct image_extent extents[8];

/*
 * The model: for each page the offset in the image that it is to come from; 0 nothing is to come.
 */
struct model { uint64_t offset[PAGES]; };

static void same(const struct ranges *t, const struct model *m)
{
	uint64_t left = 0;

	for (size_t i = 0; i < PAGES; i++) {
		const struct range *r = ranges_find(t, PAGE(BASE + i));
		size_t k = i;

		left += m->offset[i] ? PAGE(1) : 0;
		if (!m->offset[i]) {
			assert_null(r);
			while (k < PAGES && !m->offset[k])
				k++;
			assert_int_equal(ranges_hole_end(t, PAGE(BASE + i), PAGE(BASE + PAGES)),
					 PAGE(BASE + k));
			continue;
		}
		assert_non_null(r);
		assert_true(r->addr <= PAGE(BASE + i) && PAGE(BASE + i) < r->addr + r->len);
		assert_int_equal(r->offset + (PAGE(BASE + i) - r->addr), m->offset[i]);
		assert_true(r->offset >= r->extent->offset &&
			    r->offset + r->len <= r->extent->offset + r->extent->len);
	}
	assert_int_equal(t->left, left);
	for (size_t i = 1; i < t->n; i++)
		assert_true(t->r[i - 1].addr + t->r[i - 1].len <= t->r[i].addr + t->r[i].len);
}

/* Extents of 16 pages with a hole of 8 behind each. */
static void begin(struct ranges *t, struct model *m)
{
	*t = (struct ranges){ 0 };
	memset(m, 0, sizeof(*m));
	for (size_t e = 0; e < 8; e++) {
		struct image_extent *x = &extents[e];

		*x = (struct image_extent){ PAGE(BASE + 24 * e), PAGE(16), PAGE(500 - 20 * e), 0 };
		ranges_add(t, &(struct range){ x->addr, x->len, x->offset, x, e == 3 });
		for (size_t i = 0; i < 16; i++)
			m->offset[24 * e + i] = x->offset + PAGE(i);
	}
	same(t, m);
}

static void drop(struct ranges *t, struct model *m, size_t from, size_t to)
{
	ranges_drop(t, PAGE(BASE + from), PAGE(BASE + to));
	memset(m->offset + from, 0, (to - from) * sizeof(*m->offset));
}

static void move(struct ranges *t, struct model *m, size_t from, size_t to, size_t n)
{
	uint64_t moved[PAGES];

	ranges_move(t, PAGE(BASE + from), PAGE(BASE + to), PAGE(n));
	memcpy(moved, m->offset + from, n * sizeof(*moved));
	memset(m->offset + from, 0, n * sizeof(*moved));
	memcpy(m->offset + to, moved, n * sizeof(*moved));
}

static void test_drop(void **state)
{
	struct ranges t;
	struct model m;

	(void)state;
	begin(&t, &m);
	drop(&t, &m, 4, 8);			/* out of the middle */
	same(&t, &m);
	drop(&t, &m, 0, 2);			/* the beginning */
	drop(&t, &m, 14, 20);			/* the end, and a part of the hole */
	drop(&t, &m, 30, 100);			/* several at once */
	same(&t, &m);
	drop(&t, &m, 30, 100);			/* again */
	drop(&t, &m, 0, PAGES);
	same(&t, &m);
	assert_int_equal(t.left, 0);
	ranges_free(&t);
}

static void test_move(void **state)
{
	struct ranges t;
	struct model m;

	(void)state;
	begin(&t, &m);
	move(&t, &m, 0, 200, 24);		/* into the void */
	same(&t, &m);
	move(&t, &m, 204, 50, 8);		/* onto others, in parts */
	same(&t, &m);
	move(&t, &m, 16, 30, 8);		/* a hole, which takes the place of data */
	same(&t, &m);
	ranges_free(&t);
}

static void test_next(void **state)
{
	struct ranges t;
	struct model m;
	struct range r;
	uint64_t sum = 0;

	(void)state;
	begin(&t, &m);
	assert_int_equal(ranges_next(&t, &r), 1);
	assert_int_equal(r.addr, PAGE(BASE));
	/* What is cut off of it was handed out as well. */
	drop(&t, &m, 4, 8);
	assert_int_equal(ranges_next(&t, &r), 1);
	assert_int_equal(r.addr, PAGE(BASE + 24));
	drop(&t, &m, 48, 64);			/* the next is never asked for */
	assert_int_equal(ranges_next(&t, &r), 1);
	assert_int_equal(r.addr, PAGE(BASE + 72));
	while (ranges_next(&t, &r))
		;
	ranges_again(&t);
	same(&t, &m);
	while (ranges_next(&t, &r))
		sum += r.len;
	assert_int_equal(sum, t.left);
	ranges_free(&t);
}

static void test_copy(void **state)
{
	struct ranges t, copy = { 0 };
	struct model m, of_copy;
	struct range r;

	(void)state;
	begin(&t, &m);
	drop(&t, &m, 5, 60);
	assert_int_equal(ranges_next(&t, &r), 1);
	ranges_copy(&copy, &t);
	of_copy = m;
	memset(of_copy.offset + 3 * 24, 0, 16 * sizeof(*of_copy.offset)); /* not for children */
	same(&copy, &of_copy);
	drop(&t, &m, 0, PAGES);
	same(&copy, &of_copy);
	/* A child begins at the beginning. */
	assert_int_equal(ranges_next(&copy, &r), 1);
	assert_int_equal(r.addr, PAGE(BASE));
	ranges_free(&t);
	ranges_free(&copy);
}

static void test_random(void **state)
{
	unsigned seed = 4711;

	(void)state;
	for (int job = 0; job < 300; job++) {
		struct ranges t;
		struct model m;
		struct range r;

		begin(&t, &m);
		for (int i = 0; i < 60; i++) {
			size_t from = (size_t)rand_r(&seed) % (PAGES / 2),
			       n = 1 + (size_t)rand_r(&seed) % 30;
			size_t to = (size_t)rand_r(&seed) % (PAGES - 30);

			if (rand_r(&seed) % 3 == 0 && (to >= from + n || to + n <= from))
				move(&t, &m, from, to, n);
			else if (rand_r(&seed) % 2 && ranges_next(&t, &r))
				drop(&t, &m, r.addr / PAGE(1) - BASE,
				     (r.addr + r.len) / PAGE(1) - BASE);
			else
				drop(&t, &m, to, to + n / 4);
			same(&t, &m);
		}
		/* Whatever happened, all that is left is handed out in the end. */
		while (ranges_next(&t, &r))
			ranges_drop(&t, r.addr, r.addr + r.len);
		ranges_again(&t);
		while (ranges_next(&t, &r))
			ranges_drop(&t, r.addr, r.addr + r.len);
		assert_int_equal(t.left, 0);
		ranges_free(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drop),   cmocka_unit_test(test_move),
		cmocka_unit_test(test_next),   cmocka_unit_test(test_copy),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
