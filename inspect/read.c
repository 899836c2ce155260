/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read.c - the read verb: bytes of a process's memory, as they are or as a dump of hexadecimal
 * numbers.
 */
#include "inspect.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/units.h"

#define STEP	(1UL << 20)

static int number(const char *s, int base, uint64_t max, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(s, &end, base);
	return errno || end == s || *end || *s == '-' || *ret > max ? -1 : 0;
}

/* An address is hexadecimal with or without 0x, as /proc/PID/maps and debuggers write it. */
static int arguments(const struct options *o, uint64_t *pid, uint64_t *addr, uint64_t *len,
		     struct err *err)
{
	if (o->nargs != 3)
		return err_set(err, E_USAGE, 0, "read takes PID, ADDRESS and LENGTH");
	if (number(o->args[0], 10, UINT32_MAX, pid) < 0)
		return err_set(err, E_USAGE, 0, "\"%s\" is not a process id", o->args[0]);
	if (number(o->args[1], 16, INT64_MAX, addr) < 0)
		return err_set(err, E_USAGE, 0, "\"%s\" is not an address", o->args[1]);
	if (units_parse_size(o->args[2], len) < 0 && number(o->args[2], 0, INT64_MAX, len) < 0)
		return err_set(err, E_USAGE, 0, "\"%s\" is not a length", o->args[2]);
	return 0;
}

static void dump(uint64_t addr, const unsigned char *p, size_t n)
{
	for (size_t row = 0; row < n; row += 16) {
		printf("%012llx ", (unsigned long long)(addr + row));
		for (size_t i = row; i < row + 16; i++) {
			if (i < n)
				printf("%s%02x", i % 8 ? " " : "  ", p[i]);
			else
				printf("%s", i % 8 ? "   " : "    ");
		}
		printf("  |");
		for (size_t i = row; i < row + 16 && i < n; i++)
			putchar(p[i] < 0x80 && isprint(p[i]) ? p[i] : '.');
		printf("|\n");
	}
}

int verb_read(struct ckpt *c, const struct options *o, struct err *err)
{
	cleanup_close int out = -1;
	cleanup_free unsigned char *buf = NULL;
	uint64_t pid, addr, len;
	struct proc *p;

	if (arguments(o, &pid, &addr, &len, err) < 0)
		return -1;
	p = load_proc(c, pid, err);
	if (!p)
		return -1;
	if (o->output) {
		out = open(o->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (out < 0)
			return err_set(err, err_code_of_errno(errno), errno, "cannot create %s",
				       o->output);
	}
	buf = xmalloc(STEP);
	while (len) {
		size_t n = MIN(len, STEP);

		if (memory_read(p, addr, buf, n, err) < 0)
			return -1;
		if (!o->output && !o->raw)
			dump(addr, buf, n);
		else if (io_write_full(o->output ? out : STDOUT_FILENO, buf, n) < 0)
			return err_set(err, err_code_of_errno(errno), errno,
				       "cannot write the bytes");
		addr += n;
		len -= n;
	}
	return 0;
}
