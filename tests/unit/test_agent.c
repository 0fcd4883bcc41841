/* An agent's token against a provider made of the same library's other half; whoever has another key gets none. */
#include "unit.h"

#include "base/jsonw.h"
#include "macaroon/agent.h"
#include "macaroon/macaroon.h"

#define ROOT "root key of the provider"
#define CAVEAT_ROOT "0123456789abcdef01234567"

static const unsigned char nonce[MACAROON_NONCE] = {1, 2, 3};

/* What a provider gives: @with_id the payload is the caveat's id, as in version 2. The caller frees. */
static struct json *login(const struct bakery_key *agent, const char *location, const char *condition, bool with_id)
{
	auto_strbuf struct strbuf payload = STRBUF_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_macaroon struct macaroon m = MACAROON_INIT;
	auto_free char *coded = NULL;
	auto_error struct error err = ERROR_INIT;
	struct jsonw w = JSONW(&text);
	struct json *ret = NULL;
	struct bakery_key provider;

	bakery_key_generate(&provider);
	bakery_payload_encode(with_id ? 2 : 3, &provider, agent->public, nonce, CAVEAT_ROOT, strlen(CAVEAT_ROOT),
			      condition, &payload);
	macaroon_new(&m, ROOT, strlen(ROOT), "id", 2, NULL);
	macaroon_add_condition(&m, "time-before 2030-01-01T00:00:00Z");
	if (with_id)
		macaroon_add_third_party(&m, CAVEAT_ROOT, strlen(CAVEAT_ROOT), payload.data, payload.len, location,
					 nonce);
	else
		macaroon_add_third_party(&m, CAVEAT_ROOT, strlen(CAVEAT_ROOT), "\3", 2, location, nonce);
	coded = base64_url_encode(payload.data, payload.len);
	if (with_id) {
		macaroon_to_json(&m, &w);
	} else {
		jsonw_object_begin(&w);
		jsonw_key(&w, "m");
		macaroon_to_json(&m, &w);
		jsonw_kv_uint(&w, "v", 3);
		jsonw_key(&w, "cdata");
		jsonw_object_begin(&w);
		jsonw_kv_str(&w, "AwA", coded);
		jsonw_object_end(&w);
		jsonw_object_end(&w);
	}
	expect_ok(json_parse_bytes(strbuf_str(&text), text.len, &ret, &err), &err);
	return ret;
}

static void verifies(const struct strbuf *token)
{
	auto_macaroon_slice struct macaroon_slice s = MACAROON_SLICE_INIT;
	auto_strv struct strv conditions = STRV_INIT;
	auto_error struct error err = ERROR_INIT;
	size_t at = 0;

	while (at < token->len) {
		struct macaroon m = MACAROON_INIT;
		size_t used = 0;

		expect_ok(macaroon_from_binary(token->data + at, token->len - at, &m, &used, &err), &err);
		macaroon_slice_take(&s, &m);
		at += used;
	}
	assert_int_equal(s.n, 2);
	expect_ok(macaroon_verify(&s, ROOT, strlen(ROOT), &conditions, &err), &err);
	assert_int_equal(conditions.len, 1);
}

static void the_provider_accepts_it(void **state UNUSED)
{
	struct bakery_key key;

	bakery_key_generate(&key);
	for (int with_id = 0; with_id < 2; with_id++) {
		auto_json struct json *j = login(&key, "local", "true", with_id);
		auto_strbuf struct strbuf token = STRBUF_INIT;
		auto_error struct error err = ERROR_INIT;

		expect_ok(agent_token(j, &key, &token, &err), &err);
		verifies(&token);
	}
}

static void refusals(void **state UNUSED)
{
	static const struct {
		const char *location, *condition, *message;
		bool other_key;
		int status;
	} rows[] = {
		{"local", "true", "Invalid third-party caveat", true, 400},
		{"https://elsewhere.example", "true", "another party", false, 403},
		{"local", "false", "unknown condition", false, 403},
		{"local", "true x", "unknown condition", false, 403},
		{"local", "", "unknown condition", false, 403},
	};
	struct bakery_key key, other;

	bakery_key_generate(&key);
	bakery_key_generate(&other);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_json struct json *j = login(&key, rows[i].location, rows[i].condition, false);
		auto_strbuf struct strbuf token = STRBUF_INIT;
		auto_error struct error err = ERROR_INIT;

		expect_error(agent_token(j, rows[i].other_key ? &other : &key, &token, &err), &err, rows[i].status,
			     rows[i].message);
		assert_int_equal(token.len, 0);
	}
}

static void malformed(void **state UNUSED)
{
	static const char *const bad[] = {"null", "[]", "{}", "{\"m\":{}}", "{\"m\":\"x\"}", "\"x\""};
	struct bakery_key key;

	bakery_key_generate(&key);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_json struct json *j = NULL;
		auto_strbuf struct strbuf token = STRBUF_INIT;
		auto_error struct error err = ERROR_INIT;

		expect_ok(json_parse(bad[i], strlen(bad[i]), &j, &err), &err);
		expect_error(agent_token(j, &key, &token, &err), &err, 400, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_provider_accepts_it),
		cmocka_unit_test(refusals),
		cmocka_unit_test(malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
