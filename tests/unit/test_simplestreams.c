/* What image servers of the simplestreams kind list: images found, damaged items left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "http/simplestreams.h"

#include <fcntl.h>

static char *seed(const char *name)
{
	auto_free char *path = xasprintf("%s/%s", SEEDS, name);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;

	assert_return_code(file_read_at(AT_FDCWD, path, 1 << 20, &b, &err), 0);
	return strbuf_take(&b);
}

static void load(const char *text, struct streams_list *ret)
{
	auto_error struct error err = ERROR_INIT;

	if (streams_parse_products(text, strlen(text), ret, &err) < 0)
		fail_msg("%s", error_msg(&err));
}

static void index_lists_product_files(void **state)
{
	auto_free char *text = seed("index");
	auto_strv struct strv paths = STRV_INIT;
	auto_error struct error err = ERROR_INIT;

	(void)state;
	assert_return_code(streams_parse_index(text, strlen(text), &paths, &err), 0);
	assert_int_equal(paths.len, 1);
	assert_string_equal(paths.items[0], "streams/v1/images.json");
}

static void products_give_images(void **state)
{
	auto_free char *text = seed("products");
	auto_streams_list struct streams_list l = STREAMS_LIST_INIT;
	const struct streams_image *img;

	(void)state;
	load(text, &l);
	/* 2023: squashfs, tar, disk; 2024: squashfs, and the unified one */
	assert_int_equal(l.len, 5);
	assert_string_equal(l.items[0]->properties.items[0].key, "architecture");
	assert_string_equal(strmap_get(&l.items[0]->properties, "serial"), "20240202");
	assert_null(l.items[0]->root.path);
	img = streams_find(&l, "ubuntu/focal", "x86_64", NULL);
	assert_non_null(img);
	assert_string_equal(strmap_get(&img->properties, "serial"), "20240101_07:42");
	assert_string_equal(strmap_get(&img->properties, "description"), "Ubuntu Focal Fossa amd64 (20240101_07:42)");
	assert_string_equal(strmap_get(&img->properties, "requirements.secureboot"), "false");
	assert_string_equal(img->architecture, "x86_64");
	assert_int_equal(streams_image_size(img), 1100);
	assert_true(img->squashfs);
	assert_int_equal(img->expires_ns, 1903132800000000000ll);
}

static void finding_by_alias_type_and_fingerprint(void **state)
{
	auto_free char *text = seed("products");
	auto_streams_list struct streams_list l = STREAMS_LIST_INIT;

	(void)state;
	load(text, &l);
	assert_non_null(streams_find(&l, "focal", "x86_64", ""));
	assert_non_null(streams_find(&l, "focal/amd64", "aarch64", NULL));
	assert_null(streams_find(&l, "focal", "aarch64", NULL));
	assert_non_null(streams_find(&l, "box", "aarch64", NULL));
	assert_null(streams_find(&l, "box", "x86_64", NULL));
	assert_non_null(streams_find(&l, "box/arm64", "x86_64", NULL));
	assert_string_equal(streams_find(&l, "focal", "x86_64", "virtual-machine")->type, "virtual-machine");
	assert_non_null(streams_find(&l, "333", "x86_64", NULL));
	assert_null(streams_find(&l, "33", "x86_64", NULL)); /* two begin so */
	assert_null(streams_find(&l, "", "x86_64", NULL));
	assert_null(streams_find(&l, "zz", "x86_64", NULL));
}

static void tar_takes_the_older_member(void **state)
{
	auto_free char *text = seed("products");
	auto_streams_list struct streams_list l = STREAMS_LIST_INIT;

	(void)state;
	load(text, &l);
	assert_string_equal(strmap_get(&streams_find(&l, "2222", "x86_64", NULL)->properties, "type"), "root.tar.xz");
}

/* An image whose metadata path is @path; how many are left. */
static size_t images_with_path(const char *path)
{
	auto_free char *text = xasprintf(
		"{\"products\":{\"a\":{\"arch\":\"amd64\",\"aliases\":\"a\",\"versions\":{\"20240101\":{"
		"\"items\":{\"x\":{\"ftype\":\"lxd_combined.tar.gz\",\"size\":1,\"path\":\"%s\",\"sha256\":"
		"\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"}}}}}}}",
		path);
	auto_streams_list struct streams_list l = STREAMS_LIST_INIT;

	load(text, &l);
	return l.len;
}

static void paths_stay_below_the_server(void **state)
{
	static const char *const bad[] = {"",   "/etc/passwd", "../x", "a/../b", "a/..",    "./a",    "a//b",
					  "a/", "https://x/y", "a?b",  "a#b",    "a%2e%2e", "a\\\\b", "a\\nb"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (images_with_path(bad[i]) != 0)
			fail_msg("path \"%s\" was taken", bad[i]);
	assert_int_equal(images_with_path("a/b:c d/..e"), 1);
}

static void damaged_items_are_left_out(void **state)
{
	static const char *const texts[] = {
		"{\"products\":{}}",
		"{\"products\":{\"a\":null,\"b\":1,\"c\":{\"arch\":\"vax\",\"versions\":{}}}}",
		"{\"products\":{\"a\":{\"arch\":\"amd64\",\"versions\":{\"2024\":{\"items\":{}}}}}}",
		"{\"products\":{\"a\":{\"arch\":\"amd64\",\"versions\":{\"20241301\":{\"items\":{}}}}}}",
		("{\"products\":{\"a\":{\"arch\":\"amd64\",\"versions\":{\"20240101\":{\"items\":{\"x\":{\"ftype\":"
		 "\"lxd.tar.xz\"}}}}}}}"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		auto_streams_list struct streams_list l = STREAMS_LIST_INIT;

		load(texts[i], &l);
		assert_int_equal(l.len, 0);
	}
}

static void what_is_no_list_is_an_error(void **state)
{
	static const char *const texts[] = {"", "[]", "{}", "{\"products\":[]}", "{\"index\":3}", "<html>"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		auto_streams_list struct streams_list l = STREAMS_LIST_INIT;
		auto_strv struct strv paths = STRV_INIT;
		auto_error struct error a = ERROR_INIT, b = ERROR_INIT;

		assert_true(streams_parse_products(texts[i], strlen(texts[i]), &l, &a) < 0);
		assert_true(streams_parse_index(texts[i], strlen(texts[i]), &paths, &b) < 0);
		assert_int_equal(a.status, 400);
	}
}

/* A product with @versions versions, and @os and @aliases that each of its images would hold. */
static char *product(const char *os, const char *aliases, unsigned versions)
{
	static const char hash[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	auto_strbuf struct strbuf b = STRBUF_INIT;

	strbuf_appendf(&b, "{\"products\":{\"p\":{\"arch\":\"amd64\",\"os\":\"%s\",\"aliases\":\"%s\",\"versions\":{",
		       os, aliases);
	for (unsigned i = 0; i < versions; i++)
		strbuf_appendf(
			&b,
			"%s\"20240101_%u\":{\"items\":{\"a\":{\"ftype\":\"lxd_combined.tar.gz\",\"path\":\"x/y\","
			"\"size\":1,\"sha256\":\"%s\"}}}",
			i ? "," : "", i, hash);
	strbuf_append(&b, "}}}}");
	return strbuf_take(&b);
}

static char *repeat(const char *text, size_t n)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	while (n--)
		strbuf_append(&b, text);
	return strbuf_take(&b);
}

static void small_files_stay_small(void **state)
{
	auto_free char *kilo = repeat("a", 1000), *mega = repeat("a", 1 << 20), *names = repeat("n,", 40);
	auto_strbuf struct strbuf many = STRBUF_INIT;
	auto_free char *fine = product(kilo, names, 10), *longer = product(mega, mega, 100);
	auto_free char *more = product("a", "a", STREAMS_IMAGES_MAX + 1);
	auto_streams_list struct streams_list a = STREAMS_LIST_INIT, b = STREAMS_LIST_INIT, c = STREAMS_LIST_INIT,
					      d = STREAMS_LIST_INIT;
	auto_error struct error e1 = ERROR_INIT, e2 = ERROR_INIT;
	auto_free char *large = NULL;

	(void)state;
	load(fine, &a);
	assert_int_equal(a.len, 10);
	assert_string_equal(strmap_get(&a.items[0]->properties, "os"), kilo);
	/* strings that are too long are left out, not copied a hundred times */
	load(longer, &b);
	assert_int_equal(b.len, 100);
	assert_null(strmap_get(&b.items[0]->properties, "os"));
	assert_int_equal(b.items[0]->aliases.len, 0);
	assert_true(b.bytes < 1 << 20);
	assert_true(streams_parse_products(more, strlen(more), &c, &e1) < 0);
	assert_non_null(strstr(error_msg(&e1), "list is too long"));
	/* 64 names of 150 bytes in each: 20000 of them are too many bytes */
	for (unsigned i = 0; i < 90; i++)
		strbuf_appendf(&many, "%s%0150u", i ? "," : "", i);
	large = product(kilo, many.data, STREAMS_IMAGES_MAX);
	assert_true(streams_parse_products(large, strlen(large), &d, &e2) < 0);
	assert_int_equal(d.items[0]->aliases.len, STREAMS_NAMES_MAX);
	assert_true(d.len < STREAMS_IMAGES_MAX);
}

static void urls_are_escaped(void **state)
{
	auto_free char *a = streams_url_path("/base/", "a b/20240101_07:42/ü.tar");
	auto_free char *b = streams_url_path("", "x");

	(void)state;
	assert_string_equal(a, "/base/a%20b/20240101_07:42/%C3%BC.tar");
	assert_string_equal(b, "/x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(index_lists_product_files),
		cmocka_unit_test(products_give_images),
		cmocka_unit_test(finding_by_alias_type_and_fingerprint),
		cmocka_unit_test(tar_takes_the_older_member),
		cmocka_unit_test(paths_stay_below_the_server),
		cmocka_unit_test(damaged_items_are_left_out),
		cmocka_unit_test(what_is_no_list_is_an_error),
		cmocka_unit_test(small_files_stay_small),
		cmocka_unit_test(urls_are_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
