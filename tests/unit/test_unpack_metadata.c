/* metadata.yaml to JSON, and the jail's answer decoded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "base/wire_unpack.h"
#include "image/unpack_reply.h"
#include "unpack/metadata.h"

#define HEAD "architecture: amd64\ncreation_date: 17\n"
#define JSON(props, templates)                                                                      \
	"{\"architecture\":\"x86_64\",\"creation_date\":17,\"expiry_date\":0,\"properties\":" props \
	",\"templates\":" templates "}"

static void yaml_to_json(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{HEAD, JSON("{}", "{}")},
		{HEAD "properties: ~\ntemplates:\n", JSON("{}", "{}")},
		{HEAD "properties: {b: 1.10, a: true, c: ~, d: \"x\\ty\"}",
		 JSON("{\"a\":\"true\",\"b\":\"1.10\",\"c\":\"\",\"d\":\"x\\ty\"}", "{}")},
		{HEAD "unknown: {deep: [1, {x: y}]}\nproperties: {a: 1, a: 2}", JSON("{\"a\":\"2\"}", "{}")},
		{HEAD "a: &anchor x\n", JSON("{}", "{}")},
		{"architecture: x86_64\ncreation_date: 1_7\n", JSON("{}", "{}")},
		{"architecture: x86_64\ncreation_date: 17.9\n", JSON("{}", "{}")},
		{"architecture: x86_64\ncreation_date: 0x11\n---\nsecond: document\n", JSON("{}", "{}")},
		{HEAD "templates:\n  /a:\n    when: [start]\n    create_only: yes\n    template: a.tpl\n  /b:\n",
		 JSON("{}",
		      "{\"/a\":{\"when\":[\"start\"],\"create_only\":true,\"template\":\"a.tpl\",\"properties\":{}},"
		      "\"/b\":{\"when\":[],\"create_only\":false,\"template\":\"\",\"properties\":{}}}")},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_free char *json = NULL;

		if (metadata_yaml_to_json(rows[i][0], strlen(rows[i][0]), &json, &err) < 0)
			fail_msg("%s: %s", rows[i][0], err.msg);
		assert_string_equal(json, rows[i][1]);
	}
}

static void yaml_is_refused(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"", "Architecture isn't supported: "},
		{"architecture: pdp11\ncreation_date: 1", "Architecture isn't supported: pdp11"},
		{"architecture: [x86_64]\ncreation_date: 1", "architecture must be a string, not a list"},
		{"architecture: x86_64", "Missing creation date"},
		{"architecture: x86_64\ncreation_date: 0", "Missing creation date"},
		{"architecture: x86_64\ncreation_date: -5", "Missing creation date"},
		{"architecture: x86_64\ncreation_date: \"17\"", "creation_date must be an integer, not \"17\""},
		{"architecture: x86_64\ncreation_date: soon", "creation_date must be an integer, not \"soon\""},
		{"architecture: x86_64\ncreation_date: 99999999999999999999", "must be an integer"},
		{"- a", "the document must be a map, not a list"},
		{"text", "the document must be a map, not \"text\""},
		{HEAD "properties: [a]", "properties must be a map, not a list"},
		{HEAD "properties: {a: [b]}", "properties.a must be a string, not a list"},
		{HEAD "properties: {[a]: b}", "a map with text as keys"},
		{HEAD "templates: {/a: text}", "templates./a must be a map"},
		{HEAD "templates: {/a: {create_only: maybe}}", "must be a boolean"},
		{HEAD "templates: {/a: {when: start}}", "must be a list"},
		{HEAD "templates: {/a: {template: ../x}}", "bad template file name \"../x\""},
		{HEAD "templates: {/a/../../b: {template: x}}", "must not contain \"..\""},
		{HEAD "a: &x [1]\nb: *x", "line 4: aliases are not supported"},
		{HEAD "a: [", "Could not parse metadata.yaml: line"},
		{HEAD "a: \"\\0\"", "NUL"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_free char *json = NULL;

		assert_int_equal(metadata_yaml_to_json(rows[i][0], strlen(rows[i][0]), &json, &err), -EINVAL);
		assert_int_equal(err.status, 400);
		if (!strstr(err.msg, rows[i][1]))
			fail_msg("%s: got \"%s\", want \"%s\"", rows[i][0], err.msg, rows[i][1]);
		assert_null(json);
	}
}

static void yaml_limits(void **state UNUSED)
{
	auto_strbuf struct strbuf deep = STRBUF_INIT, many = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_free char *json = NULL;

	strbuf_append(&deep, HEAD "a: ");
	for (int i = 0; i < 200000; i++)
		strbuf_append_char(&deep, '[');
	assert_int_equal(metadata_yaml_to_json(deep.data, deep.len, &json, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "nested"));
	strbuf_append(&many, HEAD "a: [");
	for (int i = 0; i < 60000; i++)
		strbuf_append(&many, "x,");
	strbuf_append(&many, "]");
	assert_int_equal(metadata_yaml_to_json(many.data, many.len, &json, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "many values"));
	while (many.len <= METADATA_SIZE_MAX)
		strbuf_append(&many, "# filling\n");
	assert_int_equal(metadata_yaml_to_json(many.data, many.len, &json, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "larger than"));
}

static void architectures(void **state UNUSED)
{
	assert_string_equal(metadata_architecture("arm64"), "aarch64");
	assert_string_equal(metadata_architecture("riscv64"), "riscv64");
	assert_null(metadata_architecture(""));
	assert_null(metadata_architecture("X86_64"));
}

/* An answer of @reply and @text, in memory of exactly its size so that a sanitizer sees a read beyond it. */
static int decode(struct wire_unpack_reply reply, const char *text, size_t cut, struct image_unpack_result *res,
		  struct error *err)
{
	size_t len = sizeof(reply) + strlen(text) - cut;
	auto_free char *data = xmalloc(sizeof(reply) + strlen(text));
	auto_free char *exact = NULL;

	memcpy(data, &reply, sizeof(reply));
	memcpy(data + sizeof(reply), text, strlen(text));
	exact = xmemdup(data, len);
	return image_unpack_reply_decode(exact, len, reply.rootfs_format != WIRE_FORMAT_NONE, res, err);
}

static struct wire_unpack_reply good_reply(const char *text)
{
	return (struct wire_unpack_reply){.magic = WIRE_UNPACK_MAGIC,
					  .text_len = (uint32_t)strlen(text),
					  .meta_format = WIRE_FORMAT_XZ,
					  .members = 3,
					  .bytes = 4,
					  .skipped_nodes = 5};
}

static void reply_is_decoded(void **state UNUSED)
{
	auto_image_unpack_result struct image_unpack_result res = IMAGE_UNPACK_RESULT_INIT;
	auto_error struct error err = ERROR_INIT;
	const char *text = JSON("{\"os\":\"x\"}", "{}");
	struct wire_unpack_reply reply = good_reply(text);

	assert_int_equal(decode(reply, text, 0, &res, &err), 0);
	assert_string_equal(res.metadata_json, text);
	assert_string_equal(res.meta_ext, ".tar.xz");
	assert_null(res.rootfs_ext);
	assert_int_equal(res.members, 3);
	assert_int_equal(res.skipped_nodes, 5);
	image_unpack_result_done(&res);
	reply.rootfs_format = WIRE_FORMAT_SQUASHFS;
	assert_int_equal(decode(reply, text, 0, &res, &err), 0);
	assert_string_equal(res.rootfs_ext, ".squashfs");
}

static void reply_of_a_taken_over_jail_is_refused(void **state UNUSED)
{
	static const char *const texts[] = {"",
					    "{",
					    "[]",
					    "{}",
					    JSON("[]", "{}"),
					    JSON("{}", "[]"),
					    JSON("{}", "{\"/a\":1}"),
					    JSON("{\"a\":1}", "{}")};
	const char *good = JSON("{}", "{}");
	struct image_unpack_result res = IMAGE_UNPACK_RESULT_INIT;
	auto_error struct error err = ERROR_INIT;
	struct wire_unpack_reply reply;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_true(decode(good_reply(texts[i]), texts[i], 0, &res, &err) < 0);
		assert_int_equal(err.status, 500);
	}
	for (size_t cut = 1; cut < sizeof(reply) + strlen(good); cut++)
		assert_true(decode(good_reply(good), good, cut, &res, &err) < 0);
	reply = good_reply(good);
	reply.text_len = UINT32_MAX;
	assert_true(decode(reply, good, 0, &res, &err) < 0);
	reply = good_reply(good);
	reply.meta_format = 77;
	assert_true(decode(reply, good, 0, &res, &err) < 0);
	reply = good_reply(good);
	reply.rootfs_format = WIRE_FORMAT_MAX;
	assert_true(decode(reply, good, 0, &res, &err) < 0);
	assert_null(res.metadata_json);
}

static void reply_error_keeps_status_and_text(void **state UNUSED)
{
	struct image_unpack_result res = IMAGE_UNPACK_RESULT_INIT;
	auto_error struct error err = ERROR_INIT;
	struct wire_unpack_reply reply = good_reply("bad \x1b member");

	reply.status = 413;
	assert_int_equal(decode(reply, "bad \x1b member", 0, &res, &err), -EFBIG);
	assert_string_equal(err.msg, "bad ? member");
	reply.status = 200;
	assert_true(decode(reply, "bad \x1b member", 0, &res, &err) < 0);
	assert_int_equal(err.status, 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(yaml_to_json),
		cmocka_unit_test(yaml_is_refused),
		cmocka_unit_test(yaml_limits),
		cmocka_unit_test(architectures),
		cmocka_unit_test(reply_is_decoded),
		cmocka_unit_test(reply_of_a_taken_over_jail_is_refused),
		cmocka_unit_test(reply_error_keeps_status_and_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
