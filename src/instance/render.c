/* Instances as the API shows them. Objects are cached as text: a list is a copy of pieces. */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"
#include "instance/cgroup.h"
#include "instance/nics.h"
#include "instance/netstate.h"
#include "instance/snapshot.h"

static const struct {
	const char *name;
	int code;
} states[] = {
	[CONTAINER_STOPPED] = {"Stopped", 102},
	[CONTAINER_RUNNING] = {"Running", 103},
	[CONTAINER_FROZEN] = {"Frozen", 110},
};

/* Local configuration with the volatile keys, as clients see it. */
static void write_config(struct jsonw *w, const struct db_instance *row)
{
	auto_strmap struct strmap config = STRMAP_INIT;

	strmap_copy(&config, &row->config);
	strmap_merge(&config, &row->volatile_);
	jsonw_kv_strmap(w, "config", &config);
}

static void render_locked(struct instance *i, struct jsonw *w) REQUIRES(i->all->lock)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
	auto_error struct error err = ERROR_INIT;
	const struct db_instance *row = &i->row;

	if (instance_expand(i->all, row, NULL, &x, &err) < 0)
		error_ignore(&err, "a profile that is in use cannot be removed");
	jsonw_object_begin(w);
	jsonw_kv_str(w, "architecture", row->architecture);
	write_config(w, row);
	jsonw_kv_mapmap(w, "devices", &row->devices);
	jsonw_kv_bool(w, "ephemeral", row->ephemeral);
	jsonw_kv_strv(w, "profiles", &row->profiles);
	jsonw_kv_bool(w, "stateful", false);
	jsonw_kv_str(w, "description", row->description);
	jsonw_kv_time(w, "created_at", row->created_ns);
	jsonw_kv_strmap(w, "expanded_config", &x.config);
	jsonw_kv_mapmap(w, "expanded_devices", &x.devices);
	jsonw_kv_str(w, "name", row->name);
	jsonw_kv_str(w, "status", states[i->state].name);
	jsonw_kv_int(w, "status_code", states[i->state].code);
	jsonw_kv_time(w, "last_used_at", row->last_used_ns);
	jsonw_kv_str(w, "location", "none");
	jsonw_kv_str(w, "type", "container");
	jsonw_kv_str(w, "project", row->project);
	jsonw_object_end(w);
}

static void cache_locked(struct instance *i) REQUIRES(i->all->lock)
{
	unsigned generation = i->all->store->generation;
	struct strbuf b = STRBUF_INIT;

	if (i->json && i->json_generation == generation)
		return;
	instance_touch_locked(i);
	render_locked(i, &JSONW(&b));
	i->json_generation = generation;
	i->json_len = b.len;
	i->json = strbuf_take(&b);
}

void instance_render(struct instance *i, struct jsonw *w)
{
	mutex_lock(&i->all->lock);
	cache_locked(i);
	jsonw_raw(w, i->json, i->json_len);
	mutex_unlock(&i->all->lock);
}

void instance_etag(struct instance *i, char etag[65])
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	mutex_lock(&i->all->lock);
	jsonw_array_begin(&w);
	jsonw_str(&w, i->row.architecture);
	jsonw_object_begin(&w);
	write_config(&w, &i->row);
	jsonw_object_end(&w);
	jsonw_mapmap(&w, &i->row.devices);
	jsonw_bool(&w, i->row.ephemeral);
	jsonw_strv(&w, &i->row.profiles);
	jsonw_array_end(&w);
	mutex_unlock(&i->all->lock);
	sha256_hex(b.data, b.len, etag);
}

static int64_t or_zero(int64_t v)
{
	return v < 0 ? 0 : v;
}

static void write_usage(struct jsonw *w, const struct cgroup_usage *u)
{
	jsonw_key(w, "memory");
	jsonw_object_begin(w);
	jsonw_kv_int(w, "usage", or_zero(u->memory_bytes));
	jsonw_kv_int(w, "usage_peak", or_zero(u->memory_peak_bytes));
	jsonw_kv_int(w, "swap_usage", or_zero(u->swap_bytes));
	jsonw_kv_int(w, "swap_usage_peak", or_zero(u->swap_peak_bytes));
	jsonw_object_end(w);
}

static int read_network(struct container_host *host, int pidfd, pid_t pid, char **ret_json, struct error *err)
{
	int r = netstate_read(pidfd, pid, ret_json, err);

	if (r >= 0 || r == -ESRCH)
		return r;
	error_ignore(err, "an older kernel, or no rights over the namespace from here: ask from inside");
	return container_net_state(host, pidfd, ret_json, err);
}

void instance_render_state(struct instance *i, struct jsonw *w)
{
	struct cgroup_usage u = {0};
	auto_error struct error err = ERROR_INIT;
	auto_free char *network = NULL;
	auto_close int pidfd = -EBADF;
	enum container_state state;
	pid_t pid = 0;

	mutex_lock(&i->all->lock);
	state = i->state;
	if (state != CONTAINER_STOPPED) {
		pid = i->proc.init_pid;
		pidfd = fcntl(i->proc.init_pidfd, F_DUPFD_CLOEXEC, 3);
	}
	mutex_unlock(&i->all->lock);
	if (pid && cgroup_usage_read(&i->all->lxc_host.cgroup, pid, &u, &err) < 0)
		error_ignore(&err, "it stopped this moment: zeros");
	if (pidfd >= 0 && read_network(i->all->host, pidfd, pid, &network, &err) < 0)
		error_ignore(&err, "it stopped this moment: no network");
	if (network)
		network = nics_add_host_names(i, network);
	jsonw_object_begin(w);
	jsonw_kv_str(w, "status", states[state].name);
	jsonw_kv_int(w, "status_code", states[state].code);
	jsonw_kv_raw(w, "disk", "{}");
	write_usage(w, &u);
	jsonw_kv_raw(w, "network", network ? network : "null");
	jsonw_kv_int(w, "pid", pid);
	jsonw_kv_int(w, "processes", pid ? or_zero(u.processes) : 0);
	jsonw_key(w, "cpu");
	jsonw_object_begin(w);
	jsonw_kv_int(w, "usage", or_zero(u.cpu_ns));
	jsonw_object_end(w);
	jsonw_object_end(w);
}

static void render_snapshots(struct instance *i, struct jsonw *w)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	snapshots_render(i, "instances", /* objects= */ true, &JSONW(&b));
	if (b.len > strlen("[]"))
		jsonw_kv_raw(w, "snapshots", b.data);
	else
		jsonw_kv_null(w, "snapshots");
}

void instance_render_full(struct instance *i, struct jsonw *w)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	instance_render(i, &JSONW(&b));
	/* the object, open again at its end */
	strbuf_truncate(&b, b.len - 1);
	jsonw_raw(w, b.data, b.len);
	jsonw_kv_null(w, "backups");
	jsonw_key(w, "state");
	instance_render_state(i, w);
	render_snapshots(i, w);
	jsonw_object_end(w);
}

static void render_name(struct instance *i, const char *prefix, struct jsonw *w)
{
	auto_free char *name = instance_name_dup(i);
	auto_free char *url = project_url(i->row.project, "/1.0/%s/%s", prefix, name);

	jsonw_str(w, url);
}

/* The common list: pieces copied under one lock. */
static void render_objects(struct instances *all, const char *project, struct jsonw *w)
{
	size_t total = 0;

	mutex_lock(&all->lock);
	/* room for all at once: a growing buffer would be copied again and again */
	for (size_t k = 0; k < all->n; k++) {
		struct instance *i = all->list[k];

		mutex_is_held(&i->all->lock);
		cache_locked(i);
		total += i->json_len + 1;
	}
	strbuf_reserve(w->out, total + 64);
	for (size_t k = 0; k < all->n; k++) {
		struct instance *i = all->list[k];

		if (i->row.phase != DB_READY || (project && !streq(project, i->row.project)))
			continue;
		jsonw_raw(w, i->json, i->json_len);
	}
	mutex_unlock(&all->lock);
}

int instances_render(struct instances *all, const char *project, enum instance_list_form form, const char *prefix,
		     int (*keep)(const char *json, size_t len, void *arg, struct error *err), void *arg,
		     struct jsonw *w, struct error *err)
{
	struct instance **list;
	size_t n;
	int r = 0;

	jsonw_array_begin(w);
	if (form == INSTANCE_LIST_OBJECTS && !keep) {
		render_objects(all, project, w);
		jsonw_array_end(w);
		return 0;
	}
	n = instances_snapshot(all, &list);
	for (size_t k = 0; k < n; k++) {
		auto_strbuf struct strbuf piece = STRBUF_INIT;
		struct jsonw pw = JSONW(&piece);
		struct instance *i = list[k];
		int want = r == 0 && (!project || streq(project, i->row.project));

		if (want && form == INSTANCE_LIST_FULL)
			instance_render_full(i, &pw);
		else if (want)
			instance_render(i, &pw);
		if (want && keep)
			want = keep(piece.data, piece.len, arg, err);
		if (want < 0)
			r = want;
		else if (want && form == INSTANCE_LIST_NAMES)
			render_name(i, prefix, w);
		else if (want)
			jsonw_raw(w, piece.data, piece.len);
		instance_unref(i);
	}
	free(list);
	jsonw_array_end(w);
	return r;
}
