#include "firewall/nfnetlink.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"

#define TEXT_SIZE 256                   /* of names of tables and chains */
#define WATCH_BUFFER (32 * 1024 * 1024) /* memory is used only while messages wait */

int nfnl_open(unsigned group, struct error *err)
{
	auto_close int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (group ? SOCK_NONBLOCK : 0),
				     NETLINK_NETFILTER);
	int room = WATCH_BUFFER, membership = (int)group;
	struct sockaddr_nl any = {.nl_family = AF_NETLINK};

	if (sock < 0 || bind(sock, (struct sockaddr *)&any, sizeof(any)) < 0)
		return error_errno(err, errno, "Open a netlink socket for nftables");
	if (!group)
		return TAKE_FD(sock);
	/* without the right to it the socket keeps its usual size, and messages may be lost, which the reader notices
	 */
	(void)!setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (setsockopt(sock, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &membership, sizeof(membership)) < 0)
		return error_errno(err, errno, "Watch nftables");
	return TAKE_FD(sock);
}

static int ask(int sock, int message, int family, uint16_t flags, rtnl_message_fn fn, void *arg, struct error *err)
{
	struct nfgenmsg body = {.nfgen_family = (uint8_t)family, .version = NFNETLINK_V0};
	struct rtnl_request rq;
	int r;

	rtnl_request_init(&rq, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | message), flags, &body, sizeof(body));
	r = rtnl_ask(sock, &rq, fn, arg);
	if (r < 0)
		return error_errno(err, -r, "Ask the kernel for nftables");
	return 0;
}

/* --- attributes --- */

static void copy_text(const struct rtnl_attr *a, char *buf, size_t size)
{
	size_t n = MIN_OF(a->value.left, size - 1);

	memcpy(buf, a->value.at, n);
	buf[n] = '\0';
}

/* A number in network order; 0 when the attribute is shorter. */
static uint32_t number(const struct rtnl_attr *a)
{
	uint32_t v = 0;

	if (a->value.left >= sizeof(v))
		rtnl_copy(a, &v, sizeof(v));
	return ntohl(v);
}

void nfnl_table_of(struct rtnl_bytes body, char *buf, size_t size)
{
	struct nfgenmsg head;
	struct rtnl_attr a;

	_Static_assert(NFTA_TABLE_NAME == 1 && NFTA_CHAIN_TABLE == 1 && NFTA_RULE_TABLE == 1 && NFTA_SET_TABLE == 1 &&
			       NFTA_SET_ELEM_LIST_TABLE == 1,
		       "the table is the first attribute of each");
	buf[0] = '\0';
	if (!rtnl_take(&body, &head, sizeof(head)))
		return;
	while (rtnl_next_attr(&body, &a))
		if (a.type == NFTA_TABLE_NAME)
			copy_text(&a, buf, size);
}

/* --- chains --- */

struct chain_walk {
	nfnl_chain_fn fn;
	void *arg;
};

static void take_hook(struct rtnl_bytes value, struct nfnl_chain *c)
{
	struct rtnl_attr a;

	c->is_base = true;
	while (rtnl_next_attr(&value, &a))
		if (a.type == NFTA_HOOK_HOOKNUM)
			c->hook = number(&a);
}

static int take_chain(uint16_t type, struct rtnl_bytes body, void *arg)
{
	struct chain_walk *w = arg;
	char table[TEXT_SIZE] = "", name[TEXT_SIZE] = "";
	struct nfnl_chain c = {.table = table, .name = name, .policy = NF_ACCEPT};
	struct nfgenmsg head;
	struct rtnl_attr a;

	if (type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN) || !rtnl_take(&body, &head, sizeof(head)))
		return 0;
	c.family = head.nfgen_family;
	while (rtnl_next_attr(&body, &a)) {
		if (a.type == NFTA_CHAIN_TABLE)
			copy_text(&a, table, sizeof(table));
		else if (a.type == NFTA_CHAIN_NAME)
			copy_text(&a, name, sizeof(name));
		else if (a.type == NFTA_CHAIN_HOOK)
			take_hook(a.value, &c);
		else if (a.type == NFTA_CHAIN_POLICY)
			c.policy = number(&a);
	}
	w->fn(&c, w->arg);
	return 0;
}

int nfnl_chains(int sock, int family, nfnl_chain_fn fn, void *arg, struct error *err)
{
	struct chain_walk w = {fn, arg};

	return ask(sock, NFT_MSG_GETCHAIN, family, NLM_F_DUMP, take_chain, &w, err);
}

/* --- rules that accept --- */

struct accept_walk {
	nfnl_accept_fn fn;
	void *arg;
};

/* What the expressions of a rule have said so far. */
struct rule {
	uint32_t loaded; /* the key that was loaded last, NFT_META_*; UINT32_MAX: another thing */
	char in[TEXT_SIZE], out[TEXT_SIZE];
	bool accepts;
};

static void take_meta(struct rtnl_bytes data, struct rule *r)
{
	struct rtnl_attr a;

	r->loaded = UINT32_MAX;
	while (rtnl_next_attr(&data, &a))
		if (a.type == NFTA_META_KEY)
			r->loaded = number(&a);
}

static void take_cmp(struct rtnl_bytes data, struct rule *r)
{
	uint32_t op = UINT32_MAX;
	struct rtnl_attr a, inner;
	char text[TEXT_SIZE] = "";

	while (rtnl_next_attr(&data, &a)) {
		if (a.type == NFTA_CMP_OP)
			op = number(&a);
		if (a.type == NFTA_CMP_DATA)
			while (rtnl_next_attr(&a.value, &inner))
				if (inner.type == NFTA_DATA_VALUE)
					copy_text(&inner, text, sizeof(text));
	}
	if (op != NFT_CMP_EQ)
		return;
	if (r->loaded == NFT_META_IIFNAME)
		memcpy(r->in, text, sizeof(text));
	else if (r->loaded == NFT_META_OIFNAME)
		memcpy(r->out, text, sizeof(text));
}

static bool is_accept(struct rtnl_bytes verdict)
{
	struct rtnl_attr a;

	while (rtnl_next_attr(&verdict, &a))
		if (a.type == NFTA_VERDICT_CODE)
			return number(&a) == NF_ACCEPT;
	return false;
}

static void take_immediate(struct rtnl_bytes data, struct rule *r)
{
	struct rtnl_attr a, inner;

	while (rtnl_next_attr(&data, &a))
		if (a.type == NFTA_IMMEDIATE_DATA)
			while (rtnl_next_attr(&a.value, &inner))
				if (inner.type == NFTA_DATA_VERDICT)
					r->accepts = is_accept(inner.value);
}

static const struct {
	const char *name;
	void (*take)(struct rtnl_bytes data, struct rule *r);
} expressions[] = {{"meta", take_meta}, {"cmp", take_cmp}, {"immediate", take_immediate}};

static void take_expression(struct rtnl_bytes expression, struct rule *r)
{
	struct rtnl_bytes data = {0};
	char name[32] = "";
	struct rtnl_attr a;

	while (rtnl_next_attr(&expression, &a)) {
		if (a.type == NFTA_EXPR_NAME)
			copy_text(&a, name, sizeof(name));
		else if (a.type == NFTA_EXPR_DATA)
			data = a.value;
	}
	for (size_t i = 0; i < ARRAY_SIZE(expressions); i++) {
		if (strcmp(name, expressions[i].name) == 0) {
			expressions[i].take(data, r);
			return;
		}
	}
	/* it may have loaded something else: payload, ct ... */
	if (strcmp(name, "counter") != 0)
		r->loaded = UINT32_MAX;
}

static int take_rule(uint16_t type, struct rtnl_bytes body, void *arg)
{
	struct accept_walk *w = arg;
	char table[TEXT_SIZE] = "", chain[TEXT_SIZE] = "";
	struct nfnl_accept found = {.table = table, .chain = chain};
	struct rule r = {.loaded = UINT32_MAX};
	struct nfgenmsg head;
	struct rtnl_attr a, element;

	if (type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE) || !rtnl_take(&body, &head, sizeof(head)))
		return 0;
	found.family = head.nfgen_family;
	while (rtnl_next_attr(&body, &a)) {
		if (a.type == NFTA_RULE_TABLE)
			copy_text(&a, table, sizeof(table));
		else if (a.type == NFTA_RULE_CHAIN)
			copy_text(&a, chain, sizeof(chain));
		else if (a.type == NFTA_RULE_EXPRESSIONS)
			while (rtnl_next_attr(&a.value, &element))
				take_expression(element.value, &r);
	}
	for (int out = 0; r.accepts && out < 2; out++) {
		found.out = out;
		found.interface = out ? r.out : r.in;
		if (*found.interface)
			w->fn(&found, w->arg);
	}
	return 0;
}

int nfnl_accepts(int sock, int family, nfnl_accept_fn fn, void *arg, struct error *err)
{
	struct accept_walk w = {fn, arg};

	return ask(sock, NFT_MSG_GETRULE, family, NLM_F_DUMP, take_rule, &w, err);
}

/* --- generation --- */

static int take_generation(uint16_t type, struct rtnl_bytes body, void *arg)
{
	struct nfgenmsg head;
	struct rtnl_attr a;

	if (type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN) || !rtnl_take(&body, &head, sizeof(head)))
		return 0;
	while (rtnl_next_attr(&body, &a))
		if (a.type == NFTA_GEN_ID)
			*(uint32_t *)arg = number(&a);
	return 0;
}

int nfnl_generation(int sock, uint32_t *ret, struct error *err)
{
	*ret = 0;
	return ask(sock, NFT_MSG_GETGEN, AF_UNSPEC, NLM_F_ACK, take_generation, ret, err);
}
