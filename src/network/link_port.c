/* Ports of bridges: flags, and hardware addresses that are nailed to one. */
#include <linux/if_bridge.h>
#include <linux/neighbour.h>
#include <sys/socket.h>

#include "network/link_internal.h"

#ifndef NTF_STICKY
#define NTF_STICKY 0x40
#endif

/* A request about the port @index; its attributes go between this and rtnl_request_end() with what it returns. */
static size_t begin_port(struct rtnl_request *rq, unsigned index)
{
	struct ifinfomsg info = {.ifi_family = AF_BRIDGE, .ifi_index = (int)index};

	rtnl_request_init(rq, RTM_SETLINK, NLM_F_ACK, &info, sizeof(info));
	return rtnl_request_nest(rq, IFLA_PROTINFO);
}

int link_set_port_flag(struct link_ns *ns, const char *name, enum link_port_flag flag, bool on, struct error *err)
{
	static const struct {
		uint16_t attribute;
		const char *name;
	} flags[] = {
		[LINK_PORT_ISOLATED] = {IFLA_BRPORT_ISOLATED, "isolation"},
		[LINK_PORT_HAIRPIN] = {IFLA_BRPORT_MODE, "hairpin mode"},
		[LINK_PORT_LEARNING] = {IFLA_BRPORT_LEARNING, "learning"},
	};
	uint8_t value = on;
	struct rtnl_request rq;
	unsigned index = 0;
	size_t port;
	int r = link_index(ns, name, &index, err);

	if (r < 0)
		return r;
	port = begin_port(&rq, index);
	rtnl_request_put(&rq, flags[flag].attribute, &value, sizeof(value));
	rtnl_request_end(&rq, port);
	return link_order(ns, &rq, err, "Switch %s of the port %s %s", flags[flag].name, name, on ? "on" : "off");
}

/* Switches learning off and drops what was learned; the entries that were set by hand stay. */
static int stop_learning(struct link_ns *ns, const char *name, unsigned index, struct error *err)
{
	const uint8_t off = 0;
	struct rtnl_request rq;
	size_t port = begin_port(&rq, index);

	rtnl_request_put(&rq, IFLA_BRPORT_LEARNING, &off, sizeof(off));
	rtnl_request_put(&rq, IFLA_BRPORT_FLUSH, NULL, 0);
	rtnl_request_end(&rq, port);
	return link_order(ns, &rq, err, "Stop the port %s from learning addresses", name);
}

/* An entry of the forwarding table that does not age (static) and that no other port takes over (sticky). */
static void entry_request(struct rtnl_request *rq, uint16_t type, uint16_t flags, unsigned index,
			  const struct mac_addr *mac)
{
	struct ndmsg info = {
		.ndm_family = AF_BRIDGE,
		.ndm_ifindex = (int)index,
		.ndm_state = NUD_NOARP,
		.ndm_flags = NTF_MASTER | NTF_STICKY,
	};

	rtnl_request_init(rq, type, flags, &info, sizeof(info));
	rtnl_request_put(rq, NDA_LLADDR, mac->bytes, sizeof(mac->bytes));
}

int link_pin_port(struct link_ns *ns, const char *name, const struct mac_addr *mac, struct error *err)
{
	char text[MAC_TEXT_MAX];
	struct rtnl_request rq;
	unsigned index = 0;
	int r = link_index(ns, name, &index, err);

	if (r < 0)
		return r;
	entry_request(&rq, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, index, mac);
	r = link_order(ns, &rq, err, "Pin the address %s to the port %s", mac_format(mac, text), name);
	return r < 0 ? r : stop_learning(ns, name, index, err);
}

int link_unpin_port(struct link_ns *ns, const char *name, const struct mac_addr *mac, struct error *err)
{
	char text[MAC_TEXT_MAX];
	struct rtnl_request rq;
	unsigned index = 0;
	int r = link_index(ns, name, &index, err);

	if (r == 0)
		r = link_set_port_flag(ns, name, LINK_PORT_LEARNING, /* on= */ true, err);
	if (r < 0)
		return link_forgive(r, ENODEV, err);
	entry_request(&rq, RTM_DELNEIGH, NLM_F_ACK, index, mac);
	r = link_order(ns, &rq, err, "Take the address %s from the port %s", mac_format(mac, text), name);
	return link_forgive(r, ENOENT, err);
}
