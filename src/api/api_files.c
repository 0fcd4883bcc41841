/* /1.0/instances/{name}/files?path=: reading and writing an instance's files. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

#define NOT_GIVEN 0xffffffffu
#define NAMES_MAX (17u << 20)
#define PATH_BYTES_MAX 4095

static int find(struct api_call *c, struct instance **ret, struct error *err)
{
	return instance_find(c->api->instances, c->project, c->params[0], ret, err);
}

/* The path of the query, with a slash in front; the caller frees. */
static int get_path(struct api_call *c, char **ret, struct error *err)
{
	const char *path = http_query(c->req, "path");

	if (str_is_empty(path))
		return error_set(err, 400, "Missing path argument");
	if (strlen(path) > PATH_BYTES_MAX)
		return error_set(err, 400, "The path is longer than %d bytes", PATH_BYTES_MAX);
	*ret = *path == '/' ? xstrdup(path) : xasprintf("/%s", path);
	return 0;
}

static void tell(struct api_call *c, const char *action, const char *path)
{
	auto_free char *url = xasprintf("/1.0/instances/%s", c->params[0]);
	auto_strmap struct strmap context = STRMAP_INIT;

	strmap_set(&context, "path", path);
	api_lifecycle_context(c, action, url, &context);
}

/* Where a link at @path leads, as an absolute path. */
static char *absolute_target(const char *path, const char *target)
{
	const char *slash = strrchr(path, '/');
	auto_free char *full = NULL;

	if (*target == '/')
		return path_lexical(target);
	full = xasprintf("%.*s/%s", (int)(slash - path), path, target);
	return path_lexical(full);
}

static const char *const type_names[] = {
	[CONTAINER_FILE_REGULAR] = "file", [CONTAINER_FILE_FOLDER] = "directory", [CONTAINER_FILE_LINK] = "symlink"};

static void add_headers(struct api_call *c, const struct container_file *f)
{
	char text[80];
	struct tm tm;
	time_t t = (time_t)f->mtime;

	snprintf(text, sizeof(text), "%u", f->uid);
	http_response_header(c->resp, "X-LXD-uid", text);
	snprintf(text, sizeof(text), "%u", f->gid);
	http_response_header(c->resp, "X-LXD-gid", text);
	snprintf(text, sizeof(text), "%04o", f->mode & 0777);
	http_response_header(c->resp, "X-LXD-mode", text);
	http_response_header(c->resp, "X-LXD-type", type_names[f->type]);
	if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S +0000 UTC", &tm))
		http_response_header(c->resp, "X-LXD-modified", text);
}

static int answer_names(struct api_call *c, int fd, struct error *err)
{
	auto_free char *names = NULL;
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || st.st_size > NAMES_MAX)
		return error_set(err, 500, "The folder has too many names");
	names = xcalloc(1, (size_t)st.st_size + 1);
	n = pread(fd, names, (size_t)st.st_size, 0);
	if (n < 0)
		return error_errno(err, errno, "Read the names in the folder");
	jsonw_array_begin(&w);
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
		jsonw_str(&w, names + at);
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

static int get_file(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	auto_container_file struct container_file f = CONTAINER_FILE_INIT;
	auto_free char *path = NULL;
	int r = find(c, &i, err);

	if (r == 0)
		r = get_path(c, &path, err);
	if (r == 0)
		r = instance_file_read(i, path, &f, err);
	if (r < 0)
		return r;
	add_headers(c, &f);
	if (f.type == CONTAINER_FILE_FOLDER) {
		r = answer_names(c, f.fd, err);
	} else if (f.type == CONTAINER_FILE_LINK) {
		auto_free char *target = absolute_target(path, f.target);

		strbuf_append(&c->resp->body, target);
		http_response_header(c->resp, "Content-Type", "application/octet-stream");
	} else {
		api_file(c, TAKE_FD(f.fd), "application/octet-stream", strrchr(path, '/') + 1);
	}
	if (r == 0 && c->req->method == HTTP_GET)
		tell(c, "instance-file-retrieved", path);
	return r;
}

/* --- writing --- */

enum file_kind { KIND_FILE, KIND_FOLDER, KIND_LINK };

struct file_upload {
	enum file_kind kind;
	char *path;
	struct instance *instance;
	struct container_file_owner owner;
	struct instance_upload *content; /* of a file */
};

static void upload_free(void *arg)
{
	struct file_upload *u = arg;

	instance_upload_free(u->content);
	instance_unref(u->instance);
	free(u->path);
	free(u);
}

static int read_id(struct api_call *c, const char *header, uint32_t *ret, struct error *err)
{
	const char *text = http_header(c->req, header);

	*ret = NOT_GIVEN;
	if (str_is_empty(text) || streq(text, "-1"))
		return 0;
	return parse_u32(text, ret) < 0 ? error_set(err, 400, "Invalid %s \"%s\"", header, text) : 0;
}

/* Octal with a leading zero, else decimal. */
static int read_mode(struct api_call *c, uint32_t *ret, struct error *err)
{
	const char *text = http_header(c->req, "X-LXD-mode");
	unsigned octal = 0;
	int r;

	*ret = NOT_GIVEN;
	if (str_is_empty(text) || streq(text, "-1"))
		return 0;
	r = *text == '0' ? parse_octal(text, &octal) : parse_u32(text, ret);
	if (*text == '0')
		*ret = octal;
	if (r < 0 || *ret > 07777)
		return error_set(err, 400, "Invalid X-LXD-mode \"%s\"", text);
	*ret &= 0777;
	return 0;
}

static int read_kind(struct api_call *c, enum file_kind *ret, bool *ret_append, struct error *err)
{
	const char *type = http_header(c->req, "X-LXD-type");
	const char *how = http_header(c->req, "X-LXD-write");

	*ret = KIND_FILE;
	if (!str_is_empty(type) && !streq(type, "file")) {
		if (!streq(type, "directory") && !streq(type, "symlink"))
			return error_set(err, 400, "Bad file type: %s", type);
		*ret = streq(type, "directory") ? KIND_FOLDER : KIND_LINK;
	}
	*ret_append = how && streq(how, "append");
	if (!str_is_empty(how) && !*ret_append && !streq(how, "overwrite"))
		return error_set(err, 400, "Bad file write mode: %s", how);
	return 0;
}

static int on_data(struct http_request *req, const void *data, size_t len, struct error *err)
{
	struct api_call *c = req->user;
	struct file_upload *u = c->upload;

	return instance_upload_write(u->content, data, len, err);
}

/* By the headers: a file is opened before its content is sent, and written as it arrives. */
static int begin_post(struct api_call *c, struct error *err)
{
	struct file_upload *u = xnew(struct file_upload);
	bool append = false;
	int r;

	c->upload = u;
	r = find(c, &u->instance, err);
	if (r == 0)
		r = get_path(c, &u->path, err);
	if (r == 0)
		r = read_kind(c, &u->kind, &append, err);
	if (r == 0)
		r = read_id(c, "X-LXD-uid", &u->owner.uid, err);
	if (r == 0)
		r = read_id(c, "X-LXD-gid", &u->owner.gid, err);
	if (r == 0)
		r = read_mode(c, &u->owner.mode, err);
	if (r == 0 && u->kind == KIND_FILE)
		r = instance_upload_new(u->instance, u->path, append, &u->owner, &u->content, err);
	c->req->body_max = PATH_BYTES_MAX;
	if (u->kind == KIND_FILE)
		c->req->sink = on_data;
	return r;
}

static int make_link(struct api_call *c, const struct file_upload *u, struct error *err)
{
	const char *target = strbuf_str(&c->req->body);

	if (!*target || strlen(target) != c->req->body.len)
		return error_set(err, 400, "The target of a symbolic link must be a path");
	return instance_file_make_link(u->instance, u->path, target, &u->owner, err);
}

static int post_file(struct api_call *c, struct error *err)
{
	struct file_upload *u = c->upload;
	int r;

	if (u->kind == KIND_FILE)
		r = instance_upload_finish(u->content, err);
	else if (u->kind == KIND_FOLDER)
		r = instance_file_make_folder(u->instance, u->path, &u->owner, err);
	else
		r = make_link(c, u, err);
	if (r < 0)
		return r;
	tell(c, "instance-file-pushed", u->path);
	api_empty(c);
	return 0;
}

static int delete_file(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	auto_free char *path = NULL;
	int r = find(c, &i, err);

	if (r == 0)
		r = get_path(c, &path, err);
	if (r == 0)
		r = instance_file_remove(i, path, err);
	if (r < 0)
		return r;
	tell(c, "instance-file-deleted", path);
	api_empty(c);
	return 0;
}

const struct api_route api_file_routes[] = {
	{.path = "/1.0/instances/{name}/files",
	 .method = HTTP_GET,
	 .perm = PERM_INSTANCE_USE,
	 .handler = get_file,
	 .doc = "A file's content, the names in a folder, or the target of a link (?path=)"},
	{.path = "/1.0/instances/{name}/files",
	 .method = HTTP_POST,
	 .perm = PERM_INSTANCE_USE,
	 .handler = post_file,
	 .begin = begin_post,
	 .upload_free = upload_free,
	 .doc = "Write a file, make a folder or a link (?path=); the body is the content or the target"},
	{.path = "/1.0/instances/{name}/files",
	 .method = HTTP_DELETE,
	 .perm = PERM_INSTANCE_USE,
	 .handler = delete_file,
	 .doc = "Remove a file, link or empty folder (?path=)"},
	{0},
};
