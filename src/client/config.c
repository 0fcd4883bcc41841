/* config.yml: read and written by libyaml through base/yamltext.c. */
#include "client/config.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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

bool cli_config_is_global(const struct cli_config *c, const char *remote)
{
	return strv_contains(&c->global, remote);
}

/* Names become file names and stand before a colon. */
const char *cli_config_bad_name(const char *remote)
{
	if (!*remote)
		return "Remote names may not be empty";
	if (strchr(remote, ':'))
		return "Remote names may not contain colons";
	if (strchr(remote, '/'))
		return "Remote names may not contain slashes";
	if (streq(remote, ".") || streq(remote, ".."))
		return "Remote names may not be . or ..";
	return NULL;
}

static void add_builtin(struct cli_config *c, size_t i)
{
	auto_free char *project = NULL;
	struct strmap *m = mapmap_get(&c->remotes, builtin_remotes[i].name);

	project = m ? xstrdup_null(strmap_get(m, "project")) : NULL;
	mapmap_remove(&c->remotes, builtin_remotes[i].name);
	m = mapmap_ensure(&c->remotes, builtin_remotes[i].name);
	strmap_set(m, "addr", builtin_remotes[i].addr);
	strmap_set(m, "protocol", builtin_remotes[i].protocol);
	strmap_set(m, "public", builtin_remotes[i].public ? "true" : "false");
	strmap_set(m, "project", project);
}

static void add_builtins(struct cli_config *c, bool only_static, bool only_local)
{
	for (size_t i = 0; i < ARRAY_SIZE(builtin_remotes); i++)
		if ((builtin_remotes[i].is_static || !only_static) &&
		    (!only_local || streq(builtin_remotes[i].name, "local")))
			add_builtin(c, i);
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

/* One field of a remote; empty ones count as missing, as do those that are no scalars. */
static int take_field(const char *key, const struct json *value, void *arg)
{
	struct strmap *remote = arg;
	auto_free char *text = NULL;

	switch (json_kind(value)) {
	case JSON_STRING:
		strmap_set(remote, key, *json_str(value) ? json_str(value) : NULL);
		break;
	case JSON_BOOL:
	case JSON_INT:
		text = json_to_text(value);
		strmap_set(remote, key, text);
		break;
	default:
		break;
	}
	return 0;
}

static int check_remote(const char *name, struct strmap *remote, struct error *err)
{
	bool public;

	if (str_is_empty(strmap_get(remote, "addr")) && !cli_config_is_static(name))
		return error_set(err, 400, "remote \"%s\" has no addr", name);
	if (parse_bool(strmap_get_or(remote, "public", "false"), &public) < 0)
		return error_set(err, 400, "remote \"%s\": public must be true or false, not \"%s\"", name,
				 strmap_get(remote, "public"));
	strmap_set(remote, "public", public ? "true" : "false");
	if (!public && str_is_empty(strmap_get(remote, "auth_type")))
		strmap_set(remote, "auth_type", "tls");
	return 0;
}

struct remotes_reader {
	struct mapmap *remotes;
	struct error *err;
};

static int take_remote(const char *name, const struct json *value, void *arg)
{
	struct remotes_reader *reader = arg;
	struct strmap *remote;

	if (json_kind(value) != JSON_OBJECT)
		return error_set(reader->err, 400, "remote \"%s\" is not a mapping", name);
	remote = mapmap_ensure(reader->remotes, name);
	json_each(value, take_field, remote);
	return check_remote(name, remote, reader->err);
}

/* What both files may hold. */
struct content {
	char *default_remote;
	struct mapmap remotes;
	struct strmap aliases;
};

static void content_done(struct content *c)
{
	free(c->default_remote);
	mapmap_done(&c->remotes);
	strmap_done(&c->aliases);
}

static int parse_content(const struct strbuf *text, struct content *ret, struct error *err)
{
	static const char *const typed[] = {"public", "keepalive", NULL};
	struct remotes_reader reader = {.remotes = &ret->remotes, .err = err};
	auto_json struct json *doc = NULL;
	const struct json *remotes;
	int r;

	r = yaml_read(strbuf_str(text), text->len, typed, &doc, err);
	if (r < 0)
		return r;
	remotes = json_get(doc, "remotes");
	if (json_kind(doc) == JSON_NULL)
		return 0;
	if (json_kind(doc) != JSON_OBJECT)
		return error_set(err, 400, "not a mapping");
	ret->default_remote = xstrdup_null(json_get_str(doc, "default-remote"));
	if (json_kind(remotes) != JSON_NULL && json_kind(remotes) != JSON_OBJECT)
		return error_set(err, 400, "remotes is not a mapping");
	r = json_kind(remotes) == JSON_OBJECT ? json_each(remotes, take_remote, &reader) : 0;
	return r < 0 ? r : json_to_strmap(json_get(doc, "aliases"), "aliases", &ret->aliases, err);
}

/* 1 when the file was read, 0 when it does not exist. */
static int read_content(const char *path, struct content *ret, struct error *err)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error e = ERROR_INIT;
	int r = file_read_at(AT_FDCWD, path, CONFIG_MAX, &text, &e);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return error_move(err, &e);
	r = parse_content(&text, ret, err);
	return r < 0 ? error_wrap(err, "Unable to load %s", path) : 1;
}

/* Remotes that the user's file does not name. */
static int add_global(struct cli_config *c, struct error *err)
{
	CLEANUP(content_done) struct content global = {0};
	auto_free char *path = path_join(c->global_dir, "config.yml");
	int r = read_content(path, &global, err);

	for (size_t i = 0; r > 0 && i < global.remotes.len; i++) {
		const struct mapmap_item *item = &global.remotes.items[i];

		if (mapmap_get(&c->remotes, item->key))
			continue;
		mapmap_set(&c->remotes, item->key, &item->map);
		strv_add(&c->global, item->key);
	}
	return r < 0 ? r : 0;
}

/* Fill @c from the files; what it held before is replaced. */
static int load(struct cli_config *c, struct error *err)
{
	CLEANUP(content_done) struct content own = {0};
	int r = c->force_local ? 0 : read_content(c->path, &own, err);

	if (r < 0)
		return r;
	c->exists = r > 0;
	free(c->default_remote);
	c->default_remote = xstrdup(str_is_empty(own.default_remote) ? "local" : own.default_remote);
	mapmap_done(&c->remotes);
	mapmap_copy(&c->remotes, &own.remotes);
	strmap_done(&c->aliases);
	strmap_copy(&c->aliases, &own.aliases);
	strv_done(&c->global);
	if (!c->exists)
		add_builtins(c, false, c->force_local);
	if (!c->force_local) {
		r = add_global(c, err);
		add_builtins(c, true, false);
	}
	return r < 0 ? r : 0;
}

int cli_config_load(bool force_local, struct cli_config **ret, struct error *err)
{
	auto_cli_config struct cli_config *c = xnew(struct cli_config);
	const char *global = getenv("LXD_GLOBAL_CONF");
	int r;

	c->dir = config_dir();
	c->path = path_join(c->dir, "config.yml");
	c->global_dir = xstrdup(str_is_empty(global) ? "/etc/lxd" : global);
	c->force_local = force_local;
	r = load(c, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

void cli_config_free(struct cli_config *c)
{
	if (!c)
		return;
	free(c->dir);
	free(c->path);
	free(c->global_dir);
	free(c->default_remote);
	mapmap_done(&c->remotes);
	strv_done(&c->global);
	strmap_done(&c->aliases);
	free(c);
}

static void write_field(struct jsonw *w, const struct strmap_item *field)
{
	int64_t n;

	if (streq(field->key, "public"))
		jsonw_kv_bool(w, field->key, parse_bool_or(field->value, false));
	else if (streq(field->key, "keepalive") && parse_i64(field->value, &n) >= 0)
		jsonw_kv_int(w, field->key, n);
	else
		jsonw_kv_str(w, field->key, field->value);
}

/* Global remotes, and static ones except `local`, are not written. */
static void write_remotes(struct jsonw *w, const struct cli_config *c)
{
	jsonw_key(w, "remotes");
	jsonw_object_begin(w);
	for (size_t i = 0; i < c->remotes.len; i++) {
		const struct mapmap_item *item = &c->remotes.items[i];

		if (cli_config_is_global(c, item->key) ||
		    (cli_config_is_static(item->key) && !streq(item->key, "local")))
			continue;
		jsonw_key(w, item->key);
		jsonw_object_begin(w);
		for (size_t k = 0; k < item->map.len; k++)
			write_field(w, &item->map.items[k]);
		jsonw_object_end(w);
	}
	jsonw_object_end(w);
}

/* A symbolic link stays one: the file it leads to is replaced. An existing file keeps its mode. */
static int replace_file(const char *path, const struct strbuf *text, struct error *err)
{
	auto_free char *real = realpath(path, NULL);
	struct stat st;
	bool exists = real && stat(real, &st) == 0;

	return file_replace_at(AT_FDCWD, exists ? real : path, text->data, text->len, exists ? st.st_mode & 0777 : 0644,
			       err);
}

static int save(struct cli_config *c, struct error *err)
{
	auto_strbuf struct strbuf json = STRBUF_INIT;
	auto_strbuf struct strbuf yaml = STRBUF_INIT;
	auto_json struct json *doc = NULL;
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
		r = replace_file(c->path, &yaml, err);
	if (r >= 0)
		c->exists = true;
	return r;
}

/* Some network file systems cannot lock a folder: there, writers are on their own as with other clients. */
int cli_config_lock(const struct cli_config *c, int *ret_fd, struct error *err)
{
	auto_close int fd = -EBADF;
	int r = dir_make_all(AT_FDCWD, c->dir, 0750, err);

	if (r < 0)
		return r;
	fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "Open %s", c->dir);
	while (flock(fd, LOCK_EX) < 0) {
		if (errno == EBADF || errno == ENOLCK || errno == EOPNOTSUPP)
			break;
		if (errno != EINTR)
			return error_errno(err, errno, "Lock %s", c->dir);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int cli_config_change(struct cli_config *c, cli_config_change_fn fn, void *arg, struct error *err)
{
	auto_close int lock = -EBADF;
	int r;

	if (c->force_local)
		return error_set(err, 400, "With --force-local there is no configuration to change");
	r = cli_config_lock(c, &lock, err);
	if (r >= 0)
		r = load(c, err);
	if (r >= 0 && fn)
		r = fn(c, arg, err);
	return r < 0 ? r : save(c, err);
}

char *cli_config_file(const struct cli_config *c, const char *name)
{
	return path_join(c->dir, name);
}

static char *named_file(const char *dir, const char *folder, const char *remote, const char *suffix)
{
	auto_free char *name = xasprintf("%s%s", remote, suffix);

	return path_join(dir, folder, name);
}

char *cli_config_pin_path(const struct cli_config *c, const char *remote)
{
	return named_file(cli_config_is_global(c, remote) ? c->global_dir : c->dir, "servercerts", remote, ".crt");
}

char *cli_config_jar_path(const struct cli_config *c, const char *remote)
{
	return named_file(c->dir, "jars", remote, "");
}

int cli_config_set_pin(const struct cli_config *c, const char *remote, const char *pem, struct error *err)
{
	auto_free char *dir = path_join(c->dir, "servercerts");
	auto_free char *path = named_file(c->dir, "servercerts", remote, ".crt");
	int r;

	if (!pem) {
		if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
			return error_errno(err, errno, "Remove %s", path);
		return 0;
	}
	r = dir_make_all(AT_FDCWD, dir, 0750, err);
	return r < 0 ? r : file_replace_at(AT_FDCWD, path, pem, strlen(pem), 0644, err);
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
