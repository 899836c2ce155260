/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trial.h - would a container for the job be had here, and with what means would the restart do its
 * work? The only way to know is to make one, in a child, and let it go. For ckpt_restart --check.
 * Context: HOST.
 */
#ifndef CKPT_TRIAL_H
#define CKPT_TRIAL_H

#include <stdio.h>
#include "restart.h"

/* trial() - 0: it went, and r->way says how; -1: @err says what is in the way. */
int trial(struct restart *r, struct err *err);
/* trial_print() - r->way for a reader: what is done in the best way, and what in a slower one, and why. */
void trial_print(const struct restart *r, FILE *out);

#endif
