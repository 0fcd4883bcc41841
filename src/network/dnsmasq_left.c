/*
 * Processes that nobody watches: what an earlier daemon noted in the pid file and left running, and what it had no time
 * to note. Ended only when the command line says that they are ours.
 */
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "network/dnsmasq_internal.h"

#define PIDFILE "dnsmasq.pid"

/* What an earlier daemon noted: the process, and the number of the interface that its sockets are bound to. */
bool dnsmasq_read_pidfile(const struct dnsmasq *d, pid_t *ret_pid, unsigned *ret_interface)
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

int dnsmasq_write_pidfile(struct dnsmasq *d, pid_t pid, struct error *err)
{
	auto_free char *text = xasprintf("pid: %d\ninterface: %u\n", (int)pid, if_nametoindex(d->name));

	return dnsmasq_file_put(d->dir, PIDFILE, text, err);
}

/* One that an earlier daemon left running: ours by pid file and by command line. */
bool dnsmasq_find_left(struct dnsmasq *d, struct dnsmasq_process *ret, unsigned *ret_interface)
{
	struct dnsmasq_process p;
	pid_t pid;

	if (!dnsmasq_read_pidfile(d, &pid, ret_interface) || !dnsmasq_process_open(pid, &p))
		return false;
	if (dnsmasq_process_is_ours(&p, d->name, d->dir)) {
		*ret = p;
		return true;
	}
	fd_close(p.pidfd);
	return false;
}

void dnsmasq_remove_file(const struct dnsmasq *d, const char *name)
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

void dnsmasq_end(struct dnsmasq *d)
{
	struct dnsmasq_process p = dnsmasq_take_process(d);
	unsigned interface;

	if (p.pid > 0 || dnsmasq_find_left(d, &p, &interface))
		dnsmasq_process_kill(&p);
	else
		kill_unnoted(d);
	dnsmasq_remove_file(d, PIDFILE);
}

/* A port was taken: 1 when it is free now, else the error says by whom. */
int dnsmasq_resolve_conflict(struct dnsmasq *d, struct error *err)
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
