/* Digests against published values, base64 both ways, identifiers. */
#include "unit.h"

#include "base/crypto.h"

static void digests(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char whole[SHA256_HEX + 1], parts[SHA256_HEX + 1];
		struct sha256 h;

		sha256_hex(rows[i][0], strlen(rows[i][0]), whole);
		assert_string_equal(whole, rows[i][1]);
		sha256_init(&h);
		for (const char *p = rows[i][0]; *p; p++)
			sha256_update(&h, p, 1);
		sha256_final_hex(&h, parts);
		assert_string_equal(parts, rows[i][1]);
	}
}

static void base64(void **state UNUSED)
{
	static const char *const bad[] = {"Zg", "Z", "Zm9v!", "====", "Zg==Zg=="};
	auto_strbuf struct strbuf out = STRBUF_INIT;

	for (size_t n = 0; n < 70; n++) {
		unsigned char raw[70];
		auto_free char *text = NULL;

		random_bytes(raw, n);
		text = base64_encode(raw, n);
		strbuf_truncate(&out, 0);
		assert_int_equal(base64_decode(text, &out), 0);
		assert_int_equal(out.len, n);
		assert_memory_equal(out.data, raw, n);
	}
	strbuf_truncate(&out, 0);
	assert_int_equal(base64_decode(" Zm9v\r\nYmFy ", &out), 0);
	assert_string_equal(strbuf_str(&out), "foobar");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(base64_decode(bad[i], &out), -EINVAL);
		assert_string_equal(strbuf_str(&out), "foobar"); /* what was there stays */
	}
}

static void identifiers(void **state UNUSED)
{
	auto_free char *a = uuid_new();
	auto_free char *b = uuid_new();
	auto_free char *hex = random_hex(16);

	assert_true(uuid_is_valid(a) && uuid_is_valid(b) && !streq(a, b));
	assert_true(a[14] == '4' && strchr("89ab", a[19]));
	assert_false(uuid_is_valid("") || uuid_is_valid("00000000-0000-0000-0000-00000000000") ||
		     uuid_is_valid("00000000-0000-0000-0000-00000000000G") ||
		     uuid_is_valid("00000000_0000-0000-0000-000000000000"));
	assert_int_equal(strlen(hex), 32);
	assert_int_equal(strspn(hex, "0123456789abcdef"), 32);
	for (int i = 0; i < 1000; i++)
		assert_true(random_below(7) < 7);
}

static void secrets(void **state UNUSED)
{
	assert_true(secret_equal("", "") && secret_equal("abc", "abc"));
	assert_false(secret_equal("abc", "abd") || secret_equal("abc", "ab") || secret_equal("", "a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(digests), cmocka_unit_test(base64),
					   cmocka_unit_test(identifiers), cmocka_unit_test(secrets)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
