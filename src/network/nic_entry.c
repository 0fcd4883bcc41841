/* What dnsmasq is told of a NIC: its host entry, and leases that are somebody else's or out of date by now. */
#include "base/alloc.h"
#include "base/str.h"
#include "network/nic_internal.h"

bool nic_has_entry(const struct nic *n)
{
	return n->type == NIC_BRIDGED && n->network.managed && n->has_mac;
}

/* Of one family: what is configured; a filtered NIC keeps what was found for it (nic_alloc.c). `none` is no address. */
static struct ip_addr entry_address(const struct nic_family *f, const struct ip_addr *before)
{
	if (f->n_addresses)
		return f->addresses[0];
	return f->filtering && !f->none ? *before : IP_ADDR_NONE;
}

void nic_make_entry(const struct nic *n, const struct dnsmasq_host *before, struct dnsmasq_host *ret)
{
	*ret = (struct dnsmasq_host){
		.label = xstrdup(n->label),
		.mac = n->mac,
		.v4 = entry_address(&n->v4, &before->v4),
		.v6 = entry_address(&n->v6, &before->v6),
		.hostname = nic_dns_name(n),
	};
}

/* An address that is this NIC's from now on: others lose their lease of it. True when it was not so before. */
static bool take_over(struct dnsmasq *d, const struct nic *n, const struct ip_addr *now, const struct ip_addr *before)
{
	if (!now->family || ip_equal(now, before))
		return false;
	dnsmasq_release_address(d, now, &n->mac);
	return true;
}

/* The server must not go on with a lease that contradicts the entry. */
static void release_outdated(struct dnsmasq *d, const struct nic *n, const struct dnsmasq_host *before,
			     const struct dnsmasq_host *now)
{
	const struct ip_addr keep[] = {now->v4, now->v6};
	bool changed = take_over(d, n, &now->v4, &before->v4);

	changed |= take_over(d, n, &now->v6, &before->v6);
	if (changed)
		dnsmasq_release(d, &n->mac, n->instance, keep, ARRAY_SIZE(keep));
	if (before->label && memcmp(&before->mac, &n->mac, sizeof(n->mac)) != 0)
		dnsmasq_release(d, &before->mac, NULL, NULL, 0);
}

/* Addresses that a filter is going to need, into the entry of before. */
static int find_addresses(struct dnsmasq *d, const struct nic *n, struct dnsmasq_host *before, struct error *err)
{
	struct ip_addr v4, v6;
	int r = nic_find_address(d, n, AF_INET, before, &v4, err);

	if (r == 0)
		r = nic_find_address(d, n, AF_INET6, before, &v6, err);
	if (r < 0)
		return r;
	before->v4 = v4.family ? v4 : before->v4;
	before->v6 = v6.family ? v6 : before->v6;
	return 0;
}

static int write_entry(struct dnsmasq *d, const struct nic *n, bool allocate, struct error *err)
{
	CLEANUP(dnsmasq_host_done) struct dnsmasq_host before = {0};
	CLEANUP(dnsmasq_host_done) struct dnsmasq_host with = {0};
	CLEANUP(dnsmasq_host_done) struct dnsmasq_host now = {0};
	int r = 0;

	dnsmasq_hold_hosts(d);
	(void)dnsmasq_host_get(d, n->label, &before);
	with.v4 = before.v4;
	with.v6 = before.v6;
	if (allocate)
		r = find_addresses(d, n, &with, err);
	nic_make_entry(n, &with, &now);
	if (r == 0)
		r = dnsmasq_host_set(d, &now, err);
	dnsmasq_release_hosts(d);
	if (r == 0)
		release_outdated(d, n, &before, &now);
	return r;
}

static int set_entry(struct networks *all, const struct nic *n, bool allocate, struct error *err)
{
	struct dnsmasq *d = nic_has_entry(n) ? networks_dnsmasq(all, n->network.name) : NULL;
	int r = d ? write_entry(d, n, allocate, err) : 0;

	return r < 0 ? error_wrap(err, "Write the DHCP entry of device \"%s\"", n->device) : 0;
}

int nic_host_entry_set(struct networks *all, const struct nic *n, struct error *err)
{
	return set_entry(all, n, /* allocate= */ false, err);
}

int nic_host_entry_start(struct networks *all, const struct nic *n, struct error *err)
{
	return set_entry(all, n, /* allocate= */ true, err);
}

int nic_host_entry_remove(struct networks *all, const struct nic *n, struct error *err)
{
	struct dnsmasq *d = n->type == NIC_BRIDGED && n->network.managed ? networks_dnsmasq(all, n->network.name)
									 : NULL;
	int r = d ? dnsmasq_host_remove(d, n->label, err) : 0;

	return r < 0 ? error_wrap(err, "Remove the DHCP entry of device \"%s\"", n->device) : 0;
}
