/* Macaroons against values that were computed elsewhere, and every way in which a ticket can be wrong. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "macaroon/bakery.h"
#include "macaroon/macaroon.h"

#define LOCATION "https://candid.example.com"
#define TIME_BEFORE "time-before 2030-01-01T00:00:00Z"
#define NOW INT64_C(1800000000000000000) /* 2027 */

#define COOKIE                                                                                                 \
	"[{\"c\":[{\"i64\":\"AwA\",\"v64\":\"QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXE-cO-T6-GM3LrprYArkqI_k1Cppznd2_" \
	"yceQN52ZixzCcK8w_RebhsP38D2TV5Hp\",\"l\":\"https://candid.example.com\"},{\"i\":\"time-before "       \
	"2030-01-01T00:00:00Z\"}],\"l\":\"https://candid.example.com\","                                       \
	"\"i64\":\"AwoQoKGio6SlpqeoqaqrrK2urxIBMBoOCgVsb2dpbhIFbG9naW4\","                                     \
	"\"s64\":\"BOTVPPNAhBmFZXTdjhaCt0jj8_78iAgVvSz-d6ZeCeg\"},{\"c\":[{\"i\":\"declared username "         \
	"bob@example\"},{\"i\":\"time-before 2030-01-01T00:00:00Z\"}],\"i64\":\"AwA\","                        \
	"\"s64\":\"rT7TzTvrb16WPb-7kSSt_RSFuhjZtVW4DemxBLKe1kQ\"}]"

#define BINARY_PRIMARY                                                                                                 \
	"02011a68747470733a2f2f63616e6469642e6578616d706c652e636f6d0226030a10a0a1a2a3a4a5a6a7a8a9aaabacadaeaf1201301a" \
	"0e0"                                                                                                          \
	"a056c6f67696e12056c6f67696e00011a68747470733a2f2f63616e6469642e6578616d706c652e636f6d02020300044840414243444" \
	"546"                                                                                                          \
	"4748494a4b4c4d4e4f505152535455565713e70ef93ebe18cdcbae9ad802b92a23f9350a9a739dddbfc9c790379d998b1cc270af30fd" \
	"179"                                                                                                          \
	"b86c3f7f03d935791e900022074696d652d6265666f726520323033302d30312d30315430303a30303a30305a0000062004e4d53cf34" \
	"084"                                                                                                          \
	"19856574dd8e1682b748e3f3fefc880815bd2cfe77a65e09e8"
#define BINARY_DISCHARGE                                                                                               \
	"020202030000021d6465636c6172656420757365726e616d6520626f62406578616d706c6500022074696d652d6265666f7265203230" \
	"33"                                                                                                           \
	"302d30312d30315430303a30303a30305a00000620ad3ed3cd3beb6f5e963dbfbb9124adfd1485ba18d9b555b80de9b104b29ed644"

#define PAYLOAD_V3                                                                                                     \
	"03883186b807a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7cc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0" \
	"d1"                                                                                                           \
	"d2d3d4d5d6d782d5daa4e83f9bb1de8cc26dfa570191dbc6b51188a1bbc8e888ae2d65b92bf6dee08a60bca0a17c4edb8d9a3ce02eaf" \
	"fea6"                                                                                                         \
	"215cb2f74f33d1c1737a75a717c6d74a7ff5055bdfa7fe6cec40a98f46ed0abc3afa3a36aa919faa1ee8daf0729268699aeeba"
#define PAYLOAD_V2                                                                                                     \
	"02883186b807a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7cc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0" \
	"d1"                                                                                                           \
	"d2d3d4d5d6d7302099f75d3aa7df26b3befc5b95acd1dac6b51188a1bbc8e888ae2d65b92bf6dee08a60bca0a17c4edbed972df073f1" \
	"f3b"                                                                                                          \
	"1394de0e15f779edc736d7feb1ec6944f6daa014a8bbae867ea47ab8357a807e262e82a30"
#define CONDITION "need-declared username is-authenticated-user"

/* Bytes @from, @from + 1, ... */
static const unsigned char *run(unsigned char from, size_t n)
{
	static unsigned char buf[4][64];
	static unsigned at;
	unsigned char *p = buf[at++ % 4];

	for (size_t k = 0; k < n; k++)
		p[k] = (unsigned char)(from + k);
	return p;
}

static void to_hex(const void *data, size_t len, char *hex)
{
	for (size_t k = 0; k < len; k++)
		snprintf(hex + 2 * k, 3, "%02x", ((const unsigned char *)data)[k]);
}

static void assert_hex(const void *data, size_t len, const char *want)
{
	auto_free char *hex = xcalloc(2 * len + 1, 1);

	to_hex(data, len, hex);
	assert_string_equal(hex, want);
}

static void from_hex(const char *hex, struct strbuf *ret)
{
	static const char digits[] = "0123456789abcdef";

	for (; *hex; hex += 2)
		strbuf_append_char(ret,
				   (char)((strchr(digits, hex[0]) - digits) << 4 | (strchr(digits, hex[1]) - digits)));
}

/* Primary and discharge of vector A, bound. */
static struct macaroon_slice make_pair(void)
{
	struct macaroon_slice s = MACAROON_SLICE_INIT;
	struct macaroon m = MACAROON_INIT, d = MACAROON_INIT;
	auto_strbuf struct strbuf id = STRBUF_INIT;

	bakery_id_encode(run(0xa0, 16), "0", 1, &id);
	assert_hex(id.data, id.len, "030a10a0a1a2a3a4a5a6a7a8a9aaabacadaeaf1201301a0e0a056c6f67696e12056c6f67696e");
	macaroon_new(&m, run(0, 24), 24, id.data, id.len, LOCATION);
	assert_hex(m.sig, 32, "d045be8c71cc827a8200778c8f3a79f268ef812e7e4c872e8f010c1d3c73ea93");
	macaroon_add_third_party(&m, run(0x20, 24), 24, "\3\0", 2, LOCATION, run(0x40, 24));
	assert_hex(m.sig, 32, "cf79c09564a7b476244768131abd3da9067ed6d3ea98ba34d0f868435af92d30");
	macaroon_add_condition(&m, TIME_BEFORE);
	assert_hex(m.sig, 32, "04e4d53cf3408419856574dd8e1682b748e3f3fefc880815bd2cfe77a65e09e8");
	macaroon_new(&d, run(0x20, 24), 24, "\3\0", 2, NULL);
	macaroon_add_condition(&d, "declared username bob@example");
	macaroon_add_condition(&d, TIME_BEFORE);
	assert_hex(d.sig, 32, "07d81efee0749342856be0b7de6cfe9e20abc00c549302ec92a3ae9d27acc066");
	macaroon_bind(&m, &d);
	assert_hex(d.sig, 32, "ad3ed3cd3beb6f5e963dbfbb9124adfd1485ba18d9b555b80de9b104b29ed644");
	macaroon_slice_take(&s, &m);
	macaroon_slice_take(&s, &d);
	return s;
}

static int verify(const struct macaroon_slice *s, struct strv *conditions, struct error *err)
{
	return macaroon_verify(s, run(0, 24), 24, conditions, err);
}

static void refused(const struct macaroon_slice *s, const char *why)
{
	auto_strv struct strv conditions = STRV_INIT;
	auto_error struct error err = ERROR_INIT;

	expect_error(verify(s, &conditions, &err), &err, 403, why);
}

static void the_chain(void **state UNUSED)
{
	auto_macaroon_slice struct macaroon_slice s = make_pair();
	auto_strv struct strv conditions = STRV_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_macaroon struct macaroon small = MACAROON_INIT;

	expect_ok(verify(&s, &conditions, &err), &err);
	assert_int_equal(conditions.len, 3);
	assert_string_equal(conditions.items[0], "declared username bob@example");
	macaroon_new(&small, run(0, 24), 24, "id-1", 4, "loc");
	macaroon_add_condition(&small, TIME_BEFORE);
	assert_hex(small.sig, 32, "8561f3ec8c561ee12251209c834be7cf9bce34041fd4516be3bffeecdba6176f");
}

static void json_form(void **state UNUSED)
{
	auto_macaroon_slice struct macaroon_slice s = make_pair(), back = MACAROON_SLICE_INIT;
	auto_free char *text = macaroon_slice_to_text(&s);
	auto_strbuf struct strbuf plain = STRBUF_INIT;
	auto_strv struct strv conditions = STRV_INIT;
	auto_error struct error err = ERROR_INIT;

	assert_int_equal(base64_any_decode(text, &plain), 0);
	assert_string_equal(plain.data, COOKIE);
	expect_ok(macaroon_slice_from_text(text, &back, &err), &err);
	expect_ok(verify(&back, &conditions, &err), &err);
}

/* Other implementations write bytes as text where they are any. */
static void text_may_hold_zeros(void **state UNUSED)
{
	static const char json[] = "{\"i\":\"\\u0003\\u0000\",\"s64\":"
				   "\"rT7TzTvrb16WPb-7kSSt_RSFuhjZtVW4DemxBLKe1kQ\"}";
	auto_json struct json *j = NULL;
	auto_macaroon struct macaroon m = MACAROON_INIT;
	auto_error struct error err = ERROR_INIT;

	expect_ok(json_parse_bytes(json, strlen(json), &j, &err), &err);
	expect_ok(macaroon_from_json(j, &m, &err), &err);
	assert_int_equal(m.id.len, 2);
	assert_memory_equal(m.id.data, "\3\0", 2);
}

static void binary_form(void **state UNUSED)
{
	auto_macaroon_slice struct macaroon_slice s = make_pair(), back = MACAROON_SLICE_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT, one = STRBUF_INIT;
	auto_strv struct strv conditions = STRV_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_free char *text = NULL;

	macaroon_to_binary(&s.items[0], &b);
	assert_hex(b.data, b.len, BINARY_PRIMARY);
	macaroon_to_binary(&s.items[1], &one);
	assert_hex(one.data, one.len, BINARY_DISCHARGE);
	strbuf_append_len(&b, one.data, one.len);
	text = base64_url_encode(b.data, b.len);
	expect_ok(macaroon_slice_from_text(text, &back, &err), &err);
	expect_ok(verify(&back, &conditions, &err), &err);
}

/* What old clients send; the text is libmacaroons'. */
static void version_1(void **state UNUSED)
{
	static const char json[] = "{\"location\":\"loc\",\"identifier\":\"id-1\",\"caveats\":[{\"cid\":\"" TIME_BEFORE
				   "\"}],\"signature\":"
				   "\"8561f3ec8c561ee12251209c834be7cf9bce34041fd4516be3bffeecdba6176f\"}";
	static const char head[] = "0011location loc\n0014identifier id-1\n0029cid " TIME_BEFORE "\n002fsignature ";
	auto_json struct json *j = NULL;
	struct macaroon_slice s = MACAROON_SLICE_INIT;
	struct macaroon m = MACAROON_INIT, n = MACAROON_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_strv struct strv conditions = STRV_INIT;
	auto_error struct error err = ERROR_INIT;
	size_t used;

	expect_ok(json_parse(json, strlen(json), &j, &err), &err);
	expect_ok(macaroon_from_json(j, &m, &err), &err);
	strbuf_append(&b, head);
	strbuf_append_len(&b, (const char *)m.sig, sizeof(m.sig));
	strbuf_append_char(&b, '\n');
	expect_ok(macaroon_from_binary(b.data, b.len, &n, &used, &err), &err);
	assert_int_equal(used, b.len);
	assert_memory_equal(m.sig, n.sig, 32);
	for (int k = 0; k < 2; k++) {
		macaroon_slice_take(&s, k ? &n : &m);
		expect_ok(verify(&s, &conditions, &err), &err);
		macaroon_slice_done(&s);
	}
}

static void tickets_that_are_wrong(void **state UNUSED)
{
	auto_strv struct strv conditions = STRV_INIT;
	auto_error struct error err = ERROR_INIT;

	for (int bit = 0; bit < 2 * 256; bit++) {
		auto_macaroon_slice struct macaroon_slice s = make_pair();

		s.items[bit / 256].sig[bit % 256 / 8] ^= (unsigned char)(1 << bit % 8);
		refused(&s, "signature does not fit");
	}
	{
		auto_macaroon_slice struct macaroon_slice s = make_pair();

		expect_error(macaroon_verify(&s, run(1, 24), 24, &conditions, &err), &err, 403, "macaroon");
		macaroon_done(&s.items[--s.n]);
		refused(&s, "no discharge");
	}
	{
		/* the same discharge twice, or one for nothing */
		auto_macaroon_slice struct macaroon_slice s = make_pair(), other = make_pair();
		struct macaroon m = MACAROON_INIT;

		macaroon_slice_take(&s, &other.items[1]);
		refused(&s, "for no caveat");
		macaroon_done(&s.items[--s.n]);
		macaroon_new(&m, "k", 1, "x", 1, NULL);
		macaroon_slice_take(&s, &m);
		refused(&s, "for no caveat");
	}
	{
		/* caveats taken away, changed, swapped */
		auto_macaroon_slice struct macaroon_slice s = make_pair(), t = make_pair(), u = make_pair();
		struct macaroon_caveat first = u.items[1].caveats[0];

		strbuf_done(&s.items[1].caveats[--s.items[1].n].id);
		refused(&s, "signature does not fit");
		t.items[1].caveats[0].id.data[20] ^= 1;
		refused(&t, "signature does not fit");
		u.items[1].caveats[0] = u.items[1].caveats[1];
		u.items[1].caveats[1] = first;
		refused(&u, "signature does not fit");
	}
	{
		/* not bound; bound to another */
		auto_macaroon_slice struct macaroon_slice s = make_pair();
		struct macaroon d = MACAROON_INIT;

		macaroon_new(&d, run(0x20, 24), 24, "\3\0", 2, NULL);
		macaroon_done(&s.items[--s.n]);
		macaroon_slice_take(&s, &d);
		refused(&s, "signature does not fit");
	}
	{
		/* a caveat that only we can make: with another root key */
		auto_macaroon_slice struct macaroon_slice s = make_pair();

		s.items[0].caveats[0].vid.data[40] ^= 1;
		refused(&s, "cannot be opened");
	}
}

static void texts_that_are_none(void **state UNUSED)
{
	static const char *const bad[] = {
		"",
		"x",
		"====",
		"W10=",
		"e30=",
		"W3t9XQ==",
		"WzFd",
		"WyJBZyJd",
		"AgIA",
		"MDAxMWxvY2F0aW9uIGxvYwo=",
		/* [{"i":"a","i64":"YQ","s64":"AAAA"}] */
		"W3siaSI6ImEiLCJpNjQiOiJZUSIsInM2NCI6IkFBQUEifV0=",
	};

	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		struct macaroon_slice s = MACAROON_SLICE_INIT;
		auto_error struct error err = ERROR_INIT;

		if (macaroon_slice_from_text(bad[k], &s, &err) >= 0)
			print_error("taken: \"%s\"\n", bad[k]);
		assert_int_equal(err.status, 400);
		assert_int_equal(s.n, 0);
	}
}

static void payloads(void **state UNUSED)
{
	struct bakery_key ours, theirs;
	static const char *const want[] = {[2] = PAYLOAD_V2, [3] = PAYLOAD_V3};

	memcpy(ours.secret, run(1, 32), 32);
	memcpy(theirs.secret, run(0x81, 32), 32);
	{
		auto_strbuf struct strbuf b = STRBUF_INIT;

		from_hex("07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c", &b);
		memcpy(ours.public, b.data, 32);
		assert_int_equal(bakery_key_parse("iDGGuAC0HVzwQpaV2ps8xPMo680YSm5IL6V4wQPwbHc=", theirs.public), 0);
		assert_int_equal(bakery_key_parse("iDGGuAC0HVzwQpaV2ps8xPMo680YSm5IL6V4wQPwbHc", theirs.public), 0);
	}
	for (unsigned version = 2; version <= 3; version++) {
		auto_strbuf struct strbuf b = STRBUF_INIT, root = STRBUF_INIT;
		auto_error struct error err = ERROR_INIT;
		auto_free char *condition = NULL;

		bakery_payload_encode(version, &ours, theirs.public, run(0xc0, 24), run(0x20, 24), 24, CONDITION, &b);
		assert_hex(b.data, b.len, want[version]);
		expect_ok(bakery_payload_decode(b.data, b.len, &theirs, &root, &condition, &err), &err);
		assert_string_equal(condition, CONDITION);
		assert_memory_equal(root.data, run(0x20, 24), 24);
		for (size_t k = 0; k < b.len; k++) {
			auto_strbuf struct strbuf none = STRBUF_INIT;
			auto_free char *nothing = NULL;
			auto_error struct error e = ERROR_INIT;

			b.data[k] ^= 1;
			expect_error(bakery_payload_decode(b.data, b.len, &theirs, &none, &nothing, &e), &e, 400,
				     "caveat");
			b.data[k] ^= 1;
			assert_null(nothing);
			expect_error(bakery_payload_decode(b.data, k, &theirs, &none, &nothing, &e), &e, 400, "caveat");
		}
	}
}

static void keys_that_are_none(void **state UNUSED)
{
	unsigned char key[BAKERY_KEY];

	assert_true(bakery_key_parse("", key) < 0);
	assert_true(bakery_key_parse("AAAA", key) < 0);
	assert_true(bakery_key_parse("iDGGuAC0HVzwQpaV2ps8xPMo680YSm5IL6V4wQPwbHc!", key) < 0);
	assert_true(bakery_key_parse("iDGGuAC0HVzwQpaV2ps8xPMo680YSm5IL6V4wQPwbHcAAAA=", key) < 0);
}

static void identifiers(void **state UNUSED)
{
	static const struct {
		const char *hex;
		bool ok;
	} rows[] = {
		{"030a10a0a1a2a3a4a5a6a7a8a9aaabacadaeaf1201301a0e0a056c6f67696e12056c6f67696e", true},
		/* another entity, another action, none at all */
		{"030a10a0a1a2a3a4a5a6a7a8a9aaabacadaeaf1201301a0e0a056c6f67696f12056c6f67696e", false},
		{"030a10a0a1a2a3a4a5a6a7a8a9aaabacadaeaf1201301a0e0a056c6f67696e12056c6f67696f", false},
		{"030a10a0a1a2a3a4a5a6a7a8a9aaabacadaeaf120130", false},
		/* no storage id, cut, another version, nothing */
		{"031a0e0a056c6f67696e12056c6f67696e", false},
		{"030a10a0a1a2a3a4a5a6a7a8a9aaabacadaeaf1201301a0e0a056c6f67696e12056c6f6769", false},
		{"040a10a0a1a2a3a4a5a6a7a8a9aaabacadaeaf1201301a0e0a056c6f67696e12056c6f67696e", false},
		{"03", false},
		{"", false},
	};

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		auto_strbuf struct strbuf id = STRBUF_INIT, storage = STRBUF_INIT;

		from_hex(rows[k].hex, &id);
		assert_int_equal(bakery_id_decode(&id, &storage), rows[k].ok);
		if (rows[k].ok)
			assert_string_equal(strbuf_str(&storage), "0");
	}
}

static void conditions(void **state UNUSED)
{
	static const struct {
		const char *list[4];
		const char *wrong; /* NULL: it holds */
		const char *user;
	} rows[] = {
		{{TIME_BEFORE, "declared username bob"}, NULL, "bob"},
		{{"declared username bob", "declared username bob"}, NULL, "bob"},
		{{"declared username bob", "declared username eve"}, "declared twice", NULL},
		{{"declared username "}, NULL, NULL},
		{{"declared other x"}, NULL, NULL},
		{{NULL}, NULL, NULL},
		{{"time-before 2020-01-01T00:00:00Z"}, "expired", NULL},
		{{"time-before tomorrow"}, "makes no sense", NULL},
		{{"declared username bob", "is-authenticated-user"}, "not known", NULL},
		{{"declared username bob", ""}, "not known", NULL},
		{{"error no"}, "not known", NULL},
		{{"http:origin x"}, "not known", NULL},
		{{"std:declared username bob"}, "not known", NULL},
	};

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		CLEANUP(bakery_facts_done) struct bakery_facts f = BAKERY_FACTS_INIT;
		auto_strv struct strv list = STRV_INIT;
		auto_error struct error err = ERROR_INIT;

		for (size_t c = 0; rows[k].list[c]; c++)
			strv_add(&list, rows[k].list[c]);
		if (rows[k].wrong) {
			expect_error(bakery_check(&list, NOW, &f, &err), &err, 403, rows[k].wrong);
			continue;
		}
		expect_ok(bakery_check(&list, NOW, &f, &err), &err);
		if (rows[k].user)
			assert_string_equal(f.username, rows[k].user);
		else
			assert_null(f.username);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_chain),           cmocka_unit_test(json_form),
		cmocka_unit_test(text_may_hold_zeros), cmocka_unit_test(binary_form),
		cmocka_unit_test(version_1),           cmocka_unit_test(tickets_that_are_wrong),
		cmocka_unit_test(texts_that_are_none), cmocka_unit_test(payloads),
		cmocka_unit_test(keys_that_are_none),  cmocka_unit_test(identifiers),
		cmocka_unit_test(conditions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
