/* The host's share of ids, ranges of isolated instances, raw.idmap. */
#include "config/idmap_alloc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/strv.h"

#define NO_IDS "LXD doesn't have a uid/gid allocation. In this mode, only privileged containers are supported"
#define FILE_MAX_BYTES (1u << 20)
/* Without /etc/subuid: these on a host that has all ids, else what the user namespace has above the users' own. */
#define KERNEL_FIRST 1000000u
#define KERNEL_COUNT 1000000000u
#define SUBID_FIRST 100000u

static bool range_fits(uint32_t first, uint32_t count)
{
	return count > 0 && first <= UINT32_MAX - count;
}

/* Root's first entry that is large enough; false: none. */
static bool subid_range(const char *path, uint32_t *first, uint32_t *count)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strv struct strv lines = STRV_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(AT_FDCWD, path, FILE_MAX_BYTES, &text, &err) < 0) {
		error_ignore(&err, "no file, no entry");
		return false;
	}
	strv_split(&lines, strbuf_str(&text), '\n');
	for (size_t i = 0; i < lines.len; i++) {
		auto_strv struct strv f = STRV_INIT;

		lines.items[i][strcspn(lines.items[i], "#")] = '\0';
		strv_split(&f, str_strip(lines.items[i]), ':');
		if (f.len == 3 && (streq(f.items[0], "root") || streq(f.items[0], "0")) &&
		    parse_u32(f.items[1], first) == 0 && parse_u32(f.items[2], count) == 0 && *count >= IDMAP_RANGE &&
		    range_fits(*first, *count))
			return true;
	}
	return false;
}

/* The default range, as far as the user namespace that we are in has it. */
static bool kernel_range(const char *path, uint32_t *first, uint32_t *count)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strv struct strv lines = STRV_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(AT_FDCWD, path, FILE_MAX_BYTES, &text, &err) < 0) {
		error_ignore(&err, "no map, no ids");
		return false;
	}
	strv_split(&lines, strbuf_str(&text), '\n');
	for (size_t i = 0; i < lines.len; i++) {
		auto_strv struct strv f = STRV_INIT;
		uint32_t ns, n;

		strv_split_words(&f, lines.items[i]);
		if (f.len != 3 || parse_u32(f.items[0], &ns) < 0 || parse_u32(f.items[2], &n) < 0)
			continue;
		if (ns == 0 && n == UINT32_MAX) {
			*first = KERNEL_FIRST;
			*count = KERNEL_COUNT;
			return true;
		}
		if (ns >= SUBID_FIRST && n >= IDMAP_RANGE && range_fits(ns, n)) {
			*first = ns;
			*count = n;
			return true;
		}
	}
	return false;
}

int idmap_host_range_from(const char *subuid, const char *subgid, const char *uid_map, const char *gid_map,
			  struct idmap *ret, struct error *err)
{
	struct idmap_entry u = {.is_uid = true}, g = {.is_gid = true};
	bool have = subid_range(subuid, &u.host, &u.count) && subid_range(subgid, &g.host, &g.count);

	if (!have)
		have = kernel_range(uid_map, &u.host, &u.count) && kernel_range(gid_map, &g.host, &g.count);
	if (!have) {
		error_set(err, 500, NO_IDS);
		err->errnum = ENOENT;
		return -ENOENT;
	}
	idmap_done(ret);
	idmap_add(ret, u);
	idmap_add(ret, g);
	return 0;
}

int idmap_host_range(const char *subuid, const char *subgid, struct idmap *ret, struct error *err)
{
	return idmap_host_range_from(subuid ? subuid : "/etc/subuid", subgid ? subgid : "/etc/subgid",
				     "/proc/self/uid_map", "/proc/self/gid_map", ret, err);
}

void idmap_punch(struct idmap *m, struct idmap_entry e)
{
	struct idmap out = IDMAP_INIT;
	uint64_t lo = e.ns, hi = (uint64_t)e.ns + e.count;

	for (size_t i = 0; i < m->len; i++) {
		struct idmap_entry o = m->entries[i], rest = o, part = o;
		uint64_t start = o.ns, end = (uint64_t)o.ns + o.count;

		if (end <= lo || start >= hi || !((o.is_uid && e.is_uid) || (o.is_gid && e.is_gid))) {
			idmap_add(&out, o);
			continue;
		}
		/* what @e does not speak for stays whole */
		rest.is_uid = o.is_uid && !e.is_uid;
		rest.is_gid = o.is_gid && !e.is_gid;
		if (rest.is_uid || rest.is_gid)
			idmap_add(&out, rest);
		part.is_uid = o.is_uid && e.is_uid;
		part.is_gid = o.is_gid && e.is_gid;
		if (start < lo) {
			part.count = (uint32_t)(lo - start);
			idmap_add(&out, part);
		}
		if (end > hi) {
			part.ns = (uint32_t)hi;
			part.host = o.host + (uint32_t)(hi - start);
			part.count = (uint32_t)(end - hi);
			idmap_add(&out, part);
		}
	}
	idmap_add(&out, e);
	idmap_done(m);
	*m = out;
}

bool idmap_parse_range(const char *text, uint32_t *first, uint32_t *count)
{
	const char *dash = strchr(text, '-');
	auto_free char *a = dash ? xstrndup(text, (size_t)(dash - text)) : xstrdup(text);
	uint32_t last;

	if (parse_u32(a, first) < 0)
		return false;
	last = *first;
	if (dash && (parse_u32(dash + 1, &last) < 0 || last < *first))
		return false;
	*count = last - *first + 1;
	return range_fits(*first, *count);
}

static int parse_raw_line(const char *line, struct idmap *ret, struct error *err)
{
	auto_strv struct strv words = STRV_INIT;
	struct idmap_entry e = {0};
	uint32_t ns_count;

	strv_split_words(&words, line);
	if (words.len == 0)
		return 0;
	if (words.len != 3)
		return error_set(err, 400, "Invalid ID map line: %s", line);
	e.is_uid = streq(words.items[0], "uid") || streq(words.items[0], "both");
	e.is_gid = streq(words.items[0], "gid") || streq(words.items[0], "both");
	if ((!e.is_uid && !e.is_gid) || !idmap_parse_range(words.items[1], &e.host, &e.count) ||
	    !idmap_parse_range(words.items[2], &e.ns, &ns_count))
		return error_set(err, 400, "Invalid ID map line: %s", line);
	if (e.count != ns_count)
		return error_set(err, 400, "The ID map ranges are of different sizes: %s", line);
	idmap_add(ret, e);
	return 0;
}

int idmap_parse_raw(const char *text, struct idmap *ret, struct error *err)
{
	auto_strv struct strv lines = STRV_INIT;
	int r = 0;

	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.len && r == 0; i++)
		r = parse_raw_line(lines.items[i], ret, err);
	return r;
}

/* Where @m's host ids of one kind end beyond [@base, @base+@size), when they overlap it; 0: no overlap. */
static uint64_t overlap_end(const struct idmap *m, uint64_t base, uint64_t size)
{
	uint64_t end = 0;

	for (size_t i = 0; i < m->len; i++) {
		uint64_t a = m->entries[i].host, b = a + m->entries[i].count;

		if (a < base + size && base < b)
			end = MAX_OF(end, b);
	}
	return end;
}

/* The first gap of @size ids. Users and groups get the same numbers. */
static int first_gap(const struct idmap *host, uint32_t size, const struct idmap *taken, size_t n, uint32_t *ret,
		     struct error *err)
{
	uint64_t base = 0, limit = UINT32_MAX;
	bool moved = true;

	for (size_t i = 0; i < host->len; i++) {
		base = MAX_OF(base, (uint64_t)host->entries[i].host + IDMAP_RANGE);
		limit = MIN_OF(limit, (uint64_t)host->entries[i].host + host->entries[i].count);
	}
	while (moved && base + size <= limit) {
		moved = false;
		for (size_t i = 0; i < n; i++) {
			uint64_t end = overlap_end(&taken[i], base, size);

			moved = moved || end;
			base = MAX_OF(base, end);
		}
	}
	if (base + size > limit)
		return error_set(err, 400, "Not enough uid/gid available for the container");
	*ret = (uint32_t)base;
	return 0;
}

static void set_range(struct idmap *m, uint32_t base, uint32_t size)
{
	idmap_add(m, (struct idmap_entry){.is_uid = true, .host = base, .count = size});
	idmap_add(m, (struct idmap_entry){.is_gid = true, .host = base, .count = size});
}

static bool ranges_meet(uint32_t a, uint32_t a_count, uint32_t b, uint32_t b_count)
{
	return (uint64_t)a < (uint64_t)b + b_count && (uint64_t)b < (uint64_t)a + a_count;
}

/* Are both for users, or both for groups? */
static bool same_kind(const struct idmap_entry *a, const struct idmap_entry *b)
{
	return (a->is_uid && b->is_uid) || (a->is_gid && b->is_gid);
}

/* A line of raw.idmap against the range that containers share and against the lines before it. */
static int check_raw_entry(const struct idmap *host, const struct idmap *raw, size_t at, struct error *err)
{
	const struct idmap_entry *e = &raw->entries[at];

	for (size_t i = 0; i < host->len; i++) {
		const struct idmap_entry *h = &host->entries[i];

		if (same_kind(e, h) && ranges_meet(e->host, e->count, h->host, h->count))
			return error_set(err, 400, "Host id %u of raw.idmap is in the range of the containers",
					 MAX_OF(e->host, h->host));
	}
	for (size_t i = 0; i < at; i++) {
		const struct idmap_entry *o = &raw->entries[i];

		if (same_kind(e, o) && ranges_meet(e->host, e->count, o->host, o->count))
			return error_set(err, 400, "Host id %u is twice in raw.idmap", MAX_OF(e->host, o->host));
		if (same_kind(e, o) && ranges_meet(e->ns, e->count, o->ns, o->count))
			return error_set(err, 400, "Container id %u is twice in raw.idmap", MAX_OF(e->ns, o->ns));
	}
	return 0;
}

/* Lay raw.idmap over the map. */
static int apply_raw(struct idmap *m, const struct idmap *host, const struct idmap *raw, struct error *err)
{
	for (size_t i = 0; i < raw->len; i++) {
		int r = check_raw_entry(host, raw, i, err);

		if (r < 0)
			return r;
		idmap_punch(m, raw->entries[i]);
	}
	return 0;
}

/* The base of the range that @current was cut from, if a range of @size there gives @current again. */
static bool keeps_current(const struct idmap *host, const struct idmap *current, const struct idmap *raw, uint32_t size,
			  const struct idmap *taken, size_t n, struct idmap *ret)
{
	for (size_t i = 0; i < current->len; i++) {
		auto_idmap struct idmap again = IDMAP_INIT;
		auto_error struct error err = ERROR_INIT;
		uint32_t base = current->entries[i].host - current->entries[i].ns;
		bool free_range = range_fits(base, size);

		for (size_t k = 0; k < n; k++)
			free_range = free_range && !overlap_end(&taken[k], base, size);
		for (size_t k = 0; k < host->len; k++)
			free_range = free_range && base >= host->entries[k].host + IDMAP_RANGE &&
				     (uint64_t)base + size <= (uint64_t)host->entries[k].host + host->entries[k].count;
		set_range(&again, base, size);
		if (!free_range || apply_raw(&again, host, raw, &err) < 0 || !idmap_equal(&again, current))
			continue;
		idmap_copy(ret, current);
		return true;
	}
	return false;
}

/* security.idmap.base: anywhere among the host's ids, whoever else has them. */
static int fixed_base(const char *text, const struct idmap *host, uint32_t size, uint32_t *ret, struct error *err)
{
	uint32_t base;

	if (parse_u32(text, &base) < 0)
		return error_set(err, 400, "Invalid value for uint32 \"%s\" of security.idmap.base", text);
	for (size_t i = 0; i < host->len; i++) {
		const struct idmap_entry *h = &host->entries[i];

		if (base < h->host || (uint64_t)base + size > (uint64_t)h->host + h->count)
			return error_set(err, 400,
					 "The %u ids from security.idmap.base %u on are not within %u to %llu", size,
					 base, h->host, (unsigned long long)h->host + h->count - 1);
	}
	*ret = base;
	return 0;
}

static int choose_isolated(const struct idmap *host, const struct strmap *config, const struct idmap *current,
			   const struct idmap *raw, const struct idmap *taken, size_t n, struct idmap *ret,
			   struct error *err)
{
	const char *fixed = strmap_get_or(config, "security.idmap.base", NULL);
	const char *text = strmap_get_or(config, "security.idmap.size", "auto");
	uint32_t base = 0, size = IDMAP_RANGE;
	int r;

	if (!streq(text, "auto") && (parse_u32(text, &size) < 0 || size == 0))
		return error_set(err, 400, "Invalid value for uint32 \"%s\" of security.idmap.size", text);
	if (!fixed && keeps_current(host, current, raw, size, taken, n, ret))
		return 0;
	r = fixed ? fixed_base(fixed, host, size, &base, err) : first_gap(host, size, taken, n, &base, err);
	if (r < 0)
		return r;
	set_range(ret, base, size);
	return apply_raw(ret, host, raw, err);
}

int idmap_choose(const struct idmap *host, const struct strmap *config, const struct idmap *current,
		 const struct idmap *taken, size_t n_taken, struct idmap *ret, struct error *err)
{
	auto_idmap struct idmap raw = IDMAP_INIT;
	int r;

	idmap_done(ret);
	if (strmap_get_bool(config, "security.privileged", false))
		return 0;
	if (host->len == 0)
		return error_set(err, 400, NO_IDS);
	r = idmap_parse_raw(strmap_get_or(config, "raw.idmap", ""), &raw, err);
	if (r < 0)
		return r;
	if (strmap_get_bool(config, "security.idmap.isolated", false))
		return choose_isolated(host, config, current, &raw, taken, n_taken, ret, err);
	idmap_copy(ret, host);
	return apply_raw(ret, host, &raw, err);
}
