/* Look-up in the tables of keys, and the check of values by type. */
#include "config/keys.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "base/strv.h"
#include "config/keys_tables.h"
#include "config/names.h"

/* What one scope is. */
struct scope_row {
	const struct config_key *rows;
	unsigned refuse; /* enum config_flags: rows with these are not for this scope */
};

static const struct scope_row scopes[CONFIG_SCOPE_COUNT] = {
	[CONFIG_SCOPE_SERVER] = {config_keys_server, 0},
	[CONFIG_SCOPE_INSTANCE] = {config_keys_instance, 0},
	[CONFIG_SCOPE_PROFILE] = {config_keys_instance, CONFIG_INSTANCE_ONLY},
	[CONFIG_SCOPE_POOL] = {config_keys_pool, 0},
	[CONFIG_SCOPE_PROJECT] = {config_keys_project, 0},
	[CONFIG_SCOPE_NETWORK] = {config_keys_network, 0},
};

static const char *const type_names[] = {
	[CONFIG_STRING] = "string",
	[CONFIG_BOOL] = "bool",
	[CONFIG_INT] = "integer",
	[CONFIG_UINT32] = "unsigned integer",
	[CONFIG_SIZE] = "size",
	[CONFIG_SIZE_PERCENT] = "size or percentage",
	[CONFIG_ENUM] = "one of a set",
	[CONFIG_LIST] = "list",
	[CONFIG_CPUSET] = "number or set of CPUs",
	[CONFIG_OCTAL] = "octal mode",
	[CONFIG_PATH] = "absolute path",
};

const char *config_type_name(enum config_type type)
{
	return type_names[type];
}

/* Does a row "a.b.*" fit @name? Something must stand in for the star. */
static bool prefix_fits(const struct config_key *key, const char *name)
{
	size_t n = strlen(key->name);

	if (n <= 2 || !streq(key->name + n - 2, ".*") || strncmp(key->name, name, n - 1) != 0 || !name[n - 1])
		return false;
	return !key->fits || key->fits(name + n - 1);
}

const struct config_key *config_key_in(const struct config_key *rows, const char *name)
{
	const struct config_key *fits = NULL;

	for (const struct config_key *k = rows; k->name; k++) {
		if (streq(k->name, name) && !endswith(name, ".*"))
			return k;
		if (!fits && prefix_fits(k, name))
			fits = k;
	}
	return fits;
}

const struct config_key *config_key_find(enum config_scope scope, const char *name)
{
	const struct config_key *k = config_key_in(scopes[scope].rows, name);

	return k && !(k->flags & scopes[scope].refuse) ? k : NULL;
}

bool config_key_is_live(enum config_scope scope, const char *name)
{
	const struct config_key *k = config_key_find(scope, name);

	return k && (k->flags & CONFIG_LIVE);
}

void config_keys_each(enum config_scope scope, void (*fn)(const struct config_key *key, void *arg), void *arg)
{
	for (const struct config_key *k = scopes[scope].rows; k->name; k++)
		if (!(k->flags & scopes[scope].refuse))
			fn(k, arg);
}

static int check_bool(const struct config_key *key UNUSED, const char *value, struct error *err)
{
	bool b;

	return parse_bool(value, &b) < 0 ? error_set(err, 400, "Invalid value for a boolean \"%s\"", value) : 0;
}

static int check_int(const struct config_key *key UNUSED, const char *value, struct error *err)
{
	int64_t v;

	return parse_i64(value, &v) < 0 ? error_set(err, 400, "Invalid value for an integer \"%s\"", value) : 0;
}

static int check_uint32(const struct config_key *key UNUSED, const char *value, struct error *err)
{
	uint32_t v;

	return parse_u32(value, &v) < 0 ? error_set(err, 400, "Invalid value for uint32 \"%s\"", value) : 0;
}

static int check_size(const struct config_key *key UNUSED, const char *value, struct error *err)
{
	uint64_t v;

	return parse_size(value, &v, err);
}

static int check_size_percent(const struct config_key *key, const char *value, struct error *err)
{
	const char *sign = endswith(value, "%");
	auto_free char *number = sign ? xstrndup(value, (size_t)(sign - value)) : NULL;
	uint32_t v;

	if (!number)
		return check_size(key, value, err);
	return parse_u32(number, &v) < 0 || v > 100 ? error_set(err, 400, "Invalid value: %s", value) : 0;
}

static int check_enum(const struct config_key *key, const char *value, struct error *err)
{
	auto_strbuf struct strbuf all = STRBUF_INIT;

	for (const char *const *v = key->values; *v; v++) {
		if (streq(*v, value))
			return 0;
		strbuf_appendf(&all, "%s%s", all.len ? " " : "", *v);
	}
	return error_set(err, 400, "Invalid value \"%s\" (not one of [%s])", value, strbuf_str(&all));
}

static int check_octal(const struct config_key *key UNUSED, const char *value, struct error *err)
{
	unsigned v;

	return parse_octal(value, &v) < 0 || v > 07777 ? error_set(err, 400, "Invalid file mode \"%s\"", value) : 0;
}

static int check_path(const struct config_key *key UNUSED, const char *value, struct error *err)
{
	return *value == '/' ? 0 : error_set(err, 400, "Not an absolute path: %s", value);
}

/* "a-b" or "a" with a <= b. */
static bool cpu_range_is_good(const char *text)
{
	const char *dash = strchr(text, '-');
	auto_free char *first = dash ? xstrndup(text, (size_t)(dash - text)) : xstrdup(text);
	uint32_t a, b;

	if (parse_u32(first, &a) < 0)
		return false;
	return !dash || (parse_u32(dash + 1, &b) == 0 && a <= b);
}

static int check_cpuset(const struct config_key *key UNUSED, const char *value, struct error *err)
{
	auto_strv struct strv parts = STRV_INIT;

	if (streq(value, "0"))
		return error_set(err, 400, "Invalid CPU limit syntax: %s", value);
	strv_split(&parts, value, ',');
	for (size_t i = 0; i < parts.len; i++)
		if (!cpu_range_is_good(parts.items[i]))
			return error_set(err, 400, "Invalid CPU limit syntax: %s", value);
	return 0;
}

/* Checks by type; NULL: any clean text. */
static int (*const type_checks[])(const struct config_key *key, const char *value, struct error *err) = {
	[CONFIG_STRING] = NULL,         [CONFIG_BOOL] = check_bool, [CONFIG_INT] = check_int,
	[CONFIG_UINT32] = check_uint32, [CONFIG_SIZE] = check_size, [CONFIG_SIZE_PERCENT] = check_size_percent,
	[CONFIG_ENUM] = check_enum,     [CONFIG_LIST] = NULL,       [CONFIG_CPUSET] = check_cpuset,
	[CONFIG_OCTAL] = check_octal,   [CONFIG_PATH] = check_path,
};

int config_check_value(const struct config_key *key, const char *name, const char *value, struct error *err)
{
	int r = 0;

	if (str_is_empty(value))
		return 0;
	if (key->flags & CONFIG_LATER && key->check)
		return key->check(name, value, err);
	if (key->flags & CONFIG_LATER)
		return error_set(err, 400, "Configuration key \"%s\" is not supported by this server yet", name);
	if (!text_is_clean(value, key->flags & CONFIG_MULTILINE))
		return error_set(err, 400, "Value of \"%s\" holds control characters or is no UTF-8", name);
	if (type_checks[key->type])
		r = type_checks[key->type](key, value, err);
	if (r == 0 && key->check)
		r = key->check(name, value, err);
	return r;
}

/* Networks name themselves, too: @name is the network's. */
static int network_error(const char *name, const struct config_key *key, const struct strmap_item *item,
			 struct error *err)
{
	if (!key)
		return error_set(err, 400, "Invalid option for network \"%s\" option \"%s\"", name, item->key);
	return error_wrap(err, "Invalid value for network \"%s\" option \"%s\"", name, item->key);
}

int config_validate_network(const char *name, const struct strmap *config, struct error *err)
{
	for (size_t i = 0; i < config->len; i++) {
		const struct strmap_item *item = &config->items[i];
		const struct config_key *key = config_key_find(CONFIG_SCOPE_NETWORK, item->key);

		if (!key || !text_is_clean(item->key, false))
			return network_error(name, NULL, item, err);
		if (config_check_value(key, item->key, item->value, err) < 0)
			return network_error(name, key, item, err);
	}
	return 0;
}

static int refuse_unknown(enum config_scope scope, const char *name, const char *value, struct error *err)
{
	if (scope == CONFIG_SCOPE_SERVER)
		return error_set(err, 400, "cannot set '%s' to '%s': unknown key", name, value);
	if (scope == CONFIG_SCOPE_POOL)
		return error_set(err, 400, "Invalid storage pool configuration key \"%s\"", name);
	if (scope == CONFIG_SCOPE_PROJECT)
		return error_set(err, 400, "Invalid project configuration key \"%s\"", name);
	if (scope == CONFIG_SCOPE_PROFILE && startswith(name, "volatile."))
		return error_set(err, 400, "Volatile keys can only be set on instances");
	if (scope == CONFIG_SCOPE_PROFILE && startswith(name, "image."))
		return error_set(err, 400, "Image keys can only be set on instances");
	return error_set(err, 400, "Unknown configuration key: %s", name);
}

/* The value failed: say it as the scope's reference does, with the key. */
static int wrap_bad_value(enum config_scope scope, const struct config_key *key, const char *name, const char *value,
			  struct error *err)
{
	if (key->flags & CONFIG_LATER)
		return -err->errnum;
	if (scope != CONFIG_SCOPE_SERVER)
		return error_wrap(err, "Invalid value for key \"%s\"", name);
	if (key->type == CONFIG_INT || key->type == CONFIG_UINT32)
		return error_set(err, 400, "cannot set '%s' to '%s': invalid integer", name, value);
	if (key->type == CONFIG_BOOL)
		return error_set(err, 400, "cannot set '%s' to '%s': invalid boolean", name, value);
	return error_wrap(err, "cannot set '%s' to '%s'", name, value);
}

int config_validate(enum config_scope scope, const struct strmap *config, struct error *err)
{
	for (size_t i = 0; i < config->len; i++) {
		const struct strmap_item *item = &config->items[i];
		const struct config_key *key = config_key_find(scope, item->key);

		if (!key || !text_is_clean(item->key, false))
			return refuse_unknown(scope, item->key, item->value, err);
		if (config_check_value(key, item->key, item->value, err) < 0)
			return wrap_bad_value(scope, key, item->key, item->value, err);
	}
	return 0;
}
