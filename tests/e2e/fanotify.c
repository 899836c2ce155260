/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>

const char *scn_doc = "fanotify groups and their marks, on files, directories, mounts and file systems, with what is ignored and "
		      "who gives permissions, go on as far as the user may have them";

enum { IGNORE = 0x400, SURVIVE = 0x40, DFID_NAME = 0xc00, NOPERM = -2 };

struct seen { uint64_t mask; int fd, has_name; char name[64]; };

static void touch(const char *name) { close(scn_sys(open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600))); }

static int group(unsigned int flags)
{
	return fanotify_init(flags | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_LARGEFILE | O_CLOEXEC);
}

static void mark(int fd, unsigned int how, uint64_t mask, const char *path)
{
	scn_sys(fanotify_mark(fd, FAN_MARK_ADD | how, mask, AT_FDCWD, path));
}

static int unread(int fd)
{
	int n = -1;

	scn_sys(ioctl(fd, FIONREAD, &n));
	return n;
}

/* The next event, with the name that it may tell. 0: there is none. */
static int take(int fd, struct seen *ret)
{
	static char buf[4096] __attribute__((aligned(8)));
	static size_t at, len;
	const struct fanotify_event_metadata *m;

	*ret = (struct seen){ .fd = -1 };
	if (at == len) {
		ssize_t n = read(fd, buf, sizeof(buf));

		at = 0;
		len = n > 0 ? (size_t)n : 0;
		if (!len)
			return 0;
	}
	m = (const void *)(buf + at);
	ret->mask = m->mask;
	ret->fd = m->fd;
	for (size_t i = sizeof(*m); i < m->event_len;) {
		const struct fanotify_event_info_header *h = (const void *)(buf + at + i);
		const struct fanotify_event_info_fid *f = (const void *)h;
		const struct file_handle *handle = (const void *)f->handle;

		if (h->info_type == 2 /* FAN_EVENT_INFO_TYPE_DFID_NAME */) {
			ret->has_name = 1;
			snprintf(ret->name, sizeof(ret->name), "%s", (const char *)handle->f_handle + handle->handle_bytes);
		}
		i += h->len;
	}
	at += m->event_len;
	return 1;
}

static void none(int fd, const char *what)
{
	struct seen s;

	scn_check(!take(fd, &s), "%s: an event %llx", what, (unsigned long long)s.mask);
}

static void expect(int fd, const char *what, uint64_t mask, const char *name)
{
	struct seen s;

	scn_check(take(fd, &s), "%s: no event", what);
	scn_check(s.mask == mask, "%s: event %llx", what, (unsigned long long)s.mask);
	scn_check(!name || (s.has_name && !strcmp(s.name, name)), "%s: of %s", what, s.name);
	if (s.fd >= 0)
		close(s.fd);
}

/* ---- what everybody may have ---- */

static int names, self;

static void set_up_names(void)
{
	scn_sys(mkdir("dir", 0755));
	touch("dir/old");
	touch("file");
	names = group(DFID_NAME);
	self = group(FAN_REPORT_FID);
	if (names < 0 || self < 0)
		scn_skip("this kernel lets nobody but root have fanotify (%s)", strerror(errno));
	mark(names, 0, FAN_CREATE | FAN_DELETE | FAN_MOVED_TO | FAN_ONDIR | FAN_EVENT_ON_CHILD, "dir");
	mark(names, 0, FAN_ATTRIB | FAN_CLOSE_WRITE, "file");
	mark(self, 0, FAN_MODIFY | FAN_DELETE_SELF, "dir/old");
	scn_sys(rename("file", "other"));	/* by its number it is found where it is now */
	scn_sys(chmod("other", 0640));
	expect(names, "a renamed file", FAN_ATTRIB, NULL);
}

static void check_names(void)
{
	touch("dir/new");
	expect(names, "made", FAN_CREATE, "new");
	scn_sys(mkdir("dir/sub", 0755));
	expect(names, "made", FAN_CREATE | FAN_ONDIR, "sub");
	scn_sys(unlink("dir/new"));
	expect(names, "removed", FAN_DELETE, "new");
	scn_sys(chmod("other", 0600));
	expect(names, "changed", FAN_ATTRIB, NULL);
	none(names, "names");
	scn_check(truncate("dir/old", 7) == 0, "truncate: %s", strerror(errno));
	expect(self, "written", FAN_MODIFY, NULL);
	scn_sys(unlink("dir/old"));
	expect(names, "removed", FAN_DELETE, "old");
	expect(self, "gone", FAN_DELETE_SELF, NULL);
	scn_sys(rmdir("dir/sub"));
	expect(names, "removed", FAN_DELETE | FAN_ONDIR, "sub");
	none(self, "self");
}

/* ---- what takes rights ---- */

static int opened = NOPERM, mounted = NOPERM, everywhere = NOPERM, permits = NOPERM;

static void set_up_rights(void)
{
	opened = group(FAN_CLASS_NOTIF);
	if (opened < 0) {
		scn_check(errno == EPERM, "fanotify_init: %s", strerror(errno));
		opened = NOPERM;
		return;
	}
	touch("quiet");
	touch("loud");
	scn_sys(mkdir("noisy", 0755));
	mark(opened, 0, FAN_OPEN, "loud");
	mark(opened, 0, FAN_OPEN, "quiet");
	mark(opened, FAN_MARK_IGNORED_MASK | SURVIVE, FAN_OPEN, "quiet");
	mark(opened, 0, FAN_OPEN | FAN_EVENT_ON_CHILD, "noisy");
	/* All that is opened anywhere would be ours, too: only what nobody else does is wanted. */
	mounted = scn_sys(group(FAN_CLASS_CONTENT));
	mark(mounted, FAN_MARK_MOUNT, 0x00001000 /* FAN_OPEN_EXEC */, "/dev/shm");
	everywhere = scn_sys(group(DFID_NAME | FAN_UNLIMITED_QUEUE));
	mark(everywhere, FAN_MARK_FILESYSTEM, FAN_MOVED_TO, "/dev/shm");
	touch("guarded");
	permits = scn_sys(group(FAN_CLASS_PRE_CONTENT));
	mark(permits, 0, FAN_OPEN_PERM, "guarded");
}

static void *ask(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)open("guarded", O_RDONLY | O_CLOEXEC);
}

static void check_permission(void)
{
	struct pollfd p = { .fd = permits, .events = POLLIN };
	struct fanotify_response answer = { .response = FAN_DENY };
	pthread_t t = scn_thread(ask, NULL);
	struct seen s;
	void *ret;

	scn_check(poll(&p, 1, 10000) == 1 && take(permits, &s), "nobody asked for permission");
	scn_check(s.mask == FAN_OPEN_PERM, "%llx", (unsigned long long)s.mask);
	answer.fd = s.fd;
	scn_check(write(permits, &answer, sizeof(answer)) == sizeof(answer), "the answer: %s", strerror(errno));
	close(s.fd);
	pthread_join(t, &ret);
	scn_check((intptr_t)ret == -1, "what was denied was opened");
}

static void line_of(int fd, const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	scn_check(strstr(scn_read_file(path), what), "no %s in: %s", what, scn_read_file(path));
}

static void check_rights(void)
{
	if (opened == NOPERM)
		return;
	touch("loud");
	expect(opened, "opened", FAN_OPEN, NULL);
	touch("quiet");
	none(opened, "ignored");
	touch("noisy/child");
	expect(opened, "a child", FAN_OPEN, NULL);
	line_of(mounted, "fanotify mnt_id:");
	line_of(mounted, "fanotify flags:7 ");
	line_of(everywhere, "fanotify sdev:");
	line_of(permits, "fanotify flags:b ");
	check_permission();
}

int main(void)
{
	set_up_names();
	set_up_rights();
	scn_checkpoint();
	scn_check(unread(names) == 0 && unread(self) == 0, "events that nobody made");
	check_names();
	check_rights();
	scn_pass();
}
