/* SPDX-License-Identifier: Apache-2.0 */
/* self.c - the restored library is told of its new job, in its own record (struct agent_self). */
#include <stddef.h>
#include <string.h>
#include "../common/agent.h"
#include "../common/io.h"
#include "build.h"
#include "mapped.h"

#define NSEC_PER_SEC	1000000000

/* The [vdso] of an earlier restart may add something already. */
static void shift_clock(struct agent_self *self, int64_t ns)
{
	self->clock_shift_sec += ns / NSEC_PER_SEC;
	self->clock_shift_nsec += ns % NSEC_PER_SEC;
	if (self->clock_shift_nsec >= NSEC_PER_SEC) {
		self->clock_shift_nsec -= NSEC_PER_SEC;
		self->clock_shift_sec++;
	}
}

int build_self(struct build *b, struct err *err)
{
	const struct restart *r = b->t->r;
	struct agent_self self;
	uint64_t at = b->t->process->self;
	struct build_op *op;

	if (b->t->process->agent_version != AGENT_VERSION)
		return err_set(err, E_VERSION, 0,
			       "process %u was saved with another version of the ckpt library",
			       b->t->process->pid);
	if (memory_peek(b->t, at, &self, sizeof(self)) || self.magic != AGENT_MAGIC)
		return err_set(err, E_CORRUPT, 0,
			       "%s: the library's own data is not where it should be",
			       b->t->image->name);
	memset(self.dir, 0, sizeof(self.dir));
	memset(self.library, 0, sizeof(self.library));
	if (strlen(r->run.run_dir) >= sizeof(self.dir) ||
	    strlen(r->library) >= sizeof(self.library))
		return err_set(err, E_FAILED, 0, "%s: path too long", r->run.run_dir);
	strcpy(self.dir, r->run.run_dir);
	strcpy(self.library, r->library);
	self.generation++;
	memset(self.env, 0, sizeof(self.env));
	/* The first of a name is what ckpt_env() finds, and the last is what the user wants. */
	for (size_t i = r->o.nenv, used = 0; i-- > 0; ) {
		size_t n = strlen(r->o.env[i]) + 1;

		if (used + n >= sizeof(self.env))
			return err_set(err, E_LIMIT, 0, "--env: more than %zu bytes in all",
				       sizeof(self.env) - 2);
		memcpy(self.env + used, r->o.env[i], n);
		used += n;
	}
	shift_clock(&self, r->monotonic_behind_ns);
	if (!r->clock_goes_on)
		self.clock_delta += io_monotonic_ns() - r->job->monotonic_ns;
	if (build_notes(b, &self, err) || mapped_tell(b, &self, err))
		return -1;
	self.aside = self.clock_shift_sec || self.clock_shift_nsec || self.mapped_start;
	self.stub_start = self.stub_end = 0;	/* enter.c */
	self.frames_start = self.frames_end = 0;	/* frames.c */
	op = build_op(&b->ops, 0, PLAN_COPY, 0, at, 0, sizeof(self), 0, 0, 0);
	build_ptr(b, op, 1, &self, sizeof(self));
	op->relocate |= 1u << 30;		/* to be given the region's address: see enter.c */
	return 0;
}
