/* `lxc image import` and `lxc image export`: files stream to and from the server. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "base/path.h"
#include "base/process.h"
#include "base/str.h"
#include "client/client.h"
#include "client/image.h"

#define PACK_TIMEOUT_MS (3600 * 1000)

/* ---- import ---- */

struct import {
	const char *files[2]; /* [1] NULL: one file holds all */
	int fds[2];
	uint64_t sizes[2];
	struct strbuf properties; /* as a query string */
	struct strmap pairs;      /* the same */
	const char *remote;       /* argument "remote:", or NULL */
};

static void import_done(struct import *im)
{
	fd_close(im->fds[0]);
	fd_close(im->fds[1]);
	strbuf_done(&im->properties);
	strmap_done(&im->pairs);
}

/* file [file] [remote:] [key=value...] */
static int sort_arguments(struct cli *c, struct import *im, struct error *err)
{
	im->files[0] = cli_arg(c, 0);
	for (size_t i = 1; i < cli_argc(c); i++) {
		const char *arg = cli_arg(c, i);
		const char *equals = strchr(arg, '=');

		if (equals) {
			auto_free char *key = xstrndup(arg, (size_t)(equals - arg));

			strbuf_append(&im->properties, im->properties.len ? "&" : "");
			url_escape(&im->properties, key);
			strbuf_append_char(&im->properties, '=');
			url_escape(&im->properties, equals + 1);
			strmap_set(&im->pairs, key, equals + 1);
		} else if (endswith(arg, ":")) {
			im->remote = arg;
		} else if (!im->files[1]) {
			im->files[1] = arg;
		} else {
			return error_set(err, 400, "Invalid argument \"%s\": it is no file, remote or property", arg);
		}
	}
	return 0;
}

int image_open_temporary(int *ret_fd, struct error *err)
{
	const char *dir = getenv("TMPDIR");

	if (str_is_empty(dir))
		dir = "/var/tmp";
	*ret_fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	return *ret_fd < 0 ? error_errno(err, errno, "Create a temporary file in %s", dir) : 0;
}

/* The tree of an image as an archive with all owners and attributes, which only root can read. */
static int pack_directory(const char *path, int *ret_fd, struct error *err)
{
	auto_close int fd = -EBADF;
	auto_free char *full = realpath(path, NULL);
	const char *const argv[] = {"/bin/tar", "--create",    "--numeric-owner",
				    "--acls",   "--xattrs",    "--xattrs-include=*",
				    "--sparse", "--directory", full,
				    ".",        NULL};
	struct process_spec spec = PROCESS_SPEC_INIT;
	int r;

	if (!full)
		return error_errno(err, errno, "Find %s", path);
	if (geteuid() != 0)
		return error_set(err, 403, "Must be root to import the directory %s", path);
	r = image_open_temporary(&fd, err);
	if (r < 0)
		return r;
	spec.argv = argv;
	spec.stdout_fd = fd;
	spec.timeout_ms = PACK_TIMEOUT_MS;
	r = process_run(&spec, NULL, err);
	if (r < 0)
		return error_wrap(err, "Pack the directory %s", path);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_errno(err, errno, "Rewind the archive of %s", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_file(const char *path, int *ret_fd, uint64_t *ret_size, struct error *err)
{
	struct stat st;
	int r;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		r = pack_directory(path, ret_fd, err);
		if (r < 0)
			return r;
	} else {
		*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (*ret_fd < 0)
		return error_errno(err, errno, "open %s", path);
	if (fstat(*ret_fd, &st) < 0)
		return error_errno(err, errno, "stat %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, 400, "%s is not a regular file", path);
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

/* A file's last part, without what would break a header or a quoted string. */
static char *header_name(const char *path)
{
	char *name = cli_url_last(path);

	for (char *p = name; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == '"' || *p == '\\')
			*p = '_';
	return name;
}

static int post_unified(struct cli *c, struct api *a, struct import *im, struct api_reply *reply, struct error *err)
{
	auto_free char *name = header_name(im->files[0]);
	auto_free char *filename = xasprintf("X-LXD-filename: %s", name);
	auto_free char *properties = xasprintf("X-LXD-properties: %s", strbuf_str(&im->properties));
	const char *headers[] = {"Content-Type: application/octet-stream", filename,
				 option_bool(c->options, "public") ? "X-LXD-public: true" : "X-LXD-public: false",
				 im->properties.len ? properties : NULL, NULL};
	struct http_piece body = {.fd = im->fds[0], .len = im->sizes[0]};
	struct http_client_request req = {
		.method = "POST", .path = "/1.0/images", .headers = headers, .body = &body, .body_count = 1};

	return api_send(a, &req, reply, err);
}

static int post_split(struct cli *c, struct api *a, struct import *im, struct api_reply *reply, struct error *err)
{
	static const char part[] = "--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s\"\r\n"
				   "Content-Type: application/octet-stream\r\n\r\n";
	auto_free char *boundary = random_hex(16);
	auto_free char *meta_name = header_name(im->files[0]);
	auto_free char *root_name = header_name(im->files[1]);
	auto_free char *first = xasprintf(part, boundary, "metadata", meta_name);
	auto_free char *rest = xasprintf(part, boundary, "rootfs", root_name);
	auto_free char *second = xasprintf("\r\n%s", rest);
	auto_free char *end = xasprintf("\r\n--%s--\r\n", boundary);
	auto_free char *type = xasprintf("Content-Type: multipart/form-data; boundary=%s", boundary);
	auto_free char *properties = xasprintf("X-LXD-properties: %s", strbuf_str(&im->properties));
	const char *headers[] = {type, option_bool(c->options, "public") ? "X-LXD-public: true" : "X-LXD-public: false",
				 im->properties.len ? properties : NULL, NULL};
	struct http_piece body[] = {
		{.data = first, .len = strlen(first)},   {.fd = im->fds[0], .len = im->sizes[0]},
		{.data = second, .len = strlen(second)}, {.fd = im->fds[1], .len = im->sizes[1]},
		{.data = end, .len = strlen(end)},
	};
	struct http_client_request req = {.method = "POST",
					  .path = "/1.0/images",
					  .headers = headers,
					  .body = body,
					  .body_count = ARRAY_SIZE(body)};

	return api_send(a, &req, reply, err);
}

int image_set_alias(struct cli *c, struct api *a, const char *alias, const char *fingerprint, struct error *err)
{
	auto_free char *url = cli_url("/1.0/images/aliases/%s", alias);
	auto_api_reply struct api_reply old = API_REPLY_INIT;
	auto_error struct error e = ERROR_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r;

	r = api_get(a, url, &old, &e);
	if (r >= 0)
		r = cli_do(c, a, "DELETE", url, NULL, NULL, err);
	else if (e.status == 404)
		r = 0;
	else
		return error_move(err, &e);
	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", alias);
	jsonw_kv_str(&w, "target", fingerprint);
	jsonw_kv_str(&w, "description", "");
	jsonw_object_end(&w);
	return cli_do(c, a, "POST", "/1.0/images/aliases", strbuf_str(&b), NULL, err);
}

static int finish_import(struct cli *c, struct api *a, struct api_reply *reply, struct error *err)
{
	const struct strv *aliases = option_list(c->options, "alias");
	auto_json struct json *op = NULL;
	const char *fingerprint;
	int r;

	r = cli_wait(c, a, reply, &op, err);
	if (r < 0)
		return r;
	fingerprint = json_get_str(json_get(op, "metadata"), "fingerprint");
	if (!image_is_fingerprint(fingerprint))
		return error_set(err, 500, "The server sent no fingerprint for the image");
	for (size_t i = 0; i < aliases->len; i++) {
		r = image_set_alias(c, a, aliases->items[i], fingerprint, err);
		if (r < 0)
			return r;
	}
	cli_say("Image imported with fingerprint: %s\n", fingerprint);
	return 0;
}

/* The server fetches it: LXD-Image-Hash and LXD-Image-URL of the address say what. */
static int import_url(struct cli *c, struct import *im, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	struct jsonw w = JSONW(&b);
	int r;

	if (!startswith(im->files[0], "https://"))
		return error_set(err, 400, "Only https:// is supported for remote image import");
	if (im->files[1])
		return error_set(err, 400, "Invalid argument \"%s\": an image behind an address is one file",
				 im->files[1]);
	jsonw_object_begin(&w);
	jsonw_kv_bool(&w, "public", option_bool(c->options, "public"));
	jsonw_kv_strmap(&w, "properties", &im->pairs);
	jsonw_key(&w, "source");
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "type", "url");
	jsonw_kv_str(&w, "mode", "pull");
	jsonw_kv_str(&w, "url", im->files[0]);
	jsonw_object_end(&w);
	jsonw_object_end(&w);
	r = target_open(c, im->remote, &t, err);
	if (r >= 0)
		r = api_call(t.api, "POST", "/1.0/images", b.data, NULL, &reply, err);
	return r < 0 ? r : finish_import(c, t.api, &reply, err);
}

static int run_import(struct cli *c, struct error *err)
{
	CLEANUP(import_done) struct import im = {.fds = {-EBADF, -EBADF}};
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r;

	r = sort_arguments(c, &im, err);
	if (r >= 0 && strstr(im.files[0], "://"))
		return import_url(c, &im, err);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(im.files) && im.files[i]; i++)
		r = open_file(im.files[i], &im.fds[i], &im.sizes[i], err);
	if (r >= 0)
		r = target_open(c, im.remote, &t, err);
	if (r < 0)
		return r;
	r = im.files[1] ? post_split(c, t.api, &im, &reply, err) : post_unified(c, t.api, &im, &reply, err);
	return r < 0 ? r : finish_import(c, t.api, &reply, err);
}

/* ---- export ---- */

static int to_file(void *arg, const void *data, size_t len, struct error *err)
{
	int r = fd_write_full(*(const int *)arg, data, len);

	return r < 0 ? error_errno(err, -r, "Write the image") : 0;
}

/* Value of name= or name="..." in a header; the caller frees. */
static char *header_parameter(const char *header, const char *name)
{
	auto_free char *want = xasprintf("%s=", name);
	const char *at = strcasestr(header, want);

	if (!at)
		return NULL;
	at += strlen(want);
	return *at == '"' ? xstrndup(at + 1, strcspn(at + 1, "\"")) : xstrndup(at, strcspn(at, "; \t"));
}

/* Where an exported file goes: into a directory under its own name, or to @target plus the name's extension. */
static char *target_path(const char *target, const char *fingerprint, const char *server_name)
{
	struct stat st;
	const char *ext = image_extension(server_name);

	if (!target || (stat(target, &st) == 0 && S_ISDIR(st.st_mode))) {
		auto_free char *name = xasprintf("%s%s", fingerprint, ext);

		return path_join(target ? target : ".", name);
	}
	return xasprintf("%s%s", target, ext);
}

static int write_part(const char *path, const char *data, size_t len, struct error *err)
{
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int r;

	if (fd < 0)
		return error_errno(err, errno, "Create %s", path);
	r = fd_write_full(fd, data, len);
	return r < 0 ? error_errno(err, -r, "Write %s", path) : 0;
}

/* Next part of a multipart body at *@at: its head and its data. 1, 0 at the end, or an error. */
static int next_part(const char *map, size_t size, const char *mark, size_t *at, char **ret_head, const char **ret_data,
		     size_t *ret_len, struct error *err)
{
	size_t mark_len = strlen(mark);
	const char *head = map + *at, *body, *end;

	if (*at + mark_len > size || memcmp(head, mark, mark_len) != 0)
		return error_set(err, 500, "Malformed image from the server: part without its boundary");
	head += mark_len;
	if ((size_t)(map + size - head) >= 2 && memcmp(head, "--", 2) == 0)
		return 0;
	body = memmem(head, (size_t)(map + size - head), "\r\n\r\n", 4);
	if (!body)
		return error_set(err, 500, "Malformed image from the server: part without an end of its head");
	*ret_head = xstrndup(head, (size_t)(body - head));
	body += 4;
	{
		auto_free char *next = xasprintf("\r\n%s", mark);

		end = memmem(body, (size_t)(map + size - body), next, strlen(next));
	}
	if (!end)
		return error_set(err, 500, "Malformed image from the server: part without an end");
	*ret_data = body;
	*ret_len = (size_t)(end - body);
	*at = (size_t)(end - map) + 2;
	return 1;
}

/* The metadata goes to @target, the root file system to @target.root; in a directory under their own names. */
static char *part_path(const char *target, const char *head, const char *fingerprint, bool is_rootfs)
{
	struct stat st;
	auto_free char *server_name = header_parameter(head, "filename");
	const char *ext = image_extension(server_name);

	if (!target || (stat(target, &st) == 0 && S_ISDIR(st.st_mode))) {
		auto_free char *own = is_rootfs ? xasprintf("%s%s", fingerprint, ext)
						: xasprintf("meta-%s%s", fingerprint, ext);

		return path_join(target ? target : ".", own);
	}
	return is_rootfs ? xasprintf("%s.root%s", target, ext) : xasprintf("%s%s", target, ext);
}

static int split_parts(int fd, const char *type, const char *target, const char *fingerprint, struct error *err)
{
	auto_free char *boundary = header_parameter(type, "boundary");
	auto_free char *mark = xasprintf("--%s", boundary ? boundary : "");
	struct stat st;
	size_t at = 0, len = 0;
	const char *data = NULL;
	char *map;
	int r = 0;

	if (str_is_empty(boundary) || fstat(fd, &st) < 0 || st.st_size == 0)
		return error_set(err, 500, "Malformed image from the server: no boundary");
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return error_errno(err, errno, "Map the downloaded image");
	for (unsigned n = 0; r >= 0; n++) {
		auto_free char *head = NULL;
		auto_free char *path = NULL;

		r = next_part(map, (size_t)st.st_size, mark, &at, &head, &data, &len, err);
		if (r <= 0)
			break;
		path = part_path(target, head, fingerprint, n > 0);
		r = n > 1 ? error_set(err, 500, "Malformed image from the server: too many parts")
			  : write_part(path, data, len, err);
	}
	munmap(map, (size_t)st.st_size);
	return r;
}

/* Download into a temporary file beside the target, then give it its name or take it apart. */
static int download(struct api *a, const char *fingerprint, const char *target, int fd, const char *temporary,
		    struct error *err)
{
	auto_free char *base = cli_url("/1.0/images/%s", fingerprint);
	auto_free char *url = xasprintf("%s/export", base);
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	struct http_client_request req = {.method = "GET", .path = url, .sink = to_file, .sink_arg = &fd};
	auto_free char *name = NULL;
	auto_free char *path = NULL;
	const char *type;
	int r;

	r = api_send_raw(a, &req, &resp, err);
	if (r >= 0)
		r = api_response_error(&resp, err);
	if (r < 0)
		return r;
	type = strmap_get_or(&resp.head.headers, "content-type", "");
	if (startswith(type, "multipart/form-data"))
		return split_parts(fd, type, target, fingerprint, err);
	name = header_parameter(strmap_get_or(&resp.head.headers, "content-disposition", ""), "filename");
	path = target_path(target, fingerprint, name);
	if (rename(temporary, path) < 0)
		return error_errno(err, errno, "Rename %s to %s", temporary, path);
	return 0;
}

static int run_export(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_free char *fingerprint = NULL;
	auto_free char *temporary = NULL;
	auto_close int fd = -EBADF;
	const char *target = cli_arg(c, 1);
	struct stat st;
	int r;

	r = target_open_named(c, cli_arg(c, 0), "image", &t, err);
	if (r >= 0)
		r = image_resolve(t.api, t.name, &fingerprint, err);
	if (r < 0)
		return r;
	if (target && stat(target, &st) == 0 && S_ISDIR(st.st_mode))
		temporary = path_join(target, ".lxc-export-XXXXXX");
	else
		temporary = xasprintf("%s.XXXXXX", target ? target : ".lxc-export");
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "Create %s", temporary);
	fchmod(fd, 0644);
	r = download(t.api, fingerprint, target, fd, temporary, err);
	unlink(temporary);
	if (r >= 0 && !cli_quiet(c))
		puts("Image exported successfully!");
	return r;
}

static const struct option_row import_options[] = {
	{"alias", 0, OPTION_LIST, NULL, "Alias for the image"},
	{"public", 0, OPTION_BOOL, NULL, "Let everybody have it"},
	OPTION_END,
};
static const struct option_row export_options[] = {
	{"vm", 0, OPTION_BOOL, NULL, "Look for images of virtual machines"},
	OPTION_END,
};

const struct command cmd_image_import = {
	.name = "import",
	.args = "<tarball> [<rootfs tarball>] [<remote>:] [key=value...]",
	.min_args = 1,
	.max_args = COMMAND_ANY,
	.options = import_options,
	.run = run_import,
	.doc = "Import an image from a file, or from two",
};

const struct command cmd_image_export = {
	.name = "export",
	.args = "[<remote>:]<image> [<target>]",
	.min_args = 1,
	.max_args = 2,
	.options = export_options,
	.run = run_export,
	.doc = "Export an image into a file",
};
