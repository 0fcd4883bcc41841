/* What is sent here is parsed like what is sent to us as a client (multipart_reply.c): text behind the end is let be.
 */
#include "http/multipart.h"

#include "base/alloc.h"
#include "http/multipart_reply.h"

struct http_multipart {
	struct multipart_reply parser;
};

int http_multipart_new(struct http_request *req, http_part_fn fn, void *arg, struct http_multipart **ret,
		       struct error *err)
{
	struct http_multipart *m = xnew(struct http_multipart);
	const char *type = http_header(req, "Content-Type");
	auto_error struct error e = ERROR_INIT;

	if (multipart_reply_init(&m->parser, type ? type : "", fn, arg, &e) < 0) {
		error_ignore(&e, "there is one thing that can be wrong");
		http_multipart_free(m);
		return error_set(err, 400, "Invalid multipart image: no boundary in Content-Type");
	}
	*ret = m;
	return 0;
}

int http_multipart_feed(struct http_multipart *m, const void *data, size_t len, struct error *err)
{
	return multipart_reply_feed(&m->parser, data, len, err);
}

int http_multipart_finish(struct http_multipart *m, struct error *err)
{
	auto_error struct error e = ERROR_INIT;
	int r = multipart_reply_finish(&m->parser, &e);

	http_multipart_free(m);
	if (r == 0)
		return 0;
	error_ignore(&e, "there is one thing that can be wrong");
	return error_set(err, 400, "Invalid multipart image: body ends early");
}

void http_multipart_free(struct http_multipart *m)
{
	if (!m)
		return;
	multipart_reply_done(&m->parser);
	free(m);
}
