/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - what our own programs say on stderr, and diagnostics under CKPT_LOG. Context: HOST.
 * A message is "PROGRAM: text". Only main() and the servers' loops print; library code returns errors.
 */
#ifndef CKPT_LOG_H
#define CKPT_LOG_H

#include "err.h"

enum log_level { LOG_QUIET_ = -1, LOG_ERROR_, LOG_WARN_, LOG_INFO_, LOG_DEBUG_ };

/* log_init() - @program: short name. Reads CKPT_LOG=LEVEL[:FILE] (error, warn, info, debug). */
void log_init(const char *program);
void log_set_level(enum log_level level);	/* -v: INFO, -q: ERROR */
enum log_level log_get_level(void);
void log_error(const char *fmt, ...) PRINTF(1, 2);
void log_warn(const char *fmt, ...) PRINTF(1, 2);
void log_info(const char *fmt, ...) PRINTF(1, 2);
void log_debug(const char *fmt, ...) PRINTF(1, 2);
/* log_err() - "PROGRAM: msg (E-CODE)" */
void log_err(const struct err *err);

#endif
