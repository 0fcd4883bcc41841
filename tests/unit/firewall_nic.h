/* A NIC for the tests of rules: c1.eth0 on veth1, with at most two prefixes in each family. */
#pragma once

#include "unit.h"

#include "firewall/firewall.h"

struct test_nic {
	struct firewall_nic nic;
	struct ip_prefix v4[2], v6[2];
};

static inline void test_nic_allow(int family, const char *list, struct firewall_allowed *a, struct ip_prefix room[2])
{
	auto_error struct error err = ERROR_INIT;
	struct ip_prefix *prefixes = NULL;

	*a = (struct firewall_allowed){.filtered = strcmp(list, "-") != 0, .prefix = room};
	if (!a->filtered || strcmp(list, "none") == 0)
		return;
	expect_ok(ip_prefixes_parse(family, list, &prefixes, &a->n, &err), &err);
	assert_in_range(a->n, 1, 2);
	memcpy(room, prefixes, a->n * sizeof(*prefixes));
	free(prefixes);
}

/* "-": not filtered; "none": nothing passes; else prefixes. The caller frees. */
static inline struct test_nic *test_nic_new(const char *v4, const char *v6)
{
	struct test_nic *n = xnew(struct test_nic);

	n->nic = (struct firewall_nic){.label = "c1.eth0", .host_if = "veth1", .parent = "br0", .parent_managed = true};
	assert_true(mac_parse("00:16:3e:0a:0b:0c", &n->nic.mac));
	test_nic_allow(AF_INET, v4, &n->nic.v4, n->v4);
	test_nic_allow(AF_INET6, v6, &n->nic.v6, n->v6);
	return n;
}
