/* The server itself: /, /1.0, events, and what only the local administrator's tools call. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api/api.h"
#include "api/server_config.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "instance/container.h"
#include "instance/lxcconf.h"
#include "storage/shift.h"
#include "storage/storage.h"

/* Only what works is named here: clients decide by it. */
static const char *const extensions[] = {
	"api_filtering",
	"api_os",
	"certificate_project",
	"certificate_self_renewal",
	"certificate_token",
	"certificate_update",
	"console",
	"container_copy_project",
	"container_cpu_time",
	"container_disk_shift",
	"container_exec_recording",
	"container_exec_signal_handling",
	"container_exec_user_group_cwd",
	"container_full",
	"container_host_shutdown_timeout",
	"container_image_properties",
	"container_last_used_at",
	"container_mount_propagation",
	"container_only_migration",
	"container_protection_delete",
	"container_protection_shift",
	"container_push",
	"container_push_target",
	"container_raw_mount",
	"container_stateless_copy",
	"container_stop_priority",
	"container_syscall_filtering",
	"directory_manipulation",
	"entity_description",
	"etag",
	"event_lifecycle",
	"event_lifecycle_requestor_address",
	"event_location",
	"event_project",
	"file_append",
	"file_delete",
	"file_get_symlink",
	"file_symlinks",
	"https_allowed_credentials",
	"id_map",
	"id_map_base",
	"id_map_current",
	"image_compression_algorithm",
	"image_copy_profile",
	"image_create_aliases",
	"image_force_refresh",
	"image_profiles",
	"image_types",
	"images_push_relay",
	"instance_all_projects",
	"instance_bulk_state_change",
	"instance_get_full",
	"instance_nic_network",
	"instance_project_move",
	"instances",
	"kernel_features",
	"kernel_limits",
	"linux_sysctl",
	"metrics",
	"network",
	"network_dhcp_expiry",
	"network_dhcp_gateway",
	"network_dns_search",
	"network_firewall_filtering",
	"network_hwaddr",
	"network_leases",
	"network_leases_location",
	"network_nat_address",
	"network_nat_order",
	"network_routes",
	"network_state",
	"network_state_bond_bridge",
	"network_state_vlan",
	"operation_description",
	"operation_wait",
	"patch",
	"profile_usedby",
	"project_usage",
	"projects",
	"projects_limits",
	"projects_limits_instances",
	"projects_networks_restricted_access",
	"projects_restricted_backups_and_snapshots",
	"projects_restrictions",
	"resources",
	"resources_cpu_core_die",
	"resources_cpu_socket",
	"resources_cpu_threads_numa",
	"resources_disk_address",
	"resources_disk_id",
	"resources_disk_sata",
	"resources_gpu",
	"resources_network_usb",
	"resources_numa",
	"resources_pci_iommu",
	"resources_system",
	"resources_usb_pci",
	"resources_v2",
	"server_instance_driver_operational",
	"server_supported_storage_drivers",
	"server_trusted_proxy",
	"snapshot_expiry",
	"snapshot_expiry_creation",
	"snapshot_schedule_aliases",
	"snapshot_scheduling",
	"storage",
	"storage_volumes_all_projects",
	"trust_ca_certificates",
	"unix_device_rename",
	"usedby_consistency",
	"warnings",
};

static int get_root(struct api_call *c, struct error *err UNUSED)
{
	struct strbuf b = STRBUF_INIT;

	strbuf_append(&b, "[\"/1.0\"]");
	api_sync(c, &b);
	return 0;
}

static void write_os(struct jsonw *w)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	char name[64] = "", version[64] = "";
	const char *at;

	if (file_read_at(AT_FDCWD, "/etc/os-release", 64 * 1024, &text, &err) == 0) {
		at = strstr(text.data, "\nNAME=\"");
		if (at)
			sscanf(at, "\nNAME=\"%63[^\"]", name);
		at = strstr(text.data, "VERSION_ID=\"");
		if (at)
			sscanf(at, "VERSION_ID=\"%63[^\"]", version);
	}
	jsonw_kv_str(w, "os_name", name);
	jsonw_kv_str(w, "os_version", version);
}

static void write_storage(struct api *api, struct jsonw *w)
{
	auto_strv struct strv used = STRV_INIT;
	auto_free char *text = NULL;
	const char *const *names = storage_driver_names();

	mutex_lock(&api->store->lock);
	for (size_t k = 0; k < api->store->n_pools; k++)
		if (!strv_contains(&used, api->store->pools[k]->driver))
			strv_add(&used, api->store->pools[k]->driver);
	mutex_unlock(&api->store->lock);
	text = strv_join(&used, " | ");
	jsonw_kv_str(w, "storage", text);
	strv_done(&used);
	jsonw_kv_str(w, "storage_version", *text ? "1" : "");
	jsonw_key(w, "storage_supported_drivers");
	jsonw_array_begin(w);
	for (; *names; names++) {
		const struct storage_driver *driver;
		auto_error struct error err = ERROR_INIT;

		if (storage_driver_find(*names, &driver, &err) < 0)
			continue;
		jsonw_object_begin(w);
		jsonw_kv_str(w, "Name", *names);
		jsonw_kv_str(w, "Version", "1");
		jsonw_kv_bool(w, "Remote", storage_driver_features(driver) & STORAGE_REMOTE);
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
}

static bool idmapped_mounts(struct api *api)
{
	/* the probe starts a process: its answer is kept; -1: not asked yet */
	static _Atomic int known = -1;
	auto_error struct error err = ERROR_INIT;

	if (known < 0) {
		int r = getenv("LXD_IDMAPPED_MOUNTS_DISABLE") ? 0 : storage_idmap_supported(api->lxd_dir, &err);

		if (r < 0)
			error_ignore(&err, "what cannot be probed is told as missing");
		known = r > 0;
	}
	return known;
}

/* Only features that can be told for sure; values are strings. */
static void write_kernel_features(struct api *api, struct jsonw *w)
{
	unsigned action = SECCOMP_RET_USER_NOTIF;

	jsonw_key(w, "kernel_features");
	jsonw_object_begin(w);
	jsonw_kv_str(w, "idmapped_mounts", idmapped_mounts(api) ? "true" : "false");
	jsonw_kv_str(w, "seccomp_listener",
		     syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ? "true" : "false");
	jsonw_object_end(w);
}

/* With wildcards the host's addresses of the moment. */
static void write_addresses(struct api *api, struct jsonw *w)
{
	auto_strv struct strv list = STRV_INIT;

	if (api->remote)
		remote_addresses(api->remote, &list);
	jsonw_kv_strv(w, "addresses", &list);
}

static void write_environment(struct api *api, const char *project, struct jsonw *w) REQUIRES(api->server_lock)
{
	struct utsname u;

	uname(&u);
	jsonw_key(w, "environment");
	jsonw_object_begin(w);
	write_addresses(api, w);
	jsonw_key(w, "architectures");
	jsonw_array_begin(w);
	jsonw_str(w, u.machine);
	if (streq(u.machine, "x86_64"))
		jsonw_str(w, "i686");
	jsonw_array_end(w);
	jsonw_kv_str(w, "certificate", api->certificate_pem);
	jsonw_kv_str(w, "certificate_fingerprint", api->certificate_fingerprint);
	jsonw_kv_str(w, "driver", "lxc");
	jsonw_kv_str(w, "driver_version", LXD_LXC_VERSION);
	jsonw_kv_str(w, "firewall", api->firewall ? firewall_driver(api->firewall) : "none");
	jsonw_kv_str(w, "kernel", u.sysname);
	jsonw_kv_str(w, "kernel_architecture", u.machine);
	write_kernel_features(api, w);
	jsonw_kv_str(w, "kernel_version", u.release);
	/* liblxc is loaded in lxd-container alone, and no client asks for its features */
	jsonw_kv_raw(w, "lxc_features", "{}");
	write_os(w);
	jsonw_kv_str(w, "project", project);
	jsonw_kv_str(w, "server", "lxd");
	jsonw_kv_bool(w, "server_clustered", false);
	jsonw_kv_str(w, "server_event_mode", "full-mesh");
	jsonw_kv_str(w, "server_name", u.nodename);
	jsonw_kv_int(w, "server_pid", getpid());
	jsonw_kv_str(w, "server_version", api->version);
	write_storage(api, w);
	jsonw_object_end(w);
}

#define SERVER_KEPT_MS 5000 /* the host's addresses are among it, and nobody tells of their change */

/* How much of the server object a caller sees. */
enum view { VIEW_STRANGER, VIEW_TRUSTED, VIEW_ADMIN };

/* The server object; untrusted callers learn what they need for getting trusted, and no more. */
static void write_server(struct api *api, const char *project, const struct strmap *config, enum view view,
			 struct jsonw *w) REQUIRES(api->server_lock)
{
	bool trusted = view != VIEW_STRANGER;

	jsonw_object_begin(w);
	if (view == VIEW_ADMIN) {
		jsonw_key(w, "config");
		server_config_write(config, w);
	} else if (trusted) {
		jsonw_kv_null(w, "config");
	}
	jsonw_key(w, "api_extensions");
	jsonw_array_begin(w);
	for (size_t k = 0; k < ARRAY_SIZE(extensions); k++)
		jsonw_str(w, extensions[k]);
	jsonw_array_end(w);
	jsonw_kv_str(w, "api_status", "stable");
	jsonw_kv_str(w, "api_version", "1.0");
	jsonw_kv_str(w, "auth", trusted ? "trusted" : "untrusted");
	jsonw_kv_bool(w, "public", false);
	jsonw_kv_raw(w, "auth_methods",
		     api->candid && candid_is_on(api->candid) ? "[\"tls\",\"candid\"]" : "[\"tls\"]");
	if (trusted)
		write_environment(api, project, w);
	jsonw_object_end(w);
}

static void update_cache_locked(struct api *api) REQUIRES(api->server_lock)
{
	unsigned generation = api->store->generation;
	int64_t now = time_monotonic_ms();
	auto_strmap struct strmap config = STRMAP_INIT;
	struct strbuf b = STRBUF_INIT;

	if (api->server_json && api->server_generation == generation && now - api->server_made_ms < SERVER_KEPT_MS)
		return;
	store_config_copy(api->store, &config);
	server_config_etag(&config, api->server_etag);
	write_server(api, "default", &config, VIEW_ADMIN, &JSONW(&b));
	free(api->server_json);
	api->server_json_len = b.len;
	api->server_json = strbuf_take(&b);
	api->server_generation = generation;
	api->server_made_ms = now;
}

void api_server_changed(struct api *api)
{
	mutex_lock(&api->server_lock);
	free(api->server_json);
	api->server_json = NULL;
	mutex_unlock(&api->server_lock);
}

void api_set_certificate(struct api *api, const char *pem, const char *fingerprint)
{
	mutex_lock(&api->server_lock);
	free(api->certificate_pem);
	api->certificate_pem = xstrdup(pem);
	snprintf(api->certificate_fingerprint, sizeof(api->certificate_fingerprint), "%s", fingerprint);
	free(api->server_json);
	api->server_json = NULL;
	mutex_unlock(&api->server_lock);
	/* they carry the fingerprint */
	if (api->tokens)
		tokens_refresh(api->tokens);
}

void api_certificate_fingerprint(struct api *api, char ret[65])
{
	mutex_lock(&api->server_lock);
	memcpy(ret, api->certificate_fingerprint, sizeof(api->certificate_fingerprint));
	mutex_unlock(&api->server_lock);
}

/* As it is kept, but for the project that it names: few ask for that. */
static void write_for_project(struct api *api, const char *project, struct strbuf *b) REQUIRES(api->server_lock)
{
	auto_strmap struct strmap config = STRMAP_INIT;

	store_config_copy(api->store, &config);
	write_server(api, project, &config, VIEW_ADMIN, &JSONW(b));
}

static int get_server(struct api_call *c, struct error *err UNUSED)
{
	struct api *api = c->api;
	struct strbuf b = STRBUF_INIT;
	char etag[65];

	if (!identity_is_admin(&c->id)) {
		bool trusted = c->id.kind != IDENTITY_NONE;

		mutex_lock(&api->server_lock);
		write_server(api, c->project, NULL, trusted ? VIEW_TRUSTED : VIEW_STRANGER, &JSONW(&b));
		mutex_unlock(&api->server_lock);
		if (!trusted) {
			api_sync(c, &b);
			return 0;
		}
		api_etag("null", 4, etag);
		api_sync_etag(c, &b, etag);
		return 0;
	}
	mutex_lock(&api->server_lock);
	update_cache_locked(api);
	if (streq(c->project, "default"))
		strbuf_append_len(&b, api->server_json, api->server_json_len);
	else
		write_for_project(api, c->project, &b);
	memcpy(etag, api->server_etag, sizeof(etag));
	mutex_unlock(&api->server_lock);
	api_sync_etag(c, &b, etag);
	return 0;
}

static int put_server(struct api_call *c, struct error *err)
{
	return server_config_change(c, /* replace= */ true, err);
}

static int patch_server(struct api_call *c, struct error *err)
{
	return server_config_change(c, /* replace= */ false, err);
}

static int get_events(struct api_call *c, struct error *err)
{
	bool all = parse_bool_or(http_query(c->req, "all-projects"), false);

	if (!all && !authorize(&c->id, PERM_PROJECT_VIEW, c->project))
		return error_set(err, 403, "not authorized");
	return events_accept(c->api->events, c->req, c->resp, http_query(c->req, "type"), all ? NULL : c->project,
			     &c->id, err);
}

const struct api_route api_server_routes[] = {
	{.path = "/", .method = HTTP_GET, .perm = PERM_ANYONE, .handler = get_root, .doc = "The API versions"},
	{.path = "/1.0",
	 .method = HTTP_GET,
	 .perm = PERM_ANYONE,
	 .handler = get_server,
	 .doc = "The server's configuration and environment"},
	{.path = "/1.0",
	 .method = HTTP_PUT,
	 .perm = PERM_ADMIN,
	 .flags = API_WHILE_STOPPING,
	 .handler = put_server,
	 .doc = "Replace the server's configuration"},
	{.path = "/1.0",
	 .method = HTTP_PATCH,
	 .perm = PERM_ADMIN,
	 .flags = API_WHILE_STOPPING,
	 .handler = patch_server,
	 .doc = "Change some of the server's configuration"},
	{.path = "/1.0/events",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .flags = API_ANY_PROJECT,
	 .handler = get_events,
	 .doc = "Websocket with operation, lifecycle and logging events"},
	{0},
};

static int get_ready(struct api_call *c, struct error *err)
{
	if (!c->api->ready)
		return error_set(err, 503, "LXD daemon not ready yet");
	api_empty(c);
	return 0;
}

/* How the trust password's guard stands. */
static int get_trust(struct api_call *c, struct error *err UNUSED)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	struct password_stats stats;

	password_guard_stats(c->api->password_guard, &stats);
	jsonw_object_begin(&w);
	jsonw_key(&w, "password");
	jsonw_object_begin(&w);
	jsonw_kv_uint(&w, "evaluated", stats.evaluated);
	jsonw_kv_uint(&w, "throttled", stats.throttled);
	jsonw_kv_uint(&w, "busy", stats.busy);
	jsonw_kv_uint(&w, "sources", stats.sources);
	jsonw_object_end(&w);
	jsonw_object_end(&w);
	api_sync(c, &b);
	return 0;
}

static int put_shutdown(struct api_call *c, struct error *err UNUSED)
{
	bool force = parse_bool_or(http_query(c->req, "force"), false);

	api_empty(c);
	c->api->shutdown(c->api->shutdown_arg, force);
	return 0;
}

const struct api_route api_internal_routes[] = {
	{.path = "/internal/ready",
	 .method = HTTP_GET,
	 .perm = PERM_INTERNAL,
	 .handler = get_ready,
	 .doc = "200 once start-up is complete"},
	{.path = "/internal/trust",
	 .method = HTTP_GET,
	 .perm = PERM_INTERNAL,
	 .handler = get_trust,
	 .doc = "How many guesses of the trust password were looked at, and how many were not"},
	{.path = "/internal/shutdown",
	 .method = HTTP_PUT,
	 .perm = PERM_INTERNAL,
	 .flags = API_WHILE_STOPPING,
	 .handler = put_shutdown,
	 .doc = "Stop all instances, then the daemon"},
	{0},
};
