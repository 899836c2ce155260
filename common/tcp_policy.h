/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_policy.h - the values of --tcp: what becomes of TCP connections that lead out of the job. Its
 * other end cannot be put back in time, so the connection is over at a restart, and the question is
 * how; unless the restart goes on from the very instant at which the other end was left waiting.
 * Context: HOST.
 */
#ifndef CKPT_TCP_POLICY_H
#define CKPT_TCP_POLICY_H

#include "compiler.h"

enum tcp_policy {
	TCP_POLICY_UNSET,
	TCP_POLICY_RESET,	/* the program gets ECONNRESET, as servers know it from clients */
	TCP_POLICY_CLOSE,	/* the program reads an end of file */
	TCP_POLICY_KEEP,	/* the connection lives on */
	TCP_POLICY_FAIL,	/* there must not be any */
};

/* tcp_policy_parse() - 0, or -1: no such value. */
int tcp_policy_parse(const char *s, enum tcp_policy *ret);
const char *tcp_policy_name(enum tcp_policy p);

#endif
