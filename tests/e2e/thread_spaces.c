/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>

const char *scn_doc = "threads in uts and network namespaces of their own, or of another thread, or where their process has "
		      "been (unshare, setns): names, and sockets within";

enum { UTS, NET, NKINDS };
static const struct { const char *name; int flag; } spaces[NKINDS] = { { "uts", CLONE_NEWUTS }, { "net", CLONE_NEWNET } };

/* Numbers of namespaces are others after a restart; who is with whom is not. */
static ino_t number(int kind, pid_t tid)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/ns/%s", (int)tid, spaces[kind].name);
	scn_sys(stat(path, &st));
	return st.st_ino;
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = -1;

	if (fd >= 0) {
		r = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
		close(fd);
	}
	return r;
}

/* Who is not root has the rights for all that in a user namespace. */
static void get_rights(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char text[64];

	if (!uid)
		return;
	if (unshare(CLONE_NEWUSER) < 0)
		scn_skip("unshare: %s", strerror(errno));
	snprintf(text, sizeof(text), "0 %u 1", uid);
	scn_check(put("/proc/self/uid_map", text) == 0, "uid_map: %s", strerror(errno));
	put("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "0 %u 1", gid);
	scn_check(put("/proc/self/gid_map", text) == 0, "gid_map: %s", strerror(errno));
}

static void bring_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = scn_sys(socket(AF_INET, SOCK_DGRAM, 0));

	scn_sys(ioctl(fd, SIOCSIFFLAGS, &r));
	close(fd);
}

struct one {
	void (*go)(struct one *t), (*check)(struct one *t);
	int begin[2], check_now[2], listener;
	pid_t tid;
	pthread_t thread;
};

static struct one all[5];
#define THREADS (sizeof(all) / sizeof(*all))

static void own_names(struct one *t)
{
	(void)t;
	scn_sys(unshare(CLONE_NEWUTS));
	scn_sys(sethostname("thread-s", 8));
}

static void check_names(struct one *t)
{
	struct utsname u;

	(void)t;
	scn_sys(uname(&u));
	scn_check(!strcmp(u.nodename, "thread-s"), "%s", u.nodename);
}

/* In that of the first. */
static void same_names(struct one *t)
{
	char path[64];
	int fd;

	(void)t;
	snprintf(path, sizeof(path), "/proc/self/task/%d/ns/uts", (int)all[1].tid);
	fd = scn_sys(open(path, O_RDONLY | O_CLOEXEC));
	scn_sys(setns(fd, CLONE_NEWUTS));
	close(fd);
}

/* The same port for all: their networks are not the same. */
#define PORT 14447
static const struct sockaddr_in here = { .sin_family = AF_INET };

static int listen_here(void)
{
	struct sockaddr_in a = here;
	int fd = scn_sys(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

	a.sin_port = htons(PORT);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	scn_sys(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	scn_sys(listen(fd, 5));
	return fd;
}

static void connect_here(int listener)
{
	struct sockaddr_in a = here;
	int fd = scn_sys(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), got;

	a.sin_port = htons(PORT);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	scn_sys(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	got = scn_sys(accept(listener, NULL, NULL));
	close(got);
	close(fd);
}

static void own_net(struct one *t)
{
	scn_sys(unshare(CLONE_NEWNET));
	bring_up();
	t->listener = listen_here();
}

static void check_net(struct one *t) { connect_here(t->listener); }

static void *thread(void *arg)
{
	struct one *t = arg;
	char c = 0;

	t->tid = (pid_t)syscall(SYS_gettid);
	if (t->go)
		t->go(t);
	scn_sys(write(t->begin[1], &c, 1));
	scn_check(read(t->check_now[0], &c, 1) == 1, "%s", strerror(errno));
	if (t->check)
		t->check(t);
	scn_sys(write(t->begin[1], &c, 1));
	return NULL;
}

static void begin(struct one *t, void (*go)(struct one *), void (*check)(struct one *))
{
	char c;

	t->go = go;
	t->check = check;
	scn_sys(pipe(t->begin));
	scn_sys(pipe(t->check_now));
	t->thread = scn_thread(thread, t);
	scn_check(read(t->begin[0], &c, 1) == 1, "%s", strerror(errno));
}

/* Which of them are together. */
static void compare(int same[NKINDS][THREADS][THREADS], int look)
{
	for (int k = 0; k < NKINDS; k++)
		for (size_t i = 0; i < THREADS; i++)
			for (size_t j = 0; j < THREADS; j++) {
				int now = number(k, all[i].tid) == number(k, all[j].tid);

				if (look)
					same[k][i][j] = now;
				scn_check(same[k][i][j] == now, "%s namespace of threads %zu and %zu: %d", spaces[k].name, i, j,
					  now);
			}
}

int main(void)
{
	int same[NKINDS][THREADS][THREADS], listener;
	struct utsname was, now;
	char c;

	get_rights();
	/* That one stays where the process has been. */
	begin(&all[0], NULL, NULL);
	scn_sys(unshare(CLONE_NEWUTS | CLONE_NEWNET));
	scn_sys(sethostname("process", 7));
	bring_up();
	listener = listen_here();
	begin(&all[1], own_names, check_names);
	begin(&all[2], same_names, check_names);
	begin(&all[3], own_net, check_net);
	begin(&all[4], NULL, NULL);
	scn_sys(uname(&was));
	compare(same, 1);
	scn_check(!same[UTS][0][1] && !same[UTS][1][4] && same[UTS][1][2] && !same[NET][3][4] && !same[NET][0][4], "at first");

	scn_checkpoint();

	compare(same, 0);
	scn_sys(uname(&now));
	scn_check(!strcmp(was.nodename, now.nodename), "%s", now.nodename);
	connect_here(listener);
	for (size_t i = 0; i < THREADS; i++) {
		scn_sys(write(all[i].check_now[1], "", 1));
		scn_check(read(all[i].begin[0], &c, 1) == 1, "%s", strerror(errno));
	}
	scn_pass();
}
