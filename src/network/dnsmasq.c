/*
 * The life of a network's dnsmasq: brought to a configuration, taken over from an earlier daemon, started again when
 * it dies. The loop's thread watches the process; starting again, which waits, is done by a thread of its own.
 */
#include "network/dnsmasq.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "network/dnsmasq_internal.h"

#define WARNING_TYPE "DNS and DHCP service of a network failed"
#define DELAY_FIRST_MS 500
#define DELAY_MAX_MS 60000
#define STEADY_MS 60000 /* who lived so long starts again with the first delay */
#define RAW_MAX (1 << 20)
#define PIDFILE "dnsmasq.pid"

static char *find_program(void)
{
	static const char *const paths[] = {"/usr/local/sbin/dnsmasq", "/usr/sbin/dnsmasq", "/usr/local/bin/dnsmasq",
					    "/usr/bin/dnsmasq"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (access(paths[i], X_OK) == 0)
			return xstrdup(paths[i]);
	return NULL;
}

UNSHARED struct dnsmasq *dnsmasq_new(const struct dnsmasq_spec *spec, const char *name)
{
	struct dnsmasq *d = xnew(struct dnsmasq);
	auto_free char *log = xasprintf("dnsmasq.%s.log", name);

	d->refs = 1;
	d->loop = spec->loop;
	d->warn = spec->warn;
	d->warn_arg = spec->warn_arg;
	d->name = xstrdup(name);
	d->dir = path_join(spec->dir, name);
	d->hosts = path_join(d->dir, "dnsmasq.hosts");
	d->log = path_join(spec->logs, log);
	d->program = find_program();
	d->pidfd = d->watch_fd = -EBADF;
	mutex_init(&d->busy);
	mutex_init(&d->choosing);
	mutex_init(&d->hosts_lock);
	mutex_init(&d->lock);
	return d;
}

struct dnsmasq *dnsmasq_ref(struct dnsmasq *d)
{
	d->refs++;
	return d;
}

static UNSHARED void destroy(struct dnsmasq *d)
{
	fd_close(d->pidfd);
	strv_done(&d->args);
	mutex_done(&d->busy);
	mutex_done(&d->choosing);
	dnsmasq_hosts_forget(d);
	mutex_done(&d->hosts_lock);
	mutex_done(&d->lock);
	free(d->name);
	free(d->dir);
	free(d->hosts);
	free(d->log);
	free(d->program);
	free(d);
}

void dnsmasq_unref(struct dnsmasq *d)
{
	if (--d->refs == 0)
		destroy(d);
}

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
static void set_watch(struct dnsmasq *d, int fd, unsigned generation)
{
	struct watch_post *p = xnew(struct watch_post);

	*p = (struct watch_post){dnsmasq_ref(d), fd, generation};
	loop_post(d->loop, post_watch, p);
}

/* --- the process --- */

static void warn(struct dnsmasq *d, const char *message)
{
	if (d->warn)
		d->warn(d->warn_arg, WARNING_TYPE, "moderate", d->name, message);
}

/* It is ours from now on; @p is taken. */
static void adopt(struct dnsmasq *d, struct dnsmasq_process *p)
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
	set_watch(d, watched, generation);
}

/* The one that we know of, taken from the fields, so that its end is no death. */
static struct dnsmasq_process take_process(struct dnsmasq *d)
{
	struct dnsmasq_process p;

	mutex_lock(&d->lock);
	p = (struct dnsmasq_process){d->pid, TAKE_FD(d->pidfd)};
	d->pid = 0;
	d->generation++;
	mutex_unlock(&d->lock);
	return p;
}

static bool know_process(struct dnsmasq *d)
{
	bool known;

	mutex_lock(&d->lock);
	known = d->pid > 0;
	mutex_unlock(&d->lock);
	return known;
}

/* What an earlier daemon noted: the process, and the number of the interface that its sockets are bound to. */
static bool read_pidfile(const struct dnsmasq *d, pid_t *ret_pid, unsigned *ret_interface)
{
	auto_free char *path = path_join(d->dir, PIDFILE);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_strv struct strv lines = STRV_INIT;
	auto_error struct error err = ERROR_INIT;
	uint32_t pid = 0, interface = 0;

	if (file_read_at(AT_FDCWD, path, 4096, &b, &err) < 0) {
		error_ignore(&err, "none runs");
		return false;
	}
	strv_split(&lines, strbuf_str(&b), '\n');
	for (size_t i = 0; i < lines.len; i++) {
		const char *a = startswith(lines.items[i], "pid: ");
		const char *n = startswith(lines.items[i], "interface: ");

		if ((a && parse_u32(a, &pid) < 0) || (n && parse_u32(n, &interface) < 0))
			return false;
	}
	*ret_pid = (pid_t)pid;
	*ret_interface = interface;
	return pid > 1;
}

static int write_pidfile(struct dnsmasq *d, pid_t pid, struct error *err)
{
	auto_free char *text = xasprintf("pid: %d\ninterface: %u\n", (int)pid, if_nametoindex(d->name));

	return dnsmasq_file_put(d->dir, PIDFILE, text, err);
}

/* One that an earlier daemon left running: ours by pid file and by command line. */
static bool find_left(struct dnsmasq *d, struct dnsmasq_process *ret, unsigned *ret_interface)
{
	struct dnsmasq_process p;
	pid_t pid;

	if (!read_pidfile(d, &pid, ret_interface) || !dnsmasq_process_open(pid, &p))
		return false;
	if (dnsmasq_process_is_ours(&p, d->name, d->dir)) {
		*ret = p;
		return true;
	}
	fd_close(p.pidfd);
	return false;
}

static void remove_file(const struct dnsmasq *d, const char *name)
{
	auto_free char *path = path_join(d->dir, name);

	if (unlink(path) < 0 && errno != ENOENT)
		log_debug("file of dnsmasq stays", LOG_STR("path", path), LOG_INT("errno", errno));
}

/* A process of this network that no pid file knows: the daemon died between start and note. */
static bool kill_lost_one(struct dnsmasq *d, pid_t pid)
{
	struct dnsmasq_process p;

	if (!dnsmasq_process_open(pid, &p))
		return false;
	if (dnsmasq_process_is_ours(&p, d->name, d->dir)) {
		dnsmasq_process_kill(&p);
		return true;
	}
	fd_close(p.pidfd);
	return false;
}

static bool kill_lost(struct dnsmasq *d, const pid_t *pids, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++)
		any |= kill_lost_one(d, pids[i]);
	return any;
}

/* Look at every process; the file that each is started with tells whether there can be one. */
static void kill_unnoted(struct dnsmasq *d)
{
	auto_free char *raw = path_join(d->dir, "dnsmasq.raw");
	DIR *proc = access(raw, F_OK) == 0 ? opendir("/proc") : NULL;
	struct dirent *e;

	while (proc && (e = readdir(proc))) {
		uint32_t pid;

		if (parse_u32(e->d_name, &pid) == 0)
			(void)kill_lost_one(d, (pid_t)pid);
	}
	if (proc)
		closedir(proc);
}

static void end_process(struct dnsmasq *d)
{
	struct dnsmasq_process p = take_process(d);
	unsigned interface;

	if (p.pid > 0 || find_left(d, &p, &interface))
		dnsmasq_process_kill(&p);
	else
		kill_unnoted(d);
	remove_file(d, PIDFILE);
}

/* A port was taken: 1 when it is free now, else the error says by whom. */
static int resolve_conflict(struct dnsmasq *d, struct error *err)
{
	auto_free pid_t *pids = NULL;
	auto_free char *text = NULL;
	size_t n;
	int r;

	if (!strstr(error_msg(err), "Address already in use"))
		return -err->errnum;
	text = dnsmasq_port_holders(&pids, &n);
	if (kill_lost(d, pids, n)) {
		error_clear(err);
		return 1;
	}
	if (!*text)
		return -err->errnum;
	r = error_set(err, 500, "%s; the addresses and ports of DNS and DHCP are held by: %s", error_msg(err), text);
	return r;
}

static int launch(struct dnsmasq *d, struct error *err) REQUIRES(d->busy)
{
	struct dnsmasq_process p = {.pidfd = -EBADF};
	int r = dnsmasq_process_start(&d->args, d->log, &p, err);

	if (r < 0 && resolve_conflict(d, err) == 1)
		r = dnsmasq_process_start(&d->args, d->log, &p, err);
	if (r < 0)
		return r;
	r = write_pidfile(d, p.pid, err);
	if (r < 0) {
		dnsmasq_process_kill(&p);
		return r;
	}
	adopt(d, &p);
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

	warn(d, "The process has ended unexpectedly");
	r = launch(d, err);
	warn(d, r < 0 ? error_msg(err) : NULL);
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

/* --- what the owner asks for --- */

/*
 * Who it becomes. The group is never that of the daemon's socket ("lxd", as the reference has it): its members are as
 * good as root.
 */
static const char *find_user(void)
{
	static const char *const users[] = {"lxd", "dnsmasq"};

	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		struct passwd pw, *found = NULL;
		char buf[4096];

		if (getpwnam_r(users[i], &pw, buf, sizeof(buf), &found) == 0 && found && pw.pw_uid)
			return users[i];
	}
	return "nobody";
}

static const char *find_group(void)
{
	struct group gr, *found = NULL;
	char buf[65536];

	return getgrnam_r("nogroup", &gr, buf, sizeof(buf), &found) == 0 && found ? "nogroup" : "nobody";
}

int dnsmasq_arguments(const struct dnsmasq *d, const struct strmap *config, struct strv *ret, struct error *err)
{
	struct dnsmasq_settings s = {
		.program = d->program ? d->program : "dnsmasq",
		.name = d->name,
		.dir = d->dir,
		.user = find_user(),
		.group = find_group(),
		.verbose = log_enabled(LOG_LEVEL_DEBUG),
	};

	return dnsmasq_make_arguments(&s, config, ret, err);
}

/* Does dnsmasq.raw hold @text already? */
static bool has_raw(const struct dnsmasq *d, const char *text)
{
	auto_free char *path = path_join(d->dir, "dnsmasq.raw");
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(AT_FDCWD, path, RAW_MAX, &b, &err) < 0) {
		error_ignore(&err, "it is written");
		return false;
	}
	return streq(strbuf_str(&b), text);
}

/* Does one run as it shall? One that an earlier daemon left is taken over. */
static bool runs_already(struct dnsmasq *d, const struct strv *args, const char *raw) REQUIRES(d->busy)
{
	struct dnsmasq_process p = {.pidfd = -EBADF};
	unsigned interface = 0;
	pid_t pid;

	if (!has_raw(d, raw) || !read_pidfile(d, &pid, &interface) || interface != if_nametoindex(d->name))
		return false;
	if (know_process(d))
		return strv_equal(&d->args, args);
	if (!find_left(d, &p, &interface))
		return false;
	if (!dnsmasq_process_has(&p, args)) {
		fd_close(p.pidfd);
		return false;
	}
	strv_copy(&d->args, args);
	adopt(d, &p);
	return true;
}

static int replace(struct dnsmasq *d, const struct strv *args, const char *raw, struct error *err) REQUIRES(d->busy)
{
	int r;

	if (!d->program)
		return error_set(err, 500, "dnsmasq is required for LXD managed bridges");
	end_process(d);
	strv_done(&d->args);
	r = dir_make_all(AT_FDCWD, d->hosts, 0755, err);
	if (r == 0)
		r = dnsmasq_file_put(d->dir, "dnsmasq.raw", raw, err);
	if (r < 0)
		return r;
	strv_copy(&d->args, args);
	r = launch(d, err);
	if (r < 0)
		strv_done(&d->args);
	return r;
}

/* The first folder on the way to the host entries that nobody but its owner and group may enter; NULL: none. The
 * caller frees. */
static char *find_closed_folder(const struct dnsmasq *d)
{
	for (const char *p = d->hosts + 1;; p++) {
		auto_free char *folder = xstrndup(d->hosts, (size_t)(p - d->hosts));
		struct stat st;

		if (*p && *p != '/')
			continue;
		if (stat(folder, &st) == 0 && !(st.st_mode & S_IXOTH))
			return TAKE_PTR(folder);
		if (!*p)
			return NULL;
	}
}

/* dnsmasq reads the entries after it has given up its rights. What else it does works without them. */
static void check_reachable(struct dnsmasq *d)
{
	auto_free char *folder = find_closed_folder(d);
	auto_free char *text = NULL;

	if (!folder) {
		warn(d, NULL);
		return;
	}
	text = xasprintf(
		"The folder %s is closed to dnsmasq (chmod o+x opens it): names and fixed addresses of instances "
		"do not work",
		folder);
	log_warn("dnsmasq cannot read its host entries", LOG_STR("network", d->name), LOG_STR("folder", folder));
	warn(d, text);
}

static int bring_up(struct dnsmasq *d, const struct strmap *config, struct error *err) REQUIRES(d->busy)
{
	auto_strv struct strv args = STRV_INIT;
	auto_free char *raw = xasprintf("%s\n", strmap_get_or(config, "raw.dnsmasq", ""));
	int r = dnsmasq_arguments(d, config, &args, err);

	if (r < 0)
		return r;
	if (runs_already(d, &args, raw))
		dnsmasq_reload(d);
	else
		r = replace(d, &args, raw, err);
	if (r == 0)
		check_reachable(d);
	return r;
}

static void take_down(struct dnsmasq *d) REQUIRES(d->busy)
{
	end_process(d);
	set_watch(d, -EBADF, 0);
	strv_done(&d->args);
}

/* Where leases are given back; true when there is an address at all. */
static bool note_servers(struct dnsmasq *d, const struct strmap *config)
{
	struct ip_prefix v4 = {0}, v6 = {0};
	bool any = dnsmasq_address(config, AF_INET, &v4);

	any |= dnsmasq_address(config, AF_INET6, &v6);
	mutex_lock(&d->lock);
	d->server4 = v4.addr;
	d->server6 = v6.addr;
	mutex_unlock(&d->lock);
	return any;
}

int dnsmasq_apply(struct dnsmasq *d, const struct strmap *config, struct error *err)
{
	int r = 0;

	mutex_lock(&d->busy);
	if (note_servers(d, config)) {
		r = bring_up(d, config, err);
	} else {
		take_down(d);
		remove_file(d, "dnsmasq.leases");
	}
	mutex_unlock(&d->busy);
	return r;
}

void dnsmasq_stop(struct dnsmasq *d)
{
	mutex_lock(&d->busy);
	take_down(d);
	mutex_unlock(&d->busy);
}

void dnsmasq_free(struct dnsmasq *d)
{
	if (!d)
		return;
	mutex_lock(&d->busy);
	mutex_lock(&d->lock);
	d->closed = true;
	mutex_unlock(&d->lock);
	set_watch(d, -EBADF, 0);
	mutex_unlock(&d->busy);
	dnsmasq_unref(d);
}

pid_t dnsmasq_pid(struct dnsmasq *d)
{
	pid_t pid;

	mutex_lock(&d->lock);
	pid = d->pid;
	mutex_unlock(&d->lock);
	return pid;
}

void dnsmasq_reload(struct dnsmasq *d)
{
	mutex_lock(&d->lock);
	if (d->pid > 0)
		(void)syscall(SYS_pidfd_send_signal, d->pidfd, SIGHUP, NULL, 0);
	else
		d->reload_missed = true;
	mutex_unlock(&d->lock);
}
