/* SPDX-License-Identifier: Apache-2.0 */
/* unread.c - what is in a description that only the program may take out of it. */
#include "resource.h"

#include <poll.h>

int res_has_input(const struct desc *d)
{
	struct pollfd p = { .fd = d->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents & POLLIN;
}

enum res_unread res_unread(const struct res_set *set, const struct desc *d)
{
	enum res_unread ret = RES_UNREAD;

	if (!d->ops->unread(d))
		return RES_READ;
	for (size_t i = 0; set->was_read && i < d->nholders; i++) {
		int was = set->was_read(set->arg, d->holders[i].pid, d->holders[i].fd);

		if (was == 1)
			return RES_READ;
		if (was == 0)
			ret = RES_UNREAD_STILL;
	}
	return ret;
}

int res_lose_unread(struct res_set *set, struct desc *d, struct err *err)
{
	enum res_unread unread = res_unread(set, d);

	if (unread == RES_UNREAD)
		return res_refuse_for_now(set, d, E_UNSUPPORTED_FD, err, "it has something that the program has not read, which "
					  "could not be put back; try again when it has");
	if (unread == RES_UNREAD_STILL)
		res_warn(set, d, "what the program has not read from it is lost at a restart, as if its buffer had been full");
	return 0;
}
