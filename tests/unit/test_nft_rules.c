/* The nft commands: each mode of a NIC's filter, networks, names, and what is left over. Text is compared whole. */
#include "firewall_nic.h"

#include "base/strbuf.h"
#include "base/strv.h"
#include "firewall/nft_rules.h"

#define MAC_RULES                                                                 \
	"ether saddr != 00:16:3e:0a:0b:0c drop\n"                                 \
	"ether type arp arp saddr ether != 00:16:3e:0a:0b:0c drop\n"              \
	"ether type ip6 icmpv6 type 136 @nh,528,48 != 0x00163e0a0b0c drop\n"      \
	"ether type ip6 icmpv6 type 136 ip6 nexthdr != 58 drop\n"                 \
	"ether type ip6 icmpv6 type 136 ip6 length != 24 ip6 length != 32 drop\n" \
	"ether type ip6 icmpv6 type 136 ip6 length 32 @nh,512,64 != 0x020100163e0a0b0c drop\n"
#define DHCP_RULES                                                       \
	"ether type ip udp dport 67 @th,288,48 != 0x00163e0a0b0c drop\n" \
	"ether type ip udp dport 67 ip frag-off & 0x2000 != 0 drop\n"
#define DISCOVER \
	"ether type ip ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67 @th,288,48 0x00163e0a0b0c accept\n"
#define V4_RULES "ether type arp arp saddr ip 192.0.2.10 accept\nether type ip ip saddr 192.0.2.10 accept\n"
#define V4_END "ether type 0x0806 drop\nether type 0x0800 drop\n"
#define V6_FIRST "ether type ip6 icmpv6 type 134 drop\nether type ip6 icmpv6 type 137 drop\n"
#define V6_LINK "ether type ip6 ip6 saddr fe80::/10 @nh,152,16 0xfffe ip6 saddr != fe80::216:3eff:fe0a:b0c drop\n"
#define V6_CLIENT                                                                       \
	"ether type ip6 ip6 saddr fe80::/10 ip6 daddr ff02::1:2 udp dport 547 accept\n" \
	"ether type ip6 ip6 saddr fe80::/10 ip6 daddr ff02::2 icmpv6 type 133 accept\n" \
	"ether type ip6 icmpv6 type 136 ip6 saddr fe80::216:3eff:fe0a:b0c @nh,384,128 " \
	"0xfe8000000000000002163efffe0a0b0c accept\n"
#define V6_RULES                                                                                 \
	"ether type ip6 icmpv6 type 136 ip6 saddr != 2001:db8::10 ip6 saddr != fe80::/10 drop\n" \
	"ether type ip6 icmpv6 type 136 @nh,384,128 0x20010db8000000000000000000000010 accept\n" \
	"ether type ip6 icmpv6 type 136 drop\n"                                                  \
	"ether type ip6 ip6 saddr 2001:db8::10 accept\n"
#define V6_END "ether type 0x86dd drop\n"
#define OTHERS "ether type != arp ether type != ip ether type != ip6 drop\n"

/* The rules of one chain in @script, without what all have in front; the caller frees. */
static char *rules_of(const struct strbuf *script, const char *chain)
{
	auto_free char *front = xasprintf("add rule bridge lxd %s iifname \"veth1\" ", chain);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_strv struct strv lines = STRV_INIT;

	strv_split(&lines, strbuf_str(script), '\n');
	for (size_t i = 0; i < lines.len; i++) {
		const char *rest = startswith(lines.items[i], front);

		if (rest)
			strbuf_appendf(&b, "%s\n", rest);
	}
	return strbuf_take(&b);
}

static void expect_modes(const char *v4, const char *v6, const char *in, const char *fwd)
{
	auto_strbuf struct strbuf script = STRBUF_INIT;
	auto_free struct test_nic *n = test_nic_new(v4, v6);
	auto_free char *have_in = NULL, *have_fwd = NULL;

	nft_render_nic(&script, NULL, &n->nic);
	have_in = rules_of(&script, "in.c1.eth0");
	have_fwd = rules_of(&script, "fwd.c1.eth0");
	assert_string_equal(have_in, in);
	assert_string_equal(have_fwd, fwd);
}

static void each_mode_has_its_rules(void **state UNUSED)
{
	expect_modes("-", "-", MAC_RULES DHCP_RULES, MAC_RULES);
	expect_modes("192.0.2.10", "-", MAC_RULES DHCP_RULES DISCOVER V4_RULES V4_END OTHERS,
		     MAC_RULES V4_RULES V4_END OTHERS);
	expect_modes("-", "2001:db8::10", MAC_RULES DHCP_RULES V6_FIRST V6_LINK V6_CLIENT V6_RULES V6_END OTHERS,
		     MAC_RULES V6_FIRST V6_LINK V6_RULES V6_END OTHERS);
	expect_modes("192.0.2.10", "2001:db8::10",
		     MAC_RULES DHCP_RULES DISCOVER V4_RULES V4_END V6_FIRST V6_LINK V6_CLIENT V6_RULES V6_END OTHERS,
		     MAC_RULES V4_RULES V4_END V6_FIRST V6_LINK V6_RULES V6_END OTHERS);
	expect_modes("none", "-", MAC_RULES DHCP_RULES V4_END OTHERS, MAC_RULES V4_END OTHERS);
	expect_modes("-", "none", MAC_RULES DHCP_RULES V6_END OTHERS, MAC_RULES V6_END OTHERS);
	expect_modes("none", "none", MAC_RULES DHCP_RULES V4_END V6_END OTHERS, MAC_RULES V4_END V6_END OTHERS);
}

static void requests_pass_to_servers_elsewhere(void **state UNUSED)
{
	auto_strbuf struct strbuf script = STRBUF_INIT;
	auto_free struct test_nic *n = test_nic_new("192.0.2.10", "2001:db8::10");
	auto_free char *fwd = NULL;

	n->nic.v4.dhcp_elsewhere = n->nic.v6.dhcp_elsewhere = true;
	nft_render_nic(&script, NULL, &n->nic);
	fwd = rules_of(&script, "fwd.c1.eth0");
	assert_string_equal(fwd, MAC_RULES DISCOVER V4_RULES V4_END V6_FIRST V6_LINK V6_CLIENT V6_RULES V6_END OTHERS);
}

/* Targets of any prefix length are a number of so many bits. */
static void prefixes_of_any_length(void **state UNUSED)
{
	static const struct {
		const char *prefix, *target, *source;
	} rows[] = {
		{"2001:db8:9::/60", "@nh,384,60 0x20010db80009000 accept",
		 "ether type ip6 ip6 saddr 2001:db8:9::/60 accept"},
		{"2001:db8:9::/61", "@nh,384,61 0x040021b700012000 accept",
		 "ether type ip6 ip6 saddr 2001:db8:9::/61 accept"},
		{"8000::/1", "@nh,384,1 0x1 accept", "ether type ip6 ip6 saddr 8000::/1 accept"},
		{"2001:db8::5/127", "@nh,384,127 0x100086dc000000000000000000000002 accept",
		 "ether type ip6 ip6 saddr 2001:db8::4/127 accept"},
		{"2001:db8::/32", "@nh,384,32 0x20010db8 accept", "ether type ip6 ip6 saddr 2001:db8::/32 accept"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_strbuf struct strbuf script = STRBUF_INIT;
		auto_free struct test_nic *n = test_nic_new("-", rows[i].prefix);

		nft_render_nic(&script, NULL, &n->nic);
		if (!strstr(strbuf_str(&script), rows[i].target) || !strstr(strbuf_str(&script), rows[i].source))
			fail_msg("%s: no %s or %s in:\n%s", rows[i].prefix, rows[i].target, rows[i].source,
				 strbuf_str(&script));
	}
}

static void everything_may_be_allowed(void **state UNUSED)
{
	expect_modes("0.0.0.0/0", "::/0",
		     MAC_RULES DHCP_RULES DISCOVER
		     "ether type arp accept\nether type ip accept\n" V4_END V6_FIRST V6_CLIENT
		     "ether type ip6 accept\n" V6_END OTHERS,
		     MAC_RULES "ether type arp accept\nether type ip accept\n" V4_END V6_FIRST
			       "ether type ip6 accept\n" V6_END OTHERS);
}

static size_t count(const struct strbuf *b, const char *what)
{
	size_t n = 0;

	for (const char *at = strbuf_str(b); (at = strstr(at, what)) != NULL; at++)
		n++;
	return n;
}

static void replacing_touches_no_map_without_need(void **state UNUSED)
{
	auto_strbuf struct strbuf same = STRBUF_INIT, moved = STRBUF_INIT;
	auto_free struct test_nic *a = test_nic_new("192.0.2.10", "-"), *b = test_nic_new("192.0.2.11", "-");

	nft_render_nic(&same, &a->nic, &b->nic);
	assert_int_equal(count(&same, "flush chain"), 2);
	assert_int_equal(count(&same, "element"), 0);
	b->nic.host_if = "veth2";
	nft_render_nic(&moved, &a->nic, &b->nic);
	assert_int_equal(count(&moved, "delete element bridge lxd nic_mac { \"veth1\" . 00:16:3e:0a:0b:0c }\n"), 1);
	assert_int_equal(count(&moved, "delete element"), 4);
	assert_int_equal(count(&moved, "add element"), 4);
	assert_int_equal(count(&moved, "add element bridge lxd nic_fwd { \"veth2\" : jump fwd.c1.eth0 }\n"), 1);
}

static void removing_leaves_nothing(void **state UNUSED)
{
	static const char want[] = "delete element bridge lxd nic_filtered { \"veth1\" }\n"
				   "delete element bridge lxd nic_mac { \"veth1\" . 00:16:3e:0a:0b:0c }\n"
				   "delete element bridge lxd nic_in { \"veth1\" : jump in.c1.eth0 }\n"
				   "delete element bridge lxd nic_fwd { \"veth1\" : jump fwd.c1.eth0 }\n"
				   "flush chain bridge lxd in.c1.eth0\n"
				   "delete chain bridge lxd in.c1.eth0\n"
				   "flush chain bridge lxd fwd.c1.eth0\n"
				   "delete chain bridge lxd fwd.c1.eth0\n";
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_free struct test_nic *n = test_nic_new("192.0.2.10", "2001:db8::10");

	nft_render_nic(&b, &n->nic, NULL);
	assert_string_equal(strbuf_str(&b), want);
}

static struct firewall_network network(void)
{
	struct firewall_network n = {.name = "br0"};

	assert_true(ip_prefix_parse(AF_INET, "192.0.2.1/24", &n.v4.address));
	assert_true(ip_prefix_parse(AF_INET6, "2001:db8::1/64", &n.v6.address));
	n.v4.firewall = n.v4.routing = n.v4.dhcp = n.v4.nat = true;
	n.v6 = (struct firewall_subnet){.address = n.v6.address, .firewall = true, .routing = true, .dhcp = true};
	return n;
}

static void a_network_has_four_chains(void **state UNUSED)
{
	static const char want[] =
		"add table inet lxd\n"
		"add chain inet lxd pstrt.br0 { type nat hook postrouting priority 100; policy accept; }\n"
		"add rule inet lxd pstrt.br0 ip saddr 192.0.2.0/24 ip daddr != 192.0.2.0/24 masquerade\n"
		"add chain inet lxd fwd.br0 { type filter hook forward priority 0; policy accept; }\n"
		"add rule inet lxd fwd.br0 meta nfproto ipv4 oifname \"br0\" accept\n"
		"add rule inet lxd fwd.br0 meta nfproto ipv4 iifname \"br0\" accept\n"
		"add rule inet lxd fwd.br0 meta nfproto ipv6 oifname \"br0\" accept\n"
		"add rule inet lxd fwd.br0 meta nfproto ipv6 iifname \"br0\" accept\n"
		"add chain inet lxd in.br0 { type filter hook input priority 0; policy accept; }\n"
		"add rule inet lxd in.br0 iifname \"br0\" tcp dport 53 accept\n"
		"add rule inet lxd in.br0 iifname \"br0\" udp dport 53 accept\n"
		"add rule inet lxd in.br0 iifname \"br0\" icmp type { 3, 11, 12 } accept\n"
		"add rule inet lxd in.br0 iifname \"br0\" meta nfproto ipv4 udp dport 67 accept\n"
		"add rule inet lxd in.br0 iifname \"br0\" icmpv6 type { 1, 2, 3, 4, 133, 135, 136, 143 } accept\n"
		"add rule inet lxd in.br0 iifname \"br0\" meta nfproto ipv6 udp dport 547 accept\n"
		"add chain inet lxd out.br0 { type filter hook output priority 0; policy accept; }\n"
		"add rule inet lxd out.br0 oifname \"br0\" tcp sport 53 accept\n"
		"add rule inet lxd out.br0 oifname \"br0\" udp sport 53 accept\n"
		"add rule inet lxd out.br0 oifname \"br0\" icmp type { 3, 11, 12 } accept\n"
		"add rule inet lxd out.br0 oifname \"br0\" meta nfproto ipv4 udp sport 67 accept\n"
		"add rule inet lxd out.br0 oifname \"br0\" icmpv6 type { 1, 2, 3, 4, 128, 134, 135, 136, 143 } accept\n"
		"add rule inet lxd out.br0 oifname \"br0\" meta nfproto ipv6 udp sport 547 accept\n";
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct firewall_network n = network();

	nft_render_network(&b, NULL, &n);
	assert_string_equal(strbuf_str(&b), want);
}

static void a_network_keeps_what_it_wants(void **state UNUSED)
{
	static const char only_nat[] =
		"add table inet lxd\n"
		"add chain inet lxd pstrt.br0 { type nat hook postrouting priority 100; policy accept; }\n"
		"flush chain inet lxd pstrt.br0\n"
		"add rule inet lxd pstrt.br0 ip saddr 192.0.2.0/24 ip daddr != 192.0.2.0/24 snat ip to 198.51.100.200\n"
		"flush chain inet lxd fwd.br0\ndelete chain inet lxd fwd.br0\n"
		"flush chain inet lxd in.br0\ndelete chain inet lxd in.br0\n"
		"flush chain inet lxd out.br0\ndelete chain inet lxd out.br0\n";
	auto_strbuf struct strbuf b = STRBUF_INIT, none = STRBUF_INIT, reject = STRBUF_INIT;
	struct firewall_network before = network(), after = network();

	after.v4.firewall = after.v6.firewall = false;
	assert_true(ip_parse(AF_INET, "198.51.100.200", &after.v4.nat_address));
	nft_render_network(&b, &before, &after);
	assert_string_equal(strbuf_str(&b), only_nat);
	after.v4.nat = false;
	nft_render_network(&none, NULL, &after);
	assert_string_equal(strbuf_str(&none), "");
	before.v4.routing = false;
	nft_render_network(&reject, NULL, &before);
	assert_int_equal(count(&reject, "meta nfproto ipv4 iifname \"br0\" reject\n"), 1);
	assert_int_equal(count(&reject, "meta nfproto ipv6 iifname \"br0\" accept\n"), 1);
}

static void names_are_taken_by_nft(void **state UNUSED)
{
	static const char hex[] = "0123456789abcdef";
	char name[NFT_CHAIN_SIZE], other[NFT_CHAIN_SIZE], label[400];

	assert_string_equal(nft_chain(name, "in.", "p1_c1.eth0"), "in.p1_c1.eth0");
	assert_string_equal(nft_chain(name, "in.", "c1.my nic;\n"), "in.c1.my/20nic/3b/0a");
	assert_string_equal(nft_chain(name, "fwd.", "c1.\xc3\xa4"), "fwd.c1./c3/a4");
	for (size_t i = 0; i < sizeof(label); i++)
		label[i] = 'a';
	label[sizeof(label) - 1] = '\0';
	nft_chain(name, "in.", label);
	label[sizeof(label) - 2] = 'b';
	nft_chain(other, "in.", label);
	assert_int_equal(strlen(name), 217);
	assert_string_not_equal(name, other);
	assert_int_equal(strspn(name + 201, hex), 16);
}

static bool has_veth1(const char *name)
{
	return streq(name, "veth1");
}

/* Chains of instances that are gone go; base chains stay hooked; rates need their interface. */
static void everything_at_once(void **state UNUSED)
{
	auto_strbuf struct strbuf b = STRBUF_INIT, empty = STRBUF_INIT, again = STRBUF_INIT;
	auto_free struct test_nic *n = test_nic_new("192.0.2.10", "-");
	struct firewall_state s = {0}, nothing = {0};
	CLEANUP(nft_present_done) struct nft_present present = {.there = {true, false, true}};
	static const char *const chains[] = {"pre", "in", "forward", "in.c1.eth0", "fwd.c1.eth0", "in.gone.eth0"};

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
		strv_add(&present.chains[NFT_BRIDGE], chains[i]);
	firewall_list_put(&s.lists[FIREWALL_NIC], firewall_nic_copy(&n->nic));
	firewall_list_put(&s.lists[FIREWALL_RATE], firewall_rate_new("c1.eth0", "veth1", 1000));
	firewall_list_put(&s.lists[FIREWALL_RATE], firewall_rate_new("c2.eth0", "veth2", 1000));
	nft_render_all(&b, &s, &present, false, has_veth1);
	assert_int_equal(count(&b, "delete chain bridge lxd in.gone.eth0\n"), 1);
	assert_int_equal(count(&b, "delete chain"), 1);
	assert_int_equal(count(&b, "delete table"), 1); /* netdev */
	assert_int_equal(count(&b, "flush table bridge lxd\n"), 1);
	assert_int_equal(count(&b, "flush set bridge lxd nic_"), 4);
	assert_int_equal(count(&b, "inet lxd"), 0);
	assert_int_equal(count(&b, "device \"veth1\""), 1);
	assert_int_equal(count(&b, "veth2"), 0);
	nft_render_all(&again, &s, &present, true, has_veth1);
	assert_int_equal(count(&again, "delete table bridge lxd\n"), 1);
	assert_int_equal(count(&again, "flush table"), 0);
	nft_render_all(&empty, &nothing, &present, false, has_veth1);
	assert_string_equal(strbuf_str(&empty), "add table bridge lxd\ndelete table bridge lxd\n"
						"add table netdev lxd\ndelete table netdev lxd\n");
	firewall_state_done(&s);
}

static void lists_keep_order_and_copies(void **state UNUSED)
{
	struct firewall_state s = {0};
	struct firewall_list *l = &s.lists[FIREWALL_ROUTED];
	static const char *const labels[] = {"m", "a", "z", "b", "m"};
	struct firewall_routed *r;

	for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
		firewall_list_put(l, firewall_routed_new(labels[i], i == 4 ? "new" : "old"));
	assert_int_equal(l->len, 4);
	r = firewall_list_get(l, "m");
	assert_string_equal(r->host_if, "new");
	r = firewall_list_take(l, "a");
	assert_string_equal(r->label, "a");
	free(r);
	assert_null(firewall_list_get(l, "a"));
	assert_null(firewall_list_take(l, "nothing"));
	assert_string_equal(((struct firewall_routed *)l->items[0])->label, "b");
	assert_string_equal(((struct firewall_routed *)l->items[2])->label, "z");
	firewall_state_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_mode_has_its_rules),
		cmocka_unit_test(requests_pass_to_servers_elsewhere),
		cmocka_unit_test(prefixes_of_any_length),
		cmocka_unit_test(everything_may_be_allowed),
		cmocka_unit_test(replacing_touches_no_map_without_need),
		cmocka_unit_test(removing_leaves_nothing),
		cmocka_unit_test(a_network_has_four_chains),
		cmocka_unit_test(a_network_keeps_what_it_wants),
		cmocka_unit_test(names_are_taken_by_nft),
		cmocka_unit_test(everything_at_once),
		cmocka_unit_test(lists_keep_order_and_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
