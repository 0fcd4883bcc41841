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

/* The socket's path of a remote, or NULL for one that is on the network. */
static char *socket_of(const char *addr)
{
	const char *path = startswith(addr, "unix:");

	if (!path)
		return NULL;
	if (startswith(path, "//"))
		path += 2;
	return *path ? xstrdup(path) : api_default_socket();
}

static struct api *find_connection(struct cli *c, const char *remote)
{
	for (size_t i = 0; i < c->connection_count; i++)
		if (streq(c->connections[i].remote, remote))
			return c->connections[i].api;
	return NULL;
}

int target_connect(struct cli *c, struct target *t, struct error *err)
{
	const struct strmap *remote = mapmap_get(&c->config->remotes, t->remote);
	const char *project = option_str(c->options, "project");
	auto_free char *socket = NULL;
	int r;

	t->api = find_connection(c, t->remote);
	if (t->api)
		return 0;
	socket = socket_of(strmap_get_or(remote, "addr", "unix://"));
	if (!socket)
		return error_set(err, 501,
				 "The remote \"%s\" is on the network (%s), which this client cannot reach yet",
				 t->remote, strmap_get_or(remote, "addr", ""));
	r = api_open(socket, project ? project : strmap_get(remote, "project"), &t->api, err);
	if (r < 0)
		return r;
	t->api->debug = option_bool(c->options, "debug");
	c->connections = xreallocarray(c->connections, c->connection_count + 1, sizeof(*c->connections));
	c->connections[c->connection_count++] = (struct cli_connection){.remote = xstrdup(t->remote), .api = t->api};
	return 0;
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
