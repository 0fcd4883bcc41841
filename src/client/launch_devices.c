/* Devices that `lxc init` and `lxc launch` give a new instance beside those of its profiles: -n, -s and -d. */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/client.h"
#include "client/doc.h"
#include "client/instance.h"
#include "client/network.h"

int instance_parse_devices(const struct strv *args, struct mapmap *ret, struct error *err)
{
	for (size_t i = 0; i < args->len; i++) {
		const char *arg = args->items[i];
		const char *comma = strchr(arg, ',');
		const char *equals = comma ? strchr(comma, '=') : NULL;
		auto_free char *device = NULL;
		auto_free char *key = NULL;

		if (!comma || !equals || comma == arg)
			return error_set(err, 400, "Bad device override syntax, expecting <device>,<key>=<value>: %s",
					 arg);
		device = xstrndup(arg, (size_t)(comma - arg));
		key = xstrndup(comma + 1, (size_t)(equals - comma - 1));
		strmap_set(mapmap_ensure(ret, device), key, equals + 1);
	}
	return 0;
}

/* The first interface is on the network: eth0 takes the place of a profile's. */
static int add_nic(struct api *a, const char *network, struct mapmap *devices, struct error *err)
{
	auto_free char *url = cli_url("/1.0/networks/%s", network);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_strmap struct strmap nic = STRMAP_INIT;
	int r = api_get(a, url, &reply, err);

	if (r < 0)
		return error_wrap(err, "Failed loading network \"%s\"", network);
	network_nic(reply.metadata, json_is_true(json_get(reply.metadata, "managed")), &nic);
	strmap_set(&nic, "name", "eth0");
	mapmap_set(devices, "eth0", &nic);
	return 0;
}

static int add_root(struct api *a, const char *pool, struct mapmap *devices, struct error *err)
{
	auto_free char *url = cli_url("/1.0/storage-pools/%s", pool);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	struct strmap *root;
	int r = api_get(a, url, &reply, err);

	if (r < 0)
		return error_wrap(err, "Failed loading storage pool \"%s\"", pool);
	root = mapmap_ensure(devices, "root");
	strmap_set(root, "type", "disk");
	strmap_set(root, "path", "/");
	strmap_set(root, "pool", pool);
	return 0;
}

/* The devices of @profiles, a later one in the place of an earlier one of the same name. */
static int profile_devices(struct api *a, const struct strv *profiles, struct mapmap *ret, struct error *err)
{
	for (size_t i = 0; i < profiles->len; i++) {
		auto_free char *url = cli_url("/1.0/profiles/%s", profiles->items[i]);
		auto_doc struct doc d = DOC_INIT;
		int r = doc_load(a, url, &doc_profile, &d, err);

		if (r < 0)
			return error_wrap(err, "Failed loading profile \"%s\" for device override", profiles->items[i]);
		for (size_t k = 0; k < d.devices.len; k++)
			mapmap_set(ret, d.devices.items[k].key, &d.devices.items[k].map);
	}
	return 0;
}

static bool has_all(const struct mapmap *devices, const struct mapmap *wanted)
{
	for (size_t i = 0; i < wanted->len; i++)
		if (!mapmap_get(devices, wanted->items[i].key))
			return false;
	return true;
}

/* Keys for devices that are there, or that a profile has: the latter become the instance's own. */
static int override(struct api *a, const struct mapmap *overrides, const struct strv *profiles, struct mapmap *devices,
		    struct error *err)
{
	auto_mapmap struct mapmap inherited = MAPMAP_INIT;
	auto_strv struct strv only_default = STRV_INIT;
	int r = 0;

	strv_add(&only_default, "default");
	if (!has_all(devices, overrides))
		r = profile_devices(a, profiles->len ? profiles : &only_default, &inherited, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < overrides->len; i++) {
		const char *name = overrides->items[i].key;
		const struct strmap *from = mapmap_get(devices, name);

		if (!from)
			from = mapmap_get(&inherited, name);
		if (!from)
			return error_set(
				err, 400,
				"Cannot override config for device \"%s\": Device not found in profile devices", name);
		if (!mapmap_get(devices, name))
			mapmap_set(devices, name, from);
		strmap_merge(mapmap_get(devices, name), &overrides->items[i].map);
	}
	return 0;
}

int instance_new_devices(struct cli *c, struct api *a, const struct strv *profiles, struct mapmap *devices,
			 struct error *err)
{
	const char *network = option_str(c->options, "network"), *pool = option_str(c->options, "storage");
	auto_mapmap struct mapmap overrides = MAPMAP_INIT;
	int r = instance_parse_devices(option_list(c->options, "device"), &overrides, err);

	if (r >= 0 && !str_is_empty(network))
		r = add_nic(a, network, devices, err);
	if (r >= 0 && !str_is_empty(pool))
		r = add_root(a, pool, devices, err);
	if (r >= 0 && overrides.len)
		r = override(a, &overrides, profiles, devices, err);
	return r;
}
