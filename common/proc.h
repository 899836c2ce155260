/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc.h - typed readers of /proc/PID/... for our own programs (HOST; the library inside the program
 * has none of this). @pid is always a pid of our own pid namespace. Nothing here keeps state.
 */
#ifndef CKPT_PROC_H
#define CKPT_PROC_H

#include <sys/stat.h>
#include <sys/types.h>
#include "err.h"

/* proc_read() - whole of /proc/PID/NAME, malloc'ed and NUL-terminated, length in *ret_len (may be NULL). NULL + errno. */
char *proc_read(pid_t pid, const char *name, size_t *ret_len);
/* proc_readf() - the same of a path that is formatted: absolute, or below /proc. */
char *proc_readf(size_t *ret_len, const char *fmt, ...) PRINTF(2, 3);
/* proc_open_fd(), proc_lookup() - open(2) and stat(2) of /proc/PID/NAME. -1 + errno. */
int proc_open_fd(pid_t pid, const char *name, int flags);
int proc_lookup(pid_t pid, const char *name, struct stat *ret);
/* proc_link() - readlink of /proc/PID/NAME, malloc'ed. NULL + errno. */
char *proc_link(pid_t pid, const char *name);

#define PROC_HIDDEN	1
struct proc_stat {			/* proc_pid_stat(5); numbers as our namespace sees them */
	pid_t pid, ppid, pgrp, session, tpgid;
	char comm[64];
	char state;
	int tty_nr, nice, num_threads, exit_signal, processor, exit_code;
	uint64_t start_time, rt_priority, policy;
	uint64_t cpu_ms;		/* processor time that it has used */
	/* The first is PROC_HIDDEN, and all others are worth nothing, where we may not know. */
	uint64_t start_code, end_code, start_stack, start_data, end_data, start_brk;
	uint64_t arg_start, arg_end, env_start, env_end;
};
/* proc_stat() - @tid 0: the process, else that thread of it. Return 0, or -1 + errno (ENOENT/ESRCH: gone). */
int proc_stat(pid_t pid, pid_t tid, struct proc_stat *ret);

struct proc_status {			/* proc_pid_status(5) */
	uint64_t sig_pnd, shd_pnd, sig_blk, sig_ign, sig_cgt;
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
	uint32_t ruid, euid, suid, fsuid, rgid, egid, sgid, fsgid;
	uint32_t umask, no_new_privs, seccomp, seccomp_filters, tracer_pid, threads;
	uint32_t nspid[8], nspgid[8], nssid[8];	/* outermost (our) namespace first */
	int ns_depth;			/* entries in the three above */
	int tells_signals;		/* 0: no such lines in this kernel's file; the sets above are empty */
	int tells_umask;
	uint32_t groups[1024];		/* who is in more of them cannot be described: proc_status() fails, EOVERFLOW */
	int ngroups;
};
int proc_status(pid_t pid, pid_t tid, struct proc_status *ret);

struct proc_map {			/* one line of maps, with what smaps adds */
	uint64_t start, end, offset, dev, ino;
	int prot;			/* PROT_* */
	int shared;
	char *path;			/* malloc'ed with the array; "" for none; "(deleted)" taken off */
	int deleted;
	char vmflags[160];		/* "rd wr mr mw me ac", empty when smaps was not read */
	int pkey;
	uint64_t swap;			/* bytes in swap space; with smaps only */
	uint64_t page_size;		/* KernelPageSize in bytes; with smaps only */
	uint64_t rss;			/* bytes in memory; with smaps only */
	int has_rss;
};
struct proc_maps { struct proc_map *maps; size_t count; char *text; };
/* proc_maps() - @smaps: also VmFlags and ProtectionKey (slower). Return 0, or -1 + errno. */
int proc_maps(pid_t pid, int smaps, struct proc_maps *ret);
void proc_maps_free(struct proc_maps *m);

/* proc_open() - a descriptor that can be read when the process has ended. -1 + errno: ENOSYS in gVisor. */
int proc_open(pid_t pid);
/* proc_ended() - is it gone, or a zombie? proc_await_end() - until it has; @fd: of proc_open(), or -1. */
int proc_ended(pid_t pid);
void proc_await_end(pid_t pid, int fd);

/* proc_list() - numbers in /proc/PID/task or /proc/PID/fd or (pid 0) /proc, ascending, malloc'ed. Count, or -1 + errno. */
ssize_t proc_list(pid_t pid, const char *dir, pid_t **ret);

/* proc_field() - value behind "NAME:" at a line start in text such as fdinfo; @base as strtoull. 0 found, -1 not. */
int proc_field(const char *text, const char *name, int base, uint64_t *ret);

#endif
