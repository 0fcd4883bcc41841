/*
 * `lxc image copy`: the target fetches the image (pull), the source brings it (push), or it comes through this client
 * (relay).
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"
#include "client/image.h"
#include "client/image_pull.h"

struct copy {
	struct cli *c;
	struct target from, to;
	struct api *own;         /* the target's connection, when it is not the remote's */
	struct json *image;      /* as the source shows it */
	const char *fingerprint; /* in it */
	struct strv aliases;     /* wanted at the target */
};

static void copy_done(struct copy *k)
{
	target_done(&k->from);
	target_done(&k->to);
	json_free(k->image);
	strv_done(&k->aliases);
	api_close(k->own);
}

/* What the target makes of it, whatever the way. */
static void write_wishes(const struct copy *k, struct jsonw *w)
{
	const struct strv *profiles = option_list(k->c->options, "profile");

	jsonw_kv_bool(w, "public", option_bool(k->c->options, "public"));
	jsonw_kv_bool(w, "auto_update", option_bool(k->c->options, "auto-update"));
	if (profiles->len)
		jsonw_kv_strv(w, "profiles", profiles);
}

/* --- pull --- */

static int pull_from(struct copy *k, const struct image_pull *p, const char *server, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r;

	jsonw_object_begin(&w);
	write_wishes(k, &w);
	jsonw_key(&w, "source");
	jsonw_object_begin(&w);
	image_pull_write(p, server, &w);
	jsonw_kv_str(&w, "image_type", "container");
	jsonw_object_end(&w);
	jsonw_object_end(&w);
	r = api_call(k->to.api, "POST", "/1.0/images", b.data, NULL, &reply, err);
	return r < 0 ? r : cli_wait(k->c, k->to.api, &reply, NULL, err);
}

/* @fn for one address after the other, until one is good. */
static int try_each(struct copy *k, const struct image_pull *p,
		    int (*fn)(struct copy *k, const struct image_pull *p, const char *server, struct error *err),
		    struct error *err)
{
	auto_strbuf struct strbuf all = STRBUF_INIT;
	int r = 0;

	for (size_t i = 0; i < p->servers.len; i++) {
		auto_error struct error e = ERROR_INIT;

		r = fn(k, p, p->servers.items[i], &e);
		if (r >= 0)
			return 0;
		strbuf_appendf(&all, "\n - %s: %s", p->servers.items[i], error_msg(&e));
		r = error_move(err, &e);
	}
	if (p->servers.len > 1)
		return error_set(err, err->status, "Failed remote image download:%s", strbuf_str(&all));
	return error_wrap(err, "Failed remote image download");
}

static int copy_pull(struct copy *k, struct error *err)
{
	auto_image_pull struct image_pull p = IMAGE_PULL_INIT;
	int r = image_pull_prepare(k->c, &k->from, &k->to, &p, err);

	return r < 0 ? r : try_each(k, &p, pull_from, err);
}

/* --- push --- */

static int push_secret(struct copy *k, char **ret, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	const struct json *given = json_get(k->image, "properties");
	auto_free char *properties = json_kind(given) == JSON_OBJECT ? json_to_text(given) : xstrdup("{}");
	const char *secret;
	int r;

	jsonw_object_begin(&w);
	write_wishes(k, &w);
	/* never left out: LXD 5.0.2 ends with a panic on an image that was pushed without */
	jsonw_kv_raw(&w, "properties", properties);
	jsonw_key(&w, "source");
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "type", "image");
	jsonw_kv_str(&w, "mode", "push");
	jsonw_kv_str(&w, "fingerprint", k->fingerprint);
	jsonw_object_end(&w);
	jsonw_object_end(&w);
	r = api_call(k->to.api, "POST", "/1.0/images", b.data, NULL, &reply, err);
	if (r < 0)
		return r;
	secret = json_get_str(json_get(reply.metadata, "metadata"), "secret");
	if (str_is_empty(secret))
		return error_set(err, 500, "The target server gave no secret for the image");
	*ret = xstrdup(secret);
	return 0;
}

static int push_to(struct copy *k, const struct image_pull *p, const char *server, struct error *err)
{
	auto_free char *secret = NULL;
	auto_free char *url = cli_url("/1.0/images/%s/export", k->fingerprint);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r = push_secret(k, &secret, err);

	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "target", server);
	jsonw_kv_str(&w, "secret", secret);
	jsonw_kv_str(&w, "certificate", p->certificate);
	if (k->to.api->project && !streq(k->to.api->project, "default"))
		jsonw_kv_str(&w, "project", k->to.api->project);
	jsonw_object_end(&w);
	explicit_bzero(secret, strlen(secret));
	return cli_do(k->c, k->from.api, "POST", url, b.data, NULL, err);
}

static int copy_push(struct copy *k, struct error *err)
{
	auto_image_pull struct image_pull p = IMAGE_PULL_INIT;
	int r;

	if (!k->from.api)
		return error_set(err, 400, "An image server can't push: use --mode pull");
	if (option_bool(k->c->options, "auto-update"))
		return error_set(err, 400,
				 "--auto-update can't be used with --mode push: the target does not learn of a source");
	r = image_pull_servers(k->c, &k->to, k->to.api, &p, err);
	return r < 0 ? r : try_each(k, &p, push_to, err);
}

/* --- relay --- */

struct relay {
	int fd;
	uint64_t len;
	char *type;
};

static void relay_done(struct relay *f)
{
	fd_close(f->fd);
	free(f->type);
}

static int relay_head(void *arg, const struct http_head *head, struct error *err UNUSED)
{
	struct relay *f = arg;

	f->type = xstrdup(strmap_get_or(&head->headers, "content-type", "application/octet-stream"));
	return 0;
}

static int relay_data(void *arg, const void *data, size_t len, struct error *err)
{
	struct relay *f = arg;
	int r = fd_write_full(f->fd, data, len);

	f->len += len;
	return r < 0 ? error_errno(err, -r, "Write the image") : 0;
}

static int relay_download(struct copy *k, struct relay *f, struct error *err)
{
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	auto_free char *url = cli_url("/1.0/images/%s/export", k->fingerprint);
	struct http_client_request req = {
		.method = "GET", .path = url, .sink = relay_data, .on_head = relay_head, .sink_arg = f};
	int r = image_open_temporary(&f->fd, err);

	if (r >= 0)
		r = api_send_raw(k->from.api, &req, &resp, err);
	if (r >= 0)
		r = api_response_error(&resp, err);
	if (r >= 0 && lseek(f->fd, 0, SEEK_SET) < 0)
		r = error_errno(err, errno, "Rewind the image");
	return r;
}

static int add_property(const char *key, const struct json *value, void *arg)
{
	struct strbuf *b = arg;

	if (b->len)
		strbuf_append_char(b, '&');
	url_escape(b, key);
	strbuf_append_char(b, '=');
	url_escape(b, json_str(value) ? json_str(value) : "");
	return 0;
}

/* A server's text for a header. */
static char *one_line(const char *s)
{
	char *copy = xstrdup(s ? s : "");

	for (char *p = copy; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '_';
	return copy;
}

/* The body goes out as it came in: one file, or a form with two. */
static int relay_upload(struct copy *k, const struct relay *f, struct error *err)
{
	auto_strbuf struct strbuf properties = STRBUF_INIT;
	auto_strv struct strv headers = STRV_INIT;
	auto_free char *name = one_line(json_get_str(k->image, "filename"));
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	struct http_piece body = {.fd = f->fd, .len = f->len};
	struct http_client_request req = {.method = "POST", .path = "/1.0/images", .body = &body, .body_count = 1};
	int r;

	json_each(json_get(k->image, "properties"), add_property, &properties);
	strv_addf(&headers, "Content-Type: %s", f->type);
	strv_addf(&headers, "X-LXD-fingerprint: %s", k->fingerprint);
	strv_addf(&headers, "X-LXD-filename: %s", name);
	strv_addf(&headers, "X-LXD-public: %s", option_bool(k->c->options, "public") ? "true" : "false");
	if (properties.len)
		strv_addf(&headers, "X-LXD-properties: %s", properties.data);
	req.headers = (const char *const *)headers.items;
	r = api_send(k->to.api, &req, &reply, err);
	return r < 0 ? r : cli_wait(k->c, k->to.api, &reply, NULL, err);
}

static int copy_relay(struct copy *k, struct error *err)
{
	CLEANUP(relay_done) struct relay f = {.fd = -EBADF};
	int r;

	if (!k->from.api)
		return error_set(err, 400, "Images of this server can't be relayed: use --mode pull");
	if (option_bool(k->c->options, "auto-update"))
		return error_set(
			err, 400,
			"--auto-update can't be used with --mode relay: the target does not learn of a source");
	r = relay_download(k, &f, err);
	return r < 0 ? r : relay_upload(k, &f, err);
}

/* --- the command --- */

static int find_image(struct copy *k, struct error *err)
{
	auto_image_source struct image_source source = IMAGE_SOURCE_INIT;
	int r = image_source_open(k->c, &k->from, &source, err);

	if (r >= 0)
		r = image_source_find(&source, k->from.name, &k->image, err);
	if (r < 0)
		return r;
	k->from.api = source.api;
	k->fingerprint = json_get_str(k->image, "fingerprint");
	return k->fingerprint ? 0
			      : error_set(err, 500, "The server sent no fingerprint for image \"%s\"", k->from.name);
}

static void collect_aliases(struct copy *k)
{
	const struct strv *wanted = option_list(k->c->options, "alias");
	const struct json *list = json_get(k->image, "aliases");

	strv_copy(&k->aliases, wanted);
	for (size_t i = 0; option_bool(k->c->options, "copy-aliases") && i < json_len(list); i++) {
		const char *name = json_get_str(json_at(list, i), "name");

		if (!str_is_empty(name) && !strv_contains(&k->aliases, name))
			strv_add(&k->aliases, name);
	}
}

/* The source may be on the same connection, and in another project. */
static int open_project(struct copy *k, const char *project, struct error *err)
{
	int r = api_open_again(k->to.api, &k->own, err);

	if (r < 0)
		return r;
	free(k->own->project);
	k->own->project = xstrdup(project);
	k->to.api = k->own;
	return 0;
}

static int open_both(struct copy *k, struct error *err)
{
	const char *project = option_str(k->c->options, "target-project");
	int r = target_parse(k->c, cli_arg(k->c, 0), &k->from, err);

	if (r >= 0)
		r = target_parse(k->c, cli_arg(k->c, 1), &k->to, err);
	if (r < 0)
		return r;
	if (*k->to.name)
		return error_set(err, 400, "Can't provide a name for the target image");
	if (streq(k->from.remote, k->to.remote) && !project)
		return error_set(err, 400, "The source and target servers must be different");
	if (!*k->from.name)
		return error_set(err, 400, "Missing image name");
	r = target_connect(k->c, &k->to, err);
	if (r >= 0 && project)
		r = open_project(k, project, err);
	return r < 0 ? r : find_image(k, err);
}

static const struct {
	const char *mode;
	int (*fn)(struct copy *k, struct error *err);
} modes[] = {{"pull", copy_pull}, {"push", copy_push}, {"relay", copy_relay}};

static int run_copy(struct cli *c, struct error *err)
{
	CLEANUP(copy_done) struct copy k = {.c = c, .from = TARGET_INIT, .to = TARGET_INIT};
	const char *mode = option_str(c->options, "mode");
	size_t i = 0;
	int r;

	while (i < ARRAY_SIZE(modes) && !streq(modes[i].mode, mode ? mode : "pull"))
		i++;
	if (i == ARRAY_SIZE(modes))
		return error_set(err, 400, "Invalid mode \"%s\": pull, push and relay are known", mode);
	if (option_bool(c->options, "vm"))
		return error_set(err, 400, "Images of virtual machines are not supported by this client");
	r = open_both(&k, err);
	if (r < 0)
		return r;
	collect_aliases(&k);
	r = modes[i].fn(&k, err);
	for (size_t n = 0; r >= 0 && n < k.aliases.len; n++)
		r = image_set_alias(c, k.to.api, k.aliases.items[n], k.fingerprint, err);
	if (r >= 0 && !cli_quiet(c))
		puts("Image copied successfully!");
	return r;
}

static const struct option_row copy_options[] = {
	{"alias", 0, OPTION_LIST, NULL, "New alias for the copy, may be given several times"},
	{"auto-update", 0, OPTION_BOOL, NULL, "Keep the copy up to date"},
	{"copy-aliases", 0, OPTION_BOOL, NULL, "Give the copy the source's aliases"},
	{"mode", 0, OPTION_STRING, "pull", "Way of the data: pull, push or relay"},
	{"profile", 'p', OPTION_LIST, NULL, "Profile for instances of the copy, may be given several times"},
	{"public", 0, OPTION_BOOL, NULL, "Make the copy public"},
	{"target-project", 0, OPTION_STRING, NULL, "Project on the target server"},
	{"vm", 0, OPTION_BOOL, NULL, "Look for images of virtual machines"},
	OPTION_END,
};

const struct command cmd_image_copy = {
	.name = "copy",
	.alias = "cp",
	.args = "[<remote>:]<image> <remote>:",
	.min_args = 2,
	.max_args = 2,
	.run = run_copy,
	.options = copy_options,
	.doc = "Copy an image to another server",
};
