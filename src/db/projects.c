/* In which project the objects are that a request to a project is about. */
#include <stdarg.h>

#include "base/str.h"
#include "base/strbuf.h"
#include "db/store.h"

static const char *const keys[PROJECT_FEATURE_MAX] = {
	[PROJECT_IMAGES] = "features.images",
	[PROJECT_PROFILES] = "features.profiles",
	[PROJECT_VOLUMES] = "features.storage.volumes",
	[PROJECT_NETWORKS] = "features.networks",
};

const char *project_feature_key(enum project_feature f)
{
	return keys[f];
}

const char *store_effective_project_locked(struct store *s, const char *project, enum project_feature f)
{
	const struct db_project *p = store_project_locked(s, project);

	if (f == PROJECT_ITSELF || !p)
		return project;
	return strmap_get_bool(&p->config, keys[f], false) ? project : "default";
}

const char *store_effective_project(struct store *s, const char *project, enum project_feature f)
{
	const char *ret;

	mutex_lock(&s->lock);
	ret = store_effective_project_locked(s, project, f);
	mutex_unlock(&s->lock);
	return ret;
}

char *project_url(const char *project, const char *fmt, ...)
{
	struct strbuf b = STRBUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	strbuf_vappendf(&b, fmt, ap);
	va_end(ap);
	if (!streq(project, "default"))
		strbuf_appendf(&b, "?project=%s", project);
	return strbuf_take(&b);
}

bool store_has_project(struct store *s, const char *name)
{
	bool ret;

	mutex_lock(&s->lock);
	ret = store_project_locked(s, name) != NULL;
	mutex_unlock(&s->lock);
	return ret;
}

void store_project_names(struct store *s, struct strv *ret)
{
	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_projects; k++)
		strv_add(ret, s->projects[k]->name);
	mutex_unlock(&s->lock);
	strv_sort(ret);
}
