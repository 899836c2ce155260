/* SPDX-License-Identifier: Apache-2.0 */
/* memfd.c - memfd_create(2): descriptions of objects, see object.h. */
#include "resource.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "../common/io.h"
#include "lock.h"
#include "object.h"

#define PREFIX		"/memfd:"
#define DELETED		" (deleted)"

static int memfd_probe(const struct desc *d)
{
	return S_ISREG(d->st.st_mode) && !d->st.st_nlink && strncmp(d->link, PREFIX, strlen(PREFIX)) == 0;
}

static int memfd_check(struct res_set *set, struct desc *d, struct err *err)
{
	cleanup_free char *name = xstrdup(d->link + strlen(PREFIX));
	size_t n = strlen(name), k = strlen(DELETED);

	if (lock_check(set, d, err))
		return -1;
	if (n >= k && strcmp(name + n - k, DELETED) == 0)
		name[n - k] = 0;
	d->priv = xmalloc(sizeof(uint64_t));
	*(uint64_t *)d->priv = object_of_desc(set, d, OBJECT_MEMFD, name)->id;
	return 0;
}

static int memfd_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	rec_put_memfd(set->recs, &(struct rec_memfd){ .desc = d->id, .object = *(uint64_t *)d->priv });
	return 0;
}

static int memfd_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_memfd *m = rset_rec(set, d, memfd, err);
	int fd;

	if (!m)
		return -1;
	fd = object_restore_fd(set, m->object, err);
	if (fd < 0)
		return -1;
	d->fd = rset_reopen(fd, d->rec->flags & ~(O_CREAT | O_EXCL | O_TRUNC));
	return d->fd < 0 ? err_set(err, E_FAILED, errno, "cannot open %s again", d->rec->name) : 0;
}

const struct res_ops res_memfd = {
	.kind = RES_MEMFD,
	.name = "memfd",
	.probe = memfd_probe,
	.check = memfd_check,
	.save = memfd_save,
	.open = memfd_open,
};
