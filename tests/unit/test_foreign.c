/* Other firewalls: what iptables-legacy prints, which networks suffer, and what is said of it. */
#include "unit.h"

#include <linux/netfilter.h>

#include "firewall/foreign.h"

struct nets {
	struct firewall_network net[3];
	const struct firewall_network *list[3];
	struct foreign f;
};

static struct nets *nets_new(void)
{
	static const char *const names[] = {"br4", "br6", "br46"};
	struct nets *n = xnew(struct nets);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		n->net[i].name = names[i];
		if (i != 1)
			assert_true(ip_prefix_parse(AF_INET, "192.0.2.1/24", &n->net[i].v4.address));
		if (i != 0)
			assert_true(ip_prefix_parse(AF_INET6, "2001:db8::1/64", &n->net[i].v6.address));
		n->list[i] = &n->net[i];
	}
	n->f = (struct foreign){.nets = n->list, .n_nets = ARRAY_SIZE(names)};
	return n;
}

static void nets_free(struct nets *n)
{
	foreign_done(&n->f);
	free(n);
}

static bool suffers(struct nets *n, size_t i)
{
	auto_free char *message = foreign_message(&n->f, i);

	return message != NULL;
}

static void expect_message(struct nets *n, size_t i, const char *text)
{
	auto_free char *message = foreign_message(&n->f, i);

	assert_non_null(message);
	if (!strstr(message, text))
		fail_msg("\"%s\" lacks \"%s\"", message, text);
}

static void families_decide_who_suffers(void **state UNUSED)
{
	static const struct {
		int family;
		bool br4, br6;
	} rows[] = {{NFPROTO_IPV4, true, false}, {NFPROTO_IPV6, false, true}, {NFPROTO_INET, true, true}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nets *n = nets_new();

		assert_false(suffers(n, 0));
		foreign_add_chain(&n->f, rows[i].family, "t", "c", false);
		assert_int_equal(suffers(n, 0), rows[i].br4);
		assert_int_equal(suffers(n, 1), rows[i].br6);
		assert_true(suffers(n, 2));
		nets_free(n);
	}
}

static void both_ways_must_be_accepted(void **state UNUSED)
{
	struct nets *n = nets_new();

	foreign_add_chain(&n->f, NFPROTO_IPV4, "t", "c", false);
	foreign_add_accept(&n->f, NFPROTO_IPV4, "t", false, false, "br4");
	assert_true(suffers(n, 0));
	foreign_add_accept(&n->f, NFPROTO_IPV4, "other", false, true, "br4");
	foreign_add_accept(&n->f, NFPROTO_INET, "t", false, true, "br4");
	foreign_add_accept(&n->f, NFPROTO_IPV4, "t", true, true, "br4");
	foreign_add_accept(&n->f, NFPROTO_IPV4, "t", false, true, "br46");
	assert_true(suffers(n, 0));
	foreign_add_accept(&n->f, NFPROTO_IPV4, "t", false, true, "br4");
	assert_false(suffers(n, 0));
	assert_true(suffers(n, 2));
	nets_free(n);
}

static void commands_fit_the_table(void **state UNUSED)
{
	struct nets *n = nets_new();

	foreign_add_chain(&n->f, NFPROTO_INET, "fw", "f", false);
	expect_message(n, 0,
		       "Chain \"f\" of table \"inet fw\" drops what is forwarded and does not accept network "
		       "\"br4\"; add the rules: nft insert rule inet fw f iifname br4 accept; nft insert rule "
		       "inet fw f oifname br4 accept");
	foreign_add_chain(&n->f, NFPROTO_IPV6, "filter", "FORWARD", false);
	expect_message(n, 2, ". Chain \"FORWARD\" of table \"ip6 filter\"");
	expect_message(n, 1, "ip6tables -I FORWARD -o br6 -j ACCEPT");
	foreign_add_user_chain(&n->f, NFPROTO_IPV6, "filter", false, "DOCKER-USER");
	expect_message(n, 1, "ip6tables -I DOCKER-USER -o br6 -j ACCEPT");
	nets_free(n);
}

static void legacy_text_is_read(void **state UNUSED)
{
	struct nets *n = nets_new();

	foreign_add_legacy(&n->f, NFPROTO_IPV4, "-P INPUT DROP\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n");
	assert_false(suffers(n, 0));
	foreign_add_legacy(
		&n->f, NFPROTO_IPV4,
		"-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N DOCKER-USER\n"
		"-A FORWARD -j DOCKER-USER\n-A FORWARD ! -i br4 -o br46 -j ACCEPT\n"
		"-A FORWARD -i br46 -m conntrack --ctstate NEW -j ACCEPT\n-A FORWARD -o br4 -j RETURN\n-A\n-j");
	assert_true(suffers(n, 0));
	assert_false(suffers(n, 2));
	expect_message(n, 0, "iptables-legacy -I DOCKER-USER -i br4 -j ACCEPT");
	nets_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(families_decide_who_suffers),
		cmocka_unit_test(both_ways_must_be_accepted),
		cmocka_unit_test(commands_fit_the_table),
		cmocka_unit_test(legacy_text_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
