/* /1.0/instances/{name}/console: attaching to the console of a running container, and what was written to it lately. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "api/exec_session.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

#define CONNECT_TIMEOUT_MS 5000

struct console_body {
	char *type;
	int64_t width;
	int64_t height;
};

static const struct json_field console_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct console_body, type, "type", 0),
	JSON_FIELD(JSON_FIELD_INT, struct console_body, width, "width", 0),
	JSON_FIELD(JSON_FIELD_INT, struct console_body, height, "height", 0),
	JSON_FIELD_END,
};

static void console_body_done(struct console_body *b)
{
	json_decode_done(console_fields, b);
}

/* --- attaching --- */

struct console_job {
	struct api *api;
	struct instance *instance;
	struct exec_session *session;
	unsigned width;
	unsigned height;
};

static void job_free(void *arg)
{
	struct console_job *j = arg;

	instance_unref(j->instance);
	exec_session_unref(j->session);
	free(j);
}

/* Tie the sockets to the console until one side ends it. */
static int relay(struct console_job *j, struct error *err)
{
	auto_container_console struct container_console con = CONTAINER_CONSOLE_INIT;
	auto_free char *name = instance_lxc_name(j->instance);
	auto_error struct error unsized = ERROR_INIT;
	int r = container_console(instances_host(j->api->instances), name, &con, err);

	if (r < 0)
		return r;
	if (con.tty_fd >= 0 && j->width && j->height &&
	    container_exec_resize(con.tty_fd, j->width, j->height, &unsized) < 0)
		error_ignore(&unsized, "it keeps the size that it had");
	exec_session_run_console(j->session, &con);
	container_console_wait(&con);
	exec_session_end(j->session);
	return 0;
}

static int console_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct console_job *j = arg;
	int r = exec_session_wait(j->session, CONNECT_TIMEOUT_MS, err);

	if (r == 0)
		r = relay(j, err);
	if (r < 0)
		exec_session_end(j->session);
	return r;
}

static int console_connect(struct operation *op UNUSED, void *arg, const char *secret, const struct http_request *req,
			   struct http_response *resp, struct error *err)
{
	struct console_job *j = arg;

	return exec_session_connect(j->session, secret, req, resp, err);
}

static int check_body(const struct console_body *b, struct error *err)
{
	if (b->type && streq(b->type, "vga"))
		return error_set(err, 400, "VGA console is only supported by virtual machines");
	if (!str_is_empty(b->type) && !streq(b->type, "console"))
		return error_set(err, 400, "Unknown console type \"%s\"", b->type);
	if (b->width < 0 || b->width > 65535 || b->height < 0 || b->height > 65535)
		return error_set(err, 400, "Invalid terminal size");
	return 0;
}

/* The secrets of the websockets. */
static void set_private(struct operation *op, struct exec_session *session)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_key(&w, "fds");
	exec_session_render_fds(session, &w);
	operation_set_private(op, b.data);
	explicit_bzero(b.data, b.len);
}

static void start(struct api_call *c, struct instance *i, const struct console_body *body)
{
	struct console_job *j = xnew(struct console_job);
	struct operation_spec spec = {.class = OPERATION_WEBSOCKET,
				      .description = "Showing console",
				      .project = c->project,
				      .run = console_run,
				      .connect = console_connect,
				      .arg_free = job_free,
				      .arg = j};
	auto_free char *url = xasprintf("/1.0/instances/%s", c->params[0]);
	auto_free char *alias = xasprintf("/1.0/containers/%s", c->params[0]);
	struct operation *op;

	j->api = c->api;
	j->instance = instance_ref(i);
	j->session = exec_session_new(c->api->loop, EXEC_SESSION_CONSOLE);
	j->width = (unsigned)body->width;
	j->height = (unsigned)body->height;
	op = api_operation_new(c, &spec);
	operation_add_resource(op, "instances", url);
	operation_add_resource(op, "containers", alias);
	set_private(op, j->session);
	api_lifecycle(c, "instance-console", url);
	api_async(c, op);
}

static int find(struct api_call *c, struct instance **ret, struct error *err)
{
	return instance_find(c->api->instances, c->project, c->params[0], ret, err);
}

static int post_console(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(console_body_done) struct console_body body = {0};
	enum container_state state;
	int r = find(c, &i, err);

	if (r == 0)
		r = api_decode(c, console_fields, &body, NULL, err);
	if (r == 0)
		r = check_body(&body, err);
	if (r < 0)
		return r;
	state = instance_state(i);
	if (state != CONTAINER_RUNNING)
		return error_set(err, 400,
				 state == CONTAINER_FROZEN ? "Instance is frozen" : "Instance is not running");
	start(c, i, &body);
	return 0;
}

/* --- the log --- */

/* liblxc appends to the first; when that is full it becomes the second. */
static const char *const log_names[] = {"console.log", "console.log.1"};

/* *@ret_fd is -EBADF when there is no such file. */
static int open_log(const char *dir, const char *name, int flags, int *ret_fd, struct stat *st, struct error *err)
{
	auto_free char *path = path_join(dir, name);
	auto_close int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	*ret_fd = -EBADF;
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, st) < 0)
		return error_errno(err, errno, "Open %s", path);
	if (!S_ISREG(st->st_mode))
		return error_set(err, 500, "Open %s: not a regular file", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The end of a file. */
static int append_log(int fd, off_t size, struct strbuf *out, struct error *err)
{
	auto_free char *text = xmalloc(LXCCONF_CONSOLE_LOG_MAX);
	ssize_t n = 0;

	if (size > (off_t)LXCCONF_CONSOLE_LOG_MAX)
		n = lseek(fd, size - (off_t)LXCCONF_CONSOLE_LOG_MAX, SEEK_SET) < 0 ? -errno : 0;
	if (n == 0)
		n = fd_read_full(fd, text, LXCCONF_CONSOLE_LOG_MAX);
	if (n < 0)
		return error_errno(err, (int)-n, "Read the console's log");
	strbuf_append_len(out, text, (size_t)n);
	return 0;
}

static int read_logs(struct instance *i, struct strbuf *out, struct error *err)
{
	auto_free char *dir = instance_log_dir(i);
	auto_close int now = -EBADF;
	auto_close int before = -EBADF;
	struct stat st_now = {0}, st_before = {0};
	int r = open_log(dir, log_names[0], O_RDONLY, &now, &st_now, err);

	if (r == 0)
		r = open_log(dir, log_names[1], O_RDONLY, &before, &st_before, err);
	/* the same file when it has just become full */
	if (r == 0 && before >= 0 && st_before.st_ino != st_now.st_ino)
		r = append_log(before, st_before.st_size, out, err);
	if (r == 0 && now >= 0)
		r = append_log(now, st_now.st_size, out, err);
	return r;
}

static int get_console(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	auto_free char *url = NULL;
	int r = find(c, &i, err);

	if (r == 0)
		r = read_logs(i, &c->resp->body, err);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/instances/%s", c->params[0]);
	api_lifecycle(c, "instance-console-retrieved", url);
	http_response_header(c->resp, "Content-Type", "application/octet-stream");
	return 0;
}

/* The file itself stays: the container's monitor appends to it. */
static int empty_logs(struct instance *i, struct error *err)
{
	auto_free char *dir = instance_log_dir(i);
	auto_free char *before = path_join(dir, log_names[1]);
	auto_close int now = -EBADF;
	struct stat st;
	int r = open_log(dir, log_names[0], O_WRONLY, &now, &st, err);

	if (r < 0)
		return r;
	if (unlink(before) < 0 && errno != ENOENT)
		return error_errno(err, errno, "Remove %s", before);
	if (now >= 0 && ftruncate(now, 0) < 0)
		return error_errno(err, errno, "Empty the console's log");
	return 0;
}

static int delete_console(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	auto_free char *url = NULL;
	int r = find(c, &i, err);

	if (r == 0)
		r = empty_logs(i, err);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/instances/%s", c->params[0]);
	api_lifecycle(c, "instance-console-reset", url);
	api_empty(c);
	return 0;
}

const struct api_route api_console_routes[] = {
	{.path = "/1.0/instances/{name}/console",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .handler = get_console,
	 .doc = "What was written to the console lately"},
	{.path = "/1.0/instances/{name}/console",
	 .method = HTTP_POST,
	 .perm = PERM_INSTANCE_USE,
	 .handler = post_console,
	 .body = console_fields,
	 .doc = "Attach to the console of a running instance"},
	{.path = "/1.0/instances/{name}/console",
	 .method = HTTP_DELETE,
	 .perm = PERM_INSTANCE_USE,
	 .handler = delete_console,
	 .doc = "Forget what was written to the console"},
	{0},
};
