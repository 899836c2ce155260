/* SPDX-License-Identifier: Apache-2.0 */
#include "mem.h"

void *memcpy(void *d, const void *s, size_t n)
{
	void *ret = d;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	return ret;
}

void *memset(void *d, int c, size_t n)
{
	void *ret = d;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return ret;
}

void *memmove(void *d, const void *s, size_t n)
{
	unsigned char *to = d;
	const unsigned char *from = s;

	if (to <= from || to >= from + n)
		return memcpy(d, s, n);
	while (n--)
		to[n] = from[n];
	return d;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t str_len(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int str_starts(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return 0;
	return 1;
}

int str_cat(char *d, size_t size, const char *s)
{
	size_t at = str_len(d), n = str_len(s);

	if (at + n + 1 > size)
		return -1;
	memcpy(d + at, s, n + 1);
	return 0;
}

int str_cat_u64(char *d, size_t size, uint64_t n)
{
	char digits[24];
	size_t i = sizeof(digits) - 1;

	digits[i] = 0;
	do
		digits[--i] = (char)('0' + n % 10);
	while (n /= 10);
	return str_cat(d, size, digits + i);
}

uint64_t str_u64(const char *s, const char **end)
{
	uint64_t n = 0;

	if (s[0] == '0' && s[1] == 'x')
		for (s += 2;; s++) {
			if (*s >= '0' && *s <= '9')
				n = n * 16 + (uint64_t)(*s - '0');
			else if (*s >= 'a' && *s <= 'f')
				n = n * 16 + (uint64_t)(*s - 'a' + 10);
			else
				break;
		}
	else
		for (; *s >= '0' && *s <= '9'; s++)
			n = n * 10 + (uint64_t)(*s - '0');
	if (end)
		*end = s;
	return n;
}

const char *str_after(const char *s, const char *what)
{
	for (; *s; s++)
		if (str_starts(s, what))
			return s + str_len(what);
	return NULL;
}
