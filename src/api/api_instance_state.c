/* /1.0/instances/{name}/state, and the same action for all instances of a project. */
#include "api/api.h"
#include "api/instance_job.h"
#include "base/alloc.h"
#include "base/str.h"

static int find(struct api_call *c, struct instance **ret, struct error *err)
{
	return instance_find(c->api->instances, c->project, c->params[0], ret, err);
}

static int get_state(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	struct strbuf b = STRBUF_INIT;
	int r = find(c, &i, err);

	if (r < 0)
		return r;
	instance_render_state(i, &JSONW(&b));
	api_sync(c, &b);
	return 0;
}

/* --- of one --- */

static int do_start(struct instance_job *j, struct error *err)
{
	return instance_start(j->instance, err);
}

static int do_stop(struct instance_job *j, struct error *err)
{
	return instance_stop(j->instance, j->force, j->timeout_s < 0 ? -1 : MIN_OF(j->timeout_s, INT32_MAX) * 1000,
			     err);
}

static int do_restart(struct instance_job *j, struct error *err)
{
	return instance_restart(j->instance, j->force, j->timeout_s < 0 ? -1 : MIN_OF(j->timeout_s, INT32_MAX) * 1000,
				err);
}

static int do_freeze(struct instance_job *j, struct error *err)
{
	return instance_freeze(j->instance, err);
}

static int do_unfreeze(struct instance_job *j, struct error *err)
{
	return instance_unfreeze(j->instance, err);
}

/* The actions of PUT state; which instances a bulk change takes. */
static const struct instance_action {
	const char *name;
	int (*fn)(struct instance_job *j, struct error *err);
	const char *description;
	const char *event;
	unsigned bulk_states; /* bit per enum container_state */
} actions[] = {
	{"start", do_start, "Starting instance", "instance-started", 1u << CONTAINER_STOPPED},
	{"stop", do_stop, "Stopping instance", "instance-stopped", 1u << CONTAINER_RUNNING | 1u << CONTAINER_FROZEN},
	{"restart", do_restart, "Restarting instance", "instance-restarted",
	 1u << CONTAINER_RUNNING | 1u << CONTAINER_FROZEN},
	{"freeze", do_freeze, "Freezing instance", "instance-paused", 1u << CONTAINER_RUNNING},
	{"unfreeze", do_unfreeze, "Unfreezing instance", "instance-resumed", 1u << CONTAINER_FROZEN},
};

struct state_body {
	char *action;
	int64_t timeout;
	bool force;
	bool stateful;
};

static const struct json_field state_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct state_body, action, "action", 0),
	JSON_FIELD(JSON_FIELD_INT, struct state_body, timeout, "timeout", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct state_body, force, "force", 0),
	JSON_FIELD(JSON_FIELD_BOOL, struct state_body, stateful, "stateful", 0),
	JSON_FIELD_END,
};

static void state_done(struct state_body *b)
{
	json_decode_done(state_fields, b);
}

static int find_action(const struct state_body *body, const struct instance_action **ret, struct error *err)
{
	if (body->stateful)
		return error_set(err, 400, "Stateful stop and start are not supported by this server yet");
	for (size_t k = 0; k < ARRAY_SIZE(actions); k++) {
		if (body->action && streq(body->action, actions[k].name)) {
			*ret = &actions[k];
			return 0;
		}
	}
	return error_set(err, 400, "Unknown action: '%s'", body->action ? body->action : "");
}

static int state_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct instance_job *j = arg;
	int r = j->action->fn(j, err);

	if (r == 0)
		instance_job_event(j, j->name, j->action->event);
	return r;
}

static int put_state(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	CLEANUP(state_done) struct state_body body = {.timeout = -1};
	const struct instance_action *action = NULL;
	struct instance_job *j;
	int r = find(c, &i, err);

	if (r == 0)
		r = api_decode(c, state_fields, &body, NULL, err);
	if (r == 0)
		r = find_action(&body, &action, err);
	if (r < 0)
		return r;
	j = instance_job_new(c, c->params[0], i);
	j->action = action;
	j->force = body.force;
	j->timeout_s = body.timeout;
	instance_job_start(c, j, action->description, state_run);
	return 0;
}

/* --- of all --- */

struct bulk {
	struct api *api;
	struct instance_job **jobs;
	size_t n;
};

static void bulk_free(void *arg)
{
	struct bulk *b = arg;

	for (size_t k = 0; k < b->n; k++)
		instance_job_free(b->jobs[k]);
	free(b->jobs);
	free(b);
}

static int bulk_run(struct operation *op UNUSED, void *arg, struct error *err)
{
	struct bulk *b = arg;
	int first = 0;

	for (size_t k = 0; k < b->n; k++) {
		struct instance_job *j = b->jobs[k];
		auto_error struct error e = ERROR_INIT;
		int r = j->action->fn(j, &e);

		if (r == 0) {
			instance_job_event(j, j->name, j->action->event);
		} else if (first == 0) {
			error_wrap(&e, "Instance \"%s\"", j->name);
			first = error_move(err, &e);
		}
	}
	return first;
}

/* Names of the project's instances whose state the action wants. */
static int bulk_collect(struct api_call *c, const struct instance_action *action, const struct state_body *body,
			struct bulk *b, struct error *err)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_json struct json *list = NULL;
	int r = instances_render(c->api->instances, c->project, INSTANCE_LIST_OBJECTS, "instances", NULL, NULL,
				 &JSONW(&text), err);

	if (r == 0)
		r = json_parse(text.data, text.len, &list, err);
	for (size_t k = 0; r == 0 && k < json_len(list); k++) {
		CLEANUP(instance_unrefp) struct instance *i = NULL;
		const char *name = json_get_str(json_at(list, k), "name");
		auto_error struct error gone = ERROR_INIT;
		struct instance_job *j;

		if (instance_find(c->api->instances, c->project, name, &i, &gone) < 0 ||
		    !(action->bulk_states & (1u << instance_state(i))))
			continue;
		j = instance_job_new(c, name, i);
		j->action = action;
		j->force = body->force;
		j->timeout_s = body->timeout;
		b->jobs = xreallocarray(b->jobs, b->n + 1, sizeof(*b->jobs));
		b->jobs[b->n++] = j;
	}
	return r;
}

static int put_instances(struct api_call *c, struct error *err)
{
	CLEANUP(state_done) struct state_body body = {.timeout = -1};
	struct operation_spec spec = {.project = c->project, .run = bulk_run, .arg_free = bulk_free};
	const struct instance_action *action = NULL;
	const struct json *json;
	struct operation *op;
	struct bulk *b;
	int r = api_body(c, &json, err);

	if (r == 0)
		r = json_decode(json_get(json, "state"), "state", state_fields, &body, NULL, err);
	if (r == 0)
		r = find_action(&body, &action, err);
	if (r < 0)
		return r;
	b = xnew(struct bulk);
	b->api = c->api;
	r = bulk_collect(c, action, &body, b, err);
	if (r < 0) {
		bulk_free(b);
		return r;
	}
	spec.arg = b;
	spec.description = action->description;
	op = api_operation_new(c, &spec);
	for (size_t k = 0; k < b->n; k++) {
		auto_free char *url = xasprintf("/1.0/instances/%s", b->jobs[k]->name);

		operation_add_resource(op, "instances", url);
	}
	api_async(c, op);
	return 0;
}

const struct api_route api_state_routes[] = {
	{.path = "/1.0/instances",
	 .method = HTTP_PUT,
	 .perm = PERM_INSTANCE_USE,
	 .handler = put_instances,
	 .body = state_fields,
	 .doc = "Change the state of all instances of the project"},
	{.path = "/1.0/instances/{name}/state",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .handler = get_state,
	 .doc = "What an instance uses now"},
	{.path = "/1.0/instances/{name}/state",
	 .method = HTTP_PUT,
	 .perm = PERM_INSTANCE_USE,
	 .handler = put_state,
	 .body = state_fields,
	 .doc = "Start, stop, restart, freeze or unfreeze"},
	{0},
};
