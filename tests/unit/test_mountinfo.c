/* SPDX-License-Identifier: Apache-2.0 */
/* test_mountinfo.c - lines of /proc/PID/mountinfo as kernels write them, and such as they do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/sysmacros.h>
#include <cmocka.h>
#include "../../common/mount_calls.h"
#include "../../coordinator/mountinfo.h"

static void usual_lines(void **state)
{
	struct mounts m;
	const struct mountinfo *i;

	(void)state;
	assert_int_equal(mountinfo_parse("22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw,errors=continue\n"
					 "30 22 0:26 /a\\040b /mnt\\134x ro,nosuid,noexec,noatime master:7 propagate_from:1 - tmpfs none rw,size=4k\n"
					 "31 30 0:27 / /mnt\\134x/y rw,nodev,nodiratime unbindable - fuse.x  rw\n", &m), 0);
	assert_int_equal(m.n, 3);
	i = mountinfo_find(&m, 22);
	assert_non_null(i);
	assert_int_equal(i->dev, makedev(254, 0));
	assert_int_equal(i->shared, 1);
	assert_int_equal(i->flags, 0);
	assert_string_equal(i->options, "rw,errors=continue");
	i = mountinfo_find(&m, 30);
	assert_int_equal(i->parent, 22);
	assert_string_equal(i->root, "/a b");
	assert_string_equal(i->path, "/mnt\\x");
	assert_int_equal(i->flags, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME);
	assert_int_equal(i->master, 7);
	assert_int_equal(i->shared, 0);
	i = mountinfo_find(&m, 31);
	assert_int_equal(i->flags, MOUNT_ATTR_NODEV | MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_STRICTATIME);
	assert_true(i->unbindable);
	assert_string_equal(i->type, "fuse.x");
	assert_string_equal(i->source, "");
	assert_string_equal(i->options, "rw");
	assert_null(mountinfo_find(&m, 1));
	mountinfo_free(&m);
}

static void other_lines(void **state)
{
	static const char *const no[] = {
		"22 1 254:0 / /", "22 1 254 / / rw - ext4 x rw", "22 1 254:0 / / rw shared:1 ext4 x rw", "22 1 254:0 / / rw - ext4",
	};
	struct mounts m;

	(void)state;
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		assert_int_equal(mountinfo_parse(no[i], &m), -1);
	assert_int_equal(mountinfo_parse("", &m), 0);
	assert_int_equal(m.n, 0);
}

static void paths_below(void **state)
{
	(void)state;
	assert_string_equal(mountinfo_below("/a/b/c", "/a"), "b/c");
	assert_string_equal(mountinfo_below("/a", "/a"), "");
	assert_string_equal(mountinfo_below("/a", "/"), "a");
	assert_string_equal(mountinfo_below("/", "/"), "");
	assert_null(mountinfo_below("/ab", "/a"));
	assert_null(mountinfo_below("/a", "/a/b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usual_lines), cmocka_unit_test(other_lines), cmocka_unit_test(paths_below),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
