/* Id maps: text and back, where the host's ids come from, ranges that never overlap, raw.idmap. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/strbuf.h"
#include "config/idmap_alloc.h"

#define FIRST 100000u
#define COUNT 1000000u
#define FULL_MAP "         0          0 4294967295\n"

static void host_map(struct idmap *m)
{
	idmap_add(m, (struct idmap_entry){.is_uid = true, .host = FIRST, .count = COUNT});
	idmap_add(m, (struct idmap_entry){.is_gid = true, .host = FIRST, .count = COUNT});
}

static void json_round_trip(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_idmap struct idmap m = IDMAP_INIT;
	auto_idmap struct idmap again = IDMAP_INIT;
	auto_free char *empty = idmap_to_json(&m);
	auto_free char *text = NULL;

	assert_string_equal(empty, "[]");
	idmap_add(&m, (struct idmap_entry){.is_uid = true, .host = 100000, .count = 65536});
	text = idmap_to_json(&m);
	assert_string_equal(text, "[{\"Isuid\":true,\"Isgid\":false,\"Hostid\":100000,\"Nsid\":0,\"Maprange\":65536}]");
	for (int i = 0; i < 200; i++) {
		auto_free char *json = NULL;

		idmap_add(&m, (struct idmap_entry){.is_uid = random_below(2),
						   .is_gid = true,
						   .host = random_below(1u << 31),
						   .ns = random_below(1u << 31),
						   .count = 1 + random_below(1u << 30)});
		json = idmap_to_json(&m);
		expect_ok(idmap_from_json(json, &again, &err), &err);
		assert_true(idmap_equal(&m, &again));
	}
	expect_ok(idmap_from_json("[]", &again, &err), &err);
	assert_int_equal(again.len, 0);
}

static void bad_json(void **state UNUSED)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[1]",
		"[{}]",
		"[{\"Isuid\":true,\"Hostid\":-1,\"Nsid\":0,\"Maprange\":1}]",
		"[{\"Isuid\":true,\"Hostid\":0,\"Nsid\":0,\"Maprange\":0}]",
		"[{\"Isuid\":false,\"Isgid\":false,\"Hostid\":0,\"Nsid\":0,\"Maprange\":1}]",
		"[{\"Isuid\":true,\"Hostid\":4294967295,\"Nsid\":0,\"Maprange\":10}]",
		"[{\"Isuid\":true,\"Hostid\":0,\"Nsid\":4294967290,\"Maprange\":10}]",
		"[{\"Isuid\":true,\"Hostid\":\"0\",\"Nsid\":0,\"Maprange\":1}]",
		"[{\"Isuid\":true,\"Hostid\":4294967296,\"Nsid\":0,\"Maprange\":1}]",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_idmap struct idmap m = IDMAP_INIT;

		expect_error(idmap_from_json(bad[i], &m, &err), &err, 400, "Invalid");
		assert_int_equal(m.len, 0);
	}
}

static void translation(void **state UNUSED)
{
	auto_idmap struct idmap m = IDMAP_INIT;

	assert_true(idmap_uid_to_host(&m, 5) == 5 && idmap_gid_from_host(&m, 7) == 7); /* privileged */
	idmap_add(&m, (struct idmap_entry){.is_uid = true, .host = 1000, .ns = 10, .count = 5});
	idmap_add(&m, (struct idmap_entry){.is_gid = true, .host = 2000, .ns = 0, .count = UINT32_MAX - 2000});
	assert_true(idmap_uid_to_host(&m, 10) == 1000 && idmap_uid_to_host(&m, 14) == 1004);
	assert_true(idmap_uid_to_host(&m, 9) == -1 && idmap_uid_to_host(&m, 15) == -1);
	assert_true(idmap_uid_from_host(&m, 1004) == 14 && idmap_uid_from_host(&m, 2000) == -1);
	assert_true(idmap_gid_to_host(&m, 3) == 2003 && idmap_gid_from_host(&m, 1999) == -1);
	assert_true(idmap_gid_to_host(&m, UINT32_MAX - 2001) == UINT32_MAX - 1ll);
}

/* A file with @text; NULL: one that is not there. Removed by the caller. */
static char *made_file(const char *text)
{
	char *path = xstrdup("/tmp/test_idmap.XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	if (!text)
		unlink(path);
	else
		assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	return path;
}

struct host_case {
	const char *subuid, *subgid, *uid_map, *gid_map;
	uint32_t uid, uid_count, gid, gid_count; /* uid_count 0: an error */
};

static void check_host(const struct host_case *c)
{
	auto_error struct error err = ERROR_INIT;
	auto_idmap struct idmap m = IDMAP_INIT;
	char *paths[] = {made_file(c->subuid), made_file(c->subgid), made_file(c->uid_map), made_file(c->gid_map)};
	int r = idmap_host_range_from(paths[0], paths[1], paths[2], paths[3], &m, &err);

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		unlink(paths[i]);
		free(paths[i]);
	}
	if (!c->uid_count) {
		assert_int_equal(r, -ENOENT);
		assert_string_equal(error_msg(&err), "LXD doesn't have a uid/gid allocation. In this mode, only "
						     "privileged containers are supported");
		return;
	}
	expect_ok(r, &err);
	assert_int_equal(m.len, 2);
	assert_true(m.entries[0].is_uid && !m.entries[0].is_gid && m.entries[1].is_gid && !m.entries[1].is_uid);
	assert_true(m.entries[0].host == c->uid && m.entries[0].count == c->uid_count);
	assert_true(m.entries[1].host == c->gid && m.entries[1].count == c->gid_count);
	assert_true(m.entries[0].ns == 0 && m.entries[1].ns == 0);
}

static void host_ranges(void **state UNUSED)
{
	static const struct host_case cases[] = {
		{"root:100000:65536\n", "root:200000:70000\n", FULL_MAP, FULL_MAP, 100000, 65536, 200000, 70000},
		/* comments, other users, too small, malformed; by number */
		{"# root:1:65536\n_lxd:1:99999999\nroot:5:65535\nroot:x:65536\nroot:9:65536:1\n 0:300000:65536 # "
		 "mine\n",
		 "root:100000:65536", FULL_MAP, FULL_MAP, 300000, 65536, 100000, 65536},
		/* one of the two is not enough */
		{"root:100000:65536\n", "other:100000:65536\n", FULL_MAP, FULL_MAP, 1000000, 1000000000, 1000000,
		 1000000000},
		{NULL, NULL, FULL_MAP, FULL_MAP, 1000000, 1000000000, 1000000, 1000000000},
		/* past the end of all ids */
		{"root:4294901760:65536\nroot:4294967295:65536\n", "root:1:65536", NULL, NULL, 0, 0, 0, 0},
		/* inside a user namespace: the first large range from 100000 on */
		{NULL, NULL, "0 1000 1\n1 100000 65536\n200000 300000 65535\n300000 500000 70000\n",
		 "0 0 100000\n100000 100000 65536\n", 300000, 70000, 100000, 65536},
		{NULL, NULL, "0 100000 65536\n", FULL_MAP, 0, 0, 0, 0},
		{NULL, NULL, "rubbish\n0 0\n", FULL_MAP, 0, 0, 0, 0},
		{NULL, NULL, NULL, NULL, 0, 0, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_host(&cases[i]);
}

static void choose(const struct idmap *host, const char *const *config, const struct idmap *current,
		   const struct idmap *taken, size_t n, struct idmap *ret, struct error *err, int *ret_r)
{
	auto_strmap struct strmap c = STRMAP_INIT;

	for (; config[0]; config += 2)
		strmap_set(&c, config[0], config[1]);
	*ret_r = idmap_choose(host, &c, current, taken, n, ret, err);
}

static void shared_and_privileged(void **state UNUSED)
{
	static const char *const plain[] = {NULL};
	static const char *const privileged[] = {"security.privileged", "true", "raw.idmap", "rubbish", NULL};
	static const struct idmap none = IDMAP_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_idmap struct idmap host = IDMAP_INIT;
	auto_idmap struct idmap m = IDMAP_INIT;
	int r;

	choose(&none, plain, &none, NULL, 0, &m, &err, &r);
	expect_error(r, &err, 400, "only privileged containers are supported");
	choose(&none, privileged, &none, NULL, 0, &m, &err, &r);
	expect_ok(r, &err);
	assert_int_equal(m.len, 0);
	host_map(&host);
	choose(&host, plain, &none, NULL, 0, &m, &err, &r);
	expect_ok(r, &err);
	assert_true(idmap_equal(&m, &host));
}

static void isolated_settings(void **state UNUSED)
{
	static const char *const plain[] = {"security.idmap.isolated", "true", NULL};
	static const char *const sized[] = {"security.idmap.isolated", "true", "security.idmap.size", "100", NULL};
	static const char *const fixed[] = {"security.idmap.isolated", "true", "security.idmap.base", "200000", NULL};
	static const char *const bad[][7] = {
		{"security.idmap.isolated", "true", "security.idmap.base", "99999", NULL},
		{"security.idmap.isolated", "true", "security.idmap.base", "0", NULL},
		{"security.idmap.isolated", "true", "security.idmap.base", "1099000", NULL},
		{"security.idmap.isolated", "true", "security.idmap.base", "100000", "security.idmap.size", "1000001",
		 NULL},
		{"security.idmap.isolated", "true", "security.idmap.size", "1000000", NULL},
	};
	static const struct idmap none = IDMAP_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_idmap struct idmap host = IDMAP_INIT;
	auto_idmap struct idmap m = IDMAP_INIT;
	auto_idmap struct idmap n = IDMAP_INIT;
	int r;

	host_map(&host);
	choose(&host, plain, &none, NULL, 0, &m, &err, &r);
	expect_ok(r, &err);
	assert_true(m.len == 2 && m.entries[0].host == FIRST + IDMAP_RANGE && m.entries[0].count == IDMAP_RANGE);
	choose(&host, plain, &none, &m, 1, &n, &err, &r);
	assert_true(n.entries[1].host == FIRST + 2 * IDMAP_RANGE);
	choose(&host, sized, &none, &m, 1, &n, &err, &r);
	assert_true(n.entries[0].host == FIRST + 2 * IDMAP_RANGE && n.entries[0].count == 100);
	/* a fixed base may overlap, but not leave the host's ids */
	choose(&host, fixed, &none, &m, 1, &n, &err, &r);
	expect_ok(r, &err);
	assert_int_equal(n.entries[0].host, 200000);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		choose(&host, bad[i], &none, NULL, 0, &n, &err, &r);
		expect_error(r, &err, 400,
			     i + 1 < ARRAY_SIZE(bad) ? "security.idmap.base" : "Not enough uid/gid available");
	}
}

#define SLOTS 20

static bool maps_meet(const struct idmap *a, const struct idmap *b)
{
	for (size_t i = 0; i < a->len; i++)
		for (size_t k = 0; k < b->len; k++)
			if (a->entries[i].host < b->entries[k].host + b->entries[k].count &&
			    b->entries[k].host < a->entries[i].host + a->entries[i].count)
				return true;
	return false;
}

/* The lowest start that a range of @size can have, by trying them all against the same rule in the plainest way. */
static uint32_t lowest(const struct idmap *slots, uint32_t size)
{
	uint32_t base = FIRST + IDMAP_RANGE;

	for (size_t i = 0; i < SLOTS; i++) {
		const struct idmap_entry want = {.host = base, .count = size};
		const struct idmap one = {.entries = (struct idmap_entry *)(uintptr_t)&want, .len = 1};

		if (slots[i].len && maps_meet(&slots[i], &one)) {
			base = slots[i].entries[0].host + slots[i].entries[0].count;
			i = SIZE_MAX; /* from the start again */
		}
	}
	return base;
}

/* Thousands of instances come and go: no two ever overlap, gaps are used again, what stays keeps its range. */
static void isolated_never_overlap(void **state UNUSED)
{
	auto_idmap struct idmap host = IDMAP_INIT;
	struct idmap slots[SLOTS] = {0};
	size_t made = 0, full = 0;

	host_map(&host);
	for (int step = 0; step < 6000; step++) {
		struct idmap *slot = &slots[random_below(SLOTS)];
		struct idmap taken[SLOTS];
		auto_idmap struct idmap m = IDMAP_INIT;
		auto_error struct error err = ERROR_INIT;
		uint32_t size = 1 + random_below(90000), base;
		auto_free char *text = xasprintf("%u", size);
		const char *const config[] = {"security.idmap.isolated", "1", "security.idmap.size", text, NULL};
		size_t n = 0;
		int r;

		if (slot->len && random_below(2)) {
			idmap_done(slot);
			continue;
		}
		for (size_t i = 0; i < SLOTS; i++)
			if (&slots[i] != slot && slots[i].len)
				taken[n++] = slots[i];
		if (slot->len) { /* asked again with the same size: nothing moves */
			auto_free char *same = xasprintf("%u", slot->entries[0].count);
			const char *const again[] = {"security.idmap.isolated", "1", "security.idmap.size", same, NULL};

			choose(&host, again, slot, taken, n, &m, &err, &r);
			expect_ok(r, &err);
			assert_true(idmap_equal(&m, slot));
			continue;
		}
		base = lowest(slots, size);
		choose(&host, config, slot, taken, n, &m, &err, &r);
		if (r < 0) {
			expect_error(r, &err, 400, "Not enough uid/gid available for the container");
			assert_true(base + size > FIRST + COUNT);
			full++;
			continue;
		}
		assert_int_equal(m.entries[0].host, base);
		assert_true(base + size <= FIRST + COUNT);
		for (size_t i = 0; i < n; i++)
			assert_false(maps_meet(&m, &taken[i]));
		idmap_copy(slot, &m);
		made++;
	}
	assert_true(made > 1000 && full > 0);
	for (size_t i = 0; i < SLOTS; i++)
		idmap_done(&slots[i]);
}

static void expect_map(const struct idmap *m, const char *text)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < m->len; i++)
		strbuf_appendf(&b, "%s%s%u:%u+%u", i ? " " : "",
			       m->entries[i].is_uid ? m->entries[i].is_gid ? "b" : "u" : "g", m->entries[i].ns,
			       m->entries[i].host, m->entries[i].count);
	assert_string_equal(strbuf_str(&b), text);
}

static void raw_punches_holes(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"both 1000 1000",
		 "u0:100000+1000 u1001:101001+998999 g0:100000+1000 g1001:101001+998999 b1000:1000+1"},
		{"uid 50-59 0-9", "u10:100010+999990 g0:100000+1000000 u0:50+10"},
		{"gid 50 999999", "u0:100000+1000000 g0:100000+999999 g999999:50+1"},
		{"uid 5 2000000", "u0:100000+1000000 g0:100000+1000000 u2000000:5+1"},
		{"\n \t uid\t5  1 \r\n\ngid 5 1",
		 "u0:100000+1 u2:100002+999998 g0:100000+1 g2:100002+999998 u1:5+1 g1:5+1"},
	};
	static const struct idmap none = IDMAP_INIT;
	auto_idmap struct idmap host = IDMAP_INIT;

	host_map(&host);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const config[] = {"raw.idmap", rows[i][0], NULL};
		auto_error struct error err = ERROR_INIT;
		auto_idmap struct idmap m = IDMAP_INIT;
		int r;

		choose(&host, config, &none, NULL, 0, &m, &err, &r);
		expect_ok(r, &err);
		expect_map(&m, rows[i][1]);
	}
}

static void bad_raw_lines(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"both 1000", "Invalid ID map line: both 1000"},
		{"both 1 1 1", "Invalid ID map line: both 1 1 1"},
		{"root 1 1", "Invalid ID map line"},
		{"uid a 1", "Invalid ID map line"},
		{"uid 5-1 5-1", "Invalid ID map line"},
		{"uid -1 1", "Invalid ID map line"},
		{"uid 0-4294967295 0-4294967295", "Invalid ID map line"},
		{"uid 1-5 1-3", "The ID map ranges are of different sizes"},
		{"both 100000 1", "in the range of the containers"},
		{"uid 99990-100010 0-20", "Host id 100000 of raw.idmap is in the range"},
		{"uid 5 1\nboth 5 2", "Host id 5 is twice"},
		{"uid 5 1\nboth 6 1", "Container id 1 is twice"},
		{"uid 5-9 1-5\nuid 20-25 5-10", "Container id 5 is twice"},
	};
	static const struct idmap none = IDMAP_INIT;
	auto_idmap struct idmap host = IDMAP_INIT;

	host_map(&host);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const config[] = {"raw.idmap", rows[i][0], NULL};
		auto_error struct error err = ERROR_INIT;
		auto_idmap struct idmap m = IDMAP_INIT;
		int r;

		choose(&host, config, &none, NULL, 0, &m, &err, &r);
		expect_error(r, &err, 400, rows[i][1]);
	}
}

/* Users' and groups' ranges of the host may differ; each kind is judged by its own. */
static void kinds_are_apart(void **state UNUSED)
{
	static const char *const users[] = {"raw.idmap", "uid 600000 1", NULL};
	static const char *const groups[] = {"raw.idmap", "gid 600000 1", NULL};
	static const struct idmap none = IDMAP_INIT;
	auto_idmap struct idmap host = IDMAP_INIT;
	auto_idmap struct idmap m = IDMAP_INIT;
	auto_error struct error err = ERROR_INIT;
	int r;

	idmap_add(&host, (struct idmap_entry){.is_uid = true, .host = 100000, .count = 65536});
	idmap_add(&host, (struct idmap_entry){.is_gid = true, .host = 600000, .count = 65536});
	choose(&host, users, &none, NULL, 0, &m, &err, &r);
	expect_ok(r, &err);
	choose(&host, groups, &none, NULL, 0, &m, &err, &r);
	expect_error(r, &err, 400, "in the range of the containers");
}

/* An isolated range stays where it is, also with holes, until the settings change. */
static void ranges_are_stable(void **state UNUSED)
{
	static const char *const raw[] = {"security.idmap.isolated", "true", "raw.idmap", "both 0 0\nuid 7 70", NULL};
	static const char *const other[] = {"security.idmap.isolated", "true", "raw.idmap", "both 1 0", NULL};
	static const char *const larger[] = {"security.idmap.isolated", "true", "security.idmap.size", "70000", NULL};
	static const struct idmap none = IDMAP_INIT;
	auto_idmap struct idmap host = IDMAP_INIT;
	auto_idmap struct idmap first = IDMAP_INIT;
	auto_idmap struct idmap second = IDMAP_INIT;
	auto_idmap struct idmap m = IDMAP_INIT;
	auto_error struct error err = ERROR_INIT;
	int r;

	host_map(&host);
	choose(&host, raw, &none, NULL, 0, &first, &err, &r);
	expect_ok(r, &err);
	/* the second keeps its place when the first is gone */
	choose(&host, raw, &none, &first, 1, &second, &err, &r);
	expect_ok(r, &err);
	choose(&host, raw, &second, NULL, 0, &m, &err, &r);
	expect_ok(r, &err);
	assert_true(idmap_equal(&m, &second) && !idmap_equal(&m, &first));
	choose(&host, other, &second, NULL, 0, &m, &err, &r);
	expect_ok(r, &err);
	assert_false(idmap_equal(&m, &second));
	choose(&host, larger, &second, NULL, 0, &m, &err, &r);
	expect_ok(r, &err);
	assert_int_equal(m.entries[0].count, 70000);
	/* somebody else sits there now */
	choose(&host, raw, &second, &second, 1, &m, &err, &r);
	expect_ok(r, &err);
	assert_false(idmap_equal(&m, &second));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_round_trip),
		cmocka_unit_test(bad_json),
		cmocka_unit_test(translation),
		cmocka_unit_test(host_ranges),
		cmocka_unit_test(shared_and_privileged),
		cmocka_unit_test(isolated_settings),
		cmocka_unit_test(isolated_never_overlap),
		cmocka_unit_test(raw_punches_holes),
		cmocka_unit_test(bad_raw_lines),
		cmocka_unit_test(kinds_are_apart),
		cmocka_unit_test(ranges_are_stable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
