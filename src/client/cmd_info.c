/* `lxc info`. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/client.h"
#include "client/info_resources.h"
#include "client/print.h"
#include "client/table.h"

static void line(const char *label, const char *value)
{
	auto_free char *safe = print_safe_text(value ? value : "", "");

	printf("%s: %s\n", label, safe);
}

static void line_size(const char *label, int64_t bytes, bool iec)
{
	auto_free char *text = iec ? format_size_iec((uint64_t)bytes) : format_size_si((uint64_t)bytes);

	line(label, text);
}

static void line_time(const char *label, const char *time)
{
	auto_free char *text = cli_format_time(time);

	if (!cli_time_is_never(time))
		line(label, text);
}

static int print_disk(const char *name, const struct json *disk, void *arg)
{
	int64_t usage = json_int(json_get(disk, "usage"));
	auto_free char *label = xasprintf("    %s", name);

	if (usage <= 0)
		return 0;
	if (!*(bool *)arg)
		puts("  Disk usage:");
	*(bool *)arg = true;
	line_size(label, usage, true);
	return 0;
}

static void print_memory(const struct json *memory)
{
	static const struct {
		const char *key, *label;
	} rows[] = {
		{"usage", "    Memory (current)"},
		{"usage_peak", "    Memory (peak)"},
		{"swap_usage", "    Swap (current)"},
		{"swap_usage_peak", "    Swap (peak)"},
	};
	bool first = true;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t v = json_int(json_get(memory, rows[i].key));

		if (v <= 0)
			continue;
		if (first)
			puts("  Memory usage:");
		first = false;
		line_size(rows[i].label, v, true);
	}
}

/* "inet:  a" is padded so that both families line up. */
static void print_nic_addresses(const struct json *list)
{
	puts("      IP addresses:");
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json *a = json_at(list, i);
		auto_free char *text = xasprintf("%s/%s (%s)", json_get_str(a, "address"), json_get_str(a, "netmask"),
						 json_get_str(a, "scope"));
		auto_free char *safe = print_safe_text(text, "");
		auto_free char *family = xasprintf("%s:", json_get_str(a, "family"));

		printf("        %-6s %s\n", family, safe);
	}
}

static void print_nic(const char *name, const struct json *nic)
{
	static const struct {
		const char *key, *label;
		bool bytes;
	} counters[] = {
		{"bytes_received", "      Bytes received", true},
		{"bytes_sent", "      Bytes sent", true},
		{"packets_received", "      Packets received", false},
		{"packets_sent", "      Packets sent", false},
	};
	const struct json *c = json_get(nic, "counters");
	auto_free char *state = cli_upper(json_get_str(nic, "state"));
	auto_free char *safe = print_safe_text(name, "");
	int64_t mtu = json_int(json_get(nic, "mtu"));

	printf("    %s:\n", safe);
	line("      Type", json_get_str(nic, "type"));
	line("      State", state);
	if (!str_is_empty(json_get_str(nic, "host_name")))
		line("      Host interface", json_get_str(nic, "host_name"));
	if (!str_is_empty(json_get_str(nic, "hwaddr")))
		line("      MAC address", json_get_str(nic, "hwaddr"));
	if (mtu)
		printf("      MTU: %lld\n", (long long)mtu);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		int64_t v = json_int(json_get(c, counters[i].key));

		if (counters[i].bytes)
			line_size(counters[i].label, v, false);
		else
			printf("%s: %lld\n", counters[i].label, (long long)v);
	}
	print_nic_addresses(json_get(nic, "addresses"));
}

static int add_name(const char *name, const struct json *value UNUSED, void *arg)
{
	strv_add(arg, name);
	return 0;
}

/* In order of their names; servers send them in their own. */
static void print_nics(const struct json *network)
{
	auto_strv struct strv names = STRV_INIT;

	if (json_kind(network) == JSON_OBJECT)
		json_each(network, add_name, &names);
	strv_sort(&names);
	if (names.len)
		puts("  Network usage:");
	for (size_t i = 0; i < names.len; i++)
		print_nic(names.items[i], json_get(network, names.items[i]));
}

static void print_resources(const struct json *state)
{
	int64_t cpu = json_int(json_get(json_get(state, "cpu"), "usage"));
	const struct json *disk = json_get(state, "disk");
	bool header = false;

	puts("\nResources:");
	printf("  Processes: %lld\n", (long long)json_int(json_get(state, "processes")));
	if (json_kind(disk) == JSON_OBJECT)
		json_each(disk, print_disk, &header);
	if (cpu)
		printf("  CPU usage:\n    CPU usage (in seconds): %lld\n", (long long)(cpu / 1000000000));
	print_memory(json_get(state, "memory"));
	print_nics(json_get(state, "network"));
}

static char *expiry(const struct json *j)
{
	const char *t = json_get_str(j, "expires_at");

	return cli_time_is_never(t) ? xstrdup("") : cli_format_time(t);
}

/* Snapshots or backups: name, two times and flags. */
static int print_parts(const struct json *list, const char *title, const char *const *header, size_t columns,
		       const char *const *flags, struct error *err)
{
	auto_table struct table t = TABLE_INIT;

	if (!json_len(list))
		return 0;
	for (size_t i = 0; i < columns; i++)
		strv_add(&t.header, header[i]);
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json *item = json_at(list, i);
		const char *name = json_get_str(item, "name");
		struct strv row = STRV_INIT;

		strv_take(&row, cli_url_last(name ? name : ""));
		strv_take(&row, cli_format_time(json_get_str(item, "created_at")));
		strv_take(&row, expiry(item));
		for (size_t k = 0; k < columns - 3; k++)
			strv_add(&row, json_is_true(json_get(item, flags[k])) ? "YES" : "NO");
		table_take_row(&t, &row);
	}
	printf("\n%s:\n", title);
	return table_print(&t, TABLE_GRID, NULL, err);
}

static int print_log(struct api *a, const char *name, struct error *err)
{
	auto_free char *url = cli_url("/1.0/instances/%s/logs/lxc.log", name);
	auto_http_client_response struct http_client_response resp = HTTP_CLIENT_RESPONSE_INIT;
	struct http_client_request req = {.method = "GET", .path = url};
	int r;

	r = api_send_raw(a, &req, &resp, err);
	if (r >= 0)
		r = api_response_error(&resp, err);
	if (r < 0)
		return r;
	puts("\nLog:\n");
	cli_print_safe(strbuf_str(&resp.body));
	putchar('\n');
	return 0;
}

static int print_instance(const struct json *inst, struct error *err)
{
	static const char *const snapshot_header[] = {"NAME", "TAKEN AT", "EXPIRES AT", "STATEFUL"};
	static const char *const snapshot_flags[] = {"stateful"};
	static const char *const backup_header[] = {"NAME", "TAKEN AT", "EXPIRES AT", "INSTANCE ONLY",
						    "OPTIMIZED STORAGE"};
	static const char *const backup_flags[] = {"instance_only", "optimized_storage"};
	const struct json *state = json_get(inst, "state");
	auto_free char *status = cli_upper(json_get_str(inst, "status"));
	const char *type = json_get_str(inst, "type"), *location = json_get_str(inst, "location");
	bool ephemeral = json_is_true(json_get(inst, "ephemeral"));
	int64_t pid = json_int(json_get(state, "pid"));
	int r;

	line("Name", json_get_str(inst, "name"));
	if (!str_is_empty(json_get_str(inst, "description")))
		line("Description", json_get_str(inst, "description"));
	line("Status", status);
	printf("Type: %s%s\n", type ? type : "container", ephemeral ? " (ephemeral)" : "");
	line("Architecture", json_get_str(inst, "architecture"));
	if (!str_is_empty(location) && !streq(location, "none"))
		line("Location", location);
	if (pid)
		printf("PID: %lld\n", (long long)pid);
	line_time("Created", json_get_str(inst, "created_at"));
	line_time("Last Used", json_get_str(inst, "last_used_at"));
	if (pid)
		print_resources(state);
	r = print_parts(json_get(inst, "snapshots"), "Snapshots", snapshot_header, ARRAY_SIZE(snapshot_header),
			snapshot_flags, err);
	if (r < 0)
		return r;
	return print_parts(json_get(inst, "backups"), "Backups", backup_header, ARRAY_SIZE(backup_header), backup_flags,
			   err);
}

static int run_info(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *base = NULL;
	auto_free char *url = NULL;
	int r;

	r = target_open(c, cli_arg(c, 0), &t, err);
	if (r < 0)
		return r;
	if (!*t.name) {
		bool resources = option_bool(c->options, "resources");

		r = api_get(t.api, resources ? "/1.0/resources" : "/1.0", &reply, err);
		if (r < 0)
			return r;
		if (!resources) {
			r = cli_print_yaml(reply.metadata, 0, err);
			if (r >= 0)
				cli_tell_warnings(t.api, reply.metadata);
			return r;
		}
		info_resources_print(reply.metadata);
		return 0;
	}
	base = cli_url("/1.0/instances/%s", t.name);
	url = xasprintf("%s?recursion=1", base);
	r = api_get(t.api, url, &reply, err);
	if (r >= 0)
		r = print_instance(reply.metadata, err);
	if (r >= 0 && option_bool(c->options, "show-log"))
		r = print_log(t.api, t.name, err);
	return r;
}

static const struct option_row info_options[] = {
	{"resources", 0, OPTION_BOOL, NULL, "Show the hardware of the server"},
	{"show-log", 0, OPTION_BOOL, NULL, "Show the log of the instance's last start"},
	{"target", 0, OPTION_STRING, NULL, "Cluster member"},
	OPTION_END,
};

const struct command cmd_info = {
	.name = "info",
	.args = "[<remote>:][<instance>]",
	.max_args = 1,
	.options = info_options,
	.run = run_info,
	.doc = "Show an instance, or the server",
};
