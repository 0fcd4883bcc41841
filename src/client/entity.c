/* get, set, unset, show, edit and delete for the groups in the table. */
#include "client/entity.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

static const struct entity {
	const char *path; /* of the command group */
	const char *url;
	const struct doc_kind *kind;
	const char *title; /* in messages */
} entities[] = {
	{"lxc profile ", "/1.0/profiles/%s", &doc_profile, "Profile"},
	{"lxc storage ", "/1.0/storage-pools/%s", &doc_storage_pool, "Storage pool"},
};

static const struct entity *entity_of(const struct cli *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(entities); i++)
		if (startswith(c->path, entities[i].path))
			return &entities[i];
	return &entities[0];
}

static char *entity_url(const struct entity *e, const char *name)
{
	auto_free char *escaped = url_escaped(name);

	return xasprintf("%.*s%s", (int)(strlen(e->url) - 2), e->url, escaped);
}

int entity_load(struct cli *c, struct target *t, struct doc *d, struct error *err)
{
	const struct entity *e = entity_of(c);
	auto_free char *url = NULL;
	int r;

	r = target_open_named(c, cli_arg(c, 0), e->kind->noun, t, err);
	if (r < 0)
		return r;
	url = entity_url(e, t->name);
	return doc_load(t->api, url, e->kind, d, err);
}

int entity_get(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = entity_load(c, &t, &d, err);

	if (r < 0)
		return r;
	cli_print_safe(strmap_get_or(&d.config, cli_arg(c, 1), ""));
	putchar('\n');
	return 0;
}

int entity_set(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	auto_strmap struct strmap values = STRMAP_INIT;
	int r;

	r = args_to_map(c, 1, true, &values, err);
	if (r >= 0)
		r = entity_load(c, &t, &d, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < values.len; i++)
		doc_set_config(&d, values.items[i].key, *values.items[i].value ? values.items[i].value : NULL);
	return doc_save(c, &d, err);
}

int entity_unset(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = entity_load(c, &t, &d, err);

	if (r < 0)
		return r;
	if (!strmap_get(&d.config, cli_arg(c, 1)))
		return error_set(err, 404, "Can't unset key '%s', it's not currently set", cli_arg(c, 1));
	doc_set_config(&d, cli_arg(c, 1), NULL);
	return doc_save(c, &d, err);
}

int entity_show(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = entity_load(c, &t, &d, err);

	return r < 0 ? r : cli_print_yaml(d.object, 0, err);
}

int entity_edit(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = entity_load(c, &t, &d, err);

	return r < 0 ? r : doc_edit(c, &d, NULL, err);
}

int entity_delete(struct cli *c, struct error *err)
{
	const struct entity *e = entity_of(c);
	auto_target struct target t = TARGET_INIT;
	auto_free char *url = NULL;
	int r;

	r = target_open_named(c, cli_arg(c, 0), e->kind->noun, &t, err);
	if (r < 0)
		return r;
	url = entity_url(e, t.name);
	r = cli_do(c, t.api, "DELETE", url, NULL, NULL, err);
	if (r >= 0 && !cli_quiet(c))
		printf("%s %s deleted\n", e->title, t.name);
	return r;
}
