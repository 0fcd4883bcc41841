/*
 * /1.0/certificates: the trust store. Adding is open to strangers, who prove themselves by a token or the trust
 * password; everything else is for those who are in it.
 */
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/api.h"
#include "api/certificate_body.h"
#include "api/trust_password.h"
#include "auth/x509.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/path.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "base/wire_gate.h"
#include "config/expiry.h"

#define RSA_BITS_MIN 2048

static const char *text_of(const char *s)
{
	return s ? s : "";
}

/* --- showing --- */

static void write_certificate(const struct trust_certificate *t, struct jsonw *w)
{
	jsonw_object_begin(w);
	jsonw_kv_str(w, "name", t->name);
	jsonw_kv_str(w, "type", t->type);
	jsonw_kv_bool(w, "restricted", t->restricted);
	jsonw_kv_strv(w, "projects", &t->projects);
	jsonw_kv_str(w, "certificate", t->pem);
	jsonw_kv_str(w, "fingerprint", t->fingerprint);
	jsonw_object_end(w);
}

/* Over the object's text as Go writes it: with the characters that HTML minds escaped, and a line break. */
static void certificate_etag(const struct trust_certificate *t, char etag[65])
{
	auto_strbuf struct strbuf plain = STRBUF_INIT, b = STRBUF_INIT;

	write_certificate(t, &JSONW(&plain));
	for (const char *p = plain.data; *p; p++) {
		if (strchr("<>&", *p))
			strbuf_appendf(&b, "\\u%04x", (unsigned char)*p);
		else
			strbuf_append_char(&b, *p);
	}
	strbuf_append_char(&b, '\n');
	api_etag(b.data, b.len, etag);
}

static bool is_own(const struct api_call *c, const struct trust_certificate *t)
{
	return c->id.kind == IDENTITY_TLS && streq(c->id.fingerprint, t->fingerprint);
}

static bool may_see(const struct api_call *c, const struct trust_certificate *t)
{
	return identity_is_admin(&c->id) || is_own(c, t);
}

/* Who is no administrator finds their own certificate alone; a prefix of another's is as if it were nobody's. */
static int find(struct api_call *c, struct trust_certificate *ret, struct error *err)
{
	const char *prefix = c->params[0];
	size_t len = strlen(prefix);

	if (identity_is_admin(&c->id))
		return trust_find(c->api->trust, prefix, ret, err);
	if (len == 0 || len > strlen(c->id.fingerprint) || strncasecmp(c->id.fingerprint, prefix, len) != 0)
		return error_set(err, 404, "Certificate not found");
	return trust_find(c->api->trust, c->id.fingerprint, ret, err);
}

static int list_certificates(struct api_call *c, struct error *err UNUSED)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	bool objects = api_recursion(c) > 0;
	size_t n;
	auto_free struct trust_certificate *list = trust_list(c->api->trust, &n);

	jsonw_array_begin(&w);
	for (size_t i = 0; i < n; i++) {
		if (may_see(c, &list[i]) && objects)
			write_certificate(&list[i], &w);
		else if (may_see(c, &list[i]))
			jsonw_strf(&w, "/1.0/certificates/%s", list[i].fingerprint);
		trust_certificate_done(&list[i]);
	}
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

static int get_certificate(struct api_call *c, struct error *err)
{
	auto_trust_certificate struct trust_certificate t = TRUST_CERTIFICATE_INIT;
	struct strbuf b = STRBUF_INIT;
	char etag[65];
	int r = find(c, &t, err);

	if (r < 0)
		return r;
	write_certificate(&t, &JSONW(&b));
	certificate_etag(&t, etag);
	api_sync_etag(c, &b, etag);
	return 0;
}

/* --- judging what is to be trusted --- */

/* @vouched: the gate has found it good, with what the client sent beside it. */
static int inspect(struct api_call *c, const void *data, size_t len, bool vouched, struct x509_info *ret,
		   struct error *err)
{
	auto_free char *ca = path_join(c->api->lxd_dir, "server.ca");
	auto_free char *crl = path_join(c->api->lxd_dir, "ca.crl");
	int64_t now = (int64_t)time(NULL);
	int r = x509_inspect(data, len, ca, crl, ret, err);

	if (r < 0)
		return r;
	if (now < ret->not_before)
		return error_set(err, 400, "The provided certificate isn't valid yet");
	if (now > ret->not_after)
		return error_set(err, 400, "The provided certificate is expired");
	if (ret->is_rsa && ret->key_bits < RSA_BITS_MIN)
		return error_set(err, 400, "RSA key is too weak (minimum of 2048bit)");
	if (ret->verdict == WIRE_PKI_GOOD || vouched)
		return 0;
	if (ret->verdict == WIRE_PKI_OFF && !trust_pki_is_on(c->api->trust))
		return 0;
	return error_set(err, 403, "The certificate is not trusted by the CA or has been revoked");
}

static bool is_stored(const struct api_call *c, const char *fingerprint)
{
	auto_trust_certificate struct trust_certificate t = TRUST_CERTIFICATE_INIT;
	auto_error struct error err = ERROR_INIT;

	return trust_find(c->api->trust, fingerprint, &t, &err) == 0;
}

/* --- adding --- */

/* What a token was made for: replaces all that its holder sent but the certificate of the connection. */
static int take_over_request(struct certificate_body *b, const struct db_token *token, struct error *err)
{
	struct certificate_body stored = {0};
	auto_json struct json *j = NULL;
	int r = json_parse(token->request, strlen(token->request), &j, err);

	if (r == 0)
		r = json_decode(j, "", certificate_post_fields, &stored, NULL, err);
	if (r < 0) {
		certificate_body_done(&stored);
		return error_wrap(err, "Read token from database");
	}
	certificate_body_done(b);
	*b = stored;
	return 0;
}

static int use_token(struct api_call *c, const char *secret, struct certificate_body *b, struct error *err)
{
	CLEANUP(db_token_done) struct db_token row = {0};
	int r = token_take(c->api->tokens, &token_kind_certificate, secret, NULL, NULL, &row, err);

	if (r == -ENOENT) {
		error_clear(err);
		r = error_set(err, 403, "No matching certificate add operation found");
	} else if (r == -ETIME) {
		error_wrap(err, "Failed during search for certificate add token operation");
	}
	if (r < 0) {
		api_audit_note(c, "token-used", "failed", NULL);
		return r;
	}
	r = api_audit(c, "token-used", "allowed", row.uuid, err);
	return r < 0 ? r : take_over_request(b, &row, err);
}

/* May this caller, who is no administrator, add a certificate? */
static int admit(struct api_call *c, struct certificate_body *b, struct error *err)
{
	auto_free char *secret = NULL;
	int r;

	if (b->token || str_is_empty(b->password))
		return error_set(err, 403, "not authorized");
	switch (invitation_parse(b->password, &secret)) {
	case INVITATION_CLUSTER:
		api_audit_note(c, "token-used", "failed", "cluster");
		return error_set(err, 403, "No matching cluster join operation found");
	case INVITATION_ADD:
		r = use_token(c, secret, b, err);
		explicit_bzero(secret, strlen(secret));
		return r;
	case INVITATION_NONE:
		break;
	}
	return trust_password_check(c, b->password, err);
}

static int check_token_request(struct api_call *c, const struct certificate_body *b, struct strv *ret_addresses,
			       struct error *err)
{
	if (!str_is_empty(b->certificate))
		return error_set(err, 400, "Can't use certificate if token is requested");
	if (!streq(text_of(b->type), "client"))
		return error_set(err, 400, "Tokens can only be issued for client certificates");
	if (c->api->remote)
		remote_addresses(c->api->remote, ret_addresses);
	if (!ret_addresses->len)
		return error_set(err, 400, "Can't issue token when server isn't listening on network");
	return 0;
}

static int check_type(const char *type, struct error *err)
{
	if (streq(type, "client") || streq(type, "metrics"))
		return 0;
	if (streq(type, "server"))
		return error_set(
			err, 403,
			"Certificates of type \"server\" are for members of a cluster; this server is in none");
	return error_set(err, 400, "Invalid certificate type");
}

static int check_projects(struct api_call *c, const struct strv *projects, struct error *err)
{
	for (size_t i = 0; i < projects->len; i++)
		if (!store_has_project(c->api->store, projects->items[i]))
			return error_set(err, 404, "Project \"%s\" not found", projects->items[i]);
	return 0;
}

/* The certificate that is to be added: from the body, else the one whose key the connection proved. */
static int pick(struct api_call *c, const struct certificate_body *b, struct x509_info *ret, struct error *err)
{
	const struct http_tls_peer *tls = c->req->peer.tls;
	auto_strbuf struct strbuf der = STRBUF_INIT;

	if (!str_is_empty(b->certificate)) {
		if (base64_decode(b->certificate, &der) < 0 || !der.len)
			return error_set(err, 400, "Invalid certificate material: it is not base64");
		return inspect(c, der.data, der.len, /* vouched= */ false, ret, err);
	}
	if (!tls)
		return error_set(err, 400, "Can't use TLS data on non-TLS link");
	if (!tls->leaf)
		return error_set(err, 400, "No client certificate provided");
	return inspect(c, tls->leaf, tls->leaf_len, tls->verdict == WIRE_PKI_GOOD, ret, err);
}

static char *choose_name(const struct api_call *c, const struct certificate_body *b, const struct x509_info *info)
{
	if (!str_is_empty(b->name))
		return xstrdup(b->name);
	if (!str_is_empty(info->common_name))
		return xstrdup(info->common_name);
	return xstrdup(c->req->peer.tls ? c->req->peer.tls->host : "@");
}

static int add_certificate(struct api_call *c, struct certificate_body *b, struct error *err)
{
	auto_trust_certificate struct trust_certificate t = TRUST_CERTIFICATE_INIT;
	CLEANUP(x509_info_done) struct x509_info info = X509_INFO_INIT;
	auto_free char *url = NULL;
	int r = pick(c, b, &info, err);

	if (r < 0)
		return r;
	if (is_stored(c, info.fingerprint)) {
		api_audit_note(c, "certificate-added", "failed", info.fingerprint);
		return error_set(err, 409, "Certificate already in trust store");
	}
	t.fingerprint = xstrdup(info.fingerprint);
	t.type = xstrdup(b->type);
	t.name = choose_name(c, b, &info);
	t.restricted = b->restricted;
	strv_copy(&t.projects, &b->projects);
	t.pem = xstrdup(info.pem);
	r = api_audit(c, "certificate-added", "allowed", t.fingerprint, err);
	if (r < 0)
		return r;
	r = trust_add(c->api->trust, &t, err);
	if (r < 0) {
		api_audit_note(c, "certificate-added", "failed", t.fingerprint);
		return r;
	}
	/* it may go on at once, on this very connection */
	if (c->req->peer.tls && streq(c->req->peer.tls->fingerprint, t.fingerprint))
		c->req->close_after = false;
	url = xasprintf("/1.0/certificates/%s", t.fingerprint);
	api_lifecycle(c, "certificate-created", url);
	api_created(c, url);
	return 0;
}

/* --- tokens --- */

static void token_view(struct api *api, const struct db_token *t, struct token_view *ret)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	auto_strv struct strv addresses = STRV_INIT;
	char fingerprint[65];

	if (api->remote)
		remote_addresses(api->remote, &addresses);
	api_certificate_fingerprint(api, fingerprint);
	jsonw_object_begin(&w);
	jsonw_kv_strv(&w, "addresses", &addresses);
	if (t->expires_ns != TIME_GO_ZERO)
		jsonw_kv_time(&w, "expiresAt", t->expires_ns);
	jsonw_kv_str(&w, "fingerprint", fingerprint);
	jsonw_kv_raw(&w, "request", t->request);
	jsonw_object_end(&w);
	ret->project = xstrdup("default");
	ret->metadata = strbuf_take(&b);
}

const struct token_kind token_kind_certificate = {
	.name = "certificate",
	.description = "Executing operation",
	.view = token_view,
};

static int issue_token(struct api_call *c, const struct certificate_body *b, struct error *err)
{
	auto_strbuf struct strbuf request = STRBUF_INIT;
	auto_strmap struct strmap config = STRMAP_INIT;
	struct operation *op;
	int64_t expires_ns;
	int r;

	store_config_copy(c->api->store, &config);
	r = expiry_from(strmap_get_or(&config, "core.remote_token_expiry", "24H"), time_now_ns(), &expires_ns, err);
	if (r < 0)
		return error_wrap(err, "core.remote_token_expiry");
	certificate_body_write(b, &JSONW(&request));
	r = api_audit(c, "token-issued", "allowed", b->name, err);
	if (r == 0)
		r = token_issue(c, &token_kind_certificate, request.data, expires_ns, &op, err);
	if (r < 0)
		return r;
	api_async(c, op);
	return 0;
}

/* While the references are held no project goes: a token that names one is there before it does, and goes with it. */
static int invite(struct api_call *c, const struct certificate_body *b, struct error *err)
{
	int r;

	instances_hold_references(c->api->instances);
	r = check_projects(c, &b->projects, err);
	if (r == 0)
		r = issue_token(c, b, err);
	instances_release_references(c->api->instances);
	return r;
}

static int post_checked(struct api_call *c, struct certificate_body *b, struct error *err)
{
	auto_strv struct strv addresses = STRV_INIT;
	int r = 0;

	if (b->token)
		r = check_token_request(c, b, &addresses, err);
	if (r == 0 && c->id.kind != IDENTITY_NONE && !b->token && str_is_empty(b->certificate))
		r = error_set(err, 400, "Client is already trusted");
	if (r == 0 && !identity_is_admin(&c->id))
		r = admit(c, b, err);
	if (r == 0)
		r = check_type(text_of(b->type), err);
	if (r == 0)
		r = check_projects(c, &b->projects, err);
	if (r < 0)
		return r;
	/* only an administrator comes here with a token to be made: admit() has replaced what a token's user sent */
	return b->token && identity_is_admin(&c->id) ? invite(c, b, err) : add_certificate(c, b, err);
}

static int post_certificates(struct api_call *c, struct error *err)
{
	struct certificate_body b = {0};
	int r = api_decode(c, certificate_post_fields, &b, NULL, err);

	if (r == 0)
		r = post_checked(c, &b, err);
	certificate_body_done(&b);
	return r;
}

/* --- changing --- */

/* What a body leaves out stays as it was. */
static void merge(struct certificate_body *b, uint64_t given, const struct trust_certificate *was)
{
	if (!(given & GIVEN_NAME))
		b->name = xstrdup(was->name);
	if (!(given & GIVEN_TYPE))
		b->type = xstrdup(was->type);
	if (!(given & GIVEN_RESTRICTED))
		b->restricted = was->restricted;
	if (!(given & GIVEN_PROJECTS))
		strv_copy(&b->projects, &was->projects);
}

static int check_change(struct api_call *c, const struct trust_certificate *was, const struct certificate_body *b,
			struct error *err)
{
	bool same_type = streq(text_of(b->type), was->type);
	bool same = same_type && streq(text_of(b->name), was->name) && b->restricted == was->restricted &&
		    strv_equal(&b->projects, &was->projects);
	const char *type = text_of(b->type);

	if (!identity_is_admin(&c->id) && !is_own(c, was))
		return error_set(err, 403, "Certificate cannot be changed");
	if (!identity_is_admin(&c->id) && !same)
		return error_set(err, 403, "Only the certificate can be changed");
	if (!same_type && !streq(type, "client") && !streq(type, "metrics") && !streq(type, "server"))
		return error_set(err, 400, "Invalid certificate type");
	if (!same_type)
		return error_set(err, 403, "The certificate type cannot be changed");
	return check_projects(c, &b->projects, err);
}

/*
 * What others than administrators bring as their new certificate, whose key nobody has proved. Each try counts: it
 * costs a process, and would tell which certificates are in the store.
 */
static int admit_renewal(struct api_call *c, const struct trust_certificate *was, struct error *err)
{
	if (trust_take_renewal(c->api->trust, was->fingerprint))
		return 0;
	api_audit_note(c, "certificate-updated", "denied", "too many changes");
	return error_set(err, 429, "Too many changes");
}

/* Theirs or somebody else's, the answer is as for any other certificate that is not the caller's. */
static int refuse_taken(struct api_call *c, const char *fingerprint, struct error *err)
{
	api_audit_note(c, "certificate-updated", "denied", fingerprint);
	error_clear(err);
	return error_set(err, 403, "Certificate cannot be changed");
}

static int inspect_change(struct api_call *c, const struct trust_certificate *was, const char *pem,
			  struct x509_info *ret, struct error *err)
{
	bool admin = identity_is_admin(&c->id);
	int r = admin ? 0 : admit_renewal(c, was, err);

	if (r < 0)
		return r;
	if (!strstr(pem, "-----BEGIN CERTIFICATE-----"))
		return error_set(err, 400, "Invalid certificate material: it is not PEM");
	r = inspect(c, pem, strlen(pem), /* vouched= */ false, ret, err);
	if (r == 0 && !admin && !streq(ret->fingerprint, was->fingerprint) && is_stored(c, ret->fingerprint))
		return refuse_taken(c, ret->fingerprint, err);
	return r;
}

/* @now from @was and the body; a certificate that is empty or the same needs no look. */
static int build_change(struct api_call *c, const struct trust_certificate *was, const struct certificate_body *b,
			struct trust_certificate *now, struct error *err)
{
	CLEANUP(x509_info_done) struct x509_info info = X509_INFO_INIT;
	bool fresh = !str_is_empty(b->certificate) && !streq(b->certificate, was->pem);
	int r = fresh ? inspect_change(c, was, b->certificate, &info, err) : 0;

	if (r < 0)
		return r;
	now->fingerprint = xstrdup(fresh ? info.fingerprint : was->fingerprint);
	now->pem = xstrdup(fresh ? info.pem : was->pem);
	now->type = xstrdup(was->type);
	now->name = xstrdup(text_of(b->name));
	now->restricted = b->restricted;
	strv_copy(&now->projects, &b->projects);
	return 0;
}

static bool is_same(const struct trust_certificate *a, const struct trust_certificate *b)
{
	return streq(a->fingerprint, b->fingerprint) && streq(a->pem, b->pem) && streq(a->type, b->type) &&
	       streq(a->name, b->name) && a->restricted == b->restricted && strv_equal(&a->projects, &b->projects);
}

/* What changes nothing leaves no trace: whoever is trusted could fill the audit log with it. */
static int store_change(struct api_call *c, const struct trust_certificate *was, const struct trust_certificate *now,
			struct error *err)
{
	auto_free char *url = xasprintf("/1.0/certificates/%s", now->fingerprint);
	bool moved = !streq(was->fingerprint, now->fingerprint);
	auto_free char *detail = xasprintf("%s%s%s", was->fingerprint, moved ? " to " : "",
					   moved ? now->fingerprint : "");
	int r;

	if (is_same(was, now)) {
		api_empty(c);
		return 0;
	}
	r = api_audit(c, "certificate-updated", "allowed", detail, err);
	if (r < 0)
		return r;
	r = trust_update(c->api->trust, was, now, err);
	if (r < 0) {
		api_audit_note(c, "certificate-updated", "failed", detail);
		return r == -EEXIST && !identity_is_admin(&c->id) ? refuse_taken(c, now->fingerprint, err) : r;
	}
	if (moved && c->api->audit)
		audit_renewed(c->api->audit, was->fingerprint, now->fingerprint);
	api_lifecycle(c, "certificate-updated", url);
	api_empty(c);
	return 0;
}

static int change(struct api_call *c, bool replace, struct error *err)
{
	auto_trust_certificate struct trust_certificate was = TRUST_CERTIFICATE_INIT, now = TRUST_CERTIFICATE_INIT;
	struct certificate_body b = {0};
	uint64_t given = 0;
	char etag[65];
	int r = find(c, &was, err);

	if (r == -ENOENT && !identity_is_admin(&c->id)) {
		error_clear(err);
		return error_set(err, 403, "Certificate cannot be changed");
	}
	if (r < 0)
		return r;
	certificate_etag(&was, etag);
	r = api_check_etag(c, etag, err);
	if (r == 0)
		r = api_decode(c, certificate_put_fields, &b, &given, err);
	if (r == 0 && !replace)
		merge(&b, given, &was);
	if (r == 0)
		r = check_change(c, &was, &b, err);
	if (r == 0)
		r = build_change(c, &was, &b, &now, err);
	if (r == 0)
		r = store_change(c, &was, &now, err);
	certificate_body_done(&b);
	return r;
}

static int put_certificate(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ true, err);
}

static int patch_certificate(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ false, err);
}

static int delete_certificate(struct api_call *c, struct error *err)
{
	auto_trust_certificate struct trust_certificate t = TRUST_CERTIFICATE_INIT;
	auto_free char *url = NULL;
	int r = find(c, &t, err);

	if (r == 0)
		r = api_audit(c, "certificate-removed", "allowed", t.fingerprint, err);
	if (r < 0)
		return r;
	r = trust_remove(c->api->trust, t.fingerprint, err);
	if (r < 0) {
		api_audit_note(c, "certificate-removed", "failed", t.fingerprint);
		return r;
	}
	url = xasprintf("/1.0/certificates/%s", t.fingerprint);
	api_lifecycle(c, "certificate-deleted", url);
	api_empty(c);
	return 0;
}

const struct api_route api_certificate_routes[] = {
	{.path = "/1.0/certificates",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = list_certificates,
	 .doc = "Trusted certificates; others than administrators see their own"},
	{.path = "/1.0/certificates",
	 .method = HTTP_POST,
	 .perm = PERM_ANYONE,
	 .flags = API_ANY_PROJECT,
	 .handler = post_certificates,
	 .body = certificate_post_fields,
	 .doc = "Add a certificate, or make a token for adding one"},
	{.path = "/1.0/certificates/{fingerprint}",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = get_certificate,
	 .doc = "One certificate, by any prefix of its fingerprint"},
	{.path = "/1.0/certificates/{fingerprint}",
	 .method = HTTP_PUT,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = put_certificate,
	 .body = certificate_put_fields,
	 .doc = "Replace a certificate's entry; others than administrators renew their own certificate"},
	{.path = "/1.0/certificates/{fingerprint}",
	 .method = HTTP_PATCH,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = patch_certificate,
	 .body = certificate_put_fields,
	 .doc = "Change some of a certificate's entry"},
	{.path = "/1.0/certificates/{fingerprint}",
	 .method = HTTP_DELETE,
	 .perm = PERM_ADMIN,
	 .flags = API_ANY_PROJECT,
	 .handler = delete_certificate,
	 .doc = "Trust a certificate no longer"},
	{0},
};
