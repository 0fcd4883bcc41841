/* Types "unix-char" and "unix-block": a node of the host, or one by number, in the container's /dev or elsewhere. */
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/str.h"
#include "device/device_internal.h"

#define MODE_DEFAULT 0660
/* What the kernel's dev_t holds: 12 bits of major, 20 of minor. */
#define MAJOR_MAX 4095u
#define MINOR_MAX 1048575u

static int check_number(const char *key, const char *value, struct error *err)
{
	uint32_t v, max = streq(key, "major") ? MAJOR_MAX : MINOR_MAX;

	return parse_u32(value, &v) < 0 || v > max
		       ? error_set(err, 400, "Invalid %s number \"%s\": not within 0 to %u", key, value, max)
		       : 0;
}

static const struct config_key unix_keys[] = {
	{"source", CONFIG_PATH, NULL, 0, NULL, NULL, "Node on the host; the default is path"},
	{"path", CONFIG_PATH, NULL, 0, NULL, NULL, "Node in the container; the default is source"},
	{"major", CONFIG_UINT32, NULL, 0, check_number, NULL, "Device number, with minor; then no host node is needed"},
	{"minor", CONFIG_UINT32, NULL, 0, check_number, NULL, "Device number, with major"},
	{"uid", CONFIG_UINT32, "0", 0, NULL, NULL, "Owner in the container"},
	{"gid", CONFIG_UINT32, "0", 0, NULL, NULL, "Group in the container"},
	{"mode", CONFIG_OCTAL, "0660", 0, NULL, NULL, "Access mode"},
	{"required", CONFIG_BOOL, "true", 0, NULL, NULL, "Fail when the host has no such node"},
	{.name = NULL},
};

/* The first of the options @a and @b that is set, or NULL. */
static const char *either(const struct strmap *device, const char *a, const char *b)
{
	return strmap_get_or(device, a, strmap_get_or(device, b, NULL));
}

static int unix_validate(const char *name UNUSED, const struct strmap *device, struct error *err)
{
	const char *path = either(device, "path", "source");
	auto_free char *target = NULL;
	int r;

	if (!path)
		return error_set(err, 400, "Unix device entry is missing the required \"source\" or \"path\" property");
	if (!strmap_get_or(device, "major", NULL) != !strmap_get_or(device, "minor", NULL))
		return error_set(err, 400, "The options \"major\" and \"minor\" are only of use together");
	r = device_target(path, &target, err);
	if (r == 0 && !*target)
		r = error_set(err, 400, "A device node can't be at \"%s\"", path);
	return r;
}

/* Numbers of the node on the host. 1: found, 0: not there and not needed. */
static int host_numbers(const char *name, const struct strmap *device, char type, struct device_node *node,
			struct error *err)
{
	const char *source = either(device, "source", "path");
	struct stat st;

	if (stat(source, &st) < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			return error_errno(err, errno, "Look at source path \"%s\" of device \"%s\"", source, name);
		if (!strmap_get_bool(device, "required", true))
			return 0;
		return error_set(err, 400, "Missing source path \"%s\" for device \"%s\"", source, name);
	}
	if ((st.st_mode & S_IFMT) != (type == 'c' ? S_IFCHR : S_IFBLK))
		return error_set(err, 400, "Path specified is not a unix-%s device: %s", type == 'c' ? "char" : "block",
				 source);
	node->major = major(st.st_rdev);
	node->minor = minor(st.st_rdev);
	return 1;
}

/* Numbers from the options, else from the host. */
static int numbers(const char *name, const struct strmap *device, char type, struct device_node *node,
		   struct error *err)
{
	const char *maj = strmap_get_or(device, "major", NULL);
	const char *min = strmap_get_or(device, "minor", NULL);

	if (!maj || !min)
		return host_numbers(name, device, type, node, err);
	if (parse_u32(maj, &node->major) < 0 || parse_u32(min, &node->minor) < 0)
		return error_set(err, 400, "Invalid device number %s:%s", maj, min);
	return 1;
}

static int owner_and_mode(const struct strmap *device, struct device_node *node, struct error *err)
{
	unsigned mode = MODE_DEFAULT;
	const char *text = strmap_get_or(device, "mode", NULL);

	if (parse_u32(strmap_get_or(device, "uid", "0"), &node->uid) < 0 ||
	    parse_u32(strmap_get_or(device, "gid", "0"), &node->gid) < 0)
		return error_set(err, 400, "Invalid owner of the device");
	if (text && parse_octal(text, &mode) < 0)
		return error_set(err, 400, "Invalid file mode \"%s\"", text);
	node->mode = mode & 0777;
	return 0;
}

static int unix_plan(const char *name, const struct strmap *device, char type, struct device_plan *plan,
		     struct error *err)
{
	struct device_node node = {.type = type};
	struct device_rule rule = {.type = type, .access = "rwm"};
	int r = numbers(name, device, type, &node, err);

	if (r <= 0)
		return r;
	r = owner_and_mode(device, &node, err);
	if (r == 0)
		r = device_target(either(device, "path", "source"), &node.target, err);
	if (r < 0)
		return r;
	node.device = xstrdup(name);
	rule.major = (int)node.major;
	rule.minor = (int)node.minor;
	device_plan_add_node(plan, node);
	device_plan_add_rule(plan, rule);
	return 0;
}

static int char_plan(const char *name, const struct strmap *device, struct device_plan *plan, struct error *err)
{
	return unix_plan(name, device, 'c', plan, err);
}

static int block_plan(const char *name, const struct strmap *device, struct device_plan *plan, struct error *err)
{
	return unix_plan(name, device, 'b', plan, err);
}

const struct device_type device_unix_char = {
	.name = "unix-char",
	.hotplug = DEVICE_HOT_ADD | DEVICE_HOT_REMOVE,
	.keys = unix_keys,
	.validate = unix_validate,
	.plan = char_plan,
};

const struct device_type device_unix_block = {
	.name = "unix-block",
	.hotplug = DEVICE_HOT_ADD | DEVICE_HOT_REMOVE,
	.keys = unix_keys,
	.validate = unix_validate,
	.plan = block_plan,
};
