/* SPDX-License-Identifier: Apache-2.0 */
/* sockopt.h - options of sockets of any family. Context: HOST. */
#ifndef CKPT_SOCKOPT_H
#define CKPT_SOCKOPT_H

#include "resource.h"

/* sockopt_save() - a sockopt record for every option of @fd that a new socket does not have. */
void sockopt_save(struct res_set *set, const struct desc *d);

/* sockopt_check() - refuse what cannot be read back: a BPF program. */
int sockopt_check(const struct res_set *set, const struct desc *d, struct err *err);

/*
 * When an option is set. Sizes of buffers come last: what was in a queue must fit, whatever is said
 * now.
 */
enum sockopt_when { SOCKOPT_BEFORE_BIND, SOCKOPT_LAST };
/*
 * sockopt_restore() - those saved for socket @ino, on @fd. E_ACCESS where a privilege is lacking
 * that was there.
 */
int sockopt_restore(const struct rset *set, const struct rdesc *d, int fd, enum sockopt_when when,
		    struct err *err);

#endif
