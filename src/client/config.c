/* config.yml: read and written by libyaml through base/yamltext.c. */
#include "client/config.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/path.h"
#include "base/str.h"
#include "base/yamltext.h"

#define CONFIG_MAX (4u * 1024 * 1024)

static const struct {
	const char *name, *addr, *protocol;
	bool public, is_static;
} builtin_remotes[] = {
	{"images", "https://images.linuxcontainers.org", "simplestreams", true, false},
	{"local", "unix://", NULL, false, true},
	{"ubuntu", "https://cloud-images.ubuntu.com/releases", "simplestreams", true, true},
	{"ubuntu-daily", "https://cloud-images.ubuntu.com/daily", "simplestreams", true, true},
};

static const struct {
	const char *name, *target;
} builtin_aliases[] = {
	{"shell", "exec @ARGS@ -- su -l"},
};

bool cli_config_is_static(const char *remote)
{
	for (size_t i = 0; i < ARRAY_SIZE(builtin_remotes); i++)
		if (streq(builtin_remotes[i].name, remote))
			return builtin_remotes[i].is_static;
	return false;
}

static void add_builtin(struct cli_config *c, bool only_static, bool only_local)
{
	for (size_t i = 0; i < ARRAY_SIZE(builtin_remotes); i++) {
		struct strmap *m;

		if ((only_static && !builtin_remotes[i].is_static) ||
		    (only_local && !streq(builtin_remotes[i].name, "local")))
			continue;
		mapmap_remove(&c->remotes, builtin_remotes[i].name);
		m = mapmap_ensure(&c->remotes, builtin_remotes[i].name);
		strmap_set(m, "addr", builtin_remotes[i].addr);
		strmap_set(m, "protocol", builtin_remotes[i].protocol);
		strmap_set(m, "public", builtin_remotes[i].public ? "true" : "false");
	}
}

/* $LXD_CONF, or ~/.config/lxc */
static char *config_dir(void)
{
	const char *dir = getenv("LXD_CONF");
	const char *home = getenv("HOME");

	if (!str_is_empty(dir))
		return xstrdup(dir);
	return path_join(str_is_empty(home) ? "/root" : home, ".config/lxc");
}

static int parse_config(struct cli_config *c, const struct strbuf *text, struct error *err)
{
	auto_json struct json *doc = NULL;
	const char *remote;
	int r;

	r = yaml_read(strbuf_str(text), text->len, NULL, &doc, err);
	if (r < 0)
		return r;
	if (json_kind(doc) == JSON_NULL)
		return 0;
	if (json_kind(doc) != JSON_OBJECT)
		return error_set(err, 400, "not a mapping");
	remote = json_get_str(doc, "default-remote");
	if (!str_is_empty(remote)) {
		free(c->default_remote);
		c->default_remote = xstrdup(remote);
	}
	r = json_to_mapmap(json_get(doc, "remotes"), "remotes", &c->remotes, err);
	if (r < 0)
		return r;
	return json_to_strmap(json_get(doc, "aliases"), "aliases", &c->aliases, err);
}

int cli_config_load(bool force_local, struct cli_config **ret, struct error *err)
{
	auto_cli_config struct cli_config *c = xnew(struct cli_config);
	auto_free char *dir = config_dir();
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error e = ERROR_INIT;
	int r;

	c->path = path_join(dir, "config.yml");
	c->default_remote = xstrdup("local");
	if (force_local) {
		add_builtin(c, false, true);
		*ret = TAKE_PTR(c);
		return 0;
	}
	r = file_read_at(AT_FDCWD, c->path, CONFIG_MAX, &text, &e);
	if (r == -ENOENT || r == -ENOTDIR) {
		add_builtin(c, false, false);
	} else if (r < 0) {
		return error_move(err, &e);
	} else {
		c->exists = true;
		r = parse_config(c, &text, err);
		if (r < 0)
			return error_wrap(err, "Unable to load %s", c->path);
		add_builtin(c, true, false);
	}
	*ret = TAKE_PTR(c);
	return 0;
}

void cli_config_free(struct cli_config *c)
{
	if (!c)
		return;
	free(c->path);
	free(c->default_remote);
	mapmap_done(&c->remotes);
	strmap_done(&c->aliases);
	free(c);
}

/* Static remotes except `local` are not written. */
static void write_remotes(struct jsonw *w, const struct cli_config *c)
{
	jsonw_key(w, "remotes");
	jsonw_object_begin(w);
	for (size_t i = 0; i < c->remotes.len; i++) {
		const struct mapmap_item *item = &c->remotes.items[i];

		if (cli_config_is_static(item->key) && !streq(item->key, "local"))
			continue;
		jsonw_key(w, item->key);
		jsonw_object_begin(w);
		for (size_t k = 0; k < item->map.len; k++) {
			const struct strmap_item *field = &item->map.items[k];

			if (streq(field->key, "public"))
				jsonw_kv_bool(w, "public", parse_bool_or(field->value, false));
			else
				jsonw_kv_str(w, field->key, field->value);
		}
		jsonw_object_end(w);
	}
	jsonw_object_end(w);
}

int cli_config_save(struct cli_config *c, struct error *err)
{
	auto_strbuf struct strbuf json = STRBUF_INIT;
	auto_strbuf struct strbuf yaml = STRBUF_INIT;
	auto_json struct json *doc = NULL;
	auto_free char *dir = xstrndup(c->path, strlen(c->path) - strlen("/config.yml"));
	struct jsonw w = JSONW(&json);
	int r;

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "default-remote", c->default_remote);
	write_remotes(&w, c);
	jsonw_kv_strmap(&w, "aliases", &c->aliases);
	jsonw_object_end(&w);
	r = json_parse(strbuf_str(&json), json.len, &doc, err);
	if (r >= 0)
		r = yaml_write(doc, 0, &yaml, err);
	if (r >= 0)
		r = dir_make_all(AT_FDCWD, dir, 0750, err);
	if (r >= 0)
		r = file_replace_at(AT_FDCWD, c->path, yaml.data, yaml.len, 0600, err);
	if (r >= 0)
		c->exists = true;
	return r;
}

const char *cli_config_default_remote(const struct cli_config *c)
{
	const char *env = getenv("LXC_REMOTE");

	return str_is_empty(env) ? c->default_remote : env;
}

/* How many words of @args the alias @name covers; 0: it does not match. */
static size_t alias_matches(const char *name, const struct strv *args)
{
	auto_strv struct strv words = STRV_INIT;

	strv_split(&words, name, ' ');
	if (words.len == 0 || words.len > args->len)
		return 0;
	for (size_t i = 0; i < words.len; i++)
		if (!streq(words.items[i], args->items[i]))
			return 0;
	return words.len;
}

/* "@ARG3@" gives 3, other words 0. */
static size_t alias_arg_number(const char *word)
{
	const char *rest = startswith(word, "@ARG");
	auto_free char *digits = rest && endswith(rest, "@") ? xstrndup(rest, strlen(rest) - 1) : NULL;
	uint32_t n = 0;

	return digits && parse_u32(digits, &n) >= 0 ? n : 0;
}

static void alias_substitute(const char *target, const struct strv *args, size_t covered, struct strv *ret)
{
	auto_strv struct strv words = STRV_INIT;
	bool placed = false;

	strv_split(&words, target, ' ');
	for (size_t i = 0; i < words.len; i++) {
		size_t n = alias_arg_number(words.items[i]);

		if (streq(words.items[i], "@ARGS@")) {
			for (size_t k = covered; k < args->len; k++)
				strv_add(ret, args->items[k]);
			placed = true;
		} else if (n && covered + n - 1 < args->len) {
			strv_add(ret, args->items[covered + n - 1]);
			placed = true;
		} else if (words.items[i][0]) {
			strv_add(ret, words.items[i]);
		}
	}
	for (size_t k = covered; !placed && k < args->len; k++)
		strv_add(ret, args->items[k]);
}

bool cli_config_expand_alias(const struct cli_config *c, const struct strv *args, struct strv *ret)
{
	const char *target = NULL;
	size_t best = 0;

	for (size_t i = 0; i < c->aliases.len; i++) {
		size_t n = alias_matches(c->aliases.items[i].key, args);

		if (n > best) {
			best = n;
			target = c->aliases.items[i].value;
		}
	}
	for (size_t i = 0; !target && i < ARRAY_SIZE(builtin_aliases); i++) {
		best = alias_matches(builtin_aliases[i].name, args);
		target = best ? builtin_aliases[i].target : NULL;
	}
	if (!target)
		return false;
	alias_substitute(target, args, best, ret);
	return true;
}
