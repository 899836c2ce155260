/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "io.h"

static const char *const names[] = {
#define X(name, of, next) #name,
	FAULTS(X)
#undef X
};

int fault(enum fault_point p, struct err *err)
{
	const char *want = getenv("CKPT_FAULT"), *how;
	cleanup_free char *text = NULL;
	size_t len = strlen(names[p]);

	if (!want)
		return 0;
	if (*want == '/')
		want = text = io_slurp(AT_FDCWD, want, NULL);
	if (!want || strncmp(want, names[p], len) || want[len] != ':')
		return 0;
	how = want + len + 1;
	if (!strncmp(how, "kill", 4))
		kill(getpid(), SIGKILL);
	/* For as long as those are there who wait for it. */
	if (!strncmp(how, "hang", 4))
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!strncmp(how, "hang", 4))
		pause();
	return err_set(err, E_FAILED, 0, "CKPT_FAULT asked for a failure at '%s'", names[p]);
}
