/* `lxc network info`: what an interface of the host does at the moment. */
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/client.h"
#include "client/network.h"
#include "client/print.h"

/* A line about member @key, in the form that suits its kind. */
struct info_row {
	const char *label, *key;
	enum { INFO_TEXT, INFO_NUMBER, INFO_BYTES, INFO_BOOL, INFO_LIST } kind;
};

/* The server's text cannot steer the terminal. */
static void put(const char *indent, const char *label, const char *value)
{
	auto_free char *safe = print_safe_text(value ? value : "", "");

	printf("%s%s: %s\n", indent, label, safe);
}

static char *joined(const struct json *list)
{
	auto_strv struct strv names = STRV_INIT;

	for (size_t i = 0; i < json_len(list); i++)
		strv_add(&names, json_str(json_at(list, i)) ? json_str(json_at(list, i)) : "");
	return names.len ? strv_join(&names, ", ") : xstrdup("");
}

static char *value_of(const struct json *j, const struct info_row *row)
{
	const struct json *value = json_get(j, row->key);

	switch (row->kind) {
	case INFO_NUMBER:
		return xasprintf("%lld", (long long)json_int(value));
	case INFO_BYTES:
		return format_size_si((uint64_t)json_int(value));
	case INFO_BOOL:
		return xstrdup(json_is_true(value) ? "true" : "false");
	case INFO_LIST:
		return joined(value);
	default:
		return xstrdup(json_str(value) ? json_str(value) : "");
	}
}

static void put_rows(const char *indent, const struct json *j, const struct info_row *rows)
{
	for (; rows->label; rows++) {
		auto_free char *value = value_of(j, rows);

		put(indent, rows->label, value);
	}
}

static void put_addresses(const struct json *list)
{
	if (!json_len(list))
		return;
	puts("\nIP addresses:");
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json *a = json_at(list, i);
		const char *family = json_get_str(a, "family"), *address = json_get_str(a, "address");
		const char *netmask = json_get_str(a, "netmask"), *scope = json_get_str(a, "scope");
		auto_free char *text = xasprintf("%s\t%s/%s (%s)", family ? family : "", address ? address : "",
						 netmask ? netmask : "", scope ? scope : "");
		auto_free char *safe = print_safe_text(text, "\t");

		printf("  %s\n", safe);
	}
}

static void put_state(const struct json *state)
{
	static const struct info_row counters[] = {{"Bytes received", "bytes_received", INFO_BYTES},
						   {"Bytes sent", "bytes_sent", INFO_BYTES},
						   {"Packets received", "packets_received", INFO_NUMBER},
						   {"Packets sent", "packets_sent", INFO_NUMBER},
						   {0}};
	static const struct info_row bond[] = {{"Mode", "mode", INFO_TEXT},
					       {"Transmit policy", "transmit_policy", INFO_TEXT},
					       {"Up delay", "up_delay", INFO_NUMBER},
					       {"Down delay", "down_delay", INFO_NUMBER},
					       {"MII Frequency", "mii_frequency", INFO_NUMBER},
					       {"MII state", "mii_state", INFO_TEXT},
					       {"Lower devices", "lower_devices", INFO_LIST},
					       {0}};
	static const struct info_row bridge[] = {{"ID", "id", INFO_TEXT},
						 {"STP", "stp", INFO_BOOL},
						 {"Forward delay", "forward_delay", INFO_NUMBER},
						 {"Default VLAN ID", "vlan_default", INFO_NUMBER},
						 {"VLAN filtering", "vlan_filtering", INFO_BOOL},
						 {"Upper devices", "upper_devices", INFO_LIST},
						 {0}};
	static const struct info_row vlan[] = {
		{"Lower device", "lower_device", INFO_TEXT}, {"VLAN ID", "vid", INFO_NUMBER}, {0}};
	static const struct info_row ovn[] = {{"Chassis", "chassis", INFO_TEXT}, {0}};
	static const struct {
		const char *title, *key;
		const struct info_row *rows;
	} sections[] = {
		{"Network usage", "counters", counters},
		{"Bond", "bond", bond},
		{"Bridge", "bridge", bridge},
		{"VLAN", "vlan", vlan},
		{"OVN", "ovn", ovn},
	};

	put_addresses(json_get(state, "addresses"));
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		const struct json *part = json_get(state, sections[i].key);

		if (json_kind(part) != JSON_OBJECT)
			continue;
		printf("\n%s:\n", sections[i].title);
		put_rows("  ", part, sections[i].rows);
	}
}

static int run_info(struct cli *c, struct error *err)
{
	static const struct info_row head[] = {{"MAC address", "hwaddr", INFO_TEXT},
					       {"MTU", "mtu", INFO_NUMBER},
					       {"State", "state", INFO_TEXT},
					       {"Type", "type", INFO_TEXT},
					       {0}};
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *url = NULL;
	int r;

	r = target_open_named(c, cli_arg(c, 0), "network", &t, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/networks/%s/state", t.name);
	r = api_get(t.api, url, &reply, err);
	if (r < 0)
		return r;
	put("", "Name", t.name);
	put_rows("", reply.metadata, head);
	put_state(reply.metadata);
	return 0;
}

static const struct option_row info_options[] = {
	{"target", 0, OPTION_STRING, NULL, "Cluster member"},
	OPTION_END,
};

const struct command cmd_network_info = {
	.name = "info",
	.args = "[<remote>:]<network>",
	.min_args = 1,
	.max_args = 1,
	.options = info_options,
	.run = run_info,
	.doc = "Show the addresses and the traffic of a network, or of an interface of the host",
};
