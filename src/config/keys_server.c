/* Keys of the server. */
#include "base/str.h"
#include "config/expiry.h"
#include "config/keys_tables.h"

static int check_update_interval(const char *key UNUSED, const char *value, struct error *err)
{
	return streq(value, "0") ? 0 : error_set(err, 400, "This server does not update images yet");
}

static const char *const firewall_drivers[] = {"nftables", "xtables", NULL};

static const char *const default_roles[] = {"none", "auditor", "user", "operator", "admin", NULL};

const struct config_key config_keys_server[] = {
	{"candid.api.key", CONFIG_STRING, NULL, CONFIG_LIVE, NULL, NULL,
	 "Public key of the identity provider, base64; unset: it is asked for it, over https"},
	{"candid.api.url", CONFIG_STRING, NULL, CONFIG_LIVE, NULL, NULL,
	 "Address of an identity provider that speaks Candid's protocol; users can log in by it"},
	{"candid.domains", CONFIG_LIST, NULL, CONFIG_LIVE, NULL, NULL,
	 "Domains whose users may log in, comma separated; unset: all"},
	{"candid.expiry", CONFIG_STRING, "3600", CONFIG_LIVE, NULL, NULL, "Seconds that a login is good for"},
	{"candid.default_role", CONFIG_ENUM, "admin", CONFIG_LIVE, NULL, default_roles,
	 "What every user of the identity provider may do in all projects, admin on the server too, until one of them "
	 "is granted a role with `lxc auth binding`: then only what is granted"},
	{"core.firewall_driver", CONFIG_ENUM, NULL, CONFIG_LIVE, NULL, firewall_drivers,
	 "What packet filters are made with: nftables or xtables; unset: what works on this host"},
	{"core.https_address", CONFIG_STRING, NULL, CONFIG_LIVE, NULL, NULL,
	 "Address and port of the remote API; without a port 8443"},
	{"core.https_allowed_credentials", CONFIG_BOOL, "false", CONFIG_LIVE, NULL, NULL,
	 "Set Access-Control-Allow-Credentials to true"},
	{"core.https_allowed_headers", CONFIG_STRING, NULL, CONFIG_LIVE, NULL, NULL,
	 "Value of Access-Control-Allow-Headers"},
	{"core.https_allowed_methods", CONFIG_STRING, NULL, CONFIG_LIVE, NULL, NULL,
	 "Value of Access-Control-Allow-Methods"},
	{"core.https_allowed_origin", CONFIG_STRING, NULL, CONFIG_LIVE, NULL, NULL,
	 "Value of Access-Control-Allow-Origin; requests that change something may come from this origin"},
	{"core.https_trusted_proxy", CONFIG_LIST, NULL, CONFIG_LIVE, NULL, NULL,
	 "Addresses of proxies that may tell the client's address by the PROXY protocol"},
	{"core.metrics_address", CONFIG_STRING, NULL, CONFIG_LIVE, NULL, NULL,
	 "Address and port for metrics alone; without a port 9100"},
	{"core.metrics_authentication", CONFIG_BOOL, "true", CONFIG_LIVE, NULL, NULL,
	 "Whether /1.0/metrics wants a trusted certificate"},
	{"core.proxy_http", CONFIG_STRING, NULL, CONFIG_LIVE, NULL, NULL, "Proxy for http addresses"},
	{"core.proxy_https", CONFIG_STRING, NULL, CONFIG_LIVE, NULL, NULL, "Proxy for https addresses"},
	{"core.proxy_ignore_hosts", CONFIG_STRING, NULL, CONFIG_LIVE, NULL, NULL,
	 "Hosts that need no proxy, comma separated"},
	{"core.remote_token_expiry", CONFIG_STRING, "24H", CONFIG_LIVE, expiry_check, NULL,
	 "How long a token for adding a certificate is good"},
	{"core.trust_ca_certificates", CONFIG_BOOL, "false", CONFIG_LIVE, NULL, NULL,
	 "Whether certificates of the CA are trusted without being in the trust store"},
	{"core.trust_password", CONFIG_STRING, NULL, CONFIG_LIVE | CONFIG_SECRET, NULL, NULL,
	 "Password by which clients add themselves to the trust store; unset it when all are added"},
	{"core.trust_password.expiry", CONFIG_STRING, NULL, CONFIG_LIVE, expiry_check, NULL,
	 "How long a trust password stays set; it is unset then"},
	{"core.shutdown_timeout", CONFIG_UINT32, "5", CONFIG_LIVE, NULL, NULL,
	 "Minutes to wait for running operations when the server shuts down"},
	{"images.auto_update_interval", CONFIG_INT, "0", CONFIG_LIVE, check_update_interval, NULL,
	 "Hours between updates of images; only 0, never, until images can be fetched"},
	{"user.*", CONFIG_STRING, NULL, CONFIG_LIVE | CONFIG_MULTILINE, NULL, NULL, "Free for any use"},
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
	CONFIG_LATER_ROW("rbac.*"),
	CONFIG_LATER_ROW("maas.*"),
	CONFIG_LATER_ROW("network.ovn.*"),
	CONFIG_END,
};
