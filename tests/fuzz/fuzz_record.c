/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_record.c - arbitrary bytes as the records of an image.
 *
 * With clang -fsanitize=fuzzer,address -DWITH_LIBFUZZER it is a libFuzzer target. Without, it is a
 * program that replays the files it is given or, if there are none, records that it makes and
 * damages itself.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../common/codec.h"
#include "../../common/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

/* Look at all that the decoder gives out. */
static void touch(const struct rec_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct rec_desc_entry *e = rec_entry(l->recs[i].tag);

		for (size_t k = 0; k < e->nfields; k++) {
			const void *p = (const char *)l->recs[i].body + e->fields[k].offset;
			const struct bytes *v = p;

			if (e->fields[k].type == REC_str)
				sink += strlen(*(const char *const *)p);
			else if (e->fields[k].type == REC_bytes)
				for (size_t n = 0; n < v->len; n++)
					sink += ((const unsigned char *)v->data)[n];
		}
	}
}

/*
 * The same bytes in an image whose checksums are right: what image_open() accepts must be usable.
 */
static void as_image(const uint8_t *data, size_t size)
{
	struct rec_buf b = { .data = (unsigned char *)data, .len = size };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct image img;

	if (fd < 0 || image_finish(fd, "fuzz", &b, 16 * PAGE_SIZE, NULL, NULL, NULL) < 0)
		abort();
	if (image_open_fd(fd, "fuzz", &img, NULL) < 0)
		return;
	codec_verify_image(&img, NULL, NULL, NULL);
	image_close(&img);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rec_list l;

	if (rec_parse(data, size, &l, NULL) < 0)
		return 0;
	touch(&l);
	rec_list_free(&l);
	as_image(data, size);
	return 0;
}

#ifndef WITH_LIBFUZZER
static uint64_t seed = 0x9e3779b97f4a7c15ULL;

static uint64_t roll(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

static void make(struct rec_buf *b)
{
	struct image_extent e[2] = { { 0x1000, 0x2000, 0x1000, 0 }, { 0x5000, 0x1000, 0x3000, 0 } };
	struct codec_chunk c = { 0x1000, 0x4000, 0x1000, 0x4000, 0 };

	rec_put_process(b, &(struct rec_process){ .pid = 1, .comm = "comm", .exe = "/bin/true" });
	rec_put_pipe_data(b, &(struct rec_pipe_data){ .size = 65536, .data = { "data", 4 } });
	rec_put_extents(b, &(struct rec_extents){ .table = { e, sizeof(e) } });
	rec_put_content(
		b, &(struct rec_content){ .id = 1, .size = 0x9000, .extents = { e, sizeof(e) } });
	if (roll(2))
		rec_put_chunks(b, &(struct rec_chunks){ .codec = "zstd", .raw_end = 0x9000,
							.table = { &c, sizeof(c) } });
}

/* Small numbers, huge ones and single bits are what goes wrong. */
static void damage(unsigned char *p, size_t n)
{
	static const uint64_t words[] = { 0,	      1,	  7,	 8,	   0x1000,
					  1ULL << 32, 1ULL << 63, ~0ULL, ~0ULL - 7 };

	for (uint64_t times = 1 + roll(3); times; times--) {
		uint64_t word = words[roll(ARRAY_SIZE(words))];

		if (roll(2))
			p[roll(n)] ^= 1 << roll(8);
		else
			memcpy(p + roll(n / 8) * 8, &word, sizeof(word));
	}
}

static int replay(const char *path)
{
	size_t len;
	char *data = io_slurp(AT_FDCWD, path, &len);

	if (!data) {
		perror(path);
		return 1;
	}
	LLVMFuzzerTestOneInput((const uint8_t *)data, len);
	free(data);
	return 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= replay(argv[i]);
	for (int i = 0; argc == 1 && i < 20000; i++) {
		struct rec_buf b = { 0 };
		unsigned char *copy;
		size_t len;

		make(&b);
		damage(b.data, b.len);
		len = roll(4) ? b.len : roll(b.len);
		copy = memcpy(xmalloc(len), b.data, len);
		LLVMFuzzerTestOneInput(copy, len);
		free(copy);
		rec_buf_free(&b);
	}
	return failed;
}
#endif
