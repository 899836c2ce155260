/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - checkpoints that lie in directories: listing, naming, removing. Needs no coordinator.
 *
 * A job's checkpoints are ROOT/JOB/ID (paths_store_root()), or DIR/ID with --checkpoint-dir=DIR,
 * which several jobs may share. Beside them a checkpoint that is being written, or removed, is a hidden
 * directory .ID.tmp-PID-WHERE; WHERE tells pid namespaces and boots apart, so that one whose process
 * is gone can be cleared away by whoever sees it next. Context: HOST.
 */
#ifndef CKPT_STORE_H
#define CKPT_STORE_H

#include <sys/types.h>
#include "../common/err.h"

#define STORE_MANIFEST	"checkpoint.img"

struct store_entry {
	char *job, *id, *path;
	char *host, *command;		/* "" when the manifest is not readable */
	uint64_t created_ns;		/* CLOCK_REALTIME */
	uint64_t bytes;			/* of all its files */
	uint64_t pause_ns, write_ns;
	uint32_t processes;		/* zombies not counted */
	int periodic;			/* 1: made by the interval */
	int complete;			/* every file that the manifest lists is there in full */
	struct err problem;		/* !complete: what is wrong */
	struct err here;		/* complete: why it cannot be restored here, E_NONE: it can */
};

struct store_list { struct store_entry *entries; size_t count; };

/* store_id_valid() - 1 to 128 characters of [A-Za-z0-9._-], not beginning with '.' or '-'. */
int store_id_valid(const char *id);

/*
 * store_read() - what the checkpoint at @path is. @job, @id: its names if the manifest does not say.
 * Always fills @ret; an unreadable one is one that is not complete. Free with store_entry_free().
 */
void store_read(const char *path, const char *job, const char *id, struct store_entry *ret);
void store_entry_free(struct store_entry *e);

/*
 * store_list_dir() - append the checkpoints DIR/ID, oldest first.
 * @job: only those of that job; NULL: all. @own: the directory belongs to @job alone, so that
 * a directory without a manifest is a damaged checkpoint too, and not some other thing.
 * A directory that does not exist has none. Errors: E_ACCESS, E_FAILED.
 */
int store_list_dir(const char *dir, const char *job, int own, struct store_list *list, struct err *err);
/* store_list_root() - append those of all jobs below @root, job by job. */
int store_list_root(const char *root, struct store_list *list, struct err *err);
void store_list_free(struct store_list *list);

/* store_complete() - 1: @path holds a checkpoint whose manifest was written. */
int store_complete(const char *path);

/* store_next_id() - one more than the highest number in @dir, those being written included; from 1. */
uint64_t store_next_id(const char *dir);

/*
 * store_remove() - remove the checkpoint DIR/ID: out of sight in one step, then its files.
 * @dir is left, unless @own and now empty. Errors: E_NO_CHECKPOINT, E_ACCESS, E_FAILED.
 */
int store_remove(const char *dir, const char *id, int own, struct err *err);

/* store_is_checkpoint() - 1: directory @path is a checkpoint, or is becoming or was one (a hidden directory). */
int store_is_checkpoint(const char *path);
/* store_tmp_path() - the hidden directory in which process @pid writes @target; malloc'ed. */
char *store_tmp_path(const char *target, pid_t pid);
/* store_remove_stale() - clear away hidden directories in @dir whose process is gone. */
void store_remove_stale(const char *dir);

/*
 * store_mkdirs() - as paths_mkdirs(); *ret_made: topmost directory that was not there before, or NULL.
 * store_unmake() - take back what store_mkdirs() made, as far as it is empty.
 */
int store_mkdirs(const char *path, char **ret_made, struct err *err);
void store_unmake(const char *path, const char *made);

#endif
