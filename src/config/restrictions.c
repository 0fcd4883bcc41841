#include "config/restrictions.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strv.h"
#include "config/expand.h"
#include "config/idmap_alloc.h"
#include "config/ip.h"

bool restrictions_apply(const struct strmap *project)
{
	return strmap_get_bool(project, "restricted", false);
}

static bool value_is(const struct strmap *project, const char *key, const char *def, const char *value)
{
	return streq(strmap_get_or(project, key, def), value);
}

bool restrictions_allow(const struct strmap *project, const char *key)
{
	return !restrictions_apply(project) || value_is(project, key, "block", "allow");
}

static bool allows_lowlevel(const struct strmap *project)
{
	return restrictions_allow(project, "restricted.containers.lowlevel");
}

/* --- keys --- */

/* NULL: the value may be; else why not. */
typedef const char *(*key_rule)(const struct strmap *project, const char *value);

static const char *rule_free(const struct strmap *project UNUSED, const char *value UNUSED)
{
	return NULL;
}

static const char *rule_nesting(const struct strmap *project, const char *value)
{
	if (!parse_bool_or(value, false) || restrictions_allow(project, "restricted.containers.nesting"))
		return NULL;
	return "Container nesting is forbidden";
}

static const char *rule_privileged(const struct strmap *project, const char *value)
{
	if (!parse_bool_or(value, false) ||
	    value_is(project, "restricted.containers.privilege", "unprivileged", "allow"))
		return NULL;
	return "Privileged containers are forbidden";
}

static const char *rule_interception(const struct strmap *project, const char *value)
{
	if (!parse_bool_or(value, true) || !value_is(project, "restricted.containers.interception", "block", "block"))
		return NULL;
	return "Container syscall interception is forbidden";
}

/* What mounts file systems of the host's kernel for a container. */
static const char *rule_interception_full(const struct strmap *project, const char *value)
{
	if (!parse_bool_or(value, true) || value_is(project, "restricted.containers.interception", "block", "full"))
		return NULL;
	return "Container syscall interception is forbidden";
}

/* On is what the server does anyhow. */
static const char *rule_stays_on(const struct strmap *project, const char *value)
{
	if (parse_bool_or(value, false) || allows_lowlevel(project))
		return NULL;
	return "The server's own policy of system calls cannot be turned off";
}

#define INTERCEPT "security.syscalls.intercept."

/* In this order; a name that ends in ".*" is a prefix. What is not here is low-level. */
static const struct {
	const char *name;
	key_rule rule;
} key_rules[] = {
	{"boot.autostart", rule_free},
	{"boot.autostart.delay", rule_free},
	{"boot.autostart.priority", rule_free},
	{"boot.stop.priority", rule_free},
	{"cloud-init.*", rule_free},
	{"cluster.evacuate", rule_free},
	{"environment.*", rule_free},
	{"image.*", rule_free},
	{"limits.*", rule_free},
	{"linux.sysctl.*", rule_free},
	{"migration.*", rule_free},
	{"security.devlxd", rule_free},
	{"security.idmap.isolated", rule_free}, /* of the whole: check_isolation() */
	{"security.nesting", rule_nesting},
	{"security.privileged", rule_privileged},
	{"security.protection.*", rule_free},
	{"security.syscalls.blacklist", rule_free},
	{"security.syscalls.blacklist_compat", rule_free},
	{"security.syscalls.blacklist_default", rule_stays_on},
	{"security.syscalls.deny", rule_free},
	{"security.syscalls.deny_compat", rule_free},
	{"security.syscalls.deny_default", rule_stays_on},
	{INTERCEPT "bpf", rule_interception},
	{INTERCEPT "bpf.devices", rule_interception},
	{INTERCEPT "mknod", rule_interception},
	{INTERCEPT "mount", rule_interception_full},
	{INTERCEPT "mount.*", rule_interception_full},
	{INTERCEPT "setxattr", rule_interception},
	{"snapshots.*", rule_free},
	{"user.*", rule_free},
};

static key_rule rule_of(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(key_rules); i++) {
		const char *star = endswith(key_rules[i].name, "*");

		if (star ? strncmp(key, key_rules[i].name, (size_t)(star - key_rules[i].name)) == 0
			 : streq(key, key_rules[i].name))
			return key_rules[i].rule;
	}
	return NULL;
}

/* Is every host id of the kind that @e maps within the list of ranges? */
static bool ids_are_covered(const struct strmap *project, const char *key, const struct idmap_entry *e)
{
	auto_strv struct strv ranges = STRV_INIT;

	strv_split_list(&ranges, strmap_get_or(project, key, ""));
	for (size_t i = 0; i < ranges.len; i++) {
		uint32_t first, count;

		if (idmap_parse_range(ranges.items[i], &first, &count) && e->host >= first &&
		    (uint64_t)e->host + e->count <= (uint64_t)first + count)
			return true;
	}
	return false;
}

static int check_raw_idmap(const struct strmap *project, const struct restriction_subject *s, const char *value,
			   struct error *err)
{
	auto_idmap struct idmap map = IDMAP_INIT;
	int r = idmap_parse_raw(value, &map, err);

	for (size_t i = 0; i < map.len && r == 0; i++) {
		const struct idmap_entry *e = &map.entries[i];

		if ((e->is_uid && !ids_are_covered(project, "restricted.idmap.uid", e)) ||
		    (e->is_gid && !ids_are_covered(project, "restricted.idmap.gid", e)))
			r = error_set(err, 403,
				      "Use of low-level \"raw.idmap\" element %zu on %s \"%s\" of project \"%s\" is "
				      "forbidden",
				      i, s->kind, s->name, s->project);
	}
	return r;
}

static int check_key(const struct strmap *project, const struct restriction_subject *s, const struct strmap_item *item,
		     struct error *err)
{
	key_rule rule = rule_of(item->key);
	const char *why;

	if (str_is_empty(item->value) || startswith(item->key, "volatile."))
		return 0;
	if (!rule && allows_lowlevel(project))
		return 0;
	if (streq(item->key, "raw.idmap"))
		return check_raw_idmap(project, s, item->value, err);
	if (!rule)
		return error_set(err, 403, "Use of low-level config \"%s\" on %s \"%s\" of project \"%s\" is forbidden",
				 item->key, s->kind, s->name, s->project);
	why = rule(project, item->value);
	if (!why)
		return 0;
	return error_set(err, 403, "Invalid value \"%s\" for config \"%s\" on %s \"%s\" of project \"%s\": %s",
			 item->value, item->key, s->kind, s->name, s->project, why);
}

/* A key that is missing counts here: of what a profile leaves open, nothing is known. */
static int check_isolation(const struct strmap *project, const struct restriction_subject *s,
			   const struct strmap *config, struct error *err)
{
	const char *value = strmap_get_or(config, "security.idmap.isolated", "");

	if (!value_is(project, "restricted.containers.privilege", "unprivileged", "isolated"))
		return 0;
	if (parse_bool_or(value, false) || (!*value && streq(s->kind, "profile")))
		return 0;
	return error_set(err, 403,
			 "Invalid value \"%s\" for config \"security.idmap.isolated\" on %s \"%s\" of project \"%s\": "
			 "Non-isolated containers are forbidden",
			 value, s->kind, s->name, s->project);
}

/* --- devices --- */

bool restrictions_allow_network(const struct strmap *project, const char *name, bool managed)
{
	const char *nics = strmap_get_or(project, "restricted.devices.nic", "managed");
	const char *access = strmap_get_or(project, "restricted.networks.access", "");
	auto_strv struct strv allowed = STRV_INIT;

	if (!restrictions_apply(project))
		return true;
	if (streq(nics, "block") || (!managed && !streq(nics, "allow")))
		return false;
	strv_split_list(&allowed, access);
	return !*access || strv_contains(&allowed, name);
}

/* Is the prefix within one that the project may have routed to it on @network? */
static bool subnet_is_allowed(const struct strmap *project, const char *network, const struct ip_prefix *p)
{
	auto_strv struct strv items = STRV_INIT;

	strv_split_list(&items, strmap_get_or(project, "restricted.networks.subnets", ""));
	for (size_t i = 0; i < items.len; i++) {
		const char *subnet = startswith(items.items[i], network);
		struct ip_prefix allowed;

		if (subnet && *subnet == ':' && ip_prefix_parse(p->addr.family, subnet + 1, &allowed) &&
		    allowed.len <= p->len && ip_prefix_contains(&allowed, &p->addr))
			return true;
	}
	return false;
}

static int check_routes(const struct strmap *project, const struct strmap *device, const char *network, const char *key,
			struct error *err)
{
	auto_free struct ip_prefix *routes = NULL;
	char text[IP_TEXT_MAX];
	size_t n = 0;
	const char *value = strmap_get_or(device, key, "");
	int r = !*value || streq(value, "none") ? 0 : ip_prefixes_parse(AF_UNSPEC, value, &routes, &n, err);

	for (size_t i = 0; i < n && r == 0; i++)
		if (!subnet_is_allowed(project, network, &routes[i]))
			r = error_set(err, 403, "%s \"%s\" is not within restricted.networks.subnets", key,
				      ip_prefix_format(&routes[i], text));
	return r;
}

/* Routes of the host to a container take addresses away from others, wherever they are. */
static int check_all_routes(const struct strmap *project, const struct strmap *device, const char *network,
			    struct error *err)
{
	static const char *const keys[] = {"ipv4.routes",          "ipv6.routes",  "ipv4.routes.external",
					   "ipv6.routes.external", "ipv4.address", "ipv6.address"};
	bool routed = streq(strmap_get_or(device, "nictype", ""), "routed");
	size_t n = routed ? ARRAY_SIZE(keys) : ARRAY_SIZE(keys) - 2;
	int r = 0;

	/* who may take the host's interfaces needs no routes */
	if (value_is(project, "restricted.devices.nic", "managed", "allow") &&
	    str_is_empty(strmap_get(project, "restricted.networks.subnets")))
		return 0;
	for (size_t i = 0; i < n && r == 0; i++)
		r = check_routes(project, device, network, keys[i], err);
	return r;
}

static int check_nic(const struct strmap *project, const struct strmap *device, struct error *err)
{
	const char *network = strmap_get_or(device, "network", NULL);
	const char *name = network ? network : strmap_get_or(device, "parent", "");

	if (value_is(project, "restricted.devices.nic", "managed", "block"))
		return error_set(err, 403, "Network devices are forbidden");
	if (value_is(project, "restricted.devices.nic", "managed", "managed") && !network)
		return error_set(err, 403, "Only managed network devices are allowed");
	if (!restrictions_allow_network(project, name, network != NULL))
		return error_set(err, 403, "Network not allowed in project");
	return check_all_routes(project, device, name, err);
}

/* Is @path @prefix or below it? Neither may go back up. */
static bool path_is_below(const char *path, const char *prefix)
{
	const char *rest;
	size_t len = strlen(prefix);

	while (len > 0 && prefix[len - 1] == '/')
		len--;
	if (strstr(path, "/../") || endswith(path, "/.."))
		return false;
	rest = strncmp(path, prefix, len) == 0 ? path + len : NULL;
	return rest && (!*rest || *rest == '/');
}

static bool disk_path_is_allowed(const struct strmap *project, const char *source)
{
	const char *list = strmap_get_or(project, "restricted.devices.disk.paths", "");
	auto_strv struct strv prefixes = STRV_INIT;

	strv_split_list(&prefixes, list);
	for (size_t i = 0; i < prefixes.len; i++)
		if (path_is_below(source, prefixes.items[i]))
			return true;
	return !*list;
}

/* Options of disks by which a container gets no more than the disk. */
static const char *const disk_options[] = {"boot.priority", "limits.max", "limits.read", "limits.write", "optional",
					   "path",          "pool",       "readonly",    "recursive",    "required",
					   "size",          "size.state", "source",      "type"};

static int check_disk_options(const struct strmap *project, const struct strmap *device, struct error *err)
{
	for (size_t k = 0; k < device->len && !allows_lowlevel(project); k++) {
		bool known = str_is_empty(device->items[k].value);

		for (size_t i = 0; i < ARRAY_SIZE(disk_options) && !known; i++)
			known = streq(disk_options[i], device->items[k].key);
		if (!known)
			return error_set(err, 403, "The option \"%s\" of disks is forbidden", device->items[k].key);
	}
	return 0;
}

static int check_disk(const struct strmap *project, const struct strmap *device, struct error *err)
{
	const char *rule = strmap_get_or(project, "restricted.devices.disk", "managed");
	const char *source = strmap_get_or(device, "source", "");
	bool of_pool = !str_is_empty(strmap_get(device, "pool"));
	int r = check_disk_options(project, device, err);

	if (r < 0 || (expand_is_root_disk(device) && of_pool))
		return r;
	if (streq(rule, "block"))
		return error_set(err, 403, "Disk devices are forbidden");
	if (of_pool)
		return 0;
	if (!streq(rule, "allow"))
		return error_set(err, 403, "Attaching disks not backed by a pool is forbidden");
	return disk_path_is_allowed(project, source)
		       ? 0
		       : error_set(err, 403, "Disk source path \"%s\" not allowed", source);
}

/* Types that a key of values allow and block lets in as they are. */
static const struct {
	const char *type;
	const char *key;
	const char *refusal;
} simple_devices[] = {
	{"gpu", "restricted.devices.gpu", "GPU devices are forbidden"},
	{"infiniband", "restricted.devices.infiniband", "Infiniband devices are forbidden"},
	{"pci", "restricted.devices.pci", "PCI devices are forbidden"},
	{"proxy", "restricted.devices.proxy", "Proxy devices are forbidden"},
	{"unix-block", "restricted.devices.unix-block", "Unix block devices are forbidden"},
	{"unix-char", "restricted.devices.unix-char", "Unix character devices are forbidden"},
	{"unix-hotplug", "restricted.devices.unix-hotplug", "Unix hotplug devices are forbidden"},
	{"usb", "restricted.devices.usb", "USB devices are forbidden"},
};

static int check_device(const struct strmap *project, const struct strmap *device, struct error *err)
{
	const char *type = strmap_get_or(device, "type", "");

	if (streq(type, "none"))
		return 0;
	if (streq(type, "nic"))
		return check_nic(project, device, err);
	if (streq(type, "disk"))
		return check_disk(project, device, err);
	for (size_t i = 0; i < ARRAY_SIZE(simple_devices); i++) {
		if (!streq(type, simple_devices[i].type))
			continue;
		if (restrictions_allow(project, simple_devices[i].key))
			return 0;
		return error_set(err, 403, "%s", simple_devices[i].refusal);
	}
	return error_set(err, 403, "Devices of type \"%s\" are forbidden", type);
}

int restrictions_check(const struct strmap *project, const struct restriction_subject *s, const struct strmap *config,
		       const struct mapmap *devices, struct error *err)
{
	int r = 0;

	if (!restrictions_apply(project))
		return 0;
	for (size_t k = 0; k < config->len && r == 0; k++)
		r = check_key(project, s, &config->items[k], err);
	if (r == 0)
		r = check_isolation(project, s, config, err);
	for (size_t k = 0; k < devices->len && r == 0; k++) {
		r = check_device(project, &devices->items[k].map, err);
		if (r < 0)
			error_wrap(err, "Invalid device \"%s\" on %s \"%s\" of project \"%s\"", devices->items[k].key,
				   s->kind, s->name, s->project);
	}
	return r;
}

/* --- volatile keys --- */

bool restrictions_allow_volatile(const struct strmap *project, const char *key)
{
	static const char *const safe[] = {"volatile.apply_template", "volatile.base_image",
					   "volatile.last_state.power"};

	if (!startswith(key, "volatile.") || !restrictions_apply(project) || allows_lowlevel(project))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(safe); i++)
		if (streq(key, safe[i]))
			return true;
	/* of a device; `volatile.DEV.last_state.hwaddr` is what the host's card had */
	return endswith(key, ".hwaddr") && !endswith(key, ".last_state.hwaddr");
}

int restrictions_check_volatile(const struct strmap *project, const struct restriction_subject *s,
				const struct strmap *before, const struct strmap *after, struct error *err)
{
	for (size_t k = 0; k < after->len; k++) {
		const struct strmap_item *item = &after->items[k];

		if (!restrictions_allow_volatile(project, item->key) &&
		    !streq(strmap_get_or(before, item->key, ""), item->value))
			return error_set(err, 403,
					 "Use of low-level config \"%s\" on %s \"%s\" of project \"%s\" is forbidden",
					 item->key, s->kind, s->name, s->project);
	}
	return 0;
}
