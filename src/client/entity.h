/* Commands that are the same for networks, profiles and storage pools: of one object each. */
#pragma once

#include "client/doc.h"

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
