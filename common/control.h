/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - how our own programs talk to a job's coordinator: one JSON object per message, framed
 * by a little-endian u32 length (at most CONTROL_MAX), over the unix stream socket "control" in the
 * job's run directory. doc/protocol.md lists the requests. Context: HOST.
 */
#ifndef CKPT_CONTROL_H
#define CKPT_CONTROL_H

#include <jansson.h>
#include "err.h"

#define CONTROL_SOCKET	"control"
#define CONTROL_MAX	(16u << 20)

/* control_connect() - to the coordinator of @job of this user. Returns the fd, or -1 with E_NO_JOB. */
int control_connect(const char *job, struct err *err);
/* control_connect_addr() - "unix:PATH" (a control socket). */
int control_connect_addr(const char *addr, struct err *err);

int control_send(int fd, const json_t *msg, struct err *err);
/* control_recv() - one message, a new reference. NULL: end of file (err E_ABORTED) or error. */
json_t *control_recv(int fd, struct err *err);

/*
 * control_call() - send @req (reference stolen) and wait for its reply. An {"error": {"code",
 * "message"}} reply becomes *err and NULL.
 */
json_t *control_call(int fd, json_t *req, struct err *err);

/* control_text() - @s as a JSON string, a new reference. Paths and names are bytes: what is not UTF-8 becomes '?'. */
json_t *control_text(const char *s);

/* control_error() - the error reply for *err, a new reference. */
json_t *control_error(const struct err *err);

/* control_progress() - the news that come before a reply: @done of @total bytes (0: not known); a new reference. */
json_t *control_progress(const char *phase, uint64_t done, uint64_t total, uint32_t processes);

#endif
