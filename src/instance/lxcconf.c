/* Building liblxc's configuration from an instance's. */
#include "instance/lxcconf.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "base/wire_container.h"
#include "base/strbuf.h"
#include "device/device.h"

/* Host paths that a container gets when the host has them. */
static const struct {
	const char *path;
	const char *options;
	bool privileged_only;
} optional_paths[] = {
	{"/dev/fuse", "bind,create=file,optional", false},
	{"/dev/net/tun", "bind,create=file,optional", false},
	{"/proc/sys/fs/binfmt_misc", "rbind,create=dir,optional", false},
	{"/sys/firmware/efi/efivars", "rbind,create=dir,optional", false},
	{"/sys/fs/fuse/connections", "rbind,create=dir,optional", false},
	{"/sys/fs/pstore", "rbind,create=dir,optional", false},
	{"/sys/kernel/config", "rbind,create=dir,optional", false},
	{"/sys/kernel/debug", "rbind,create=dir,optional", false},
	{"/sys/kernel/security", "rbind,create=dir,optional", false},
	{"/sys/kernel/tracing", "rbind,create=dir,optional", false},
	{"/dev/mqueue", "rbind,create=dir,optional", true},
};

/* Devices of a privileged container: the access to make any node, and to use these. */
static const char *const default_devices[] = {
	"b *:* m",   "c *:* m",   "c 136:* rwm", "c 1:3 rwm", "c 1:5 rwm",    "c 1:7 rwm",    "c 1:8 rwm",
	"c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm",   "c 5:2 rwm", "c 10:229 rwm", "c 10:200 rwm",
};

void lxcconf_done(struct lxcconf *c)
{
	for (size_t i = 0; i < c->len; i++) {
		free(c->items[i].key);
		free(c->items[i].value);
	}
	free(c->items);
	*c = LXCCONF_INIT;
}

void lxcconf_add(struct lxcconf *c, const char *key, const char *value)
{
	c->items = xreallocarray(c->items, c->len + 1, sizeof(*c->items));
	c->items[c->len++] = (struct lxcconf_item){.key = xstrdup(key), .value = xstrdup(value)};
}

void lxcconf_addf(struct lxcconf *c, const char *key, const char *fmt, ...)
{
	auto_free char *value = NULL;
	va_list ap;

	va_start(ap, fmt);
	value = xvasprintf(fmt, ap);
	va_end(ap);
	lxcconf_add(c, key, value);
}

const char *lxcconf_get(const struct lxcconf *c, const char *key)
{
	for (size_t i = 0; i < c->len; i++)
		if (streq(c->items[i].key, key))
			return c->items[i].value;
	return NULL;
}

void lxcconf_host_done(struct lxcconf_host *h)
{
	strv_done(&h->paths);
	cgroup_layout_done(&h->cgroup);
	*h = LXCCONF_HOST_INIT;
}

/* The initial user namespace maps everything onto itself. */
static bool read_in_user_namespace(const char *root)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_free char *path = xasprintf("%s/proc/self/uid_map", root);
	unsigned long first = 0, host = 0, count = 0;

	if (file_read_at(AT_FDCWD, path, 4096, &text, &err) < 0) {
		error_ignore(&err, "a kernel without user namespaces has none to be in");
		return false;
	}
	/* NOLINTNEXTLINE(cert-err34-c): the kernel wrote these numbers */
	return sscanf(strbuf_str(&text), "%lu %lu %lu", &first, &host, &count) != 3 || first != 0 || host != 0 ||
	       count != UINT32_MAX;
}

static bool has_swap_accounting(const char *root, const struct cgroup_layout *l)
{
	const char *mount = strmap_get(&l->mounts, "memory");
	auto_free char *path = xasprintf("%s%s/memory.memsw.usage_in_bytes", root, mount ? mount : "");

	return mount && access(path, F_OK) == 0;
}

int lxcconf_probe_host(const char *root, struct lxcconf_host *ret, struct error *err)
{
	struct lxcconf_host h = LXCCONF_HOST_INIT;
	struct sysinfo info;
	int r = cgroup_layout_read(root, &h.cgroup, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(optional_paths); i++) {
		auto_free char *path = xasprintf("%s%s", root, optional_paths[i].path);

		if (access(path, F_OK) == 0)
			strv_add(&h.paths, optional_paths[i].path);
	}
	h.swap_accounting = has_swap_accounting(root, &h.cgroup);
	h.in_user_namespace = read_in_user_namespace(root);
	if (sysinfo(&info) == 0)
		h.memory_bytes = (uint64_t)info.totalram * info.mem_unit;
	h.cpus_online = (unsigned)MAX_OF(sysconf(_SC_NPROCESSORS_ONLN), 1);
	*ret = h;
	return 0;
}

char *lxcconf_quote_path(const char *path)
{
	struct strbuf b = STRBUF_INIT;

	for (const char *p = path; *p; p++) {
		if (strchr(" \t\n\\#", *p))
			strbuf_appendf(&b, "\\%03o", (unsigned char)*p);
		else
			strbuf_append_char(&b, *p);
	}
	return strbuf_take(&b);
}

char *lxcconf_device_rule(const struct device_rule *rule)
{
	auto_free char *major = rule->major < 0 ? xstrdup("*") : xasprintf("%d", rule->major);
	auto_free char *minor = rule->minor < 0 ? xstrdup("*") : xasprintf("%d", rule->minor);

	return xasprintf("%c %s:%s %.3s", rule->type, major, minor, rule->access);
}

static bool is_privileged(const struct lxcconf_input *in)
{
	return in->idmap->len == 0;
}

static void add_log(const struct lxcconf_input *in, struct lxcconf *c)
{
	lxcconf_add(c, "lxc.log.file", in->log_path);
	lxcconf_add(c, "lxc.log.level", in->log_level ? in->log_level : "warn");
	/* no buffer in the monitor's memory (lxc.console.buffer.size): reading it empties it */
	if (!in->console_log)
		return;
	lxcconf_add(c, "lxc.console.logfile", in->console_log);
	lxcconf_addf(c, "lxc.console.size", "%u", LXCCONF_CONSOLE_LOG_MAX);
	lxcconf_add(c, "lxc.console.rotate", "1");
}

static void add_base_mounts(const struct lxcconf_input *in, struct lxcconf *c)
{
	bool privileged = is_privileged(in);
	const char *access = privileged ? "proc:mixed sys:mixed" : "proc:rw sys:rw";

	if (privileged)
		lxcconf_add(c, "lxc.cap.drop", "sys_time sys_module sys_rawio mac_admin mac_override");
	lxcconf_addf(c, "lxc.mount.auto", "%s %s", access,
		     in->host->cgroup.kind == CGROUP_V2 ? "cgroup:rw:force" : "cgroup:mixed");
	lxcconf_add(c, "lxc.autodev", "1");
	lxcconf_add(c, "lxc.pty.max", "1024");
	for (size_t i = 0; i < ARRAY_SIZE(optional_paths); i++) {
		const char *path = optional_paths[i].path;

		if (!strv_contains(&in->host->paths, path) || (optional_paths[i].privileged_only && !privileged))
			continue;
		lxcconf_addf(c, "lxc.mount.entry", "%s %s none %s 0 0", path, path + 1, optional_paths[i].options);
	}
	if (strmap_get_bool(in->config, "security.nesting", false)) {
		lxcconf_add(c, "lxc.mount.entry", "proc dev/.lxc/proc proc create=dir,optional 0 0");
		lxcconf_add(c, "lxc.mount.entry", "sys dev/.lxc/sys sysfs create=dir,optional 0 0");
	}
}

static void add_identity(const struct lxcconf_input *in, struct lxcconf *c)
{
	static const char *const personality32[] = {"i686", "i386", "armv7l", "armv6l", "ppc", "mips"};
	const char *arch = "linux64";

	for (size_t i = 0; i < ARRAY_SIZE(personality32); i++)
		if (in->architecture && streq(personality32[i], in->architecture))
			arch = "linux32";
	lxcconf_add(c, "lxc.arch", arch);
	lxcconf_add(c, "lxc.tty.max", "0");
	lxcconf_add(c, "lxc.uts.name", in->name);
}

static void add_security(const struct lxcconf_input *in, struct lxcconf *c)
{
	if (in->apparmor_profile)
		lxcconf_add(c, "lxc.apparmor.profile", in->apparmor_profile);
	if (in->seccomp_path)
		lxcconf_add(c, "lxc.seccomp.profile", in->seccomp_path);
	for (size_t i = 0; i < in->idmap->len; i++) {
		const struct idmap_entry *e = &in->idmap->entries[i];

		if (e->is_uid)
			lxcconf_addf(c, "lxc.idmap", "u %u %u %u", e->ns, e->host, e->count);
		if (e->is_gid)
			lxcconf_addf(c, "lxc.idmap", "g %u %u %u", e->ns, e->host, e->count);
	}
}

/* The user namespace keeps an unprivileged container from devices; a privileged one has only this. */
static void add_devices(const struct lxcconf_input *in, struct lxcconf *c)
{
	const char *prefix = cgroup_is_unified(&in->host->cgroup, "devices") ? "lxc.cgroup2" : "lxc.cgroup";
	auto_free char *allow = xasprintf("%s.devices.allow", prefix);
	auto_free char *deny = xasprintf("%s.devices.deny", prefix);

	if (!is_privileged(in) || in->host->in_user_namespace || !cgroup_has(&in->host->cgroup, "devices"))
		return;
	lxcconf_add(c, deny, "a");
	for (size_t i = 0; i < ARRAY_SIZE(default_devices); i++)
		lxcconf_add(c, allow, default_devices[i]);
	for (size_t i = 0; in->plan && i < in->plan->n_rules; i++) {
		auto_free char *rule = lxcconf_device_rule(&in->plan->rules[i]);

		lxcconf_add(c, allow, rule);
	}
}

static int add_environment(const struct lxcconf_input *in, struct lxcconf *c, struct error *err)
{
	for (size_t i = 0; i < in->config->len; i++) {
		const struct strmap_item *item = &in->config->items[i];
		const char *name = startswith(item->key, "environment.");

		if (!name || !*item->value)
			continue;
		if (!*name || strpbrk(name, "=\n") || strchr(item->value, '\n'))
			return error_set(err, 400, "Invalid value for %s: a variable's name and value hold no line end",
					 item->key);
		lxcconf_addf(c, "lxc.environment", "%s=%s", name, item->value);
	}
	return 0;
}

static int add_limits(const struct lxcconf_input *in, struct lxcconf *c, struct error *err)
{
	auto_lxcconf struct lxcconf limits = LXCCONF_INIT;
	int r = lxcconf_limits(in->config, in->host, &limits, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < limits.len; i++) {
		auto_free char *controller = xstrndup(limits.items[i].key, strcspn(limits.items[i].key, "."));
		bool unified = cgroup_is_unified(&in->host->cgroup, controller);
		auto_free char *key = xasprintf("lxc.cgroup%s.%s", unified ? "2" : "", limits.items[i].key);

		lxcconf_add(c, key, limits.items[i].value);
	}
	for (size_t i = 0; i < in->config->len; i++) {
		const struct strmap_item *item = &in->config->items[i];
		const char *rlimit = startswith(item->key, "limits.kernel.");
		const char *sysctl = startswith(item->key, "linux.sysctl.");
		auto_free char *key = NULL;

		if (!*item->value || (!rlimit && !sysctl))
			continue;
		key = rlimit ? xasprintf("lxc.prlimit.%s", rlimit) : xasprintf("lxc.sysctl.%s", sysctl);
		lxcconf_add(c, key, item->value);
	}
	return 0;
}

static void add_mount(const struct lxcconf_input *in, const struct device_mount *m, struct lxcconf *c)
{
	auto_free char *source = lxcconf_quote_path(m->source);
	auto_free char *target = lxcconf_quote_path(m->target);
	auto_strbuf struct strbuf options = STRBUF_INIT;

	strbuf_append(&options, m->recursive ? "rbind" : "bind");
	if (m->readonly)
		strbuf_append(&options, ",ro");
	if (m->propagation)
		strbuf_appendf(&options, ",%s", m->propagation);
	if (m->shift && !is_privileged(in))
		strbuf_append(&options, ",idmap=container");
	if (m->options)
		strbuf_appendf(&options, ",%s", m->options);
	if (m->nofollow)
		strbuf_append(&options, "," WIRE_MOUNT_NOFOLLOW);
	strbuf_appendf(&options, ",create=%s", m->is_dir ? "dir" : "file");
	lxcconf_addf(c, "lxc.mount.entry", "%s %s none %s 0 0", source, target, strbuf_str(&options));
}

/* The daemon has made the node; the container gets it by a bind mount. */
static void add_node(const struct lxcconf_input *in, const struct device_node *n, struct lxcconf *c)
{
	auto_free char *file = device_node_file(n);
	auto_free char *path = path_join(in->mounts_dir, file);
	auto_free char *source = lxcconf_quote_path(path);
	auto_free char *target = lxcconf_quote_path(n->target);

	lxcconf_addf(c, "lxc.mount.entry", "%s %s none bind,create=file 0 0", source, target);
}

static void add_net(struct lxcconf *c, size_t number, const char *what, const char *value)
{
	auto_free char *key = xasprintf("lxc.net.%zu.%s", number, what);

	if (*value)
		lxcconf_add(c, key, value);
}

static void add_net_ip(struct lxcconf *c, size_t number, const struct nic_guest *g)
{
	char text[IP_TEXT_MAX];

	for (size_t i = 0; i < g->n_addresses; i++)
		add_net(c, number, g->addresses[i].addr.family == AF_INET ? "ipv4.address" : "ipv6.address",
			ip_prefix_format(&g->addresses[i], text));
	if (g->gateway4.family)
		add_net(c, number, "ipv4.gateway", ip_format(&g->gateway4, text));
	if (g->gateway6.family)
		add_net(c, number, "ipv6.gateway", ip_format(&g->gateway6, text));
}

/*
 * The daemon has made the interfaces; liblxc moves them in, and back when the container ends or reboots. What the
 * container has made of address and MTU meanwhile is set right again by that.
 */
static void add_nic(struct lxcconf *c, size_t number, const struct nic_guest *g)
{
	static const struct mac_addr none;
	auto_free char *mtu = g->mtu ? xasprintf("%u", g->mtu) : xstrdup("");
	char mac[MAC_TEXT_MAX];

	add_net(c, number, "type", "phys");
	add_net(c, number, "link", g->link);
	add_net(c, number, "name", g->name);
	add_net(c, number, "flags", "up");
	add_net(c, number, "mtu", mtu);
	if (memcmp(&g->mac, &none, sizeof(none)) != 0)
		add_net(c, number, "hwaddr", mac_format(&g->mac, mac));
	add_net_ip(c, number, g);
}

static void add_nics(const struct lxcconf_input *in, struct lxcconf *c)
{
	for (size_t i = 0; i < in->n_nics; i++)
		add_nic(c, i, &in->nics[i]);
	if (in->n_nics)
		return;
	/* a network namespace of its own with nothing but lo in it */
	add_net(c, 0, "type", "empty");
	add_net(c, 0, "flags", "up");
}

static void add_rootfs(const struct lxcconf_input *in, struct lxcconf *c)
{
	for (size_t i = 0; in->plan && i < in->plan->n_mounts; i++)
		add_mount(in, &in->plan->mounts[i], c);
	for (size_t i = 0; in->plan && in->mounts_dir && i < in->plan->n_nodes; i++)
		add_node(in, &in->plan->nodes[i], c);
	lxcconf_addf(c, "lxc.rootfs.path", "dir:%s", in->rootfs_path);
	/*
	 * Nodes of the host's devices may lie in the tree from days when the container was privileged, or from whom it
	 * was copied from; without rules of a device group they would open. /dev is a mount of its own.
	 */
	if (!is_privileged(in))
		lxcconf_add(c, "lxc.rootfs.options", in->rootfs_idmapped ? "nodev,idmap=container" : "nodev");
}

typedef int (*raw_line_fn)(const char *key, const char *value, void *arg, struct error *err);

/* Each line of raw.lxc that is neither empty nor a comment. */
static int raw_lxc_walk(const char *text, raw_line_fn fn, void *arg, struct error *err)
{
	auto_strv struct strv lines = STRV_INIT;

	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.len; i++) {
		auto_free char *line = xstrdup(str_strip(lines.items[i]));
		char *value = strchr(line, '=');
		int r;

		if (!*line || *line == '#')
			continue;
		if (!value)
			return error_set(err, 400, "Invalid raw.lxc line: %s", line);
		*value++ = '\0';
		r = fn(str_strip(line), str_strip(value), arg, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* "lxc.net.<number>.<ipv4 or ipv6>.<address or gateway>" may be set, nothing else of a network. */
static bool net_key_is_allowed(const char *key)
{
	static const char *const allowed[] = {"ipv4.address", "ipv4.gateway", "ipv6.address", "ipv6.gateway"};
	const char *p = startswith(key, "lxc.net.");
	size_t digits = p ? strspn(p, "0123456789") : 0;

	if (digits == 0 || p[digits] != '.')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (streq(p + digits + 1, allowed[i]))
			return true;
	return false;
}

static int raw_check_line(const char *key, const char *value, void *arg, struct error *err)
{
	static const char *const refused[] = {"lxc.log.file", "lxc.logfile",   "lxc.log.syslog",
					      "lxc.syslog",   "lxc.ephemeral", "lxc.prlimit"};

	(void)value;
	(void)arg;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (streq(key, refused[i]))
			return error_set(err, 400, "Setting %s in raw.lxc is not allowed", key);
	if (startswith(key, "lxc.prlimit."))
		return error_set(err, 400, "Process limits should be set via limits.kernel.* and not raw.lxc (%s)",
				 key);
	if ((startswith(key, "lxc.net.") || streq(key, "lxc.net") || startswith(key, "lxc.network")) &&
	    !net_key_is_allowed(key))
		return error_set(err, 400,
				 "Only interface-specific ipv4/ipv6 lxc.net. keys are allowed in raw.lxc (%s)", key);
	if (!startswith(key, "lxc."))
		return error_set(err, 400, "Invalid raw.lxc key \"%s\": liblxc's keys begin with lxc.", key);
	return 0;
}

int raw_lxc_validate(const char *text, struct error *err)
{
	return raw_lxc_walk(text, raw_check_line, NULL, err);
}

static int raw_add_line(const char *key, const char *value, void *arg, struct error *err)
{
	int r = raw_check_line(key, value, NULL, err);

	if (r == 0)
		lxcconf_add(arg, key, value);
	return r;
}

int lxcconf_build(const struct lxcconf_input *in, struct lxcconf *ret, struct error *err)
{
	auto_lxcconf struct lxcconf c = LXCCONF_INIT;
	int r;

	add_log(in, &c);
	add_base_mounts(in, &c);
	add_identity(in, &c);
	add_security(in, &c);
	add_devices(in, &c);
	r = add_environment(in, &c, err);
	if (r < 0)
		return r;
	r = add_limits(in, &c, err);
	if (r < 0)
		return r;
	add_rootfs(in, &c);
	add_nics(in, &c);
	r = raw_lxc_walk(strmap_get_or(in->config, "raw.lxc", ""), raw_add_line, &c, err);
	if (r < 0)
		return r;
	*ret = c;
	c = LXCCONF_INIT;
	return 0;
}
