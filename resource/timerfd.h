/* SPDX-License-Identifier: Apache-2.0 */
/* timerfd.h - what a timerfd is set to, where the kernel does not tell. Context: HOST. */
#ifndef CKPT_TIMERFD_H
#define CKPT_TIMERFD_H

#include <stdint.h>
#include "../common/image.h"

#define NSEC		1000000000LL

/*
 * timerfd_ask() - clock, unread expirations, what is left and the period, by setting @fd and setting it back; and
 * ->now_ns. Return: -1 if it cannot be found out.
 */
int timerfd_ask(int fd, struct rec_timerfd *r);
/* timerfd_set_at() - to go off at @at_ns of its clock, 0 never, and then each @interval_ns, 0 once. 0 or -1, errno. */
int timerfd_set_at(int fd, int64_t at_ns, int64_t interval_ns);

#endif
