/* SPDX-License-Identifier: Apache-2.0 */
#include "tcp_policy.h"

#include <string.h>

static const char *const names[] = { "", "reset", "close", "keep", "fail" };

int tcp_policy_parse(const char *s, enum tcp_policy *ret)
{
	for (size_t i = 1; i < ARRAY_SIZE(names); i++)
		if (strcmp(s, names[i]) == 0) {
			*ret = (enum tcp_policy)i;
			return 0;
		}
	return -1;
}

const char *tcp_policy_name(enum tcp_policy p)
{
	return names[p];
}
