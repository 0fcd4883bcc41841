/* Keys of the server. */
#include "base/str.h"
#include "config/keys_tables.h"

static int check_update_interval(const char *key UNUSED, const char *value, struct error *err)
{
	return streq(value, "0") ? 0 : error_set(err, 400, "This server does not update images yet");
}

const struct config_key config_keys_server[] = {
	{"core.shutdown_timeout", CONFIG_UINT32, "5", CONFIG_LIVE, NULL, NULL,
	 "Minutes to wait for running operations when the server shuts down"},
	{"images.auto_update_interval", CONFIG_INT, "0", CONFIG_LIVE, check_update_interval, NULL,
	 "Hours between updates of images; only 0, never, until images can be fetched"},
	{"user.*", CONFIG_STRING, NULL, CONFIG_LIVE | CONFIG_MULTILINE, NULL, NULL, "Free for any use"},
	CONFIG_LATER_ROW("core.https_address"),
	CONFIG_LATER_ROW("core.trust_password"),
	CONFIG_LATER_ROW("core.trust_ca_certificates"),
	CONFIG_LATER_ROW("core.remote_token_expiry"),
	CONFIG_LATER_ROW("core.https_allowed_origin"),
	CONFIG_LATER_ROW("core.https_allowed_methods"),
	CONFIG_LATER_ROW("core.https_allowed_headers"),
	CONFIG_LATER_ROW("core.https_allowed_credentials"),
	CONFIG_LATER_ROW("core.https_trusted_proxy"),
	CONFIG_LATER_ROW("core.proxy_http"),
	CONFIG_LATER_ROW("core.proxy_https"),
	CONFIG_LATER_ROW("core.proxy_ignore_hosts"),
	CONFIG_LATER_ROW("core.metrics_address"),
	CONFIG_LATER_ROW("core.metrics_authentication"),
	CONFIG_LATER_ROW("core.debug_address"),
	CONFIG_LATER_ROW("core.bgp_address"),
	CONFIG_LATER_ROW("core.bgp_routerid"),
	CONFIG_LATER_ROW("core.bgp_asn"),
	CONFIG_LATER_ROW("core.dns_address"),
	CONFIG_LATER_ROW("cluster.https_address"),
	CONFIG_LATER_ROW("cluster.offline_threshold"),
	CONFIG_LATER_ROW("cluster.images_minimal_replica"),
	CONFIG_LATER_ROW("cluster.join_token_expiry"),
	CONFIG_LATER_ROW("cluster.max_voters"),
	CONFIG_LATER_ROW("cluster.max_standby"),
	CONFIG_LATER_ROW("images.auto_update_cached"),
	CONFIG_LATER_ROW("images.remote_cache_expiry"),
	CONFIG_LATER_ROW("images.compression_algorithm"),
	CONFIG_LATER_ROW("images.default_architecture"),
	CONFIG_LATER_ROW("backups.compression_algorithm"),
	CONFIG_LATER_ROW("storage.backups_volume"),
	CONFIG_LATER_ROW("storage.images_volume"),
	CONFIG_LATER_ROW("candid.*"),
	CONFIG_LATER_ROW("rbac.*"),
	CONFIG_LATER_ROW("maas.*"),
	CONFIG_LATER_ROW("network.ovn.*"),
	CONFIG_END,
};
