/*
 * Addresses for filtered NICs whose configuration names none: a filter needs one to allow. What is found is written to
 * the host entry, so that DHCP gives the same.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "network/nic_internal.h"

/* What is being looked for, and what is not free. */
struct search {
	const struct nic *nic;
	int family;
	struct ip_prefix bridge;
	struct ip_range *ranges; /* within these; none: hosts of the subnet */
	size_t n_ranges;
	struct ip_addr *taken; /* sorted: the bridge, entries and leases of others */
	size_t n_taken;
	struct ip_addr leased; /* to this NIC; AF_UNSPEC: nothing */
};

static void search_done(struct search *s)
{
	free(s->ranges);
	free(s->taken);
}

static int compare_addresses(const void *a, const void *b)
{
	return ip_compare(a, b);
}

static bool is_taken(const struct search *s, const struct ip_addr *a)
{
	return bsearch(a, s->taken, s->n_taken, sizeof(*s->taken), compare_addresses) != NULL;
}

static bool is_in_ranges(const struct search *s, const struct ip_addr *a)
{
	if (!ip_prefix_contains(&s->bridge, a) || ip_equal(a, &s->bridge.addr))
		return false;
	for (size_t i = 0; i < s->n_ranges; i++)
		if (ip_compare(&s->ranges[i].first, a) <= 0 && ip_compare(a, &s->ranges[i].last) <= 0)
			return true;
	return s->n_ranges == 0;
}

static void add_taken(struct search *s, const struct ip_addr *a)
{
	if (a->family != s->family)
		return;
	s->taken = xreallocarray(s->taken, s->n_taken + 1, sizeof(*s->taken));
	s->taken[s->n_taken++] = *a;
}

static int add_entries(struct search *s, struct dnsmasq *d, struct error *err)
{
	struct dnsmasq_host *hosts = NULL;
	size_t n = 0;
	int r = dnsmasq_hosts(d, &hosts, &n, err);

	for (size_t i = 0; i < n; i++) {
		if (!streq(hosts[i].label, s->nic->label))
			add_taken(s, s->family == AF_INET ? &hosts[i].v4 : &hosts[i].v6);
		dnsmasq_host_done(&hosts[i]);
	}
	free(hosts);
	return r;
}

static bool is_own(const struct search *s, const struct dnsmasq_lease *l)
{
	return s->family == AF_INET && memcmp(&l->mac, &s->nic->mac, sizeof(l->mac)) == 0;
}

static int add_leases(struct search *s, struct dnsmasq *d, struct error *err)
{
	struct dnsmasq_lease *leases = NULL;
	size_t n = 0;
	int r = dnsmasq_leases(d, &leases, &n, err);

	for (size_t i = 0; i < n; i++) {
		if (leases[i].address.family == s->family && is_own(s, &leases[i]))
			s->leased = leases[i].address;
		else
			add_taken(s, &leases[i].address);
		dnsmasq_lease_done(&leases[i]);
	}
	free(leases);
	return r;
}

static int read_ranges(struct search *s, struct error *err)
{
	const char *key = s->family == AF_INET ? "ipv4.dhcp.ranges" : "ipv6.dhcp.ranges";
	const char *text = strmap_get_or(&s->nic->network.config, key, NULL);

	return text ? ip_ranges_parse(s->family, text, &s->ranges, &s->n_ranges, err) : 0;
}

/* The whole subnet as one range: hosts from the first; IPv4 without the broadcast address. */
static bool subnet_range(const struct search *s, struct ip_range *ret)
{
	struct ip_addr last = ip_last(&s->bridge);

	if (s->family == AF_INET)
		last.bytes[3]--; /* never borrows: the last address of a subnet with a first host is odd */
	ret->last = last;
	return ip_nth(&s->bridge, 1, &ret->first) && ip_compare(&ret->first, &last) <= 0;
}

static bool first_free_of(const struct search *s, const struct ip_range *range, struct ip_addr *ret)
{
	struct ip_addr a = range->first;

	do {
		if (!is_taken(s, &a) && ip_prefix_contains(&s->bridge, &a)) {
			*ret = a;
			return true;
		}
	} while (ip_next(&a) && ip_compare(&a, &range->last) <= 0);
	return false;
}

static int first_free(const struct search *s, struct ip_addr *ret, struct error *err)
{
	struct ip_range whole;

	for (size_t i = 0; i < s->n_ranges; i++)
		if (first_free_of(s, &s->ranges[i], ret))
			return 0;
	if (s->n_ranges == 0 && subnet_range(s, &whole) && first_free_of(s, &whole, ret))
		return 0;
	return error_set(err, 500, "No free IPv%d address is left on network \"%s\"", s->family == AF_INET ? 4 : 6,
			 s->nic->network.name);
}

static int choose4(const struct search *s, struct ip_addr *ret, struct error *err)
{
	if (s->leased.family && is_in_ranges(s, &s->leased) && !is_taken(s, &s->leased)) {
		*ret = s->leased;
		return 0;
	}
	return first_free(s, ret, err);
}

static int choose6(const struct search *s, struct ip_addr *ret, struct error *err)
{
	struct ip_addr eui = ip_eui64(&s->bridge, &s->nic->mac);
	bool stateful = s->nic->network.dhcp6_stateful;

	/* what SLAAC makes inside; it needs a /64 */
	if (s->bridge.len == 64 && (!stateful || !s->n_ranges) && !is_taken(s, &eui)) {
		*ret = eui;
		return 0;
	}
	return stateful ? first_free(s, ret, err) : 0;
}

static int choose(struct search *s, struct dnsmasq *d, struct ip_addr *ret, struct error *err)
{
	int r = add_entries(s, d, err);

	if (r == 0)
		r = add_leases(s, d, err);
	if (r < 0)
		return r;
	add_taken(s, &s->bridge.addr);
	qsort(s->taken, s->n_taken, sizeof(*s->taken), compare_addresses);
	return s->family == AF_INET ? choose4(s, ret, err) : choose6(s, ret, err);
}

/* Does the network give addresses of this family at all? */
static bool can_give(const struct nic *n, int family)
{
	return family == AF_INET ? n->network.dhcp4 : n->network.dhcp6 && n->network.v6.addr.family;
}

static bool is_wanted(const struct nic *n, int family)
{
	const struct nic_family *f = nic_family_of(n, family);

	return f->filtering && !f->none && !f->n_addresses && nic_has_entry(n);
}

int nic_find_address(struct dnsmasq *d, const struct nic *n, int family, const struct dnsmasq_host *entry,
		     struct ip_addr *ret, struct error *err)
{
	const struct ip_addr *had = family == AF_INET ? &entry->v4 : &entry->v6;
	CLEANUP(search_done)
	struct search s = {.nic = n, .family = family, .bridge = family == AF_INET ? n->network.v4 : n->network.v6};
	int r;

	*ret = IP_ADDR_NONE;
	if (!is_wanted(n, family) || !can_give(n, family))
		return 0;
	r = read_ranges(&s, err);
	if (r < 0)
		return r;
	if (is_in_ranges(&s, had)) {
		*ret = *had;
		return 0;
	}
	return choose(&s, d, ret, err);
}

/* Choose one, or take what the entry has, and note it there. */
static int allocate(struct dnsmasq *d, const struct nic *n, int family, struct ip_addr *ret, struct error *err)
{
	CLEANUP(dnsmasq_host_done) struct dnsmasq_host before = {0};
	CLEANUP(dnsmasq_host_done) struct dnsmasq_host now = {0};
	struct ip_addr *noted = family == AF_INET ? &before.v4 : &before.v6;
	int r;

	(void)dnsmasq_host_get(d, n->label, &before);
	r = nic_find_address(d, n, family, &before, ret, err);
	if (r < 0 || !ret->family || ip_equal(ret, noted))
		return r;
	*noted = *ret;
	nic_make_entry(n, &before, &now);
	return dnsmasq_host_set(d, &now, err);
}

int nic_allocate(struct networks *all, const struct nic *n, int family, struct ip_addr *ret, struct error *err)
{
	const struct nic_family *f = nic_family_of(n, family);
	struct dnsmasq *d = is_wanted(n, family) ? networks_dnsmasq(all, n->network.name) : NULL;
	struct ip_addr found = f->n_addresses ? f->addresses[0] : IP_ADDR_NONE;
	int r = 0;

	if (d) {
		dnsmasq_hold_hosts(d);
		r = allocate(d, n, family, &found, err);
		dnsmasq_release_hosts(d);
	}
	if (r < 0)
		return r;
	if (is_wanted(n, family) && !found.family)
		log_warn("the network gives no address to a filtered NIC: the whole protocol is blocked",
			 LOG_STR("network", n->network.name), LOG_STR("nic", n->label),
			 LOG_INT("ip version", family == AF_INET ? 4 : 6));
	*ret = found;
	return 0;
}
