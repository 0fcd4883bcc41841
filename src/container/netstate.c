/* What a container's network namespace holds, asked of the kernel by rtnetlink and written as JSON text. */
#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "container/container.h"

/* The kernel aligns messages and attributes; its macros lose sight of that by a cast through char *. */
#pragma GCC diagnostic ignored "-Wcast-align"

#define LINKS_MAX 4096
#define NETLINK_BUFFER (32 * 1024)

struct link {
	int index;
	unsigned flags;
	unsigned short type;
	uint32_t mtu;
	char *name;
	char *hwaddr;
	struct rtnl_link_stats64 stats;
	struct strbuf addresses; /* JSON objects, comma separated */
};

struct links {
	struct link *items;
	size_t len;
};

typedef void (*message_fn)(const struct nlmsghdr *h, struct links *links);

static char *format_hwaddr(const unsigned char *bytes, size_t len)
{
	struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < len; i++)
		strbuf_appendf(&b, "%s%02x", i ? ":" : "", bytes[i]);
	return strbuf_take(&b);
}

static void link_attribute(struct link *l, struct rtattr *a)
{
	size_t size = RTA_PAYLOAD(a);

	switch (a->rta_type) {
	case IFLA_IFNAME:
		l->name = xstrndup(RTA_DATA(a), strnlen(RTA_DATA(a), size));
		break;
	case IFLA_MTU:
		memcpy(&l->mtu, RTA_DATA(a), MIN_OF(size, sizeof(l->mtu)));
		break;
	case IFLA_ADDRESS:
		l->hwaddr = format_hwaddr(RTA_DATA(a), size);
		break;
	case IFLA_STATS64:
		memcpy(&l->stats, RTA_DATA(a), MIN_OF(size, sizeof(l->stats)));
		break;
	default:
		break;
	}
}

static void take_link(const struct nlmsghdr *h, struct links *links)
{
	struct ifinfomsg *info = NLMSG_DATA(h);
	size_t left = IFLA_PAYLOAD(h);
	struct link *l;

	if (h->nlmsg_type != RTM_NEWLINK || links->len >= LINKS_MAX)
		return;
	links->items = xreallocarray(links->items, links->len + 1, sizeof(*links->items));
	l = &links->items[links->len++];
	*l = (struct link){.index = info->ifi_index, .flags = info->ifi_flags, .type = info->ifi_type};
	for (struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left))
		link_attribute(l, a);
}

static struct link *find_link(struct links *links, int index)
{
	for (size_t i = 0; i < links->len; i++)
		if (links->items[i].index == index)
			return &links->items[i];
	return NULL;
}

static const char *scope_name(unsigned char scope)
{
	switch (scope) {
	case RT_SCOPE_HOST:
		return "local";
	case RT_SCOPE_LINK:
		return "link";
	default:
		return "global";
	}
}

static void take_address(const struct nlmsghdr *h, struct links *links)
{
	struct ifaddrmsg *info = NLMSG_DATA(h);
	size_t left = IFA_PAYLOAD(h), want = info->ifa_family == AF_INET6 ? 16 : 4;
	struct link *l = find_link(links, (int)info->ifa_index);
	char text[INET6_ADDRSTRLEN] = "";
	struct jsonw w;

	if (h->nlmsg_type != RTM_NEWADDR || !l || (info->ifa_family != AF_INET && info->ifa_family != AF_INET6))
		return;
	for (struct rtattr *a = IFA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		/* IFA_LOCAL is this side of a point-to-point link, IFA_ADDRESS the other; elsewhere they agree */
		bool use = a->rta_type == IFA_LOCAL || (a->rta_type == IFA_ADDRESS && !text[0]);

		if (use && RTA_PAYLOAD(a) == want)
			inet_ntop(info->ifa_family, RTA_DATA(a), text, sizeof(text));
	}
	w = JSONW(&l->addresses);
	w.comma = l->addresses.len > 0;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "family", info->ifa_family == AF_INET6 ? "inet6" : "inet");
	jsonw_kv_str(&w, "address", text);
	jsonw_kv_strf(&w, "netmask", "%u", info->ifa_prefixlen);
	jsonw_kv_str(&w, "scope", scope_name(info->ifa_scope));
	jsonw_object_end(&w);
}

/* 1 when the dump is complete, 0 when more comes, negative errno. */
static int take_packet(const char *buf, size_t len, message_fn fn, struct links *links)
{
	for (const struct nlmsghdr *h = (const void *)buf; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *e = NLMSG_DATA(h);

			return e->error ? e->error : 1;
		}
		fn(h, links);
	}
	return 0;
}

static int dump(int sock, uint16_t type, message_fn fn, struct links *links, struct error *err)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
	} ask = {.h = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)),
		       .nlmsg_type = type,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		 .g = {.rtgen_family = AF_UNSPEC}};
	auto_free char *buf = xmalloc(NETLINK_BUFFER);
	int r = 0;

	if (send(sock, &ask, ask.h.nlmsg_len, 0) < 0)
		return error_errno(err, errno, "Ask the kernel for network interfaces");
	while (r == 0) {
		ssize_t n = recv(sock, buf, NETLINK_BUFFER, 0);

		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0 ? -errno : take_packet(buf, (size_t)n, fn, links);
	}
	return r < 0 ? error_errno(err, -r, "Read network interfaces") : 0;
}

static const char *type_name(const struct link *l)
{
	if (l->flags & IFF_LOOPBACK)
		return "loopback";
	if (l->flags & IFF_POINTOPOINT)
		return "point-to-point";
	return l->flags & IFF_BROADCAST ? "broadcast" : "unknown";
}

static void write_counters(struct jsonw *w, const struct rtnl_link_stats64 *s)
{
	jsonw_key(w, "counters");
	jsonw_object_begin(w);
	jsonw_kv_uint(w, "bytes_received", s->rx_bytes);
	jsonw_kv_uint(w, "bytes_sent", s->tx_bytes);
	jsonw_kv_uint(w, "packets_received", s->rx_packets);
	jsonw_kv_uint(w, "packets_sent", s->tx_packets);
	jsonw_kv_uint(w, "errors_received", s->rx_errors);
	jsonw_kv_uint(w, "errors_sent", s->tx_errors);
	jsonw_kv_uint(w, "packets_dropped_outbound", s->tx_dropped);
	jsonw_kv_uint(w, "packets_dropped_inbound", s->rx_dropped);
	jsonw_object_end(w);
}

static void write_link(struct jsonw *w, const struct link *l)
{
	jsonw_key(w, l->name ? l->name : "");
	jsonw_object_begin(w);
	jsonw_key(w, "addresses");
	jsonw_array_begin(w);
	if (l->addresses.len)
		jsonw_raw(w, l->addresses.data, l->addresses.len);
	jsonw_array_end(w);
	write_counters(w, &l->stats);
	jsonw_kv_str(w, "hwaddr", l->flags & IFF_LOOPBACK ? "" : l->hwaddr);
	jsonw_kv_str(w, "host_name", "");
	jsonw_kv_uint(w, "mtu", l->mtu);
	jsonw_kv_str(w, "state", l->flags & IFF_UP ? "up" : "down");
	jsonw_kv_str(w, "type", type_name(l));
	jsonw_object_end(w);
}

static int read_links(struct links *links, struct error *err)
{
	auto_close int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int r;

	if (sock < 0)
		return error_errno(err, errno, "Open a netlink socket");
	r = dump(sock, RTM_GETLINK, take_link, links, err);
	if (r < 0)
		return r;
	return dump(sock, RTM_GETADDR, take_address, links, err);
}

int request_net_state(struct request *rq, struct error *err)
{
	auto_strbuf struct strbuf json = STRBUF_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct links links = {0}; /* freed by the end of the process */
	struct jsonw w = JSONW(&json);
	int r;

	if (!wire_done(&rq->msg.reader) || rq->msg.fds[0] < 0)
		return request_malformed(err);
	if (setns(rq->msg.fds[0], CLONE_NEWNET) < 0)
		return error_errno(err, errno, "Enter the container's network namespace");
	r = read_links(&links, err);
	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	for (size_t i = 0; i < links.len; i++)
		write_link(&w, &links.items[i]);
	jsonw_object_end(&w);
	wire_put_u32(&b, WIRE_REPLY_OK);
	wire_put_str(&b, strbuf_str(&json));
	return request_reply(rq, &b, NULL, 0, err);
}
