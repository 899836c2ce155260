/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - the kinds, and what is said about those that are none. */
#include "table.h"

#include <string.h>

extern const struct res_ops res_file, res_directory, res_device, res_memfd, res_pipe, res_eventfd,
	res_timerfd, res_signalfd, res_tty, res_unix, res_inet, res_netlink, res_packet, res_inotify, res_fanotify, res_pidfd, res_proc, res_mqueue,
	res_epoll;

/*
 * A probe may rely on those before it having said no. memfd and mqueue before file: all are regular files. epoll
 * last: what it watches must exist, and in attach() stand at its number.
 */
const struct res_ops *const res_table[] = {
	&res_memfd,
	&res_mqueue,
	&res_pidfd,
	&res_proc,
	&res_file,
	&res_directory,
	&res_tty,
	&res_device,
	&res_pipe,
	&res_eventfd,
	&res_timerfd,
	&res_signalfd,
	&res_unix,
	&res_inet,
	&res_netlink,
	&res_packet,
	&res_inotify,
	&res_fanotify,
	&res_epoll,
	NULL
};

const struct res_ops *res_ops_of(uint32_t kind)
{
	for (size_t i = 0; res_table[i]; i++)
		if (res_table[i]->kind == kind)
			return res_table[i];
	return NULL;
}

/* What people can do about it, by the beginning of the link in /proc/PID/fd. */
static const struct { const char *link, *why; } unknown[] = {
	{ "anon_inode:[io_uring]",	"io_uring has requests and memory inside the kernel; start the job without "
					"--allow=io_uring, or let the program use read/write or epoll instead "
					"(node: UV_USE_IO_URING=0)" },
	{ "anon_inode:[perf_event]",	"a performance counter cannot be saved; stop profiling it" },
	{ "anon_inode:bpf",		"BPF objects cannot be saved" },
	{ "anon_inode:[bpf",		"BPF objects cannot be saved" },
	{ "anon_inode:[userfaultfd]",	"page faults handled by the program cannot be saved" },
	{ "anon_inode:[fscontext]",	"a file system being mounted cannot be saved" },
	{ "anon_inode:[fsmount]",	"a file system being mounted cannot be saved" },
	{ "anon_inode:kvm",		"virtual machines cannot be saved" },
	{ "anon_inode:seccomp",		"seccomp listeners cannot be saved" },
	{ "anon_inode:landlock",	"Landlock rule sets cannot be saved; close it after use" },
	{ "anon_inode:[vfio",		"devices driven by the program cannot be saved" },
	{ "anon_inode:sync_file",	"graphics fences cannot be saved; let the program render in software" },
	{ "anon_inode:",		"this kind of kernel object cannot be saved" },
	{ "/secretmem",			"secret memory cannot be read, so it cannot be saved" },
	{ "/anon_hugepage",		"this kind of kernel object cannot be saved" },
	{ "mnt:[",			"namespaces other than the job's own cannot be saved" },
};

const char *res_unknown_why(const char *link)
{
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
		if (strncmp(link, unknown[i].link, strlen(unknown[i].link)) == 0)
			return unknown[i].why;
	return "this kind of file cannot be saved";
}

static int unknown_check(struct res_set *set, struct desc *d, struct err *err)
{
	return res_refuse(set, d, E_UNSUPPORTED_FD, err, "%s", S_ISSOCK(d->st.st_mode) ?
			  "sockets of this family cannot be saved" : res_unknown_why(d->link));
}

const struct res_ops res_unknown = {
	.name = "unknown",
	.check = unknown_check,
};
