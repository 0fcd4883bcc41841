/* Instances between two servers: `lxc copy` and `lxc move` by pull, push and relay. */
#pragma once

#include "base/json.h"
#include "base/jsonw.h"
#include "client/client.h"

struct migration {
	struct cli *c;
	const struct target *source, *dest;
	const char *mode; /* pull, push, relay */
	bool live;        /* the source runs, and its state is wanted too */
	bool instance_only;
	/* Append the members of the request that makes the new instance, but for its source. */
	int (*body)(void *arg, struct jsonw *w, struct error *err);
	void *body_arg;
};

/*
 * Carry it out. *@ret_op is the final operation that tells the new name. Errors: as the Go client words them; each
 * address of the server that is connected to is tried in turn.
 */
int migration_run(const struct migration *m, struct json **ret_op, struct error *err);

/* relay.c: carry messages between two servers' operations until both have said goodbye; see there. */
struct relay;
/* Connect control and fs of both sides, by their secrets, and start. @path_a, @path_b: of the operations. */
int relay_start(struct api *a, const char *path_a, const struct json *secrets_a, struct api *b, const char *path_b,
		const struct json *secrets_b, struct relay **ret, struct error *err);
/* Let what is under way arrive, and end; NULL is fine. */
void relay_stop(struct relay *r);
