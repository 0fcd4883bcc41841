/* Type "disk": the root file system, of which only the pool is said here, and host paths bound into the container. */
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/str.h"
#include "config/expand.h"
#include "device/device_internal.h"

static const char *const propagations[] = {"private", "rprivate",   "shared",      "rshared", "slave",
					   "rslave",  "unbindable", "runbindable", NULL};

/* The options end up as one field of a mount entry. */
static int check_mount_options(const char *key UNUSED, const char *value, struct error *err)
{
	return strpbrk(value, " \t\\#\"") ? error_set(err, 400, "Invalid mount options \"%s\"", value) : 0;
}

static int check_root_size(const char *key UNUSED, const char *value UNUSED, struct error *err)
{
	return error_set(err, 400, "The storage driver \"dir\" can't limit the size of the root disk");
}

#define DISK_LATER(key)                                                          \
	{                                                                        \
		.name = (key), .flags = CONFIG_LATER, .doc = "not supported yet" \
	}

static const struct config_key disk_keys[] = {
	{"path", CONFIG_PATH, NULL, 0, NULL, NULL, "Where it is in the container; / is the root disk"},
	{"pool", CONFIG_STRING, NULL, 0, NULL, NULL, "Storage pool of the root disk"},
	{"source", CONFIG_STRING, NULL, 0, NULL, NULL, "Absolute path on the host"},
	{"readonly", CONFIG_BOOL, "false", 0, NULL, NULL,
	 "Without write access; no boundary for a privileged container"},
	{"recursive", CONFIG_BOOL, "false", 0, NULL, NULL, "With the mounts below the source"},
	{"required", CONFIG_BOOL, "true", 0, NULL, NULL, "Fail when the source is missing"},
	{"optional", CONFIG_BOOL, "false", 0, NULL, NULL, "Older word for the opposite of required"},
	{"shift", CONFIG_BOOL, "false", 0, NULL, NULL, "Ids on disk are those that the container sees"},
	{"propagation", CONFIG_ENUM, "private", 0, NULL, propagations, "How later mounts spread"},
	{"raw.mount.options", CONFIG_STRING, NULL, 0, check_mount_options, NULL, "Further mount options"},
	{"size", CONFIG_SIZE, NULL, 0, NULL, NULL, "Most bytes on the root disk; no driver can limit it yet"},
	DISK_LATER("size.state"),
	DISK_LATER("limits.read"),
	DISK_LATER("limits.write"),
	DISK_LATER("limits.max"),
	DISK_LATER("boot.priority"),
	DISK_LATER("ceph.cluster_name"),
	DISK_LATER("ceph.user_name"),
	{.name = NULL},
};

static int root_validate(const struct strmap *device, struct error *err)
{
	if (strmap_get_or(device, "source", NULL))
		return error_set(err, 400, "Root disk entry may not have a \"source\" property set");
	if (!strmap_get_or(device, "pool", NULL))
		return error_set(err, 400, "Root disk entry must have a \"pool\" property set");
	if (strmap_get_bool(device, "recursive", false))
		return error_set(err, 400, "The option \"recursive\" needs a host path as \"source\"");
	if (strmap_get_bool(device, "readonly", false) || strmap_get_bool(device, "shift", false) ||
	    strmap_get_or(device, "propagation", NULL) || strmap_get_or(device, "raw.mount.options", NULL))
		return error_set(err, 400, "The root disk has no mount options");
	if (strmap_get_or(device, "size", NULL))
		return check_root_size("size", strmap_get(device, "size"), err);
	return 0;
}

static int host_path_validate(const struct strmap *device, struct error *err)
{
	auto_free char *target = NULL;
	int r;

	if (strmap_get_or(device, "size", NULL))
		return error_set(err, 400, "Only the root disk may have a size quota");
	if (strmap_get_or(device, "pool", NULL))
		return error_set(err, 400, "Custom storage volumes are not supported by this server yet");
	if (*strmap_get(device, "source") != '/')
		return error_set(err, 400, "Source path must be absolute for local sources");
	if (strmap_get_bool(device, "recursive", false) && strmap_get_bool(device, "readonly", false))
		return error_set(err, 400, "The options \"recursive\" and \"readonly\" exclude each other");
	if (strmap_get_or(device, "required", NULL) && strmap_get_or(device, "optional", NULL))
		return error_set(err, 400, "The options \"required\" and \"optional\" exclude each other");
	r = device_target(strmap_get(device, "path"), &target, err);
	if (r == 0 && !*target)
		r = error_set(err, 400, "The path of the root disk is \"/\", not \"%s\"", strmap_get(device, "path"));
	return r;
}

static int disk_validate(const char *name UNUSED, const struct strmap *device, struct error *err)
{
	const char *path = strmap_get_or(device, "path", NULL);

	if (path && streq(path, "/"))
		return root_validate(device, err);
	if (!path || !strmap_get_or(device, "source", NULL))
		return error_set(err, 400, "Disk entry is missing the required \"source\" or \"path\" property");
	return host_path_validate(device, err);
}

static bool is_required(const struct strmap *device)
{
	return strmap_get_bool(device, "required", !strmap_get_bool(device, "optional", false));
}

static int disk_plan(const char *name, const struct strmap *device, struct device_plan *plan, struct error *err)
{
	const char *source = strmap_get_or(device, "source", "");
	struct device_mount m = {0};
	struct stat st;
	int r;

	if (expand_is_root_disk(device))
		return 0;
	if (stat(source, &st) < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			return error_errno(err, errno, "Look at source path \"%s\" of disk \"%s\"", source, name);
		return is_required(device)
			       ? error_set(err, 400, "Missing source path \"%s\" for disk \"%s\"", source, name)
			       : 0;
	}
	if (S_ISBLK(st.st_mode))
		return error_set(err, 400, "Source path \"%s\" is a block device: this server mounts no file systems",
				 source);
	r = device_target(strmap_get_or(device, "path", ""), &m.target, err);
	if (r < 0)
		return r;
	m.device = xstrdup(name);
	m.source = xstrdup(source);
	m.propagation = xstrdup_null(strmap_get_or(device, "propagation", NULL));
	m.options = xstrdup_null(strmap_get_or(device, "raw.mount.options", NULL));
	m.is_dir = S_ISDIR(st.st_mode);
	m.readonly = strmap_get_bool(device, "readonly", false);
	m.recursive = strmap_get_bool(device, "recursive", false);
	m.shift = strmap_get_bool(device, "shift", false);
	device_plan_add_mount(plan, m);
	return 0;
}

const struct device_type device_disk = {
	.name = "disk",
	.hotplug = DEVICE_HOT_ADD | DEVICE_HOT_REMOVE,
	.keys = disk_keys,
	.validate = disk_validate,
	.plan = disk_plan,
};
