/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet.c - packet(7) sockets: protocol, interface, groups and promiscuity, options, filter. What they have
 * received and nobody has read, even given a moment for it, is lost as when they are full: it cannot be looked at but for the
 * first packet, and what is sent is received by everybody. Rings in the program's memory
 * are shared with the kernel, which cannot be made again as they were.
 */
#include "packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../common/io.h"
#include "sockopt.h"

static int get_int(int fd, int name)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) < 0 ? -1 : v;
}

static int packet_probe(const struct desc *d)
{
	return S_ISSOCK(d->st.st_mode) && get_int(d->fd, SO_DOMAIN) == AF_PACKET;
}

static int packet_check(struct res_set *set, struct desc *d, struct err *err)
{
	struct packet_info info;
	int r = packet_diag(d->fd, d->st.st_ino, &info);

	free(info.members);
	if (r < 0)
		return res_refuse(set, d, E_KERNEL_FEATURE, err, "this kernel does not tell what groups a packet socket "
				  "is in (CONFIG_PACKET_DIAG)");
	if (info.ring)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "a packet socket with a ring that the kernel fills cannot "
				  "be saved; let the program use recv");
	if (info.fanout)
		return res_refuse(set, d, E_UNSUPPORTED_FD, err, "a packet socket that shares its packets with others "
				  "(PACKET_FANOUT) cannot be saved");
	return res_lose_unread(set, d, err) < 0 ? -1 : sockopt_check(set, d, err);
}

static int packet_unread(const struct desc *d)
{
	return res_has_input(d) ? 2 : 0;
}

static int packet_save(struct res_set *set, struct desc *d, struct err *err)
{
	struct sockaddr_ll local = { 0 };
	socklen_t len = sizeof(local);
	struct packet_info info;
	char device[IFNAMSIZ];

	if (packet_diag(d->fd, d->st.st_ino, &info) < 0 || getsockname(d->fd, (struct sockaddr *)&local, &len) < 0)
		return err_set(err, E_FAILED, errno, "cannot look at %s", d->link);
	packet_device(d->fd, local.sll_ifindex, device);
	rec_put_socket(set->recs, &(struct rec_socket){
		.desc = d->id,
		.ino = d->st.st_ino,
		.family = AF_PACKET,
		.type = (uint32_t)get_int(d->fd, SO_TYPE),
		.protocol = ntohs(local.sll_protocol),
		.state = local.sll_protocol || local.sll_ifindex ? RES_SOCKET_BOUND : RES_SOCKET_UNCONNECTED,
	});
	rec_put_packet(set->recs, &(struct rec_packet){
		.desc = d->id,
		.device = device,
		.members = { info.members, info.nmembers * sizeof(*info.members) },
	});
	free(info.members);
	sockopt_save(set, d);
	return 0;
}

/* ---- restoring ---- */

static int no_right(const struct rdesc *d, struct err *err)
{
	if (errno != EPERM && errno != EACCES)
		return err_set(err, E_FAILED, errno, "cannot make %s again", d->rec->name);
	return err_set(err, E_ACCESS, 0, "the program has a packet socket, which takes CAP_NET_RAW in the network namespace; "
		       "restore it as root, or in a network of its own with --namespaces=auto,net");
}

/* An interface by its name; 0: any. -1 + err. */
static int index_of(int fd, const char *device, struct err *err)
{
	struct ifreq ifr = { 0 };

	if (!device[0])
		return 0;
	memcpy(ifr.ifr_name, device, MIN(strlen(device), sizeof(ifr.ifr_name) - 1));
	if (ioctl(fd, SIOCGIFINDEX, &ifr) < 0)
		return err_set(err, E_KERNEL_FEATURE, 0, "there is no network interface %s here, on which the program has a "
			       "packet socket", device);
	return ifr.ifr_ifindex;
}

static int packet_verify(struct rset *set, const struct rdesc *d, struct err *err)
{
	const struct rec_packet *p = rset_rec(set, d, packet, err);
	cleanup_close int fd = -1;

	if (!p)
		return -1;
	if (set->own_net || d->rec->namespace)
		return 0;
	fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return no_right(d, err);
	return index_of(fd, p->device, err) < 0 ? -1 : 0;
}

static int join(int fd, const struct packet_member *m, struct err *err)
{
	char device[IFNAMSIZ + 1] = "";
	struct packet_mreq r = { .mr_type = m->type, .mr_alen = m->len };
	int index;

	memcpy(device, m->device, IFNAMSIZ);
	index = index_of(fd, device, err);
	if (index < 0)
		return -1;
	r.mr_ifindex = index;
	memcpy(r.mr_address, m->address, sizeof(r.mr_address));
	for (uint32_t i = 0; i < m->count; i++)
		if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &r, sizeof(r)) < 0)
			return err_set(err, err_code_of_errno(errno), errno, "a group on network interface %s", device);
	return 0;
}

/* Nothing is received before the protocol is set: then the filter is there. */
static int packet_open(struct rset *set, struct rdesc *d, struct err *err)
{
	const struct rec_socket *r = rset_rec(set, d, socket, err);
	const struct rec_packet *p = r ? rset_rec(set, d, packet, err) : NULL;
	struct sockaddr_ll a = { .sll_family = AF_PACKET };
	int index;

	if (!p)
		return -1;
	d->pos = -1;
	d->fd = socket(AF_PACKET, (int)r->type | SOCK_CLOEXEC, 0);
	if (d->fd < 0)
		return no_right(d, err);
	for (size_t i = 0; i < p->members.len / sizeof(struct packet_member); i++) {
		struct packet_member m;

		memcpy(&m, (const char *)p->members.data + i * sizeof(m), sizeof(m));
		if (join(d->fd, &m, err) < 0)
			return -1;
	}
	if (sockopt_restore(set, d, d->fd, SOCKOPT_BEFORE_BIND, err) < 0 ||
	    sockopt_restore(set, d, d->fd, SOCKOPT_LAST, err) < 0)
		return -1;
	index = index_of(d->fd, p->device, err);
	if (index < 0)
		return -1;
	a.sll_ifindex = index;
	a.sll_protocol = htons((uint16_t)r->protocol);
	if ((a.sll_ifindex || a.sll_protocol) && bind(d->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_set(err, err_code_of_errno(errno), errno, "cannot bind %s again", d->rec->name);
	return 0;
}

const struct res_ops res_packet = {
	.kind = RES_PACKET,
	.name = "packet",
	.probe = packet_probe,
	.check = packet_check,
	.unread = packet_unread,
	.save = packet_save,
	.verify = packet_verify,
	.open = packet_open,
};
