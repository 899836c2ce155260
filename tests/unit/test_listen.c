/* SPDX-License-Identifier: Apache-2.0 */
/* test_listen.c - a coordinator takes its own run directory away, once, and nobody else's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../common/paths.h"
#include "../../coordinator/listen.h"

static char root[64], dir[80];

/* begin() - a job's run directory, and the coordinator @c that has it. */
static void begin(struct coordinator *c)
{
	*c = (struct coordinator){ .name = "job", .run_dir = dir };
	assert_true(mkdir(root, 0700) == 0 || errno == EEXIST);
	assert_return_code(mkdir(dir, 0700), errno);
	c->listen_fds[c->nlisten++] = socket(AF_UNIX, SOCK_STREAM, 0);
	listen_remember(c);
}

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/ckpt-test-listen.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(dir, sizeof(dir), "%s/job", root);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return access(root, F_OK) == 0 ? paths_remove_tree(root, NULL) : 0;
}

static void goes_with_the_last_job(void **state)
{
	struct coordinator c;

	(void)state;
	begin(&c);
	listen_end(&c);
	assert_int_equal(access(root, F_OK), -1);
}

static void not_that_of_another(void **state)
{
	struct coordinator c, next;
	char aside[96];

	(void)state;
	snprintf(aside, sizeof(aside), "%s.aside", dir);
	begin(&c);
	assert_return_code(rename(dir, aside), errno);		/* there still: its number is taken */
	begin(&next);
	listen_end(&c);
	assert_return_code(access(dir, F_OK), errno);
	listen_end(&next);
}

/* File systems give a removed directory's inode number to the next one: the second call must not rely on it. */
static void not_that_of_the_next_with_its_number(void **state)
{
	struct coordinator c, next;

	(void)state;
	begin(&c);
	listen_end(&c);
	begin(&next);
	c.run_dev = next.run_dev;
	c.run_ino = next.run_ino;
	listen_end(&c);
	assert_return_code(access(dir, F_OK), errno);
	listen_end(&next);
	assert_int_equal(access(dir, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(goes_with_the_last_job, setup, teardown),
		cmocka_unit_test_setup_teardown(not_that_of_another, setup, teardown),
		cmocka_unit_test_setup_teardown(not_that_of_the_next_with_its_number, setup, teardown),
	};

	return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
