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

/* ---- all that a group can be made with, and a mark ---- */

static const struct { unsigned int flags, how; uint64_t mask; const char *path; } kinds[] = {
	{ FAN_REPORT_FID, 0, FAN_CREATE | FAN_DELETE | FAN_ONDIR | FAN_DELETE_SELF, "dir" },
	{ 0x400, 0, FAN_OPEN | FAN_EVENT_ON_CHILD, "dir" },		/* FAN_REPORT_DIR_FID */
	{ DFID_NAME, 0, FAN_MODIFY | FAN_CLOSE, "plain" },
	{ DFID_NAME | 0x1000 | FAN_REPORT_FID, 0, 0x10000000 | FAN_CREATE, "dir" }, /* FAN_REPORT_TARGET_FID, FAN_RENAME */
	{ DFID_NAME | 0x1000 | FAN_REPORT_FID, 0, FAN_MODIFY, "plain" },
	{ 0x80, 0, FAN_OPEN, "plain" },					/* FAN_REPORT_PIDFD */
	{ FAN_REPORT_TID | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS, 0, FAN_OPEN, "plain" },
	{ 0, FAN_MARK_IGNORED_MASK, FAN_OPEN, "plain" },
	{ 0, FAN_MARK_IGNORED_MASK | SURVIVE, FAN_OPEN, "dir" },
	{ 0, IGNORE | SURVIVE, FAN_OPEN | FAN_ONDIR | FAN_EVENT_ON_CHILD, "dir" },
	{ 0, 0x200, FAN_OPEN, "plain" },				/* FAN_MARK_EVICTABLE */
	{ DFID_NAME, 0x200, FAN_ATTRIB, "link" },
	{ FAN_CLASS_CONTENT, 0, FAN_OPEN, "plain" },
	{ FAN_CLASS_PRE_CONTENT | FAN_ENABLE_AUDIT, 0, FAN_ACCESS, "plain" },
};
static int group_of[ARRAY_SIZE(kinds)];
static char said[ARRAY_SIZE(kinds)][512];

/* What fdinfo says of it, but for what all descriptors have. */
static const char *said_of(int fd)
{
	char path[64];
	const char *text;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	text = strstr(scn_read_file(path), "fanotify ");
	return text ? text : "";
}

static void set_up_kinds(void)
{
	touch("plain");
	scn_sys(symlink("plain", "link"));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		group_of[i] = group(kinds[i].flags);
		/* Who may not have it, and kernels that do not know it. */
		if (group_of[i] >= 0 && fanotify_mark(group_of[i], FAN_MARK_ADD | FAN_MARK_DONT_FOLLOW | kinds[i].how,
						      kinds[i].mask, AT_FDCWD, kinds[i].path) < 0) {
			close(group_of[i]);
			group_of[i] = -1;
		}
		if (group_of[i] >= 0)
			snprintf(said[i], sizeof(said[i]), "%s", said_of(group_of[i]));
	}
}

static void check_kinds(void)
{
	struct fanotify_response r = { .fd = INT32_MAX, .response = FAN_ALLOW | FAN_AUDIT };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		scn_check(group_of[i] < 0 || !strcmp(said[i], said_of(group_of[i])), "number %zu was\n%s and is\n%s", i, said[i],
			  said_of(group_of[i]));
	/* Only by this can it be seen that answers may be audited. */
	scn_check(group_of[ARRAY_SIZE(kinds) - 1] < 0 ||
		  (write(group_of[ARRAY_SIZE(kinds) - 1], &r, sizeof(r)) < 0 && errno == ENOENT), "FAN_ENABLE_AUDIT: %s",
		  strerror(errno));
}

int main(void)
{
	set_up_names();
	set_up_rights();
	set_up_kinds();
	scn_checkpoint();
	check_kinds();
	scn_check(unread(names) == 0 && unread(self) == 0, "events that nobody made");
	check_names();
	check_rights();
	scn_pass();
}
