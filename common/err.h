/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.h - errors as values, passed up and printed once.
 *
 * A function that can fail takes `struct err *err` last, returns 0 (or something positive) on
 * success and leaves *err alone; on failure it returns -1 and *err holds a reason code and a
 * sentence that names the object, the cause and, where there is one, the remedy. The struct lives
 * in the caller's frame; nothing is allocated. Context: HOST.
 */
#ifndef CKPT_ERR_H
#define CKPT_ERR_H

#include "compiler.h"

/*
 * The reason codes of every refusal: public interface, listed in the man pages. Never renamed.
 *      code			one line for the man page
 */
#define ERR_CODES(X) \
	X(E_FAILED,		"E-FAILED",		"an operation failed; the message says which and why") \
	X(E_USAGE,		"E-USAGE",		"the command line is wrong") \
	X(E_NO_JOB,		"E-NO-JOB",		"no running job has that name") \
	X(E_NO_CHECKPOINT,	"E-NO-CHECKPOINT",	"there is no such checkpoint") \
	X(E_EXISTS,		"E-EXISTS",		"the name or directory is in use already") \
	X(E_BUSY,		"E-BUSY",		"another checkpoint of the job is under way, or a port is in use") \
	X(E_TIMEOUT,		"E-TIMEOUT",		"the time given was not enough") \
	X(E_ABORTED,		"E-ABORTED",		"the work was given up; nothing was changed") \
	X(E_SPACE,		"E-SPACE",		"the file system is full or the quota is used up") \
	X(E_ACCESS,		"E-ACCESS",		"permission denied") \
	X(E_CORRUPT,		"E-CORRUPT",		"an image is damaged or was cut short") \
	X(E_VERSION,		"E-VERSION",		"an image was written by an incompatible version") \
	X(E_ARCH,		"E-ARCH",		"the image is for another kind of processor") \
	X(E_CPU_FEATURE,	"E-CPU-FEATURE",	"the processor lacks a feature that the program uses") \
	X(E_KERNEL_FEATURE,	"E-KERNEL-FEATURE",	"the kernel or the container denies something that is needed") \
	X(E_FILE_MISSING,	"E-FILE-MISSING",	"a file that the program had open is not there") \
	X(E_FILE_CHANGED,	"E-FILE-CHANGED",	"a file that the program had open is another one now") \
	X(E_PID_TAKEN,		"E-PID-TAKEN",		"a process id that is needed is in use here") \
	X(E_NOT_PRELOADED,	"E-NOT-PRELOADED",	"a process of the job runs without the ckpt library") \
	X(E_STATIC,		"E-STATIC",		"the program is statically linked and cannot be preloaded") \
	X(E_SETUID,		"E-SETUID",		"the program is set-user-ID or has file capabilities") \
	X(E_FOREIGN_ELF,	"E-FOREIGN-ELF",	"the program is for another machine, word size or libc") \
	X(E_NO_ANSWER,		"E-NO-ANSWER",		"a process or thread did not stop in time") \
	X(E_PROCESS_DIED,	"E-PROCESS-DIED",	"a process ended in the midst of the checkpoint") \
	X(E_UNSUPPORTED_FD,	"E-UNSUPPORTED-FD",	"a file descriptor of a kind that cannot be saved") \
	X(E_UNSUPPORTED_MEMORY,	"E-UNSUPPORTED-MEMORY",	"a memory mapping of a kind that cannot be saved") \
	X(E_UNSUPPORTED_PROCESS, "E-UNSUPPORTED-PROCESS", "a process in a state that cannot be saved") \
	X(E_OUTSIDE,		"E-OUTSIDE",		"a pipe or socket leads to a process outside of the job") \
	X(E_LIMIT,		"E-LIMIT",		"a resource limit is too low")

enum err_code {
	E_NONE,
#define X(sym, text, help) sym,
	ERR_CODES(X)
#undef X
	E_COUNT
};

struct err {
	enum err_code code;
	char msg[512];
};

/*
 * err_set() - fill in an error and return -1.
 * @err: may be NULL, then only -1 is returned.
 * @errnum: 0, or an errno value whose text is appended as ": text".
 */
int err_set(struct err *err, enum err_code code, int errnum, const char *fmt, ...) PRINTF(4, 5);

/* err_prefix() - put "what: " in front of the message (which thing this happened to). Returns -1. */
int err_prefix(struct err *err, const char *fmt, ...) PRINTF(2, 3);

/* err_name() - "E-FILE-MISSING" of a code; err_by_name() the other way, E_FAILED if unknown. */
const char *err_name(enum err_code code);
enum err_code err_by_name(const char *name);

/* err_code_of_errno() - ENOSPC/EDQUOT -> E_SPACE, EACCES/EPERM -> E_ACCESS, else E_FAILED. */
enum err_code err_code_of_errno(int errnum);

#endif
