/* Public image servers of the simplestreams kind: fetched over https, shown as the API would show them. */
#pragma once

#include "client/client.h"
#include "http/simplestreams.h"

/* Fetch the index and the products of remote @remote. */
int streams_load(struct cli *c, const char *remote, struct streams_list *ret, struct error *err);
/*
 * The images as the API lists them, with the aliases that people use: of several images that share one, the newest has
 * it; "name/architecture" for every image, the plain name for those of @architecture. @os (may be NULL): names that
 * begin with "OS/" lose that.
 */
int streams_to_json(const struct streams_list *l, const char *architecture, const char *os, struct json **ret,
		    struct error *err);
/* The operating system whose name the aliases of the server at @addr leave out, or NULL. */
const char *streams_default_os(const char *addr);
/* LXD's name of this machine's architecture. */
const char *streams_local_architecture(void);
