/* SPDX-License-Identifier: Apache-2.0 */
/* epoll.h - what an epoll watches, however that is found out. Context: HOST. */
#ifndef CKPT_EPOLL_H
#define CKPT_EPOLL_H

#include <sys/epoll.h>
#include "resource.h"

/* @tfd: the number under which @target (a description's id; 0 nobody knows) was added. */
struct epoll_item { int tfd; uint32_t events; uint64_t data; uint32_t target; };

/* desc.priv */
struct epoll_items { size_t n; struct epoll_item item[]; };

void epoll_items_add(struct desc *d, const struct epoll_item *it);

/* epoll_ctl_as() - epoll_ctl() with @fd in the place of @number for the time of the call. */
int epoll_ctl_as(int ep, int op, int fd, int number, struct epoll_event *ev);
/* epoll_allow_number() - the numbers a program used may lie above our own soft limit. */
void epoll_allow_number(int number);

/* epoll_notes_look() - where the kernel does not tell: the items of @d by the notes of its processes. */
int epoll_notes_look(struct res_set *set, struct desc *d, struct err *err);

#endif
