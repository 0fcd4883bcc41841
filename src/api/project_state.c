/* /1.0/projects/{name}/state: what a project may use, and what it does. */
#include "api/project.h"
#include "base/str.h"

static int64_t limit_of(const struct db_project *p, const char *key, bool in_bytes)
{
	const char *value = strmap_get_or(&p->config, key, NULL);
	auto_error struct error err = ERROR_INIT;
	uint64_t v = 0;

	if (!value)
		return -1;
	if (!in_bytes)
		return parse_u64(value, &v) < 0 ? -1 : (int64_t)v;
	return parse_size(value, &v, &err) < 0 ? -1 : (int64_t)v;
}

/* Networks of its own: there are some in the default project only. */
static size_t count_networks(struct api_call *c, const char *project)
{
	size_t n;

	mutex_lock(&c->api->store->lock);
	n = streq(project, "default") ? c->api->store->n_networks : 0;
	mutex_unlock(&c->api->store->lock);
	return n;
}

static void write_state(struct api_call *c, const struct db_project *p, struct jsonw *w)
{
	struct instances_project_usage u = {0};

	instances_project_usage(c->api->instances, p->name, &u);
	const struct {
		const char *name;
		const char *key;
		bool in_bytes;
		uint64_t usage;
	} rows[] = {
		{"containers", "limits.containers", false, u.instances},
		{"cpu", "limits.cpu", false, u.cpu},
		{"disk", "limits.disk", true, u.disk_bytes},
		{"instances", "limits.instances", false, u.instances},
		{"memory", "limits.memory", true, u.memory_bytes},
		{"networks", "limits.networks", false, count_networks(c, p->name)},
		{"processes", "limits.processes", false, u.processes},
		{"virtual-machines", "limits.virtual-machines", false, 0},
	};

	jsonw_object_begin(w);
	jsonw_key(w, "resources");
	jsonw_object_begin(w);
	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		jsonw_key(w, rows[k].name);
		jsonw_object_begin(w);
		jsonw_kv_int(w, "Limit", limit_of(p, rows[k].key, rows[k].in_bytes));
		jsonw_kv_int(w, "Usage", (int64_t)rows[k].usage);
		jsonw_object_end(w);
	}
	jsonw_object_end(w);
	jsonw_object_end(w);
}

int project_state_get(struct api_call *c, struct error *err)
{
	CLEANUP(db_project_done) struct db_project p = {0};
	struct strbuf b = STRBUF_INIT;
	int r = project_find(c, PERM_PROJECT_VIEW, &p, err);

	if (r < 0)
		return r;
	write_state(c, &p, &JSONW(&b));
	api_sync(c, &b);
	return 0;
}
