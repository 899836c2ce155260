/* SPDX-License-Identifier: Apache-2.0 */
/* packet.h - between packet.c and packet_diag.c. Context: HOST. */
#ifndef CKPT_PACKET_H
#define CKPT_PACKET_H

#include <net/if.h>
#include "resource.h"

/* What a packet socket has asked a network interface for; in the image as an array. */
struct packet_member {
	char device[IFNAMSIZ];
	uint16_t type, len;		/* PACKET_MR_*, bytes of the address */
	uint8_t address[8];
	uint32_t count;			/* how often */
};

/* What no option tells of it. */
struct packet_info {
	struct packet_member *members;	/* malloc'ed */
	size_t nmembers;
	int ring, fanout;		/* 1: it has such */
};

/* packet_diag() - of the socket @fd with inode @ino. 0, or -1 + errno. */
int packet_diag(int fd, uint64_t ino, struct packet_info *ret);
/* packet_device() - the name of interface @index in the network namespace of @fd; "" none. */
void packet_device(int fd, int index, char ret[IFNAMSIZ]);

#endif
