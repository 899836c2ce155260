/* SPDX-License-Identifier: Apache-2.0 */
/* round_namespaces_look.c - what a namespace is like, found out by a child that enters it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/namespaces.h"
#include "round_namespaces.h"

static void read_map(const char *name, char *ret, size_t room)
{
	cleanup_free char *path = xasprintf("/proc/self/%s", name), *text = io_slurp(AT_FDCWD, path, NULL);

	if (text && strlen(text) < room)
		strcpy(ret, text);
}

static void NORETURN look(const struct round *r, int fd, int flag, struct ns_seen *seen)
{
	if (ns_enter(fd, flag))
		_exit(1);
	if (flag == CLONE_NEWUSER) {
		read_map("uid_map", seen->uid_map, sizeof(seen->uid_map));
		read_map("gid_map", seen->gid_map, sizeof(seen->gid_map));
		read_map("setgroups", seen->setgroups, sizeof(seen->setgroups));
		seen->setgroups[strcspn(seen->setgroups, "\n")] = 0;
	}
	if (flag == CLONE_NEWUTS && uname(&seen->uts))
		_exit(1);
	if ((flag == CLONE_NEWNET && ns_look_net(seen)) || (flag == CLONE_NEWTIME && ns_look_time(r, seen)))
		_exit(1);
	_exit(0);
}

struct ns_seen *ns_look(const struct round *r, int fd, int flag)
{
	struct ns_seen *seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = -1;
	pid_t pid;

	if (seen == MAP_FAILED)
		return NULL;
	pid = fork();
	if (pid == 0)
		look(r, fd, flag, seen);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status == 0)
		return seen;
	ns_seen_free(seen);
	return NULL;
}

void ns_seen_free(struct ns_seen *seen)
{
	munmap(seen, sizeof(*seen));
}

void round_names_of(pid_t pid, struct utsname *ret)
{
	cleanup_close int fd = ns_open(pid, "uts");
	struct ns_seen *seen = fd < 0 ? NULL : ns_look(NULL, fd, CLONE_NEWUTS);

	if (!seen)
		return;
	memcpy(ret->nodename, seen->uts.nodename, sizeof(ret->nodename));
	memcpy(ret->domainname, seen->uts.domainname, sizeof(ret->domainname));
	ns_seen_free(seen);
}
