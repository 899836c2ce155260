/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

#include <net/if.h>	/* before linux/, which then leaves it to it */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

const char *scn_doc = "packet and raw sockets with their filters, multicast groups, TCP's urgent byte and credentials "
		      "on their way are as they were";

#define SELF	htonl(INADDR_LOOPBACK)

static struct sockaddr_in name_of(int fd)
{
	struct sockaddr_in a = { 0 };
	socklen_t len = sizeof(a);

	scn_sys(getsockname(fd, (struct sockaddr *)&a, &len));
	return a;
}

static int udp(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = SELF };
	int fd = scn_sys(socket(AF_INET, SOCK_DGRAM, 0));

	scn_sys(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	return fd;
}

static void say(int fd, int to, const char *text)
{
	struct sockaddr_in a = name_of(to);

	scn_sys(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&a, sizeof(a)));
}

static int get(int fd, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) < 0 ? -1 : v;
}

/* Only UDP that goes to @port, and of every such packet no more than what is asked for. */
static void attach(int fd, uint16_t port)
{
	struct sock_filter code[] = {
		{ BPF_LD | BPF_B | BPF_ABS, 0, 0, 23 },	{ BPF_JMP | BPF_JEQ | BPF_K, 0, 3, IPPROTO_UDP },
		{ BPF_LD | BPF_H | BPF_ABS, 0, 0, 36 },	{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, port },
		{ BPF_RET | BPF_K, 0, 0, 0xffff },	{ BPF_RET | BPF_K, 0, 0, 0 },
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	scn_sys(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
}

/* The UDP payload of the next packet, if there is one. */
static int packet(int fd, char *text, size_t size)
{
	char buf[2048];
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(struct tpacket_auxdata))]; } control;
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);

	if (n < 0)
		return 0;
	scn_check(n >= 42 && m.msg_controllen && control.h.cmsg_type == PACKET_AUXDATA, "PACKET_AUXDATA: %zd bytes", n);
	snprintf(text, size, "%.*s", (int)(n - 42), buf + 42);
	return 1;
}

static void both_ends(int ret[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = SELF };
	int l = scn_sys(socket(AF_INET, SOCK_STREAM, 0));

	scn_sys(bind(l, (struct sockaddr *)&a, sizeof(a)));
	scn_sys(listen(l, 1));
	a = name_of(l);
	ret[0] = scn_sys(socket(AF_INET, SOCK_STREAM, 0));
	scn_sys(connect(ret[0], (struct sockaddr *)&a, sizeof(a)));
	ret[1] = scn_sys(accept(l, NULL, NULL));
	close(l);
}

static void send_credentials(int fd, const char *text)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(struct ucred))]; } control = { .room = { 0 } };
	struct ucred cred = { getpid(), getuid(), getgid() };
	struct iovec iov = { (char *)(uintptr_t)text, strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	control.h.cmsg_level = SOL_SOCKET;
	control.h.cmsg_type = SCM_CREDENTIALS;
	control.h.cmsg_len = CMSG_LEN(sizeof(cred));
	memcpy(CMSG_DATA(&control.h), &cred, sizeof(cred));
	scn_sys(sendmsg(fd, &m, 0));
}

static pid_t receive_credentials(int fd, const char *want)
{
	char buf[64] = "";
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(struct ucred))]; } control;
	struct iovec iov = { buf, sizeof(buf) - 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct ucred cred = { 0 };

	scn_sys(recvmsg(fd, &m, MSG_DONTWAIT));
	scn_check(!strcmp(buf, want) && m.msg_controllen && control.h.cmsg_type == SCM_CREDENTIALS, "'%s'", buf);
	memcpy(&cred, CMSG_DATA(&control.h), sizeof(cred));
	scn_check(cred.uid == getuid() && cred.gid == getgid(), "uid %u gid %u", cred.uid, cred.gid);
	return cred.pid;
}

int main(void)
{
	struct packet_mreq promisc = { .mr_type = PACKET_MR_PROMISC };
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) }, now;
	struct icmp_filter icmp = { .data = ~(1u << ICMP_ECHOREPLY) }, icmp_now = { 0 };
	struct ip_mreqn group = { .imr_multiaddr.s_addr = htonl(0xef010203), .imr_address.s_addr = SELF };
	int one = 1, pk = -1, raw = -1, a = udp(), b = udp(), c = udp(), member = udp(), oob[2], dgram[2], go[2], cpu;
	socklen_t len = sizeof(now);
	char text[100], byte = 0;
	pid_t pid;

	ll.sll_ifindex = promisc.mr_ifindex = (int)if_nametoindex("lo");
	if (geteuid() == 0) {
		pk = scn_sys(socket(AF_PACKET, SOCK_RAW, 0));
		attach(pk, ntohs(name_of(b).sin_port));
		scn_sys(setsockopt(pk, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)));
		scn_sys(setsockopt(pk, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)));
		scn_sys(setsockopt(pk, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof(promisc)));
		scn_sys(bind(pk, (struct sockaddr *)&ll, sizeof(ll)));
		say(a, b, "before");
		scn_check(packet(pk, text, sizeof(text)) && !strcmp(text, "before"), "%s", text);
		raw = scn_sys(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
		scn_sys(setsockopt(raw, SOL_RAW, ICMP_FILTER, &icmp, sizeof(icmp)));
		scn_sys(setsockopt(raw, IPPROTO_IP, IP_HDRINCL, &one, sizeof(one)));
	}
	scn_sys(setsockopt(member, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)));
	cpu = 5;
	scn_sys(setsockopt(member, SOL_SOCKET, SO_PRIORITY, &cpu, sizeof(cpu)));
	both_ends(oob);
	scn_sys(send(oob[0], "ab", 2, 0));
	scn_sys(send(oob[0], "!", 1, MSG_OOB));
	scn_sys(send(oob[0], "cd", 2, 0));
	scn_check(poll(&(struct pollfd){ oob[1], POLLPRI, 0 }, 1, 10000) == 1, "POLLPRI");
	scn_sys(socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram));
	scn_sys(setsockopt(dgram[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
	send_credentials(dgram[0], "mine");
	scn_sys(pipe(go));
	pid = scn_fork();
	if (pid == 0) {
		send_credentials(dgram[0], "the child's");
		scn_sys(read(go[0], &byte, 1));
		_exit(0);
	}
	scn_check(poll(&(struct pollfd){ dgram[1], POLLIN, 0 }, 1, 10000) == 1, "POLLIN");
	while (ioctl(dgram[0], TIOCOUTQ, &cpu) == 0 && cpu < 2)
		scn_sleep_ms(1);
	scn_sleep_ms(20);

	scn_checkpoint();

	if (pk >= 0) {
		say(a, c, "to another port");
		say(a, b, "after");
		scn_check(poll(&(struct pollfd){ pk, POLLIN, 0 }, 1, 10000) == 1, "no packet");
		scn_check(packet(pk, text, sizeof(text)) && !strcmp(text, "after"), "got '%s'", text);
		scn_check(!packet(pk, text, sizeof(text)), "got '%s'", text);
		scn_sys(getsockname(pk, (struct sockaddr *)&now, &len));
		scn_check(now.sll_ifindex == (int)if_nametoindex("lo") && now.sll_protocol == htons(ETH_P_IP), "bound to %d",
			  now.sll_ifindex);
		scn_check(get(pk, SOL_PACKET, PACKET_AUXDATA) == 1 && get(pk, SOL_PACKET, PACKET_IGNORE_OUTGOING) == 1,
			  "options");
		scn_check(setsockopt(pk, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &promisc, sizeof(promisc)) == 0, "promisc: %s",
			  strerror(errno));
		len = sizeof(icmp_now);
		scn_sys(getsockopt(raw, SOL_RAW, ICMP_FILTER, &icmp_now, &len));
		scn_check(icmp_now.data == icmp.data && get(raw, IPPROTO_IP, IP_HDRINCL) == 1 &&
				  get(raw, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_ICMP,
			  "the raw socket: filter %x", icmp_now.data);
	}
	scn_check(get(member, SOL_SOCKET, SO_PRIORITY) == 5, "SO_PRIORITY");
	scn_check(setsockopt(member, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof(group)) == 0, "the group: %s",
		  strerror(errno));
	scn_check(recv(oob[1], &byte, 1, MSG_OOB | MSG_DONTWAIT) == 1 && byte == '!', "urgent byte: %c, %s", byte,
		  strerror(errno));
	scn_check(recv(oob[1], text, 10, MSG_DONTWAIT) == 2 && !memcmp(text, "ab", 2), "before the mark");
	scn_check(recv(oob[1], text, 10, MSG_DONTWAIT) == 2 && !memcmp(text, "cd", 2), "behind the mark");
	scn_check(receive_credentials(dgram[1], "mine") == getpid(), "who sent the first");
	scn_check(receive_credentials(dgram[1], "the child's") == pid, "who sent the second");
	scn_sys(write(go[1], "x", 1));
	scn_reap(pid, 0);
	scn_pass();
}
