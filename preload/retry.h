/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retry.h - what retry.c and retry_part.c share: the small frame on the program's stack from which a
 * call is made in the place of the one that was interrupted. Context: HANDLER.
 */
#ifndef CKPT_RETRY_H
#define CKPT_RETRY_H

#include "agent.h"

/* How a call is given its time-out. */
enum retry_unit { RETRY_MS, RETRY_TIMESPEC, RETRY_NANOSLEEP, RETRY_NONE, RETRY_ABSOLUTE };

/* The register of each argument of a system call. */
extern HIDDEN const int retry_arg_reg[6];

/* retry_make_frame() - where the registers are kept that the program is to find again. */
HIDDEN struct retry_frame *retry_make_frame(struct park *p, greg_t *regs);
/*
 * retry_enter_frame() - let the thread make call @nr with the arguments in @regs when it leaves the handler;
 * argument @arg is the rest of the time until note.deadline.
 */
HIDDEN void retry_enter_frame(struct retry_frame *f, greg_t *regs, int64_t nr, unsigned arg,
			      enum retry_unit unit);
/* retry_handled_signal_pending() - will the program handle a signal as soon as we leave? Then EINTR is the truth. */
HIDDEN int retry_handled_signal_pending(const struct park *p);

/* retry_socket_timeout() - SO_RCVTIMEO or SO_SNDTIMEO of the socket that the call waits for, in ns; 0 none. */
HIDDEN int64_t retry_socket_timeout(int64_t nr, greg_t *regs, short *ret_events);
/*
 * retry_poll_first() - wait for the socket with what is left of its time, then make the call; it has all
 * that it waits for. If a part has been done before, the call is made from the frame, with what
 * @regs say now.
 */
HIDDEN void retry_poll_first(struct park *p, struct retry_frame *f, int64_t nr, int64_t timeout,
			     short events, greg_t *regs);
/* retry_bytes_wanted() - how many bytes the call was to transfer; 0: of a kind that is not continued. */
HIDDEN int64_t retry_bytes_wanted(int64_t nr, greg_t *regs);
/* retry_advance() - let its arguments begin @n bytes later. 0: more pieces than we have room for. */
HIDDEN int retry_advance(struct retry_frame *f, int64_t nr, uint64_t n, greg_t *regs);
/* retry_part() - the call returned a positive number: go on with the rest if our signal was the reason. */
HIDDEN void retry_part(struct park *p, int64_t nr, greg_t *regs);

#endif
