/* SPDX-License-Identifier: Apache-2.0 */
/* inet_lock.c - a few messages to nf_tables, see netfilter/nf_tables.h; each batch of them is one transaction. */
#include "inet_lock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../common/io.h"
#include "diag.h"

#ifndef NFT_TABLE_F_OWNER
#define NFT_TABLE_F_OWNER	0x2
#endif
#define PRIORITY		(-300)	/* before anything else looks at it */
#define PREFIX			"ckpt-"

struct batch { size_t len; uint32_t seq, acks; char data[4096] __attribute__((aligned(4))); };

/* ---- building ---- */

static void *room(struct batch *b, size_t n)
{
	void *p = b->data + b->len;

	memset(p, 0, NLMSG_ALIGN(n));
	b->len += NLMSG_ALIGN(n);
	return p;
}

static struct nlmsghdr *begin(struct batch *b, int type, int flags, int family, int res_id)
{
	struct nlmsghdr *h = room(b, sizeof(*h));
	struct nfgenmsg *g = room(b, sizeof(*g));

	h->nlmsg_type = (uint16_t)type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = ++b->seq;
	g->nfgen_family = (uint8_t)family;
	g->version = NFNETLINK_V0;
	g->res_id = htons((uint16_t)res_id);
	b->acks += (flags & NLM_F_ACK) != 0;
	return h;
}

static struct nlmsghdr *begin_nft(struct batch *b, int what, int flags, int family)
{
	return begin(b, NFNL_SUBSYS_NFTABLES << 8 | what, flags | NLM_F_ACK, family, 0);
}

static void end(struct batch *b, struct nlmsghdr *h)
{
	h->nlmsg_len = (uint32_t)(b->data + b->len - (char *)h);
}

static void put(struct batch *b, int type, const void *data, size_t len)
{
	struct nlattr *a = room(b, NLA_HDRLEN + len);

	a->nla_type = (uint16_t)type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + len);
	memcpy((char *)a + NLA_HDRLEN, data, len);
}

static void put_text(struct batch *b, int type, const char *text)
{
	put(b, type, text, strlen(text) + 1);
}

static void put_number(struct batch *b, int type, uint32_t v)
{
	v = htonl(v);
	put(b, type, &v, sizeof(v));
}

static struct nlattr *nest(struct batch *b, int type)
{
	struct nlattr *a = room(b, NLA_HDRLEN);

	a->nla_type = (uint16_t)(type | NLA_F_NESTED);
	return a;
}

static void end_nest(struct batch *b, struct nlattr *a)
{
	a->nla_len = (uint16_t)(b->data + b->len - (char *)a);
}

static void begin_batch(struct batch *b)
{
	end(b, begin(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
}

/* ---- sending ---- */

/* Every message is answered; the first error counts. */
static int send_batch(int nl, struct batch *b)
{
	char buf[8192] __attribute__((aligned(4)));
	int error = 0;

	end(b, begin(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
	if (send(nl, b->data, b->len, 0) < 0)
		return -1;
	while (b->acks) {
		ssize_t n = recv(nl, buf, sizeof(buf), 0);

		if (n <= 0)
			return -1;
		for (const struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type != NLMSG_ERROR)
				continue;
			b->acks -= b->acks > 0;
			if (!error)
				error = -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (error && h->nlmsg_seq <= 1)		/* the batch as a whole */
				b->acks = 0;
		}
	}
	errno = error;
	return error ? -1 : 0;
}

static void put_chain(struct batch *b, const char *name, int family, const char *chain, int at)
{
	struct nlmsghdr *h = begin_nft(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE, family);
	struct nlattr *hook;

	put_text(b, NFTA_CHAIN_TABLE, name);
	put_text(b, NFTA_CHAIN_NAME, chain);
	hook = nest(b, NFTA_CHAIN_HOOK);
	put_number(b, NFTA_HOOK_HOOKNUM, (uint32_t)at);
	put_number(b, NFTA_HOOK_PRIORITY, (uint32_t)PRIORITY);
	end_nest(b, hook);
	put_text(b, NFTA_CHAIN_TYPE, "filter");
	end(b, h);
}

static int make_table(int nl, const char *name, int family, int mortal)
{
	struct batch b = { .len = 0 };
	struct nlmsghdr *h;

	begin_batch(&b);
	h = begin_nft(&b, NFT_MSG_NEWTABLE, NLM_F_CREATE, family);
	put_text(&b, NFTA_TABLE_NAME, name);
	if (mortal)
		put_number(&b, NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
	end(&b, h);
	put_chain(&b, name, family, "input", NF_INET_LOCAL_IN);
	put_chain(&b, name, family, "output", NF_INET_LOCAL_OUT);
	return send_batch(nl, &b);
}

static const int families[] = { NFPROTO_IPV4, NFPROTO_IPV6 };

int inet_lock_open(int fd, const char *name, int mortal)
{
	int nl = diag_netlink(fd, NETLINK_NETFILTER), e;

	for (size_t i = 0; nl >= 0 && i < ARRAY_SIZE(families); i++) {
		if (make_table(nl, name, families[i], mortal) == 0 || (i && errno == EAFNOSUPPORT))
			continue;
		e = errno;
		close(nl);
		errno = e;
		return -1;
	}
	return nl;
}

/* ---- rules ---- */

static struct nlattr *begin_expr(struct batch *b, const char *name, struct nlattr **ret_data)
{
	struct nlattr *a = nest(b, NFTA_LIST_ELEM);

	put_text(b, NFTA_EXPR_NAME, name);
	*ret_data = nest(b, NFTA_EXPR_DATA);
	return a;
}

static void end_expr(struct batch *b, struct nlattr *a, struct nlattr *data)
{
	end_nest(b, data);
	end_nest(b, a);
}

/* @len bytes at @offset of the header @base are @value. */
static void put_match(struct batch *b, int base, uint32_t offset, const void *value, size_t len)
{
	struct nlattr *data, *a = begin_expr(b, "payload", &data), *v;

	put_number(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
	put_number(b, NFTA_PAYLOAD_BASE, (uint32_t)base);
	put_number(b, NFTA_PAYLOAD_OFFSET, offset);
	put_number(b, NFTA_PAYLOAD_LEN, (uint32_t)len);
	end_expr(b, a, data);
	a = begin_expr(b, "cmp", &data);
	put_number(b, NFTA_CMP_SREG, NFT_REG_1);
	put_number(b, NFTA_CMP_OP, NFT_CMP_EQ);
	v = nest(b, NFTA_CMP_DATA);
	put(b, NFTA_DATA_VALUE, value, len);
	end_nest(b, v);
	end_expr(b, a, data);
}

static void put_drop(struct batch *b)
{
	struct nlattr *data, *a = begin_expr(b, "immediate", &data), *v, *code;

	put_number(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	v = nest(b, NFTA_IMMEDIATE_DATA);
	code = nest(b, NFTA_DATA_VERDICT);
	put_number(b, NFTA_VERDICT_CODE, NF_DROP);
	end_nest(b, code);
	end_nest(b, v);
	end_expr(b, a, data);
}

static void put_rule(struct batch *b, const char *name, const char *chain, const struct inet_addr *from,
		     const struct inet_addr *to)
{
	const int four = inet_addr_is_v4(from);
	const uint8_t tcp = IPPROTO_TCP;
	const uint16_t ports[2] = { htons(from->port), htons(to->port) };
	struct nlmsghdr *h = begin_nft(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND,
				       four ? NFPROTO_IPV4 : NFPROTO_IPV6);
	struct nlattr *all;

	put_text(b, NFTA_RULE_TABLE, name);
	put_text(b, NFTA_RULE_CHAIN, chain);
	all = nest(b, NFTA_RULE_EXPRESSIONS);
	/* Protocol, source, destination: where they stand in the headers of IPv4 and IPv6. */
	put_match(b, NFT_PAYLOAD_NETWORK_HEADER, four ? 9 : 6, &tcp, sizeof(tcp));
	put_match(b, NFT_PAYLOAD_NETWORK_HEADER, four ? 12 : 8, four ? from->ip + 12 : from->ip, four ? 4 : 16);
	put_match(b, NFT_PAYLOAD_NETWORK_HEADER, four ? 16 : 24, four ? to->ip + 12 : to->ip, four ? 4 : 16);
	put_match(b, NFT_PAYLOAD_TRANSPORT_HEADER, 0, ports, sizeof(ports));
	put_drop(b);
	end_nest(b, all);
	end(b, h);
}

int inet_lock_add(int nl, const char *name, const struct inet_addr *local, const struct inet_addr *remote)
{
	struct batch b = { .len = 0 };

	begin_batch(&b);
	put_rule(&b, name, "input", remote, local);
	put_rule(&b, name, "output", local, remote);
	return send_batch(nl, &b);
}

void inet_lock_name(char ret[INET_LOCK_NAME], uint64_t number)
{
	snprintf(ret, INET_LOCK_NAME, PREFIX "%016llx", (unsigned long long)number);
}

/* The name comes from an image: whoever wrote that is not to name the tables of others, nor to write beyond a batch. */
static int is_ours(const char *name)
{
	const size_t n = strlen(PREFIX);

	return !strncmp(name, PREFIX, n) && strspn(name + n, "0123456789abcdef") == 16 && strlen(name) == n + 16;
}

void inet_lock_remove(const char *name)
{
	cleanup_close int nl = is_ours(name) ? diag_netlink(-1, NETLINK_NETFILTER) : -1;

	for (size_t i = 0; nl >= 0 && i < ARRAY_SIZE(families); i++) {
		struct batch b = { .len = 0 };
		struct nlmsghdr *h;

		begin_batch(&b);
		h = begin_nft(&b, NFT_MSG_DELTABLE, 0, families[i]);
		put_text(&b, NFTA_TABLE_NAME, name);
		end(&b, h);
		send_batch(nl, &b);
	}
}
