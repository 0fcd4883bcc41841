/* Changes to a running container: limits through its cgroups, devices by mounting and unmounting in its namespaces. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "config/expand.h"
#include "device/device.h"
#include "instance/nics.h"
#include "instance/project_check.h"

/* The running container that a change goes to. */
struct live {
	struct instance *i;
	char *name;
	char *devices; /* folder of its nodes */
	int pidfd;
	struct idmap map;
	bool privileged;
};

static void live_done(struct live *l)
{
	free(l->name);
	free(l->devices);
	fd_close(l->pidfd);
	idmap_done(&l->map);
}

static int live_init(struct live *l, struct error *err)
{
	struct instance *i = l->i;
	const char *text;
	int r = 0;

	l->name = instance_lxc_name(i);
	l->devices = path_join(i->all->devices_dir, l->name);
	mutex_lock(&i->all->lock);
	l->pidfd = i->proc.init_pidfd >= 0 ? fcntl(i->proc.init_pidfd, F_DUPFD_CLOEXEC, 3) : -EBADF;
	text = strmap_get(&i->row.volatile_, "volatile.idmap.current");
	if (text)
		r = idmap_from_json(text, &l->map, err);
	mutex_unlock(&i->all->lock);
	l->privileged = l->map.len == 0;
	if (r == 0 && l->pidfd < 0)
		r = error_set(err, 400, "Instance is not running");
	return r;
}

static int apply_limits(struct live *l, const struct strmap *before, const struct strmap *after, struct error *err)
{
	auto_lxcconf struct lxcconf changes = LXCCONF_INIT;
	int r = lxcconf_limit_changes(before, after, &l->i->all->lxc_host, &changes, err);

	for (size_t k = 0; r == 0 && k < changes.len; k++) {
		const struct lxcconf_item *c = &changes.items[k];

		r = container_cgroup_set(l->i->all->host, l->name, c->key, c->value, err);
		if (r < 0)
			error_wrap(err, "Apply limit %s", c->key);
	}
	return r;
}

static int add_mount(struct live *l, const struct device_mount *m, struct error *err)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = m->nofollow ? RESOLVE_NO_SYMLINKS : 0};
	auto_close int source = (int)syscall(SYS_openat2, AT_FDCWD, m->source, &how, sizeof(how));
	struct container_mount_spec spec = {
		.init_pidfd = l->pidfd,
		.source_fd = source,
		.target = m->target,
		.readonly = m->readonly,
		.recursive = m->recursive,
		.shift = m->shift,
		.propagation = m->propagation,
	};
	bool created;

	if (source < 0 && errno == ELOOP && m->nofollow)
		return error_set(err, 400, "Mount %s: symbolic links are not followed in restricted projects",
				 m->source);
	if (source < 0)
		return error_errno(err, errno, "Open source %s of device \"%s\"", m->source, m->device);
	if (m->options)
		return error_set(err, 400, "raw.mount.options can't be given to a running container");
	return container_mount(l->i->all->host, &spec, &created, err);
}

static int add_node(struct live *l, const struct device_node *n, struct error *err)
{
	auto_free char *file = device_node_file(n);
	auto_free char *path = path_join(l->devices, file);
	struct device_mount m = {.device = n->device, .source = path, .target = n->target};
	auto_close int dirfd = -EBADF;
	int r = dir_make_all(AT_FDCWD, l->devices, 0711, err);

	if (r < 0)
		return r;
	dirfd = open(l->devices, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return error_errno(err, errno, "Open %s", l->devices);
	r = device_node_create(dirfd, n, &l->map, err);
	return r < 0 ? r : add_mount(l, &m, err);
}

/* Everything of device @name in the plan goes in. */
static int add_device(struct live *l, const struct device_plan *plan, const char *name, struct error *err)
{
	int r = 0;

	for (size_t k = 0; k < plan->n_rules && r == 0 && l->privileged; k++)
		r = container_device_rule(l->i->all->host, l->name, &plan->rules[k], /* allow= */ true, err);
	for (size_t k = 0; k < plan->n_mounts && r == 0; k++)
		if (streq(plan->mounts[k].device, name))
			r = add_mount(l, &plan->mounts[k], err);
	for (size_t k = 0; k < plan->n_nodes && r == 0; k++)
		if (streq(plan->nodes[k].device, name))
			r = add_node(l, &plan->nodes[k], err);
	return r < 0 ? error_wrap(err, "Add device \"%s\" to running container", name) : 0;
}

static int remove_device(struct live *l, const struct device_plan *plan, const char *name, struct error *err)
{
	struct container_host *host = l->i->all->host;
	int r = 0;

	for (size_t k = 0; k < plan->n_mounts && r == 0; k++)
		if (streq(plan->mounts[k].device, name))
			r = container_umount(host, l->pidfd, plan->mounts[k].target, /* remove_target= */ true, err);
	for (size_t k = 0; k < plan->n_nodes && r == 0; k++) {
		auto_free char *file = NULL;
		auto_free char *path = NULL;

		if (!streq(plan->nodes[k].device, name))
			continue;
		file = device_node_file(&plan->nodes[k]);
		path = path_join(l->devices, file);
		r = container_umount(host, l->pidfd, plan->nodes[k].target, true, err);
		if (r == 0)
			r = path_remove_tree(AT_FDCWD, path, err);
	}
	for (size_t k = 0; k < plan->n_rules && r == 0 && l->privileged; k++)
		r = container_device_rule(host, l->name, &plan->rules[k], /* allow= */ false, err);
	return r < 0 ? error_wrap(err, "Remove device \"%s\" from running container", name) : 0;
}

static int plan_one(const struct mapmap *devices, const char *name, struct device_plan *plan, struct error *err)
{
	const struct strmap *device = mapmap_get(devices, name);

	return device ? device_plan_one(name, device, plan, err) : 0;
}

/* Take device @name from what it is in @before to what it is in @after; on failure the old one is put back. */
static int change_device(struct live *l, const char *name, const struct mapmap *before, const struct mapmap *after,
			 struct error *err)
{
	auto_device_plan struct device_plan old = DEVICE_PLAN_INIT;
	auto_device_plan struct device_plan new = DEVICE_PLAN_INIT;
	auto_error struct error undo = ERROR_INIT;
	int r = plan_one(before, name, &old, &undo);

	/* a source that is gone meanwhile: nothing to plan, the mount is gone with its target's removal */
	if (r < 0)
		error_ignore(&undo, "what cannot be planned any more cannot be mounted either");
	r = plan_one(after, name, &new, err);
	if (r == 0)
		r = project_confine_disks(l->i->all, l->i->row.project, &new, err);
	if (r == 0)
		r = remove_device(l, &old, name, err);
	if (r == 0)
		r = add_device(l, &new, name, err);
	if (r < 0) {
		remove_device(l, &new, name, &undo);
		error_clear(&undo);
		if (add_device(l, &old, name, &undo) < 0)
			log_error("device could not be put back", LOG_STR("device", name), LOG_ERR(&undo));
	}
	return r;
}

static int apply_devices(struct live *l, const struct mapmap *before, const struct mapmap *after, struct error *err)
{
	auto_strv struct strv names = STRV_INIT;
	int r = 0;

	for (size_t k = 0; k < before->len; k++)
		strv_add(&names, before->items[k].key);
	for (size_t k = 0; k < after->len; k++)
		if (!mapmap_get(before, after->items[k].key))
			strv_add(&names, after->items[k].key);
	for (size_t k = 0; k < names.len && r == 0; k++) {
		const struct strmap *old = mapmap_get(before, names.items[k]);
		const struct strmap *new = mapmap_get(after, names.items[k]);

		if ((old && new &&strmap_equal(old, new)) || expand_is_root_disk(old ? old : new))
			continue;
		if (device_is_nic(old) && (!new || device_is_nic(new)))
			continue; /* nics_apply_live() */
		r = change_device(l, names.items[k], before, after, err);
	}
	return r;
}

int instance_apply_live(struct instance *i, const struct instance_expanded *before,
			const struct instance_expanded *after, struct error *err)
{
	CLEANUP(live_done) struct live l = {.i = i, .pidfd = -EBADF};
	auto_error struct error undo = ERROR_INIT;
	int r;

	if (strmap_equal(&before->config, &after->config) && mapmap_equal(&before->devices, &after->devices))
		return 0;
	r = live_init(&l, err);
	if (r == 0)
		r = apply_limits(&l, &before->config, &after->config, err);
	if (r == 0)
		r = nics_apply_live(i, before, after, err);
	if (r == 0) {
		r = apply_devices(&l, &before->devices, &after->devices, err);
		if (r < 0 && nics_apply_live(i, after, before, &undo) < 0)
			log_error("network devices could not be put back", LOG_STR("instance", l.name), LOG_ERR(&undo));
		error_clear(&undo);
	}
	if (r < 0 && l.pidfd >= 0 && apply_limits(&l, &after->config, &before->config, &undo) < 0)
		log_error("limits could not be put back", LOG_STR("instance", l.name), LOG_ERR(&undo));
	return r;
}
