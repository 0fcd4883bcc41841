#include "api/network_leases.h"

#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/str.h"
#include "network/dnsmasq.h"

struct lease_list {
	struct jsonw *w;
	struct strv seen; /* "MAC ADDRESS" */
};

static void list_done(struct lease_list *l)
{
	strv_done(&l->seen);
}

static void write_lease(struct lease_list *l, const char *hostname, const char *mac, const struct ip_addr *address,
			const char *type)
{
	auto_free char *key = NULL;
	char text[IP_TEXT_MAX];

	ip_format(address, text);
	key = xasprintf("%s %s", mac, text);
	if (strv_contains(&l->seen, key))
		return;
	strv_add(&l->seen, key);
	jsonw_object_begin(l->w);
	jsonw_kv_str(l->w, "hostname", hostname);
	jsonw_kv_str(l->w, "hwaddr", mac);
	jsonw_kv_str(l->w, "address", text);
	jsonw_kv_str(l->w, "type", type);
	jsonw_kv_str(l->w, "location", streq(type, "gateway") ? "" : "none");
	jsonw_object_end(l->w);
}

static void write_gateways(struct lease_list *l, const struct network_view *v)
{
	auto_free char *name = xasprintf("%s.gw", v->name);

	if (v->v4.addr.family)
		write_lease(l, name, "", &v->v4.addr, "gateway");
	if (v->v6.addr.family)
		write_lease(l, name, "", &v->v6.addr, "gateway");
}

/* What is configured, and the address that a NIC makes of its hardware address where routers announce the subnet. */
static void write_nics(struct lease_list *l, const struct network_view *v, const struct instance_network_nic *nics,
		       size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct instance_network_nic *nic = &nics[i];
		char mac[MAC_TEXT_MAX];

		mac_format(&nic->mac, mac);
		if (nic->v4.family)
			write_lease(l, nic->instance, mac, &nic->v4, "static");
		if (nic->v6.family)
			write_lease(l, nic->instance, mac, &nic->v6, "static");
		if (v->v6.addr.family && !strmap_get_bool(&v->config, "ipv6.dhcp.stateful", false)) {
			struct ip_prefix subnet = ip_network(&v->v6);
			struct ip_addr made = ip_eui64(&subnet, &nic->mac);

			write_lease(l, nic->instance, mac, &made, "dynamic");
		}
	}
}

static bool is_among(const struct mac_addr *mac, const struct instance_network_nic *nics, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(&nics[i].mac, mac, sizeof(*mac)) == 0)
			return true;
	return false;
}

/* IPv6 leases carry no hardware address: whose they are cannot be told. */
static void write_given(struct lease_list *l, struct dnsmasq_lease *leases, size_t n_leases,
			const struct instance_network_nic *nics, size_t n_nics)
{
	for (size_t i = 0; i < n_leases; i++) {
		struct dnsmasq_lease *lease = &leases[i];
		bool six = lease->address.family == AF_INET6;
		char mac[MAC_TEXT_MAX] = "";

		if (!six)
			mac_format(&lease->mac, mac);
		if (six || is_among(&lease->mac, nics, n_nics))
			write_lease(l, lease->hostname ? lease->hostname : "", mac, &lease->address, "dynamic");
		dnsmasq_lease_done(lease);
	}
	free(leases);
}

static int write_leases(struct api_call *c, const char *network, struct jsonw *w, struct error *err)
{
	CLEANUP(network_view_done) struct network_view v = NETWORK_VIEW_INIT;
	CLEANUP(list_done) struct lease_list list = {.w = w};
	struct dnsmasq *d = networks_dnsmasq(c->api->networks, network);
	struct instance_network_nic *nics = NULL;
	struct dnsmasq_lease *leases = NULL;
	size_t n_nics = 0, n_leases = 0;
	int r = network_view_get(c->api->networks, network, &v, err);

	if (r == 0 || (r > 0 && !d))
		return error_set(err, 404, "Failed loading network: Network not found");
	if (r > 0)
		r = instances_network_nics(c->api->instances, c->project, network, &nics, &n_nics, err);
	if (r == 0)
		r = dnsmasq_leases(d, &leases, &n_leases, err);
	if (r == 0) {
		jsonw_array_begin(w);
		if (streq(c->project, "default"))
			write_gateways(&list, &v);
		write_nics(&list, &v, nics, n_nics);
		write_given(&list, leases, n_leases, nics, n_nics);
		jsonw_array_end(w);
	}
	instance_network_nics_free(nics, n_nics);
	return r;
}

int network_leases_write(struct api_call *c, const char *network, struct jsonw *w, struct error *err)
{
	int r;

	/* the network stays while this is read: who deletes or renames one holds them, too */
	instances_hold_references(c->api->instances);
	r = write_leases(c, network, w, err);
	instances_release_references(c->api->instances);
	return r;
}
