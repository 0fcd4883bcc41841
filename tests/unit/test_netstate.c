/* Answers of rtnetlink: whole ones, and ones whose lengths lie. Each is parsed from the end of a mapped page. */
#include "unit.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <sys/mman.h>

#include "base/interfaces.h"
#include "base/rtnetlink.h"

#define NSID 7
#define PAGE 4096

struct packet {
	unsigned char data[1024];
	size_t len;
	size_t message; /* where the open message begins */
};

static void put(struct packet *p, const void *data, size_t len)
{
	assert_true(p->len + NLMSG_ALIGN(len) <= sizeof(p->data));
	memcpy(p->data + p->len, data, len);
	p->len += NLMSG_ALIGN(len);
}

static void begin(struct packet *p, uint16_t type, const void *body, size_t size)
{
	struct nlmsghdr h = {.nlmsg_type = type};

	p->message = p->len;
	put(p, &h, sizeof(h));
	put(p, body, size);
}

static void attr(struct packet *p, uint16_t type, const void *value, size_t size)
{
	struct rtattr a = {.rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(size)};

	put(p, &a, sizeof(a));
	put(p, value, size);
}

static void set_length(struct packet *p, uint32_t len)
{
	memcpy(p->data + p->message, &len, sizeof(len));
}

static void end(struct packet *p)
{
	set_length(p, (uint32_t)(p->len - p->message));
}

static void number(struct packet *p, uint16_t type, int32_t value)
{
	attr(p, type, &value, sizeof(value));
}

static void loopback(struct packet *p, int32_t nsid)
{
	struct ifinfomsg info = {.ifi_index = 1, .ifi_flags = IFF_LOOPBACK | IFF_UP};
	struct rtnl_link_stats64 stats = {.rx_bytes = 11,
					  .tx_bytes = 12,
					  .rx_packets = 13,
					  .tx_packets = 14,
					  .rx_errors = 15,
					  .tx_errors = 16,
					  .rx_dropped = 17,
					  .tx_dropped = 18};

	begin(p, RTM_NEWLINK, &info, sizeof(info));
	attr(p, IFLA_IFNAME, "lo", 3);
	number(p, IFLA_TARGET_NETNSID, nsid);
	number(p, IFLA_MTU, 65536);
	attr(p, IFLA_ADDRESS, "\0\0\0\0\0", 6);
	attr(p, IFLA_STATS64, &stats, sizeof(stats));
	end(p);
}

static void address(struct packet *p, int32_t nsid, unsigned index)
{
	struct ifaddrmsg info = {.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = index};

	begin(p, RTM_NEWADDR, &info, sizeof(info));
	number(p, IFA_TARGET_NETNSID, nsid);
	attr(p, IFA_ADDRESS, "\xc0\x00\x02\x01", 4);
	attr(p, IFA_LOCAL, "\xc0\x00\x02\x02", 4);
	end(p);
}

static void last(struct packet *p, uint16_t type, int32_t code)
{
	begin(p, type, &code, sizeof(code));
	end(p);
}

/* The byte behind the packet is not mapped: reading on is a crash. */
static int parse(const struct packet *p, struct interfaces *s)
{
	unsigned char *map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char *at = map + PAGE - p->len;
	int r;

	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(mprotect(map + PAGE, PAGE, PROT_NONE), 0);
	memcpy(at, p->data, p->len);
	r = rtnl_packet((struct rtnl_bytes){at, p->len}, interfaces_take, s);
	munmap(map, 2 * PAGE);
	return r;
}

static void expect(const struct packet *p, int32_t nsid, int r, const char *json)
{
	CLEANUP(interfaces_freep) struct interfaces *s = interfaces_new(nsid);
	auto_free char *text = NULL;

	assert_int_equal(parse(p, s), r);
	text = interfaces_json(s);
	assert_string_equal(text, json);
}

#define LO(addresses)                                                                                                 \
	"{\"lo\":{\"addresses\":[" addresses "],\"counters\":{\"bytes_received\":11,\"bytes_sent\":12,"               \
	"\"packets_received\":13,\"packets_sent\":14,\"errors_received\":15,\"errors_sent\":16,"                      \
	"\"packets_dropped_outbound\":18,\"packets_dropped_inbound\":17},\"hwaddr\":\"\",\"host_name\":\"\",\"mtu\":" \
	"65536,"                                                                                                      \
	"\"state\":\"up\",\"type\":\"loopback\"}}"
#define LOCAL "{\"family\":\"inet\",\"address\":\"192.0.2.2\",\"netmask\":\"24\",\"scope\":\"global\"}"

static void whole(void **state)
{
	struct packet p = {0};

	(void)state;
	loopback(&p, NSID);
	expect(&p, NSID, 0, LO(""));
	address(&p, NSID, 1);
	address(&p, NSID, 2); /* of no interface that is known */
	last(&p, NLMSG_DONE, 0);
	expect(&p, NSID, 1, LO(LOCAL));
	expect(&p, INTERFACES_HERE, 1, LO(LOCAL));
}

static void of_another_namespace(void **state)
{
	struct packet link = {0}, addr = {0}, silent = {0};
	struct ifinfomsg info = {.ifi_index = 1};

	(void)state;
	loopback(&link, NSID + 1);
	expect(&link, NSID, -EOPNOTSUPP, "{}");
	loopback(&addr, NSID);
	address(&addr, NSID + 1, 1);
	expect(&addr, NSID, -EOPNOTSUPP, LO(""));
	begin(&silent, RTM_NEWLINK, &info, sizeof(info));
	attr(&silent, IFLA_IFNAME, "host0", 6);
	end(&silent);
	expect(&silent, NSID, -EOPNOTSUPP, "{}");
}

static void refusals(void **state)
{
	static const struct {
		uint16_t type;
		int32_t code;
		int r;
	} cases[] = {
		{NLMSG_ERROR, -EINVAL, -EINVAL},
		{NLMSG_DONE, -EOPNOTSUPP, -EOPNOTSUPP},
		{NLMSG_ERROR, 0, 1},
		{NLMSG_ERROR, 5, -EBADMSG},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct packet p = {0};

		last(&p, cases[i].type, cases[i].code);
		expect(&p, NSID, cases[i].r, "{}");
	}
}

static void message_lengths_that_lie(void **state)
{
	static const uint32_t lengths[] = {0, 1, 15, 1000, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
	static const uint32_t bodies[] = {16, 17, 31};
	struct packet p = {0};

	(void)state;
	loopback(&p, NSID);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		set_length(&p, lengths[i]);
		expect(&p, NSID, -EBADMSG, "{}");
	}
	/* no room for what every message about an interface has */
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		set_length(&p, bodies[i]);
		expect(&p, NSID, -EBADMSG, "{}");
	}
}

static void cut_anywhere(void **state)
{
	struct packet p = {0};
	size_t full;

	(void)state;
	loopback(&p, NSID);
	address(&p, NSID, 1);
	last(&p, NLMSG_DONE, 0);
	full = p.len;
	for (p.len = 1; p.len < full; p.len++) {
		CLEANUP(interfaces_freep) struct interfaces *s = interfaces_new(NSID);
		int r = parse(&p, s);

		assert_true(r == -EBADMSG || r == 0);
	}
}

static void attribute_lengths_that_lie(void **state)
{
	static const uint16_t lengths[] = {0, 1, 3, 5, 6, 7, 9, 200, 0x7fff, 0x8000, 0xfffc, 0xffff};
	struct packet p = {0};
	size_t at;

	(void)state;
	loopback(&p, NSID);
	at = sizeof(struct nlmsghdr) + sizeof(struct ifinfomsg);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		CLEANUP(interfaces_freep) struct interfaces *s = interfaces_new(INTERFACES_HERE);
		auto_free char *text = NULL;

		memcpy(p.data + at, &lengths[i], sizeof(lengths[i]));
		assert_int_equal(parse(&p, s), 0);
		text = interfaces_json(s);
		assert_non_null(strstr(text, "\"type\":\"loopback\""));
	}
}

static void no_padding_at_the_end(void **state)
{
	struct ifinfomsg info = {.ifi_index = 1};
	struct packet p = {0};
	auto_free char *text = NULL;
	CLEANUP(interfaces_freep) struct interfaces *s = interfaces_new(INTERFACES_HERE);

	(void)state;
	begin(&p, RTM_NEWLINK, &info, sizeof(info));
	attr(&p, IFLA_IFNAME, "end", 3);
	p.len--;
	end(&p);
	assert_int_equal(parse(&p, s), 0);
	text = interfaces_json(s);
	assert_non_null(strstr(text, "{\"end\":{"));
}

static void short_values(void **state)
{
	struct ifinfomsg info = {.ifi_index = 3, .ifi_flags = IFF_BROADCAST};
	struct ifaddrmsg where = {
		.ifa_family = AF_INET6, .ifa_prefixlen = 64, .ifa_index = 3, .ifa_scope = RT_SCOPE_LINK};
	struct packet p = {0};

	(void)state;
	begin(&p, RTM_NEWLINK, &info, sizeof(info));
	attr(&p, IFLA_IFNAME, "a\"b", 3); /* not terminated */
	attr(&p, IFLA_IFNAME, "x\"y", 3); /* twice */
	attr(&p, IFLA_MTU, "\x05", 1);
	attr(&p, IFLA_ADDRESS, "\x02\x0a", 2);
	attr(&p, IFLA_STATS64, "", 0);
	end(&p);
	begin(&p, RTM_NEWADDR, &where, sizeof(where));
	attr(&p, IFA_ADDRESS, "\xc0\x00\x02\x01", 4); /* too short for its family */
	end(&p);
	expect(&p, INTERFACES_HERE, 0,
	       "{\"x\\\"y\":{\"addresses\":[{\"family\":\"inet6\",\"address\":\"\",\"netmask\":\"64\",\"scope\":"
	       "\"link\"}],"
	       "\"counters\":{\"bytes_received\":0,\"bytes_sent\":0,\"packets_received\":0,\"packets_sent\":0,"
	       "\"errors_received\":0,\"errors_sent\":0,\"packets_dropped_outbound\":0,\"packets_dropped_inbound\":0},"
	       "\"hwaddr\":\"02:0a\",\"host_name\":\"\",\"mtu\":5,\"state\":\"down\",\"type\":\"broadcast\"}}");
}

static void questions(void **state)
{
	struct rtnl_bytes b;
	struct ifinfomsg info;
	struct rtnl_request rq;
	struct rtnl_attr a;
	int32_t value = 0;

	(void)state;
	rtnl_request_init(&rq, RTM_GETLINK, NLM_F_DUMP, &(struct ifinfomsg){.ifi_index = 9}, sizeof(info));
	rtnl_request_add(&rq, IFLA_TARGET_NETNSID, NSID);
	assert_int_equal(rq.h.nlmsg_len, 16 + 16 + 8);
	assert_int_equal(rq.h.nlmsg_flags, NLM_F_REQUEST | NLM_F_DUMP);
	b = (struct rtnl_bytes){rq.body, rq.h.nlmsg_len - sizeof(rq.h)};
	assert_true(rtnl_take(&b, &info, sizeof(info)) && info.ifi_index == 9);
	assert_true(rtnl_next_attr(&b, &a) && a.type == IFLA_TARGET_NETNSID);
	rtnl_copy(&a, &value, sizeof(value));
	assert_int_equal(value, NSID);
	assert_false(rtnl_next_attr(&b, &a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(of_another_namespace),
		cmocka_unit_test(refusals),
		cmocka_unit_test(message_lengths_that_lie),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(attribute_lengths_that_lie),
		cmocka_unit_test(no_padding_at_the_end),
		cmocka_unit_test(short_values),
		cmocka_unit_test(questions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
