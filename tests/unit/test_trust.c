/*
 * Who a TLS caller is: every cell of {PKI off, on} x {verdict} x {not in the store, client, restricted, metrics} x
 * {core.trust_ca_certificates} x {validity}; and the store itself.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/trust.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/wire_gate.h"

#define NOW 1000000

static int64_t the_time = NOW;

static int64_t fake_clock(void)
{
	return the_time;
}

struct fixture {
	char dir[64];
	char *path;
	struct db *db;
	struct trust *trust;
	int changes;
};

static void note_change(void *arg)
{
	(*(int *)arg)++;
}

static void open_again(struct fixture *f)
{
	auto_error struct error err = ERROR_INIT;

	trust_free(f->trust);
	db_free(f->db);
	expect_ok(db_open(f->path, &f->db, &err), &err);
	expect_ok(trust_new(f->db, &f->trust, &err), &err);
	trust_set_clock(f->trust, fake_clock);
	trust_on_change(f->trust, note_change, &f->changes);
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	snprintf(f->dir, sizeof(f->dir), "/var/tmp/lxd-test-trust-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->path = path_join(f->dir, "lxd.db");
	the_time = NOW;
	open_again(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;

	trust_free(f->trust);
	db_free(f->db);
	path_remove_tree(AT_FDCWD, f->dir, &err);
	free(f->path);
	free(f);
	return 0;
}

static const char *fingerprint(char digit)
{
	static char text[65];

	memset(text, digit, 64);
	return text;
}

static void add(struct fixture *f, char digit, const char *type, bool restricted, const char *project)
{
	auto_trust_certificate struct trust_certificate c = {.fingerprint = xstrdup(fingerprint(digit)),
							     .type = xstrdup(type),
							     .name = xstrdup("n"),
							     .restricted = restricted,
							     .pem = xstrdup("PEM")};
	auto_error struct error err = ERROR_INIT;

	if (project)
		strv_add(&c.projects, project);
	expect_ok(trust_add(f->trust, &c, &err), &err);
}

static struct http_tls_peer peer_of(char digit, unsigned verdict)
{
	static unsigned char leaf[] = "leaf";
	static char address[] = "192.0.2.1:4000", host[] = "192.0.2.1";
	struct http_tls_peer tls = {.address = address,
				    .host = host,
				    .leaf = leaf,
				    .leaf_len = sizeof(leaf),
				    .not_before = NOW - 10,
				    .not_after = NOW + 10,
				    .verdict = verdict};

	memcpy(tls.fingerprint, fingerprint(digit), sizeof(tls.fingerprint));
	return tls;
}

static struct identity identify(struct fixture *f, const struct http_tls_peer *tls)
{
	const struct http_peer peer = {.uid = (uid_t)-1, .tls = tls};

	return trust_identify(f->trust, &peer);
}

enum stored { NOT_STORED, CLIENT, RESTRICTED, RESTRICTED_TO_NOTHING, METRICS, STORED_MAX };

static const char digits[STORED_MAX] = {'0', 'a', 'b', 'c', 'd'};

/* '-' stranger, 'A' administrator, 'r' restricted with default, '0' restricted to nothing, 'm' metrics. */
static char kind_of(const struct identity *id)
{
	if (id->kind == IDENTITY_NONE)
		return '-';
	if (id->kind == IDENTITY_METRICS)
		return 'm';
	assert_int_equal(id->kind, IDENTITY_TLS);
	if (!id->restricted)
		return 'A';
	return authorize(id, PERM_INSTANCE_EDIT, "default") ? 'r' : '0';
}

struct row {
	bool pki, trust_ca;
	unsigned verdict;
	/* what becomes of: not in the store, client, restricted, restricted to nothing, metrics */
	const char *want;
};

static const struct row rows[] = {
	/* no CA: the store decides */
	{false, false, WIRE_PKI_OFF, "-Ar0m"},
	{false, true, WIRE_PKI_OFF, "-Ar0m"},
	/* a CA: what it issued, by the store ... */
	{true, false, WIRE_PKI_GOOD, "-Ar0m"},
	/* ... or also without an entry; an entry's restriction holds all the same (CVE-2024-6219) */
	{true, true, WIRE_PKI_GOOD, "AAr0m"},
	/* not issued by it, expired, not valid yet, for another purpose, weak: nobody, whatever the store says
	   (CVE-2024-6156) */
	{true, false, WIRE_PKI_BAD, "-----"},
	{true, true, WIRE_PKI_BAD, "-----"},
	{true, false, WIRE_PKI_REVOKED, "-----"},
	{true, true, WIRE_PKI_REVOKED, "-----"},
	{true, false, WIRE_PKI_UNSURE, "-----"},
	{true, true, WIRE_PKI_UNSURE, "-----"},
	{true, false, WIRE_PKI_NONE, "-----"},
	{true, true, WIRE_PKI_NONE, "-----"},
	/* the CA has just come, the connection has not been judged by it yet */
	{true, false, WIRE_PKI_OFF, "-----"},
	{true, true, WIRE_PKI_OFF, "-----"},
	/* it has just gone: "good" no longer lets anybody in without an entry, "bad" keeps out */
	{false, true, WIRE_PKI_GOOD, "-Ar0m"},
	{false, false, WIRE_PKI_BAD, "-----"},
	{false, true, WIRE_PKI_REVOKED, "-----"},
	{false, false, WIRE_PKI_UNSURE, "-----"},
	/* what no gate says */
	{true, true, WIRE_PKI_MAX, "-----"},
	{false, false, WIRE_PKI_MAX, "-----"},
	{true, true, 0xffffffff, "-----"},
};

static void fill(struct fixture *f)
{
	add(f, 'a', "client", false, NULL);
	add(f, 'b', "client", true, "default");
	add(f, 'c', "client", true, NULL);
	add(f, 'd', "metrics", false, NULL);
}

static void the_matrix(void **state)
{
	struct fixture *f = *state;

	fill(f);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char got[STORED_MAX + 1] = "";

		trust_set_pki(f->trust, rows[i].pki);
		trust_set_ca_certificates(f->trust, rows[i].trust_ca);
		for (int s = 0; s < STORED_MAX; s++) {
			struct http_tls_peer tls = peer_of(digits[s], rows[i].verdict);
			struct identity id = identify(f, &tls);

			got[s] = kind_of(&id);
			/* address and fingerprint are told of strangers too */
			assert_string_equal(id.address, "192.0.2.1:4000");
			assert_string_equal(id.fingerprint, fingerprint(digits[s]));
		}
		if (strcmp(got, rows[i].want) != 0)
			print_error("row %zu: %s, wanted %s\n", i, got, rows[i].want);
		assert_string_equal(got, rows[i].want);
	}
}

/* Outside its dates a certificate is nobody's, in every row that would let somebody in. */
static void the_matrix_in_time(void **state)
{
	static const struct {
		int64_t now;
		bool valid;
	} times[] = {{NOW - 11, false}, {NOW - 10, true}, {NOW + 10, true},
		     {NOW + 11, false}, {0, false},       {INT64_MAX, false}};
	struct fixture *f = *state;

	fill(f);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		trust_set_pki(f->trust, rows[i].pki);
		trust_set_ca_certificates(f->trust, rows[i].trust_ca);
		for (size_t t = 0; t < ARRAY_SIZE(times); t++)
			for (int s = 0; s < STORED_MAX; s++) {
				struct http_tls_peer tls = peer_of(digits[s], rows[i].verdict);
				struct identity id;

				the_time = times[t].now;
				id = identify(f, &tls);
				assert_int_equal(kind_of(&id), times[t].valid ? rows[i].want[s] : '-');
			}
	}
}

static void doors(void **state)
{
	struct fixture *f = *state;
	struct http_tls_peer tls = peer_of('a', WIRE_PKI_OFF);
	struct http_peer peer = {.local = true, .uid = 1000};
	struct identity id;

	fill(f);
	id = trust_identify(f->trust, &peer);
	assert_int_equal(id.kind, IDENTITY_LOCAL);
	assert_int_equal(id.uid, 1000);
	assert_string_equal(id.address, "@");
	/* no door at all, and one that cannot be */
	peer = (struct http_peer){.uid = 0};
	assert_int_equal(trust_identify(f->trust, &peer).kind, IDENTITY_NONE);
	peer = (struct http_peer){.local = true, .tls = &tls};
	assert_int_equal(trust_identify(f->trust, &peer).kind, IDENTITY_NONE);
	/* a fingerprint without the certificate that it is of */
	tls.leaf = NULL;
	tls.leaf_len = 0;
	id = identify(f, &tls);
	assert_int_equal(id.kind, IDENTITY_NONE);
	assert_string_equal(id.fingerprint, "");
	tls = peer_of('a', WIRE_PKI_OFF);
	tls.fingerprint[63] = '\0';
	assert_int_equal(identify(f, &tls).kind, IDENTITY_NONE);
	tls = peer_of('A', WIRE_PKI_OFF);
	assert_int_equal(identify(f, &tls).kind, IDENTITY_NONE);
	/* without certificate, trust_ca or not */
	trust_set_pki(f->trust, true);
	trust_set_ca_certificates(f->trust, true);
	tls = peer_of('a', WIRE_PKI_NONE);
	tls.leaf = NULL;
	tls.leaf_len = 0;
	tls.fingerprint[0] = '\0';
	assert_int_equal(identify(f, &tls).kind, IDENTITY_NONE);
}

static void every_digit_of_a_fingerprint_counts(void **state)
{
	struct fixture *f = *state;

	fill(f);
	for (size_t i = 0; i < 64; i++) {
		struct http_tls_peer tls = peer_of('a', WIRE_PKI_OFF);

		tls.fingerprint[i] = 'b';
		assert_int_equal(identify(f, &tls).kind, IDENTITY_NONE);
	}
}

static void replace(struct fixture *f, char digit, void (*edit)(struct trust_certificate *c))
{
	auto_trust_certificate struct trust_certificate was = TRUST_CERTIFICATE_INIT, now = TRUST_CERTIFICATE_INIT;
	auto_error struct error err = ERROR_INIT;

	expect_ok(trust_find(f->trust, fingerprint(digit), &was, &err), &err);
	expect_ok(trust_find(f->trust, fingerprint(digit), &now, &err), &err);
	edit(&now);
	expect_ok(trust_update(f->trust, &was, &now, &err), &err);
}

static void renew(struct fixture *f, char from, char to)
{
	auto_trust_certificate struct trust_certificate was = TRUST_CERTIFICATE_INIT, now = TRUST_CERTIFICATE_INIT;
	auto_error struct error err = ERROR_INIT;

	expect_ok(trust_find(f->trust, fingerprint(from), &was, &err), &err);
	expect_ok(trust_find(f->trust, fingerprint(from), &now, &err), &err);
	free(now.fingerprint);
	now.fingerprint = xstrdup(fingerprint(to));
	expect_ok(trust_update(f->trust, &was, &now, &err), &err);
}

static void restrict_it(struct trust_certificate *c)
{
	c->restricted = true;
}

static void free_it(struct trust_certificate *c)
{
	c->restricted = false;
}

static void give_default(struct trust_certificate *c)
{
	strv_add(&c->projects, "default");
}

static void take_default(struct trust_certificate *c)
{
	strv_done(&c->projects);
}

static void what_goes_on_ends_with_the_right_to_it(void **state)
{
	struct fixture *f = *state;
	struct http_tls_peer tls = peer_of('a', WIRE_PKI_OFF);
	struct identity full, with_default, with_nothing;
	auto_error struct error err = ERROR_INIT;

	fill(f);
	f->changes = 0;
	full = identify(f, &tls);
	assert_true(trust_still_holds(f->trust, &full));
	replace(f, 'a', restrict_it);
	assert_int_equal(f->changes, 1);
	assert_false(trust_still_holds(f->trust, &full));
	with_nothing = identify(f, &tls);
	assert_true(trust_still_holds(f->trust, &with_nothing));
	replace(f, 'a', give_default);
	with_default = identify(f, &tls);
	assert_true(trust_still_holds(f->trust, &with_nothing));
	assert_true(trust_still_holds(f->trust, &with_default));
	replace(f, 'a', take_default);
	assert_false(trust_still_holds(f->trust, &with_default));
	replace(f, 'a', free_it);
	assert_true(trust_still_holds(f->trust, &with_nothing));
	expect_ok(trust_remove(f->trust, fingerprint('a'), &err), &err);
	assert_int_equal(f->changes, 5);
	assert_false(trust_still_holds(f->trust, &full));
	assert_false(trust_still_holds(f->trust, &with_nothing));
	/* who only the CA let in: gone with the setting */
	trust_set_pki(f->trust, true);
	trust_set_ca_certificates(f->trust, true);
	tls.verdict = WIRE_PKI_GOOD;
	full = identify(f, &tls);
	assert_int_equal(full.kind, IDENTITY_TLS);
	f->changes = 0;
	trust_set_ca_certificates(f->trust, false);
	assert_int_equal(f->changes, 1);
	assert_false(trust_still_holds(f->trust, &full));
}

static void the_store_lasts(void **state)
{
	struct fixture *f = *state;
	auto_trust_certificate struct trust_certificate c = TRUST_CERTIFICATE_INIT;
	auto_error struct error err = ERROR_INIT;
	struct trust_certificate *list;
	size_t n;

	fill(f);
	replace(f, 'd', give_default);
	expect_ok(trust_remove(f->trust, fingerprint('c'), &err), &err);
	open_again(f);
	list = trust_list(f->trust, &n);
	assert_int_equal(n, 3);
	assert_string_equal(list[0].fingerprint, fingerprint('a'));
	assert_string_equal(list[2].type, "metrics");
	assert_string_equal(list[2].projects.items[0], "default");
	for (size_t i = 0; i < n; i++)
		trust_certificate_done(&list[i]);
	free(list);
	expect_ok(trust_find(f->trust, "BBB", &c, &err), &err);
	assert_true(c.restricted);
	expect_error(trust_find(f->trust, "c", &c, &err), &err, 404, "Certificate not found");
}

static void find_by_prefix(void **state)
{
	static const char *const none[] = {"", "%", "_", "a%", "g", "aa aa", "0", "-", "\xff"};
	struct fixture *f = *state;
	auto_trust_certificate struct trust_certificate c = {.fingerprint = xstrdup(fingerprint('a')),
							     .type = xstrdup("client"),
							     .name = xstrdup(""),
							     .pem = xstrdup("")};
	auto_error struct error err = ERROR_INIT;
	char longer[66];

	fill(f);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		auto_trust_certificate struct trust_certificate got = TRUST_CERTIFICATE_INIT;

		expect_error(trust_find(f->trust, none[i], &got, &err), &err, 404, "Certificate not found");
	}
	memset(longer, 'a', 65);
	longer[65] = '\0';
	expect_error(trust_find(f->trust, longer, &c, &err), &err, 404, "Certificate not found");
	c.fingerprint[63] = 'b';
	expect_ok(trust_add(f->trust, &c, &err), &err);
	expect_error(trust_find(f->trust, "a", &c, &err), &err, 500, "More than one certificate matches");
}

static void what_is_refused(void **state)
{
	struct fixture *f = *state;
	auto_trust_certificate struct trust_certificate a = TRUST_CERTIFICATE_INIT, b = TRUST_CERTIFICATE_INIT;
	auto_error struct error err = ERROR_INIT;

	fill(f);
	f->changes = 0;
	expect_ok(trust_find(f->trust, "a", &a, &err), &err);
	expect_ok(trust_find(f->trust, "a", &b, &err), &err);
	expect_error(trust_add(f->trust, &a, &err), &err, 409, "Certificate already in trust store");
	free(b.type);
	b.type = xstrdup("metrics");
	expect_error(trust_update(f->trust, &a, &b, &err), &err, 403, "type cannot be changed");
	b.fingerprint[0] = '0';
	memcpy(b.type, "server", 7);
	expect_error(trust_add(f->trust, &b, &err), &err, 403, "cluster");
	memcpy(b.type, "weird", 6);
	expect_error(trust_add(f->trust, &b, &err), &err, 400, "Invalid certificate type");
	memcpy(b.type, "client", 7);
	strv_add(&b.projects, "nosuch");
	expect_error(trust_add(f->trust, &b, &err), &err, 404, "nosuch");
	strv_done(&b.projects);
	memcpy(b.fingerprint, fingerprint('b'), 64);
	expect_error(trust_update(f->trust, &a, &b, &err), &err, 409, "already in trust store");
	/* somebody was faster */
	replace(f, 'a', restrict_it);
	memcpy(b.fingerprint, fingerprint('a'), 64);
	expect_error(trust_update(f->trust, &a, &b, &err), &err, 412, "changed meanwhile");
	expect_ok(trust_remove(f->trust, fingerprint('a'), &err), &err);
	expect_error(trust_update(f->trust, &a, &b, &err), &err, 404, "Certificate not found");
	expect_error(trust_remove(f->trust, fingerprint('a'), &err), &err, 404, "Certificate not found");
	assert_int_equal(f->changes, 2);
}

/* Rows that were damaged let nobody in, and do not keep the daemon from starting. */
/* Ten tries an hour, and a new certificate is no new beginning. */
static void renewals_are_bounded(void **state)
{
	struct fixture *f = *state;
	char a[65], b[65];

	memcpy(a, fingerprint('a'), sizeof(a));
	memcpy(b, fingerprint('b'), sizeof(b));
	add(f, 'a', "client", true, "default");
	add(f, 'c', "client", true, "default");
	for (int i = 0; i < 6; i++)
		assert_true(trust_take_renewal(f->trust, a));
	renew(f, 'a', 'b');
	assert_false(trust_take_renewal(f->trust, a));
	for (int i = 0; i < 4; i++)
		assert_true(trust_take_renewal(f->trust, b));
	for (int i = 0; i < 100; i++)
		assert_false(trust_take_renewal(f->trust, b));
	/* each for itself, and again in time */
	assert_true(trust_take_renewal(f->trust, fingerprint('c')));
	the_time = NOW + 3599;
	assert_false(trust_take_renewal(f->trust, b));
	the_time = NOW + 3600;
	assert_true(trust_take_renewal(f->trust, b));
	/* a clock that is put back locks nobody out */
	the_time = NOW;
	assert_true(trust_take_renewal(f->trust, b));
}

static void rows_without_sense(void **state)
{
	struct fixture *f = *state;
	struct db_certificate server = {.fingerprint = xstrdup(fingerprint('e')),
					.type = xstrdup("server"),
					.name = xstrdup(""),
					.certificate = xstrdup("")};
	struct db_certificate short_one = {.fingerprint = xstrdup("abc"),
					   .type = xstrdup("client"),
					   .name = xstrdup(""),
					   .certificate = xstrdup("")};
	auto_error struct error err = ERROR_INIT;
	struct http_tls_peer tls = peer_of('e', WIRE_PKI_OFF);
	size_t n;

	expect_ok(db_certificate_insert(f->db, &server, &err), &err);
	expect_ok(db_certificate_insert(f->db, &short_one, &err), &err);
	db_certificate_done(&server);
	db_certificate_done(&short_one);
	open_again(f);
	free(trust_list(f->trust, &n));
	assert_int_equal(n, 0);
	assert_int_equal(identify(f, &tls).kind, IDENTITY_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_matrix, setup, teardown),
		cmocka_unit_test_setup_teardown(the_matrix_in_time, setup, teardown),
		cmocka_unit_test_setup_teardown(doors, setup, teardown),
		cmocka_unit_test_setup_teardown(every_digit_of_a_fingerprint_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(what_goes_on_ends_with_the_right_to_it, setup, teardown),
		cmocka_unit_test_setup_teardown(the_store_lasts, setup, teardown),
		cmocka_unit_test_setup_teardown(find_by_prefix, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(renewals_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(rows_without_sense, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
