/* What dnsmasq is to tell the NIC of an instance on a managed bridge: its addresses and its name. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/str.h"
#include "network/nic_internal.h"

static struct dnsmasq *server_of(struct networks *all, const struct nic *n)
{
	return n->type == NIC_BRIDGED && n->network.managed ? networks_dnsmasq(all, n->network.name) : NULL;
}

/* The configuration names no address, so that one is chosen when the NIC starts. */
static bool is_chosen(const struct nic_family *f)
{
	return f->filtering && !f->none && !f->n_addresses;
}

/* What was chosen stays. */
static int keep_addresses(struct dnsmasq *d, const struct nic *n, struct dnsmasq_host *h, struct error *err)
{
	struct dnsmasq_host *list = NULL;
	size_t len = 0;
	int r = dnsmasq_hosts(d, &list, &len, err);

	for (size_t i = 0; i < len; i++) {
		if (r == 0 && streq(list[i].label, n->label)) {
			if (is_chosen(&n->v4))
				h->v4 = list[i].v4;
			if (is_chosen(&n->v6))
				h->v6 = list[i].v6;
		}
		dnsmasq_host_done(&list[i]);
	}
	free(list);
	return r;
}

static void put_configured(const struct nic_family *f, struct ip_addr *ret)
{
	if (!f->none && f->n_addresses)
		*ret = f->addresses[0];
}

static char *host_name(const struct nic *n)
{
	if (!streq(strmap_get_or(&n->network.config, "dns.mode", "managed"), "managed"))
		return NULL;
	return streq(n->project, "default") ? xstrdup(n->instance) : xasprintf("%s.%s", n->instance, n->project);
}

int nic_host_entry_set(struct networks *all, const struct nic *n, struct error *err)
{
	struct dnsmasq *d = server_of(all, n);
	CLEANUP(dnsmasq_host_done) struct dnsmasq_host h = {0};
	int r = 0;

	if (!d || !n->has_mac)
		return 0;
	h = (struct dnsmasq_host){.label = xstrdup(n->label), .mac = n->mac, .hostname = host_name(n)};
	put_configured(&n->v4, &h.v4);
	put_configured(&n->v6, &h.v6);
	if (is_chosen(&n->v4) || is_chosen(&n->v6))
		r = keep_addresses(d, n, &h, err);
	return r < 0 ? r : dnsmasq_host_set(d, &h, err);
}

int nic_host_entry_remove(struct networks *all, const struct nic *n, struct error *err)
{
	struct dnsmasq *d = server_of(all, n);

	return d ? dnsmasq_host_remove(d, n->label, err) : 0;
}
