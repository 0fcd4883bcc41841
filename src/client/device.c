/* Devices of instances and profiles: one set of functions, two groups of rows. */
#include "client/device.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/yamltext.h"
#include "client/doc.h"

static const char *const no_value[2] = {"No value found in \"", "\""};

static bool is_profile(const struct cli *c)
{
	return startswith(c->path, "lxc profile ") != NULL;
}

static int load(struct cli *c, struct target *t, struct doc *d, struct error *err)
{
	auto_free char *url = NULL;
	int r;

	r = target_open(c, cli_arg(c, 0), t, err);
	if (r < 0)
		return r;
	if (!*t->name)
		return error_set(err, 400, "Missing name");
	url = cli_url(is_profile(c) ? "/1.0/profiles/%s" : "/1.0/instances/%s", t->name);
	return doc_load(t->api, url, is_profile(c) ? &doc_profile : &doc_instance, d, err);
}

static bool is_inherited(const struct doc *d, const char *device)
{
	return json_get(json_get(d->object, "expanded_devices"), device) != NULL;
}

/* The object's own device @name; @what the command wants to do, for devices that come from a profile. */
static int own_device(struct doc *d, const char *name, const char *what, struct strmap **ret, struct error *err)
{
	*ret = mapmap_get(&d->devices, name);
	if (*ret)
		return 0;
	if (is_inherited(d, name))
		return error_set(err, 400, "Device from profile(s) cannot be %s individual instance%s", what,
				 strstr(what, "retrieved") ? "" : ". Override device or modify profile instead");
	return error_set(err, 404, "Device doesn't exist");
}

static int save(struct cli *c, struct doc *d, struct error *err)
{
	d->devices_changed = true;
	return doc_save(c, d, err);
}

static int run_add(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	auto_strmap struct strmap values = STRMAP_INIT;
	int r;

	r = args_to_pairs(c, 3, no_value, &values, err);
	if (r >= 0)
		r = load(c, &t, &d, err);
	if (r < 0)
		return r;
	if (mapmap_get(&d.devices, cli_arg(c, 1)))
		return error_set(err, 409, "The device already exists");
	strmap_set(&values, "type", cli_arg(c, 2));
	mapmap_set(&d.devices, cli_arg(c, 1), &values);
	r = save(c, &d, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Device %s added to %s\n", cli_arg(c, 1), t.name);
	return r;
}

static int run_override(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	auto_strmap struct strmap values = STRMAP_INIT;
	auto_strmap struct strmap inherited = STRMAP_INIT;
	const char *name = cli_arg(c, 1);
	int r;

	r = args_to_pairs(c, 2, no_value, &values, err);
	if (r >= 0)
		r = load(c, &t, &d, err);
	if (r < 0)
		return r;
	if (mapmap_get(&d.devices, name))
		return error_set(err, 409, "The device already exists");
	if (!is_inherited(&d, name))
		return error_set(err, 404, "The profile device doesn't exist");
	r = json_to_strmap(json_get(json_get(d.object, "expanded_devices"), name), name, &inherited, err);
	if (r < 0)
		return r;
	strmap_merge(&inherited, &values);
	mapmap_set(&d.devices, name, &inherited);
	r = save(c, &d, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Device %s overridden for %s\n", name, t.name);
	return r;
}

static int run_remove(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	auto_strv struct strv names = STRV_INIT;
	auto_free char *joined = NULL;
	struct strmap *device;
	int r;

	r = load(c, &t, &d, err);
	if (r < 0)
		return r;
	for (size_t i = 1; i < cli_argc(c); i++) {
		r = own_device(&d, cli_arg(c, i), "removed from", &device, err);
		if (r < 0)
			return r;
		strv_add(&names, cli_arg(c, i));
		mapmap_remove(&d.devices, cli_arg(c, i));
	}
	r = save(c, &d, err);
	joined = strv_join(&names, ", ");
	if (r >= 0 && !cli_quiet(c))
		printf("Device %s removed from %s\n", joined, t.name);
	return r;
}

static int run_get(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	struct strmap *device;
	int r;

	r = load(c, &t, &d, err);
	if (r >= 0)
		r = own_device(&d, cli_arg(c, 1), "retrieved for", &device, err);
	if (r < 0)
		return r;
	cli_print_safe(strmap_get_or(device, cli_arg(c, 2), ""));
	putchar('\n');
	return 0;
}

static int run_set(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	auto_strmap struct strmap values = STRMAP_INIT;
	struct strmap *device;
	int r;

	r = args_to_map(c, 2, true, &values, err);
	if (r >= 0)
		r = load(c, &t, &d, err);
	if (r >= 0)
		r = own_device(&d, cli_arg(c, 1), "modified for", &device, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < values.len; i++)
		strmap_set(device, values.items[i].key, *values.items[i].value ? values.items[i].value : NULL);
	return save(c, &d, err);
}

static int run_unset(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	struct strmap *device;
	int r;

	r = load(c, &t, &d, err);
	if (r >= 0)
		r = own_device(&d, cli_arg(c, 1), "modified for", &device, err);
	if (r < 0)
		return r;
	strmap_remove(device, cli_arg(c, 2));
	return save(c, &d, err);
}

static int run_list(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	int r;

	r = load(c, &t, &d, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < d.devices.len; i++) {
		cli_print_safe(d.devices.items[i].key);
		putchar('\n');
	}
	if (!d.devices.len)
		putchar('\n');
	return 0;
}

static int run_show(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	CLEANUP(doc_done) struct doc d = DOC_INIT;
	int r;

	r = load(c, &t, &d, err);
	return r < 0 ? r : cli_print_yaml(json_get(d.object, "devices"), YAML_SORT_KEYS, err);
}

#define DEVICE_ROWS(group, kind)                                                \
	static const struct command group##_add = {                             \
		.name = "add",                                                  \
		.args = "[<remote>:]<" kind "> <device> <type> [key=value...]", \
		.min_args = 3,                                                  \
		.max_args = COMMAND_ANY,                                        \
		.run = run_add,                                                 \
		.doc = "Add a device",                                          \
	};                                                                      \
	static const struct command group##_get = {                             \
		.name = "get",                                                  \
		.args = "[<remote>:]<" kind "> <device> <key>",                 \
		.min_args = 3,                                                  \
		.max_args = 3,                                                  \
		.run = run_get,                                                 \
		.doc = "Show the value of a device key",                        \
	};                                                                      \
	static const struct command group##_list = {                            \
		.name = "list",                                                 \
		.alias = "ls",                                                  \
		.args = "[<remote>:]<" kind ">",                                \
		.min_args = 1,                                                  \
		.max_args = 1,                                                  \
		.run = run_list,                                                \
		.doc = "List devices",                                          \
	};                                                                      \
	static const struct command group##_remove = {                          \
		.name = "remove",                                               \
		.alias = "rm",                                                  \
		.args = "[<remote>:]<" kind "> <device>...",                    \
		.min_args = 2,                                                  \
		.max_args = COMMAND_ANY,                                        \
		.run = run_remove,                                              \
		.doc = "Remove devices",                                        \
	};                                                                      \
	static const struct command group##_set = {                             \
		.name = "set",                                                  \
		.args = "[<remote>:]<" kind "> <device> <key>=<value>...",      \
		.min_args = 3,                                                  \
		.max_args = COMMAND_ANY,                                        \
		.run = run_set,                                                 \
		.doc = "Set keys of a device",                                  \
	};                                                                      \
	static const struct command group##_show = {                            \
		.name = "show",                                                 \
		.args = "[<remote>:]<" kind ">",                                \
		.min_args = 1,                                                  \
		.max_args = 1,                                                  \
		.run = run_show,                                                \
		.doc = "Show the devices as YAML",                              \
	};                                                                      \
	static const struct command group##_unset = {                           \
		.name = "unset",                                                \
		.args = "[<remote>:]<" kind "> <device> <key>",                 \
		.min_args = 3,                                                  \
		.max_args = 3,                                                  \
		.run = run_unset,                                               \
		.doc = "Unset a key of a device",                               \
	}

DEVICE_ROWS(instance_device, "instance");
DEVICE_ROWS(profile_device, "profile");

static const struct command device_override = {
	.name = "override",
	.args = "[<remote>:]<instance> <device> [key=value...]",
	.min_args = 2,
	.max_args = COMMAND_ANY,
	.run = run_override,
	.doc = "Copy a device of a profile into the instance and change it there",
};

static const struct command *const instance_children[] = {
	&instance_device_add,  &instance_device_get,    &instance_device_list,
	&device_override,      &instance_device_remove, &instance_device_set,
	&instance_device_show, &instance_device_unset,  NULL,
};

static const struct command *const profile_children[] = {
	&profile_device_add, &profile_device_get,  &profile_device_list,  &profile_device_remove,
	&profile_device_set, &profile_device_show, &profile_device_unset, NULL,
};

const struct command cmd_config_device = {
	.name = "device", .children = instance_children, .doc = "Devices of instances"};
const struct command cmd_profile_device = {
	.name = "device", .children = profile_children, .doc = "Devices of profiles"};
