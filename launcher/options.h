/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - ckpt_launch's command line. Context: HOST. */
#ifndef CKPT_LAUNCH_OPTIONS_H
#define CKPT_LAUNCH_OPTIONS_H

#include <signal.h>
#include "../common/jobstart.h"
#include "../common/withheld.h"

struct options {
	struct job_options job;
	const char *coordinator;	/* unix:PATH, NULL: one is started */
	sigset_t checkpoint_on;
	int container;			/* container.h */
	char allow[WITHHELD_NAMES];	/* names, with commas; empty: none */
	int quiet, verbose;
	int help, version;
	char **program;			/* argv of the program, inside of ours */
};

/* options_parse() - stops at the first argument that is not an option. 0, or -1 with E_USAGE. */
int options_parse(int argc, char **argv, struct options *ret, struct err *err);

/* options_help() - the text of --help, on stdout. 0, or -1 when it cannot be written. */
int options_help(void);

/* options_signal() - "TERM", "SIGTERM", "15", "RTMIN+1" -> number, or -1. */
int options_signal(const char *name);

#endif
