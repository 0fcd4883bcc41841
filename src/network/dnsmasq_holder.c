/* Who holds a port that dnsmasq wants: sockets by /proc/net, their processes by their descriptors. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "network/dnsmasq_internal.h"

#define TABLE_MAX (4 << 20)
#define SOCKETS_MAX 64

struct port_socket {
	unsigned port;
	unsigned long inode;
};

struct port_sockets {
	struct port_socket items[SOCKETS_MAX];
	size_t n;
};

static void add_line(const char *line, const unsigned *ports, struct port_sockets *out)
{
	struct port_socket s;
	unsigned state;

	/* sl local:port remote:port state queues timer retransmits uid timeout inode */
	if (sscanf(line, "%*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu", &s.port, &state,
		   &s.inode) != 3)
		return;
	for (; *ports; ports++)
		if (*ports == s.port && s.inode && out->n < SOCKETS_MAX)
			out->items[out->n++] = s;
}

static void add_table(const char *table, const unsigned *ports, struct port_sockets *out)
{
	auto_free char *path = xasprintf("/proc/thread-self/net/%s", table);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_strv struct strv lines = STRV_INIT;

	if (file_read_at(AT_FDCWD, path, TABLE_MAX, &b, &err) < 0) {
		error_ignore(&err, "no such protocol here");
		return;
	}
	strv_split(&lines, strbuf_str(&b), '\n');
	for (size_t i = 0; i < lines.len; i++)
		add_line(lines.items[i], ports, out);
}

/* The first of @sockets that the process has open, or NULL. */
static const struct port_socket *held_by(const char *pid, const struct port_sockets *sockets)
{
	auto_free char *path = xasprintf("/proc/%s/fd", pid);
	const struct port_socket *found = NULL;
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && !found && (e = readdir(dir))) {
		char target[64];
		unsigned long inode;
		ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);

		if (n <= 0)
			continue;
		target[n] = '\0';
		if (sscanf(target, "socket:[%lu]", &inode) != 1)
			continue;
		for (size_t i = 0; i < sockets->n && !found; i++)
			if (sockets->items[i].inode == inode)
				found = &sockets->items[i];
	}
	if (dir)
		closedir(dir);
	return found;
}

static void add_process(const char *pid, unsigned port, struct strbuf *text)
{
	auto_free char *path = xasprintf("/proc/%s/comm", pid);
	auto_strbuf struct strbuf comm = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(AT_FDCWD, path, 64, &comm, &err) < 0)
		error_ignore(&err, "the pid has to do");
	strbuf_appendf(text, "%sport %u: %s (pid %s)", text->len ? ", " : "", port,
		       comm.data ? str_strip(comm.data) : "?", pid);
}

char *dnsmasq_port_holders(pid_t **ret_pids, size_t *ret_n)
{
	static const unsigned tcp[] = {53, 0}, udp[] = {53, 67, 547, 0};
	struct port_sockets sockets = {.n = 0};
	struct strbuf text = STRBUF_INIT;
	DIR *proc = opendir("/proc");
	struct dirent *e;

	*ret_pids = NULL;
	*ret_n = 0;
	add_table("tcp", tcp, &sockets);
	add_table("tcp6", tcp, &sockets);
	add_table("udp", udp, &sockets);
	add_table("udp6", udp, &sockets);
	while (proc && sockets.n && (e = readdir(proc))) {
		const struct port_socket *s;
		uint32_t pid;

		if (parse_u32(e->d_name, &pid) < 0)
			continue;
		s = held_by(e->d_name, &sockets);
		if (!s)
			continue;
		add_process(e->d_name, s->port, &text);
		*ret_pids = xreallocarray(*ret_pids, *ret_n + 1, sizeof(**ret_pids));
		(*ret_pids)[(*ret_n)++] = (pid_t)pid;
	}
	if (proc)
		closedir(proc);
	return strbuf_take(&text);
}
