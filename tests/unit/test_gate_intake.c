/* The gate's first look at strangers: addresses, PROXY headers, ends of request heads; who makes room for whom. */
#include <sys/socket.h>

#include "base/fd.h"
#include "gate/intake.h"
#include "gate/strangers.h"
#include "unit.h"

static void address_is(const struct gate_address *a, const char *text)
{
	auto_free char *got = gate_address_text(a, true);

	assert_string_equal(got, text);
}

static int parse(const char *line, struct gate_address *ret)
{
	return gate_proxy_parse(line, strlen(line), ret);
}

static void proxy_headers(void **state)
{
	struct gate_address a = {0};

	(void)state;
	assert_int_equal(parse("PROXY TCP4 192.0.2.1 192.0.2.2 4000 8443\r\n", &a), 1);
	address_is(&a, "192.0.2.1:4000");
	assert_int_equal(parse("PROXY TCP6 2001:db8::1 ::1 0 8443\r\n", &a), 1);
	address_is(&a, "[2001:db8::1]:0");
	assert_int_equal(parse("PROXY TCP6 ::ffff:192.0.2.1 ::1 65535 8443\r\n", &a), 1);
	address_is(&a, "192.0.2.1:65535");
	assert_int_equal(parse("PROXY UNKNOWN\r\n", &a), 0);
	assert_int_equal(parse("PROXY UNKNOWN what ever\r\n", &a), 0);
}

static void bad_proxy_headers(void **state)
{
	static const char *const lines[] = {
		"",
		"\r\n",
		"PROXY\r\n",
		"PROXY \r\n",
		"PROXY TCP4\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 4000 8443\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 4000 8443 \r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 4000 8443 x\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 4000\r\n",
		"PROXY  TCP4 192.0.2.1 192.0.2.2 4000 8443\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 65536 8443\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 04 8443\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 +4 8443\r\n",
		"PROXY TCP4 192.0.2.1 ::1 4000 8443\r\n",
		"PROXY TCP4 ::1 ::1 4000 8443\r\n",
		"PROXY TCP6 192.0.2.1 192.0.2.2 4000 8443\r\n",
		"PROXY TCP4 192.0.2 192.0.2.2 4000 8443\r\n",
		"proxy TCP4 192.0.2.1 192.0.2.2 4000 8443\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 4000 8443\r\r\n",
		"PROXY UNKNOWN\n",
		"GET / HTTP/1.1\r\n",
	};
	struct gate_address a;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (parse(lines[i], &a) != -EINVAL)
			fail_msg("taken: %s", lines[i]);
	assert_int_equal(gate_proxy_parse("PROXY UNKNOWN\0\r\n", 16, &a), -EINVAL);
}

static bool ends(const char *text)
{
	struct gate_head h = {0};

	return gate_head_ends(&h, text, strlen(text));
}

static void ends_of_heads(void **state)
{
	(void)state;
	assert_true(ends("GET / HTTP/1.1\r\nA: b\r\n\r\n"));
	assert_true(ends("GET / HTTP/1.1\r\n\r\nbody"));
	assert_true(ends("GET / HTTP/1.1\n\n"));
	assert_true(ends("\r\n\r\nGET / HTTP/1.1\r\n\r\n"));
	assert_false(ends("GET / HTTP/1.1\r\nA: b\r\n\r"));
	assert_false(ends("\r\n\r\n\r\n"));
	assert_false(ends("GET / HTTP/1.1\r\n \r\n"));
	assert_false(ends("GET / HTTP/1.1\r\r\n"));
	assert_false(ends(""));
}

/* Strangers, with a socket pair each: the other end sees whether it was dropped. */
struct guest {
	struct stranger s;
	int fd, other;
	bool in;
};

static struct gate_address ip(unsigned a, unsigned b)
{
	return (struct gate_address){.bytes = {127, 0, (unsigned char)a, (unsigned char)b}};
}

static void enter(struct strangers *t, struct guest *g, struct gate_address from, int64_t now_ms)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	*g = (struct guest){.fd = pair[0], .other = pair[1]};
	g->in = strangers_enter(t, &g->s, g->fd, &from, now_ms);
}

static bool is_dropped(const struct guest *g)
{
	char byte;

	return recv(g->other, &byte, 1, MSG_DONTWAIT) == 0;
}

static void leave(struct strangers *t, struct guest *g)
{
	strangers_leave(t, &g->s);
	close(g->fd);
	close(g->other);
}

static void a_full_source_drops_its_oldest(void **state)
{
	static struct guest guests[STRANGERS_PER_SOURCE + 3], other;
	struct strangers *t = strangers_new();
	struct stranger_note note;

	(void)state;
	enter(t, &other, ip(0, 2), 0);
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		enter(t, &guests[i], ip(0, 1), 0);
		assert_true(guests[i].in);
		/* those that have got further are kept as long as there are others */
		if (i == 0)
			strangers_promote(t, &guests[i].s);
	}
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++)
		assert_int_equal(is_dropped(&guests[i]), i >= 1 && i <= 3);
	assert_false(is_dropped(&other));
	assert_true(strangers_note_take(t, 5000, &note));
	assert_int_equal(note.kind, WIRE_NOTE_SOURCE_FULL);
	assert_int_equal(note.count, 3);
	assert_false(strangers_note_take(t, 5000, &note));
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++)
		leave(t, &guests[i]);
	leave(t, &other);
	strangers_free(t);
}

static void served_strangers_go_when_they_are_idle(void **state)
{
	static struct guest guests[STRANGERS_PER_SOURCE], late, later;
	struct strangers *t = strangers_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		enter(t, &guests[i], ip(0, 1), 0);
		strangers_promote(t, &guests[i].s);
		atomic_store(&guests[i].s.active_ms, i == 7 ? 100 : 1000);
	}
	enter(t, &late, ip(0, 1), 1500);
	assert_false(late.in);
	enter(t, &later, ip(0, 1), 2200);
	assert_true(later.in);
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++)
		assert_int_equal(is_dropped(&guests[i]), i == 7);
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++)
		leave(t, &guests[i]);
	leave(t, &late);
	leave(t, &later);
	strangers_free(t);
}

static void the_total_is_bounded(void **state)
{
	struct guest *guests = xnew_array(struct guest, STRANGERS_MAX + 1), greedy[100];
	struct strangers *t = strangers_new();
	size_t dropped = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(greedy); i++)
		enter(t, &greedy[i], ip(200, 1), 0);
	for (size_t i = 0; i <= STRANGERS_MAX; i++) {
		enter(t, &guests[i], ip((unsigned)i / 250, (unsigned)i % 250), 0);
		assert_true(guests[i].in);
	}
	/* who has most gives way first */
	for (size_t i = 0; i < ARRAY_SIZE(greedy); i++)
		dropped += is_dropped(&greedy[i]);
	assert_true(dropped >= 98);
	for (size_t i = 0; i < ARRAY_SIZE(greedy); i++)
		leave(t, &greedy[i]);
	for (size_t i = 0; i <= STRANGERS_MAX; i++)
		leave(t, &guests[i]);
	free(guests);
	strangers_free(t);
}

static void networks_of_ipv6_count_as_one(void **state)
{
	static struct guest guests[STRANGERS_PER_SOURCE + 1], other;
	struct strangers *t = strangers_new();
	struct gate_address a;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		assert_int_equal(gate_address_parse("2001:db8:0:1::", &a), 0);
		a.bytes[15] = (unsigned char)i;
		enter(t, &guests[i], a, 0);
	}
	assert_int_equal(gate_address_parse("2001:db8:0:2::", &a), 0);
	enter(t, &other, a, 0);
	assert_true(is_dropped(&guests[0]));
	assert_false(is_dropped(&guests[1]));
	assert_false(is_dropped(&other));
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++)
		leave(t, &guests[i]);
	leave(t, &other);
	strangers_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(proxy_headers),
		cmocka_unit_test(bad_proxy_headers),
		cmocka_unit_test(ends_of_heads),
		cmocka_unit_test(a_full_source_drops_its_oldest),
		cmocka_unit_test(served_strangers_go_when_they_are_idle),
		cmocka_unit_test(the_total_is_bounded),
		cmocka_unit_test(networks_of_ipv6_count_as_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
