/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frames.h - the registers of a thread are in its signal frame, the vector registers in a part that the kernel
 * which made it has laid out in its own size. Another kernel may not take it as it is: Linux ignores all but
 * the oldest registers of one that is larger than its own; gVisor reads as much as its own has, whatever the
 * frame says. What this one wants is found out by trying; then the frame is made so.
 */
#ifndef CKPT_FRAMES_H
#define CKPT_FRAMES_H

#include "build.h"

/* frames_probe() - raise a signal, and look. Once, before anything is made. */
void frames_probe(struct frames *ret);
/* build_frames() - ops that make the threads' frames fit; after the memory is there. */
int build_frames(struct build *b, struct err *err);

#endif
