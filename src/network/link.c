#include "network/link.h"

#include <linux/if.h>
#include <linux/veth.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "config/names.h"
#include "network/link_internal.h"

int link_ns_open(struct link_ns **ret, struct error *err)
{
	int sock = rtnl_open(false, err);

	if (sock < 0)
		return sock;
	*ret = link_ns_from_socket(sock);
	return 0;
}

struct link_ns *link_ns_from_socket(int sock)
{
	struct link_ns *ns = xnew(struct link_ns);

	ns->sock = sock;
	rtnl_want_reasons(sock);
	mutex_init(&ns->lock);
	return ns;
}

void link_ns_free(struct link_ns *ns)
{
	if (!ns)
		return;
	close(ns->sock);
	mutex_done(&ns->lock);
	free(ns);
}

/* --- questions and orders --- */

static int ask(struct link_ns *ns, struct rtnl_request *rq, rtnl_message_fn fn, void *arg, char **ret_reason)
{
	int r;

	mutex_lock(&ns->lock);
	rq->h.nlmsg_seq = ++ns->seq;
	r = rtnl_ask_reason(ns->sock, rq, fn, arg, ret_reason);
	mutex_unlock(&ns->lock);
	return r;
}

PRINTF_LIKE(4, 0)
static int fail(struct error *err, int r, const char *reason, const char *step, va_list ap)
{
	auto_free char *what = xvasprintf(step, ap);

	if (reason)
		return error_errno(err, -r, "%s: %s", what, reason);
	return error_errno(err, -r, "%s", what);
}

int link_ask(struct link_ns *ns, struct rtnl_request *rq, rtnl_message_fn fn, void *arg, struct error *err,
	     const char *step, ...)
{
	auto_free char *reason = NULL;
	va_list ap;
	int r = ask(ns, rq, fn, arg, &reason);

	if (r >= 0)
		return 0;
	va_start(ap, step);
	r = fail(err, r, reason, step, ap);
	va_end(ap);
	return r;
}

static int take_nothing(uint16_t type, struct rtnl_bytes body, void *arg)
{
	(void)type;
	(void)body;
	(void)arg;
	return 0;
}

int link_order(struct link_ns *ns, struct rtnl_request *rq, struct error *err, const char *step, ...)
{
	auto_free char *reason = NULL;
	va_list ap;
	int r = ask(ns, rq, take_nothing, NULL, &reason);

	if (r >= 0)
		return 0;
	va_start(ap, step);
	r = fail(err, r, reason, step, ap);
	va_end(ap);
	return r;
}

int link_forgive(int r, int errnum, struct error *err)
{
	if (r != -errnum)
		return r;
	error_ignore(err, "it is as wanted already");
	return 0;
}

/* --- what is there --- */

struct link_infos {
	struct link_info *items;
	size_t n;
};

static void copy_text(const struct rtnl_attr *a, char *dest, size_t size)
{
	size_t len = MIN_OF(strnlen((const char *)a->value.at, a->value.left), size - 1);

	memcpy(dest, a->value.at, len);
	dest[len] = '\0';
}

static void take_linkinfo(struct link_info *l, struct rtnl_bytes nested)
{
	struct rtnl_attr a;

	while (rtnl_next_attr(&nested, &a))
		if (a.type == IFLA_INFO_KIND)
			copy_text(&a, l->kind, sizeof(l->kind));
}

static void take_attribute(struct link_info *l, const struct rtnl_attr *a)
{
	switch (a->type) {
	case IFLA_IFNAME:
		copy_text(a, l->name, sizeof(l->name));
		break;
	case IFLA_IFALIAS:
		copy_text(a, l->alias, sizeof(l->alias));
		break;
	case IFLA_LINKINFO:
		take_linkinfo(l, a->value);
		break;
	case IFLA_MTU:
		rtnl_copy(a, &l->mtu, sizeof(l->mtu));
		break;
	case IFLA_ADDRESS:
		rtnl_copy(a, &l->mac, sizeof(l->mac));
		break;
	case IFLA_MASTER:
		rtnl_copy(a, &l->master, sizeof(l->master));
		break;
	case IFLA_LINK:
		rtnl_copy(a, &l->parent, sizeof(l->parent));
		break;
	default:
		break;
	}
}

static int take_link(uint16_t type, struct rtnl_bytes body, void *arg)
{
	struct link_infos *list = arg;
	struct link_info l = {0};
	bool parent_elsewhere = false;
	struct ifinfomsg info;
	struct rtnl_attr a;

	if (type != RTM_NEWLINK)
		return 0;
	if (!rtnl_take(&body, &info, sizeof(info)))
		return -EBADMSG;
	l.index = (unsigned)info.ifi_index;
	l.up = info.ifi_flags & IFF_UP;
	l.loopback = info.ifi_flags & IFF_LOOPBACK;
	while (rtnl_next_attr(&body, &a)) {
		take_attribute(&l, &a);
		parent_elsewhere |= a.type == IFLA_LINK_NETNSID;
	}
	/* the numbers of another namespace mean nothing here; a veth whose peer is here says its number, too */
	l.peer_here = streq(l.kind, "veth") && l.parent && !parent_elsewhere;
	if (parent_elsewhere || streq(l.kind, "veth"))
		l.parent = 0;
	LINK_LIST_PUSH(list, l);
	return 0;
}

static void init_link(struct rtnl_request *rq, uint16_t type, uint16_t flags, const struct ifinfomsg *info)
{
	rtnl_request_init(rq, type, flags, info, sizeof(*info));
}

/* The statistics are left out: they are most of an answer. */
static void without_statistics(struct rtnl_request *rq)
{
	rtnl_request_add(rq, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

int link_get(struct link_ns *ns, const char *name, struct link_info *ret, struct error *err)
{
	struct link_infos list = {0};
	struct rtnl_request rq;
	int r;

	if (!*name || strlen(name) >= IFNAMSIZ)
		return 0; /* there can be none */
	init_link(&rq, RTM_GETLINK, NLM_F_ACK, &(struct ifinfomsg){0});
	rtnl_request_put_text(&rq, IFLA_IFNAME, name);
	without_statistics(&rq);
	r = link_forgive(link_ask(ns, &rq, take_link, &list, err, "Look at the interface %s", name), ENODEV, err);
	if (list.n)
		*ret = list.items[0];
	free(list.items);
	return r < 0 ? r : list.n > 0;
}

int link_list(struct link_ns *ns, struct link_info **ret, size_t *ret_n, struct error *err)
{
	struct link_infos list = {0};
	struct rtnl_request rq;
	int r;

	init_link(&rq, RTM_GETLINK, NLM_F_DUMP, &(struct ifinfomsg){0});
	without_statistics(&rq);
	r = link_ask(ns, &rq, take_link, &list, err, "List the network interfaces");
	if (r < 0) {
		free(list.items);
		return r;
	}
	*ret = list.items;
	*ret_n = list.n;
	return 0;
}

int link_index(struct link_ns *ns, const char *name, unsigned *ret, struct error *err)
{
	struct link_info info = {0};
	int r = link_get(ns, name, &info, err);

	if (r < 0)
		return r;
	if (r == 0)
		return error_errno(err, ENODEV, "Network interface %s", name);
	*ret = info.index;
	return 0;
}

/* --- making and removing --- */

static void put_mac(struct rtnl_request *rq, const struct mac_addr *mac)
{
	if (mac)
		rtnl_request_put(rq, IFLA_ADDRESS, mac->bytes, sizeof(mac->bytes));
}

static void put_mtu(struct rtnl_request *rq, unsigned mtu)
{
	if (mtu)
		rtnl_request_add(rq, IFLA_MTU, (int32_t)mtu);
}

static void begin_new(struct rtnl_request *rq, const char *name, unsigned mtu)
{
	init_link(rq, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &(struct ifinfomsg){0});
	rtnl_request_put_text(rq, IFLA_IFNAME, name);
	put_mtu(rq, mtu);
}

int link_add_bridge(struct link_ns *ns, const char *name, unsigned mtu, const struct mac_addr *mac, struct error *err)
{
	struct rtnl_request rq;
	size_t kind;

	begin_new(&rq, name, mtu);
	put_mac(&rq, mac);
	kind = rtnl_request_nest(&rq, IFLA_LINKINFO);
	rtnl_request_put_text(&rq, IFLA_INFO_KIND, "bridge");
	rtnl_request_end(&rq, kind);
	return link_order(ns, &rq, err, "Create the bridge %s", name);
}

int link_add_veth(struct link_ns *ns, const struct link_veth *v, struct error *err)
{
	struct ifinfomsg guest = {0};
	struct rtnl_request rq;
	size_t kind, data, peer;

	begin_new(&rq, v->host, v->mtu);
	kind = rtnl_request_nest(&rq, IFLA_LINKINFO);
	rtnl_request_put_text(&rq, IFLA_INFO_KIND, "veth");
	data = rtnl_request_nest(&rq, IFLA_INFO_DATA);
	peer = rtnl_request_nest(&rq, VETH_INFO_PEER);
	rtnl_request_put_raw(&rq, &guest, sizeof(guest));
	rtnl_request_put_text(&rq, IFLA_IFNAME, v->guest);
	if (v->netns_fd >= 0)
		rtnl_request_add(&rq, IFLA_NET_NS_FD, v->netns_fd);
	put_mtu(&rq, v->mtu);
	put_mac(&rq, v->guest_mac);
	rtnl_request_end(&rq, peer);
	rtnl_request_end(&rq, data);
	rtnl_request_end(&rq, kind);
	return link_order(ns, &rq, err, "Create the pair of interfaces %s and %s", v->host, v->guest);
}

int link_add_macvlan(struct link_ns *ns, const char *name, const char *parent, unsigned mtu, const struct mac_addr *mac,
		     struct error *err)
{
	struct rtnl_request rq;
	size_t kind, data;
	unsigned lower = 0;
	int r = link_index(ns, parent, &lower, err);

	if (r < 0)
		return error_wrap(err, "Create the macvlan interface %s", name);
	begin_new(&rq, name, mtu);
	put_mac(&rq, mac);
	rtnl_request_add(&rq, IFLA_LINK, (int32_t)lower);
	kind = rtnl_request_nest(&rq, IFLA_LINKINFO);
	rtnl_request_put_text(&rq, IFLA_INFO_KIND, "macvlan");
	data = rtnl_request_nest(&rq, IFLA_INFO_DATA);
	rtnl_request_add(&rq, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
	rtnl_request_end(&rq, data);
	rtnl_request_end(&rq, kind);
	return link_order(ns, &rq, err, "Create the macvlan interface %s on %s", name, parent);
}

int link_delete(struct link_ns *ns, const char *name, struct error *err)
{
	struct rtnl_request rq;
	int r;

	init_link(&rq, RTM_DELLINK, NLM_F_ACK, &(struct ifinfomsg){0});
	rtnl_request_put_text(&rq, IFLA_IFNAME, name);
	r = link_order(ns, &rq, err, "Delete the interface %s", name);
	return link_forgive(r, ENODEV, err);
}

/* --- changing --- */

/* By its number: a name in the order would be a new one. */
static int begin_change(struct link_ns *ns, const char *name, struct ifinfomsg info, struct rtnl_request *rq,
			struct error *err)
{
	unsigned index = 0;
	int r = link_index(ns, name, &index, err);

	if (r < 0)
		return r;
	info.ifi_index = (int)index;
	init_link(rq, RTM_SETLINK, NLM_F_ACK, &info);
	return 0;
}

int link_set_up(struct link_ns *ns, const char *name, bool up, struct error *err)
{
	struct rtnl_request rq;
	int r = begin_change(ns, name, (struct ifinfomsg){.ifi_flags = up ? IFF_UP : 0, .ifi_change = IFF_UP}, &rq,
			     err);

	return r < 0 ? r : link_order(ns, &rq, err, "Bring the interface %s %s", name, up ? "up" : "down");
}

int link_set_mtu(struct link_ns *ns, const char *name, unsigned mtu, struct error *err)
{
	struct rtnl_request rq;
	int r = begin_change(ns, name, (struct ifinfomsg){0}, &rq, err);

	if (r < 0)
		return r;
	put_mtu(&rq, mtu);
	return link_order(ns, &rq, err, "Set the MTU of the interface %s to %u", name, mtu);
}

int link_set_mac(struct link_ns *ns, const char *name, const struct mac_addr *mac, struct error *err)
{
	char text[MAC_TEXT_MAX];
	struct rtnl_request rq;
	int r = begin_change(ns, name, (struct ifinfomsg){0}, &rq, err);

	if (r < 0)
		return r;
	put_mac(&rq, mac);
	return link_order(ns, &rq, err, "Set the address of the interface %s to %s", name, mac_format(mac, text));
}

int link_set_alias(struct link_ns *ns, const char *name, const char *alias, struct error *err)
{
	struct rtnl_request rq;
	int r = begin_change(ns, name, (struct ifinfomsg){0}, &rq, err);

	if (r < 0)
		return r;
	rtnl_request_put(&rq, IFLA_IFALIAS, alias, strlen(alias));
	return link_order(ns, &rq, err, "Note \"%s\" on the interface %s", alias, name);
}

int link_rename(struct link_ns *ns, const char *name, const char *new_name, struct error *err)
{
	struct rtnl_request rq;
	int r = begin_change(ns, name, (struct ifinfomsg){0}, &rq, err);

	if (r < 0)
		return r;
	rtnl_request_put_text(&rq, IFLA_IFNAME, new_name);
	return link_order(ns, &rq, err, "Rename the interface %s to %s", name, new_name);
}

int link_set_master(struct link_ns *ns, const char *name, const char *master, struct error *err)
{
	struct rtnl_request rq;
	unsigned index = 0;
	int r = begin_change(ns, name, (struct ifinfomsg){0}, &rq, err);

	if (r == 0 && master)
		r = link_index(ns, master, &index, err);
	if (r < 0)
		return r;
	rtnl_request_add(&rq, IFLA_MASTER, (int32_t)index);
	if (!master)
		return link_order(ns, &rq, err, "Take the interface %s out of its bridge", name);
	return link_order(ns, &rq, err, "Make the interface %s a port of %s", name, master);
}

int link_move(struct link_ns *ns, const char *name, const struct link_move *m, struct error *err)
{
	struct ifinfomsg info = {.ifi_flags = m->up ? IFF_UP : 0, .ifi_change = m->up ? IFF_UP : 0};
	struct rtnl_request rq;
	int r = begin_change(ns, name, info, &rq, err);

	if (r < 0)
		return r;
	rtnl_request_add(&rq, IFLA_NET_NS_FD, m->netns_fd);
	rtnl_request_put_text(&rq, IFLA_IFNAME, m->new_name);
	return link_order(ns, &rq, err, "Move the interface %s to another namespace as %s", name, m->new_name);
}

/* --- names --- */

int link_name_check(const char *name, struct error *err)
{
	return name_check_interface(name, err);
}
