#include "api/instance_job.h"

#include "base/alloc.h"

void instance_job_free(void *arg)
{
	struct instance_job *j = arg;

	free(j->project);
	free(j->name);
	instance_unref(j->instance);
	instance_unref(j->original);
	free(j->snapshot);
	free(j->architecture);
	free(j->description);
	strmap_done(&j->config);
	mapmap_done(&j->devices);
	strv_done(&j->profiles);
	free(j->fingerprint);
	image_request_done(&j->remote);
	free(j->new_name);
	free(j->new_project);
	migration_session_unref(j->migration);
	if (j->begun)
		instance_create_abandon(j->begun);
	instance_unref(j->begun);
	free(j);
}

struct instance_job *instance_job_new(struct api_call *c, const char *name, struct instance *i)
{
	struct instance_job *j = xnew(struct instance_job);

	j->api = c->api;
	j->id = c->id;
	j->project = xstrdup(c->project);
	j->name = xstrdup(name);
	j->instance = i ? instance_ref(i) : NULL;
	return j;
}

void instance_job_event(struct instance_job *j, const char *name, const char *action)
{
	auto_free char *url = xasprintf("/1.0/instances/%s", name);

	api_lifecycle_as(j->api, j->project, &j->id, action, url);
}

static int connect_migration(struct operation *op UNUSED, void *arg, const char *secret, const struct http_request *req,
			     struct http_response *resp, struct error *err)
{
	struct instance_job *j = arg;

	return migration_session_connect(j->migration, secret, req, resp, err);
}

static void cancel_migration(struct operation *op UNUSED, void *arg)
{
	struct instance_job *j = arg;

	migration_session_cancel(j->migration);
}

/* What an operation that works with another server is besides. */
static void describe_migration(struct instance_job *j, struct operation_spec *spec)
{
	spec->cancel = cancel_migration;
	if (!migration_session_is_waiting(j->migration))
		return;
	spec->class = OPERATION_WEBSOCKET;
	spec->connect = connect_migration;
}

void instance_job_start(struct api_call *c, struct instance_job *j, const char *description,
			int (*run)(struct operation *, void *, struct error *))
{
	struct operation_spec spec = {
		.description = description,
		.project = c->project,
		.run = run,
		.arg_free = instance_job_free,
		.arg = j,
		/* what is downloaded can be cancelled */
		.cancel = j->remote.project ? image_obtain_cancel : NULL,
	};
	auto_free char *url = xasprintf("/1.0/instances/%s", j->name);
	auto_free char *alias = xasprintf("/1.0/containers/%s", j->name);
	struct operation *op;

	if (j->migration)
		describe_migration(j, &spec);
	op = api_operation_new(c, &spec);
	if (j->migration && migration_session_is_waiting(j->migration))
		migration_session_publish(j->migration, op);
	operation_add_resource(op, "instances", url);
	if (!j->action)
		operation_add_resource(op, "containers", alias);
	api_async(c, op);
}
