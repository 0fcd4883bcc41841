/* The messages of a migration: what was seen on the wire of Debian's lxd 5.0.2, and what must be refused. */
#include "unit.h"

#include "migration/message.h"

/* Of a stopped container without snapshots on a dir pool, 5.0.2 to 5.0.2. */
static const unsigned char seen_offer[] = {0x08, 0, 0x38, 0, 0x42, 8, 0x08, 1, 0x10, 1, 0x18, 1, 0x20, 1, 0x68, 1};
static const unsigned char seen_answer[] = {0x08, 0,    0x38, 0,    0x42, 8,    0x08, 1,    0x10,
					    1,    0x18, 1,    0x20, 1,    0x48, 0,    0x68, 1};
static const unsigned char seen_success[] = {0x08, 1, 0x12, 0};

static void header_of_the_reference(void **state UNUSED)
{
	auto_migration_header struct migration_header offer = MIGRATION_HEADER_INIT;
	auto_migration_header struct migration_header answer = MIGRATION_HEADER_INIT;
	auto_error struct error err = ERROR_INIT;

	expect_ok(migration_header_decode(seen_offer, sizeof(seen_offer), &offer, &err), &err);
	assert_true(offer.rsync && offer.index);
	assert_false(offer.running || offer.refresh);
	assert_int_equal(offer.features,
			 MIGRATION_XATTRS | MIGRATION_DELETE | MIGRATION_COMPRESS | MIGRATION_BIDIRECTIONAL);
	assert_int_equal(offer.idmap.len, 0);
	assert_int_equal(offer.snapshots.len, 0);
	expect_ok(migration_header_decode(seen_answer, sizeof(seen_answer), &answer, &err), &err);
	assert_int_equal(answer.features, offer.features);
}

static void header_goes_round(void **state UNUSED)
{
	auto_migration_header struct migration_header h = {.rsync = true};
	auto_migration_header struct migration_header back = MIGRATION_HEADER_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;

	h.features = MIGRATION_XATTRS | MIGRATION_ACLS;
	idmap_add(&h.idmap, (struct idmap_entry){.is_uid = true, .host = 100000, .count = 65536});
	idmap_add(&h.idmap, (struct idmap_entry){.is_gid = true, .host = 200000, .ns = 5, .count = 1});
	strv_add(&h.snapshots, "snap0");
	migration_header_encode(&h, &b);
	expect_ok(migration_header_decode(b.data, b.len, &back, &err), &err);
	assert_true(back.rsync);
	assert_false(back.running || back.index);
	assert_int_equal(back.features, h.features);
	assert_true(idmap_equal(&back.idmap, &h.idmap));
	assert_int_equal(back.snapshots.len, 1);
	assert_string_equal(back.snapshots.items[0], "snap0");
	assert_false(migration_is_verdict(b.data, b.len));
}

static void bad_headers(void **state UNUSED)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{"", 0},                                                          /* fs is required */
		{"\x08", 1},                                                      /* cut */
		{"\x08\x00\x1a\x7f\x08", 5},                                      /* a length beyond the end */
		{"\x08\x00\x1a\x02\x08\x01", 6},                                  /* an entry without its fields */
		{"\x08\x00\x1a\x0a\x08\x00\x10\x00\x18\x01\x20\x00\x28\x01", 14}, /* of neither uids nor gids */
		{"\x08\x00\x1a\x0a\x08\x01\x10\x00\x18\x01\x20\x00\x28\x00", 14}, /* of no ids */
		{"\x08\x00\x12\x03"
		 "abc",
		 7}, /* a verdict */
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_migration_header struct migration_header h = MIGRATION_HEADER_INIT;
		auto_error struct error err = ERROR_INIT;

		expect_error(migration_header_decode(bad[i].bytes, bad[i].len, &h, &err), &err, 400, "Invalid ");
	}
}

static void overlong_header(void **state UNUSED)
{
	auto_migration_header struct migration_header h = MIGRATION_HEADER_INIT;
	auto_free char *data = xmalloc(MIGRATION_MESSAGE_MAX + 1);
	auto_error struct error err = ERROR_INIT;

	memset(data, 0, MIGRATION_MESSAGE_MAX + 1);
	expect_error(migration_header_decode(data, MIGRATION_MESSAGE_MAX + 1, &h, &err), &err, 400, "bytes");
}

static void verdicts(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf good = STRBUF_INIT;
	auto_strbuf struct strbuf bad = STRBUF_INIT;

	migration_verdict_encode(NULL, &good);
	assert_int_equal(good.len, sizeof(seen_success));
	assert_memory_equal(good.data, seen_success, sizeof(seen_success));
	expect_ok(migration_verdict_decode(good.data, good.len, &err), &err);
	migration_verdict_encode("no room\n\x1b[31m left\n", &bad);
	assert_true(migration_is_verdict(bad.data, bad.len));
	expect_error(migration_verdict_decode(bad.data, bad.len, &err), &err, 500, "no room; [31m left");
	assert_null(strchr(error_msg(&err), '\x1b'));
	error_clear(&err);
	expect_error(migration_verdict_decode("\x08\x00", 2, &err), &err, 500, "without a reason");
	error_clear(&err);
	expect_error(migration_verdict_decode("\x12\x00", 2, &err), &err, 400, "Invalid message");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_of_the_reference),
		cmocka_unit_test(header_goes_round),
		cmocka_unit_test(bad_headers),
		cmocka_unit_test(overlong_header),
		cmocka_unit_test(verdicts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
