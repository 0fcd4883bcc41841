/*
 * Reboots from inside a container: liblxc's monitor starts the next init by itself, in a new network namespace. It
 * moves the interfaces in that it moved at the start; those that came later are for us. When one of its own is gone
 * meanwhile it gives up, and the daemon starts the container anew.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "instance/nics.h"

#define REBOOT_GRACE_MS 60 /* from init's end until we ask whether the monitor starts another */
#define LOG_PART_MAX (256 * 1024)

static int open_log(struct instance *i)
{
	auto_free char *folder = instance_log_dir(i);
	auto_free char *path = path_join(folder, "lxc.log");

	return open(path, O_RDONLY | O_CLOEXEC);
}

void instance_mark_log(struct instance *i)
{
	auto_close int fd = open_log(i);
	struct stat st;

	i->log_mark = fd >= 0 && fstat(fd, &st) == 0 ? st.st_size : 0;
}

/* liblxc says so in its log only. A monitor that starts a container a second time does that for a reboot. */
bool instance_reboot_failed(struct instance *i)
{
	auto_close int fd = open_log(i);
	auto_free char *text = xmalloc(LOG_PART_MAX);
	ssize_t n = fd < 0 ? -1 : pread(fd, text, LOG_PART_MAX - 1, i->log_mark);

	if (n <= 0)
		return false;
	text[n] = '\0';
	return strstr(text, "Failed to spawn container") != NULL;
}

/* Is this still the monitor that we know, or was the container stopped and started meanwhile? */
static bool is_monitor(struct instance *i, pid_t monitor)
{
	bool same;

	mutex_lock(&i->all->lock);
	same = i->state != CONTAINER_STOPPED && i->proc.monitor_pid == monitor;
	mutex_unlock(&i->all->lock);
	return same;
}

/* init has ended and the monitor goes on: a reboot. Learn the new init. */
static void *reboot_thread(void *arg)
{
	struct instance *i = arg;
	auto_container_process struct container_process p = CONTAINER_PROCESS_INIT;
	auto_free char *name = instance_lxc_name(i);
	auto_close int monitor = -EBADF;
	auto_close int init = -EBADF;
	auto_error struct error err = ERROR_INIT;
	pid_t old;

	mutex_lock(&i->all->lock);
	old = i->proc.init_pid;
	monitor = fcntl(i->proc.monitor_pidfd, F_DUPFD_CLOEXEC, 3);
	mutex_unlock(&i->all->lock);
	if (monitor >= 0 && container_wait_running(i->all->host, name, old, monitor, 0, &p, &err) < 0)
		log_warn("rebooting container was lost sight of", LOG_STR("instance", name), LOG_ERR(&err));
	else if (p.state != CONTAINER_STOPPED && is_monitor(i, p.monitor_pid)) {
		init = fcntl(p.init_pidfd, F_DUPFD_CLOEXEC, 3);
		old = p.init_pid;
		instance_adopt_process(i, &p);
		mutex_lock(&i->busy);
		nics_after_reboot(i, init, old);
		mutex_unlock(&i->busy);
		i->all->event(i->all->event_arg, i->row.project, name, "instance-restarted");
	}
	instance_unref(i);
	return NULL;
}

static void on_reboot_grace(void *arg)
{
	struct instance *i = arg;
	auto_error struct error err = ERROR_INIT;

	if (!i->monitor_src || thread_start("reboot", reboot_thread, i, &err) < 0)
		instance_unref(i);
}

void instance_on_init_gone(struct loop_source *src UNUSED, uint32_t events UNUSED, void *arg)
{
	struct instance *i = arg;

	loop_remove(i->init_src);
	i->init_src = NULL;
	loop_timer_add(i->all->loop, REBOOT_GRACE_MS, on_reboot_grace, instance_ref(i));
}
