/* The gate's first look at strangers: addresses, PROXY headers, ends of request heads; who makes room for whom. */
#include <sys/resource.h>
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
			strangers_promote(t, &guests[i].s, 0);
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
		strangers_promote(t, &guests[i].s, 0);
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

/* @n connections of @from, each with its request, which is never complete but never still. */
static void drip(struct strangers *t, struct guest *g, size_t n, struct gate_address from, int64_t now_ms)
{
	for (size_t i = 0; i < n; i++) {
		enter(t, &g[i], from, now_ms);
		assert_true(g[i].in);
		strangers_promote(t, &g[i].s, now_ms);
		atomic_store(&g[i].s.active_ms, INT64_MAX / 2);
	}
}

static struct gate_address network(unsigned third, unsigned fourth)
{
	struct gate_address a = {.v6 = true, .bytes = {0x20, 0x01, 0x0d, 0xb8}};

	a.bytes[5] = (unsigned char)third;
	a.bytes[6] = (unsigned char)(fourth >> 8);
	a.bytes[7] = (unsigned char)fourth;
	return a;
}

static unsigned count_dropped(const struct guest *g, size_t n)
{
	unsigned dropped = 0;

	for (size_t i = 0; i < n; i++)
		dropped += g[i].in && is_dropped(&g[i]);
	return dropped;
}

static void leave_all(struct strangers *t, struct guest *g, size_t n)
{
	for (size_t i = 0; i < n; i++)
		leave(t, &g[i]);
}

static void dripping_requests_lock_nobody_out(void **state)
{
	struct guest *held = xnew_array(struct guest, STRANGERS_MAX), newcomers[30];
	struct strangers *t = strangers_new();

	(void)state;
	for (unsigned i = 0; i < STRANGERS_MAX / STRANGERS_PER_SOURCE; i++)
		drip(t, &held[i * STRANGERS_PER_SOURCE], STRANGERS_PER_SOURCE, i % 2 ? network(i, 0) : ip(1, i), 1000);
	for (unsigned i = 0; i < ARRAY_SIZE(newcomers); i++) {
		enter(t, &newcomers[i], ip(2, i), 1001);
		assert_true(newcomers[i].in);
	}
	assert_int_equal(count_dropped(newcomers, ARRAY_SIZE(newcomers)), 0);
	assert_int_equal(count_dropped(held, STRANGERS_MAX), ARRAY_SIZE(newcomers));
	leave_all(t, held, STRANGERS_MAX);
	leave_all(t, newcomers, ARRAY_SIZE(newcomers));
	free(held);
	strangers_free(t);
}

static void requests_of_single_addresses_give_way_to_newcomers(void **state)
{
	struct guest *held = xnew_array(struct guest, STRANGERS_MAX), newcomers[50];
	struct strangers *t = strangers_new();

	(void)state;
	for (unsigned i = 0; i < STRANGERS_MAX; i++)
		drip(t, &held[i], 1, ip(10 + i / 250, i % 250), 1000);
	for (unsigned i = 0; i < ARRAY_SIZE(newcomers); i++) {
		enter(t, &newcomers[i], ip(2, i / 3), 1001);
		assert_true(newcomers[i].in);
	}
	assert_int_equal(count_dropped(newcomers, ARRAY_SIZE(newcomers)), 0);
	leave_all(t, held, STRANGERS_MAX);
	leave_all(t, newcomers, ARRAY_SIZE(newcomers));
	free(held);
	strangers_free(t);
}

static void requests_that_take_long_give_way_at_home(void **state)
{
	static struct guest held[STRANGERS_PER_SOURCE], soon, later, next;
	struct strangers *t = strangers_new();

	(void)state;
	drip(t, held, STRANGERS_PER_SOURCE, ip(1, 1), 1000);
	enter(t, &soon, ip(1, 1), 3000);
	assert_false(soon.in);
	enter(t, &later, ip(1, 1), 6500);
	assert_true(later.in);
	/* and not the one that is still shaking hands */
	enter(t, &next, ip(1, 1), 6500);
	assert_true(next.in);
	assert_false(is_dropped(&later));
	assert_int_equal(count_dropped(held, STRANGERS_PER_SOURCE), 2);
	leave_all(t, held, STRANGERS_PER_SOURCE);
	leave(t, &soon);
	leave(t, &later);
	leave(t, &next);
	strangers_free(t);
}

static void larger_networks_have_bounds(void **state)
{
	static struct guest a[STRANGERS_PER_48 + 100], other;
	struct strangers *t = strangers_new();

	(void)state;
	enter(t, &other, network(2, 1), 0);
	/* each a /64 of its own, all in one /56 */
	for (unsigned i = 0; i < STRANGERS_PER_56 - 1; i++)
		enter(t, &a[i], network(1, i), 0);
	assert_int_equal(count_dropped(a, STRANGERS_PER_56 - 1), 0);
	enter(t, &a[STRANGERS_PER_56 - 1], network(1, 0), 0);
	enter(t, &a[STRANGERS_PER_56], network(1, 255), 0);
	/* the first /64 has two, one of which goes */
	assert_true(is_dropped(&a[0]));
	assert_int_equal(count_dropped(a, STRANGERS_PER_56 + 1), 1);
	/* other /56 of the same /48 */
	for (unsigned i = STRANGERS_PER_56 + 1; i < ARRAY_SIZE(a); i++)
		enter(t, &a[i], network(1, 0x100 + i * 4), 0);
	assert_int_equal(count_dropped(a, ARRAY_SIZE(a)), 100);
	assert_false(is_dropped(&other));
	leave_all(t, a, ARRAY_SIZE(a));
	leave(t, &other);
	strangers_free(t);
}

static void vouched_sources_give_way_last(void **state)
{
	struct guest *held = xnew_array(struct guest, STRANGERS_MAX), ours[20], known;
	const struct gate_address here = ip(3, 3);
	struct strangers *t = strangers_new();

	(void)state;
	enter(t, &known, here, 0);
	strangers_vouch(t, &known.s, &here, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(ours); i++)
		enter(t, &ours[i], here, 0);
	/* one connection each: those of our address would be the largest number */
	for (unsigned i = 0; i < STRANGERS_MAX; i++)
		enter(t, &held[i], ip(10 + i / 250, i % 250), 0);
	assert_int_equal(count_dropped(ours, ARRAY_SIZE(ours)), 0);
	assert_int_equal(count_dropped(held, STRANGERS_MAX), ARRAY_SIZE(ours));
	leave_all(t, held, STRANGERS_MAX);
	leave_all(t, ours, ARRAY_SIZE(ours));
	leave(t, &known);
	free(held);
	strangers_free(t);
}

static void handshakes_of_a_source_have_a_rate(void **state)
{
	static struct guest g[10];
	const struct gate_address here = ip(1, 1);
	struct strangers *t = strangers_new();

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(g); i++)
		enter(t, &g[i], i == 9 ? ip(1, 2) : here, 0);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(strangers_handshake_wait(t, &g[0].s, 0), 0);
	/* each waits for a turn of its own */
	assert_int_equal(strangers_handshake_wait(t, &g[1].s, 0), 20);
	assert_int_equal(strangers_handshake_wait(t, &g[2].s, 0), 40);
	assert_int_equal(strangers_handshake_wait(t, &g[3].s, 20), 40);
	/* others do not wait for them */
	assert_int_equal(strangers_handshake_wait(t, &g[9].s, 0), 0);
	/* who leaves gives the turn back; who has begun has used it */
	strangers_handshake_begin(t, &g[1].s);
	leave(t, &g[1]);
	leave(t, &g[3]);
	assert_int_equal(strangers_handshake_wait(t, &g[4].s, 20), 40);
	/* it is remembered when all are gone, and fills up again */
	for (unsigned i = 0; i < 9; i++)
		if (g[i].s.source)
			leave(t, &g[i]);
	enter(t, &g[0], here, 20);
	assert_int_equal(strangers_handshake_wait(t, &g[0].s, 20), 20);
	assert_int_equal(strangers_handshake_wait(t, &g[0].s, 1000), 0);
	strangers_vouch(t, &g[0].s, &here, 1000);
	leave(t, &g[0]);
	enter(t, &g[0], here, 1000);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(strangers_handshake_wait(t, &g[0].s, 2000), 0);
	leave(t, &g[0]);
	leave(t, &g[9]);
	strangers_free(t);
}

static void networks_have_a_rate_too(void **state)
{
	struct strangers *t = strangers_new();
	unsigned waited = 0;

	(void)state;
	/* more sources than are remembered, a handshake each */
	for (unsigned i = 0; i < 6000; i++) {
		static struct guest g;

		enter(t, &g, network(1, i), 0);
		waited += strangers_handshake_wait(t, &g.s, 0) > 0;
		strangers_handshake_begin(t, &g.s);
		leave(t, &g);
	}
	assert_true(waited >= 5000);
	strangers_free(t);
}

int main(void)
{
	struct rlimit files;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(proxy_headers),
		cmocka_unit_test(bad_proxy_headers),
		cmocka_unit_test(ends_of_heads),
		cmocka_unit_test(a_full_source_drops_its_oldest),
		cmocka_unit_test(served_strangers_go_when_they_are_idle),
		cmocka_unit_test(the_total_is_bounded),
		cmocka_unit_test(networks_of_ipv6_count_as_one),
		cmocka_unit_test(dripping_requests_lock_nobody_out),
		cmocka_unit_test(requests_of_single_addresses_give_way_to_newcomers),
		cmocka_unit_test(requests_that_take_long_give_way_at_home),
		cmocka_unit_test(larger_networks_have_bounds),
		cmocka_unit_test(vouched_sources_give_way_last),
		cmocka_unit_test(handshakes_of_a_source_have_a_rate),
		cmocka_unit_test(networks_have_a_rate_too),
	};

	/* two for each guest */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = MIN_OF(files.rlim_max, 8192);
		setrlimit(RLIMIT_NOFILE, &files);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
