/* `lxd init`: flags, questions or a preseed become one preseed value, which preseed.c applies. */
#include "admin/init.h"

#include <stdio.h>
#include <string.h>

#include "admin/preseed.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/yamltext.h"

#define PRESEED_MAX (4u * 1024 * 1024)
#define DEFAULT_PORT 8443

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

/* What is to be set up; NULL: not at all. */
struct plan {
	const char *https_address, *trust_password;
	const char *pool, *driver, *source, *size;
	bool root_device;
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

static void write_plan(const struct plan *p, struct strbuf *out)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_strmap struct strmap pool = STRMAP_INIT;
	struct jsonw w = JSONW(out);

	strmap_set(&config, "core.https_address", p->https_address);
	strmap_set(&config, "core.trust_password", p->trust_password);
	strmap_set(&pool, "source", p->source);
	strmap_set(&pool, "size", p->size);
	jsonw_object_begin(&w);
	jsonw_kv_strmap(&w, "config", &config);
	jsonw_key(&w, "storage_pools");
	jsonw_array_begin(&w);
	if (p->driver) {
		jsonw_object_begin(&w);
		jsonw_kv_str(&w, "name", p->pool);
		jsonw_kv_str(&w, "driver", p->driver);
		jsonw_kv_strmap(&w, "config", &pool);
		jsonw_object_end(&w);
	}
	jsonw_array_end(&w);
	jsonw_key(&w, "profiles");
	jsonw_array_begin(&w);
	if (p->root_device) {
		auto_mapmap struct mapmap devices = MAPMAP_INIT;
		struct strmap *root = mapmap_ensure(&devices, "root");

		strmap_set(root, "type", "disk");
		strmap_set(root, "path", "/");
		strmap_set(root, "pool", p->pool);
		jsonw_object_begin(&w);
		jsonw_kv_str(&w, "name", "default");
		jsonw_kv_mapmap(&w, "devices", &devices);
		jsonw_object_end(&w);
	}
	jsonw_array_end(&w);
	jsonw_object_end(&w);
}

static int apply_plan(struct api *a, const struct plan *p, bool print, struct error *err)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strbuf struct strbuf yaml = STRBUF_INIT;
	auto_json struct json *j = NULL;
	int r;

	write_plan(p, &text);
	r = json_parse(strbuf_str(&text), text.len, &j, err);
	if (r >= 0 && print) {
		r = yaml_write(j, 0, &yaml, err);
		fputs(strbuf_str(&yaml), stdout);
	}
	return r < 0 ? r : preseed_apply(a, j, err);
}

/* What exists already: the name of the first pool (NULL: none), and whether the default profile has a root disk. */
static int look_around(struct api *a, char **ret_pool, bool *ret_has_root, struct error *err)
{
	auto_api_reply struct api_reply pools = API_REPLY_INIT;
	auto_api_reply struct api_reply profile = API_REPLY_INIT;
	int r;

	r = api_get(a, "/1.0/storage-pools?recursion=1", &pools, err);
	if (r >= 0)
		r = api_get(a, "/1.0/profiles/default", &profile, err);
	if (r < 0)
		return r;
	if (json_len(pools.metadata))
		*ret_pool = xstrdup_null(json_get_str(json_at(pools.metadata, 0), "name"));
	*ret_has_root = json_get(json_get(profile.metadata, "devices"), "root") != NULL;
	return 0;
}

static int run_auto(struct api *a, const struct options *o, struct error *err)
{
	auto_free char *pool = NULL;
	auto_free char *address = NULL;
	auto_free char *size = NULL;
	const char *host = option_str(o, "network-address"), *backend = option_str(o, "storage-backend");
	int64_t port = option_given(o, "network-port") ? option_int(o, "network-port") : DEFAULT_PORT;
	bool has_root = false;
	struct plan p = {.pool = "default"};
	int r;

	r = check_auto(o, err);
	if (r >= 0)
		r = look_around(a, &pool, &has_root, err);
	if (r < 0)
		return r;
	if (pool && backend)
		return error_set(err, 400, "Storage has already been configured");
	if (host)
		p.https_address = address = xasprintf(strchr(host, ':') && host[0] != '[' ? "[%s]:%lld" : "%s:%lld",
						      host, (long long)port);
	p.trust_password = option_str(o, "trust-password");
	if (pool)
		p.pool = pool;
	else
		p.driver = backend ? backend : "dir";
	p.source = option_given(o, "storage-create-device") ? option_str(o, "storage-create-device")
							    : option_str(o, "storage-pool");
	if (option_given(o, "storage-create-loop"))
		p.size = size = xasprintf("%lldGiB", (long long)option_int(o, "storage-create-loop"));
	p.root_device = !has_root;
	return apply_plan(a, &p, false, err);
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
		fputs(strbuf_str(&out), stdout);
	return r;
}

/* ---- questions ---- */

/* The answer, @def for an empty one; the caller frees. -EPIPE at the end of the input. */
static int ask(const char *question, const char *def, char **ret, struct error *err)
{
	auto_free char *line = NULL;
	size_t cap = 0;

	printf("%s [default=%s]: ", question, def);
	fflush(stdout);
	if (getline(&line, &cap, stdin) < 0) {
		error_errno(err, EPIPE, "Read the answer to \"%s\"", question);
		return -EPIPE;
	}
	*ret = xstrdup(*str_strip(line) ? str_strip(line) : def);
	return 0;
}

static int ask_bool(const char *question, bool def, bool *ret, struct error *err)
{
	for (;;) {
		auto_free char *answer = NULL;
		int r = ask(question, def ? "yes" : "no", &answer, err);

		if (r < 0)
			return r;
		if (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "n") == 0) {
			*ret = strcasecmp(answer, "y") == 0;
			return 0;
		}
		if (parse_bool(answer, ret) >= 0)
			return 0;
		fputs("Invalid input: answer yes or no\n\n", stderr);
	}
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

static int ask_driver(struct api *a, char **ret, struct error *err)
{
	auto_strv struct strv drivers = STRV_INIT;
	auto_free char *list = NULL;
	auto_free char *question = NULL;
	int r = supported_drivers(a, &drivers, err);

	if (r < 0)
		return r;
	list = strv_join(&drivers, ", ");
	question = xasprintf("Name of the storage backend to use (%s)", list);
	for (;;) {
		free(*ret);
		*ret = NULL;
		r = ask(question, "dir", ret, err);
		if (r < 0 || strv_contains(&drivers, *ret))
			return r;
		fprintf(stderr, "Invalid input: \"%s\" is not one of %s\n\n", *ret, list);
	}
}

static int run_interactive(struct api *a, struct error *err)
{
	auto_free char *existing = NULL;
	auto_free char *pool = NULL;
	auto_free char *driver = NULL;
	bool has_root = false, wanted = false, print = false;
	struct plan p = {0};
	int r;

	r = look_around(a, &existing, &has_root, err);
	if (r >= 0)
		r = ask_bool("Do you want to configure a new storage pool? (yes/no)", true, &wanted, err);
	if (r >= 0 && wanted)
		r = ask("Name of the new storage pool", "default", &pool, err);
	if (r >= 0 && wanted)
		r = ask_driver(a, &driver, err);
	if (r >= 0)
		r = ask_bool("Would you like a YAML \"lxd init\" preseed to be printed? (yes/no)", false, &print, err);
	if (r < 0)
		return r;
	p.pool = wanted ? pool : existing;
	p.driver = driver;
	p.root_device = p.pool && !has_root;
	return apply_plan(a, &p, print, err);
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
