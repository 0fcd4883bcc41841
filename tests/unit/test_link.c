/* Requests to rtnetlink: how they are laid out, and what is understood of a refusal. Names of interfaces. */
#include "unit.h"

#include <linux/if_link.h>

#include "base/rtnetlink.h"
#include "network/link.h"

static struct rtnl_bytes attributes(const struct rtnl_request *rq, size_t body)
{
	size_t head = NLMSG_LENGTH(body);

	return (struct rtnl_bytes){(const unsigned char *)rq + head, rq->h.nlmsg_len - head};
}

static void request_holds_texts_numbers_and_nests(void **state)
{
	struct ifinfomsg info = {.ifi_index = 7};
	struct rtnl_request rq;
	struct rtnl_bytes all;
	struct rtnl_attr a;
	size_t outer, inner;
	uint32_t mtu = 0;

	(void)state;
	rtnl_request_init(&rq, RTM_NEWLINK, NLM_F_ACK, &info, sizeof(info));
	rtnl_request_put_text(&rq, IFLA_IFNAME, "br0");
	rtnl_request_add(&rq, IFLA_MTU, 1400);
	outer = rtnl_request_nest(&rq, IFLA_LINKINFO);
	rtnl_request_put_text(&rq, IFLA_INFO_KIND, "veth"); /* five bytes: padded */
	inner = rtnl_request_nest(&rq, IFLA_INFO_DATA);
	rtnl_request_put_raw(&rq, &info, sizeof(info));
	rtnl_request_end(&rq, inner);
	rtnl_request_end(&rq, outer);

	assert_int_equal(rq.h.nlmsg_len, 16 + 16 + 8 + 8 + 4 + 12 + 4 + 16);
	assert_int_equal(rq.h.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
	all = attributes(&rq, sizeof(info));
	assert_true(rtnl_next_attr(&all, &a));
	assert_int_equal(a.type, IFLA_IFNAME);
	assert_int_equal(a.value.left, 4);
	assert_string_equal((const char *)a.value.at, "br0");
	assert_true(rtnl_next_attr(&all, &a));
	rtnl_copy(&a, &mtu, sizeof(mtu));
	assert_int_equal(mtu, 1400);
	assert_true(rtnl_next_attr(&all, &a));
	assert_int_equal(a.type, IFLA_LINKINFO);
	assert_false(rtnl_next_attr(&all, &(struct rtnl_attr){0}));
	all = a.value;
	assert_true(rtnl_next_attr(&all, &a));
	assert_int_equal(a.value.left, 5);
	assert_true(rtnl_next_attr(&all, &a));
	assert_int_equal(a.type, IFLA_INFO_DATA);
	assert_int_equal(a.value.left, sizeof(info));
}

struct refusal {
	struct nlmsghdr h;
	int32_t code;
	struct nlmsghdr asked;
	unsigned char rest[64];
};

static struct refusal refuse(uint16_t flags, size_t question, const char *words)
{
	struct refusal m = {.h = {.nlmsg_type = NLMSG_ERROR, .nlmsg_flags = flags}, .code = -EINVAL};
	struct rtattr head = {.rta_type = NLMSGERR_ATTR_MSG, .rta_len = (unsigned short)RTA_LENGTH(strlen(words) + 1)};

	m.asked.nlmsg_len = (uint32_t)(sizeof(m.asked) + question);
	memcpy(m.rest + question, &head, sizeof(head));
	memcpy(m.rest + question + sizeof(head), words, strlen(words) + 1);
	m.h.nlmsg_len = (uint32_t)(offsetof(struct refusal, rest) + question + head.rta_len);
	return m;
}

static char *reason_of(const struct refusal *m)
{
	return rtnl_reason((struct rtnl_bytes){(const unsigned char *)m, m->h.nlmsg_len});
}

static void reason_is_found(void **state)
{
	struct refusal capped = refuse(NLM_F_ACK_TLVS | NLM_F_CAPPED, 0, "Too long");
	struct refusal whole = refuse(NLM_F_ACK_TLVS, 8, "Too short");
	auto_free char *a = reason_of(&capped);
	auto_free char *b = reason_of(&whole);

	(void)state;
	assert_string_equal(a, "Too long");
	assert_string_equal(b, "Too short");
}

static void reason_is_absent_or_lies(void **state)
{
	struct refusal none = refuse(NLM_F_CAPPED, 0, "not for us");
	struct refusal beyond = refuse(NLM_F_ACK_TLVS, 8, "x");
	struct refusal less = refuse(NLM_F_ACK_TLVS, 8, "x");

	(void)state;
	beyond.asked.nlmsg_len = 4096;
	less.asked.nlmsg_len = 3;
	assert_null(reason_of(&none));
	assert_null(reason_of(&beyond));
	assert_null(reason_of(&less));
}

static void names_of_interfaces(void **state)
{
	static const struct {
		const char *name;
		const char *error; /* NULL: fine */
	} cases[] = {
		{"br0", NULL},
		{"a.b-c_D9", NULL},
		{"fifteen-letters", NULL},
		{"", "Network interface is too short (minimum 2 characters)"},
		{"x", "Network interface is too short (minimum 2 characters)"},
		{"sixteen-letters-", "Network interface is too long (maximum 15 characters)"},
		{"a b", "Network interface contains invalid characters"},
		{"a/b", "Network interface contains invalid characters"},
		{"..", "Network interface contains invalid characters"},
		{"a\n", "Network interface contains invalid characters"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_error struct error err = ERROR_INIT;
		int r = link_name_check(cases[i].name, &err);

		assert_int_equal(r < 0, cases[i].error != NULL);
		if (cases[i].error) {
			assert_string_equal(error_msg(&err), cases[i].error);
			assert_int_equal(err.status, 400);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_holds_texts_numbers_and_nests),
		cmocka_unit_test(reason_is_found),
		cmocka_unit_test(reason_is_absent_or_lies),
		cmocka_unit_test(names_of_interfaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
