/*
 * The process while it runs: taken into care, watched by the loop's thread, started again with growing delay when it
 * dies. Starting again, which waits, is done by a thread of its own.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/timeutil.h"
#include "network/dnsmasq_internal.h"

#define WARNING_TYPE "DNS and DHCP service of a network failed"
#define DELAY_FIRST_MS 500
#define DELAY_MAX_MS 60000
#define STEADY_MS 60000 /* who lived so long starts again with the first delay */

/* --- the watch: in the loop's thread --- */

struct watch_post {
	struct dnsmasq *d; /* a reference */
	int fd;
	unsigned generation;
};

static void clear_watch(struct dnsmasq *d)
{
	bool had = d->watch || d->timer;

	loop_remove(d->watch);
	loop_timer_cancel(d->timer);
	d->watch = NULL;
	d->timer = NULL;
	d->watch_fd = fd_close(d->watch_fd);
	if (had)
		dnsmasq_unref(d);
}

static void start_again(void *arg);

/* Wait before the next attempt; the watch's reference goes with the timer. */
static void begin_delay(struct dnsmasq *d)
{
	int64_t delay;

	mutex_lock(&d->lock);
	if (time_monotonic_ms() - d->started_ms > STEADY_MS)
		d->delay_ms = 0;
	d->delay_ms = d->delay_ms ? MIN_OF(2 * d->delay_ms, (int64_t)DELAY_MAX_MS) : DELAY_FIRST_MS;
	delay = d->delay_ms;
	mutex_unlock(&d->lock);
	d->timer = loop_timer_add(d->loop, delay, start_again, d);
}

/* The process has ended; false: somebody wanted it to. */
static bool note_death(struct dnsmasq *d)
{
	bool died;

	mutex_lock(&d->lock);
	died = d->generation == d->watch_generation && !d->closed;
	if (died) {
		d->pid = 0;
		d->pidfd = fd_close(d->pidfd);
	}
	mutex_unlock(&d->lock);
	return died;
}

static void on_end(struct loop_source *src UNUSED, uint32_t events UNUSED, void *arg)
{
	struct dnsmasq *d = arg;
	siginfo_t info = {0};

	(void)waitid(P_PIDFD, (id_t)d->watch_fd, &info, WEXITED | WNOHANG);
	if (!note_death(d)) {
		clear_watch(d);
		return;
	}
	loop_remove(d->watch);
	d->watch = NULL;
	d->watch_fd = fd_close(d->watch_fd);
	log_warn("dnsmasq has ended and is started again", LOG_STR("network", d->name),
		 LOG_INT("status", info.si_status));
	begin_delay(d);
}

static void post_watch(void *arg)
{
	struct watch_post *p = arg;
	struct dnsmasq *d = p->d;

	clear_watch(d);
	d->watch_generation = p->generation;
	if (p->fd >= 0) {
		d->watch_fd = p->fd;
		d->watch = loop_add(d->loop, p->fd, EPOLLIN, on_end, dnsmasq_ref(d));
	}
	dnsmasq_unref(d);
	free(p);
}

/* Watch the process of @fd (taken), or, when negative, none. */
void dnsmasq_set_watch(struct dnsmasq *d, int fd, unsigned generation)
{
	struct watch_post *p = xnew(struct watch_post);

	*p = (struct watch_post){dnsmasq_ref(d), fd, generation};
	loop_post(d->loop, post_watch, p);
}

/* --- the process --- */

void dnsmasq_warn(struct dnsmasq *d, const char *message)
{
	if (d->warn)
		d->warn(d->warn_arg, WARNING_TYPE, "moderate", d->name, message);
}

/* It is ours from now on; @p is taken. */
void dnsmasq_adopt(struct dnsmasq *d, struct dnsmasq_process *p)
{
	unsigned generation;
	int watched = fcntl(p->pidfd, F_DUPFD_CLOEXEC, 3);

	mutex_lock(&d->lock);
	d->pid = p->pid;
	d->pidfd = TAKE_FD(p->pidfd);
	d->started_ms = time_monotonic_ms();
	generation = ++d->generation;
	if (d->reload_missed)
		(void)syscall(SYS_pidfd_send_signal, d->pidfd, SIGHUP, NULL, 0);
	d->reload_missed = false;
	mutex_unlock(&d->lock);
	dnsmasq_set_watch(d, watched, generation);
}

/* The one that we know of, taken from the fields, so that its end is no death. */
struct dnsmasq_process dnsmasq_take_process(struct dnsmasq *d)
{
	struct dnsmasq_process p;

	mutex_lock(&d->lock);
	p = (struct dnsmasq_process){d->pid, TAKE_FD(d->pidfd)};
	d->pid = 0;
	d->generation++;
	mutex_unlock(&d->lock);
	return p;
}

bool dnsmasq_know_process(struct dnsmasq *d)
{
	bool known;

	mutex_lock(&d->lock);
	known = d->pid > 0;
	mutex_unlock(&d->lock);
	return known;
}

int dnsmasq_launch(struct dnsmasq *d, struct error *err) REQUIRES(d->busy)
{
	struct dnsmasq_process p = {.pidfd = -EBADF};
	int r = dnsmasq_process_start(&d->args, d->log, &p, err);

	if (r < 0 && dnsmasq_resolve_conflict(d, err) == 1)
		r = dnsmasq_process_start(&d->args, d->log, &p, err);
	if (r < 0)
		return r;
	r = dnsmasq_write_pidfile(d, p.pid, err);
	if (r < 0) {
		dnsmasq_process_kill(&p);
		return r;
	}
	dnsmasq_adopt(d, &p);
	return 0;
}

/* --- starting again --- */

struct again {
	struct dnsmasq *d; /* a reference */
	unsigned generation;
};

/* Nobody has started or stopped it since. */
static bool is_wanted(struct dnsmasq *d, unsigned generation)
{
	bool wanted;

	mutex_lock(&d->lock);
	wanted = !d->closed && d->generation == generation;
	mutex_unlock(&d->lock);
	return wanted;
}

/* In the loop's thread: try once more later. */
static void post_delay(void *arg)
{
	struct again *a = arg;

	if (!a->d->watch && !a->d->timer && is_wanted(a->d, a->generation))
		begin_delay(a->d);
	else
		dnsmasq_unref(a->d);
	free(a);
}

static int launch_again(struct dnsmasq *d, struct error *err) REQUIRES(d->busy)
{
	int r;

	dnsmasq_warn(d, "The process has ended unexpectedly");
	r = dnsmasq_launch(d, err);
	dnsmasq_warn(d, r < 0 ? error_msg(err) : NULL);
	return r;
}

static void *again_thread(void *arg)
{
	struct again *a = arg;
	struct dnsmasq *d = a->d;
	auto_error struct error err = ERROR_INIT;
	int r = 0;

	mutex_lock(&d->busy);
	if (is_wanted(d, a->generation))
		r = launch_again(d, &err);
	if (r < 0)
		log_warn("dnsmasq cannot be started again", LOG_STR("network", d->name), LOG_ERR(&err));
	if (r < 0)
		loop_post(d->loop, post_delay, a);
	mutex_unlock(&d->busy);
	if (r < 0)
		return NULL;
	dnsmasq_unref(d);
	free(a);
	return NULL;
}

/* The timer's function: its reference goes to the thread. */
static void start_again(void *arg)
{
	struct dnsmasq *d = arg;
	auto_error struct error err = ERROR_INIT;
	struct again *a = xnew(struct again);

	d->timer = NULL;
	*a = (struct again){d, d->watch_generation};
	if (thread_start("dnsmasq", again_thread, a, &err) == 0)
		return;
	log_error("dnsmasq is not started again", LOG_STR("network", d->name), LOG_ERR(&err));
	free(a);
	dnsmasq_unref(d);
}
