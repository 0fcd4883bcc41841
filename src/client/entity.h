/* Commands that are the same for networks, profiles and storage pools, and the lists of these and others. */
#pragma once

#include "client/doc.h"
#include "client/table.h"

/* Opens what argument 0 names; the object's kind and URL come from the command group. */
int entity_load(struct cli *c, struct target *t, struct doc *d, struct error *err);
/* Ready to be used as command_fn of <group> get|set|unset|show|edit|rename|delete. */
int entity_get(struct cli *c, struct error *err);
int entity_set(struct cli *c, struct error *err);
int entity_unset(struct cli *c, struct error *err);
int entity_show(struct cli *c, struct error *err);
int entity_edit(struct cli *c, struct error *err);
/* These say what they have done. */
int entity_rename(struct cli *c, struct error *err);
int entity_delete(struct cli *c, struct error *err);

struct entity_list {
	const char *url;           /* answers with the objects */
	const char *const *header; /* of @columns names */
	size_t columns;
	void (*add_row)(struct table *t, const struct json *object); /* or leave it out */
	/* Make a list of an answer that is something else, owned by the caller; may be NULL. */
	int (*flatten)(const struct json *answer, struct json **ret, struct error *err);
};

/* The objects of the remote of argument 0, in the form of option --format. */
int entity_list(struct cli *c, const struct entity_list *l, struct error *err);
