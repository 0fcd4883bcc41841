/* Protobuf to structs and back, around libprotobuf-c. */
#include "migration/message.h"

#include <string.h>

#include <migrate.pb-c.h>

#include "base/alloc.h"
#include "base/str.h"

#define IDMAP_MAX 4096
#define SNAPSHOTS_MAX 65536
#define REASON_MAX 2000 /* bytes of a peer's text that are passed on */

enum { FS_RSYNC = 0 };

void migration_header_done(struct migration_header *h)
{
	idmap_done(&h->idmap);
	strv_done(&h->snapshots);
}

static void features_to_message(unsigned features, MigrationRsyncFeatures *m)
{
	/* what is absent is as good as false, and shorter */
	m->has_xattrs = m->xattrs = features & MIGRATION_XATTRS;
	m->has_delete_ = m->delete_ = features & MIGRATION_DELETE;
	m->has_compress = m->compress = features & MIGRATION_COMPRESS;
	m->has_bidirectional = m->bidirectional = features & MIGRATION_BIDIRECTIONAL;
	m->has_hardlinks = m->hardlinks = features & MIGRATION_HARDLINKS;
	m->has_acls = m->acls = features & MIGRATION_ACLS;
}

static unsigned features_from_message(const MigrationRsyncFeatures *m)
{
	if (!m)
		return 0;
	return (m->xattrs ? MIGRATION_XATTRS : 0U) | (m->delete_ ? MIGRATION_DELETE : 0U) |
	       (m->compress ? MIGRATION_COMPRESS : 0U) | (m->bidirectional ? MIGRATION_BIDIRECTIONAL : 0U) |
	       (m->hardlinks ? MIGRATION_HARDLINKS : 0U) | (m->acls ? MIGRATION_ACLS : 0U);
}

void migration_header_encode(const struct migration_header *h, struct strbuf *ret)
{
	MigrationHeaderMessage m = MIGRATION_HEADER_MESSAGE__INIT;
	MigrationRsyncFeatures features = MIGRATION_RSYNC_FEATURES__INIT;
	auto_free MigrationIdmap *maps = xnew_array(MigrationIdmap, h->idmap.len);
	auto_free MigrationIdmap **list = xnew_array(MigrationIdmap *, h->idmap.len);
	auto_free unsigned char *out = NULL;
	size_t len;

	for (size_t k = 0; k < h->idmap.len; k++) {
		const struct idmap_entry *e = &h->idmap.entries[k];

		maps[k] = (MigrationIdmap)MIGRATION_IDMAP__INIT;
		maps[k].isuid = e->is_uid;
		maps[k].isgid = e->is_gid;
		maps[k].hostid = (int32_t)e->host;
		maps[k].nsid = (int32_t)e->ns;
		maps[k].maprange = (int32_t)e->count;
		list[k] = &maps[k];
	}
	m.fs = FS_RSYNC;
	m.idmap = list;
	m.n_idmap = h->idmap.len;
	m.snapshot_names = h->snapshots.items;
	m.n_snapshot_names = h->snapshots.len;
	m.has_predump = true;
	features_to_message(h->features, &features);
	m.rsync_features = &features;
	m.has_refresh = m.refresh = h->refresh;
	len = migration_header_message__get_packed_size(&m);
	out = xmalloc(len + 1);
	migration_header_message__pack(&m, out);
	strbuf_append_len(ret, out, len);
}

/* The same rules as for the map in a database: through its text. */
static int idmap_from_message(const MigrationHeaderMessage *m, struct idmap *ret, struct error *err)
{
	auto_idmap struct idmap raw = IDMAP_INIT;
	auto_free char *text = NULL;

	if (m->n_idmap > IDMAP_MAX)
		return error_set(err, 400, "Invalid migration header: %zu entries in the id map", m->n_idmap);
	for (size_t k = 0; k < m->n_idmap; k++) {
		const MigrationIdmap *e = m->idmap[k];

		if (e->hostid < 0 || e->nsid < 0 || e->maprange <= 0 || (!e->isuid && !e->isgid))
			return error_set(err, 400, "Invalid migration header: bad id map entry %zu", k);
		idmap_add(&raw, (struct idmap_entry){.is_uid = e->isuid,
						     .is_gid = e->isgid,
						     .host = (uint32_t)e->hostid,
						     .ns = (uint32_t)e->nsid,
						     .count = (uint32_t)e->maprange});
	}
	text = idmap_to_json(&raw);
	return idmap_from_json(text, ret, err);
}

static int header_from_message(const MigrationHeaderMessage *m, struct migration_header *ret, struct error *err)
{
	int r;

	if (m->n_snapshot_names > SNAPSHOTS_MAX)
		return error_set(err, 400, "Invalid migration header: %zu snapshots", m->n_snapshot_names);
	r = idmap_from_message(m, &ret->idmap, err);
	if (r < 0)
		return r;
	for (size_t k = 0; k < m->n_snapshot_names; k++)
		strv_add(&ret->snapshots, m->snapshot_names[k]);
	/* newer senders may leave the names to the descriptions */
	for (size_t k = m->n_snapshot_names; k < m->n_snapshots && k < SNAPSHOTS_MAX; k++)
		strv_add(&ret->snapshots, "?");
	ret->rsync = m->fs == FS_RSYNC;
	ret->running = m->has_criu;
	ret->refresh = m->refresh;
	ret->index = m->index_header_version > 0;
	ret->features = features_from_message(m->rsync_features);
	return 0;
}

int migration_header_decode(const void *data, size_t len, struct migration_header *ret, struct error *err)
{
	auto_migration_header struct migration_header h = MIGRATION_HEADER_INIT;
	MigrationHeaderMessage *m;
	int r;

	if (len > MIGRATION_MESSAGE_MAX)
		return error_set(err, 400, "Invalid migration header: %zu bytes", len);
	m = migration_header_message__unpack(NULL, len, data);
	if (!m)
		return error_set(err, 400, "Invalid migration header");
	r = header_from_message(m, &h, err);
	migration_header_message__free_unpacked(m, NULL);
	if (r < 0)
		return r;
	*ret = h;
	h = MIGRATION_HEADER_INIT;
	return 0;
}

void migration_verdict_encode(const char *message, struct strbuf *ret)
{
	MigrationControlMessage m = MIGRATION_CONTROL_MESSAGE__INIT;
	auto_free char *text = xstrdup(message ? message : "");
	auto_free unsigned char *out = NULL;
	size_t len;

	m.success = message == NULL;
	m.message = text;
	len = migration_control_message__get_packed_size(&m);
	out = xmalloc(len + 1);
	migration_control_message__pack(&m, out);
	strbuf_append_len(ret, out, len);
}

/* One line that can be shown: what the peer says may hold the output of its rsync, or anything. */
static char *one_line(const char *text)
{
	size_t len = strnlen(text, REASON_MAX);
	char *copy = xstrndup(text, len);

	while (len > 0 && (unsigned char)copy[len - 1] <= ' ')
		copy[--len] = '\0';
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = *p == '\n' ? ';' : ' ';
	return copy;
}

int migration_verdict_decode(const void *data, size_t len, struct error *err)
{
	MigrationControlMessage *m = NULL;
	auto_free char *text = NULL;
	int r = 0;

	if (len <= MIGRATION_MESSAGE_MAX)
		m = migration_control_message__unpack(NULL, len, data);
	if (!m)
		return error_set(err, 400, "Invalid message on the migration's control connection");
	if (!m->success) {
		text = one_line(m->message ? m->message : "");
		r = error_set(err, 500, "%s", *text ? text : "The other server reports a failure without a reason");
	}
	migration_control_message__free_unpacked(m, NULL);
	return r;
}

bool migration_is_verdict(const void *data, size_t len)
{
	const unsigned char *p = data;

	/* field 1 as a number is in both; field 2 is a text only here, and nothing else follows a failure */
	return len >= 3 && p[0] == 0x08 && p[1] <= 1 && p[2] == 0x12;
}
