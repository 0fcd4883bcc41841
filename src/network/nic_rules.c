/* What addresses a NIC may have on its network, and which NICs exclude each other. */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/str.h"
#include "network/nic_internal.h"

/* --- one NIC on its network --- */

/* What the network has of one family. */
struct network_family {
	int version; /* 4, 6 */
	struct ip_prefix bridge;
	bool dhcp; /* it hands out addresses */
};

static struct network_family family_of(const struct network_view *v, int family)
{
	return family == AF_INET ? (struct network_family){4, v->v4, v->dhcp4}
				 : (struct network_family){6, v->v6, v->dhcp6 && v->dhcp6_stateful};
}

static int refuse_without_dhcp(const struct nic *n, int version, struct error *err)
{
	if (version == 4)
		return error_set(err, 400,
				 "Cannot specify \"ipv4.address\" when DHCP is disabled (unless using "
				 "security.ipv4_filtering) on network \"%s\"",
				 n->network.name);
	return error_set(
		err, 400,
		"Cannot specify \"ipv6.address\" when DHCP or \"ipv6.dhcp.stateful\" are disabled (unless using "
		"security.ipv6_filtering) on network \"%s\"",
		n->network.name);
}

/* The subnet counts where DHCP is on; an address that only the filter needs may be any. */
static bool subnet_counts(const struct nic *n, const struct network_family *net)
{
	return net->version == 4 ? n->network.dhcp4 : n->network.dhcp6;
}

static int check_managed(const struct nic *n, int family, const struct nic_family *f, struct error *err)
{
	struct network_family net = family_of(&n->network, family);
	const struct ip_addr *a = f->addresses;
	char text[IP_TEXT_MAX];

	if (f->none && !f->filtering)
		return error_set(err, 400, "Cannot have ipv%d.address as none unless using security.ipv%d_filtering",
				 net.version, net.version);
	if (!f->n_addresses)
		return 0;
	if (!net.dhcp && !f->filtering)
		return refuse_without_dhcp(n, net.version, err);
	if (subnet_counts(n, &net) && !ip_prefix_contains(&net.bridge, a))
		return error_set(err, 400, "Device IP address \"%s\" not within network \"%s\" subnet",
				 ip_format(a, text), n->network.name);
	if (net.bridge.addr.family && ip_equal(a, &net.bridge.addr))
		return error_set(err, 400, "IP address \"%s\" is assigned to parent managed network device \"%s\"",
				 ip_format(a, text), n->network.name);
	return 0;
}

static int check_unmanaged(int family, const struct nic_family *f, struct error *err)
{
	bool given = f->none || f->n_addresses;
	int version = family == AF_INET ? 4 : 6;

	if (f->filtering && !given)
		return error_set(err, 400,
				 "IPv%d filtering requires a manually specified ipv%d.address when using an unmanaged "
				 "parent bridge",
				 version, version);
	if (given && !f->filtering)
		return error_set(err, 400,
				 "Cannot use manually specified ipv%d.address when using unmanaged parent bridge",
				 version);
	return 0;
}

int nic_check_rules(const struct nic *n, struct error *err)
{
	static const int families[] = {AF_INET, AF_INET6};
	int r = 0;

	for (size_t i = 0; n->type == NIC_BRIDGED && i < ARRAY_SIZE(families) && r == 0; i++) {
		const struct nic_family *f = nic_family_of(n, families[i]);

		r = n->network.managed ? check_managed(n, families[i], f, err) : check_unmanaged(families[i], f, err);
	}
	return r;
}

/* --- two NICs --- */

static const char *dns_mode(const struct nic *n)
{
	return n->network.managed ? strmap_get_or(&n->network.config, "dns.mode", "managed") : "none";
}

char *nic_dns_name(const struct nic *n)
{
	if (!streq(dns_mode(n), "managed"))
		return NULL;
	return streq(n->project, "default") ? xstrdup(n->instance) : xasprintf("%s.%s", n->instance, n->project);
}

/* Without copies: this is asked for every NIC of the server. */
static bool is_on(const struct strmap *options, const char *parent)
{
	return nic_type_of(options) == NIC_BRIDGED &&
	       streq(strmap_get_or(options, "network", strmap_get_or(options, "parent", "")), parent);
}

static bool has_mac(const struct nic_owner *owner, const struct strmap *options, const struct strmap *volatile_,
		    const struct mac_addr *mac)
{
	const char *text = strmap_get_or(options, "hwaddr", NULL);
	struct mac_addr other;
	char key[128];

	snprintf(key, sizeof(key), "volatile.%.64s.hwaddr", owner->device);
	if (!text)
		text = strmap_get_or(volatile_, key, NULL);
	return text && mac_parse(text, &other) && memcmp(&other, mac, sizeof(other)) == 0;
}

static int check_address(const struct nic *n, int family, const struct strmap *options, struct error *err)
{
	const char *text = strmap_get_or(options, family == AF_INET ? "ipv4.address" : "ipv6.address", NULL);
	const struct nic_family *f = nic_family_of(n, family);
	struct ip_addr a;
	char shown[IP_TEXT_MAX];

	if (!text || !f->n_addresses || !ip_parse(family, text, &a) || !ip_equal(f->addresses, &a))
		return 0;
	return error_set(err, 409, "IP address \"%s\" already defined on another NIC", ip_format(&a, shown));
}

static int check_name(const struct nic *n, const struct nic_owner *owner, struct error *err)
{
	auto_free char *shown = NULL;

	if (streq(dns_mode(n), "none") || !streq(n->project, owner->project) ||
	    strcasecmp(n->instance, owner->instance) != 0)
		return 0;
	shown = xstrdup(n->instance);
	for (char *p = shown; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return error_set(err, 409, "Instance DNS name \"%s\" already used on network", shown);
}

int nic_check_conflict(const struct nic *n, const struct nic_owner *owner, const struct strmap *options,
		       const struct strmap *volatile_, struct error *err)
{
	char text[MAC_TEXT_MAX];
	int r;

	if (n->type != NIC_BRIDGED || !is_on(options, n->parent))
		return 0;
	if (n->has_mac && has_mac(owner, options, volatile_, &n->mac))
		return error_set(err, 409, "MAC address \"%s\" already defined on another NIC",
				 mac_format(&n->mac, text));
	r = check_address(n, AF_INET, options, err);
	if (r == 0)
		r = check_address(n, AF_INET6, options, err);
	return r == 0 ? check_name(n, owner, err) : r;
}
