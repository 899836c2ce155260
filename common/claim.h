/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claim.h - take a job's name: its run directory, made by us alone, and the control socket in it, bound
 * and listening. A directory whose socket nobody listens on is a dead job's, and taken over; one whose
 * coordinator is just leaving is waited for. Context: HOST.
 */
#ifndef CKPT_CLAIM_H
#define CKPT_CLAIM_H

#include "err.h"

/*
 * claim_run_dir() - @name: valid. @ret_dir: malloc'ed.
 * Return: the listening socket (CLOEXEC), or -1 with E_EXISTS (a running job has the name), E_ACCESS,
 * E_USAGE, E_FAILED.
 */
int claim_run_dir(const char *name, char **ret_dir, struct err *err);

/*
 * claim_note_kernel() - tell the job's processes, by a file in its run directory @dir, what the kernel here does not
 * tell (NOTES_FILE of agent.h). Without it their epolls are refused at a checkpoint.
 */
void claim_note_kernel(const char *dir);

/* claim_tidy() - remove the run directory @dir if the coordinator that should have done so was killed. */
void claim_tidy(const char *dir);

#endif
