/* Names of archive members and the caps of a tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "unpack/member.h"
#include "unpack/tree.h"

static void clean_normalises(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"a", "a"},     {"./", ""},         {".", ""},      {"./a//b/./c/", "a/b/c"},
		{"...", "..."}, {"a/..b", "a/..b"}, {"a b", "a b"}, {"-rf", "-rf"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_free char *path = NULL;

		assert_int_equal(member_path_clean(rows[i][0], "Member", &path, &err), 0);
		assert_string_equal(path, rows[i][1]);
	}
}

static void clean_refuses(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"", "no usable name"}, {"/", "absolute"},  {"/etc/passwd", "absolute"}, {"//x", "absolute"},
		{"..", "\"..\""},       {"a/..", "\"..\""}, {"./../a", "\"..\""},        {"a//../b", "\"..\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_free char *path = NULL;

		assert_int_equal(member_path_clean(rows[i][0], "Member", &path, &err), -EINVAL);
		assert_int_equal(err.status, 400);
		assert_non_null(strstr(err.msg, rows[i][1]));
		assert_null(path);
	}
}

static void clean_keeps_the_limits(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf deep = STRBUF_INIT;
	auto_free char *path = NULL;
	char name[MEMBER_NAME_MAX + 2];

	memset(name, 'n', sizeof(name));
	name[MEMBER_NAME_MAX] = '\0';
	assert_int_equal(member_path_clean(name, "Member", &path, &err), 0);
	name[MEMBER_NAME_MAX] = 'n';
	name[MEMBER_NAME_MAX + 1] = '\0';
	for (int i = 0; i < MEMBER_DEPTH_MAX + 1; i++)
		strbuf_append(&deep, "d/");
	assert_int_equal(member_path_clean(deep.data, "Member", &path, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "too deep"));
	while (deep.len <= MEMBER_PATH_MAX)
		strbuf_append(&deep, "./");
	assert_int_equal(member_path_clean(deep.data, "Member", &path, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "too long"));
}

static void area_by_first_component(void **state UNUSED)
{
	static const struct {
		const char *path;
		bool unified;
		enum member_area area;
		const char *rest;
	} rows[] = {
		{"metadata.yaml", true, MEMBER_METADATA, ""},
		{"metadata.yaml2", true, MEMBER_IGNORED, "metadata.yaml2"},
		{"rootfs", true, MEMBER_ROOTFS, ""},
		{"rootfs/a/b", true, MEMBER_ROOTFS, "a/b"},
		{"rootfs/a", false, MEMBER_IGNORED, "rootfs/a"},
		{"rootfs2/a", true, MEMBER_IGNORED, "rootfs2/a"},
		{"templates/x", false, MEMBER_TEMPLATES, "x"},
		{"x/rootfs/a", true, MEMBER_IGNORED, "x/rootfs/a"},
		{"", true, MEMBER_IGNORED, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *rest;

		assert_int_equal(member_path_area(rows[i].path, rows[i].unified, &rest), rows[i].area);
		assert_string_equal(rest, rows[i].rest);
	}
}

static void escape_hides_control_characters(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"plain", "plain"},       {"a\nb", "a\\x0ab"},        {"\x1b[2J", "\\x1b[2J"},
		{"\xc3\xa9", "\xc3\xa9"}, {"\xff\xc3", "\\xff\\xc3"}, {"\xc2\x9b", "\\xc2\\x9b"},
		{"\"", "\\x22"},          {"\xed", "\\xed"},
	};
	auto_free char *cut = NULL;
	char text[1000];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_free char *shown = member_escape(rows[i][0]);

		assert_string_equal(shown, rows[i][1]);
	}
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	cut = member_escape(text);
	assert_in_range(strlen(cut), 200, 210);
}

static void ids_in_range(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;

	assert_int_equal(member_check_id("x", 0, &err), 0);
	assert_int_equal(member_check_id("x", 4294967294, &err), 0);
	assert_int_equal(member_check_id("x", 4294967295, &err), -EINVAL);
	assert_int_equal(member_check_id("x", -1, &err), -EINVAL);
}

static void counts_stop_at_the_cap(void **state UNUSED)
{
	struct tree_counts c = {.max_bytes = 100, .max_members = 1};
	auto_error struct error err = ERROR_INIT;

	assert_int_equal(tree_count_bytes(&c, "x", 60, &err), 0);
	assert_int_equal(tree_count_bytes(&c, "x", 41, &err), -EFBIG);
	assert_int_equal(tree_count_bytes(&c, "x", UINT64_MAX, &err), -EFBIG);
	assert_int_equal(tree_count_bytes(&c, "x", 40, &err), 0);
	assert_int_equal(tree_count_member(&c, &err), 0);
	assert_int_equal(tree_count_member(&c, &err), -EFBIG);
	assert_int_equal(err.status, 413);
}

static void xattrs_of_foreign_classes_are_dropped(void **state UNUSED)
{
	static const char *const dropped[] = {"trusted.overlay.opaque",
					      "security.selinux",
					      "security.ima",
					      "system.nfs4_acl",
					      "useless.x",
					      "security.capabilityx",
					      ""};
	struct tree_xattrs x = TREE_XATTRS_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
		tree_xattrs_add(&x, dropped[i], "v", 1);
	assert_int_equal(x.len, 0);
	tree_xattrs_add(&x, "user.a", "v", 1);
	tree_xattrs_add(&x, "user.empty", NULL, 0);
	tree_xattrs_add(&x, "security.capability", "v", 1);
	tree_xattrs_add(&x, "system.posix_acl_default", "v", 1);
	assert_int_equal(x.len, 4);
	tree_xattrs_done(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean_normalises),
		cmocka_unit_test(clean_refuses),
		cmocka_unit_test(clean_keeps_the_limits),
		cmocka_unit_test(area_by_first_component),
		cmocka_unit_test(escape_hides_control_characters),
		cmocka_unit_test(ids_in_range),
		cmocka_unit_test(counts_stop_at_the_cap),
		cmocka_unit_test(xattrs_of_foreign_classes_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
