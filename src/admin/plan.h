/* What `lxd init` is to set up, whether flags or answers said so, and how that becomes a preseed. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/strmap.h"
#include "http/client_api.h"

struct init_plan {
	char *https_address, *trust_password; /* NULL: as they are */
	bool stale_images;                    /* cached images are not updated */
	char *pool;                           /* of the default profile's root disk; NULL: no root disk */
	char *driver;                         /* of that pool, which is made; NULL: it exists */
	char *source, *size;                  /* of that pool; NULL: the driver's choice */
	char *network;                        /* a bridge that is made; NULL: none */
	struct strmap network_config;
	struct strmap nic; /* the default profile's eth0; empty: none */
};

#define INIT_PLAN_INIT ((struct init_plan){0})
#define auto_init_plan CLEANUP(init_plan_done)
void init_plan_done(struct init_plan *p);

/* Do it; @print: show the preseed first. On failure all is undone. */
int init_plan_apply(struct api *a, const struct init_plan *p, bool print, struct error *err);

/* What a server has already. */
struct init_server {
	char *pool;                /* the first storage pool; NULL: none */
	bool has_root, has_nic;    /* the default profile has a root disk, a NIC */
	bool has_networks;         /* the server can do networks at all */
	struct api_reply networks; /* .metadata: the list of them; interfaces of the host are there, too */
	struct api_reply pools;
};

#define INIT_SERVER_INIT ((struct init_server){0})
#define auto_init_server CLEANUP(init_server_done)
void init_server_done(struct init_server *s);
/* Look at all of it; @ret was empty, and is to be emptied by init_server_done() on failure, too. */
int init_server_read(struct api *a, struct init_server *ret, struct error *err);
/* The network, interface or pool of this name, or NULL. */
const struct json *init_server_network(const struct init_server *s, const char *name);
const struct json *init_server_pool(const struct init_server *s, const char *name);
