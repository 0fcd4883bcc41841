/* NICs read from options: values, the rules of their network, conflicts, live changes, allocation. Networks are made
 * up. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/strv.h"
#include "network/dnsmasq_internal.h"
#include "network/nic_internal.h"

/* --- made-up networks --- */

static const struct {
	const char *name;
	const char *config;
	bool dhcp4, dhcp6, stateful;
} made_up[] = {
	{"br0", "ipv4.address=192.0.2.1/24;ipv6.address=2001:db8::1/64", true, true, false},
	{"stateful", "ipv4.address=192.0.2.1/24;ipv6.address=2001:db8::1/64;ipv6.dhcp.stateful=true", true, true, true},
	{"nodhcp", "ipv4.address=192.0.2.1/24;ipv6.address=2001:db8::1/64", false, false, false},
	{"nodns", "ipv4.address=192.0.2.1/24;dns.mode=none", true, false, false},
	{"small", "ipv4.address=192.0.2.1/24;ipv4.dhcp.ranges=192.0.2.10-192.0.2.11,192.0.2.20-192.0.2.20", true, false,
	 false},
	{"ranges6", "ipv6.address=2001:db8::1/64;ipv6.dhcp.stateful=true;ipv6.dhcp.ranges=2001:db8::10-2001:db8::11",
	 false, true, true},
	{"tiny", "ipv4.address=192.0.2.1/30;bridge.mtu=1400", true, false, false},
};

static void parse(struct strmap *m, const char *text)
{
	auto_strv struct strv parts = STRV_INIT;

	strv_split(&parts, text, ';');
	for (size_t i = 0; i < parts.len; i++) {
		char *eq = strchr(parts.items[i], '=');

		assert_non_null(eq);
		*eq = '\0';
		strmap_set(m, parts.items[i], eq + 1);
	}
}

void network_view_done(struct network_view *v)
{
	strmap_done(&v->config);
	*v = NETWORK_VIEW_INIT;
}

int network_view_get(struct networks *all UNUSED, const char *name, struct network_view *ret, struct error *err UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(made_up); i++) {
		if (!streq(made_up[i].name, name))
			continue;
		*ret = (struct network_view){.managed = true,
					     .dhcp4 = made_up[i].dhcp4,
					     .dhcp6 = made_up[i].dhcp6,
					     .dhcp6_stateful = made_up[i].stateful};
		snprintf(ret->name, sizeof(ret->name), "%s", name);
		parse(&ret->config, made_up[i].config);
		(void)ip_prefix_parse(AF_INET, strmap_get_or(&ret->config, "ipv4.address", ""), &ret->v4);
		(void)ip_prefix_parse(AF_INET6, strmap_get_or(&ret->config, "ipv6.address", ""), &ret->v6);
		(void)!parse_u32(strmap_get_or(&ret->config, "bridge.mtu", "0"), &ret->mtu);
		return 1;
	}
	return 0;
}

static struct dnsmasq *the_dnsmasq;

struct dnsmasq *networks_dnsmasq(struct networks *all UNUSED, const char *name UNUSED)
{
	return the_dnsmasq;
}

/* --- reading --- */

static const struct nic_owner owner = {"default", "c1", "eth0"};

static int read_as(const struct nic_owner *o, const char *options, const char *volatile_, struct nic *ret,
		   struct error *err)
{
	auto_strmap struct strmap opts = STRMAP_INIT;
	auto_strmap struct strmap vol = STRMAP_INIT;

	parse(&opts, options);
	parse(&vol, volatile_);
	return nic_read(NULL, o, &opts, &vol, ret, err);
}

static void everything_is_read(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_nic struct nic n = NIC_INIT;
	char text[MAC_TEXT_MAX];

	expect_ok(
		read_as(&owner,
			"network=br0;name=net0;host_name=host0;hwaddr=00:16:3E:00:00:01;ipv4.address=192.0.2.10;"
			"ipv4.routes=198.51.100.0/24;ipv4.routes.external=203.0.113.0/24;security.mac_filtering=1;"
			"security.ipv4_filtering=true;security.port_isolation=true;limits.ingress=1Mbit;limits.egress="
			"2Mbit",
			"volatile.eth0.hwaddr=00:16:3e:00:00:99;volatile.eth0.name=eth7;volatile.eth0.host_name=veth7",
			&n, &err),
		&err);
	assert_int_equal(n.type, NIC_BRIDGED);
	assert_string_equal(n.label, "c1.eth0");
	assert_string_equal(n.parent, "br0");
	assert_true(n.network.managed);
	assert_string_equal(n.name, "net0");
	assert_string_equal(n.host_name, "host0");
	assert_string_equal(mac_format(&n.mac, text), "00:16:3e:00:00:01");
	assert_true(n.mac_filtering && n.port_isolation && n.v4.filtering && !n.v6.filtering && nic_is_filtered(&n));
	assert_int_equal(n.v4.n_addresses, 1);
	assert_int_equal(n.v4.n_routes, 2);
	assert_int_equal(n.v4.routes[1].addr.bytes[0], 203);
	assert_int_equal(n.ingress_bits, 1000000);
	assert_int_equal(n.egress_bits, 2000000);
}

static void what_is_not_said_is_remembered(void **state UNUSED)
{
	static const struct nic_owner other = {"p1", "c1", "eth0"};
	auto_error struct error err = ERROR_INIT;
	auto_nic struct nic n = NIC_INIT;
	char text[MAC_TEXT_MAX];

	expect_ok(
		read_as(&other, "network=tiny;limits.max=8kbit;limits.egress=1",
			"volatile.eth0.hwaddr=00:16:3e:00:00:99;volatile.eth0.name=eth7;volatile.eth0.host_name=veth7;"
			"volatile.eth1.name=eth8",
			&n, &err),
		&err);
	assert_string_equal(n.label, "p1_c1.eth0");
	assert_string_equal(n.name, "eth7");
	assert_string_equal(n.host_name, "veth7");
	assert_true(n.has_mac);
	assert_string_equal(mac_format(&n.mac, text), "00:16:3e:00:00:99");
	assert_int_equal(n.mtu, 1400);
	assert_int_equal(n.ingress_bits, 8000);
	assert_int_equal(n.egress_bits, 8000);
	assert_false(nic_is_filtered(&n));
}

/* Volatile keys can be written by clients, too. */
static void what_is_remembered_is_checked(void **state UNUSED)
{
	static const char *const bad[] = {"volatile.eth0.name=../x", "volatile.eth0.name=a b",
					  "volatile.eth0.host_name=all", "volatile.eth0.host_name=sixteencharacter",
					  "volatile.eth0.hwaddr=zz"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_nic struct nic n = NIC_INIT;

		expect_error(read_as(&owner, "network=br0", bad[i], &n, &err), &err, 400, "Invalid ");
	}
}

static void routed_has_defaults(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_nic struct nic n = NIC_INIT;
	char text[IP_TEXT_MAX];

	expect_ok(read_as(&owner,
			  "nictype=routed;parent=br0;ipv4.address=192.0.2.10, 192.0.2.11;ipv6.gateway=none;"
			  "ipv6.neighbor_probe=false;ipv4.host_table=100;ipv6.host_address=2001:db8::ff",
			  "", &n, &err),
		  &err);
	assert_false(n.network.managed);
	assert_int_equal(n.v4.n_addresses, 2);
	assert_true(n.v4.gateway && !n.v6.gateway && n.v4.probe && !n.v6.probe);
	assert_int_equal(n.v4.host_table, 100);
	assert_string_equal(ip_format(&n.v4.host_address, text), "169.254.0.1");
	assert_string_equal(ip_format(&n.v6.host_address, text), "2001:db8::ff");
	assert_false(n.has_mac);
}

static void rules_of_the_network(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"network=nope",
		 "Failed loading device \"eth0\": Failed to load network \"nope\" for project \"default\": "
		 "Network not found"},
		{"network=br0;ipv4.address=192.0.2.10", NULL},
		{"network=br0;ipv4.address=198.51.100.1",
		 "Device IP address \"198.51.100.1\" not within network \"br0\" subnet"},
		{"network=br0;ipv4.address=192.0.2.1",
		 "IP address \"192.0.2.1\" is assigned to parent managed network device \"br0\""},
		{"network=br0;ipv4.address=none",
		 "Cannot have ipv4.address as none unless using security.ipv4_filtering"},
		{"network=br0;ipv4.address=none;security.ipv4_filtering=true", NULL},
		{"network=br0;ipv6.address=none;security.ipv4_filtering=true",
		 "Cannot have ipv6.address as none unless using security.ipv6_filtering"},
		{"network=br0;ipv6.address=2001:db8::10",
		 "Cannot specify \"ipv6.address\" when DHCP or \"ipv6.dhcp.stateful\" are disabled (unless using "
		 "security.ipv6_filtering) on network \"br0\""},
		{"network=br0;ipv6.address=2001:db8::10;security.ipv6_filtering=true", NULL},
		{"network=br0;ipv6.address=2001:db8:1::10;security.ipv6_filtering=true",
		 "not within network \"br0\" subnet"},
		{"network=br0;ipv6.address=2001:db8::1;security.ipv6_filtering=true", "is assigned to parent"},
		{"network=stateful;ipv6.address=2001:db8::10", NULL},
		{"network=stateful;ipv6.address=2001:db8:1::10", "not within network \"stateful\" subnet"},
		{"network=nodhcp;ipv4.address=192.0.2.10", "Cannot specify \"ipv4.address\" when DHCP is disabled "
							   "(unless using security.ipv4_filtering) on network "
							   "\"nodhcp\""},
		{"network=nodhcp;ipv4.address=192.0.2.10;security.ipv4_filtering=true", NULL},
		{"network=nodhcp;ipv4.address=198.51.100.7;security.ipv4_filtering=true", NULL},
		{"network=nodhcp;ipv4.address=192.0.2.1;security.ipv4_filtering=true", "is assigned to parent"},
		{"nictype=bridged;parent=br0;ipv4.address=198.51.100.1", "not within network \"br0\" subnet"},
		{"nictype=bridged;parent=other", NULL},
		{"nictype=bridged;parent=other;security.mac_filtering=true", NULL},
		{"nictype=bridged;parent=other;security.ipv4_filtering=true",
		 "IPv4 filtering requires a manually specified ipv4.address when using an unmanaged parent bridge"},
		{"nictype=bridged;parent=other;security.ipv6_filtering=true",
		 "IPv6 filtering requires a manually specified"},
		{"nictype=bridged;parent=other;ipv4.address=192.0.2.10",
		 "Cannot use manually specified ipv4.address when using unmanaged parent bridge"},
		{"nictype=bridged;parent=other;ipv4.address=none", "Cannot use manually specified ipv4.address"},
		{"nictype=bridged;parent=other;ipv4.address=192.0.2.10;security.ipv4_filtering=true", NULL},
		{"nictype=bridged;parent=other;ipv6.address=none;security.ipv6_filtering=true", NULL},
		{"nictype=p2p;ipv4.routes=192.0.2.0/24", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_nic struct nic n = NIC_INIT;
		int r = read_as(&owner, rows[i][0], "", &n, &err);

		if (rows[i][1] && r >= 0)
			fail_msg("accepted: %s", rows[i][0]);
		if (rows[i][1])
			expect_error(r, &err, 400, rows[i][1]);
		else if (r < 0)
			fail_msg("%s: %s", rows[i][0], error_msg(&err));
	}
}

static void conflicts(void **state UNUSED)
{
	/* of c1's eth0; other instance; its options, its volatile keys; what is wrong */
	static const char *const rows[][5] = {
		{"network=br0", "c2", "network=br0", "", NULL},
		{"network=br0;hwaddr=00:16:3e:00:00:01", "c2", "network=br0;hwaddr=00:16:3E:00:00:01", "",
		 "MAC address \"00:16:3e:00:00:01\" already defined on another NIC"},
		{"network=br0;hwaddr=00:16:3e:00:00:01", "c2", "network=br0", "volatile.eth0.hwaddr=00:16:3e:00:00:01",
		 "already defined on another NIC"},
		{"network=br0;hwaddr=00:16:3e:00:00:01", "c2", "network=br0;hwaddr=00:16:3e:00:00:02",
		 "volatile.eth0.hwaddr=00:16:3e:00:00:01", NULL},
		{"network=br0;hwaddr=00:16:3e:00:00:01", "c2", "nictype=bridged;parent=br0;hwaddr=00:16:3e:00:00:01",
		 "", "already defined on another NIC"},
		{"network=br0;hwaddr=00:16:3e:00:00:01", "c2", "network=stateful;hwaddr=00:16:3e:00:00:01", "", NULL},
		{"network=br0;hwaddr=00:16:3e:00:00:01", "c2", "nictype=macvlan;parent=br0;hwaddr=00:16:3e:00:00:01",
		 "", NULL},
		{"network=br0;ipv4.address=192.0.2.10", "c2", "network=br0;ipv4.address=192.0.2.10", "",
		 "IP address \"192.0.2.10\" already defined on another NIC"},
		{"network=br0;ipv4.address=192.0.2.10", "c2", "network=br0;ipv4.address=none", "", NULL},
		{"network=br0;ipv4.address=none;security.ipv4_filtering=1", "c2", "network=br0;ipv4.address=none", "",
		 NULL},
		{"network=stateful;ipv6.address=2001:db8::10", "c2", "network=stateful;ipv6.address=2001:db8:0::10", "",
		 "IP address \"2001:db8::10\" already defined on another NIC"},
		{"network=br0", "C1", "network=br0", "", "Instance DNS name \"c1\" already used on network"},
		{"network=br0", "c1", "network=br0", "", "Instance DNS name \"c1\" already used on network"},
		{"network=nodns", "c1", "network=nodns", "", NULL},
		{"nictype=bridged;parent=other", "c1", "nictype=bridged;parent=other", "", NULL},
		{"nictype=p2p", "c1", "nictype=p2p", "", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct nic_owner other = {"default", rows[i][1], "eth0"};
		auto_error struct error err = ERROR_INIT;
		auto_strmap struct strmap opts = STRMAP_INIT;
		auto_strmap struct strmap vol = STRMAP_INIT;
		auto_nic struct nic n = NIC_INIT;
		int r;

		expect_ok(read_as(&owner, rows[i][0], "", &n, &err), &err);
		parse(&opts, rows[i][2]);
		parse(&vol, rows[i][3]);
		r = nic_check_conflict(&n, &other, &opts, &vol, &err);
		if (rows[i][4])
			expect_error(r, &err, 409, rows[i][4]);
		else
			expect_ok(r, &err);
	}
}

static void live_changes(void **state UNUSED)
{
	static const struct {
		const char *before;
		const char *after;
		bool live;
	} rows[] = {
		{"network=br0", "network=br0", true},
		{"network=br0", "network=br0;ipv4.address=192.0.2.10;security.mac_filtering=true", true},
		{"network=br0;limits.max=1Mbit;ipv4.routes=192.0.2.0/24", "network=br0", true},
		{"network=br0;hwaddr=", "network=br0", true},
		{"network=br0", "network=br0;hwaddr=00:16:3e:00:00:01", false},
		{"network=br0", "network=br0;security.port_isolation=true", false},
		{"network=br0", "network=br1", false},
		{"network=br0", "nictype=bridged;parent=br0", false},
		{"network=br0;name=a1", "network=br0;name=a2;ipv4.address=192.0.2.1", false},
		{"nictype=p2p", "nictype=p2p;limits.max=1Mbit;ipv4.routes=192.0.2.0/24", true},
		{"nictype=routed;ipv4.address=192.0.2.1", "nictype=routed;ipv4.address=192.0.2.1;limits.egress=1",
		 true},
		{"nictype=routed;ipv4.address=192.0.2.1", "nictype=routed;ipv4.address=192.0.2.2", false},
		{"nictype=routed", "nictype=p2p", false},
		{"nictype=macvlan;parent=eth0", "nictype=macvlan;parent=eth0;mtu=1400", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_strmap struct strmap a = STRMAP_INIT;
		auto_strmap struct strmap b = STRMAP_INIT;

		parse(&a, rows[i].before);
		parse(&b, rows[i].after);
		if (nic_change_is_live(&a, &b) != rows[i].live || nic_change_is_live(&b, &a) != rows[i].live)
			fail_msg("%s to %s", rows[i].before, rows[i].after);
	}
}

/* --- entries and allocation, in a folder --- */

struct folder {
	char top[32];
	struct loop *loop;
};

static int make_folder(void **state)
{
	struct folder *f = xnew(struct folder);
	auto_error struct error err = ERROR_INIT;
	struct dnsmasq_spec spec = {.dir = f->top, .logs = f->top};
	auto_free char *net = NULL;

	snprintf(f->top, sizeof(f->top), "/tmp/nic-XXXXXX");
	assert_non_null(mkdtemp(f->top));
	net = path_join(f->top, "net");
	assert_int_equal(mkdir(net, 0700), 0);
	expect_ok(loop_new(&f->loop, &err), &err);
	spec.loop = f->loop;
	the_dnsmasq = dnsmasq_new(&spec, "net");
	*state = f;
	return 0;
}

static int remove_folder(void **state)
{
	struct folder *f = *state;
	auto_error struct error err = ERROR_INIT;

	dnsmasq_free(the_dnsmasq);
	expect_ok(loop_start(f->loop, &err), &err);
	usleep(20000); /* what was posted runs */
	loop_free(f->loop);
	expect_ok(path_remove_tree(AT_FDCWD, f->top, &err), &err);
	free(f);
	return 0;
}

static char *entry_of(const char *label)
{
	CLEANUP(dnsmasq_host_done) struct dnsmasq_host h = {0};

	return dnsmasq_host_get(the_dnsmasq, label, &h) ? dnsmasq_host_line(&h) : NULL;
}

#define VOLATILE "volatile.eth0.hwaddr=00:16:3e:00:00:01"

static void set_entry(const char *instance, const char *options, const char *volatile_, const char *line)
{
	const struct nic_owner o = {"default", instance, "eth0"};
	auto_free char *label = xasprintf("%s.eth0", instance);
	auto_error struct error err = ERROR_INIT;
	auto_free char *have = NULL;
	auto_nic struct nic n = NIC_INIT;

	expect_ok(read_as(&o, options, volatile_, &n, &err), &err);
	expect_ok(nic_host_entry_set(NULL, &n, &err), &err);
	have = entry_of(label);
	assert_string_equal(have ? have : "", line);
}

static void entries_say_what_the_options_say(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_nic struct nic n = NIC_INIT;

	set_entry("c1", "network=br0", VOLATILE, "00:16:3e:00:00:01,c1");
	set_entry("c1", "network=br0;ipv4.address=192.0.2.10", VOLATILE, "00:16:3e:00:00:01,192.0.2.10,c1");
	set_entry("c1", "network=stateful;ipv6.address=2001:db8::10", VOLATILE, "00:16:3e:00:00:01,[2001:db8::10],c1");
	set_entry("c1", "network=br0;ipv4.address=none;security.ipv4_filtering=true", VOLATILE, "00:16:3e:00:00:01,c1");
	set_entry("c1", "network=nodns;ipv4.address=192.0.2.10", VOLATILE, "00:16:3e:00:00:01,192.0.2.10");
	set_entry("c1", "network=nodns", VOLATILE, "");
	set_entry("c2", "nictype=bridged;parent=other", VOLATILE, "");
	set_entry("c3", "network=br0", "", "");
	expect_ok(read_as(&owner, "network=br0", VOLATILE, &n, &err), &err);
	expect_ok(nic_host_entry_remove(NULL, &n, &err), &err);
	expect_ok(nic_host_entry_remove(NULL, &n, &err), &err);
}

static void put_file(const struct folder *f, const char *name, const char *text)
{
	auto_free char *path = xasprintf("%s/net/%s", f->top, name);
	auto_error struct error err = ERROR_INIT;

	expect_ok(file_write_at(AT_FDCWD, path, text, strlen(text), 0644, &err), &err);
}

static int allocate(const char *instance, const char *options, const char *volatile_, int family, struct ip_addr *ret,
		    struct error *err)
{
	const struct nic_owner o = {"default", instance, "eth0"};
	auto_nic struct nic n = NIC_INIT;

	expect_ok(read_as(&o, options, volatile_, &n, err), err);
	return nic_allocate(NULL, &n, family, ret, err);
}

static void expect_address(const char *instance, const char *options, const char *volatile_, int family,
			   const char *wanted)
{
	auto_error struct error err = ERROR_INIT;
	struct ip_addr a = IP_ADDR_NONE;
	char text[IP_TEXT_MAX];

	expect_ok(allocate(instance, options, volatile_, family, &a, &err), &err);
	assert_string_equal(ip_format(&a, text), wanted);
}

#define FILTER4 ";security.ipv4_filtering=true"
#define FILTER6 ";security.ipv6_filtering=true"

static void first_free_address_skips_what_is_taken(void **state)
{
	put_file(*state, "dnsmasq.leases", "0 00:16:3e:00:00:77 192.0.2.3 x *\n");
	set_entry("c9", "network=br0;ipv4.address=192.0.2.2", "volatile.eth0.hwaddr=00:16:3e:00:00:09",
		  "00:16:3e:00:00:09,192.0.2.2,c9");
	expect_address("c1", "network=br0" FILTER4, VOLATILE, AF_INET, "192.0.2.4");
	/* it stays, also when something before it becomes free, and in the entry beside what is configured */
	put_file(*state, "dnsmasq.leases", "");
	expect_address("c1", "network=br0" FILTER4, VOLATILE, AF_INET, "192.0.2.4");
	set_entry("c1", "network=br0" FILTER4, VOLATILE, "00:16:3e:00:00:01,192.0.2.4,c1");
	/* without the filter it goes */
	set_entry("c1", "network=br0", VOLATILE, "00:16:3e:00:00:01,c1");
}

static void current_lease_is_kept(void **state)
{
	put_file(*state, "dnsmasq.leases", "0 00:16:3e:00:00:01 192.0.2.77 c1 *\n");
	expect_address("c1", "network=br0" FILTER4, VOLATILE, AF_INET, "192.0.2.77");
}

static void ranges_are_kept_and_end(void **state)
{
	auto_error struct error err = ERROR_INIT;
	struct ip_addr a;
	static const char *const wanted[] = {"192.0.2.10", "192.0.2.11", "192.0.2.20"};

	put_file(*state, "dnsmasq.leases", "0 00:16:3e:00:00:01 192.0.2.77 c1 *\n");
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		auto_free char *name = xasprintf("c%zu", i);
		auto_free char *mac = xasprintf("volatile.eth0.hwaddr=00:16:3e:00:00:0%zu", i + 1);

		expect_address(name, "network=small" FILTER4, mac, AF_INET, wanted[i]);
	}
	expect_error(
		allocate("c9", "network=small" FILTER4, "volatile.eth0.hwaddr=00:16:3e:00:00:09", AF_INET, &a, &err),
		&err, 500, "No free IPv4 address is left on network \"small\"");
	expect_address("c8", "network=tiny" FILTER4, "volatile.eth0.hwaddr=00:16:3e:00:00:08", AF_INET, "192.0.2.2");
	expect_error(
		allocate("c9", "network=tiny" FILTER4, "volatile.eth0.hwaddr=00:16:3e:00:00:09", AF_INET, &a, &err),
		&err, 500, "No free IPv4 address is left on network \"tiny\"");
}

static void ipv6_addresses(void **state UNUSED)
{
	expect_address("c1", "network=br0" FILTER6, VOLATILE, AF_INET6, "2001:db8::216:3eff:fe00:1");
	expect_address("c1", "network=stateful" FILTER6, VOLATILE, AF_INET6, "2001:db8::216:3eff:fe00:1");
	expect_address("c2", "network=ranges6" FILTER6, "volatile.eth0.hwaddr=00:16:3e:00:00:02", AF_INET6,
		       "2001:db8::10");
	expect_address("c3", "network=ranges6" FILTER6, "volatile.eth0.hwaddr=00:16:3e:00:00:03", AF_INET6,
		       "2001:db8::11");
	set_entry("c1", "network=br0" FILTER4 FILTER6, VOLATILE, "00:16:3e:00:00:01,[2001:db8::216:3eff:fe00:1],c1");
}

static void start_writes_all_addresses_at_once(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_free char *line = NULL;
	auto_nic struct nic n = NIC_INIT;

	expect_ok(read_as(&owner, "network=br0" FILTER4 FILTER6, VOLATILE, &n, &err), &err);
	expect_ok(nic_host_entry_start(NULL, &n, &err), &err);
	line = entry_of("c1.eth0");
	assert_string_equal(line, "00:16:3e:00:00:01,192.0.2.2,[2001:db8::216:3eff:fe00:1],c1");
	expect_address("c1", "network=br0" FILTER4 FILTER6, VOLATILE, AF_INET, "192.0.2.2");
	expect_address("c1", "network=br0" FILTER4 FILTER6, VOLATILE, AF_INET6, "2001:db8::216:3eff:fe00:1");
}

static void nothing_to_give_blocks(void **state UNUSED)
{
	expect_address("c1", "network=nodhcp" FILTER4 FILTER6, VOLATILE, AF_INET, "");
	expect_address("c1", "network=nodhcp" FILTER4 FILTER6, VOLATILE, AF_INET6, "");
	expect_address("c1", "network=br0;ipv4.address=none" FILTER4, VOLATILE, AF_INET, "");
	expect_address("c1", "network=br0;ipv4.address=192.0.2.10" FILTER4, VOLATILE, AF_INET, "192.0.2.10");
	expect_address("c1", "network=br0", VOLATILE, AF_INET, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_read),
		cmocka_unit_test(what_is_not_said_is_remembered),
		cmocka_unit_test(what_is_remembered_is_checked),
		cmocka_unit_test(routed_has_defaults),
		cmocka_unit_test(rules_of_the_network),
		cmocka_unit_test(conflicts),
		cmocka_unit_test(live_changes),
		cmocka_unit_test_setup_teardown(entries_say_what_the_options_say, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(first_free_address_skips_what_is_taken, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(current_lease_is_kept, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(ranges_are_kept_and_end, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(ipv6_addresses, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(start_writes_all_addresses_at_once, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(nothing_to_give_blocks, make_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
