/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tty.h - what waits in the two directions of a pseudo terminal. The kernel cannot be asked without
 * reading it, so saving takes it out and puts it back at once, while everything that could see that
 * stands still. Context: HOST.
 */
#ifndef CKPT_TTY_H
#define CKPT_TTY_H

#include <asm/termbits.h>
#include "resource.h"

struct tty_data { char *data; size_t len; };	/* data: malloc'ed */

/* tty_put_output() - let @data be what the master side reads next. 0, or -1 + errno. */
int tty_put_output(int master, int slave, const void *data, size_t len);
/*
 * tty_put_input() - let @data be what the slave side reads next, as if it had been typed and
 * echoed before. The terminal's settings must be @t, and are afterwards. 0, or -1 + errno.
 */
int tty_put_input(int master, int slave, const struct termios *t, const void *data, size_t len);
/* tty_look_output(), tty_look_input() - a copy of what waits there. @slave: a description of our own, O_NONBLOCK. */
int tty_look_output(int master, int slave, struct tty_data *ret);
int tty_look_input(int master, int slave, const struct termios *t, struct tty_data *ret);

#endif
