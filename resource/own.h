/* SPDX-License-Identifier: Apache-2.0 */
/*
 * own.h - files that their owner may not open, as their mode now is. The program opened them when it made them
 * (git has its packs read-only while it writes them), or before it took the right away; it is the owner still, and
 * so may give itself the right for as long as it takes to open them. Context: HOST.
 */
#ifndef CKPT_OWN_H
#define CKPT_OWN_H

/* own_access() - can own_open() open @path? 0, or -1 + errno. */
int own_access(const char *path, int flags);
/* own_open() - open(2); of a file of ours that its mode forbids us, too. @flags: not O_CREAT. */
int own_open(const char *path, int flags);

#endif
