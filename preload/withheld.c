/* SPDX-License-Identifier: Apache-2.0 */
/*
 * withheld.c - what the kernel has and a job does without (common/withheld.h): the program is told ENOSYS, as by a
 * kernel that does not have it, and takes its other way.
 *
 * Why wrappers: what was made could not be saved, and there is no telling beforehand who will ask for it. They stand where
 * it is made, and nowhere else: in the libraries that are there for it, whose functions return -errno,
 * and in syscall(2) (syscall_x86_64.S), which the others use. Context: APP.
 */
#include <dlfcn.h>
#include <errno.h>
#include "../common/withheld.h"
#include "agent.h"
#include "mem.h"

_Static_assert(offsetof(struct agent_self, withheld) == 2504, "syscall_x86_64.S");

struct io_uring;
struct io_uring_params;
typedef struct io_context *io_context_t;

/*
 * what, function, its library (NULL: nobody else's function has such a name), parameters, arguments. What makes a ring for a moment, to ask it something, calls one of these.
 */
#define CALLS(X) \
	X(IO_URING, io_uring_queue_init, NULL, (unsigned a, struct io_uring *b, unsigned c), (a, b, c)) \
	X(IO_URING, io_uring_queue_init_params, NULL, (unsigned a, struct io_uring *b, struct io_uring_params *c), \
	  (a, b, c)) \
	X(IO_URING, io_uring_queue_init_mem, NULL, \
	  (unsigned a, struct io_uring *b, struct io_uring_params *c, void *d, size_t e), (a, b, c, d, e)) \
	X(IO_URING, io_uring_queue_init_try_nosqarr, NULL, \
	  (unsigned a, struct io_uring *b, struct io_uring_params *c), (a, b, c)) \
	X(IO_URING, io_uring_setup, NULL, (unsigned a, struct io_uring_params *b), (a, b)) \
	X(AIO, io_setup, "/libaio.so", (int a, io_context_t *b), (a, b)) \
	X(AIO, io_queue_init, "/libaio.so", (int a, io_context_t *b), (a, b))

/*
 * What @caller would have got without us: of the libraries that all see, or of those that it has brought along
 * (dlopen() without RTLD_GLOBAL).
 */
static void *behind(const char *name, const void *caller)
{
	void *real = dlsym(RTLD_NEXT, name), *its;
	Dl_info info;

	if (real || !dladdr(caller, &info) || !info.dli_fname)
		return real;
	its = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
	if (!its)
		return NULL;
	real = dlsym(its, name);
	dlclose(its);
	return real;
}

/* A library of the program's own may have a function of that name, too. */
static int is_of(const void *function, const char *library)
{
	Dl_info info;

	return !library || (function && dladdr(function, &info) && info.dli_fname && str_after(info.dli_fname, library));
}

/* What is to be called in its place; NULL: it is withheld, or not there. */
static void *instead(unsigned what, const char *name, const char *library, const void *caller)
{
	int saved = errno;
	void *real = NULL;

	if (library || !(agent_self.withheld & what))
		real = behind(name, caller);
	if (agent_self.withheld & what && is_of(real, library))
		real = NULL;
	errno = saved;
	return real;
}

#define X(what, name, library, params, args) \
EXPORT int name params \
{ \
	int (*real) params = instead(WITHHELD_##what, #name, library, __builtin_return_address(0)); \
	return real ? real args : -ENOSYS; \
}
CALLS(X)
#undef X

void withheld_begin(const char *allowed)
{
	unsigned mask = WITHHELD_ALL;

	if (allowed && str_len(allowed) < sizeof(agent_self.allow)) {
#define X(bit, name, why) \
		if (str_after(allowed, name)) \
			mask &= ~(unsigned)(bit);
		WITHHELD(X)
#undef X
		str_cat(agent_self.allow, sizeof(agent_self.allow), allowed);
	}
	agent_self.withheld = mask;
}
