/* Snapshots as API objects. */
#include "base/alloc.h"
#include "instance/snapshot_internal.h"

static void render_expanded(struct instance *i, const struct db_snapshot *s, struct jsonw *w) REQUIRES(i->all->lock)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
	auto_error struct error missing = ERROR_INIT;
	/* borrows everything */
	const struct db_instance view = {.project = i->row.project,
					 .name = i->row.name,
					 .config = s->config,
					 .volatile_ = s->volatile_,
					 .devices = s->devices,
					 .profiles = s->profiles};

	if (instance_expand(i->all, &view, NULL, &x, &missing) < 0)
		error_ignore(&missing, "a profile of then is gone: what is left");
	jsonw_kv_strmap(w, "expanded_config", &x.config);
	jsonw_kv_mapmap(w, "expanded_devices", &x.devices);
}

static void render_locked(struct instance *i, const struct db_snapshot *s, struct jsonw *w) REQUIRES(i->all->lock)
{
	auto_strmap struct strmap config = STRMAP_INIT;

	strmap_copy(&config, &s->config);
	strmap_merge(&config, &s->volatile_);
	jsonw_object_begin(w);
	jsonw_kv_time(w, "expires_at", s->expires_ns);
	jsonw_kv_str(w, "architecture", s->architecture);
	jsonw_kv_strmap(w, "config", &config);
	jsonw_kv_time(w, "created_at", s->created_ns);
	jsonw_kv_mapmap(w, "devices", &s->devices);
	jsonw_kv_bool(w, "ephemeral", s->ephemeral);
	render_expanded(i, s, w);
	jsonw_kv_time(w, "last_used_at", s->last_used_ns);
	jsonw_kv_str(w, "name", s->name);
	jsonw_kv_strv(w, "profiles", &s->profiles);
	jsonw_kv_bool(w, "stateful", false);
	jsonw_kv_int(w, "size", -1);
	jsonw_object_end(w);
}

int snapshot_render(struct instance *i, const char *name, struct jsonw *w, struct error *err)
{
	const struct db_snapshot *s;

	mutex_lock(&i->all->lock);
	s = snapshot_find_locked(i, name);
	if (s)
		render_locked(i, s, w);
	mutex_unlock(&i->all->lock);
	return s ? 0 : snapshot_not_found(err);
}

void snapshots_render(struct instance *i, const char *prefix, bool objects, struct jsonw *w)
{
	mutex_lock(&i->all->lock);
	jsonw_array_begin(w);
	for (size_t k = 0; k < i->n_snapshots; k++) {
		const struct db_snapshot *s = i->snapshots[k];
		auto_free char *url = NULL;

		if (s->phase != DB_READY)
			continue;
		if (objects) {
			render_locked(i, s, w);
			continue;
		}
		url = project_url(i->row.project, "/1.0/%s/%s/snapshots/%s", prefix, i->row.name, s->name);
		jsonw_str(w, url);
	}
	jsonw_array_end(w);
	mutex_unlock(&i->all->lock);
}
