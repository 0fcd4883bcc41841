/*
 * Changes of networks: each holds the lock for changes and leaves the network either as it was or as it shall be. The
 * row's phase says what a restart must undo or finish (network.c).
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "network/network_internal.h"

static int write_phase(struct networks *all, struct db_network *row, enum db_phase phase, struct error *err)
{
	row->phase = phase;
	return store_network_update(all->store, row, err);
}

int network_remove_all(struct networks *all, const struct db_network *row, struct network *n, struct error *err)
{
	int r = network_take_down(all, row, n->dnsmasq, err);

	if (r == 0)
		r = network_remove_files(all, row->name, err);
	if (r == 0)
		r = store_network_remove(all->store, row->id, err);
	if (r == 0)
		network_drop(all, n);
	return r;
}

/* --- create --- */

static int check_new(struct networks *all, const struct network_create *spec, struct error *err)
{
	struct link_info info;
	int r;

	if (str_is_empty(spec->name))
		return error_set(err, 400, "No name provided");
	if (!str_is_empty(spec->type) && !streq(spec->type, "bridge"))
		return error_set(err, 400, "Unknown driver");
	r = link_name_check(spec->name, err);
	if (r < 0)
		return r;
	if (network_find(all, spec->name))
		return error_set(err, 400, "The network already exists");
	r = link_get(all->links, spec->name, &info, err);
	if (r > 0)
		return error_set(err, 400, "Network interface \"%s\" already exists", spec->name);
	return r;
}

static char *random_hwaddr(void)
{
	uint8_t b[3];

	random_bytes(b, sizeof(b));
	return xasprintf("00:16:3e:%02x:%02x:%02x", b[0], b[1], b[2]);
}

static int create(struct networks *all, struct db_network *row, struct error *err)
{
	auto_error struct error undo = ERROR_INIT;
	struct network *n;
	int r = store_network_add(all->store, row, err);

	if (r < 0)
		return r;
	n = network_add(all, row->name);
	r = network_bring_up(all, row, n->dnsmasq, NULL, err);
	if (r == 0)
		r = write_phase(all, row, DB_READY, err);
	if (r == 0) {
		network_set_available(all, n, true);
		return 0;
	}
	if (network_remove_all(all, row, n, &undo) < 0)
		log_error("what is left of a network goes at the next start", LOG_STR("network", row->name),
			  LOG_ERR(&undo));
	return r;
}

int network_create(struct networks *all, const struct network_create *spec, struct error *err)
{
	CLEANUP(db_network_done) struct db_network row = {.phase = DB_CREATING};
	int r;

	mutex_lock(&all->change);
	r = check_new(all, spec, err);
	if (r == 0) {
		strmap_copy(&row.config, spec->config);
		r = network_check(all, spec->name, &row.config, NULL, err);
	}
	if (r == 0) {
		row.name = xstrdup(spec->name);
		row.type = xstrdup("bridge");
		row.description = xstrdup(spec->description ? spec->description : "");
		row.hwaddr = random_hwaddr();
		r = create(all, &row, err);
	}
	mutex_unlock(&all->change);
	return r;
}

/* --- update --- */

static bool same_but_user(const struct strmap *a, const struct strmap *b)
{
	for (size_t i = 0; i < a->len; i++)
		if (!startswith(a->items[i].key, "user.") &&
		    !streq(strmap_get_or(b, a->items[i].key, ""), a->items[i].value))
			return false;
	return true;
}

static int ask_users(struct networks *all, const struct db_network *old, const struct db_network *row,
		     struct error *err)
{
	CLEANUP(network_view_done) struct network_view before = NETWORK_VIEW_INIT;
	CLEANUP(network_view_done) struct network_view after = NETWORK_VIEW_INIT;
	int r = network_view_make(old->name, &old->config, &before, err);

	if (r == 0)
		r = network_view_make(row->name, &row->config, &after, err);
	if (r == 0 && all->check)
		r = all->check(all->check_arg, &before, &after, err);
	return r;
}

/* The kernel first, then the row: who dies in between finds the old configuration, and the next start restores it. */
static int change_live(struct networks *all, struct network *n, const struct db_network *old,
		       const struct db_network *row, struct error *err)
{
	auto_error struct error undo = ERROR_INIT;
	int r = ask_users(all, old, row, err);

	if (r < 0)
		return r;
	r = network_bring_up(all, row, n->dnsmasq, &old->config, err);
	if (r == 0)
		r = store_network_update(all->store, row, err);
	if (r == 0) {
		network_set_up(all, n);
		network_tell(all, n->name, NULL);
		return 0;
	}
	if (network_bring_up(all, old, n->dnsmasq, &row->config, &undo) < 0) {
		log_error("network is not what it was before a failed change", LOG_STR("network", n->name),
			  LOG_ERR(&undo));
		network_tell(all, n->name, error_msg(&undo));
		network_set_available(all, n, false);
	}
	return r;
}

int network_update(struct networks *all, const char *name, const char *description, const struct strmap *config,
		   struct error *err)
{
	CLEANUP(db_network_done) struct db_network old = {0};
	CLEANUP(db_network_done) struct db_network row = {0};
	struct network *n;
	int r;

	mutex_lock(&all->change);
	n = network_find(all, name);
	r = store_network_dup(all->store, name, &old, err);
	if (r == 0)
		r = store_network_dup(all->store, name, &row, err);
	if (r == 0) {
		free(row.description);
		row.description = xstrdup(description ? description : "");
		strmap_copy(&row.config, config);
		r = network_check(all, name, &row.config, &old.config, err);
	}
	if (r == 0 && same_but_user(&old.config, &row.config) && same_but_user(&row.config, &old.config))
		r = store_network_update(all->store, &row, err);
	else if (r == 0)
		r = change_live(all, n, &old, &row, err);
	mutex_unlock(&all->change);
	return r;
}

/* --- rename, delete --- */

static int check_new_name(struct networks *all, const char *name, struct error *err)
{
	struct link_info info;
	int r = link_name_check(name, err);

	if (r < 0)
		return r;
	if (network_find(all, name))
		return error_set(err, 409, "Network \"%s\" already exists", name);
	r = link_get(all->links, name, &info, err);
	if (r > 0)
		return error_set(err, 409, "Network interface \"%s\" already exists", name);
	return r;
}

/* What is at the new place already stays, and is an error. */
static int rename_dir(struct networks *all, const char *from, const char *to, struct error *err)
{
	auto_free char *old = path_join(all->dir, from), *new_dir = path_join(all->dir, to);

	if (renameat2(AT_FDCWD, old, AT_FDCWD, new_dir, RENAME_NOREPLACE) < 0 && errno != ENOENT)
		return error_errno(err, errno, "Rename %s to %s", old, new_dir);
	return 0;
}

/* The same network under its new name. */
static void row_renamed(const struct db_network *row, struct db_network *ret)
{
	*ret = (struct db_network){.id = row->id,
				   .name = xstrdup(row->new_name),
				   .type = xstrdup(row->type),
				   .description = xstrdup(row->description),
				   .hwaddr = xstrdup(row->hwaddr),
				   .phase = DB_READY};
	strmap_copy(&ret->config, &row->config);
}

/* What may be there under the new name goes, and the folder comes back. */
static int take_new_down(struct networks *all, const struct db_network *row, struct error *err)
{
	CLEANUP(db_network_done) struct db_network renamed = {0};
	auto_free char *old_dir = path_join(all->dir, row->name);
	struct network *n = network_find(all, row->new_name);
	int r;

	if (!n)
		n = network_add(all, row->new_name);
	row_renamed(row, &renamed);
	r = network_take_down(all, &renamed, n->dnsmasq, err);
	network_drop(all, n);
	if (r < 0 || access(old_dir, F_OK) == 0)
		return r; /* it has not been moved */
	return rename_dir(all, row->new_name, row->name, err);
}

int network_undo_rename(struct networks *all, struct db_network *row, struct network *n, struct error *err)
{
	int r = row->new_name ? take_new_down(all, row, err) : 0;

	free(row->new_name);
	row->new_name = NULL;
	if (r == 0)
		r = write_phase(all, row, DB_READY, err);
	if (r == 0)
		r = network_bring_up(all, row, n->dnsmasq, NULL, err);
	network_set_available(all, n, r == 0);
	return r;
}

/* All is down and the folder has its new name: up again, and only then stored. */
static int finish_rename(struct networks *all, const struct db_network *row, struct error *err)
{
	CLEANUP(db_network_done) struct db_network renamed = {0};
	struct network *n = network_add(all, row->new_name);
	int r;

	row_renamed(row, &renamed);
	r = network_bring_up(all, &renamed, n->dnsmasq, NULL, err);
	if (r == 0)
		r = store_network_update(all->store, &renamed, err);
	network_set_available(all, n, r == 0);
	return r;
}

static int rename_network(struct networks *all, struct db_network *row, const char *new_name, struct error *err)
{
	auto_error struct error undo = ERROR_INIT;
	struct network *n = network_find(all, row->name);
	int r;

	row->new_name = xstrdup(new_name);
	r = write_phase(all, row, DB_RENAMING, err);
	if (r == 0)
		r = network_take_down(all, row, n->dnsmasq, err);
	if (r == 0)
		r = rename_dir(all, row->name, new_name, err);
	if (r == 0)
		r = finish_rename(all, row, err);
	if (r == 0) {
		network_drop(all, n);
		return 0;
	}
	if (network_undo_rename(all, row, n, &undo) < 0)
		log_error("network is not what it was before a failed rename", LOG_STR("network", row->name),
			  LOG_ERR(&undo));
	return r;
}

int network_rename(struct networks *all, const char *name, const char *new_name, struct error *err)
{
	CLEANUP(db_network_done) struct db_network row = {0};
	int r;

	mutex_lock(&all->change);
	r = store_network_dup(all->store, name, &row, err);
	if (r == 0)
		r = check_new_name(all, new_name, err);
	if (r == 0)
		r = rename_network(all, &row, new_name, err);
	mutex_unlock(&all->change);
	return r;
}

static int delete_network(struct networks *all, struct db_network *row, struct error *err)
{
	auto_error struct error undo = ERROR_INIT;
	struct network *n = network_find(all, row->name);
	int r = write_phase(all, row, DB_DELETING, err);

	if (r == 0)
		r = network_remove_all(all, row, n, err);
	if (r == 0) {
		network_tell(all, row->name, NULL);
		return 0;
	}
	if (write_phase(all, row, DB_READY, &undo) < 0 ||
	    network_bring_up(all, row, n->dnsmasq, &row->config, &undo) < 0) {
		log_error("network is not what it was before a failed delete", LOG_STR("network", row->name),
			  LOG_ERR(&undo));
		network_set_available(all, n, false);
	}
	return r;
}

int network_delete(struct networks *all, const char *name, struct error *err)
{
	CLEANUP(db_network_done) struct db_network row = {0};
	int r;

	mutex_lock(&all->change);
	r = store_network_dup(all->store, name, &row, err);
	if (r == 0)
		r = delete_network(all, &row, err);
	mutex_unlock(&all->change);
	return r;
}
