/* SPDX-License-Identifier: Apache-2.0 */
/* features.h - which newer features of the kernel are to be had here, by trying them. Context: HOST. */
#ifndef CKPT_FEATURES_H
#define CKPT_FEATURES_H

#include <stdio.h>

/* features_print() - one line each: name, yes or no with the reason, what it is for. */
void features_print(FILE *out);

#endif
