/* SPDX-License-Identifier: Apache-2.0 */
/* device.c - devices without a state of their own. All others are refused by name. */
#include "resource.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../common/io.h"

/* Numbers are fixed: Documentation/admin-guide/devices.txt. */
static const struct { unsigned int major, minor; const char *path; } known[] = {
	{ 1, 3, "/dev/null" }, { 1, 5, "/dev/zero" }, { 1, 7, "/dev/full" }, { 1, 8, "/dev/random" },
	{ 1, 9, "/dev/urandom" }, { 1, 11, "/dev/kmsg" },
};

static const struct { unsigned int major; const char *why; } refused[] = {
	{ 195,	"an NVIDIA graphics processor keeps state that cannot be saved; end the program's GPU work first" },
	{ 226,	"a graphics processor keeps state that cannot be saved; let the program render in software" },
	{ 116,	"a sound device cannot be saved; let the program close it first" },
	{ 13,	"an input device cannot be saved; let the program close it first" },
	{ 29,	"a frame buffer cannot be saved; let the program close it first" },
	{ 231,	"an InfiniBand device keeps state that cannot be saved; let the program use TCP or shared memory" },
};

static int device_probe(const struct desc *d)
{
	return S_ISCHR(d->st.st_mode) || S_ISBLK(d->st.st_mode);
}

static const char *known_path(uint64_t rdev)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (makedev(known[i].major, known[i].minor) == rdev)
			return known[i].path;
	return NULL;
}

static int device_check(struct res_set *set, struct desc *d, struct err *err)
{
	if (S_ISCHR(d->st.st_mode) && (known_path(d->st.st_rdev) || d->std >= 0))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (S_ISCHR(d->st.st_mode) && major(d->st.st_rdev) == refused[i].major)
			return res_refuse(set, d, E_UNSUPPORTED_FD, err, "%s", refused[i].why);
	return res_refuse(set, d, E_UNSUPPORTED_FD, err, "the state of device %u:%u cannot be saved; let the program "
			  "close it first", major(d->st.st_rdev), minor(d->st.st_rdev));
}

static int device_save(struct res_set *set, struct desc *d, struct err *err UNUSED)
{
	rec_put_file(set->recs, &(struct rec_file){
		.desc = d->id,
		.path = d->link,
		.mode = d->st.st_mode,
		.rdev = d->st.st_rdev,
		.linked = d->st.st_nlink,
	});
	return 0;
}

static int device_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_file *f = rset_rec(set, d, file, err);
	const char *usual;
	char path[PATH_MAX];
	struct stat st;
	int flags;

	if (!f)
		return -1;
	if (d->rec->std >= 0)
		return rset_std(set, d, err);
	usual = known_path(f->rdev);
	flags = (d->rec->flags & ~(O_CREAT | O_EXCL | O_TRUNC)) | O_NOCTTY | O_CLOEXEC;
	/* Its own node, or where such devices are everywhere. */
	if (rset_path(set, f->path, path, sizeof(path)) < 0 || stat(path, &st) < 0 || st.st_rdev != f->rdev)
		strcpy(path, usual ? usual : f->path);
	d->fd = open(path, flags);
	if (d->fd < 0)
		return err_set(err, errno == ENOENT ? E_FILE_MISSING : err_code_of_errno(errno), errno,
			       "cannot open device %s", path);
	if (fstat(d->fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != f->rdev)
		return err_set(err, E_FILE_CHANGED, 0, "%s is another kind of file here", path);
	d->pos = -1;
	return 0;
}

const struct res_ops res_device = {
	.kind = RES_DEVICE,
	.name = "device",
	.probe = device_probe,
	.check = device_check,
	.save = device_save,
	.open = device_open,
};
