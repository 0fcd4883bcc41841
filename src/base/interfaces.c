/* What a network namespace holds, asked of the kernel by rtnetlink and written as JSON text. */
#include "base/interfaces.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/jsonw.h"

#define LINKS_MAX 4096
#define ADDRESSES_MAX 16384

struct link {
	int index;
	unsigned flags;
	uint32_t mtu;
	char *name;
	char *hwaddr;
	struct rtnl_link_stats64 stats;
	struct strbuf addresses; /* JSON objects, comma separated */
};

struct interfaces {
	int32_t nsid;
	struct link *links;
	size_t len;
	size_t n_addresses;
};

struct interfaces *interfaces_new(int32_t nsid)
{
	struct interfaces *s = xnew(struct interfaces);

	s->nsid = nsid;
	return s;
}

static void link_done(struct link *l)
{
	free(l->name);
	free(l->hwaddr);
	strbuf_done(&l->addresses);
}

void interfaces_free(struct interfaces *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->len; i++)
		link_done(&s->links[i]);
	free(s->links);
	free(s);
}

static char *format_hwaddr(struct rtnl_bytes bytes)
{
	struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < bytes.left; i++)
		strbuf_appendf(&b, "%s%02x", i ? ":" : "", bytes.at[i]);
	return strbuf_take(&b);
}

static void link_attribute(struct link *l, const struct rtnl_attr *a)
{
	const char *text = (const char *)a->value.at;

	switch (a->type) {
	case IFLA_IFNAME:
		free(l->name);
		l->name = xstrndup(text, strnlen(text, a->value.left));
		break;
	case IFLA_MTU:
		rtnl_copy(a, &l->mtu, sizeof(l->mtu));
		break;
	case IFLA_ADDRESS:
		free(l->hwaddr);
		l->hwaddr = format_hwaddr(a->value);
		break;
	case IFLA_STATS64:
		rtnl_copy(a, &l->stats, sizeof(l->stats));
		break;
	default:
		break;
	}
}

/* An older kernel that ignores the question's namespace answers about its own: that must never be shown as another's.
 */
static int foreign(const struct interfaces *s, int32_t told)
{
	return s->nsid != INTERFACES_HERE && told != s->nsid ? -EOPNOTSUPP : 0;
}

static int take_link(struct interfaces *s, struct rtnl_bytes body)
{
	int32_t nsid = INTERFACES_HERE;
	struct ifinfomsg info;
	struct rtnl_attr a;
	struct link l;
	int r;

	if (!rtnl_take(&body, &info, sizeof(info)))
		return -EBADMSG;
	l = (struct link){.index = info.ifi_index, .flags = info.ifi_flags};
	while (rtnl_next_attr(&body, &a)) {
		link_attribute(&l, &a);
		if (a.type == IFLA_TARGET_NETNSID)
			rtnl_copy(&a, &nsid, sizeof(nsid));
	}
	r = foreign(s, nsid);
	if (r < 0 || s->len >= LINKS_MAX) {
		link_done(&l);
		return r;
	}
	s->links = xreallocarray(s->links, s->len + 1, sizeof(*s->links));
	s->links[s->len++] = l;
	return 0;
}

static struct link *find_link(const struct interfaces *s, int index)
{
	for (size_t i = 0; i < s->len; i++)
		if (s->links[i].index == index)
			return &s->links[i];
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

static void write_address(struct link *l, const struct ifaddrmsg *info, const char *text)
{
	struct jsonw w = JSONW(&l->addresses);

	w.comma = l->addresses.len > 0;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "family", info->ifa_family == AF_INET6 ? "inet6" : "inet");
	jsonw_kv_str(&w, "address", text);
	jsonw_kv_strf(&w, "netmask", "%u", info->ifa_prefixlen);
	jsonw_kv_str(&w, "scope", scope_name(info->ifa_scope));
	jsonw_object_end(&w);
}

static int take_address(struct interfaces *s, struct rtnl_bytes body)
{
	char text[INET6_ADDRSTRLEN] = "";
	int32_t nsid = INTERFACES_HERE;
	struct ifaddrmsg info;
	struct rtnl_attr a;
	struct link *l;
	int r;

	if (!rtnl_take(&body, &info, sizeof(info)))
		return -EBADMSG;
	if (info.ifa_family != AF_INET && info.ifa_family != AF_INET6)
		return 0;
	while (rtnl_next_attr(&body, &a)) {
		/* IFA_LOCAL is this side of a point-to-point link, IFA_ADDRESS the other; elsewhere they agree */
		bool use = a.type == IFA_LOCAL || (a.type == IFA_ADDRESS && !text[0]);

		if (use && a.value.left == (info.ifa_family == AF_INET6 ? 16 : 4))
			inet_ntop(info.ifa_family, a.value.at, text, sizeof(text));
		if (a.type == IFA_TARGET_NETNSID)
			rtnl_copy(&a, &nsid, sizeof(nsid));
	}
	r = foreign(s, nsid);
	l = find_link(s, (int)info.ifa_index);
	if (r < 0 || !l || s->n_addresses >= ADDRESSES_MAX)
		return r;
	s->n_addresses++;
	write_address(l, &info, text);
	return 0;
}

int interfaces_take(uint16_t type, struct rtnl_bytes body, void *arg)
{
	switch (type) {
	case RTM_NEWLINK:
		return take_link(arg, body);
	case RTM_NEWADDR:
		return take_address(arg, body);
	default:
		return 0;
	}
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

char *interfaces_json(const struct interfaces *s)
{
	struct strbuf json = STRBUF_INIT;
	struct jsonw w = JSONW(&json);

	jsonw_object_begin(&w);
	for (size_t i = 0; i < s->len; i++)
		write_link(&w, &s->links[i]);
	jsonw_object_end(&w);
	return strbuf_take(&json);
}

int interfaces_read(int sock, int32_t nsid, char **ret_json, struct error *err)
{
	CLEANUP(interfaces_freep) struct interfaces *s = interfaces_new(nsid);
	struct rtnl_request links, addresses;
	int r;

	rtnl_request_init(&links, RTM_GETLINK, NLM_F_DUMP, &(struct ifinfomsg){0}, sizeof(struct ifinfomsg));
	rtnl_request_init(&addresses, RTM_GETADDR, NLM_F_DUMP, &(struct ifaddrmsg){0}, sizeof(struct ifaddrmsg));
	if (nsid != INTERFACES_HERE) {
		rtnl_request_add(&links, IFLA_TARGET_NETNSID, nsid);
		rtnl_request_add(&addresses, IFA_TARGET_NETNSID, nsid);
	}
	r = rtnl_ask(sock, &links, interfaces_take, s);
	if (r == 0)
		r = rtnl_ask(sock, &addresses, interfaces_take, s);
	if (r < 0)
		return error_errno(err, -r, "Read network interfaces");
	*ret_json = interfaces_json(s);
	return 0;
}
