/* `lxc file`: files to and from an instance, one by one. Whole trees are in file_tree.c. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "client/client.h"
#include "client/doc.h"
#include "client/file.h"
#include "client/image.h"

#define LINKS_MAX 40

/* --- arguments --- */

struct remote_path {
	struct target target;
	char *instance;
	char *path; /* with a slash in front, without "." and ".." */
	bool is_folder;
};

static void remote_path_done(struct remote_path *p)
{
	target_done(&p->target);
	free(p->instance);
	free(p->path);
}

const char *file_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* [<remote>:]<instance>/<path>; @what is "target", "source" or "path". */
static int open_remote_path(struct cli *c, const char *text, const char *what, struct remote_path *ret,
			    struct error *err)
{
	const char *slash;
	int r = target_parse(c, text, &ret->target, err);

	if (r < 0)
		return r;
	slash = strchr(ret->target.name, '/');
	if (!slash || slash == ret->target.name)
		return error_set(err, 400, "Invalid %s %s", what, text);
	ret->instance = xstrndup(ret->target.name, (size_t)(slash - ret->target.name));
	ret->path = path_lexical(slash);
	ret->is_folder = endswith(slash, "/") || streq(ret->path, "/");
	return target_connect(c, &ret->target, err);
}

/* --- one file --- */

static char *files_url(const char *instance, const char *path)
{
	return cli_url("/1.0/instances/%s/files?path=%s", instance, path);
}

int file_send(struct api *a, const char *instance, const char *path, const struct file_kind *k,
	      const struct http_piece *body, struct error *err)
{
	auto_free char *url = files_url(instance, path);
	auto_free char *type = xasprintf("X-LXD-type: %s", k->type);
	auto_free char *uid = xasprintf("X-LXD-uid: %lld", (long long)k->uid);
	auto_free char *gid = xasprintf("X-LXD-gid: %lld", (long long)k->gid);
	auto_free char *mode = xasprintf("X-LXD-mode: %04o", (unsigned)(k->mode < 0 ? 0 : k->mode));
	const char *headers[6] = {"Content-Type: application/octet-stream", type};
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	struct http_client_request req = {
		.method = "POST", .path = url, .headers = headers, .body = body, .body_count = body ? 1 : 0};
	size_t n = 2;

	if (k->uid >= 0)
		headers[n++] = uid;
	if (k->gid >= 0)
		headers[n++] = gid;
	if (k->mode >= 0)
		headers[n++] = mode;
	return api_send(a, &req, &reply, err);
}

void file_got_done(struct file_got *g)
{
	strbuf_done(&g->body);
	g->fd = fd_close(g->fd);
}

static enum file_type read_type(const struct http_head *head)
{
	const char *type = strmap_get(&head->headers, "x-lxd-type");

	if (!type)
		return FILE_TYPE_UNKNOWN;
	return streq(type, "directory") ? FILE_TYPE_FOLDER
	       : streq(type, "symlink") ? FILE_TYPE_LINK
	       : streq(type, "file")    ? FILE_TYPE_REGULAR
					: FILE_TYPE_UNKNOWN;
}

static int on_head(void *arg, const struct http_head *head, struct error *err)
{
	struct file_got *g = arg;
	const char *mode = strmap_get(&head->headers, "x-lxd-mode");
	unsigned bits;

	g->type = read_type(head);
	g->mode = mode && parse_octal(mode, &bits) == 0 ? bits & 0777 : 0644;
	return g->type == FILE_TYPE_REGULAR && g->open ? g->open(g, err) : 0;
}

static int on_body(void *arg, const void *data, size_t len, struct error *err)
{
	struct file_got *g = arg;
	int r;

	if (g->type != FILE_TYPE_REGULAR) {
		if (g->body.len + len > HTTP_CLIENT_BODY_MAX)
			return error_set(err, 400, "The server's answer is too long");
		strbuf_append_len(&g->body, data, len);
		return 0;
	}
	r = g->fd < 0 ? 0 : fd_write_full(g->fd, data, len);
	return r < 0 ? error_errno(err, -r, "Write the file") : 0;
}

int file_get(struct api *a, const char *instance, const char *path, struct file_got *g, struct error *err)
{
	auto_free char *url = files_url(instance, path);
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	struct http_client_request req = {
		.method = "GET", .path = url, .sink = on_body, .sink_arg = g, .on_head = on_head};
	int r;

	strbuf_truncate(&g->body, 0);
	r = api_send_raw(a, &req, &resp, err);
	if (r >= 0)
		r = api_response_error(&resp, err);
	if (r < 0)
		return r;
	if (g->type == FILE_TYPE_UNKNOWN)
		return error_set(err, 500, "The server does not say what %s is", path);
	return 0;
}

int file_make_folders(struct api *a, const char *instance, const char *path, const struct file_kind *k,
		      struct error *err)
{
	for (const char *at = path + 1; *path && *at;) {
		const char *slash = strchrnul(at, '/');
		auto_free char *part = xstrndup(path, (size_t)(slash - path));
		int r = file_send(a, instance, part, k, NULL, err); /* one that is there stays as it is */

		if (r < 0)
			return r;
		at = *slash ? slash + 1 : slash;
	}
	return 0;
}

/* --- push --- */

static int read_ids(struct cli *c, struct file_kind *ret, struct error *err)
{
	const char *mode = option_str(c->options, "mode");
	unsigned bits;

	ret->type = "file";
	ret->uid = option_int(c->options, "uid");
	ret->gid = option_int(c->options, "gid");
	ret->mode = -1;
	if (str_is_empty(mode))
		return 0;
	if (parse_octal(mode, &bits) < 0 || bits > 07777)
		return error_set(err, 400, "Invalid mode \"%s\"", mode);
	ret->mode = bits;
	return 0;
}

/* Standard input has no length before it has ended. */
static int spool_stdin(int *ret_fd, struct error *err)
{
	auto_free char *buf = xmalloc(65536);
	int r = image_open_temporary(ret_fd, err);

	while (r == 0) {
		ssize_t n = fd_read_full(STDIN_FILENO, buf, 65536);

		if (n < 0)
			return error_errno(err, (int)-n, "Read standard input");
		if (n == 0)
			break;
		r = fd_write_full(*ret_fd, buf, (size_t)n);
		if (r < 0)
			return error_errno(err, -r, "Keep standard input");
	}
	if (r == 0 && lseek(*ret_fd, 0, SEEK_SET) < 0)
		r = error_errno(err, errno, "Rewind the temporary file");
	return r;
}

static int open_source(const char *source, int *ret_fd, struct stat *st, struct error *err)
{
	int r = 0;

	if (streq(source, "-")) {
		r = spool_stdin(ret_fd, err);
	} else {
		*ret_fd = open(source, O_RDONLY | O_CLOEXEC);
		if (*ret_fd < 0)
			r = error_errno(err, errno, "open %s", source);
	}
	if (r == 0 && fstat(*ret_fd, st) < 0)
		r = error_errno(err, errno, "stat %s", source);
	if (r == 0 && S_ISDIR(st->st_mode))
		r = error_set(err, 400, "%s is a directory: it is pushed with --recursive", source);
	if (r == 0 && !S_ISREG(st->st_mode))
		r = error_set(err, 400, "'%s' isn't a supported file type", source);
	return r;
}

static int push_file(struct cli *c, const struct remote_path *to, const char *source, const struct file_kind *given,
		     struct error *err)
{
	auto_free char *joined = path_join(to->path, streq(source, "-") ? "stdin" : file_base_name(source));
	auto_free char *path = path_lexical(to->is_folder ? joined : to->path);
	auto_free char *parent = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	struct file_kind k = *given, folder;
	auto_close int fd = -EBADF;
	struct http_piece body;
	struct stat st;
	int r = open_source(source, &fd, &st, err);

	if (r < 0)
		return r;
	if (streq(source, "-")) {
		st.st_uid = st.st_gid = 0;
		st.st_mode = 0600;
	}
	k.uid = k.uid < 0 ? st.st_uid : k.uid;
	k.gid = k.gid < 0 ? st.st_gid : k.gid;
	k.mode = k.mode < 0 ? (st.st_mode & 0777) : k.mode;
	folder = (struct file_kind){.type = "directory", .uid = k.uid, .gid = k.gid, .mode = -1};
	if (option_bool(c->options, "create-dirs"))
		r = file_make_folders(to->target.api, to->instance, parent, &folder, err);
	if (r < 0)
		return r;
	body = (struct http_piece){.fd = fd, .len = (uint64_t)st.st_size};
	return file_send(to->target.api, to->instance, path, &k, &body, err);
}

static int push_trees(struct cli *c, const struct remote_path *to, const struct file_kind *given, struct error *err)
{
	const struct file_kind folder = {.type = "directory", .uid = -1, .gid = -1, .mode = -1};
	int r = 0;

	if (given->uid >= 0 || given->gid >= 0 || given->mode >= 0)
		return error_set(err, 400, "Can't supply uid/gid/mode in recursive mode");
	if (option_bool(c->options, "create-dirs"))
		r = file_make_folders(to->target.api, to->instance, to->path, &folder, err);
	for (size_t i = 0; i + 1 < cli_argc(c) && r == 0; i++)
		r = file_push_tree(to->target.api, to->instance, cli_arg(c, i), to->path, err);
	return r;
}

static int run_push(struct cli *c, struct error *err)
{
	CLEANUP(remote_path_done) struct remote_path to = {.target = TARGET_INIT};
	size_t n = cli_argc(c) - 1;
	struct file_kind given;
	int r = read_ids(c, &given, err);

	if (r == 0)
		r = open_remote_path(c, cli_arg(c, n), "target", &to, err);
	if (r < 0)
		return r;
	if (option_bool(c->options, "recursive"))
		return push_trees(c, &to, &given, err);
	if (n > 1 && !to.is_folder)
		return error_set(err, 400, "Missing target directory");
	for (size_t i = 0; i < n && r >= 0; i++)
		r = push_file(c, &to, cli_arg(c, i), &given, err);
	return r;
}

/* --- pull --- */

/* A local place where a file goes. */
struct local_file {
	struct file_got got;
	const char *path; /* NULL: standard output */
};

static int open_local(struct file_got *g, struct error *err)
{
	struct local_file *l = (struct local_file *)g;

	if (l->path)
		g->fd = open(l->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	else
		g->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	return g->fd < 0 ? error_errno(err, errno, "open %s", l->path ? l->path : "standard output") : 0;
}

/* @path, or where its link leads. */
static int pull_file(const struct remote_path *from, struct local_file *l, struct error *err)
{
	auto_free char *path = xstrdup(from->path);
	int r;

	for (int links = 0;; links++) {
		r = file_get(from->target.api, from->instance, path, &l->got, err);
		if (r < 0 || l->got.type != FILE_TYPE_LINK)
			break;
		if (links == LINKS_MAX)
			return error_set(err, 400, "%s: too many links", from->path);
		free(path);
		path = path_lexical(strbuf_str(&l->got.body));
	}
	if (r == 0 && l->got.type == FILE_TYPE_FOLDER)
		return error_set(err, 400, "Can't pull a directory without --recursive");
	if (r == 0 && l->path && fchmod(l->got.fd, l->got.mode) < 0)
		return error_errno(err, errno, "chmod %s", l->path);
	return r;
}

static int pull_one(struct cli *c, const char *source, const char *target, bool into, struct error *err)
{
	CLEANUP(remote_path_done) struct remote_path from = {.target = TARGET_INIT};
	struct local_file l = {.got = {.fd = -EBADF, .open = open_local}};
	auto_free char *joined = NULL;
	int r = open_remote_path(c, source, "source", &from, err);

	if (r < 0)
		return r;
	joined = path_join(target, file_base_name(from.path));
	if (!streq(target, "-"))
		l.path = into ? joined : target;
	r = pull_file(&from, &l, err);
	file_got_done(&l.got);
	if (l.got.type != FILE_TYPE_FOLDER || !option_bool(c->options, "recursive") || !l.path)
		return r;
	error_clear(err);
	return file_pull_tree(from.target.api, from.instance, from.path, target, err);
}

static int run_pull(struct cli *c, struct error *err)
{
	size_t n = cli_argc(c) - 1;
	const char *target = cli_arg(c, n);
	struct stat st;
	bool into = stat(target, &st) == 0 && S_ISDIR(st.st_mode);
	int r = 0;

	if (!into && option_bool(c->options, "create-dirs")) {
		r = dir_make_all(AT_FDCWD, target, 0755, err);
		into = true;
	}
	if (r == 0 && !into && (n > 1 || endswith(target, "/")) && !option_bool(c->options, "recursive"))
		r = error_set(err, 400, "More than one file to download, but target is not a directory");
	for (size_t i = 0; i < n && r >= 0; i++)
		r = pull_one(c, cli_arg(c, i), target, into, err);
	return r;
}

/* --- the rest --- */

static int run_delete(struct cli *c, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < cli_argc(c) && r >= 0; i++) {
		CLEANUP(remote_path_done) struct remote_path at = {.target = TARGET_INIT};
		auto_free char *url = NULL;

		r = open_remote_path(c, cli_arg(c, i), "path", &at, err);
		if (r < 0)
			return r;
		url = files_url(at.instance, at.path);
		r = cli_do(c, at.target.api, "DELETE", url, NULL, NULL, err);
	}
	return r;
}

/* Owner and mode of what is there stay. */
static int put_back(const struct remote_path *at, int fd, struct error *err)
{
	const struct file_kind k = {.type = "file", .uid = -1, .gid = -1, .mode = -1};
	struct http_piece body = {.fd = fd};
	struct stat st;

	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return error_errno(err, errno, "Look at the edited file");
	body.len = (uint64_t)st.st_size;
	return file_send(at->target.api, at->instance, at->path, &k, &body, err);
}

static int edit_in_editor(const struct remote_path *at, struct error *err)
{
	auto_free char *name = xasprintf("%s/lxc_file_XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	struct local_file l = {.got = {.fd = mkostemp(name, O_CLOEXEC)}};
	auto_close int edited = -EBADF;
	int r;

	if (l.got.fd < 0)
		return error_errno(err, errno, "Create a temporary file");
	r = pull_file(at, &l, err);
	file_got_done(&l.got);
	if (r == 0)
		r = cli_run_editor(name, err);
	/* editors may put another file in its place */
	if (r == 0) {
		edited = open(name, O_RDONLY | O_CLOEXEC);
		r = edited < 0 ? error_errno(err, errno, "open %s", name) : put_back(at, edited, err);
	}
	unlink(name);
	return r;
}

static int run_edit(struct cli *c, struct error *err)
{
	CLEANUP(remote_path_done) struct remote_path at = {.target = TARGET_INIT};
	auto_close int fd = -EBADF;
	int r = open_remote_path(c, cli_arg(c, 0), "path", &at, err);

	if (r < 0)
		return r;
	if (!cli_stdin_is_piped())
		return edit_in_editor(&at, err);
	r = spool_stdin(&fd, err);
	return r < 0 ? r : put_back(&at, fd, err);
}

static int run_mount(struct cli *c UNUSED, struct error *err)
{
	return error_set(err, 501, "Mounting needs SFTP, which is not there: use `lxc file pull` and `lxc file push`");
}

static const struct option_row push_options[] = {
	{"create-dirs", 'p', OPTION_BOOL, NULL, "Create any directories necessary"},
	{"gid", 0, OPTION_INT, "-1", "Set the file's gid on push"},
	{"mode", 0, OPTION_STRING, "", "Set the file's perms on push"},
	{"recursive", 'r', OPTION_BOOL, NULL, "Recursively transfer files"},
	{"uid", 0, OPTION_INT, "-1", "Set the file's uid on push"},
	OPTION_END,
};
static const struct option_row pull_options[] = {
	{"create-dirs", 'p', OPTION_BOOL, NULL, "Create any directories necessary"},
	{"recursive", 'r', OPTION_BOOL, NULL, "Recursively transfer files"},
	OPTION_END,
};
static const struct option_row mount_options[] = {
	{"auth-user", 0, OPTION_STRING, NULL, "User of the SFTP server"},
	{"listen", 0, OPTION_STRING, NULL, "Address of the SFTP server"},
	{"no-auth", 0, OPTION_BOOL, NULL, "SFTP server without a password"},
	OPTION_END,
};
static const struct command file_delete = {.name = "delete",
					   .alias = "rm",
					   .args = "[<remote>:]<instance>/<path> [[<remote>:]<instance>/<path>...]",
					   .min_args = 1,
					   .max_args = COMMAND_ANY,
					   .run = run_delete,
					   .doc = "Delete files in instances"};
static const struct command file_edit = {.name = "edit",
					 .args = "[<remote>:]<instance>/<path>",
					 .min_args = 1,
					 .max_args = 1,
					 .run = run_edit,
					 .doc = "Edit files in instances",
					 .more = "Standard input, when it is no terminal, becomes the file's content."};
static const struct command file_mount = {.name = "mount",
					  .args = "[<remote>:]<instance>[/<path>] [<target path>]",
					  .min_args = 1,
					  .max_args = 2,
					  .options = mount_options,
					  .run = run_mount,
					  .doc = "Mount files from instances (not there)",
					  .hidden = true};
static const struct command file_pull = {
	.name = "pull",
	.args = "[<remote>:]<instance>/<path> [[<remote>:]<instance>/<path>...] <target path>",
	.min_args = 2,
	.max_args = COMMAND_ANY,
	.options = pull_options,
	.run = run_pull,
	.doc = "Pull files from instances"};
static const struct command file_push = {.name = "push",
					 .args = "<source path>... [<remote>:]<instance>/<path>",
					 .min_args = 2,
					 .max_args = COMMAND_ANY,
					 .options = push_options,
					 .run = run_push,
					 .doc = "Push files into instances"};
static const struct command *const children[] = {&file_delete, &file_edit, &file_mount, &file_pull, &file_push, NULL};

const struct command cmd_file = {.name = "file", .children = children, .doc = "Manage files in instances"};
