/* SPDX-License-Identifier: Apache-2.0 */
/*
 * find_index.h - names by inode number: directories are read once, for however many inodes are looked
 * for. What is found is a candidate: numbers are not unique, and names change. Context: HOST.
 */
#ifndef CKPT_FIND_INDEX_H
#define CKPT_FIND_INDEX_H

#include <stddef.h>
#include <stdint.h>

struct find_index;

struct find_index *find_index_new(void);
/*
 * find_index_avoid() - the directory with that inode number, and those in it, are not to be read: somebody is told
 * when they are.
 */
void find_index_avoid(struct find_index *x, uint64_t ino);
/* find_index_add() - the name @path, and those of the directories that it lies in. */
void find_index_add(struct find_index *x, const char *path);
/*
 * find_index_walk() - what lies in directory @dir, and in @levels levels of directories below it, the nearest
 * first; of very many not all. What the kernel makes up (/proc, /sys) is left out.
 */
void find_index_walk(struct find_index *x, const char *dir, unsigned int levels);
/* find_index_next() - the next name with inode number @ino, malloc'ed; *pos 0 at first. NULL: no more. */
char *find_index_next(const struct find_index *x, uint64_t ino, size_t *pos);
void find_index_free(struct find_index *x);

#endif
