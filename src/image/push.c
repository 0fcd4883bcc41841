#include "image/push.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "http/client.h"

#define TICK_MS 500
#define STALL_MS 120000
#define REPLY_MAX (1u << 20)
#define WAIT_SECONDS 20 /* one request waits so long for the target's operation */

struct body {
	struct strbuf head, middle, tail;
	struct http_piece pieces[5];
	size_t n;
	int fds[2];
	char *type;
};

static void body_done(struct body *b)
{
	strbuf_done(&b->head);
	strbuf_done(&b->middle);
	strbuf_done(&b->tail);
	fd_close(b->fds[0]);
	fd_close(b->fds[1]);
	free(b->type);
}

static void add_text(struct body *b, const struct strbuf *text)
{
	b->pieces[b->n++] = (struct http_piece){.data = text->data, .len = text->len};
}

static int add_file(struct body *b, int fd, struct error *err)
{
	off_t len = lseek(fd, 0, SEEK_END);

	if (len < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return error_errno(err, errno, "Read the image's file");
	b->pieces[b->n++] = (struct http_piece){.fd = fd, .len = (uint64_t)len};
	return 0;
}

static void part_head(struct strbuf *b, const char *boundary, const char *name, const char *filename)
{
	strbuf_appendf(b,
		       "--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s\"\r\n"
		       "Content-Type: application/octet-stream\r\n\r\n",
		       boundary, name, filename);
}

/* One file as it is, two as a multipart form. */
static int make_body(const struct image_push_spec *p, struct body *b, struct error *err)
{
	const struct db_image *img = p->image;
	auto_free char *boundary = random_hex(24);
	auto_free char *meta_name = xasprintf("meta-%s%s", img->fingerprint, img->meta_ext);
	auto_free char *rootfs_name = xasprintf("%s%s", img->fingerprint, img->rootfs_ext);
	int r;

	b->fds[0] = image_file_open(p->images, img->project, img->fingerprint, IMAGE_PART_META, err);
	if (b->fds[0] < 0)
		return -err->errnum;
	if (!img->split) {
		b->type = xstrdup("Content-Type: application/octet-stream");
		return add_file(b, b->fds[0], err);
	}
	b->fds[1] = image_file_open(p->images, img->project, img->fingerprint, IMAGE_PART_ROOTFS, err);
	if (b->fds[1] < 0)
		return -err->errnum;
	b->type = xasprintf("Content-Type: multipart/form-data; boundary=%s", boundary);
	part_head(&b->head, boundary, "metadata", meta_name);
	strbuf_append(&b->middle, "\r\n");
	part_head(&b->middle, boundary, "rootfs", rootfs_name);
	strbuf_appendf(&b->tail, "\r\n--%s--\r\n", boundary);
	add_text(b, &b->head);
	r = add_file(b, b->fds[0], err);
	if (r == 0) {
		add_text(b, &b->middle);
		r = add_file(b, b->fds[1], err);
		add_text(b, &b->tail);
	}
	return r;
}

/* "a=b&c=d" */
static char *properties_text(const struct strmap *m)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; i < m->len; i++) {
		if (i)
			strbuf_append_char(&b, '&');
		url_escape(&b, m->items[i].key);
		strbuf_append_char(&b, '=');
		url_escape(&b, m->items[i].value);
	}
	return strbuf_take(&b);
}

/* A header's value: no line breaks, whatever the image is called. */
static char *header_text(const char *s)
{
	char *copy = xstrdup(s);

	for (char *p = copy; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '_';
	return copy;
}

static int interrupted(void *arg)
{
	const struct image_push_spec *p = arg;

	return p->cancelled && p->cancelled(p->arg) ? -ECANCELED : 0;
}

/* Send and read an API answer; its errors become ours. */
static int call(const struct image_push_spec *p, struct http_client *http, struct http_client_request *req,
		struct json **ret, struct error *err)
{
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	const char *text;
	int r;

	req->body_max = REPLY_MAX;
	req->interrupted = interrupted;
	req->interrupted_arg = (void *)(uintptr_t)p;
	r = http_client_send(http, req, &resp, err);
	if (r == -EINTR)
		return error_set(err, 400, "The upload was cancelled");
	if (r == 0)
		r = json_parse(strbuf_str(&resp.body), resp.body.len, ret, err);
	if (r < 0)
		return r;
	text = json_get_str(*ret, "error");
	if (resp.head.status >= 400 || !str_is_empty(text))
		return error_set(err, 503, "%s: %s", http_client_where(http), str_is_empty(text) ? "refused" : text);
	return 0;
}

static char *with_query(const char *path, const char *project)
{
	auto_free char *escaped = NULL;

	if (str_is_empty(project) || streq(project, "default"))
		return xstrdup(path);
	escaped = url_escaped(project);
	return xasprintf("%s%cproject=%s", path, strchr(path, '?') ? '&' : '?', escaped);
}

static int send_image(const struct image_push_spec *p, struct http_client *http, struct json **ret, struct error *err)
{
	CLEANUP(body_done) struct body b = {.fds = {-EBADF, -EBADF}};
	auto_free char *path = with_query("/1.0/images", p->project);
	auto_free char *name = header_text(p->image->filename);
	auto_free char *properties = properties_text(&p->image->properties);
	auto_free char *secret = header_text(p->secret);
	auto_strv struct strv headers = STRV_INIT;
	struct http_client_request req = {.method = "POST", .path = path};
	int r = make_body(p, &b, err);

	if (r < 0)
		return r;
	strv_add(&headers, "User-Agent: LXD 5.0.2");
	strv_add(&headers, b.type);
	strv_addf(&headers, "X-LXD-fingerprint: %s", p->image->fingerprint);
	strv_addf(&headers, "X-LXD-secret: %s", secret);
	strv_addf(&headers, "X-LXD-filename: %s", name);
	if (*properties)
		strv_addf(&headers, "X-LXD-properties: %s", properties);
	req.headers = (const char *const *)headers.items;
	req.body = b.pieces;
	req.body_count = b.n;
	r = call(p, http, &req, ret, err);
	explicit_bzero(secret, strlen(secret));
	return r;
}

/* The target's operation: strangers may wait for it by its secret. */
static int wait_for(const struct image_push_spec *p, struct http_client *http, const struct json *reply,
		    struct error *err)
{
	const char *operation = json_get_str(reply, "operation");
	const char *secret = json_get_str(json_get(json_get(reply, "metadata"), "metadata"), "secret");
	auto_free char *escaped = url_escaped(secret ? secret : "");
	auto_free char *path = NULL;

	if (!operation || !startswith(operation, "/1.0/operations/"))
		return error_set(err, 503, "%s does not answer like a LXD server", http_client_where(http));
	path = xasprintf("%.*s/wait?timeout=%d&secret=%s", (int)strcspn(operation, "?"), operation, WAIT_SECONDS,
			 escaped);
	for (;;) {
		struct http_client_request req = {.method = "GET", .path = path};
		auto_json struct json *body = NULL;
		const struct json *op;
		int64_t code;
		int r = call(p, http, &req, &body, err);

		if (r < 0)
			return r;
		op = json_get(body, "metadata");
		code = json_int(json_get(op, "status_code"));
		if (code < 200 && interrupted((void *)(uintptr_t)p) < 0)
			return error_set(err, 400, "The upload was cancelled");
		if (code < 200)
			continue;
		if (code == 200)
			return 0;
		return error_set(err, 400, "%s",
				 json_get_str(op, "err") ? json_get_str(op, "err") : "The upload failed");
	}
}

int image_push(const struct image_push_spec *spec, struct error *err)
{
	auto_http_client struct http_client *http = http_client_new_remote(spec->target);
	auto_json struct json *reply = NULL;
	int r;

	http_client_set_patience(http, TICK_MS, STALL_MS);
	r = send_image(spec, http, &reply, err);
	return r < 0 ? r : wait_for(spec, http, reply, err);
}
