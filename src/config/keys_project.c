/* Keys of projects: what a project has for itself, how much it may use, and what may be asked for in it. */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strv.h"
#include "config/idmap_alloc.h"
#include "config/ip.h"
#include "config/keys_tables.h"

static const char *const allow_block[] = {"allow", "block", NULL};
static const char *const allow_block_full[] = {"allow", "block", "full", NULL};
static const char *const allow_managed_block[] = {"allow", "managed", "block", NULL};
static const char *const privileges[] = {"allow", "unprivileged", "isolated", NULL};

/* A list of FIRST-LAST or single ids. */
static int check_id_ranges(const char *key UNUSED, const char *value, struct error *err)
{
	auto_strv struct strv items = STRV_INIT;

	strv_split_list(&items, value);
	for (size_t k = 0; k < items.len; k++) {
		uint32_t first, count;

		if (!idmap_parse_range(items.items[k], &first, &count))
			return error_set(err, 400, "Invalid range of ids \"%s\"", items.items[k]);
	}
	return 0;
}

static int check_disk_paths(const char *key UNUSED, const char *value, struct error *err)
{
	auto_strv struct strv items = STRV_INIT;

	strv_split_list(&items, value);
	for (size_t k = 0; k < items.len; k++)
		if (*items.items[k] != '/')
			return error_set(err, 400, "Not an absolute path: %s", items.items[k]);
	return 0;
}

/* NETWORK:SUBNET, where NETWORK is what a card's option `network` or `parent` names. */
static int check_subnets(const char *key UNUSED, const char *value, struct error *err)
{
	auto_strv struct strv items = STRV_INIT;

	strv_split_list(&items, value);
	for (size_t k = 0; k < items.len; k++) {
		const char *item = items.items[k];
		const char *colon = strchr(item, ':');
		struct ip_prefix p;

		if (!colon || colon == item || !ip_prefix_parse(AF_UNSPEC, colon + 1, &p))
			return error_set(err, 400, "Item \"%s\" is not NETWORK:SUBNET", item);
	}
	return 0;
}

#define FEATURE(name, def)                                                                          \
	{                                                                                           \
		name, CONFIG_BOOL, def, 0, NULL, NULL, "Its own; else those of the default project" \
	}
#define RESTRICT(name, def, values, doc)                     \
	{                                                    \
		name, CONFIG_ENUM, def, 0, NULL, values, doc \
	}

const struct config_key config_keys_project[] = {
	FEATURE("features.images", "true"),
	FEATURE("features.networks", "false"),
	FEATURE("features.profiles", "true"),
	FEATURE("features.storage.volumes", "true"),
	{"limits.containers", CONFIG_UINT32, NULL, 0, NULL, NULL, "Most containers"},
	{"limits.virtual-machines", CONFIG_UINT32, NULL, 0, NULL, NULL, "Most virtual machines"},
	{"limits.instances", CONFIG_UINT32, NULL, 0, NULL, NULL, "Most instances"},
	{"limits.networks", CONFIG_UINT32, NULL, 0, NULL, NULL, "Most networks of its own"},
	{"limits.processes", CONFIG_UINT32, NULL, 0, NULL, NULL, "Sum of its instances' limits.processes"},
	{"limits.cpu", CONFIG_UINT32, NULL, 0, NULL, NULL, "Sum of its instances' limits.cpu"},
	{"limits.memory", CONFIG_SIZE, NULL, 0, NULL, NULL, "Sum of its instances' limits.memory"},
	{"limits.disk", CONFIG_SIZE, NULL, 0, NULL, NULL, "Sum of its root disks' size"},
	{"restricted", CONFIG_BOOL, "false", 0, NULL, NULL,
	 "Refuse what could reach beyond the project, but for what the keys below allow"},
	RESTRICT("restricted.backups", "block", allow_block, "Exports of instances"),
	{"restricted.cluster.groups", CONFIG_LIST, NULL, 0, NULL, NULL, "Cluster groups; there is no cluster"},
	RESTRICT("restricted.cluster.target", "block", allow_block, "Choice of a cluster member; there is no cluster"),
	RESTRICT("restricted.containers.interception", "block", allow_block_full,
		 "System call interception; allow: without mounts"),
	RESTRICT("restricted.containers.lowlevel", "block", allow_block, "Raw and other low-level options"),
	RESTRICT("restricted.containers.nesting", "block", allow_block, "security.nesting"),
	RESTRICT("restricted.containers.privilege", "unprivileged", privileges,
		 "Privileged containers; isolated: only such as have ids of their own"),
	RESTRICT("restricted.devices.disk", "managed", allow_managed_block, "Disks; managed: of pools only"),
	{"restricted.devices.disk.paths", CONFIG_LIST, NULL, 0, check_disk_paths, NULL,
	 "With restricted.devices.disk=allow: where host paths must lie; unset: anywhere"},
	RESTRICT("restricted.devices.gpu", "block", allow_block, "Devices of type gpu"),
	RESTRICT("restricted.devices.infiniband", "block", allow_block, "Devices of type infiniband"),
	RESTRICT("restricted.devices.nic", "managed", allow_managed_block, "Network cards; managed: with network="),
	RESTRICT("restricted.devices.pci", "block", allow_block, "Devices of type pci"),
	RESTRICT("restricted.devices.proxy", "block", allow_block, "Devices of type proxy"),
	RESTRICT("restricted.devices.unix-block", "block", allow_block, "Devices of type unix-block"),
	RESTRICT("restricted.devices.unix-char", "block", allow_block, "Devices of type unix-char"),
	RESTRICT("restricted.devices.unix-hotplug", "block", allow_block, "Devices of type unix-hotplug"),
	RESTRICT("restricted.devices.usb", "block", allow_block, "Devices of type usb"),
	{"restricted.idmap.gid", CONFIG_LIST, NULL, 0, check_id_ranges, NULL, "Host groups that raw.idmap may have"},
	{"restricted.idmap.uid", CONFIG_LIST, NULL, 0, check_id_ranges, NULL, "Host users that raw.idmap may have"},
	{"restricted.networks.access", CONFIG_LIST, NULL, 0, NULL, NULL, "Networks that may be used; unset: all"},
	{"restricted.networks.subnets", CONFIG_LIST, NULL, 0, check_subnets, NULL,
	 "NETWORK:SUBNET, in which routes to instances must lie; unset: none"},
	{"restricted.networks.uplinks", CONFIG_LIST, NULL, 0, NULL, NULL,
	 "Uplinks of the project's networks; there are none"},
	{"restricted.networks.zones", CONFIG_LIST, NULL, 0, NULL, NULL, "DNS zones of its networks; there are none"},
	RESTRICT("restricted.snapshots", "block", allow_block, "Snapshots of instances"),
	RESTRICT("restricted.virtual-machines.lowlevel", "block", allow_block,
		 "Low-level options of virtual machines; there are none"),
	{"user.*", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL, "Free for any use"},
	CONFIG_LATER_ROW("backups.compression_algorithm"),
	CONFIG_LATER_ROW("images.auto_update_cached"),
	CONFIG_LATER_ROW("images.auto_update_interval"),
	CONFIG_LATER_ROW("images.compression_algorithm"),
	CONFIG_LATER_ROW("images.default_architecture"),
	CONFIG_LATER_ROW("images.remote_cache_expiry"),
	CONFIG_END,
};
