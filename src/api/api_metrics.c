/* /1.0/metrics: what Prometheus reads. */
#include "api/api.h"
#include "base/metrics.h"
#include "base/str.h"
#include "base/timeutil.h"

/* What an identity sees of the server itself: whoever may see every project. */
static bool sees_server(const struct identity *id)
{
	return identity_is_admin(id) || (id->kind == IDENTITY_METRICS && !id->restricted);
}

static void add_server(struct api *api, struct metrics *m)
{
	metrics_add(m, METRIC_OPERATIONS, "", (int64_t)operations_running(api->operations));
	metrics_add(m, METRIC_UPTIME_SECONDS, "", (time_monotonic_ms() - api->started_ms) / 1000);
	metrics_add(m, METRIC_WARNINGS, "", (int64_t)warnings_count_open(api->warnings));
}

static int get_metrics(struct api_call *c, struct error *err UNUSED)
{
	auto_metrics struct metrics m = METRICS_INIT;
	const char *project = http_query(c->req, "project");
	/* core.metrics_authentication=false: the router lets strangers come here, for everything there is to see */
	bool all = c->id.kind == IDENTITY_NONE || sees_server(&c->id);

	instances_metrics(c->api->instances, all && str_is_empty(project) ? NULL : c->project, &m);
	if (all && str_is_empty(project))
		add_server(c->api, &m);
	metrics_write(&m, &c->resp->body);
	http_response_header(c->resp, "Content-Type", "text/plain");
	return 0;
}

const struct api_route api_metrics_routes[] = {
	{.path = "/1.0/metrics",
	 .method = HTTP_GET,
	 .perm = PERM_METRICS,
	 .flags = API_ANY_PROJECT,
	 .handler = get_metrics,
	 .doc = "Figures of running instances as text for Prometheus; ?project= those of one project"},
	{0},
};
