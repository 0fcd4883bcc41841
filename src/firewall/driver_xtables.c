/*
 * The driver for ebtables, iptables and ip6tables, run as programs. Each change makes what is ours in a table anew by
 * the restore programs, which put a table in force as a whole; what has been done in other tables is undone when one
 * fails.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/process.h"
#include "base/str.h"
#include "firewall/driver.h"
#include "firewall/xt_rules.h"

#define BRIDGE_CALL "/proc/sys/net/bridge/bridge-nf-call-ip6tables"
#define TIMEOUT_MS 30000
#define OUTPUT_MAX (32u << 20)

struct xt_driver {
	char *save[XT_PROGRAMS]; /* paths; NULL: not needed, for this kernel has no IPv6 */
	char *restore[XT_PROGRAMS];
	struct xt_body applied[XT_TABLES]; /* what we know to be there ... */
	bool known;                        /* ... once all of it has been made */
};

static void driver_stop(void *driver)
{
	struct xt_driver *d = driver;

	for (size_t p = 0; p < XT_PROGRAMS; p++) {
		free(d->save[p]);
		free(d->restore[p]);
	}
	for (size_t t = 0; t < XT_TABLES; t++)
		xt_body_done(&d->applied[t]);
	free(d);
}

/* --- programs --- */

static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	auto_strv struct strv folders = STRV_INIT;

	strv_split(&folders, str_is_empty(path) ? "/usr/sbin:/sbin:/usr/bin:/bin" : path, ':');
	for (size_t i = 0; i < folders.len; i++) {
		auto_free char *file = path_join(folders.items[i], name);

		if (*folders.items[i] == '/' && access(file, X_OK) == 0)
			return TAKE_PTR(file);
	}
	return NULL;
}

static int find_programs(struct xt_driver *d, enum xt_program p, struct error *err)
{
	auto_free char *save = xasprintf("%s-save", xt_program_name(p));
	auto_free char *restore = xasprintf("%s-restore", xt_program_name(p));

	d->save[p] = find_program(save);
	d->restore[p] = find_program(restore);
	if (!d->save[p] || !d->restore[p])
		return error_set(err, 400, "xtables needs the program %s, which is not installed",
				 d->save[p] ? restore : save);
	return 0;
}

static int run_save(struct xt_driver *d, enum xt_program p, struct process_result *res, struct error *err)
{
	const char *const argv[] = {d->save[p], NULL};
	struct process_spec spec = PROCESS_SPEC_INIT;

	spec.argv = argv;
	spec.timeout_ms = TIMEOUT_MS;
	spec.output_max = OUTPUT_MAX;
	return process_run(&spec, res, err);
}

static int run_restore(struct xt_driver *d, enum xt_program p, const struct strbuf *script, struct error *err)
{
	/* ebtables has no lock to wait for: its nftables kind needs none */
	const char *const eb_argv[] = {d->restore[p], "--noflush", NULL};
	const char *const ip_argv[] = {d->restore[p], "--noflush", "-w", "20", NULL};
	auto_close int input = memfd_create("rules", MFD_CLOEXEC);
	struct process_spec spec = PROCESS_SPEC_INIT;
	int r;

	if (input < 0)
		return error_errno(err, errno, "Create a file in memory");
	r = fd_write_full(input, script->data, script->len);
	if (r == 0 && lseek(input, 0, SEEK_SET) < 0)
		r = -errno;
	if (r < 0)
		return error_errno(err, -r, "Write to a file in memory");
	log_debug("xtables", LOG_STR("program", d->restore[p]), LOG_STR("rules", strbuf_str(script)));
	spec.argv = p == XT_EBTABLES ? eb_argv : ip_argv;
	spec.stdin_fd = input;
	spec.timeout_ms = TIMEOUT_MS;
	return process_run(&spec, NULL, err);
}

/* --- does it work here --- */

/* A chain that nobody jumps to, with what the rules need. */
static const char *const probes[XT_PROGRAMS] = {
	[XT_EBTABLES] = "*filter\n:lxd-probe RETURN\n"
			"-A lxd-probe -p ARP --arp-mac-src ! 00:16:3e:00:00:00 --arp-ip-src 192.0.2.1 -j DROP\n"
			"-A lxd-probe -p IPv4 --ip-src 192.0.2.1 --ip-proto udp --ip-dport 67 -j RETURN\n"
			"-A lxd-probe -p IPv6 --ip6-proto ipv6-icmp --ip6-icmp-type 134/0:255 -j DROP\nCOMMIT\n",
	[XT_IPTABLES] = "*filter\n:lxd-probe - [0:0]\n"
			"-A lxd-probe -m comment --comment x -j REJECT --reject-with icmp-port-unreachable\n"
			"-A lxd-probe -p udp -m udp --dport 67 -m physdev --physdev-in lo -m u32 --u32 "
			"\"0>>22&0x3c@36=1\" -j DROP\nCOMMIT\n",
	[XT_IP6TABLES] = "*filter\n:lxd-probe - [0:0]\n"
			 "-A lxd-probe -p icmpv6 -m icmp6 --icmpv6-type 136 -m physdev --physdev-in lo "
			 "-m u32 --u32 \"48=1\" -m comment --comment x -j DROP\nCOMMIT\n",
};

static int probe(struct xt_driver *d, enum xt_program p, struct error *err)
{
	auto_strbuf struct strbuf make = STRBUF_INIT, remove = STRBUF_INIT;
	auto_error struct error e = ERROR_INIT;
	int r = find_programs(d, p, err);

	if (r < 0)
		return r;
	strbuf_append(&make, probes[p]);
	strbuf_append(&remove, "*filter\n-F lxd-probe\n-X lxd-probe\nCOMMIT\n");
	r = run_restore(d, p, &make, err);
	if (r < 0)
		return error_status(err, 400);
	if (run_restore(d, p, &remove, &e) < 0)
		log_warn("a chain for trying stays", LOG_STR("chain", "lxd-probe"), LOG_ERR(&e));
	return 0;
}

static bool has_ipv6(void)
{
	return access("/proc/sys/net/ipv6", F_OK) == 0;
}

static int driver_start(struct reaper *reaper UNUSED, void **ret, struct error *err)
{
	struct xt_driver *d = xnew(struct xt_driver);
	int r = 0;

	for (size_t p = 0; p < XT_PROGRAMS && r == 0; p++)
		if (p != XT_IP6TABLES || has_ipv6())
			r = probe(d, p, err);
	if (r < 0) {
		driver_stop(d);
		return error_wrap(err, "xtables does not work here");
	}
	*ret = d;
	return 0;
}

static bool bridge_calls_ip6tables(void)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;

	return file_read_at(AT_FDCWD, BRIDGE_CALL, 16, &text, &err) == 0 && *strbuf_str(&text) == '1';
}

static int check_nic(const struct firewall_nic *n, struct error *err)
{
	if (n->v6.filtered && n->v6.n && !bridge_calls_ip6tables())
		return error_set(err, 400,
				 "security.ipv6_filtering requires bridge netfilter: "
				 "net.bridge.bridge-nf-call-ip6tables is not 1 (nftables does not need it)");
	return 0;
}

static int driver_check(void *driver UNUSED, enum firewall_kind kind, const void *item, struct error *err)
{
	if (kind == FIREWALL_NIC)
		return check_nic(item, err);
	if (kind == FIREWALL_RATE)
		return error_set(err, 400, "xtables cannot do rate limits on interfaces; nftables can");
	return 0;
}

/* --- changes --- */

/* Make all tables of program @p have @bodies of ours. */
static int put(struct xt_driver *d, enum xt_program p, const struct xt_body bodies[XT_TABLES], struct error *err)
{
	auto_process_result struct process_result saved = PROCESS_RESULT_INIT;
	auto_strbuf struct strbuf script = STRBUF_INIT;
	int r = run_save(d, p, &saved, err);

	if (r < 0)
		return r;
	for (size_t t = 0; t < XT_TABLES; t++)
		if (xt_program_of(t) == p)
			xt_script(t, &bodies[t], strbuf_str(&saved.out), &script);
	return script.len ? run_restore(d, p, &script, err) : 0;
}

static void put_back(struct xt_driver *d, enum xt_program last, unsigned programs)
{
	for (size_t p = 0; p <= last && d->known; p++) {
		auto_error struct error err = ERROR_INIT;

		if (d->restore[p] && (programs & 1u << p) && put(d, p, d->applied, &err) < 0)
			log_error("the old packet filters cannot be put back", LOG_ERR(&err));
	}
}

/* @programs are bits. */
static int apply(struct xt_driver *d, const struct firewall_state *s, unsigned programs, struct error *err)
{
	struct xt_body bodies[XT_TABLES] = {0};
	int r = 0;

	for (size_t t = 0; t < XT_TABLES; t++)
		xt_render(t, s, &bodies[t]);
	for (size_t p = 0; p < XT_PROGRAMS && r == 0; p++) {
		if (d->restore[p] && (programs & 1u << p))
			r = put(d, p, bodies, err);
		if (r < 0)
			put_back(d, p, programs);
	}
	for (size_t t = 0; t < XT_TABLES; t++) {
		if (r == 0)
			xt_body_copy(&d->applied[t], &bodies[t]);
		xt_body_done(&bodies[t]);
	}
	return r;
}

static int driver_all(void *driver, const struct firewall_state *s, struct error *err)
{
	struct xt_driver *d = driver;
	int r = 0;

	for (size_t k = 0; k < FIREWALL_KINDS; k++)
		for (size_t i = 0; i < s->lists[k].len && r == 0; i++)
			r = driver_check(d, k, s->lists[k].items[i], err);
	if (r == 0)
		r = apply(d, s, ~0u, err);
	d->known = d->known || r == 0;
	return r;
}

static int driver_change(void *driver, const struct firewall_state *s, enum firewall_kind kind,
			 const void *before UNUSED, const void *after, struct error *err)
{
	static const unsigned programs[FIREWALL_KINDS] = {
		[FIREWALL_NETWORK] = 1u << XT_IPTABLES | 1u << XT_IP6TABLES,
		[FIREWALL_NIC] = 1u << XT_EBTABLES | 1u << XT_IPTABLES | 1u << XT_IP6TABLES,
		[FIREWALL_ROUTED] = 1u << XT_IPTABLES | 1u << XT_IP6TABLES,
	};
	int r = after ? driver_check(driver, kind, after, err) : 0;

	return r < 0 ? r : apply(driver, s, programs[kind], err);
}

static bool is_own_chain(const struct nfnl_chain *chain)
{
	return startswith(chain->name, XT_OURS) && !chain->is_base && !streq(chain->table, "lxd");
}

const struct firewall_driver firewall_driver_xtables = {
	.name = "xtables",
	.start = driver_start,
	.stop = driver_stop,
	.check = driver_check,
	.change = driver_change,
	.all = driver_all,
	.is_own_chain = is_own_chain,
};
