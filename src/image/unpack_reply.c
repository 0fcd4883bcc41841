/* Decoding what lxd-unpack answered: a pure function, since the jail is not trusted. */
#include "image/unpack_reply.h"

#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/strbuf.h"
#include "base/wire_unpack.h"

#define MESSAGE_MAX 2000

/* By enum wire_unpack_format. */
static const char *const extensions[WIRE_FORMAT_MAX] = {
	[WIRE_FORMAT_TAR] = ".tar",     [WIRE_FORMAT_GZIP] = ".tar.gz",       [WIRE_FORMAT_BZIP2] = ".tar.bz2",
	[WIRE_FORMAT_XZ] = ".tar.xz",   [WIRE_FORMAT_LZMA] = ".tar.lzma",     [WIRE_FORMAT_ZSTD] = ".tar.zst",
	[WIRE_FORMAT_LZ4] = ".tar.lz4", [WIRE_FORMAT_SQUASHFS] = ".squashfs",
};

struct metadata {
	char *architecture;
	int64_t creation_date;
	int64_t expiry_date;
	struct strmap properties;
	const struct json *templates;
};

static const struct json_field metadata_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct metadata, architecture, "architecture", JSON_REQUIRED),
	JSON_FIELD(JSON_FIELD_INT, struct metadata, creation_date, "creation_date", JSON_REQUIRED),
	JSON_FIELD(JSON_FIELD_INT, struct metadata, expiry_date, "expiry_date", JSON_REQUIRED),
	JSON_FIELD(JSON_FIELD_STRMAP, struct metadata, properties, "properties", JSON_REQUIRED),
	JSON_FIELD(JSON_FIELD_RAW, struct metadata, templates, "templates", JSON_REQUIRED),
	JSON_FIELD_END,
};

struct template
{
	struct strv when;
	bool create_only;
	char *file;
	struct strmap properties;
};

static const struct json_field template_fields[] = {
	JSON_FIELD(JSON_FIELD_STRV, struct template, when, "when", JSON_REQUIRED),
	JSON_FIELD(JSON_FIELD_BOOL, struct template, create_only, "create_only", JSON_REQUIRED),
	JSON_FIELD(JSON_FIELD_STRING, struct template, file, "template", JSON_REQUIRED),
	JSON_FIELD(JSON_FIELD_STRMAP, struct template, properties, "properties", JSON_REQUIRED),
	JSON_FIELD_END,
};

struct rewrite {
	struct jsonw w;
	struct error *err;
};

static int template_rewrite(const char *key, const struct json *value, void *arg)
{
	struct rewrite *rw = arg;
	struct template t = {0};
	int r = json_decode(value, "templates", template_fields, &t, NULL, rw->err);

	if (r == 0) {
		jsonw_key(&rw->w, key);
		jsonw_object_begin(&rw->w);
		jsonw_kv_strv(&rw->w, "when", &t.when);
		jsonw_kv_bool(&rw->w, "create_only", t.create_only);
		jsonw_kv_str(&rw->w, "template", t.file);
		jsonw_kv_strmap(&rw->w, "properties", &t.properties);
		jsonw_object_end(&rw->w);
	}
	json_decode_done(template_fields, &t);
	return r;
}

/* Parse the jail's JSON and write it again from the decoded fields alone. */
static int metadata_rewrite(const char *text, size_t len, char **ret, struct error *err)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	struct rewrite rw = {.w = JSONW(&out), .err = err};
	auto_json struct json *root = NULL;
	struct metadata m = {0};
	int r;

	r = json_parse(text, len, &root, err);
	if (r == 0)
		r = json_decode(root, "metadata", metadata_fields, &m, NULL, err);
	if (r == 0) {
		jsonw_object_begin(&rw.w);
		jsonw_kv_str(&rw.w, "architecture", m.architecture);
		jsonw_kv_int(&rw.w, "creation_date", m.creation_date);
		jsonw_kv_int(&rw.w, "expiry_date", m.expiry_date);
		jsonw_kv_strmap(&rw.w, "properties", &m.properties);
		jsonw_key(&rw.w, "templates");
		jsonw_object_begin(&rw.w);
		if (json_kind(m.templates) != JSON_OBJECT)
			r = error_set(err, 500, "templates is no object");
		else
			r = json_each(m.templates, template_rewrite, &rw);
		jsonw_object_end(&rw.w);
		jsonw_object_end(&rw.w);
	}
	json_decode_done(metadata_fields, &m);
	if (r < 0)
		return r;
	*ret = strbuf_take(&out);
	return 0;
}

/* The error that the jail tells of. */
static int reply_error(const struct wire_unpack_reply *reply, const char *text, struct error *err)
{
	static const uint32_t statuses[] = {400, 413, 507};
	auto_free char *msg = xstrndup(text, MIN_OF(reply->text_len, (uint32_t)MESSAGE_MAX));
	int status = 500;

	for (char *p = msg; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i] == reply->status)
			status = (int)reply->status;
	return error_set(err, status, "%s", *msg ? msg : "Image unpacker failed");
}

int image_unpack_reply_decode(const char *data, size_t len, bool split, struct image_unpack_result *ret,
			      struct error *err)
{
	struct wire_unpack_reply reply;
	char *json;
	int r;

	if (len < sizeof(reply))
		return error_set(err, 500, "Image unpacker ended without an answer");
	memcpy(&reply, data, sizeof(reply));
	if (reply.magic != WIRE_UNPACK_MAGIC || reply.text_len > WIRE_UNPACK_TEXT_MAX ||
	    reply.text_len != len - sizeof(reply))
		return error_set(err, 500, "Image unpacker gave a bad answer");
	if (reply.status)
		return reply_error(&reply, data + sizeof(reply), err);
	if (reply.meta_format == WIRE_FORMAT_NONE || reply.meta_format >= WIRE_FORMAT_MAX ||
	    reply.rootfs_format >= WIRE_FORMAT_MAX || (split && reply.rootfs_format == WIRE_FORMAT_NONE))
		return error_set(err, 500, "Image unpacker gave a bad answer: unknown format");
	r = metadata_rewrite(data + sizeof(reply), reply.text_len, &json, err);
	if (r < 0) {
		error_wrap(err, "Image unpacker gave a bad answer");
		return error_status(err, 500);
	}
	*ret = (struct image_unpack_result){
		.metadata_json = json,
		.members = reply.members,
		.bytes = reply.bytes,
		.skipped_nodes = reply.skipped_nodes,
		.meta_ext = extensions[reply.meta_format],
		.rootfs_ext = split ? extensions[reply.rootfs_format] : NULL,
	};
	return 0;
}
