/* SPDX-License-Identifier: Apache-2.0 */
#include "xattr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include "../common/io.h"

#define OF_USERS	"user."

/* u32 bytes of the value, the name with its NUL, the value; packed. */
static void append(struct bytes *to, const char *name, const void *value, uint32_t len)
{
	size_t n = strlen(name) + 1;
	char *data = xrealloc((void *)to->data, to->len + sizeof(len) + n + len), *at = data + to->len;

	memcpy(at, &len, sizeof(len));
	memcpy(at + sizeof(len), name, n);
	memcpy(at + sizeof(len) + n, value, len);
	*to = (struct bytes){ data, to->len + sizeof(len) + n + len };
}

struct bytes xattr_save(int fd)
{
	ssize_t size = flistxattr(fd, NULL, 0), n;
	cleanup_free char *names = size > 0 ? xmalloc((size_t)size) : NULL, *value = NULL;
	struct bytes ret = { NULL, 0 };

	size = names ? flistxattr(fd, names, (size_t)size) : 0;
	for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names + at) + 1) {
		if (strncmp(names + at, OF_USERS, strlen(OF_USERS)) || (n = fgetxattr(fd, names + at, NULL, 0)) < 0)
			continue;
		value = xrealloc(value, (size_t)n + 1);
		n = fgetxattr(fd, names + at, value, (size_t)n);
		if (n >= 0)
			append(&ret, names + at, value, (uint32_t)n);
	}
	return ret;
}

int xattr_restore(int fd, struct bytes saved)
{
	const char *at = saved.data, *end = at + saved.len;
	uint32_t len;
	int ret = 0;

	while (at && (size_t)(end - at) > sizeof(len)) {
		const char *name = at + sizeof(len);
		size_t n = strnlen(name, (size_t)(end - name)) + 1;

		memcpy(&len, at, sizeof(len));
		if (n > (size_t)(end - name) || len > (size_t)(end - name) - n) {
			errno = EINVAL;
			return -1;
		}
		if (strncmp(name, OF_USERS, strlen(OF_USERS)) == 0 && fsetxattr(fd, name, name + n, len, 0) < 0)
			ret = -1;
		at = name + n + len;
	}
	return ret;
}
