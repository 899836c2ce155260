/* SPDX-License-Identifier: Apache-2.0 */
/* fanotify_group.c - see fanotify.h. */
#include "fanotify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/proc.h"

/* Of Linux 5.9, 5.17 and 6.0. */
#define REPORT_FIDS	(0x200 | 0x400 | 0x800 | 0x1000)
#define EVICTABLE	0x200
#define IGNORE		0x400
#define SURV_MODIFY	0x40

/* ---- what is told ---- */

/* seq_file writes blanks and the like in a path as \040. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++)
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	*to = 0;
}

/* Does @path lead to the mount of that number, or is another one on top of it? */
static int leads_to(const struct res_set *set, const char *path, int number)
{
	cleanup_free char *seen = xasprintf("%s%s", set->root ? set->root : "", path);
	struct statx st;

	return statx(AT_FDCWD, seen, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_MNT_ID, &st) == 0 &&
	       st.stx_mask & STATX_MNT_ID && st.stx_mnt_id == (uint64_t)number;
}

char *fanotify_mount(const struct res_set *set, const struct fanotify_mark *m)
{
	const char *slash = set->root ? strrchr(set->root, '/') : NULL;
	cleanup_free char *text = slash ? proc_readf(NULL, "/%.*s/mountinfo", (int)(slash - set->root), set->root)
					: proc_readf(NULL, "/proc/self/mountinfo");
	char *save, *line;

	for (line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		unsigned int maj, min;
		char path[4096];
		int number;

		if (sscanf(line, "%d %*d %u:%u %*s %4095s", &number, &maj, &min, path) != 4)
			continue;
		unescape(path);
		if ((m->type == FAN_MARK_MOUNT ? (unsigned int)number == m->number : (maj << 20 | min) == m->number) &&
		    leads_to(set, path, number))
			return xstrdup(path);
	}
	return NULL;
}

/* Whom of them all it concerns is not told: a moment at which nobody waits is soon there. */
int fanotify_awaited(void)
{
	pid_t *pids = NULL, *tids = NULL;
	ssize_t npids = proc_list(0, "", &pids), n;
	int found = 0;

	for (ssize_t i = 0; i < npids && !found; i++) {
		n = proc_list(pids[i], "task", &tids);
		for (ssize_t k = 0; k < n && !found; k++) {
			cleanup_free char *where = proc_readf(NULL, "/proc/%d/task/%d/wchan", (int)pids[i], (int)tids[k]);

			found = where && strncmp(where, "fanotify_", 9) == 0;
		}
		free(tids);
		tids = NULL;
	}
	free(pids);
	return found;
}

int fanotify_has_audit(int fd)
{
	/* To an event that there cannot be; whether it could be audited is looked at first. */
	struct fanotify_response r = { .fd = INT32_MAX, .response = FAN_ALLOW | FAN_AUDIT };

	return write(fd, &r, sizeof(r)) < 0 && errno == ENOENT;
}

int fanotify_is_privileged(int fd, uint32_t flags)
{
	if (flags & ~(uint32_t)(REPORT_FIDS | FAN_CLOEXEC | FAN_NONBLOCK) || !(flags & REPORT_FIDS))
		return 1;	/* nobody else may have that */
	/* It cannot give permissions; but that is looked at only when mounts may be marked at all. */
	return fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN_PERM, AT_FDCWD, "/") < 0 && errno != EPERM;
}

/* ---- making it again ---- */

int fanotify_no_right(struct err *err)
{
	return err_set(err, E_ACCESS, 0, "the program uses fanotify as only root outside of user namespaces may "
		       "(CAP_SYS_ADMIN); restore it as root, with --namespaces that has no user");
}

/* Made with rights that it did not have, it would tell more. */
static int make_without_rights(unsigned int flags, unsigned int event_flags)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct now[2], less[2];
	int fd, e;

	if (syscall(SYS_capget, &head, now) < 0)
		return -1;
	memcpy(less, now, sizeof(less));
	less[0].effective &= ~(1u << CAP_SYS_ADMIN);
	if (syscall(SYS_capset, &head, less) < 0)
		return -1;
	fd = fanotify_init(flags, event_flags);
	e = errno;
	syscall(SYS_capset, &head, now);
	errno = e;
	return fd;
}

int fanotify_make(const struct rec_fanotify *r, struct err *err)
{
	unsigned int flags = r->flags | FAN_CLOEXEC;
	int fd = r->privileged ? fanotify_init(flags, r->event_flags) : make_without_rights(flags, r->event_flags);

	if (fd >= 0)
		return fd;
	if (errno == EPERM)
		return fanotify_no_right(err);
	if (errno == EMFILE)
		return err_set(err, E_LIMIT, 0, "cannot make a fanotify group; raise fs.fanotify.max_user_groups or the limit "
			       "of open files");
	return err_set(err, E_KERNEL_FEATURE, errno, "this kernel has no fanotify with flags %x, which the program uses",
		       r->flags);
}

static int mark(int fd, const struct rec_fanotify_mark *m, unsigned int flags, uint64_t mask, const char *path,
		struct err *err)
{
	if (!mask || fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_DONT_FOLLOW | m->type | flags, mask, AT_FDCWD, path) == 0)
		return 0;
	if (errno == ENOENT || errno == ENOTDIR)
		return err_set(err, E_FILE_MISSING, 0, "%s, which the program watches (fanotify), is not there; put it back, "
			       "or name another with --bind", path);
	if (errno == EPERM)
		return fanotify_no_right(err);
	return err_set(err, errno == ENOSPC ? E_LIMIT : errno == EACCES ? E_ACCESS : E_KERNEL_FEATURE, errno,
		       "cannot watch %s (fanotify)", path);
}

int fanotify_put(int fd, const struct rec_fanotify_mark *m, const char *path, struct err *err)
{
	unsigned int flags = m->flags & EVICTABLE;
	uint64_t mask = m->mask;
	struct statx st;

	if (m->type != FAN_MARK_INODE && m->type != FAN_MARK_MOUNT && m->type != FAN_MARK_FILESYSTEM)
		return err_set(err, E_CORRUPT, 0, "impossible kind of mark %u", m->type);
	/* Else the mount that it lies in would be watched, which may be everything. */
	if (m->type == FAN_MARK_MOUNT && statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &st) == 0 &&
	    st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT && !(st.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return err_set(err, E_FILE_CHANGED, 0, "%s, a mount that the program watches (fanotify), is none here", path);
	/* What has no children, the kernel itself may have said that of, and would not take it back. */
	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &st) == 0 && !S_ISDIR(st.stx_mode))
		mask &= ~(uint64_t)FAN_EVENT_ON_CHILD;
	return mark(fd, m, flags, mask, path, err) < 0 ||
	       mark(fd, m, flags | (m->flags & IGNORE ? IGNORE : FAN_MARK_IGNORED_MASK) | (m->flags & SURV_MODIFY), m->ignored,
		    path, err) < 0 ? -1 : 0;
}
