#include "daemon/network_side.h"

#include "base/alloc.h"
#include "base/log.h"

static void on_warning(void *arg, const char *type, const char *severity, const char *entity, const char *message)
{
	struct api *api = arg;

	if (message)
		warnings_raise(api->warnings, type, severity, entity, message);
	else
		warnings_resolve(api->warnings, type, entity);
}

/* Instances that could not be started at boot for want of it can be now. */
static void on_available(void *arg, const char *name)
{
	struct api *api = arg;

	log_info("network is available again", LOG_STR("network", name));
	if (!api->shutting_down)
		instances_autostart(api->instances, api->boot);
}

static int open_firewall(struct api *api, struct error *err)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	struct firewall_spec spec = {.loop = api->loop, .warn = on_warning, .warn_arg = api};

	store_config_copy(api->store, &config);
	spec.driver = strmap_get(&config, "core.firewall_driver");
	return firewall_new(&spec, &api->firewall, err);
}

/* The daemon goes on without: what needs filters says so. */
static void start_firewall(struct api *api)
{
	auto_error struct error err = ERROR_INIT;

	if (firewall_start(api->firewall, &err) == 0) {
		warnings_resolve(api->warnings, FIREWALL_WARNING_NOT_IN_FORCE, "");
		return;
	}
	log_error("packet filters are not in force", LOG_ERR(&err));
	warnings_raise(api->warnings, FIREWALL_WARNING_NOT_IN_FORCE, "high", "", error_msg(&err));
}

int network_side_open(struct api *api, const char *lxd_dir, struct error *err)
{
	struct networks_spec spec = {
		.lxd_dir = lxd_dir, .store = api->store, .loop = api->loop, .warn = on_warning, .warn_arg = api};
	int r = link_ns_open(&spec.links, err); /* as long as the daemon */

	if (r == 0)
		r = open_firewall(api, err);
	if (r < 0)
		return r;
	spec.firewall = api->firewall;
	r = networks_new(&spec, &api->networks, err);
	if (r == 0)
		networks_on_available(api->networks, on_available, api);
	return r;
}

void network_side_start(struct api *api)
{
	networks_on_change(api->networks, instances_check_network, api->instances);
	networks_on_up(api->networks, instances_write_entries, api->instances);
	networks_start(api->networks);
	instances_resume_nics(api->instances);
	/* what all of them need, and nothing else, comes into force at once */
	start_firewall(api);
	instances_repair_nics(api->instances);
	instances_watch_links(api->instances);
}
