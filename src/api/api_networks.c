/* /1.0/networks: managed bridges, and what other interfaces the host has */
#include <string.h>

#include "api/api.h"
#include "api/network_leases.h"
#include "base/alloc.h"
#include "base/str.h"
#include "config/restrictions.h"

struct network_body {
	char *name;
	char *type;
	char *description;
	struct strmap config;
};

static const struct json_field network_fields[] = {
	JSON_FIELD(JSON_FIELD_STRING, struct network_body, name, "name", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct network_body, type, "type", 0),
	JSON_FIELD(JSON_FIELD_STRING, struct network_body, description, "description", 0),
	JSON_FIELD(JSON_FIELD_STRMAP, struct network_body, config, "config", 0),
	JSON_FIELD_END,
};

enum { GIVEN_NAME, GIVEN_TYPE, GIVEN_DESCRIPTION, GIVEN_CONFIG };

static void body_done(struct network_body *b)
{
	json_decode_done(network_fields, b);
}

/* Host ends of instances' NICs are nobody's network. */
static bool is_hidden(const char *interface)
{
	return startswith(interface, "veth");
}

/* --- looking --- */

/* Profiles, then instances. */
static int network_users(struct api_call *c, const char *network, struct strv *urls, struct error *err)
{
	struct store *s = c->api->store;

	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_profiles; k++)
		if (devices_use_network(&s->profiles[k]->devices, network))
			api_add_url(urls, s->profiles[k]->project, "profiles", s->profiles[k]->name);
	mutex_unlock(&s->lock);
	return instances_using_network(c->api->instances, network, urls, err);
}

/* One network as the API shows it: a managed one, or an interface of the host. */
struct shown {
	bool managed;
	struct db_network row; /* of an interface: name, type and empty texts */
};

static void shown_done(struct shown *n)
{
	db_network_done(&n->row);
}

static int show_interface(struct api_call *c, const char *name, struct shown *ret, struct error *err)
{
	struct link_info info;
	int r = is_hidden(name) ? 0 : link_get(networks_links(c->api->networks), name, &info, err);

	if (r == 0)
		return error_set(err, 404, "Network not found");
	if (r < 0)
		return r;
	*ret = (struct shown){.row = {.name = xstrdup(name),
				      .type = xstrdup(network_type_of_link(&info)),
				      .description = xstrdup("")}};
	return 0;
}

/* The configuration of the project that asks; one that is gone meanwhile restricts nothing and has nothing. */
static void project_config(struct api_call *c, struct strmap *ret)
{
	CLEANUP(db_project_done) struct db_project p = {0};
	auto_error struct error gone = ERROR_INIT;

	if (store_project_dup(c->api->store, c->project, &p, &gone) == 0)
		strmap_copy(ret, &p.config);
	else
		error_ignore(&gone, "nothing is found in it");
}

/*
 * May the project have to do with the network? All that this server can make, and the host's interfaces, are the
 * default project's; a restricted project sees what its instances may use.
 */
static bool is_visible(struct api_call *c, const struct strmap *project, const char *name)
{
	bool managed;

	mutex_lock(&c->api->store->lock);
	managed = store_network_locked(c->api->store, name) != NULL;
	mutex_unlock(&c->api->store->lock);
	return streq(c->home, "default") && restrictions_allow_network(project, name, managed);
}

static int check_visible(struct api_call *c, const char *name, struct error *err)
{
	auto_strmap struct strmap project = STRMAP_INIT;

	project_config(c, &project);
	return is_visible(c, &project, name) ? 0 : error_set(err, 404, "Network not found");
}

/* Networks are shared: from a restricted project only administrators of the server change them. */
static int check_may_change(struct api_call *c, struct error *err)
{
	auto_strmap struct strmap project = STRMAP_INIT;

	project_config(c, &project);
	if (identity_is_admin(&c->id) || !restrictions_apply(&project))
		return 0;
	return error_set(err, 403, "Networks cannot be changed from the restricted project \"%s\"", c->project);
}

static int show(struct api_call *c, const char *name, struct shown *ret, struct error *err)
{
	auto_error struct error absent = ERROR_INIT;

	if (check_visible(c, name, err) < 0)
		return -err->errnum;
	if (store_network_dup(c->api->store, name, &ret->row, &absent) < 0) {
		error_ignore(&absent, "it may be an interface of the host");
		return show_interface(c, name, ret, err);
	}
	ret->managed = true;
	return 0;
}

static int write_network(struct api_call *c, const struct shown *n, struct jsonw *w, struct error *err)
{
	auto_strv struct strv users = STRV_INIT;
	int r = network_users(c, n->row.name, &users, err);

	if (r < 0)
		return r;
	api_drop_unseen(c, &users);
	jsonw_object_begin(w);
	jsonw_kv_strmap(w, "config", identity_is_admin(&c->id) ? &n->row.config : &STRMAP_INIT);
	jsonw_kv_str(w, "description", n->row.description);
	jsonw_kv_str(w, "name", n->row.name);
	jsonw_kv_str(w, "type", n->row.type);
	jsonw_kv_strv(w, "used_by", &users);
	jsonw_kv_bool(w, "managed", n->managed);
	jsonw_kv_str(w, "status", n->managed ? networks_status(c->api->networks, n->row.name) : "");
	jsonw_kv_raw(w, "locations", n->managed ? "[\"none\"]" : "null");
	jsonw_object_end(w);
	return 0;
}

static void network_etag(const struct shown *n, char etag[65])
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	jsonw_str(&w, n->row.name);
	jsonw_bool(&w, n->managed);
	jsonw_str(&w, n->row.type);
	jsonw_str(&w, n->row.description);
	jsonw_strmap(&w, &n->row.config);
	jsonw_array_end(&w);
	strbuf_append_char(&b, '\n');
	api_etag(b.data, b.len, etag);
}

static int network_names(struct api_call *c, struct strv *names, struct error *err)
{
	auto_free struct link_info *links = NULL;
	struct store *s = c->api->store;
	size_t n = 0;
	int r = !streq(c->home, "default") ? 0 : link_list(networks_links(c->api->networks), &links, &n, err);

	mutex_lock(&s->lock);
	for (size_t k = 0; k < s->n_networks && streq(c->home, "default"); k++)
		strv_add(names, s->networks[k]->name);
	mutex_unlock(&s->lock);
	for (size_t k = 0; k < n; k++)
		if (!is_hidden(links[k].name) && !strv_contains(names, links[k].name))
			strv_add(names, links[k].name);
	strv_sort(names);
	return r;
}

static int list_networks(struct api_call *c, struct error *err)
{
	auto_strv struct strv names = STRV_INIT;
	auto_strmap struct strmap project = STRMAP_INIT;
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	int r = network_names(c, &names, err);

	if (r < 0)
		return r;
	project_config(c, &project);
	jsonw_array_begin(&w);
	for (size_t k = 0; k < names.len; k++) {
		auto_free char *url = project_url(c->project, "/1.0/networks/%s", names.items[k]);
		CLEANUP(shown_done) struct shown n = {0};
		auto_error struct error gone = ERROR_INIT;

		if (!is_visible(c, &project, names.items[k]))
			continue;
		if (!api_recursion(c))
			jsonw_str(&w, url);
		else if (show(c, names.items[k], &n, &gone) < 0 || write_network(c, &n, &w, &gone) < 0)
			error_ignore(&gone, "deleted this moment: not in the list");
	}
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

static int get_network(struct api_call *c, struct error *err)
{
	CLEANUP(shown_done) struct shown n = {0};
	struct strbuf b = STRBUF_INIT;
	char etag[65];
	int r = show(c, c->params[0], &n, err);

	if (r == 0)
		r = write_network(c, &n, &JSONW(&b), err);
	if (r < 0)
		return r;
	network_etag(&n, etag);
	api_sync_etag(c, &b, etag);
	return 0;
}

static int get_state(struct api_call *c, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	int r = check_visible(c, c->params[0], err);

	if (r == 0)
		r = network_render_state(c->api->networks, c->params[0], &JSONW(&b), err);

	if (r < 0)
		return r;
	api_sync(c, &b);
	b = STRBUF_INIT;
	return 0;
}

static int get_leases(struct api_call *c, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	int r = check_visible(c, c->params[0], err);

	if (r == 0)
		r = network_leases_write(c, c->params[0], &JSONW(&b), err);

	if (r < 0)
		return r;
	api_sync(c, &b);
	b = STRBUF_INIT;
	return 0;
}

/* --- changing --- */

static int load(struct api_call *c, struct shown *ret, struct error *err)
{
	ret->managed = true;
	if (check_visible(c, c->params[0], err) < 0 ||
	    store_network_dup(c->api->store, c->params[0], &ret->row, err) < 0)
		return error_wrap(err, "Failed loading network");
	return 0;
}

/* What reaches the host itself: dnsmasq starts programs as root when its configuration says so. */
static const char *const admin_keys[] = {"bridge.external_interfaces", "raw.dnsmasq"};

/* For others these keys stay as they were, named or not: 403 when @config would change one. @before may be NULL. */
static int hold_admin_keys(struct api_call *c, const struct strmap *before, struct strmap *config, struct error *err)
{
	for (size_t k = 0; k < ARRAY_SIZE(admin_keys) && !identity_is_admin(&c->id); k++) {
		const char *key = admin_keys[k];
		const char *was = before ? strmap_get_or(before, key, "") : "";
		const char *now = strmap_get(config, key);

		if (now && !streq(now, was))
			return error_set(err, 403, "Only administrators of the server may change \"%s\"", key);
		strmap_set(config, key, *was ? was : NULL);
	}
	return 0;
}

static int post_network(struct api_call *c, struct error *err)
{
	CLEANUP(body_done) struct network_body body = {0};
	auto_free char *url = NULL;
	int r = api_decode(c, network_fields, &body, NULL, err);

	if (r == 0)
		r = check_may_change(c, err);
	if (r == 0 && !streq(c->home, "default"))
		r = error_set(err, 400, "Network type does not support non-default projects");
	if (r == 0)
		r = hold_admin_keys(c, NULL, &body.config, err);
	if (r == 0)
		r = network_create(c->api->networks,
				   &(struct network_create){.name = body.name ? body.name : "",
							    .type = body.type ? body.type : "",
							    .description = body.description,
							    .config = &body.config},
				   err);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/networks/%s", body.name);
	api_lifecycle(c, "network-created", url);
	api_created(c, url);
	return 0;
}

/* The references are held: no NIC comes to the network between the check of those it has and the change. */
static int change_held(struct api_call *c, bool replace, struct error *err)
{
	CLEANUP(body_done) struct network_body body = {0};
	CLEANUP(shown_done) struct shown n = {0};
	auto_strmap struct strmap config = STRMAP_INIT;
	const char *description;
	uint64_t given = 0;
	char etag[65];
	int r = load(c, &n, err);

	if (r == 0)
		r = check_may_change(c, err);
	if (r == 0) {
		network_etag(&n, etag);
		r = api_check_etag(c, etag, err);
	}
	if (r == 0)
		r = api_decode(c, network_fields, &body, &given, err);
	if (r < 0)
		return r;
	if (!replace)
		strmap_copy(&config, &n.row.config);
	strmap_merge(&config, &body.config);
	r = hold_admin_keys(c, &n.row.config, &config, err);
	if (r < 0)
		return r;
	description = replace || (given & (1u << GIVEN_DESCRIPTION)) ? body.description : n.row.description;
	return network_update(c->api->networks, n.row.name, description ? description : "", &config, err);
}

static int change(struct api_call *c, bool replace, struct error *err)
{
	auto_free char *url = xasprintf("/1.0/networks/%s", c->params[0]);
	int r;

	instances_hold_references(c->api->instances);
	r = change_held(c, replace, err);
	instances_release_references(c->api->instances);
	if (r < 0)
		return r;
	api_lifecycle(c, "network-updated", url);
	api_empty(c);
	return 0;
}

static int put_network(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ true, err);
}

static int patch_network(struct api_call *c, struct error *err)
{
	return change(c, /* replace= */ false, err);
}

/* Call @fn with the references held, unless somebody uses the network: then 400 with @refusal. */
static int when_unused(struct api_call *c, const char *refusal,
		       int (*fn)(struct api_call *c, const char *arg, struct error *err), const char *arg,
		       struct error *err)
{
	CLEANUP(shown_done) struct shown n = {0};
	auto_strv struct strv users = STRV_INIT;
	int r;

	instances_hold_references(c->api->instances);
	r = load(c, &n, err);
	if (r == 0)
		r = check_may_change(c, err);
	if (r == 0)
		r = network_users(c, n.row.name, &users, err);
	if (r == 0 && users.len)
		r = error_set(err, 400, "%s", refusal);
	if (r == 0)
		r = fn(c, arg, err);
	instances_release_references(c->api->instances);
	return r;
}

static int do_rename(struct api_call *c, const char *new_name, struct error *err)
{
	return network_rename(c->api->networks, c->params[0], new_name, err);
}

static int rename_network(struct api_call *c, struct error *err)
{
	CLEANUP(body_done) struct network_body body = {0};
	auto_strmap struct strmap context = STRMAP_INIT;
	auto_free char *url = NULL;
	int r = api_decode(c, network_fields, &body, NULL, err);

	if (r == 0 && str_is_empty(body.name))
		r = error_set(err, 400, "New network name not provided");
	if (r == 0)
		r = when_unused(c, "Network is currently in use", do_rename, body.name, err);
	if (r < 0)
		return r;
	url = xasprintf("/1.0/networks/%s", body.name);
	strmap_set(&context, "old_name", c->params[0]);
	api_lifecycle_context(c, "network-renamed", url, &context);
	api_created(c, url);
	return 0;
}

static int do_delete(struct api_call *c, const char *arg UNUSED, struct error *err)
{
	return network_delete(c->api->networks, c->params[0], err);
}

static int delete_network(struct api_call *c, struct error *err)
{
	auto_free char *url = xasprintf("/1.0/networks/%s", c->params[0]);
	int r = when_unused(c, "The network is currently in use", do_delete, NULL, err);

	if (r < 0)
		return r;
	api_lifecycle(c, "network-deleted", url);
	api_empty(c);
	return 0;
}

const struct api_route api_network_routes[] = {
	{.path = "/1.0/networks",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .feature = PROJECT_NETWORKS,
	 .handler = list_networks,
	 .doc = "Networks, and the host's other interfaces"},
	{.path = "/1.0/networks",
	 .method = HTTP_POST,
	 .perm = PERM_NETWORK_EDIT,
	 .feature = PROJECT_NETWORKS,
	 .handler = post_network,
	 .body = network_fields,
	 .doc = "Create a network"},
	{.path = "/1.0/networks/{name}",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .feature = PROJECT_NETWORKS,
	 .handler = get_network,
	 .doc = "One network or interface"},
	{.path = "/1.0/networks/{name}",
	 .method = HTTP_PUT,
	 .perm = PERM_NETWORK_EDIT,
	 .feature = PROJECT_NETWORKS,
	 .handler = put_network,
	 .body = network_fields,
	 .doc = "Replace a network's configuration"},
	{.path = "/1.0/networks/{name}",
	 .method = HTTP_PATCH,
	 .perm = PERM_NETWORK_EDIT,
	 .feature = PROJECT_NETWORKS,
	 .handler = patch_network,
	 .body = network_fields,
	 .doc = "Change a network's configuration"},
	{.path = "/1.0/networks/{name}",
	 .method = HTTP_POST,
	 .perm = PERM_NETWORK_EDIT,
	 .feature = PROJECT_NETWORKS,
	 .handler = rename_network,
	 .body = network_fields,
	 .doc = "Rename an unused network"},
	{.path = "/1.0/networks/{name}",
	 .method = HTTP_DELETE,
	 .perm = PERM_NETWORK_EDIT,
	 .feature = PROJECT_NETWORKS,
	 .handler = delete_network,
	 .doc = "Delete an unused network"},
	{.path = "/1.0/networks/{name}/state",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .feature = PROJECT_NETWORKS,
	 .handler = get_state,
	 .doc = "Addresses and counters of an interface"},
	{.path = "/1.0/networks/{name}/leases",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .feature = PROJECT_NETWORKS,
	 .handler = get_leases,
	 .doc = "Addresses that a network has given away"},
	{0},
};
