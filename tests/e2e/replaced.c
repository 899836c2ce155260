/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

const char *scn_doc = "mapped files that were removed or replaced have their bytes, whichever way they are mapped, "
		      "and leave those that have their names now alone";

#define PAGE	4096UL
#define SIZE	(64 * PAGE)

static char *map(int fd, int prot, int flags)
{
	char *p = mmap(NULL, SIZE, prot, flags, fd, 0);

	scn_check(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

static int create(const char *name, unsigned seed)
{
	static char buf[SIZE];
	int fd = scn_sys(open(name, O_RDWR | O_CREAT | O_EXCL, 0600));

	scn_fill(buf, SIZE, seed);
	scn_sys(write(fd, buf, SIZE));
	return fd;
}

/* The file @name becomes another one; its descriptor is closed. */
static void replace(const char *name, int old, unsigned seed)
{
	close(old);
	close(create("new", seed));
	scn_sys(rename("new", name));
}

static unsigned holds(const char *mem)
{
	for (unsigned seed = 1; seed < 10; seed++)
		if (scn_verify(mem, SIZE, seed) < 0)
			return seed;
	return 0;
}

int main(void)
{
	char *shared, *private, *early, *late, *evicted, *again;
	int fd;

	/* One file, mapped in both ways; the private view has no page of its own, and so stands for the file. */
	fd = create("both", 1);
	shared = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	private = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	scn_check(holds(shared) == 1 && holds(private) == 1, "content");
	replace("both", fd, 2);
	/* The other way round. */
	fd = create("turned", 3);
	early = map(fd, PROT_READ, MAP_PRIVATE);
	late = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	replace("turned", fd, 4);
	/* On a disk, and in nobody's memory. */
	fd = create("evicted", 5);
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	evicted = map(fd, PROT_READ, MAP_SHARED);
	close(fd);
	scn_sys(unlink("evicted"));
	fd = create("evicted", 6);
	again = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);

	scn_checkpoint();

	scn_check(holds(shared) == 1 && holds(private) == 1, "shared %u, private %u", holds(shared), holds(private));
	scn_check(holds(late) == 3 && holds(early) == 3, "shared %u, private %u", holds(late), holds(early));
	scn_check(holds(evicted) == 5 && holds(again) == 6, "removed %u, its successor %u", holds(evicted), holds(again));
	scn_fill(shared, SIZE, 7);
	scn_fill(late, SIZE, 8);
	scn_check(scn_verify(map(open("both", O_RDONLY), PROT_READ, MAP_SHARED), SIZE, 2) < 0 &&
			  scn_verify(map(open("turned", O_RDONLY), PROT_READ, MAP_SHARED), SIZE, 4) < 0,
		  "a file that has the name now was written to");
	scn_check(scn_verify(map(fd, PROT_READ, MAP_SHARED), SIZE, 6) < 0, "the successor");
	again[PAGE] ^= 1;
	scn_check(scn_verify(map(open("evicted", O_RDONLY), PROT_READ, MAP_SHARED), SIZE, 6) >= 0, "it was not mapped by name");
	scn_pass();
}
