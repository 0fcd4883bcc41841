/* POST /1.0/instances/{name}/exec: commands in running containers, with websockets, recorded, or neither. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "api/api.h"
#include "api/exec_session.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "config/idmap.h"
#include "config/names.h"

#define CONNECT_TIMEOUT_MS 5000

struct exec_body {
	struct strv command;
	struct strmap environment;
	bool websockets;
	bool interactive;
	bool record;
	int64_t width;
	int64_t height;
	int64_t user;
	int64_t group;
	char *cwd;
};

static const struct json_field exec_fields[] = {
	JSON_FIELD(JSON_FIELD_STRV, struct exec_body, command, "command", JSON_REQUIRED),
	JSON_FIELD(JSON_FIELD_STRMAP, struct exec_body, environment, "environment", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct exec_body, websockets, "wait-for-websocket", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct exec_body, interactive, "interactive", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct exec_body, record, "record-output", 0),
	JSON_FIELD(JSON_FIELD_INT, struct exec_body, width, "width", 0),
	JSON_FIELD(JSON_FIELD_INT, struct exec_body, height, "height", 0),
	JSON_FIELD(JSON_FIELD_INT, struct exec_body, user, "user", 0),
	JSON_FIELD(JSON_FIELD_INT, struct exec_body, group, "group", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct exec_body, cwd, "cwd", 0),
	JSON_FIELD_END,
};

struct exec_job {
	struct api *api;
	struct identity id;
	char *name;
	struct instance *instance;
	struct exec_body body;
	struct strmap env;            /* complete */
	struct exec_session *session; /* NULL: no websockets */
	int64_t host_uid, host_gid;   /* who owns our pipes, so that /dev/stdout can be opened inside */
};

static void job_free(void *arg)
{
	struct exec_job *j = arg;

	free(j->name);
	instance_unref(j->instance);
	json_decode_done(exec_fields, &j->body);
	strmap_done(&j->env);
	exec_session_unref(j->session);
	free(j);
}

/* Defaults, then environment.* of the configuration, then the request. */
static int make_environment(struct exec_job *j, struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	int r = instance_expanded_config(j->instance, &config, err);

	strmap_set(&j->env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	strmap_set(&j->env, "LANG", "C.UTF-8");
	strmap_set(&j->env, "container", "lxc");
	if (j->body.user == 0) {
		strmap_set(&j->env, "HOME", "/root");
		strmap_set(&j->env, "USER", "root");
	}
	for (size_t k = 0; k < config.len; k++) {
		const char *key = startswith(config.items[k].key, "environment.");

		if (key)
			strmap_set(&j->env, key, config.items[k].value);
	}
	strmap_merge(&j->env, &j->body.environment);
	return r;
}

static void find_owner(struct exec_job *j)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_idmap struct idmap map = IDMAP_INIT;
	auto_error struct error err = ERROR_INIT;
	const char *text;

	if (instance_expanded_config(j->instance, &config, &err) < 0)
		error_ignore(&err, "the pipes stay root's");
	text = strmap_get(&config, "volatile.idmap.current");
	if (text && idmap_from_json(text, &map, &err) < 0)
		error_ignore(&err, "the pipes stay root's");
	j->host_uid = idmap_uid_to_host(&map, (uint32_t)j->body.user);
	j->host_gid = idmap_gid_to_host(&map, (uint32_t)j->body.group);
}

/* --- metadata --- */

static void set_metadata(struct operation *op, struct exec_job *j, int code, bool publish)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	if (j->session) {
		jsonw_kv_strv(&w, "command", &j->body.command);
		jsonw_kv_strmap(&w, "environment", &j->env);
		jsonw_kv_bool(&w, "interactive", j->body.interactive);
	}
	if (j->body.record && !j->session) {
		jsonw_key(&w, "output");
		jsonw_object_begin(&w);
		jsonw_kv_strf(&w, "1", "/1.0/instances/%s/logs/exec_%s.stdout", j->name, operation_id(op));
		jsonw_kv_strf(&w, "2", "/1.0/instances/%s/logs/exec_%s.stderr", j->name, operation_id(op));
		jsonw_object_end(&w);
	}
	if (code >= 0)
		jsonw_kv_int(&w, "return", code);
	jsonw_object_end(&w);
	operation_set_metadata(op, b.data, publish);
}

/* The secrets of the websockets. */
static void set_private(struct operation *op, struct exec_job *j)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_key(&w, "fds");
	exec_session_render_fds(j->session, &w);
	operation_set_private(op, b.data);
	explicit_bzero(b.data, b.len);
}

/* --- running --- */

/* Our ends and the command's ends of its three streams. */
struct stdio {
	int ours[3];
	int theirs[3];
};

static void stdio_done(struct stdio *io)
{
	for (int k = 0; k < 3; k++) {
		io->ours[k] = fd_close(io->ours[k]);
		io->theirs[k] = fd_close(io->theirs[k]);
	}
}

static int open_pipes(struct exec_job *j, struct stdio *io, struct error *err)
{
	for (int k = 0; k < 3; k++) {
		int p[2];

		if (pipe2(p, O_CLOEXEC) < 0)
			return error_errno(err, errno, "Create pipe");
		io->ours[k] = p[k == 0 ? 1 : 0];
		io->theirs[k] = p[k == 0 ? 0 : 1];
		if (j->host_uid >= 0 && j->host_gid >= 0 &&
		    fchown(io->theirs[k], (uid_t)j->host_uid, (gid_t)j->host_gid) < 0)
			return error_errno(err, errno, "Change owner of pipe");
	}
	return 0;
}

static int open_records(struct operation *op, struct exec_job *j, struct stdio *io, struct error *err)
{
	static const char *const names[] = {NULL, "stdout", "stderr"};
	auto_free char *dir = instance_log_dir(j->instance);

	for (int k = 1; k < 3; k++) {
		auto_free char *path = xasprintf("%s/exec_%s.%s", dir, operation_id(op), names[k]);

		io->theirs[k] = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (io->theirs[k] < 0)
			return error_errno(err, errno, "Create %s", path);
	}
	return 0;
}

static void env_list(const struct strmap *env, struct strv *ret)
{
	for (size_t k = 0; k < env->len; k++)
		strv_addf(ret, "%s=%s", env->items[k].key, env->items[k].value);
}

static int exec_start(struct exec_job *j, const struct stdio *io, struct container_exec *x, struct error *err)
{
	struct container_exec_spec spec = CONTAINER_EXEC_SPEC_INIT;
	auto_free char *name = instance_lxc_name(j->instance);
	auto_free char *logs = instance_log_dir(j->instance);
	auto_free char *conf = path_join(logs, "lxc.conf");
	auto_strv struct strv env = STRV_INIT;

	env_list(&j->env, &env);
	spec.name = name;
	spec.conf_path = conf;
	spec.argv = (const char *const *)j->body.command.items;
	spec.env = (const char *const *)env.items;
	spec.uid = (uid_t)j->body.user;
	spec.gid = (gid_t)j->body.group;
	spec.cwd = str_is_empty(j->body.cwd) ? strmap_get(&j->env, "HOME") : j->body.cwd;
	spec.interactive = j->session && j->body.interactive;
	spec.width = (unsigned)j->body.width;
	spec.height = (unsigned)j->body.height;
	spec.stdin_fd = io->theirs[0];
	spec.stdout_fd = io->theirs[1];
	spec.stderr_fd = io->theirs[2];
	return container_exec(instances_host(j->api->instances), &spec, x, err);
}

/* The operation's end from the command's: codes as a shell gives them. */
static int conclude(struct operation *op, struct exec_job *j, const struct container_exec_status *st, struct error *err)
{
	switch (st->end) {
	case CONTAINER_EXEC_NOT_FOUND:
		set_metadata(op, j, 127, false);
		return error_set(err, 400, "Command not found");
	case CONTAINER_EXEC_NOT_EXECUTABLE:
		set_metadata(op, j, 126, false);
		return error_set(err, 400, "Command not executable");
	case CONTAINER_EXEC_SIGNALED:
		set_metadata(op, j, 128 + st->value, false);
		return 0;
	case CONTAINER_EXEC_EXITED:
		break;
	}
	set_metadata(op, j, st->value, false);
	return 0;
}

static int run_with_sockets(struct exec_job *j, struct stdio *io, struct container_exec_status *st, struct error *err)
{
	auto_container_exec struct container_exec x = CONTAINER_EXEC_INIT;
	int r = exec_session_wait(j->session, CONNECT_TIMEOUT_MS, err);

	if (r == 0 && !j->body.interactive)
		r = open_pipes(j, io, err);
	if (r == 0)
		r = exec_start(j, io, &x, err);
	if (r == 0) {
		int fds[3] = {-EBADF, -EBADF, -EBADF};

		if (j->body.interactive)
			fds[0] = TAKE_FD(x.pty_fd);
		else
			for (int k = 0; k < 3; k++) {
				fds[k] = TAKE_FD(io->ours[k]);
				io->theirs[k] = fd_close(io->theirs[k]);
			}
		exec_session_run(j->session, &x, fds);
		r = container_exec_read_status(&x, st, err);
	}
	exec_session_end(j->session);
	return r;
}

static int run_alone(struct operation *op, struct exec_job *j, struct stdio *io, struct container_exec_status *st,
		     struct error *err)
{
	auto_container_exec struct container_exec x = CONTAINER_EXEC_INIT;
	int r = j->body.record ? open_records(op, j, io, err) : 0;

	if (r == 0)
		r = exec_start(j, io, &x, err);
	if (r == 0)
		r = container_exec_read_status(&x, st, err);
	return r;
}

static int exec_run(struct operation *op, void *arg, struct error *err)
{
	struct exec_job *j = arg;
	CLEANUP(stdio_done) struct stdio io = {{-EBADF, -EBADF, -EBADF}, {-EBADF, -EBADF, -EBADF}};
	struct container_exec_status st = {0};
	int r;

	if (j->session)
		r = run_with_sockets(j, &io, &st, err);
	else
		r = run_alone(op, j, &io, &st, err);
	return r < 0 ? r : conclude(op, j, &st, err);
}

static int exec_connect(struct operation *op UNUSED, void *arg, const char *secret, const struct http_request *req,
			struct http_response *resp, struct error *err)
{
	struct exec_job *j = arg;

	return exec_session_connect(j->session, secret, req, resp, err);
}

static bool id_fits(int64_t id)
{
	return id >= 0 && id < UINT32_MAX;
}

static int check_body(const struct exec_body *b, struct error *err)
{
	if (!b->command.len || !*b->command.items[0])
		return error_set(err, 400, "Invalid JSON: field \"command\" is empty");
	if (!id_fits(b->user) || !id_fits(b->group))
		return error_set(err, 400, "Invalid user or group");
	if (b->width < 0 || b->width > 65535 || b->height < 0 || b->height > 65535)
		return error_set(err, 400, "Invalid terminal size");
	for (size_t k = 0; k < b->environment.len; k++)
		if (!*b->environment.items[k].key || strchr(b->environment.items[k].key, '='))
			return error_set(err, 400, "Invalid environment variable name \"%s\"",
					 b->environment.items[k].key);
	return 0;
}

static int post_exec(struct api_call *c, struct error *err)
{
	struct exec_job *j = xnew(struct exec_job);
	struct operation_spec spec = {.description = "Executing command",
				      .project = c->project,
				      .run = exec_run,
				      .arg_free = job_free,
				      .arg = j};
	auto_free char *url = NULL;
	auto_free char *alias = NULL;
	enum container_state state = CONTAINER_STOPPED;
	struct operation *op;
	int r;

	j->api = c->api;
	j->id = c->id;
	j->name = xstrdup(c->params[0]);
	r = instance_find(c->api->instances, c->project, c->params[0], &j->instance, err);
	if (r == 0)
		r = api_decode(c, exec_fields, &j->body, NULL, err);
	if (r == 0)
		r = check_body(&j->body, err);
	if (r == 0)
		state = instance_state(j->instance);
	if (r == 0 && state != CONTAINER_RUNNING)
		r = error_set(err, 400, state == CONTAINER_FROZEN ? "Instance is frozen" : "Instance is not running");
	if (r == 0)
		r = make_environment(j, err);
	if (r < 0) {
		job_free(j);
		return r;
	}
	find_owner(j);
	if (j->body.websockets) {
		j->session = exec_session_new(c->api->loop,
					      j->body.interactive ? EXEC_SESSION_TERMINAL : EXEC_SESSION_STREAMS);
		spec.class = OPERATION_WEBSOCKET;
		spec.connect = exec_connect;
	}
	url = xasprintf("/1.0/instances/%s", j->name);
	alias = xasprintf("/1.0/containers/%s", j->name);
	op = api_operation_new(c, &spec);
	operation_add_resource(op, "instances", url);
	operation_add_resource(op, "containers", alias);
	set_metadata(op, j, -1, false);
	if (j->session)
		set_private(op, j);
	api_lifecycle(c, "instance-exec", url);
	api_async(c, op);
	return 0;
}

const struct api_route api_exec_routes[] = {
	{.path = "/1.0/instances/{name}/exec",
	 .method = HTTP_POST,
	 .perm = PERM_INSTANCE_USE,
	 .handler = post_exec,
	 .body = exec_fields,
	 .doc = "Run a command in a running instance"},
	{0},
};
