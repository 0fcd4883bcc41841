/* Device types by name, checks that concern all of them, and the nodes on the host. */
#include "device/device.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "base/strv.h"
#include "config/expand.h"
#include "config/names.h"
#include "device/device_internal.h"

const struct device_type *const device_types[] = {
	&device_disk, &device_unix_char, &device_unix_block, &device_nic, &device_none, NULL,
};

/* What the reference has beside these. */
static const char *const later_types[] = {"gpu", "infiniband", "pci", "proxy", "tpm", "unix-hotplug", "usb"};

int device_type_of(const struct strmap *device, const struct device_type **ret, struct error *err)
{
	const char *name = strmap_get_or(device, "type", NULL);

	if (!name)
		return error_set(err, 400, "Missing device type");
	for (size_t i = 0; device_types[i]; i++) {
		if (streq(device_types[i]->name, name)) {
			*ret = device_types[i];
			return 0;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(later_types); i++)
		if (streq(later_types[i], name))
			return error_set(err, 400, "Device type \"%s\" is not supported by this server yet", name);
	return error_set(err, 400, "Invalid device type %s", name);
}

/* Every option by its row. */
static int check_options(const struct config_key *keys, const struct strmap *device, struct error *err)
{
	for (size_t i = 0; i < device->len; i++) {
		const struct strmap_item *item = &device->items[i];
		const struct config_key *key = config_key_in(keys, item->key);

		if (streq(item->key, "type"))
			continue;
		if (!key || !text_is_clean(item->key, false))
			return error_set(err, 400, "Invalid device option \"%s\"", item->key);
		if (config_check_value(key, item->key, item->value, err) < 0)
			return key->flags & CONFIG_LATER
				       ? -err->errnum
				       : error_wrap(err, "Invalid value for device option \"%s\"", item->key);
	}
	return 0;
}

static int check_device(const char *name, const struct strmap *device, struct error *err)
{
	const struct config_key *keys = NULL;
	const struct device_type *type;
	int r = name_check_device(name, err);

	if (r == 0)
		r = device_type_of(device, &type, err);
	if (r == 0)
		keys = type->keys;
	if (r == 0 && type->kind)
		r = type->kind(name, device, &keys, err);
	if (r == 0 && keys)
		r = check_options(keys, device, err);
	if (r == 0 && type->validate)
		r = type->validate(name, device, err);
	return r;
}

int device_validate(const char *name, const struct strmap *device, struct error *err)
{
	int r = check_device(name, device, err);

	return r < 0 ? error_wrap(err, "Device validation failed for \"%s\"", name) : 0;
}

int device_target(const char *path, char **ret, struct error *err)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	auto_strv struct strv parts = STRV_INIT;

	if (*path != '/')
		return error_set(err, 400, "Not an absolute path: %s", path);
	strv_split(&parts, path, '/');
	for (size_t i = 0; i < parts.len; i++) {
		const char *part = parts.items[i];

		if (streq(part, ".."))
			return error_set(err, 400, "The path \"%s\" may not hold \"..\"", path);
		if (!*part || streq(part, "."))
			continue;
		strbuf_appendf(&out, "%s%s", out.len ? "/" : "", part);
	}
	*ret = strbuf_take(&out);
	return 0;
}

/* Where a checked device shows up in the container; NULL: nowhere. The caller frees. */
static char *place_of(const struct strmap *device)
{
	auto_error struct error err = ERROR_INIT;
	const char *path = strmap_get_or(device, "path", strmap_get_or(device, "source", NULL));
	char *target = NULL;

	if (path && device_target(path, &target, &err) < 0)
		error_ignore(&err, "its type has refused it already");
	return target;
}

static int check_places(const struct mapmap *devices, struct error *err)
{
	auto_strmap struct strmap seen = STRMAP_INIT; /* place to device */

	for (size_t i = 0; i < devices->len; i++) {
		const struct mapmap_item *item = &devices->items[i];
		auto_free char *place = place_of(&item->map);
		const char *other = place ? strmap_get(&seen, place) : NULL;

		if (!place || expand_is_root_disk(&item->map))
			continue;
		if (other)
			return error_set(
				err, 400,
				"Device validation failed for \"%s\": path \"/%s\" is used by device \"%s\" too",
				item->key, place, other);
		strmap_set(&seen, place, item->key);
	}
	return 0;
}

static int check_one_root(const struct mapmap *devices, struct error *err)
{
	const struct mapmap_item *root = NULL;

	for (size_t i = 0; i < devices->len; i++) {
		const struct mapmap_item *item = &devices->items[i];

		if (!expand_is_root_disk(&item->map))
			continue;
		if (root)
			return error_set(err, 400, "More than one root device found: \"%s\" and \"%s\"", root->key,
					 item->key);
		root = item;
	}
	return 0;
}

int devices_validate(const struct mapmap *devices, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < devices->len && r == 0; i++)
		r = device_validate(devices->items[i].key, &devices->items[i].map, err);
	if (r == 0)
		r = check_places(devices, err);
	if (r == 0)
		r = device_nics_validate(devices, err);
	return r < 0 ? r : check_one_root(devices, err);
}

int device_plan_one(const char *name, const struct strmap *device, struct device_plan *plan, struct error *err)
{
	const struct device_type *type;
	int r = device_type_of(device, &type, err);

	if (r == 0 && type->plan)
		r = type->plan(name, device, plan, err);
	return r < 0 ? error_wrap(err, "Failed to prepare device \"%s\"", name) : 0;
}

/* "a" before "a/b": a path sorts before all that begin with it. */
static int compare_targets(const void *a, const void *b)
{
	const struct device_mount *x = a, *y = b;

	return strcmp(x->target, y->target);
}

int devices_plan(const struct mapmap *devices, struct device_plan *plan, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < devices->len && r == 0; i++)
		r = device_plan_one(devices->items[i].key, &devices->items[i].map, plan, err);
	if (r == 0 && plan->n_mounts)
		qsort(plan->mounts, plan->n_mounts, sizeof(*plan->mounts), compare_targets);
	return r;
}

char *device_node_file(const struct device_node *node)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	struct strbuf out = STRBUF_INIT;

	for (const char *p = node->device; *p; p++) {
		if (strchr(plain, *p) && !(p == node->device && *p == '.'))
			strbuf_append_char(&out, *p);
		else
			strbuf_appendf(&out, "%%%02x", (unsigned char)*p);
	}
	return strbuf_take(&out);
}

int device_node_create(int dirfd, const struct device_node *node, const struct idmap *map, struct error *err)
{
	auto_free char *file = device_node_file(node);
	int64_t uid = idmap_uid_to_host(map, node->uid);
	int64_t gid = idmap_gid_to_host(map, node->gid);

	if (uid < 0)
		return error_set(err, 400, "User id %u of device \"%s\" is not mapped in the container", node->uid,
				 node->device);
	if (gid < 0)
		return error_set(err, 400, "Group id %u of device \"%s\" is not mapped in the container", node->gid,
				 node->device);
	if (unlinkat(dirfd, file, 0) < 0 && errno != ENOENT)
		return error_errno(err, errno, "Remove old node of device \"%s\"", node->device);
	/* nobody may open it before it has its owner */
	if (mknodat(dirfd, file, node->type == 'c' ? S_IFCHR : S_IFBLK, makedev(node->major, node->minor)) < 0)
		return error_errno(err, errno, "Make node %c %u:%u of device \"%s\"", node->type, node->major,
				   node->minor, node->device);
	if (fchownat(dirfd, file, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(dirfd, file, node->mode, 0) < 0) {
		error_errno(err, errno, "Set owner and mode of the node of device \"%s\"", node->device);
		unlinkat(dirfd, file, 0);
		return -err->errnum;
	}
	return 0;
}
