/* What the service answers. It is another machine's text: bounded, and what is not known grants nothing. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "rbac/rbac.h"

#define PROJECTS_MAX 100000

void rbac_grants_done(struct rbac_grants *g)
{
	for (size_t k = 0; k < g->n; k++)
		free(g->items[k].project_id);
	free(g->items);
	*g = RBAC_GRANTS_INIT;
}

static int bad(struct error *err)
{
	return error_set(err, 502, "The RBAC service's answer makes no sense");
}

static int parse(const char *text, size_t len, struct json **ret, struct error *err)
{
	if (json_parse(text, len, ret, err) == 0)
		return 0;
	error_clear(err);
	return bad(err);
}

struct reading {
	struct rbac_grants *g;
	struct error *err;
};

static int take_project(const char *id, const struct json *list, void *arg)
{
	struct reading *r = arg;
	permission_set may = 0;

	if (json_kind(list) != JSON_ARRAY || r->g->n == PROJECTS_MAX)
		return bad(r->err);
	for (size_t k = 0; k < json_len(list); k++) {
		const char *name = json_str(json_at(list, k));

		if (!name)
			return bad(r->err);
		may |= permission_from_name(name);
	}
	if (!may)
		return 0;
	r->g->items = xreallocarray(r->g->items, r->g->n + 1, sizeof(*r->g->items));
	r->g->items[r->g->n++] = (struct rbac_grant){.project_id = xstrdup(id), .may = may};
	return 0;
}

int rbac_read_grants(const char *text, size_t len, struct rbac_grants *ret, struct error *err)
{
	auto_json struct json *j = NULL;
	struct rbac_grants g = RBAC_GRANTS_INIT;
	struct reading reading = {&g, err};
	int r = parse(text, len, &j, err);

	if (r < 0)
		return r;
	if (json_kind(j) == JSON_NULL)
		return 0;
	r = json_kind(j) == JSON_OBJECT ? json_each(j, take_project, &reading) : bad(err);
	if (r < 0) {
		rbac_grants_done(&g);
		return r;
	}
	*ret = g;
	return 0;
}

int rbac_read_admin(const char *text, size_t len, bool *ret, struct error *err)
{
	auto_json struct json *j = NULL;
	const struct json *list;
	int r = parse(text, len, &j, err);

	*ret = false;
	if (r < 0)
		return r;
	if (json_kind(j) == JSON_NULL)
		return 0;
	if (json_kind(j) != JSON_OBJECT)
		return bad(err);
	list = json_get(j, "");
	for (size_t k = 0; k < json_len(list); k++)
		*ret = *ret || (json_str(json_at(list, k)) && streq(json_str(json_at(list, k)), "admin"));
	return 0;
}
