/* Starting a container: configure liblxc, save the configuration, start, tell the daemon the processes. */
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "container/container.h"
#include "container/join.h"
#include "container/readonly.h"

#define ITEMS_MAX 4096u

/* Is there an id map among the items that are still to be read? */
static bool has_user_namespace(struct wire_reader r, uint32_t count)
{
	for (uint32_t i = 0; i < count && !r.bad; i++) {
		auto_free char *key = wire_get_str(&r);
		auto_free char *value = wire_get_str(&r);

		if (key && value && streq(key, "lxc.idmap") && *value)
			return true;
	}
	return false;
}

static int configure(struct lxc_container *c, struct wire_reader *r, struct join_note *note, struct error *err)
{
	uint32_t count = wire_get_u32(r);
	bool lockable = has_user_namespace(*r, count);
	unsigned n_readonly = 0;

	if (r->bad || count > ITEMS_MAX)
		return request_malformed(err);
	for (uint32_t i = 0; i < count; i++) {
		auto_free char *key = wire_get_str(r);
		auto_free char *value = wire_get_str(r);

		if (!key || !value)
			return request_malformed(err);
		if (streq(key, "lxc.mount.entry") &&
		    readonly_take_entry(&value, c->config_path, lockable, &n_readonly, err) < 0)
			return -err->errnum;
		if (!c->set_config_item(c, key, value)) {
			error_set(err, 400, "Set liblxc's \"%s\" to \"%s\": liblxc refused it", key, value);
			return -err->errnum;
		}
		join_note_item(note, key, value);
	}
	return wire_done(r) ? 0 : request_malformed(err);
}

/* liblxc opens the rootfs late and far from the daemon's eyes; the common mistakes get their own words. */
static int check_rootfs(struct lxc_container *c, struct error *err)
{
	char path[4096];
	const char *p = path;

	if (c->get_config_item(c, "lxc.rootfs.path", path, sizeof(path)) <= 0)
		return 0;
	if (startswith(p, "dir:"))
		p += strlen("dir:");
	if (*p == '/' && access(p, F_OK) < 0)
		return error_errno(err, errno, "Open the root file system %s", p);
	return 0;
}

/* This process leaves its @group for the one beside it that liblxc parks monitors in, or for the one above. */
static void leave_group(const char *group, const char *name)
{
	auto_free char *above = xstrndup(group, (size_t)(strrchr(group, '/') - group));
	auto_free char *pivot = xasprintf("%s/lxc.pivot/cgroup.procs", above);
	auto_free char *top = xasprintf("%s/cgroup.procs", above);
	auto_free char *payload = xasprintf("%s/lxc.payload.%s", above, name);

	if (file_write_kernel(AT_FDCWD, pivot, "0") < 0)
		(void)!file_write_kernel(AT_FDCWD, top, "0"); /* if that fails too the group stays */
	(void)!rmdir(group);
	(void)!rmdir(payload);
}

/*
 * liblxc puts the process that asks for a start into the monitor's control groups too, and so cannot remove them when
 * the start fails. Once the monitor has ended (it is our child then) this process leaves them and removes them.
 */
static void remove_groups(const char *name)
{
	auto_free char *wanted = xasprintf("lxc.monitor.%s", name);
	auto_strv struct strv groups = STRV_INIT;
	char *unified = NULL;

	while (waitpid(-1, NULL, 0) > 0)
		;
	(void)control_groups_find(getpid(), wanted, &groups, &unified);
	if (unified)
		strv_take(&groups, unified);
	for (size_t i = 0; i < groups.len; i++)
		leave_group(groups.items[i], name);
}

static int run(struct lxc_container *c, const char *conf_path, const char *log_path, struct error *err)
{
	auto_free char *what = xasprintf("Start container %s", c->name);
	struct lxc_log_mark mark = LXC_LOG_MARK_INIT;
	int r;

	if (!c->save_config(c, conf_path))
		return error_errno(err, errno ? errno : EIO, "Save the container's configuration as %s", conf_path);
	r = check_rootfs(c, err);
	if (r < 0)
		return error_wrap(err, "%s", what);
	lxc_log_mark_file(&mark, log_path);
	c->want_daemonize(c, true);
	c->want_close_all_fds(c, true);
	/* a monitor that fails is ours to reap; one that succeeds goes to init when this process ends */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	malloc_trim(0); /* the monitor is a fork of this process and keeps what is on the heap */
	if (!c->start(c, 0, NULL)) {
		remove_groups(c->name);
		return lxc_log_error(&mark, err, 500, what);
	}
	return 0;
}

/* An init that ends at once: its monitor found us in the groups that it wanted to remove. */
static bool has_ended(struct lxc_container *c)
{
	auto_error struct error err = ERROR_INIT;

	return container_check_socket(c->name, c->config_path, &err) <= 0 || !c->is_running(c);
}

int request_start(struct request *rq, struct error *err)
{
	struct wire_reader *in = &rq->msg.reader;
	auto_free char *lxcpath = wire_get_str(in);
	auto_free char *name = wire_get_str(in);
	auto_free char *conf_path = wire_get_str(in);
	auto_free char *log_path = wire_get_str(in);
	struct join_note note = JOIN_NOTE_INIT; /* freed by the end of the process */
	struct lxc_container *c;
	int r;

	if (in->bad || !lxcpath || !name || !conf_path || !log_path)
		return request_malformed(err);
	c = container_open(name, lxcpath, err);
	if (!c)
		return -err->errnum;
	if (c->is_running(c)) {
		error_set(err, 400, "The instance is already running");
		err->errnum = EEXIST;
		return -EEXIST;
	}
	c->clear_config(c);
	r = configure(c, in, &note, err);
	if (r < 0)
		return r;
	wire_message_done(&rq->msg);
	join_note_remove(conf_path);
	filter_copy_expect();
	r = run(c, conf_path, log_path, err);
	if (r < 0)
		return r;
	join_note_save(&note, name, c->init_pid(c), conf_path);
	r = request_reply_process(rq, c, err);
	/* the daemon has died meanwhile: nobody knows of this container, and the next daemon waits for us */
	if (r < 0 ? c->stop(c) : has_ended(c))
		remove_groups(c->name);
	return r;
}
