/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree_nested.c - processes in pid namespaces that the program had made, within the container's. Process 1 of each makes
 * it, by CLONE_NEWPID, so it belongs to the container's user namespace. Whoever makes one of the others and is not in it
 * himself goes there for his children (setns), and back.
 *
 * A process is made with all its numbers, each maker seeing what he makes as he will see it afterwards. A group
 * that has no number where a process is, it is put into by its maker, before it makes others (common/tree.h).
 * Who is needed for that, or for a namespace to be there, is waited for: common/tree_steps.c has seen to it that
 * somebody always can go on.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../common/io.h"
#include "sync.h"
#include "tree_internal.h"

/* Of m->words: one for each step, set when what it makes is there and in its group; and one for each early group. */
static uint32_t *word_of_group(const struct maker *m, uint32_t pgid)
{
	for (size_t i = 0; m->words && i < m->r->tree.nearly; i++)
		if (m->r->tree.early[i] == pgid)
			return &m->words[m->r->tree.nsteps + i];
	return NULL;
}

static uint32_t *word_of_space(const struct maker *m, uint32_t space)
{
	for (size_t i = 0; i < m->r->tree.nsteps; i++)
		if (m->r->tree.steps[i].first && m->r->tree.steps[i].space == space)
			return &m->words[i];
	return NULL;
}

static void await(const struct maker *m, uint32_t *word)
{
	if (word && sync_word(m->r->sync, word))
		_exit(RESTART_EXIT_FAILED);
}

/* Somebody of the plan will say when that group is there; else it is there already. */
static int will_be_led(const struct maker *m, uint32_t pgid)
{
	if (pgid == m->r->job->keeper_pid || (needs_stand_in(m->r) && pgid == m->r->keeper_sid))
		return 1;
	for (size_t i = 0; i < m->r->tree.nsteps; i++)
		if (m->r->tree.steps[i].op == TREE_FORK && m->r->tree.steps[i].pid == pgid)
			return 1;
	return 0;
}

int nested_begin(struct maker *m, struct err *err)
{
	const struct tree_plan *t = &m->r->tree;
	int any = 0;

	for (size_t i = 0; i < t->nsteps; i++)
		any |= t->steps[i].space != 0;
	if (!any)
		return 0;
	if (pid_spaces_check(m->r, m->r->ascend, err))
		return -1;
	m->words = mmap(NULL, (t->nsteps + t->nearly) * sizeof(*m->words), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (m->words == MAP_FAILED)
		return err_set(err, E_LIMIT, errno, "memory that the processes of the restart share");
	for (size_t i = 0; i < t->nearly; i++)
		if (!will_be_led(m, t->early[i]))
			nested_has_group(m, t->early[i]);
	return 0;
}

int nested_leads_early(const struct maker *m, uint32_t self)
{
	const struct tree_plan *t = &m->r->tree;

	for (size_t i = 0; i < t->nsteps; i++)
		if (t->steps[i].op == TREE_SETSID && t->steps[i].maker == self)
			return 0;
	return word_of_group(m, self) != NULL;
}

void nested_has_group(struct maker *m, uint32_t pgid)
{
	uint32_t *word = word_of_group(m, pgid);

	if (word)
		sync_set_word(word);
}

uint32_t nested_number(const struct maker *m, uint32_t id)
{
	struct tree_spaces s;

	/* Of a nameless helper only its maker asks, who was told. */
	if (!m->r->at.n || id & TREE_ANY_PID)
		return real_pid(m, id);
	tree_spaces_of(m->r->tasks, m->r->ntasks, id, &s);
	return tree_number(&s, id, &m->r->at);
}

/* Where it is to be. The number of a nameless helper is one that nobody has anywhere. */
static void spaces_of(const struct maker *m, const struct tree_step *s, struct tree_spaces *ret)
{
	const struct rec_task *first = s->space ? tree_first_of(m->r->tasks, m->r->ntasks, s->space) : NULL;

	if (!(s->pid & TREE_ANY_PID)) {
		tree_spaces_of(m->r->tasks, m->r->ntasks, s->pid, ret);
		return;
	}
	ret->n = 0;
	if (first && tree_task_spaces(first, ret) == 0)
		for (size_t i = 0; i < ret->n; i++)
			ret->number[i] = real_pid(m, s->pid);
}

static int go_to(const struct maker *m, uint32_t space, struct err *err)
{
	cleanup_close int fd = -1;

	if (space == tree_innermost(&m->r->at)) {
		fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	} else {
		await(m, word_of_space(m, space));
		fd = pid_spaces_open(m->r, space);
	}
	if (fd >= 0 && setns(fd, CLONE_NEWPID) == 0)
		return 0;
	return err_set(err, err_code_of_errno(errno), errno, "entering a pid namespace that the program had made");
}

/* Innermost first. That of a nameless helper in somebody else's namespace is the kernel's choice. */
static size_t numbers_of(const struct maker *m, const struct tree_step *s, const struct tree_spaces *at, uint32_t *ret)
{
	size_t n = 0;

	for (size_t i = at->n; i-- > 0;)
		ret[n++] = at->number[i];
	if (!(s->pid & TREE_ANY_PID) || m->r->namespaces & CLONE_NEWPID)
		ret[n++] = real_pid(m, s->pid);
	return n;
}

pid_t nested_make(struct maker *m, size_t i, int exit_signal, struct err *err)
{
	const struct tree_step *s = &m->r->tree.steps[i];
	const int elsewhere = !s->first && s->space != tree_innermost(&m->r->at);
	uint32_t numbers[TREE_DEPTH + 1];
	struct tree_spaces at;
	size_t n;
	pid_t pid;

	spaces_of(m, s, &at);
	n = numbers_of(m, s, &at, numbers);
	if (s->group)
		await(m, word_of_group(m, s->group));
	if (elsewhere && go_to(m, s->space, err))
		return -1;
	pid = tree_clone_at(numbers, n, s->first ? CLONE_NEWPID : 0, exit_signal);
	if (pid == 0) {
		m->r->at = at;
		sync_set_nested(at.n != 0);
		if (s->group)
			await(m, &m->words[i]);
		return 0;
	}
	if (pid < 0)
		return tree_clone_failed(n ? numbers[n - 1] : 0, errno, err);
	if (elsewhere && go_to(m, tree_innermost(&m->r->at), err))
		return -1;
	if (s->group && setpgid(pid, (pid_t)nested_number(m, s->group)))
		return err_set(err, E_FAILED, errno, "making process %u part of process group %u", s->pid, s->group);
	sync_set_word(&m->words[i]);
	return pid;
}
