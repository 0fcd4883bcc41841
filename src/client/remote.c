/*
 * Names and connections. "[remote:]name" is split at the first colon; the text before it must be a known remote,
 * unless it holds a "/": then the whole is a name on the default remote (an image alias such as a/b:c).
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/client.h"
#include "client/private.h"
#include "client/remote.h"

void target_done(struct target *t)
{
	free(t->remote);
	free(t->name);
	*t = TARGET_INIT;
}

int target_parse(struct cli *c, const char *text, struct target *ret, struct error *err)
{
	const char *colon = text ? strchr(text, ':') : NULL;

	if (!colon || memchr(text, '/', (size_t)(colon - text))) {
		ret->remote = xstrdup(cli_config_default_remote(c->config));
		ret->name = xstrdup(text ? text : "");
	} else {
		ret->remote = xstrndup(text, (size_t)(colon - text));
		ret->name = xstrdup(colon + 1);
	}
	if (!mapmap_get(&c->config->remotes, ret->remote))
		return error_set(err, 404, "The remote \"%s\" doesn't exist", ret->remote);
	return 0;
}

static struct cli_connection *find_connection(struct cli *c, const char *remote)
{
	for (size_t i = 0; i < c->connection_count; i++)
		if (streq(c->connections[i].remote, remote))
			return &c->connections[i];
	return NULL;
}

/* @api and @login are the context's from now on. */
static struct api *keep_connection(struct cli *c, const char *remote, struct api *api, struct candid *login)
{
	api->debug = option_bool(c->options, "debug") ? cli_debug : NULL;
	c->connections = xreallocarray(c->connections, c->connection_count + 1, sizeof(*c->connections));
	c->connections[c->connection_count++] = (struct cli_connection){
		.remote = xstrdup(remote), .api = api, .login = login};
	return api;
}

static int open_login(const struct cli *c, const char *remote, const struct dial_target *how, struct candid **ret,
		      struct error *err)
{
	const struct strmap *fields = mapmap_get(&c->config->remotes, remote);
	auto_free char *jar = cli_config_jar_path(c->config, remote);

	if (!remote_uses_candid(fields))
		return 0;
	return candid_open(how->host, how->port, jar, strmap_get(fields, "domain"), ret, err);
}

static int open_network(struct cli *c, const char *remote, const char *project, struct api **ret,
			struct candid **ret_login, struct error *err)
{
	auto_dial_target struct dial_target how = DIAL_TARGET_INIT;
	int r = remote_reach(c->config, remote, &how, NULL, err);

	if (r >= 0)
		r = open_login(c, remote, &how, ret_login, err);
	if (r < 0)
		return r;
	*ret = api_open_remote(&how, project);
	if (*ret_login)
		http_client_set_login((*ret)->http, candid_login(*ret_login));
	return 0;
}

static int open_api(struct cli *c, const char *remote, struct api **ret, struct candid **ret_login, struct error *err)
{
	const struct strmap *fields = mapmap_get(&c->config->remotes, remote);
	const char *project = option_str(c->options, "project");
	const char *path = startswith(strmap_get_or(fields, "addr", "unix://"), "unix:");
	auto_free char *socket = NULL;

	if (!project)
		project = strmap_get(fields, "project");
	if (!path)
		return open_network(c, remote, project, ret, ret_login, err);
	if (startswith(path, "//"))
		path += 2;
	socket = *path ? xstrdup(path) : api_default_socket();
	return api_open(socket, project, ret, err);
}

int remote_open(struct cli *c, const char *remote, struct api **ret, struct error *err)
{
	struct cli_connection *known = find_connection(c, remote);
	struct candid *login = NULL;
	struct api *api = NULL;
	int r;

	if (known) {
		*ret = known->api;
		return 0;
	}
	r = open_api(c, remote, &api, &login, err);
	if (r >= 0)
		*ret = keep_connection(c, remote, api, login);
	return r;
}

int target_connect(struct cli *c, struct target *t, struct error *err)
{
	const struct strmap *remote = mapmap_get(&c->config->remotes, t->remote);

	if (strmap_get_bool(remote, "public", false) ||
	    streq(strmap_get_or(remote, "protocol", "lxd"), "simplestreams"))
		return error_set(err, 400, "The remote isn't a private LXD server");
	return remote_open(c, t->remote, &t->api, err);
}

int target_open(struct cli *c, const char *text, struct target *ret, struct error *err)
{
	int r = target_parse(c, text, ret, err);

	return r < 0 ? r : target_connect(c, ret, err);
}

int target_open_named(struct cli *c, const char *text, const char *kind, struct target *ret, struct error *err)
{
	int r = target_parse(c, text, ret, err);

	if (r < 0)
		return r;
	if (!*ret->name)
		return error_set(err, 400, "Missing %s name", kind);
	return target_connect(c, ret, err);
}
