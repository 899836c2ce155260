/* SPDX-License-Identifier: Apache-2.0 */
#include "job_env.h"

#include <stdlib.h>
#include <string.h>
#include "agent.h"
#include "io.h"

extern char **environ;

char **job_env_without(size_t more, size_t *ret_n)
{
	size_t n = 0, i;
	char **envp;

	while (environ[n])
		n++;
	envp = xcalloc(n + more + 1, sizeof(*envp));
	for (n = i = 0; environ[i]; i++)
		if (strncmp(environ[i], ENV_PRELOAD "=", sizeof(ENV_PRELOAD)) &&
		    strncmp(environ[i], ENV_DIR "=", sizeof(ENV_DIR)) &&
		    strncmp(environ[i], ENV_ALLOW "=", sizeof(ENV_ALLOW)))
			envp[n++] = environ[i];
	*ret_n = n;
	return envp;
}

char *job_env_preload(const char *first, const char *library)
{
	const char *old = getenv(ENV_PRELOAD);
	cleanup_free char *words = xstrdup(old ? old : "");
	char *value = first ? xasprintf(ENV_PRELOAD "=%s", first) : NULL, *next = words, *word, *longer;

	while ((word = strsep(&next, ": "))) {
		if (!*word || !strcmp(word, library))
			continue;
		longer = value ? xasprintf("%s:%s", value, word) : xasprintf(ENV_PRELOAD "=%s", word);
		free(value);
		value = longer;
	}
	return value;
}
