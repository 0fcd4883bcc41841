/* `lxc network attach` and its kin: NIC devices of instances and profiles, chosen by network. */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/client.h"
#include "client/doc.h"
#include "client/network.h"

static bool is_profile(const struct cli *c)
{
	return endswith(c->path, "-profile") != NULL;
}

/* The instance or profile of argument 1, on the server of the network. */
static int load_user(struct cli *c, const struct target *t, struct doc *d, struct error *err)
{
	auto_free char *url = cli_url(is_profile(c) ? "/1.0/profiles/%s" : "/1.0/instances/%s", cli_arg(c, 1));

	return doc_load(t->api, url, is_profile(c) ? &doc_profile : &doc_instance, d, err);
}

void network_nic(const struct json *network, bool by_network, struct strmap *ret)
{
	const char *name = json_get_str(network, "name"), *type = json_get_str(network, "type");

	strmap_set(ret, "type", "nic");
	if (by_network) {
		strmap_set(ret, "network", name);
		return;
	}
	strmap_set(ret, "nictype", type && streq(type, "bridge") ? "bridged" : "macvlan");
	strmap_set(ret, "parent", name);
}

static int run_attach(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply network = API_REPLY_INIT;
	auto_strmap struct strmap nic = STRMAP_INIT;
	auto_doc struct doc d = DOC_INIT;
	auto_free char *url = NULL;
	const char *device;
	int r;

	r = target_open_named(c, cli_arg(c, 0), "network", &t, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/networks/%s", t.name);
	r = api_get(t.api, url, &network, err);
	if (r >= 0)
		r = load_user(c, &t, &d, err);
	if (r < 0)
		return r;
	device = cli_argc(c) > 2 ? cli_arg(c, 2) : t.name;
	if (mapmap_get(&d.devices, device))
		return error_set(err, 409, "Device already exists: %s", device);
	/* a profile names the interface even of a managed network, as it always did */
	network_nic(network.metadata, !is_profile(c) && json_is_true(json_get(network.metadata, "managed")), &nic);
	strmap_set(&nic, "name", cli_arg(c, 3));
	mapmap_set(&d.devices, device, &nic);
	d.devices_changed = true;
	return doc_save(c, &d, err);
}

static bool is_on(const struct strmap *device, const char *network)
{
	return streq(strmap_get_or(device, "type", ""), "nic") &&
	       (streq(strmap_get_or(device, "network", ""), network) ||
		streq(strmap_get_or(device, "parent", ""), network));
}

/* The one device of @d on @network, or @wanted (may be NULL) if that is one. */
static int find_device(const struct doc *d, const char *network, const char *wanted, const char **ret,
		       struct error *err)
{
	const char *found = NULL;

	if (wanted && !mapmap_get(&d->devices, wanted))
		return error_set(err, 404, "The specified device doesn't exist");
	if (wanted && !is_on(mapmap_get(&d->devices, wanted), network))
		return error_set(err, 400, "The specified device doesn't match the network");
	for (size_t i = 0; !wanted && i < d->devices.len; i++) {
		if (!is_on(&d->devices.items[i].map, network))
			continue;
		if (found)
			return error_set(err, 400, "More than one device matches, specify the device name");
		found = d->devices.items[i].key;
	}
	if (!wanted && !found)
		return error_set(err, 404, "No device found for this network");
	*ret = wanted ? wanted : found;
	return 0;
}

static int run_detach(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	auto_free char *copy = NULL;
	const char *device = NULL;
	int r;

	r = target_open_named(c, cli_arg(c, 0), "network", &t, err);
	if (r >= 0)
		r = load_user(c, &t, &d, err);
	if (r >= 0)
		r = find_device(&d, t.name, cli_arg(c, 2), &device, err);
	if (r < 0)
		return r;
	copy = xstrdup(device);
	mapmap_remove(&d.devices, copy);
	d.devices_changed = true;
	return doc_save(c, &d, err);
}

#define ATTACH(nm, what)                                                                                         \
	.name = nm, .args = "[<remote>:]<network> <" what "> [<device name>] [<interface name>]", .min_args = 2, \
	.max_args = 4, .run = run_attach
#define DETACH(nm, what)                                                                                     \
	.name = nm, .args = "[<remote>:]<network> <" what "> [<device name>]", .min_args = 2, .max_args = 3, \
	.run = run_detach

const struct command cmd_network_attach = {
	ATTACH("attach", "instance"),
	.doc = "Put an instance on a network",
	.more = "The device is named after the network unless another name is given.",
};
const struct command cmd_network_attach_profile = {
	ATTACH("attach-profile", "profile"),
	.doc = "Put the instances of a profile on a network",
	.more = "The device is named after the network unless another name is given.",
};
const struct command cmd_network_detach = {
	DETACH("detach", "instance"),
	.doc = "Take an instance off a network",
	.more = "The device must be named when several are on the network.",
};
const struct command cmd_network_detach_profile = {
	DETACH("detach-profile", "profile"),
	.doc = "Take the instances of a profile off a network",
	.more = "The device must be named when several are on the network.",
};
