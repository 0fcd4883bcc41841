/* The input of ebtables-restore and its like: each mode of a NIC's filter, networks, and how a table is made to fit. */
#include "firewall_nic.h"

#include "firewall/xt_rules.h"

#define MAC_RULES                                                                            \
	"-s ! 00:16:3e:0a:0b:0c -j DROP\n-p ARP --arp-mac-src ! 00:16:3e:0a:0b:0c -j DROP\n" \
	"-p ARP --arp-htype 6 -j DROP\n"
#define DISCOVER "-p IPv4 --ip-src 0.0.0.0 --ip-dst 255.255.255.255 --ip-proto udp --ip-dport 67 -j RETURN\n"
#define V4_RULES                                                                                                       \
	"-p ARP --arp-mac-src 00:16:3e:0a:0b:0c --arp-ip-src 192.0.2.10/32 -j RETURN\n-p IPv4 --ip-src 192.0.2.10/32 " \
	"-j RETURN\n"
#define V4_END "-p ARP -j DROP\n-p IPv4 -j DROP\n"
#define V4_OFF "-p IPv4 -j RETURN\n-p ARP -j RETURN\n"
#define V6_FIRST                                                            \
	"-p IPv6 --ip6-proto ipv6-icmp --ip6-icmp-type 134/0:255 -j DROP\n" \
	"-p IPv6 --ip6-proto ipv6-icmp --ip6-icmp-type 137/0:255 -j DROP\n"
#define V6_CLIENT(source)                                                                                    \
	"-p IPv6 --ip6-src " source " --ip6-dst ff02::1:2 --ip6-proto udp --ip6-dport 547 -j RETURN\n"       \
	"-p IPv6 --ip6-src " source " --ip6-dst ff02::2 --ip6-proto ipv6-icmp --ip6-icmp-type 133/0:255 -j " \
	"RETURN\n"
#define V6_TOLD(source) "-p IPv6 --ip6-src " source " --ip6-proto ipv6-icmp --ip6-icmp-type 136/0:255 -j RETURN\n"
#define V6_OWN "fe80::216:3eff:fe0a:b0c"
#define V6_OTHERS "-p IPv6 --ip6-src fe80::ff:fe00:0/ffc0::ff:ff00:0 -j DROP\n"
#define V6_LIST "-p IPv6 --ip6-src 2001:db8::10/128 -j RETURN\n"
#define V6_IN V6_FIRST V6_CLIENT(V6_OWN) V6_TOLD(V6_OWN) V6_OTHERS V6_CLIENT("fe80::/10") V6_TOLD("fe80::/10") V6_LIST
#define V6_FWD                   \
	V6_FIRST V6_TOLD(V6_OWN) \
	V6_OTHERS V6_TOLD("fe80::/10") V6_LIST
#define V6_END "-p IPv6 -j DROP\n"
#define V6_OFF "-p IPv6 -j RETURN\n"
#define OTHERS "-j DROP\n"

static void body(enum xt_table t, const struct firewall_state *s, struct xt_body *ret)
{
	*ret = (struct xt_body){0};
	xt_render(t, s, ret);
}

/* The rules of @chain, without "-A CHAIN "; the caller frees. */
static char *rules_of(const struct xt_body *b, const char *chain)
{
	auto_free char *front = xasprintf("-A %s ", chain);
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strv struct strv lines = STRV_INIT;

	strv_split(&lines, strbuf_str(&b->rules), '\n');
	for (size_t i = 0; i < lines.len; i++) {
		const char *rest = startswith(lines.items[i], front);

		if (rest)
			strbuf_appendf(&text, "%s\n", rest);
	}
	return strbuf_take(&text);
}

static void expect_chain(const struct xt_body *b, const char *prefix, const char *want)
{
	char chain[XT_CHAIN_SIZE];
	auto_free char *have = rules_of(b, xt_chain(chain, prefix, "c1.eth0"));

	assert_string_equal(have, want);
}

static void expect_modes(const char *v4, const char *v6, const char *in, const char *fwd)
{
	auto_free struct test_nic *n = test_nic_new(v4, v6);
	CLEANUP(firewall_state_done) struct firewall_state s = {0};
	CLEANUP(xt_body_done) struct xt_body b, nat;
	auto_free char *dispatch = NULL;
	char chain[XT_CHAIN_SIZE];

	firewall_list_put(&s.lists[FIREWALL_NIC], firewall_nic_copy(&n->nic));
	body(XT_EB_FILTER, &s, &b);
	body(XT_EB_NAT, &s, &nat);
	assert_string_equal(strbuf_str(&nat.rules), "-A lxd-pre -i veth1 -s ! 00:16:3e:0a:0b:0c -j DROP\n");
	expect_chain(&b, "lxd-in-", in);
	expect_chain(&b, "lxd-fwd-", fwd);
	dispatch = xasprintf("-A lxd-in -i veth1 -j %s\n", xt_chain(chain, "lxd-in-", "c1.eth0"));
	assert_non_null(strstr(strbuf_str(&b.rules), dispatch));
	assert_int_equal(b.chains.len, 4);
}

static void each_mode_has_its_rules(void **state UNUSED)
{
	expect_modes("-", "-", MAC_RULES, MAC_RULES);
	expect_modes("192.0.2.10", "-", MAC_RULES DISCOVER V4_RULES V4_END V6_OFF OTHERS,
		     MAC_RULES V4_RULES V4_END V6_OFF OTHERS);
	expect_modes("-", "2001:db8::10", MAC_RULES V4_OFF V6_IN V6_END OTHERS, MAC_RULES V4_OFF V6_FWD V6_END OTHERS);
	expect_modes("192.0.2.10", "2001:db8::10", MAC_RULES DISCOVER V4_RULES V4_END V6_IN V6_END OTHERS,
		     MAC_RULES V4_RULES V4_END V6_FWD V6_END OTHERS);
	expect_modes("none", "-", MAC_RULES V4_END V6_OFF OTHERS, MAC_RULES V4_END V6_OFF OTHERS);
	expect_modes("-", "none", MAC_RULES V4_OFF V6_END OTHERS, MAC_RULES V4_OFF V6_END OTHERS);
	expect_modes("none", "none", MAC_RULES V4_END V6_END OTHERS, MAC_RULES V4_END V6_END OTHERS);
}

static void advertisements_are_looked_into(void **state UNUSED)
{
	static const char option[] =
		"-m u32 ! --u32 \"3&0xff=58\" -j DROP\n"
		"-m u32 ! --u32 \"2&0xffff=24,32\" -j DROP\n"
		"-m u32 --u32 \"2&0xffff=32\" -m u32 ! --u32 \"64=0x02010016&&68=0x3e0a0b0c\" -j DROP\n";
	static const char own[] = "-s fe80::216:3eff:fe0a:b0c -m u32 --u32 "
				  "\"48=0xfe800000&&52=0x0&&56=0x2163eff&&60=0xfe0a0b0c\" -j RETURN\n";
	static const char list[] = " -m u32 --u32 \"48=0x20010db8&&52&0xfff80000=0x80000\" -j RETURN\n-j DROP\n";
	auto_free struct test_nic *n = test_nic_new("-", "2001:db8:9::/45");
	auto_free char *in = xasprintf("%s%s%s", option, own, list), *fwd = xasprintf("%s%s", option, list);
	CLEANUP(firewall_state_done) struct firewall_state s = {0};
	CLEANUP(xt_body_done) struct xt_body b, mac;

	firewall_list_put(&s.lists[FIREWALL_NIC], firewall_nic_copy(&n->nic));
	body(XT_V6_FILTER, &s, &b);
	expect_chain(&b, "lxd-nic-in-", in);
	expect_chain(&b, "lxd-nic-fwd-", fwd);
	assert_non_null(strstr(strbuf_str(&b.rules),
			       "-A lxd-nic-in -p icmpv6 -m icmp6 --icmpv6-type 136 -m physdev --physdev-in veth1 "
			       "-m comment --comment \"generated for LXD container c1 (eth0)\" -j lxd-nic-in-"));
	n->nic.v6 = (struct firewall_allowed){0};
	firewall_list_put(&s.lists[FIREWALL_NIC], firewall_nic_copy(&n->nic));
	body(XT_V6_FILTER, &s, &mac);
	expect_chain(&mac, "lxd-nic-in-", option);
}

static void requests_name_the_own_hardware(void **state UNUSED)
{
	auto_free struct test_nic *n = test_nic_new("-", "-");
	CLEANUP(firewall_state_done) struct firewall_state s = {0};
	CLEANUP(xt_body_done) struct xt_body b;

	firewall_list_put(&s.lists[FIREWALL_NIC], firewall_nic_copy(&n->nic));
	body(XT_V4_FILTER, &s, &b);
	assert_string_equal(strbuf_str(&b.rules),
			    "-A lxd-nic-in -p udp -m udp --dport 67 -m physdev --physdev-in veth1 -m u32 ! --u32 "
			    "\"0>>22&0x3c@36=0x00163e0a&&0>>22&0x3c@40>>16=0x0b0c\" "
			    "-m comment --comment \"generated for LXD container c1 (eth0)\" -j DROP\n");
}

static void comments_hold_nothing_dangerous(void **state UNUSED)
{
	static const struct {
		const char *label, *want;
	} rows[] = {
		{"c1.eth0", "generated for LXD container c1 (eth0)"},
		{"my.proj_c1.eth0", "generated for LXD container my.proj_c1 (eth0)"},
		{"c1.a\"b\\c\nd'e", "generated for LXD container c1 (a?b?c?d?e)"},
		{"nodot", "generated for LXD container nodot ()"},
	};
	char buf[XT_COMMENT_SIZE], label[400];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(xt_comment(buf, rows[i].label, ""), rows[i].want);
	memset(label, 'x', sizeof(label) - 1);
	label[sizeof(label) - 1] = '\0';
	assert_in_range(strlen(xt_comment(buf, label, " rpfilter")), 80, XT_COMMENT_SIZE - 1);
}

static void networks(void **state UNUSED)
{
	static const char nat[] = "-A lxd-post -s 192.0.2.0/24 ! -d 192.0.2.0/24 -m comment --comment "
				  "\"generated for LXD network br0\" -j MASQUERADE\n";
	static const char snat[] = "-A lxd-post-after -s 192.0.2.0/24 ! -d 192.0.2.0/24 -m comment --comment "
				   "\"generated for LXD network br0\" -j SNAT --to-source 198.51.100.200\n";
	struct firewall_network n = {.name = "br0"};
	CLEANUP(firewall_state_done) struct firewall_state s = {0};
	CLEANUP(xt_body_done) struct xt_body before, after, filter, v6;

	assert_true(ip_prefix_parse(AF_INET, "192.0.2.1/24", &n.v4.address));
	n.v4.nat = n.v4.firewall = n.v4.dhcp = true;
	firewall_list_put(&s.lists[FIREWALL_NETWORK], firewall_network_copy(&n));
	body(XT_V4_NAT, &s, &before);
	assert_string_equal(strbuf_str(&before.rules), nat);
	body(XT_V4_FILTER, &s, &filter);
	assert_non_null(strstr(strbuf_str(&filter.rules),
			       "-A lxd-fwd -i br0 -m comment --comment \"generated for LXD network br0\" -j REJECT "
			       "--reject-with icmp-port-unreachable\n"));
	assert_non_null(strstr(strbuf_str(&filter.rules), "-A lxd-in -i br0 -p udp -m udp --dport 67 "));
	n.v4.nat_after = true;
	assert_true(ip_parse(AF_INET, "198.51.100.200", &n.v4.nat_address));
	firewall_list_put(&s.lists[FIREWALL_NETWORK], firewall_network_copy(&n));
	body(XT_V4_NAT, &s, &after);
	assert_string_equal(strbuf_str(&after.rules), snat);
	body(XT_V6_FILTER, &s, &v6);
	assert_int_equal(v6.chains.len, 0);
}

static void expect_script(enum xt_table t, const struct xt_body *wanted, const char *saved, const char *want)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	xt_script(t, wanted, saved, &b);
	assert_string_equal(strbuf_str(&b), want);
}

/* Only what is in our chains, and jumps to them, is touched. */
static void tables_are_made_to_fit(void **state UNUSED)
{
	static const char others[] = "*filter\n:INPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n-A INPUT -s 192.0.2.9/32 -j DROP\n"
				     "-A DOCKER -j lxd-in\nCOMMIT\n";
	static const char good[] = "*nat\n:lxd-other - [0:0]\n*filter\n:INPUT ACCEPT [0:0]\n:lxd-in - [1:2]\n"
				   "-A INPUT -j lxd-in\n-A lxd-in -i br9 -j ACCEPT\nCOMMIT\n";
	static const char twice[] = "*filter\n:lxd-in - [0:0]\n:lxd-fwd - [0:0]\n-A INPUT -j lxd-in\n"
				    "-A INPUT -j lxd-in\n-A FORWARD -j lxd-fwd\nCOMMIT\n";
	CLEANUP(xt_body_done) struct xt_body wanted = {0}, nothing = {0};

	xt_rule(&wanted, "lxd-in", "-i br0 -j ACCEPT");
	expect_script(XT_V4_FILTER, &nothing, "", "");
	expect_script(XT_V4_FILTER, &nothing, others, "");
	expect_script(XT_V4_FILTER, &wanted, "",
		      "*filter\n:lxd-in - [0:0]\n-A lxd-in -i br0 -j ACCEPT\n-I INPUT -j lxd-in\nCOMMIT\n");
	expect_script(XT_V4_FILTER, &wanted, others,
		      "*filter\n:lxd-in - [0:0]\n-A lxd-in -i br0 -j ACCEPT\n-I INPUT -j lxd-in\nCOMMIT\n");
	expect_script(XT_V4_FILTER, &wanted, good, "*filter\n:lxd-in - [0:0]\n-A lxd-in -i br0 -j ACCEPT\nCOMMIT\n");
	expect_script(XT_V4_FILTER, &wanted, twice,
		      "*filter\n:lxd-in - [0:0]\n-F lxd-fwd\n-A lxd-in -i br0 -j ACCEPT\n-D INPUT -j lxd-in\n"
		      "-D INPUT -j lxd-in\n-D FORWARD -j lxd-fwd\n-I INPUT -j lxd-in\n-X lxd-fwd\nCOMMIT\n");
	expect_script(XT_V4_FILTER, &nothing, good, "*filter\n-F lxd-in\n-D INPUT -j lxd-in\n-X lxd-in\nCOMMIT\n");
}

/* Advertisements are looked at before anything is accepted. */
static void jumps_keep_their_order(void **state UNUSED)
{
	CLEANUP(xt_body_done) struct xt_body wanted = {0}, nat = {0};

	xt_rule(&wanted, "lxd-in", "-j ACCEPT");
	xt_rule(&wanted, "lxd-nic-in", "-j DROP");
	expect_script(XT_V6_FILTER, &wanted, "*filter\n:lxd-in - [0:0]\n-A INPUT -j lxd-in\nCOMMIT\n",
		      "*filter\n:lxd-in - [0:0]\n:lxd-nic-in - [0:0]\n-A lxd-in -j ACCEPT\n-A lxd-nic-in -j DROP\n"
		      "-D INPUT -j lxd-in\n-I INPUT -j lxd-in\n-I INPUT -j lxd-nic-in\nCOMMIT\n");
	xt_rule(&nat, "lxd-post-after", "-j MASQUERADE");
	expect_script(XT_V4_NAT, &nat, "",
		      "*nat\n:lxd-post-after - [0:0]\n-A lxd-post-after -j MASQUERADE\n"
		      "-A POSTROUTING -j lxd-post-after\nCOMMIT\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_mode_has_its_rules),
		cmocka_unit_test(advertisements_are_looked_into),
		cmocka_unit_test(requests_name_the_own_hardware),
		cmocka_unit_test(comments_hold_nothing_dangerous),
		cmocka_unit_test(networks),
		cmocka_unit_test(tables_are_made_to_fit),
		cmocka_unit_test(jumps_keep_their_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
