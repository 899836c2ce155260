/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_settings.h - what a network namespace has been told by /proc/sys/net: that of the process that calls, whatever
 * its /proc is. Interfaces but lo are left out. Context: HOST.
 */
#ifndef CKPT_NET_SETTINGS_H
#define CKPT_NET_SETTINGS_H

/* net_settings() - a line "ipv4/ip_forward=0" for each that can be read and changed. malloc'ed. */
char *net_settings(void);
/* net_settings_restore() - those that differ are set to what @text says. Return: how many could not be. */
int net_settings_restore(const char *text);

#endif
