/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mutate.c - mutate FROM TO SEED: a copy of a checkpoint with damage that no checksum tells.
 *
 * One of its images gets up to three changes in its records: a number, a bit, a record that is
 * missing, doubled, shortened or out of order. All checksums are made right again, so that what
 * follows them is put to the test, as by an image that somebody made with ill intent. Says on
 * stdout what it did; the same SEED does the same.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../common/image.h"
#include "../../common/io.h"

#define MANIFEST	"checkpoint.img"
#define HEAD		16	/* of a record: tag, flags, length of the body */
#define FILES_MAX	64
#define RECORDS_MAX	65536

/* A record as it stands in the file. */
struct raw { unsigned char *p; size_t len; };

struct copy {
	struct image from;
	struct raw recs[RECORDS_MAX];
	size_t n;
};

static uint64_t seed;

static uint64_t roll(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

static void NORETURN die(const char *what)
{
	fprintf(stderr, "mutate: %s: %m\n", what);
	exit(2);
}

static void load(int dir, const char *name, struct copy *ret)
{
	unsigned char *p, *end;
	struct err err;

	if (image_open(dir, name, &ret->from, &err) < 0) {
		fprintf(stderr, "mutate: %s\n", err.msg);
		exit(2);
	}
	p = ret->from.meta;
	end = p + ret->from.meta_len;
	for (ret->n = 0; p < end && ret->n < RECORDS_MAX / 2; ret->n++) {
		uint64_t len;

		memcpy(&len, p + 8, sizeof(len));
		ret->recs[ret->n] = (struct raw){ p, HEAD + len };
		p += HEAD + len;
	}
}

static void store(int dir, const char *name, struct copy *c, uint64_t *ret_size, uint64_t *ret_hash)
{
	struct rec_buf out = { 0 };
	uint64_t end = c->from.data_end, done = 0;
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	loff_t in = 0;

	for (size_t i = 0; i < c->n; i++) {
		out.data = xrealloc(out.data, out.len + c->recs[i].len);
		memcpy(out.data + out.len, c->recs[i].p, c->recs[i].len);
		out.len += c->recs[i].len;
	}
	while (fd >= 0 && done < end) {
		ssize_t n = copy_file_range(c->from.fd, &in, fd, NULL, end - done, 0);

		if (n <= 0)
			die(name);
		done += (uint64_t)n;
	}
	if (fd < 0 || image_finish(fd, name, &out, end, ret_size, ret_hash, NULL) < 0)
		die(name);
	close(fd);
	rec_buf_free(&out);
}

/* Small numbers, limits of types, addresses at the edges, near misses. */
static uint64_t other(uint64_t old)
{
	static const uint64_t values[] = {
		0, 1, 2, 3, 7, 8, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1ULL << 32,
		1ULL << 40, 4096, 0x7ffffffff000, 0x800000000000, INT64_MAX, 1ULL << 63, ~0ULL,
		~0ULL - 4095,
	};

	switch (roll(6)) {
	case 0: return old + 1;
	case 1: return old - 1;
	case 2: return old + 4096;
	case 3: return old ^ 1ULL << roll(64);
	default: return values[roll(ARRAY_SIZE(values))];
	}
}

static void change_number(struct raw *r, size_t i)
{
	size_t at = HEAD + 8 * roll((r->len - HEAD) / 8);
	uint64_t old, v;

	memcpy(&old, r->p + at, sizeof(old));
	v = other(old);
	memcpy(r->p + at, &v, sizeof(v));
	printf("record %zu, byte %zu: %#llx instead of %#llx\n", i, at - HEAD,
	       (unsigned long long)v, (unsigned long long)old);
}

static void shorten(struct raw *r, size_t i)
{
	uint64_t len = 8 * roll((r->len - HEAD) / 8);

	memcpy(r->p + 8, &len, sizeof(len));
	r->len = HEAD + len;
	printf("record %zu: only %llu bytes\n", i, (unsigned long long)len);
}

static void change(struct copy *c)
{
	size_t i = roll(c->n), to = roll(c->n);
	struct raw *r = &c->recs[i], copy = *r;
	unsigned int what = (unsigned int)roll(16), tag;

	memcpy(&tag, r->p, sizeof(tag));
	printf("%#x: ", tag);
	if (what < 10 && r->len >= HEAD + 8) {
		change_number(r, i);
	} else if (what < 12 && r->len > HEAD) {
		size_t at = HEAD + roll(r->len - HEAD);

		r->p[at] ^= 1 << roll(8);
		printf("record %zu, byte %zu: one bit\n", i, at - HEAD);
	} else if (what == 12 && r->len >= HEAD + 8) {
		shorten(r, i);
	} else if (what == 13) {
		printf("record %zu twice\n", i);
		c->recs[c->n++] = copy;
	} else if (what == 14 && c->n > 1) {
		printf("no record %zu\n", i);
		memmove(r, r + 1, (--c->n - i) * sizeof(*r));
	} else {
		printf("record %zu for %zu\n", i, to);
		*r = c->recs[to];
		c->recs[to] = copy;
	}
}

/* Its size and checksum in the manifest: the last two fields of its record. */
static void tell_manifest(int from, int to, const char *name, uint64_t size, uint64_t hash)
{
	static struct copy c;
	size_t len = strlen(name);

	load(from, MANIFEST, &c);
	for (size_t i = 0; i < c.n; i++) {
		struct raw *r = &c.recs[i];
		unsigned int tag;

		memcpy(&tag, r->p, sizeof(tag));
		if (tag != REC_TAG_image || memcmp(r->p + HEAD + 8, name, len + 1))
			continue;
		memcpy(r->p + r->len - 16, &size, sizeof(size));
		memcpy(r->p + r->len - 8, &hash, sizeof(hash));
	}
	store(to, MANIFEST, &c, NULL, NULL);
}

int main(int argc, char **argv)
{
	static struct copy c;
	char *names[FILES_MAX];
	const char *victim;
	const struct dirent *e;
	uint64_t size, hash;
	size_t n = 0;
	int from, to;
	DIR *d;

	if (argc != 4 || !(d = opendir(argv[1])) || mkdir(argv[2], 0700) < 0)
		die("mutate FROM TO SEED");
	from = dirfd(d);
	to = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	seed = strtoull(argv[3], NULL, 10) * 0x9e3779b97f4a7c15ULL + 1;
	while ((e = readdir(d)) && n < FILES_MAX)
		if (*e->d_name != '.')
			names[n++] = xstrdup(e->d_name);
	if (!n)
		die(argv[1]);
	victim = roll(3) ? names[roll(n)] : MANIFEST;
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], victim) && strcmp(names[i], MANIFEST) &&
		    linkat(from, names[i], to, names[i], 0) < 0)
			die(names[i]);
	load(from, victim, &c);
	printf("%s: %zu records\n", victim, c.n);
	for (uint64_t times = 1 + roll(3); times && c.n; times--)
		change(&c);
	store(to, victim, &c, &size, &hash);
	if (strcmp(victim, MANIFEST))
		tell_manifest(from, to, victim, size, hash);
	return 0;
}
