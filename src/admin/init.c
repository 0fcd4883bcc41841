/* `lxd init`: flags, questions or a preseed become one preseed value, which preseed.c applies. */
#include "admin/init.h"

#include <stdio.h>
#include <string.h>

#include "admin/init_questions.h"
#include "admin/plan.h"
#include "admin/preseed.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/yamltext.h"

#define PRESEED_MAX (4u * 1024 * 1024)
#define DEFAULT_PORT 8443
#define BRIDGE_NAMES 100u

const struct option_row init_options[] = {
	{"auto", 0, OPTION_BOOL, NULL, "Ask nothing; use the flags below and defaults"},
	{"dump", 0, OPTION_BOOL, NULL, "Print the present configuration as a preseed"},
	{"minimal", 0, OPTION_BOOL, NULL, "Ask nothing; use defaults"},
	{"network-address", 0, OPTION_STRING, NULL, "Address to listen on"},
	{"network-port", 0, OPTION_INT, "-1", "Port to listen on (8443)"},
	{"preseed", 0, OPTION_BOOL, NULL, "Read the configuration as YAML from standard input"},
	{"storage-backend", 0, OPTION_STRING, NULL, "Driver of the storage pool (dir)"},
	{"storage-create-device", 0, OPTION_STRING, NULL, "Block device for the storage pool"},
	{"storage-create-loop", 0, OPTION_INT, "-1", "Size of a loop file for the storage pool, in GiB"},
	{"storage-pool", 0, OPTION_STRING, NULL, "Existing storage to use"},
	{"trust-password", 0, OPTION_STRING, NULL, "Password for new clients"},
	OPTION_END,
};

static int check_flags(const struct options *o, struct error *err)
{
	static const char *const settings[] = {"network-address",       "network-port",        "storage-backend",
					       "storage-create-device", "storage-create-loop", "storage-pool",
					       "trust-password"};
	static const char *const exclusive[][2] = {{"auto", "preseed"}, {"minimal", "preseed"}, {"minimal", "auto"}};
	bool given = false;

	for (size_t i = 0; i < ARRAY_SIZE(exclusive); i++)
		if (option_bool(o, exclusive[i][0]) && option_bool(o, exclusive[i][1]))
			return error_set(err, 400, "Can't use --%s and --%s together", exclusive[i][0],
					 exclusive[i][1]);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		given = given || option_given(o, settings[i]);
	if (option_bool(o, "dump") &&
	    (given || option_bool(o, "auto") || option_bool(o, "minimal") || option_bool(o, "preseed")))
		return error_set(err, 400, "Can't use --dump with other flags");
	if (given && !option_bool(o, "auto"))
		return error_set(err, 400, "Configuration flags require --auto");
	return 0;
}

static int check_auto(const struct options *o, struct error *err)
{
	const char *backend = option_str(o, "storage-backend");
	bool details = option_given(o, "storage-create-device") || option_given(o, "storage-create-loop") ||
		       option_given(o, "storage-pool");

	if (option_given(o, "storage-create-device") && option_given(o, "storage-create-loop"))
		return error_set(err, 400,
				 "Only one of --storage-create-device or --storage-create-loop can be specified");
	if (details && (!backend || streq(backend, "dir")))
		return error_set(err, 400,
				 "None of --storage-pool, --storage-create-device or --storage-create-loop "
				 "may be used with the 'dir' backend");
	if (!option_given(o, "network-address")) {
		if (option_given(o, "network-port"))
			return error_set(err, 400, "--network-port can't be used without --network-address");
		if (option_given(o, "trust-password"))
			return error_set(err, 400, "--trust-password can't be used without --network-address");
	}
	return 0;
}

/* The first of lxdbr0, lxdbr1 ... that nothing is called yet; NULL: none is left. The caller frees. */
static char *free_bridge_name(const struct init_server *s)
{
	for (unsigned i = 0; i < BRIDGE_NAMES; i++) {
		char *name = xasprintf("lxdbr%u", i);

		if (!init_server_network(s, name))
			return name;
		free(name);
	}
	return NULL;
}

static bool has_managed_network(const struct init_server *s)
{
	for (size_t i = 0; i < json_len(s->networks.metadata); i++)
		if (json_is_true(json_get(json_at(s->networks.metadata, i), "managed")))
			return true;
	return false;
}

/* A bridge with addresses that are free, and eth0 on it: unless there is something of the kind. */
static int plan_network(const struct init_server *s, struct init_plan *p, struct error *err)
{
	if (!s->has_networks || has_managed_network(s) || s->has_nic)
		return 0;
	p->network = free_bridge_name(s);
	if (!p->network)
		return error_set(err, 400, "No name is left for the bridge: lxdbr0 to lxdbr%u exist", BRIDGE_NAMES - 1);
	strmap_set(&p->network_config, "ipv4.address", "auto");
	strmap_set(&p->network_config, "ipv6.address", "auto");
	strmap_set(&p->nic, "type", "nic");
	strmap_set(&p->nic, "name", "eth0");
	strmap_set(&p->nic, "network", p->network);
	return 0;
}

static void plan_storage(const struct init_server *s, const struct options *o, struct init_plan *p)
{
	const char *backend = option_str(o, "storage-backend");
	const char *source = option_given(o, "storage-create-device") ? option_str(o, "storage-create-device")
								      : option_str(o, "storage-pool");

	if (!s->pool) {
		p->driver = xstrdup(backend ? backend : "dir");
		p->source = xstrdup_null(source);
		if (option_given(o, "storage-create-loop"))
			p->size = xasprintf("%lldGiB", (long long)option_int(o, "storage-create-loop"));
	}
	if (!s->pool || !s->has_root)
		p->pool = xstrdup(s->pool ? s->pool : "default");
}

static int run_auto(struct api *a, const struct options *o, struct error *err)
{
	auto_init_server struct init_server server = INIT_SERVER_INIT;
	auto_init_plan struct init_plan p = INIT_PLAN_INIT;
	const char *host = option_str(o, "network-address");
	int64_t port = option_given(o, "network-port") ? option_int(o, "network-port") : DEFAULT_PORT;
	int r;

	r = check_auto(o, err);
	if (r >= 0)
		r = init_server_read(a, &server, err);
	if (r < 0)
		return r;
	if (server.pool && option_given(o, "storage-backend"))
		return error_set(err, 400, "Storage has already been configured");
	if (host)
		p.https_address = xasprintf(strchr(host, ':') && host[0] != '[' ? "[%s]:%lld" : "%s:%lld", host,
					    (long long)port);
	p.trust_password = xstrdup_null(option_str(o, "trust-password"));
	plan_storage(&server, o, &p);
	r = plan_network(&server, &p, err);
	return r < 0 ? r : init_plan_apply(a, &p, false, err);
}

static int run_preseed(struct api *a, struct error *err)
{
	auto_strbuf struct strbuf in = {.max = PRESEED_MAX};
	auto_json struct json *j = NULL;
	char buf[8192];
	ssize_t n;
	int r;

	while ((n = fd_read_full(STDIN_FILENO, buf, sizeof(buf))) > 0)
		strbuf_append_len(&in, buf, (size_t)n);
	if (n < 0)
		return error_errno(err, (int)-n, "Failed to read from stdin");
	if (in.truncated)
		return error_set(err, 413, "The preseed is larger than %u MiB", PRESEED_MAX >> 20);
	r = yaml_read(strbuf_str(&in), in.len, NULL, &j, err);
	if (r < 0)
		return error_wrap(err, "Failed to parse the preseed");
	return preseed_apply(a, j, err);
}

static int run_dump(struct api *a, struct error *err)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	int r = preseed_dump(a, &out, err);

	if (r >= 0)
		puts(strbuf_str(&out));
	return r;
}

/* "btrfs, dir" as the server can make them. */
static int supported_drivers(struct api *a, struct strv *ret, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	const struct json *list;
	int r = api_get(a, "/1.0", &reply, err);

	if (r < 0)
		return r;
	list = json_get(json_get(reply.metadata, "environment"), "storage_supported_drivers");
	for (size_t i = 0; i < json_len(list); i++)
		if (json_get_str(json_at(list, i), "Name"))
			strv_add(ret, json_get_str(json_at(list, i), "Name"));
	if (!strv_contains(ret, "dir"))
		strv_add(ret, "dir");
	strv_sort(ret);
	return 0;
}

static int run_interactive(struct api *a, struct error *err)
{
	auto_init_server struct init_server server = INIT_SERVER_INIT;
	auto_init_plan struct init_plan p = INIT_PLAN_INIT;
	auto_strv struct strv drivers = STRV_INIT;
	bool print = false;
	int r;

	r = init_server_read(a, &server, err);
	if (r >= 0)
		r = supported_drivers(a, &drivers, err);
	if (r >= 0)
		r = init_questions(&server, &drivers, &p, &print, err);
	return r < 0 ? r : init_plan_apply(a, &p, print, err);
}

int init_run(const struct options *o, struct error *err)
{
	auto_api struct api *a = NULL;
	auto_free char *socket = api_default_socket();
	int r = check_flags(o, err);

	if (r < 0)
		return r;
	if (option_args(o)->len)
		return error_set(err, 400, "Invalid number of arguments");
	r = api_open(socket, NULL, &a, err);
	if (r < 0)
		return error_wrap(err, "Failed to connect to local LXD");
	if (option_bool(o, "dump"))
		return run_dump(a, err);
	if (option_bool(o, "preseed"))
		return run_preseed(a, err);
	if (option_bool(o, "auto") || option_bool(o, "minimal"))
		return run_auto(a, o, err);
	return run_interactive(a, err);
}
