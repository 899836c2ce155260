/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stdio_hold.h - let go of the standard streams while the program runs, and still have stderr when a
 * last word is due. A program that closes its end of a pipe must be the one that ends it, so the
 * front keeps none open; an O_PATH descriptor remembers a pipe without being a writer of it.
 * Context: HOST.
 */
#ifndef CKPT_STDIO_HOLD_H
#define CKPT_STDIO_HOLD_H

struct stdio_hold {
	int path_fd;			/* stderr, O_PATH; -1: fd 2 is still stderr itself */
};

/* stdio_hold_release() - 0 and 1 become /dev/null, and so does 2 if it is a pipe. */
void stdio_hold_release(struct stdio_hold *h);
/* stdio_hold_back() - 2 is stderr again, as far as anybody reads it. */
void stdio_hold_back(struct stdio_hold *h);

#endif
