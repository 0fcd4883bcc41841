#include "http/multipart.h"

#include <microhttpd.h>

#include "base/alloc.h"

#define BUFFER (64 * 1024)

struct http_multipart {
	struct MHD_PostProcessor *pp;
	http_part_fn fn;
	void *arg;
	struct error err;
};

static enum MHD_Result on_piece(void *cls, enum MHD_ValueKind kind UNUSED, const char *key, const char *filename UNUSED,
				const char *content_type UNUSED, const char *transfer_encoding UNUSED, const char *data,
				uint64_t off, size_t size)
{
	struct http_multipart *m = cls;

	if (m->err.msg)
		return MHD_NO;
	return m->fn(m->arg, key ? key : "", off, data, size, &m->err) < 0 ? MHD_NO : MHD_YES;
}

int http_multipart_new(struct http_request *req, http_part_fn fn, void *arg, struct http_multipart **ret,
		       struct error *err)
{
	struct http_multipart *m = xnew(struct http_multipart);

	m->fn = fn;
	m->arg = arg;
	m->pp = MHD_create_post_processor(req->library, BUFFER, on_piece, m);
	if (!m->pp) {
		free(m);
		return error_set(err, 400, "Invalid multipart image: no boundary in Content-Type");
	}
	*ret = m;
	return 0;
}

int http_multipart_feed(struct http_multipart *m, const void *data, size_t len, struct error *err)
{
	if (MHD_post_process(m->pp, data, len) == MHD_YES)
		return 0;
	if (m->err.msg)
		return error_move(err, &m->err);
	return error_set(err, 400, "Invalid multipart image: malformed body");
}

int http_multipart_finish(struct http_multipart *m, struct error *err)
{
	enum MHD_Result ok = MHD_destroy_post_processor(m->pp);
	int r = 0;

	m->pp = NULL;
	if (m->err.msg)
		r = error_move(err, &m->err);
	else if (ok != MHD_YES)
		r = error_set(err, 400, "Invalid multipart image: body ends early");
	http_multipart_free(m);
	return r;
}

void http_multipart_free(struct http_multipart *m)
{
	if (!m)
		return;
	if (m->pp)
		MHD_destroy_post_processor(m->pp);
	error_clear(&m->err);
	free(m);
}
