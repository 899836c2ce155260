/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysv_shm.c - System V shared memory. The pages of a segment that is attached stand in the image
 * of a process that has it mapped, as with other shared memory (object.h); those of others are read
 * here.
 */
#include "sysv_kind.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>
#include "../common/io.h"
#include "../common/log.h"
#include "../common/proc.h"

#ifndef SHM_DEST
#define SHM_DEST	01000
#define SHM_LOCKED	02000
#endif

#ifndef SHM_HUGETLB
#define SHM_HUGETLB	04000
#endif
#ifndef SHM_HUGE_SHIFT
#define SHM_HUGE_SHIFT	26
#endif

#define PERM_BITS	0777
#define COPY_CHUNK	(1UL << 20)

uint64_t sysv_mapped_size(uint64_t size, uint32_t hugetlb)
{
	uint64_t page = hugetlb && hugetlb < 40 ? 1ULL << hugetlb : PAGE_SIZE;

	return (size + page - 1) & ~(page - 1);
}

/* ---- saving ---- */

static int is_attached(const struct sysv_job *job, uint32_t id)
{
	for (size_t i = 0; i < job->nattached; i++)
		if (job->attached[i] == id)
			return 1;
	return 0;
}

static int is_zero(const char *page)
{
	return !*page && !memcmp(page, page + 1, PAGE_SIZE - 1);
}

/*
 * The pages of @mem that hold something, into @fd. To touch a hole would fill it: those that are
 * not in the page cache are left alone, unless some are in swap space (@swapped), where they do not
 * show.
 */
static int copy_pages(int fd, char *mem, uint64_t size, int swapped)
{
	unsigned char present[COPY_CHUNK / PAGE_SIZE];

	for (uint64_t at = 0; at < size; at += COPY_CHUNK) {
		uint64_t n = MIN(COPY_CHUNK, size - at);
		int all = swapped || mincore(mem + at, n, present);

		for (uint64_t k = 0; k < n; k += PAGE_SIZE) {
			if ((!all && !(present[k / PAGE_SIZE] & 1)) || is_zero(mem + at + k))
				continue;
			if (io_pwrite_full(fd, mem + at + k, MIN(PAGE_SIZE, n - k),
					   (off_t)(at + k)))
				return -1;
		}
	}
	return 0;
}

/* The bytes of a segment that nobody has attached, in a memfd with holes. */
static int copy_out(const struct rec_sysv_shm *s, int swapped, struct err *err)
{
	char *mem = shmat((int)s->id, NULL, SHM_RDONLY);
	int fd = memfd_create("sysv", MFD_CLOEXEC), ok;

	if (mem == (void *)-1 || fd < 0) {
		err_set(err, err_code_of_errno(errno), errno,
			"cannot read System V shared memory %u (key 0x%x)", s->id, s->key);
		if (mem != (void *)-1)
			shmdt(mem);
		cleanup_closep(&fd);
		return -1;
	}
	ok = ftruncate(fd, (off_t)s->size) == 0 && copy_pages(fd, mem, s->size, swapped) == 0;
	if (!ok)
		err_set(err, err_code_of_errno(errno), errno,
			"cannot copy System V shared memory %u", s->id);
	shmdt(mem);
	if (!ok) {
		close(fd);
		return -1;
	}
	return fd;
}

/* It stays only because whoever made it lives, which no kernel could be told again. */
static int check_forced(const struct rec_sysv_shm *s, struct err *err)
{
	cleanup_free char *forced = proc_readf(NULL, "/proc/sys/" SYSV_RMID_FORCED);

	if (s->attached || !forced || atoi(forced) == 0)
		return 0;
	return err_set(err, E_UNSUPPORTED_MEMORY, 0, "System V shared memory %u (key 0x%x) is attached by nobody: where "
		       "kernel.shm_rmid_forced is set it would not be there after a restart; attach or remove it first", s->id,
		       s->key);
}

int sysv_shm_collect(const struct sysv_job *job, struct rec_buf *ret, int **ret_fds,
		     size_t *ret_nfds, struct err *err)
{
	size_t n;
	cleanup_free struct sysv_row *rows = sysv_rows("shm", &n);

	for (size_t i = 0; i < n; i++) {
		const int64_t *v = rows[i].v;
		struct rec_sysv_shm s = {
			.key = (uint32_t)v[0],
			.id = (uint32_t)v[1],
			.mode = (uint32_t)v[2],
			.size = (uint64_t)v[3],
			.cpid = (uint32_t)v[4],
			.lpid = (uint32_t)v[5],
			.attached = (uint32_t)v[6],
			.uid = (uint32_t)v[7],
			.gid = (uint32_t)v[8],
			.cuid = (uint32_t)v[9],
			.cgid = (uint32_t)v[10],
			.ctime = v[13],
		};
		struct sysv_use use = {
			.uid = s.uid,
			.cuid = s.cuid,
			.changed = v[13],
			.last = MAX(v[13], MAX(v[11], v[12])),
			.pids = { s.cpid, s.lpid },
		};
		int mine = is_attached(job, s.id), fd;
		enum sysv_owner owner = mine ? SYSV_OURS : sysv_whose(job, &use);

		/*
		 * Attached by others only: theirs. In a namespace of our own there are no others.
		 */
		if (owner == SYSV_OTHERS || (!mine && s.attached && !job->all))
			continue;
		if (!mine && s.mode & SHM_DEST) /* goes away with who has it */
			continue;
		if (check_forced(&s, err))
			return -1;
		if (!mine) {
			fd = copy_out(&s, v[15] != 0, err);
			if (fd < 0 && owner == SYSV_LIKELY)
				continue;
			if (fd < 0)
				return -1;
			*ret_fds = xrealloc(*ret_fds, (*ret_nfds + 1) * sizeof(**ret_fds));
			(*ret_fds)[(*ret_nfds)++] = fd;
			s.content = (uint32_t)*ret_nfds;
		}
		rec_put_sysv_shm(ret, &s);
	}
	return 0;
}

/* ---- restoring ---- */

static int make(const void *rec, int key, int flags)
{
	const struct rec_sysv_shm *s = rec;

	if (s->hugetlb)
		flags |= SHM_HUGETLB | (int)(s->hugetlb << SHM_HUGE_SHIFT);
	/*
	 * Until all have attached it, with all rights. One that is marked for removal has lost its
	 * key.
	 */
	return shmget(s->mode & SHM_DEST ? IPC_PRIVATE : key, s->size, flags | 0700);
}

static void rm(int id)
{
	shmctl(id, IPC_RMID, NULL);
}

static int is_same(const void *rec, int id)
{
	const struct rec_sysv_shm *s = rec;
	struct shmid_ds ds;

	return shmctl(id, IPC_STAT, &ds) == 0 && (uint32_t)ds.shm_perm.__key == s->key &&
	       ds.shm_segsz == s->size && ds.shm_perm.uid == s->uid &&
	       ds.shm_perm.cuid == s->cuid && !ds.shm_nattch && !(s->mode & SHM_DEST);
}

static const struct rec_sysv_shm *segment(const struct rset *set, uint64_t object)
{
	const struct rec_sysv_shm *s;
	size_t pos = 0;

	while (object && (s = rec_next_sysv_shm(&set->manifest->recs, &pos)))
		if (s->object == object)
			return s;
	return NULL;
}

/* One stored run of pages of the process, if it is one of @a. */
static int load_run(const struct image *img, const struct image_extent *e, const struct rec_area *a,
		    char *mem, uint64_t size, struct err *err)
{
	uint64_t start = MAX(e->addr, a->start), end = MIN(e->addr + e->len, a->end), to;
	ssize_t n;

	if (start >= end)
		return 0;
	to = a->offset + (start - a->start);
	if (to > size || end - start > size - to)
		return err_set(err, E_CORRUPT, 0, "%s: shared memory is mapped beyond its end",
			       img->name);
	n = io_pread_full(img->fd, mem + to, end - start, (off_t)(e->offset + (start - e->addr)));
	if (n != (ssize_t)(end - start))
		return err_set(err, n < 0 ? E_FAILED : E_CORRUPT, n < 0 ? errno : 0,
			       "cannot read %s", img->name);
	return 0;
}

static int load_mapped(const struct image *img, const struct rec_sysv_shm *s, char *mem,
		       struct err *err)
{
	const struct rec_extents *x;
	const struct rec_area *a;
	size_t area = 0, pos, n;

	while ((a = rec_next_area(&img->recs, &area))) {
		pos = 0;
		while (a->object == s->object && (x = rec_next_extents(&img->recs, &pos))) {
			const struct image_extent *e = image_extents(x->table, &n);

			for (size_t i = 0; i < n; i++)
				if (load_run(img, &e[i], a, mem, sysv_mapped_size(s->size, s->hugetlb), err))
					return -1;
		}
	}
	return 0;
}

static int load_content(struct rset *set, const struct rec_sysv_shm *s, char *mem, struct err *err)
{
	cleanup_close int fd = memfd_create("sysv", MFD_CLOEXEC);
	ssize_t n;

	if (fd < 0 || image_load_content(set->manifest, s->content, fd, err))
		return fd < 0 ? err_set(err, E_FAILED, errno, "memfd_create") : -1;
	for (uint64_t at = 0; at < s->size; at += PAGE_SIZE) {
		char page[PAGE_SIZE] = { 0 };

		n = io_pread_full(fd, page, MIN(PAGE_SIZE, s->size - at), (off_t)at);
		if (n < 0)
			return err_set(err, E_FAILED, errno,
				       "cannot read System V shared memory %u", s->id);
		if (!is_zero(page))
			memcpy(mem + at, page, (size_t)n);
	}
	return 0;
}

static const struct rec_object *object_of(const struct rset *set, uint64_t id)
{
	const struct rec_object *o;
	size_t pos = 0;

	while ((o = rec_next_object(&set->manifest->recs, &pos)))
		if (o->id == id)
			return o;
	return NULL;
}

static int fill(struct rset *set, const struct rec_sysv_shm *s, int old, struct err *err)
{
	const struct rec_object *o = s->object ? object_of(set, s->object) : NULL;
	const struct image *img = o && set->image_of ? set->image_of(set, o->owner) : NULL;
	char *mem;
	int ret;

	if (s->object && !img)
		return err_set(err, E_CORRUPT, 0,
			       "System V shared memory %u was process %u's, which has no image",
			       s->id, o ? o->owner : 0);
	mem = shmat((int)s->id, NULL, 0);
	if (mem == (void *)-1)
		return err_set(err, err_code_of_errno(errno), errno,
			       "attaching System V shared memory %u", s->id);
	if (old)
		memset(mem, 0, s->size);
	ret = img ? load_mapped(img, s, mem, err) : s->content ? load_content(set, s, mem, err) : 0;
	shmdt(mem);
	return ret;
}

int sysv_shm_restore(struct rset *set, const struct rec_sysv_shm *s, struct err *err)
{
	const struct sysv_name name = {
		.what = "shared memory",
		.next_id = "shm_next_id",
		.cpid = s->cpid,
		SYSV_NAME_OF(s),
	};
	int old = sysv_make(&name, rset_owns_ipc(set, s->namespace), err);

	return old < 0 ? -1 : fill(set, s, old, err);
}

int sysv_attach_flags(const struct rset *set, const struct rec_area *a, uint32_t *ret_id)
{
	const struct rec_sysv_shm *s = segment(set, a->object);

	if (!s)
		return -1;
	*ret_id = s->id;
	return (a->vmflags & AREA_VM_MAYWRITE ? 0 : SHM_RDONLY) |
	       (a->prot & PROT_EXEC ? SHM_EXEC : 0);
}

int sysv_shm_finish(const struct rec_sysv_shm *s, struct err *err)
{
	struct shmid_ds ds;

	if (shmctl((int)s->id, IPC_STAT, &ds))
		return err_set(err, E_FAILED, errno, "System V shared memory %u", s->id);
	if (s->mode & SHM_LOCKED && shmctl((int)s->id, SHM_LOCK, NULL))
		log_info("System V shared memory %u is not locked in memory: %s", s->id,
			 strerror(errno));
	ds.shm_perm.uid = s->uid;
	ds.shm_perm.gid = s->gid;
	ds.shm_perm.mode = s->mode & PERM_BITS;
	if (shmctl((int)s->id, IPC_SET, &ds)) { /* a user that does not exist here: it stays ours */
		shmctl((int)s->id, IPC_STAT, &ds);
		ds.shm_perm.mode = s->mode & PERM_BITS;
		if (shmctl((int)s->id, IPC_SET, &ds))
			return err_set(err, E_FAILED, errno,
				       "permissions of System V shared memory %u", s->id);
	}
	if (s->mode & SHM_DEST)
		rm((int)s->id);
	return 0;
}
