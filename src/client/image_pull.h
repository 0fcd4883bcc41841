/* An image of one server wanted by another: what the other must be told to fetch it. */
#pragma once

#include "base/jsonw.h"
#include "base/strv.h"
#include "client/client.h"

struct image_pull {
	char *fingerprint; /* NULL: the alias says it */
	char *alias;       /* NULL: the fingerprint says it */
	char *protocol;    /* "lxd", "simplestreams"; NULL: the image is on the same server */
	char *certificate; /* of the source, PEM; NULL: none is pinned */
	char *secret;      /* of a private image; NULL: none is needed */
	char *project;     /* of the source; NULL: the default one */
	bool is_public;
	struct strv servers; /* URLs to try in this order; empty for the same server */
};

#define IMAGE_PULL_INIT ((struct image_pull){0})
#define auto_image_pull CLEANUP(image_pull_done)
void image_pull_done(struct image_pull *p);

/*
 * Prepare for the image @from (parsed) names, to be fetched by @dest (connected). A private image on another server
 * gets a secret there, made now.
 */
int image_pull_prepare(struct cli *c, struct target *from, const struct target *dest, struct image_pull *ret,
		       struct error *err);
/*
 * Where @t, to which @api leads, can be reached by other servers, in ret->servers, and its pinned certificate. 400 when
 * it does not listen on the network.
 */
int image_pull_servers(struct cli *c, const struct target *t, struct api *api, struct image_pull *ret,
		       struct error *err);
/* The members of a "source" object that say it; @server is one of ret->servers, or NULL. */
void image_pull_write(const struct image_pull *p, const char *server, struct jsonw *w);
