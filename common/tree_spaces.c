/* SPDX-License-Identifier: Apache-2.0 */
#include "tree_spaces.h"

#include <string.h>

static size_t count(struct bytes b)
{
	return b.len / sizeof(uint32_t);
}

/* Those in which the number is one: whoever is in a namespace is in all those around it. */
static void take(struct bytes spaces, struct bytes numbers, struct tree_spaces *ret)
{
	const uint32_t *space = spaces.data, *number = numbers.data;
	size_t n = 0;

	while (n < TREE_DEPTH && n < count(spaces) && n < count(numbers) && number[n]) {
		ret->space[n] = space[n];
		ret->number[n] = number[n];
		n++;
	}
	ret->n = n;
}

int tree_task_spaces(const struct rec_task *t, struct tree_spaces *ret)
{
	const size_t len = t->spaces.len;

	take(t->spaces, t->pids, ret);
	return len % sizeof(uint32_t) || len > TREE_DEPTH * sizeof(uint32_t) || t->pids.len != len ||
	       t->pgids.len != len || t->sids.len != len || ret->n != count(t->spaces) ? -1 : 0;
}

void tree_spaces_of(const struct rec_task *tasks, size_t n, uint32_t pid, struct tree_spaces *ret)
{
	struct tree_spaces s;

	ret->n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct rec_task *t = &tasks[i];

		if (t->pid == pid) {
			take(t->spaces, t->pids, ret);
			return;
		}
		if (t->pgid != pid && t->sid != pid)
			continue;
		take(t->spaces, t->pgid == pid ? t->pgids : t->sids, &s);
		if (s.n > ret->n)
			*ret = s;
	}
}

const struct rec_task *tree_first_of(const struct rec_task *tasks, size_t n, uint32_t space)
{
	struct tree_spaces s;

	for (size_t i = 0; i < n; i++) {
		take(tasks[i].spaces, tasks[i].pids, &s);
		if (tree_is_first(&s) && tree_innermost(&s) == space)
			return &tasks[i];
	}
	return NULL;
}

uint32_t tree_innermost(const struct tree_spaces *s)
{
	return s->n ? s->space[s->n - 1] : 0;
}

int tree_is_first(const struct tree_spaces *s)
{
	return s->n && s->number[s->n - 1] == 1;
}

int tree_is_seen(const struct tree_spaces *s, const struct tree_spaces *by)
{
	return by->n <= s->n && !memcmp(s->space, by->space, by->n * sizeof(*by->space));
}

uint32_t tree_number(const struct tree_spaces *s, uint32_t pid, const struct tree_spaces *by)
{
	if (!tree_is_seen(s, by))
		return 0;
	return by->n ? s->number[by->n - 1] : pid;
}
