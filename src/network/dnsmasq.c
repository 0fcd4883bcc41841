/* What the owner asks of a network's dnsmasq: to be as its configuration says, taken over or replaced, and to end. */
#include "network/dnsmasq.h"

#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "network/dnsmasq_internal.h"

#define RAW_MAX (1 << 20)

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

	if (!has_raw(d, raw) || !dnsmasq_read_pidfile(d, &pid, &interface) || interface != if_nametoindex(d->name))
		return false;
	if (dnsmasq_know_process(d))
		return strv_equal(&d->args, args);
	if (!dnsmasq_find_left(d, &p, &interface))
		return false;
	if (!dnsmasq_process_has(&p, args)) {
		fd_close(p.pidfd);
		return false;
	}
	strv_copy(&d->args, args);
	dnsmasq_adopt(d, &p);
	return true;
}

static int replace(struct dnsmasq *d, const struct strv *args, const char *raw, struct error *err) REQUIRES(d->busy)
{
	int r;

	if (!d->program)
		return error_set(err, 500, "dnsmasq is required for LXD managed bridges");
	dnsmasq_end(d);
	strv_done(&d->args);
	r = dir_make_all(AT_FDCWD, d->hosts, 0755, err);
	if (r == 0)
		r = dnsmasq_file_put(d->dir, "dnsmasq.raw", raw, err);
	if (r < 0)
		return r;
	strv_copy(&d->args, args);
	r = dnsmasq_launch(d, err);
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
		dnsmasq_warn(d, NULL);
		return;
	}
	text = xasprintf(
		"The folder %s is closed to dnsmasq (chmod o+x opens it): names and fixed addresses of instances "
		"do not work",
		folder);
	log_warn("dnsmasq cannot read its host entries", LOG_STR("network", d->name), LOG_STR("folder", folder));
	dnsmasq_warn(d, text);
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
	dnsmasq_end(d);
	dnsmasq_set_watch(d, -EBADF, 0);
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
		dnsmasq_remove_file(d, "dnsmasq.leases");
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
	dnsmasq_set_watch(d, -EBADF, 0);
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
