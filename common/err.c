/* SPDX-License-Identifier: Apache-2.0 */
#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[E_COUNT] = {
#define X(sym, text, help) [sym] = text,
	ERR_CODES(X)
#undef X
};

/* append() - cut where the room ends; the gcc check of snprintf("%s") calls that a mistake. */
static void append(char *text, size_t size, const char *more)
{
	size_t len = strlen(text), n = strnlen(more, size - len - 1);

	memcpy(text + len, more, n);
	text[len + n] = 0;
}

int err_set(struct err *err, enum err_code code, int errnum, const char *fmt, ...)
{
	/* Arguments may point into err->msg: format aside, then copy. */
	char text[sizeof(err->msg)], buf[128];
	va_list ap;

	if (!err)
		return -1;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (errnum) {
		append(text, sizeof(text), ": ");
		append(text, sizeof(text), strerror_r(errnum, buf, sizeof(buf)));
	}
	err->code = code;
	memcpy(err->msg, text, strlen(text) + 1);
	return -1;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
	char text[sizeof(err->msg)];
	va_list ap;

	if (!err)
		return -1;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	append(text, sizeof(text), ": ");
	append(text, sizeof(text), err->msg);
	memcpy(err->msg, text, strlen(text) + 1);
	return -1;
}

const char *err_name(enum err_code code)
{
	/* E_NONE has no name: an error without a code is still a failure to whoever prints it. */
	if (code <= E_NONE || code >= E_COUNT)
		return names[E_FAILED];
	return names[code];
}

enum err_code err_by_name(const char *name)
{
	int i;

	for (i = E_NONE + 1; name && i < E_COUNT; i++)
		if (!strcmp(names[i], name))
			return i;
	return E_FAILED;
}

enum err_code err_code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return E_SPACE;
	case EACCES:
	case EPERM:
		return E_ACCESS;
	default:
		return E_FAILED;
	}
}
