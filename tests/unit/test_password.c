/* The trust password's guard against guessing, by a clock of our own; and the hash. */
#include "unit.h"

#include <stdatomic.h>
#include <stdio.h>

#include "auth/password.h"
#include "base/thread.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)

static _Atomic int64_t the_time;
static char *the_hash; /* of "right", by the real function once */

static int64_t fake_now(void *arg UNUSED)
{
	return the_time;
}

/* As cheap as guessing must not be: the test counts instead. */
static bool fake_verify(const char *hash, const char *plain, void *arg UNUSED)
{
	return streq(hash, the_hash) && streq(plain, "right");
}

static struct password_guard *make(void)
{
	const struct password_guard_spec spec = {.now_ms = fake_now, .verify = fake_verify};

	the_time = 1000 * MINUTE;
	return password_guard_new(&spec);
}

static uint64_t evaluated(struct password_guard *g)
{
	struct password_stats s;

	password_guard_stats(g, &s);
	return s.evaluated;
}

static void hashes(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_free char *a = NULL, *b = NULL;
	auto_free char *huge = xmalloc(PASSWORD_MAX + 2);
	struct password_guard *g = password_guard_new(NULL);

	expect_ok(password_hash("foo", &a, &err), &err);
	expect_ok(password_hash("foo", &b, &err), &err);
	assert_true(startswith(a, "$argon2id$v=19$"));
	assert_string_not_equal(a, b);
	assert_null(strstr(a, "foo"));
	assert_true(password_is_hash(a));
	assert_false(password_is_hash("foo"));
	expect_error(password_hash("", &b, &err), &err, 400, "empty");
	memset(huge, 'x', PASSWORD_MAX + 1);
	huge[PASSWORD_MAX + 1] = '\0';
	expect_error(password_hash(huge, &b, &err), &err, 400, "longer");
	/* the real thing, once right, once wrong, once without one */
	assert_int_equal(password_guard_check(g, a, "127.0.0.1", "foo"), PASSWORD_RIGHT);
	assert_int_equal(password_guard_check(g, a, "127.0.0.1", "fop"), PASSWORD_WRONG);
	assert_int_equal(password_guard_check(g, NULL, "127.0.0.1", "foo"), PASSWORD_WRONG);
	assert_int_equal(password_guard_check(g, a, "127.0.0.1", huge), PASSWORD_THROTTLED);
	assert_int_equal(evaluated(g), 3);
	password_guard_free(g);
}

static void unset_costs_the_same_and_never_lets_in(void **state UNUSED)
{
	static const char *const unset[] = {NULL, "", "right", "$argon2i$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAA"};

	for (size_t i = 0; i < ARRAY_SIZE(unset); i++) {
		struct password_guard *g = make();

		assert_int_equal(password_guard_check(g, unset[i], "192.0.2.1", "right"), PASSWORD_WRONG);
		assert_int_equal(password_guard_check(g, unset[i], "192.0.2.1", ""), PASSWORD_WRONG);
		assert_int_equal(evaluated(g), 2);
		password_guard_free(g);
	}
}

static void a_handful_of_errors_is_forgiven(void **state UNUSED)
{
	struct password_guard *g = make();

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 4; i++)
			assert_int_equal(password_guard_check(g, the_hash, "192.0.2.1", "wrong"), PASSWORD_WRONG);
		assert_int_equal(password_guard_check(g, the_hash, "192.0.2.1", "right"), PASSWORD_RIGHT);
		the_time += MINUTE;
	}
	password_guard_free(g);
}

static void one_source_waits_longer_and_longer(void **state UNUSED)
{
	static const int delays[] = {2, 4, 8, 16, 32, 60, 60, 60};
	struct password_guard *g = make();

	for (int i = 0; i < 5; i++)
		assert_int_equal(password_guard_check(g, the_hash, "192.0.2.1", "wrong"), PASSWORD_WRONG);
	for (size_t i = 0; i < ARRAY_SIZE(delays); i++) {
		the_time += delays[i] * SECOND - 1;
		/* not even the right one is looked at, and asking does not make it longer */
		assert_int_equal(password_guard_check(g, the_hash, "192.0.2.1", "right"), PASSWORD_THROTTLED);
		assert_int_equal(password_guard_check(g, the_hash, "192.0.2.1", "wrong"), PASSWORD_THROTTLED);
		/* others are not concerned */
		assert_int_equal(password_guard_check(g, the_hash, "192.0.2.2", "right"), PASSWORD_RIGHT);
		the_time += 1;
		assert_int_equal(password_guard_check(g, the_hash, "192.0.2.1", "wrong"), PASSWORD_WRONG);
	}
	the_time += 60 * SECOND;
	assert_int_equal(password_guard_check(g, the_hash, "192.0.2.1", "right"), PASSWORD_RIGHT);
	/* all is forgotten */
	for (int i = 0; i < 5; i++)
		assert_int_equal(password_guard_check(g, the_hash, "192.0.2.1", "wrong"), PASSWORD_WRONG);
	assert_int_equal(password_guard_check(g, the_hash, "192.0.2.1", "right"), PASSWORD_THROTTLED);
	/* as it is after ten quiet minutes */
	the_time += 10 * MINUTE;
	for (int i = 0; i < 5; i++)
		assert_int_equal(password_guard_check(g, the_hash, "192.0.2.1", "wrong"), PASSWORD_WRONG);
	assert_int_equal(password_guard_check(g, the_hash, "192.0.2.1", "right"), PASSWORD_THROTTLED);
	password_guard_free(g);
}

/* Five failures from the first address; is the second one the same source? */
static bool same_source(const char *first, const char *second)
{
	struct password_guard *g = make();
	enum password_verdict v;

	for (int i = 0; i < 5; i++)
		assert_int_equal(password_guard_check(g, the_hash, first, "wrong"), PASSWORD_WRONG);
	v = password_guard_check(g, the_hash, second, "right");
	password_guard_free(g);
	return v == PASSWORD_THROTTLED;
}

static void what_a_source_is(void **state UNUSED)
{
	assert_true(same_source("192.0.2.1", "192.0.2.1"));
	assert_false(same_source("192.0.2.1", "192.0.2.2"));
	assert_true(same_source("192.0.2.1", "::ffff:192.0.2.1"));
	assert_true(same_source("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
	assert_false(same_source("2001:db8:1:2::1", "2001:db8:1:3::1"));
	assert_true(same_source("fe80::1%eth0", "fe80::2%eth1"));
	assert_false(same_source("::1", "127.0.0.1"));
	assert_true(same_source("what is this", ""));
	/* an IPv4 address is not the IPv6 network with the same number */
	assert_false(same_source("0.0.0.1", "0:0:0:1::5"));
}

/* Guesses of a botnet: @n from addresses that change, @per_second of them; gives how many were evaluated. */
static uint64_t flood(struct password_guard *g, bool ipv6, unsigned n, unsigned per_second)
{
	uint64_t before = evaluated(g);

	for (unsigned i = 0; i < n; i++) {
		char host[64];

		if (ipv6)
			snprintf(host, sizeof(host), "2001:db8:%x:%x::1", i / 250 % 250, i % 250);
		else
			snprintf(host, sizeof(host), "203.0.%u.%u", i / 250 % 250, i % 250);
		assert_int_not_equal(password_guard_check(g, the_hash, host, "wrong"), PASSWORD_RIGHT);
		if (i % per_second == per_second - 1)
			the_time += SECOND;
	}
	return evaluated(g) - before;
}

static void ten_thousand_guesses_from_ten_thousand_addresses(void **state UNUSED)
{
	struct password_guard *g = make();
	uint64_t first, second;

	/* at once: the two budgets, no more */
	first = flood(g, /* ipv6= */ false, 10000, 10000);
	assert_int_equal(first, 40);
	/* over 1000 seconds, from the same addresses: what came back meanwhile */
	second = flood(g, /* ipv6= */ false, 10000, 10);
	print_message("evaluated: %llu at once, %llu in 1000 s\n", (unsigned long long)first,
		      (unsigned long long)second);
	assert_true(second > 10 && second < 160);
	password_guard_free(g);
}

static void a_newcomer_is_heard_while_the_known_hammer(void **state UNUSED)
{
	struct password_guard *g = make();

	/* the reserve goes to the first of so many new addresses; a minute of the same ones leaves it to others */
	for (int round = 0; round < 7; round++)
		flood(g, /* ipv6= */ false, 10000, 1000);
	assert_int_equal(password_guard_check(g, the_hash, "198.51.100.7", "right"), PASSWORD_RIGHT);
	password_guard_free(g);
}

static void the_local_network_has_its_own_budget(void **state UNUSED)
{
	static const char *const near[] = {"127.0.0.1",   "10.1.2.3", "192.168.1.2", "172.16.0.9",
					   "169.254.1.1", "::1",      "fe80::1",     "fd42::1"};
	static const char *const far[] = {"172.32.0.1", "11.0.0.1", "192.169.0.1"};
	struct password_guard *g = make();

	flood(g, /* ipv6= */ false, 20000, 20000);
	for (size_t i = 0; i < ARRAY_SIZE(near); i++)
		assert_int_equal(password_guard_check(g, the_hash, near[i], "right"), PASSWORD_RIGHT);
	for (size_t i = 0; i < ARRAY_SIZE(far); i++)
		assert_int_equal(password_guard_check(g, the_hash, far[i], "right"), PASSWORD_THROTTLED);
	/* nor does a flood of one family stop the other */
	assert_int_equal(password_guard_check(g, the_hash, "2001:db8::1", "right"), PASSWORD_RIGHT);
	flood(g, /* ipv6= */ true, 20000, 20000);
	assert_int_equal(password_guard_check(g, the_hash, "2001:db9::1", "right"), PASSWORD_THROTTLED);
	password_guard_free(g);
}

static void it_recovers_when_the_flood_ends(void **state UNUSED)
{
	struct password_guard *g = make();
	uint64_t calm;

	flood(g, /* ipv6= */ false, 60000, 100);
	the_time += 30 * MINUTE;
	calm = evaluated(g);
	for (int i = 0; i < 30; i++) {
		char host[32];

		snprintf(host, sizeof(host), "198.51.100.%d", i);
		assert_int_equal(password_guard_check(g, the_hash, host, "wrong"), PASSWORD_WRONG);
	}
	assert_int_equal(evaluated(g), calm + 30);
	password_guard_free(g);
}

static void right_ones_cost_nothing(void **state UNUSED)
{
	struct password_guard *g = make();

	for (int i = 0; i < 1000; i++) {
		char host[32];

		snprintf(host, sizeof(host), "203.0.%d.%d", i / 250, i % 250);
		assert_int_equal(password_guard_check(g, the_hash, host, "right"), PASSWORD_RIGHT);
	}
	password_guard_free(g);
}

static void memory_is_bounded(void **state UNUSED)
{
	struct password_guard *g = make();
	struct password_stats s;

	for (unsigned i = 0; i < 40000; i++) {
		char host[64];

		snprintf(host, sizeof(host), "2001:db8:%x:%x::1", i >> 8, i & 255);
		password_guard_check(g, the_hash, host, "wrong");
	}
	password_guard_stats(g, &s);
	assert_true(s.sources <= 16384);
	password_guard_free(g);
}

/* --- many at once --- */

static struct mutex gate = MUTEX_INIT;
static _Atomic int inside, most_inside, verdicts[4];

static bool slow_verify(const char *hash UNUSED, const char *plain UNUSED, void *arg UNUSED)
{
	int now = ++inside;

	if (now > most_inside)
		most_inside = now;
	mutex_lock(&gate);
	mutex_unlock(&gate);
	inside--;
	return false;
}

static void *guess(void *arg)
{
	struct password_guard *g = ((void **)arg)[0];

	verdicts[password_guard_check(g, the_hash, ((void **)arg)[1], "wrong")]++;
	return NULL;
}

static void at_most_two_at_once_and_sixteen_waiting(void **state UNUSED)
{
	const struct password_guard_spec spec = {.now_ms = fake_now, .verify = slow_verify};
	struct password_guard *g = password_guard_new(&spec);
	auto_error struct error err = ERROR_INIT;
	pthread_t threads[25];
	char hosts[25][32];
	void *args[25][2];

	mutex_lock(&gate);
	for (int i = 0; i < 25; i++) {
		snprintf(hosts[i], sizeof(hosts[i]), "192.0.2.%d", i);
		args[i][0] = g;
		args[i][1] = hosts[i];
		expect_ok(thread_start_joinable("guess", guess, args[i], &threads[i], &err), &err);
	}
	/* those that found no place are answered, the others wait */
	for (int i = 0; i < 5000 && verdicts[PASSWORD_BUSY] < 7; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(verdicts[PASSWORD_BUSY], 7);
	assert_int_equal(verdicts[PASSWORD_WRONG], 0);
	mutex_unlock(&gate);
	for (int i = 0; i < 25; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(verdicts[PASSWORD_WRONG], 18);
	assert_int_equal(most_inside, 2);
	password_guard_free(g);
}

static void one_source_cannot_fill_the_queue(void **state UNUSED)
{
	const struct password_guard_spec spec = {.now_ms = fake_now, .verify = slow_verify};
	struct password_guard *g = password_guard_new(&spec);
	auto_error struct error err = ERROR_INIT;
	static char host[] = "192.0.2.1";
	void *args[2] = {g, host};
	pthread_t threads[12];

	for (int i = 0; i < 4; i++)
		verdicts[i] = 0;
	mutex_lock(&gate);
	for (int i = 0; i < 12; i++)
		expect_ok(thread_start_joinable("guess", guess, args, &threads[i], &err), &err);
	for (int i = 0; i < 5000 && verdicts[PASSWORD_THROTTLED] < 7; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(verdicts[PASSWORD_THROTTLED], 7);
	mutex_unlock(&gate);
	for (int i = 0; i < 12; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(verdicts[PASSWORD_WRONG], 5);
	password_guard_free(g);
}

static int make_hash(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;

	return password_hash("right", &the_hash, &err);
}

static int free_hash(void **state UNUSED)
{
	free(the_hash);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes),
		cmocka_unit_test(unset_costs_the_same_and_never_lets_in),
		cmocka_unit_test(a_handful_of_errors_is_forgiven),
		cmocka_unit_test(one_source_waits_longer_and_longer),
		cmocka_unit_test(what_a_source_is),
		cmocka_unit_test(ten_thousand_guesses_from_ten_thousand_addresses),
		cmocka_unit_test(a_newcomer_is_heard_while_the_known_hammer),
		cmocka_unit_test(the_local_network_has_its_own_budget),
		cmocka_unit_test(it_recovers_when_the_flood_ends),
		cmocka_unit_test(right_ones_cost_nothing),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(at_most_two_at_once_and_sixteen_waiting),
		cmocka_unit_test(one_source_cannot_fill_the_queue),
	};

	return cmocka_run_group_tests(tests, make_hash, free_hash);
}
