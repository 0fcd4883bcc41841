/* Id maps: storage, look-up and JSON text. */
#include "config/idmap.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "base/json.h"
#include "base/jsonw.h"

void idmap_done(struct idmap *m)
{
	free(m->entries);
	*m = IDMAP_INIT;
}

void idmap_add(struct idmap *m, struct idmap_entry e)
{
	m->entries = xreallocarray(m->entries, m->len + 1, sizeof(*m->entries));
	m->entries[m->len++] = e;
}

void idmap_copy(struct idmap *dst, const struct idmap *src)
{
	struct idmap copy = IDMAP_INIT;

	for (size_t i = 0; i < src->len; i++)
		idmap_add(&copy, src->entries[i]);
	idmap_done(dst);
	*dst = copy;
}

static bool entry_equal(const struct idmap_entry *a, const struct idmap_entry *b)
{
	return a->is_uid == b->is_uid && a->is_gid == b->is_gid && a->host == b->host && a->ns == b->ns &&
	       a->count == b->count;
}

bool idmap_equal(const struct idmap *a, const struct idmap *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++)
		if (!entry_equal(&a->entries[i], &b->entries[i]))
			return false;
	return true;
}

static int64_t translate(const struct idmap *m, bool gid, bool to_host, uint32_t id)
{
	if (m->len == 0)
		return id;
	for (size_t i = 0; i < m->len; i++) {
		const struct idmap_entry *e = &m->entries[i];
		uint32_t from = to_host ? e->ns : e->host;
		uint32_t to = to_host ? e->host : e->ns;

		if ((gid ? e->is_gid : e->is_uid) && id >= from && id - from < e->count)
			return (int64_t)to + (id - from);
	}
	return -1;
}

int64_t idmap_uid_to_host(const struct idmap *m, uint32_t id)
{
	return translate(m, false, true, id);
}

int64_t idmap_gid_to_host(const struct idmap *m, uint32_t id)
{
	return translate(m, true, true, id);
}

int64_t idmap_uid_from_host(const struct idmap *m, uint32_t id)
{
	return translate(m, false, false, id);
}

int64_t idmap_gid_from_host(const struct idmap *m, uint32_t id)
{
	return translate(m, true, false, id);
}

char *idmap_to_json(const struct idmap *m)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	struct jsonw w = JSONW(&out);

	jsonw_array_begin(&w);
	for (size_t i = 0; i < m->len; i++) {
		const struct idmap_entry *e = &m->entries[i];

		jsonw_object_begin(&w);
		jsonw_kv_bool(&w, "Isuid", e->is_uid);
		jsonw_kv_bool(&w, "Isgid", e->is_gid);
		jsonw_kv_uint(&w, "Hostid", e->host);
		jsonw_kv_uint(&w, "Nsid", e->ns);
		jsonw_kv_uint(&w, "Maprange", e->count);
		jsonw_object_end(&w);
	}
	jsonw_array_end(&w);
	return strbuf_take(&out);
}

/* A member that must be a whole number of 32 bits. */
static int entry_number(const struct json *obj, const char *key, uint32_t *ret, struct error *err)
{
	const struct json *j = json_get(obj, key);
	int64_t v = json_int(j);

	if (json_kind(j) != JSON_INT || v < 0 || v > UINT32_MAX)
		return error_set(err, 400, "Invalid id map: bad %s", key);
	*ret = (uint32_t)v;
	return 0;
}

static int entry_from_json(const struct json *obj, struct idmap_entry *e, struct error *err)
{
	int r = entry_number(obj, "Hostid", &e->host, err);

	if (r == 0)
		r = entry_number(obj, "Nsid", &e->ns, err);
	if (r == 0)
		r = entry_number(obj, "Maprange", &e->count, err);
	if (r < 0)
		return r;
	e->is_uid = json_is_true(json_get(obj, "Isuid"));
	e->is_gid = json_is_true(json_get(obj, "Isgid"));
	if (!e->is_uid && !e->is_gid)
		return error_set(err, 400, "Invalid id map: entry is for neither users nor groups");
	if (e->count == 0 || e->host > UINT32_MAX - e->count || e->ns > UINT32_MAX - e->count)
		return error_set(err, 400, "Invalid id map: range of %u ids at %u does not fit", e->count, e->host);
	return 0;
}

int idmap_from_json(const char *text, struct idmap *ret, struct error *err)
{
	auto_idmap struct idmap m = IDMAP_INIT;
	auto_json struct json *j = NULL;
	int r = json_parse(text, strlen(text), &j, err);

	if (r < 0)
		return r;
	if (json_kind(j) != JSON_ARRAY)
		return error_set(err, 400, "Invalid id map: not a list");
	for (size_t i = 0; i < json_len(j); i++) {
		struct idmap_entry e = {0};

		r = entry_from_json(json_at(j, i), &e, err);
		if (r < 0)
			return r;
		idmap_add(&m, e);
	}
	idmap_done(ret);
	*ret = m;
	m = IDMAP_INIT;
	return 0;
}

char *idmap_to_kernel(const struct idmap *m, bool uids)
{
	struct strbuf b = STRBUF_INIT;

	if (m->len == 0)
		return NULL;
	for (size_t k = 0; k < m->len; k++) {
		const struct idmap_entry *e = &m->entries[k];

		if (uids ? e->is_uid : e->is_gid)
			strbuf_appendf(&b, "%u %u %u\n", e->ns, e->host, e->count);
	}
	return strbuf_take(&b);
}
