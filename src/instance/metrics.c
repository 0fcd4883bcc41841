/* Metrics of running instances. Read anew each time: it takes some fifty system calls for each. */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "instance/cgroup_metrics.h"
#include "instance/instance_internal.h"
#include "instance/netstate.h"

#define INTERFACES_MAX 64 /* of one instance: its root makes as many as it likes */

#define MAGIC_XFS 0x58465342
#define MAGIC_ZFS 0x2fc12fc1

static const struct {
	unsigned long magic;
	const char *name;
} file_systems[] = {
	{EXT4_SUPER_MAGIC, "ext4"}, {BTRFS_SUPER_MAGIC, "btrfs"},       {MAGIC_XFS, "xfs"},         {MAGIC_ZFS, "zfs"},
	{TMPFS_MAGIC, "tmpfs"},     {OVERLAYFS_SUPER_MAGIC, "overlay"}, {F2FS_SUPER_MAGIC, "f2fs"},
};

/* What a look at one instance needs, copied under the lock. */
struct view {
	pid_t pid; /* 0: it does not run */
	int pidfd;
	char *rootfs;
	struct strbuf labels;   /* name, project, type */
	struct strbuf fslabels; /* the same without type, as the reference has it */
};

static void view_done(struct view *v)
{
	fd_close(v->pidfd);
	free(v->rootfs);
	strbuf_done(&v->labels);
	strbuf_done(&v->fslabels);
}

static struct view look(struct instance *i)
{
	struct view v = {.pidfd = -EBADF};
	auto_free char *full = NULL;

	mutex_lock(&i->all->lock);
	if (i->state != CONTAINER_STOPPED && !i->gone) {
		v.pid = i->proc.init_pid;
		v.pidfd = fcntl(i->proc.init_pidfd, F_DUPFD_CLOEXEC, 3);
		full = instance_full_name(i->row.project, i->row.name);
		v.rootfs = path_join(i->all->lxd_dir, "storage-pools", i->row.pool, "containers", full);
		metrics_label(&v.fslabels, "name", i->row.name);
		metrics_label(&v.fslabels, "project", i->row.project);
	}
	mutex_unlock(&i->all->lock);
	strbuf_append(&v.labels, strbuf_str(&v.fslabels));
	metrics_label(&v.labels, "type", "container");
	return v;
}

static const struct {
	const char *member;
	enum metric metric;
} counters[] = {
	{"bytes_received", METRIC_NETWORK_RECEIVE_BYTES}, {"packets_dropped_inbound", METRIC_NETWORK_RECEIVE_DROP},
	{"errors_received", METRIC_NETWORK_RECEIVE_ERRS}, {"packets_received", METRIC_NETWORK_RECEIVE_PACKETS},
	{"bytes_sent", METRIC_NETWORK_TRANSMIT_BYTES},    {"packets_dropped_outbound", METRIC_NETWORK_TRANSMIT_DROP},
	{"errors_sent", METRIC_NETWORK_TRANSMIT_ERRS},    {"packets_sent", METRIC_NETWORK_TRANSMIT_PACKETS},
};

struct network {
	const struct view *view;
	struct metrics *out;
	unsigned n;
};

static int add_interface(const char *name, const struct json *state, void *arg)
{
	struct network *net = arg;
	const struct json *of = json_get(state, "counters");
	auto_strbuf struct strbuf labels = STRBUF_INIT;

	if (net->n++ == INTERFACES_MAX)
		return -E2BIG;
	metrics_label(&labels, "device", name);
	strbuf_appendf(&labels, ",%s", net->view->labels.data);
	for (size_t k = 0; k < ARRAY_SIZE(counters); k++)
		metrics_add(net->out, counters[k].metric, labels.data, json_int(json_get(of, counters[k].member)));
	return 0;
}

static void add_network(const struct view *v, struct metrics *out)
{
	struct network net = {.view = v, .out = out};
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;
	auto_free char *text = NULL;

	if (netstate_read(v->pidfd, v->pid, &text, &err) < 0 || json_parse(text, strlen(text), &j, &err) < 0)
		error_ignore(&err, "it stopped this moment, or the kernel lacks the means: no figures");
	else
		json_each(j, add_interface, &net);
}

static void add_file_system(const struct view *v, struct metrics *out)
{
	auto_strbuf struct strbuf labels = STRBUF_INIT;
	char number[32];
	const char *type = number;
	struct statfs st;

	if (statfs(v->rootfs, &st) < 0)
		return;
	snprintf(number, sizeof(number), "0x%lx", (unsigned long)st.f_type);
	for (size_t k = 0; k < ARRAY_SIZE(file_systems); k++)
		if (file_systems[k].magic == (unsigned long)st.f_type)
			type = file_systems[k].name;
	metrics_label(&labels, "device", "");
	metrics_label(&labels, "fstype", type);
	metrics_label(&labels, "mountpoint", "/");
	strbuf_appendf(&labels, ",%s", v->fslabels.data);
	metrics_add(out, METRIC_FILESYSTEM_AVAIL, labels.data, (int64_t)st.f_bavail * st.f_bsize);
	metrics_add(out, METRIC_FILESYSTEM_FREE, labels.data, (int64_t)st.f_bfree * st.f_bsize);
	metrics_add(out, METRIC_FILESYSTEM_SIZE, labels.data, (int64_t)st.f_blocks * st.f_bsize);
}

static void add_instance(struct instance *i, int64_t host_memory, struct metrics *out)
{
	CLEANUP(view_done) struct view v = look(i);
	struct metrics_mark mark = metrics_mark(out);
	auto_error struct error err = ERROR_INIT;
	int r;

	if (!v.pid || v.pidfd < 0)
		return;
	r = cgroup_metrics_read(&i->all->lxc_host.cgroup, host_memory, v.pid, v.labels.data, out, &err);
	if (r < 0)
		error_ignore(&err, "it stopped this moment");
	else
		add_network(&v, out);
	add_file_system(&v, out);
	/* only what is alive even now was read of the right process */
	if (r < 0 || syscall(SYS_pidfd_send_signal, v.pidfd, 0, NULL, 0) < 0)
		metrics_reset(out, &mark);
}

void instances_metrics(struct instances *all, const char *project, struct metrics *out)
{
	struct instance **list;
	size_t n = instances_snapshot(all, &list);
	int64_t host_memory = cgroup_host_memory(&all->lxc_host.cgroup);

	for (size_t k = 0; k < n; k++) {
		if (!project || streq(instance_project(list[k]), project))
			add_instance(list[k], host_memory, out);
		instance_unref(list[k]);
	}
	free(list);
}
