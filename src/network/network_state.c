/* The state object of an interface: what the kernel says of it now. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/if.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "network/network_internal.h"

/* A text of /sys/class/net/<name>/<file>, without the line's end; "" when it is not there. The caller frees. */
static char *sys_text(const char *name, const char *file)
{
	auto_free char *path = xasprintf("/sys/class/net/%s/%s", name, file);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error e = ERROR_INIT;

	if (file_read_at(AT_FDCWD, path, 4096, &b, &e) < 0) {
		error_ignore(&e, "not every kind of interface has it");
		return xstrdup("");
	}
	return xstrdup(str_strip(b.data));
}

static uint64_t sys_number(const char *name, const char *file)
{
	auto_free char *text = sys_text(name, file);
	uint64_t v = 0;

	return parse_u64(text, &v) < 0 ? 0 : v;
}

static bool sys_has(const char *name, const char *file)
{
	auto_free char *path = xasprintf("/sys/class/net/%s/%s", name, file);

	return access(path, F_OK) == 0;
}

const char *network_type_of_link(const struct link_info *l)
{
	static const char *const kinds[] = {"bridge", "vlan", "bond"};

	if (l->loopback)
		return "loopback";
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (streq(l->kind, kinds[i]))
			return kinds[i];
	return sys_has(l->name, "device") ? "physical" : "unknown";
}

static const char *type_of(const char *name)
{
	auto_free char *text = sys_text(name, "flags");
	uint64_t flags = 0;

	if (startswith(text, "0x"))
		flags = strtoull(text + 2, NULL, 16);
	if (flags & IFF_LOOPBACK)
		return "loopback";
	if (flags & IFF_POINTOPOINT)
		return "point-to-point";
	return flags & IFF_BROADCAST ? "broadcast" : "unknown";
}

static const char *scope_of(const struct ip_addr *a)
{
	if (ip_is_loopback(a))
		return "local";
	return ip_is_link_local(a) ? "link" : "global";
}

static void write_addresses(const struct link_address *list, size_t n, struct jsonw *w)
{
	jsonw_key(w, "addresses");
	jsonw_array_begin(w);
	for (size_t i = 0; i < n; i++) {
		const struct ip_prefix *a = &list[i].address;
		char text[IP_TEXT_MAX];

		jsonw_object_begin(w);
		jsonw_kv_str(w, "family", a->addr.family == AF_INET ? "inet" : "inet6");
		jsonw_kv_str(w, "address", ip_format(&a->addr, text));
		jsonw_kv_strf(w, "netmask", "%u", a->len);
		jsonw_kv_str(w, "scope", scope_of(&a->addr));
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
}

static void write_counters(const char *name, struct jsonw *w)
{
	jsonw_key(w, "counters");
	jsonw_object_begin(w);
	jsonw_kv_uint(w, "bytes_received", sys_number(name, "statistics/rx_bytes"));
	jsonw_kv_uint(w, "bytes_sent", sys_number(name, "statistics/tx_bytes"));
	jsonw_kv_uint(w, "packets_received", sys_number(name, "statistics/rx_packets"));
	jsonw_kv_uint(w, "packets_sent", sys_number(name, "statistics/tx_packets"));
	jsonw_object_end(w);
}

/* The interfaces that a folder or a list of sysfs names: ports of a bridge, or of a bond. */
static void write_folder(const char *name, const char *folder, struct jsonw *w)
{
	auto_free char *path = xasprintf("/sys/class/net/%s/%s", name, folder);
	auto_strv struct strv names = STRV_INIT;
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (*e->d_name != '.')
			strv_add(&names, e->d_name);
	if (dir)
		closedir(dir);
	strv_sort(&names);
	jsonw_strv(w, &names);
}

static void write_bridge(const char *name, struct jsonw *w)
{
	auto_free char *id = sys_text(name, "bridge/bridge_id");

	jsonw_object_begin(w);
	jsonw_kv_str(w, "id", id);
	jsonw_kv_bool(w, "stp", sys_number(name, "bridge/stp_state") != 0);
	jsonw_kv_uint(w, "forward_delay", sys_number(name, "bridge/forward_delay"));
	jsonw_kv_uint(w, "vlan_default", sys_number(name, "bridge/default_pvid"));
	jsonw_kv_bool(w, "vlan_filtering", sys_number(name, "bridge/vlan_filtering") != 0);
	jsonw_key(w, "upper_devices");
	write_folder(name, "brif", w);
	jsonw_object_end(w);
}

/* The first word: sysfs says "balance-rr 0". */
static void write_word(const char *name, const char *file, const char *key, struct jsonw *w)
{
	auto_free char *text = sys_text(name, file);

	text[strcspn(text, " ")] = '\0';
	jsonw_kv_str(w, key, text);
}

static void write_bond(const char *name, struct jsonw *w)
{
	auto_free char *slaves = sys_text(name, "bonding/slaves");
	auto_strv struct strv lower = STRV_INIT;

	strv_split_words(&lower, slaves);
	jsonw_object_begin(w);
	write_word(name, "bonding/mode", "mode", w);
	write_word(name, "bonding/xmit_hash_policy", "transmit_policy", w);
	jsonw_kv_uint(w, "up_delay", sys_number(name, "bonding/updelay"));
	jsonw_kv_uint(w, "down_delay", sys_number(name, "bonding/downdelay"));
	jsonw_kv_uint(w, "mii_frequency", sys_number(name, "bonding/miimon"));
	write_word(name, "bonding/mii_status", "mii_state", w);
	jsonw_kv_strv(w, "lower_devices", &lower);
	jsonw_object_end(w);
}

/* /proc/net/vlan/<name> begins "eth0.5  VID: 5 ..." and says "Device: eth0" further down. */
static void write_vlan(const char *name, struct jsonw *w)
{
	auto_free char *path = xasprintf("/proc/net/vlan/%s", name);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_strv struct strv words = STRV_INIT;
	auto_error struct error e = ERROR_INIT;
	const char *lower = "";
	uint64_t vid = 0;

	if (file_read_at(AT_FDCWD, path, 4096, &b, &e) < 0)
		error_ignore(&e, "gone this moment, or of another namespace");
	strv_split_words(&words, strbuf_str(&b));
	for (size_t i = 0; i + 1 < words.len; i++) {
		if (streq(words.items[i], "VID:") && parse_u64(words.items[i + 1], &vid) < 0)
			vid = 0;
		if (streq(words.items[i], "Device:"))
			lower = words.items[i + 1];
	}
	jsonw_object_begin(w);
	jsonw_kv_str(w, "lower_device", lower);
	jsonw_kv_uint(w, "vid", vid);
	jsonw_object_end(w);
}

static void write_kind(const struct link_info *l, const char *kind, void (*write)(const char *name, struct jsonw *w),
		       struct jsonw *w)
{
	jsonw_key(w, kind);
	if (streq(l->kind, kind))
		write(l->name, w);
	else
		jsonw_null(w);
}

static void write_state(const struct link_info *l, const struct link_address *addresses, size_t n, struct jsonw *w)
{
	char mac[MAC_TEXT_MAX];

	jsonw_object_begin(w);
	write_addresses(addresses, n, w);
	write_counters(l->name, w);
	jsonw_kv_str(w, "hwaddr", l->loopback ? "" : mac_format(&l->mac, mac));
	jsonw_kv_uint(w, "mtu", l->mtu);
	jsonw_kv_str(w, "state", l->up ? "up" : "down");
	jsonw_kv_str(w, "type", type_of(l->name));
	write_kind(l, "bond", write_bond, w);
	write_kind(l, "bridge", write_bridge, w);
	write_kind(l, "vlan", write_vlan, w);
	jsonw_kv_null(w, "ovn");
	jsonw_object_end(w);
}

int network_render_state(struct networks *all, const char *name, struct jsonw *w, struct error *err)
{
	auto_free struct link_address *addresses = NULL;
	struct link_info info;
	size_t n = 0;
	int r = link_get(all->links, name, &info, err);

	if (r > 0)
		r = link_addresses(all->links, name, &addresses, &n, err);
	else if (r == 0)
		r = -ENODEV;
	if (r == -ENODEV) {
		error_clear(err);
		return error_set(err, 404, "Network interface \"%s\" not found", name);
	}
	if (r < 0)
		return r;
	write_state(&info, addresses, n, w);
	return 0;
}
