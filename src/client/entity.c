/* get, set, unset, show, edit, rename and delete for the groups in the table; lists of these and others. */
#include "client/entity.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"

static const struct entity {
	const char *path; /* of the command group */
	const char *url;
	const struct doc_kind *kind;
	const char *title;     /* in messages */
	bool blank_for_unset;  /* get prints an empty line for a key that is not set, else nothing */
	bool may_be_unmanaged; /* some exist without being the server's, and cannot be changed */
} entities[] = {
	{"lxc network ", "/1.0/networks/%s", &doc_network, "Network", .may_be_unmanaged = true},
	{"lxc profile ", "/1.0/profiles/%s", &doc_profile, "Profile", .blank_for_unset = true},
	{"lxc project ", "/1.0/projects/%s", &doc_project, "Project", .blank_for_unset = true},
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

/* To change it. */
static int load_to_change(struct cli *c, struct target *t, struct doc *d, struct error *err)
{
	int r = entity_load(c, t, d, err);

	if (r >= 0 && entity_of(c)->may_be_unmanaged && !json_is_true(json_get(d->object, "managed")))
		return error_set(err, 400, "Only managed %ss can be modified", d->kind->noun);
	return r;
}

int entity_get(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	const char *value;
	int r = entity_load(c, &t, &d, err);

	if (r < 0)
		return r;
	value = strmap_get(&d.config, cli_arg(c, 1));
	if (!value && !entity_of(c)->blank_for_unset)
		return 0;
	cli_print_safe(value ? value : "");
	putchar('\n');
	return 0;
}

/* Empty values go to the server, which removes those keys and refuses unknown ones. */
static int set_keys(struct cli *c, const struct strmap *values, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = load_to_change(c, &t, &d, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < values->len; i++)
		doc_set_config(&d, values->items[i].key, values->items[i].value);
	return doc_save(c, &d, err);
}

int entity_set(struct cli *c, struct error *err)
{
	auto_strmap struct strmap values = STRMAP_INIT;
	int r = args_to_map(c, 1, true, &values, err);

	return r < 0 ? r : set_keys(c, &values, err);
}

int entity_unset(struct cli *c, struct error *err)
{
	auto_strmap struct strmap values = STRMAP_INIT;

	strmap_set(&values, cli_arg(c, 1), "");
	return set_keys(c, &values, err);
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
	int r = load_to_change(c, &t, &d, err);

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

int entity_rename(struct cli *c, struct error *err)
{
	const struct entity *e = entity_of(c);
	auto_target struct target t = TARGET_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	auto_free char *url = NULL;
	int r;

	r = target_open_named(c, cli_arg(c, 0), e->kind->noun, &t, err);
	if (r < 0)
		return r;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", cli_arg(c, 1));
	jsonw_object_end(&w);
	url = entity_url(e, t.name);
	r = cli_do(c, t.api, "POST", url, strbuf_str(&b), NULL, err);
	if (r >= 0 && !cli_quiet(c))
		printf("%s %s renamed to %s\n", e->title, t.name, cli_arg(c, 1));
	return r;
}

int entity_list(struct cli *c, const struct entity_list *l, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_table struct table table = TABLE_INIT;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_json struct json *made = NULL;
	const struct json *list;
	enum table_format format;
	int r = table_format_parse(option_str(c->options, "format"), &format, err);

	if (r >= 0)
		r = target_open(c, cli_arg(c, 0), &t, err);
	if (r >= 0)
		r = api_get(t.api, l->url, &reply, err);
	if (r >= 0 && l->flatten)
		r = l->flatten(reply.metadata, &made, err);
	if (r < 0)
		return r;
	list = l->flatten ? made : reply.metadata;
	table_set_header(&table, l->header, l->columns);
	for (size_t i = 0; i < json_len(list); i++)
		l->add_row(&table, json_at(list, i));
	table_sort(&table);
	return table_print(&table, format, list, err);
}
