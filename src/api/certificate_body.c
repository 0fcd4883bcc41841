#include "api/certificate_body.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"

const struct json_field certificate_post_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct certificate_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct certificate_body, type, "type", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct certificate_body, restricted, "restricted", 0),
	JSON_FIELD(JSON_FIELD_STRV, struct certificate_body, projects, "projects", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct certificate_body, certificate, "certificate", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct certificate_body, password, "password", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct certificate_body, token, "token", 0),
	JSON_FIELD_END,
};

/* Without what is only for adding. */
const struct json_field certificate_put_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct certificate_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct certificate_body, type, "type", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct certificate_body, restricted, "restricted", 0),
	JSON_FIELD(JSON_FIELD_STRV, struct certificate_body, projects, "projects", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct certificate_body, certificate, "certificate", 0),
	JSON_FIELD_END,
};

void certificate_body_done(struct certificate_body *b)
{
	if (b->password)
		explicit_bzero(b->password, strlen(b->password));
	json_decode_done(certificate_post_fields, b);
}

void certificate_body_write(const struct certificate_body *b, struct jsonw *w)
{
	jsonw_object_begin(w);
	jsonw_kv_str(w, "name", b->name);
	jsonw_kv_str(w, "type", b->type);
	jsonw_kv_bool(w, "restricted", b->restricted);
	jsonw_kv_strv(w, "projects", &b->projects);
	jsonw_kv_str(w, "certificate", "");
	jsonw_kv_str(w, "password", "");
	jsonw_kv_bool(w, "token", true);
	jsonw_object_end(w);
}

static bool has_text(const struct json *j, const char *key)
{
	return !str_is_empty(json_get_str(j, key));
}

enum invitation invitation_parse(const char *password, char **ret_secret)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_json struct json *j = NULL;
	auto_error struct error none = ERROR_INIT;
	bool common;

	if (base64_decode(password, &text) < 0 || !text.len || text.data[0] != '{')
		return INVITATION_NONE;
	if (json_parse(text.data, text.len, &j, &none) < 0) {
		error_ignore(&none, "then it is a password");
		return INVITATION_NONE;
	}
	common = has_text(j, "secret") && has_text(j, "fingerprint") && json_len(json_get(j, "addresses")) > 0;
	if (common && has_text(j, "server_name"))
		return INVITATION_CLUSTER;
	if (!common || !has_text(j, "client_name"))
		return INVITATION_NONE;
	*ret_secret = xstrdup(json_get_str(j, "secret"));
	return INVITATION_ADD;
}
