/* SPDX-License-Identifier: Apache-2.0 */
#include "namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "io.h"
#include "log.h"
#include "proc.h"

#define NS_PER_S	1000000000LL

static int write_file(const char *path, const char *text)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

int ns_map_ids(uint32_t uid, uid_t outer_uid, uint32_t gid, gid_t outer_gid, struct err *err)
{
	char text[64];

	snprintf(text, sizeof(text), "%u %u 1\n", uid, outer_uid);
	if (write_file("/proc/self/uid_map", text))
		return err_set(err, E_KERNEL_FEATURE, errno, "mapping the user id in a new user namespace");
	/* Without this an ordinary user may not map a group. Kernels before 3.19 have no such file. */
	if (write_file("/proc/self/setgroups", "deny\n") && errno != ENOENT)
		return err_set(err, E_KERNEL_FEATURE, errno, "giving up setgroups in a new user namespace");
	snprintf(text, sizeof(text), "%u %u 1\n", gid, outer_gid);
	if (write_file("/proc/self/gid_map", text))
		return err_set(err, E_KERNEL_FEATURE, errno, "mapping the group id in a new user namespace");
	return 0;
}

void ns_loopback(int up)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = up ? IFF_UP | IFF_RUNNING : 0 };
	cleanup_close int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s >= 0 && ioctl(s, SIOCSIFFLAGS, &ifr))
		log_info("the loopback interface stays as it is: %s", strerror(errno));
}

int ns_own_proc(void)
{
	return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

void ns_own_mqueue(void)
{
	if (access("/dev/mqueue", F_OK) == 0 &&
	    mount("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		log_info("/dev/mqueue goes on showing the queues outside: %s", strerror(errno));
}

int ns_open(pid_t pid, const char *kind)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	return open(path, O_RDONLY | O_CLOEXEC);
}

int ns_owner(int ns)
{
	return ioctl(ns, NS_GET_USERNS);
}

int ns_enter(int ns, int flag)
{
	cleanup_close int user = flag == CLONE_NEWUSER ? -1 : ns_owner(ns);

	if (user >= 0)
		(void)!setns(user, CLONE_NEWUSER);	/* fails where we are in it already */
	return setns(ns, flag);
}

int ns_made(int (*make)(void *arg), void *arg)
{
	int pair[2], fd = -1, error = EPERM;
	size_t n = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		fd = make(arg);
		error = errno;
		_exit(io_send_fds(pair[1], &error, sizeof(error), &fd, fd >= 0) < 0);
	}
	close(pair[1]);
	if (pid < 0 || io_recv_fds(pair[0], &error, sizeof(error), &fd, 1, &n) != 1 || n != 1)
		fd = -1;
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(pair[0]);
	if (fd < 0)
		errno = error;
	return fd;
}

static const char *const clock_names[NS_CLOCKS] = { "monotonic", "boottime" };

int ns_clocks(pid_t pid, int64_t ret[NS_CLOCKS])
{
	cleanup_free char *text = pid ? proc_read(pid, "timens_offsets", NULL) : proc_readf(NULL, "/proc/self/timens_offsets");

	for (int i = 0; i < NS_CLOCKS; i++) {
		const char *line = text ? strstr(text, clock_names[i]) : NULL;
		long long s = 0, ns = 0;

		if (line)
			sscanf(line + strlen(clock_names[i]), "%lld %lld", &s, &ns);
		ret[i] = s * NS_PER_S + ns;
	}
	return text ? 0 : -1;
}

void ns_clocks_text(const int64_t clocks[NS_CLOCKS], char ret[NS_CLOCKS_TEXT])
{
	size_t len = 0;

	for (int i = 0; i < NS_CLOCKS; i++) {
		long long s = clocks[i] / NS_PER_S, ns = clocks[i] % NS_PER_S;

		if (ns < 0) {
			ns += NS_PER_S;
			s--;
		}
		len += (size_t)snprintf(ret + len, NS_CLOCKS_TEXT - len, "%s %lld %lld\n", clock_names[i], s, ns);
	}
}

int ns_set_clocks(const int64_t clocks[NS_CLOCKS])
{
	char text[NS_CLOCKS_TEXT];

	ns_clocks_text(clocks, text);
	return write_file("/proc/self/timens_offsets", text);
}

struct wanted_socket { int netns, domain, type, protocol; };

static int make_socket(void *arg)
{
	const struct wanted_socket *w = arg;

	return ns_enter(w->netns, CLONE_NEWNET) ? -1 : socket(w->domain, w->type, w->protocol);
}

int ns_socket(int netns, int domain, int type, int protocol)
{
	struct wanted_socket w = { netns, domain, type, protocol };

	return ns_made(make_socket, &w);
}
