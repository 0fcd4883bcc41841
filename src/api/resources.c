/* Processors, memory and the machine itself; the devices are in resources_devices.c. */
#include "api/resources.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api/resources_internal.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

#define TEXT_MAX (8u << 20) /* /proc/cpuinfo of a large machine */

char *hw_text(const char *dir, const char *name)
{
	auto_free char *path = path_join(dir, name);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(AT_FDCWD, path, TEXT_MAX, &b, &err) < 0)
		return NULL;
	return xstrdup(str_strip(b.data));
}

int64_t hw_number(const char *dir, const char *name, int64_t otherwise)
{
	auto_free char *text = hw_text(dir, name);
	int64_t n;
	char *end;

	if (text && startswith(text, "0x")) {
		n = (int64_t)strtoull(text, &end, 16);
		return *end ? otherwise : n;
	}
	return text && parse_i64(text, &n) == 0 ? n : otherwise;
}

bool hw_has(const char *dir, const char *name)
{
	auto_free char *path = path_join(dir, name);

	return access(path, F_OK) == 0;
}

char *hw_link(const char *dir, const char *name)
{
	auto_free char *path = path_join(dir, name);
	auto_free char *target = realpath(path, NULL);

	return target ? xstrdup(strrchr(target, '/') + 1) : NULL;
}

static int natural(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

void hw_list(const char *dir, struct strv *ret)
{
	DIR *d = opendir(dir);
	const struct dirent *e;

	if (!d)
		return;
	for (e = readdir(d); e; e = readdir(d))
		if (e->d_name[0] != '.')
			strv_add(ret, e->d_name);
	closedir(d);
	if (ret->len > 1)
		qsort(ret->items, ret->len, sizeof(char *), natural);
}

int64_t hw_numa_node(const char *dir)
{
	int64_t node = hw_number(dir, "numa_node", 0);

	return node < 0 ? 0 : node;
}

void hw_write_text(struct jsonw *w, const char *key, const char *dir, const char *name)
{
	auto_free char *text = hw_text(dir, name);

	if (!str_is_empty(text))
		jsonw_kv_str(w, key, text);
}

/* One processor thread. */
struct cpu {
	int64_t id, socket, die, core, node;
};

struct cpus {
	struct cpu *items;
	size_t len;
};

static void cpus_done(struct cpus *c)
{
	free(c->items);
}

static int cpu_order(const void *a, const void *b)
{
	const struct cpu *x = a, *y = b;
	const int64_t by[][2] = {{x->socket, y->socket}, {x->die, y->die}, {x->core, y->core}, {x->id, y->id}};

	for (size_t i = 0; i < ARRAY_SIZE(by); i++)
		if (by[i][0] != by[i][1])
			return by[i][0] < by[i][1] ? -1 : 1;
	return 0;
}

/* The n of a name such as "cpu12", -1 for others. */
static int64_t numbered(const char *name, const char *prefix)
{
	const char *digits = startswith(name, prefix);
	uint32_t n;

	return digits && parse_u32(digits, &n) == 0 ? (int64_t)n : -1;
}

static int64_t cpu_node(const char *dir)
{
	auto_strv struct strv names = STRV_INIT;

	hw_list(dir, &names);
	for (size_t i = 0; i < names.len; i++) {
		int64_t node = numbered(names.items[i], "node");

		if (node >= 0)
			return node;
	}
	return 0;
}

/* The threads that are online (the kernel hides the topology of others), by socket, die and core. */
static void read_cpus(const char *base, struct cpus *ret)
{
	auto_strv struct strv names = STRV_INIT;

	hw_list(base, &names);
	ret->items = xcalloc(names.len + 1, sizeof(*ret->items));
	for (size_t i = 0; i < names.len; i++) {
		auto_free char *dir = path_join(base, names.items[i]);
		auto_free char *topology = path_join(dir, "topology");
		int64_t id = numbered(names.items[i], "cpu");
		int64_t socket = hw_number(topology, "physical_package_id", 0);
		int64_t die = hw_number(topology, "die_id", 0);

		if (id < 0 || access(topology, F_OK) < 0)
			continue;
		ret->items[ret->len++] = (struct cpu){
			.id = id,
			.socket = socket < 0 ? 0 : socket,
			.die = die < 0 ? 0 : die,
			.core = hw_number(topology, "core_id", 0),
			.node = cpu_node(dir),
		};
	}
	qsort(ret->items, ret->len, sizeof(*ret->items), cpu_order);
}

/* Is @id in a list such as "0-3,8"? */
static bool in_ranges(const char *list, int64_t id)
{
	auto_strv struct strv parts = STRV_INIT;

	strv_split(&parts, list, ',');
	for (size_t i = 0; i < parts.len; i++) {
		char *dash = strchr(parts.items[i], '-');
		int64_t low, high;

		if (dash)
			*dash = '\0';
		if (parse_i64(parts.items[i], &low) < 0 || parse_i64(dash ? dash + 1 : parts.items[i], &high) < 0)
			continue;
		if (id >= low && id <= high)
			return true;
	}
	return false;
}

/* The value of @key in the block of processor @id of /proc/cpuinfo, NULL when there is none; the caller frees. */
static char *cpuinfo_value(const char *text, int64_t id, const char *key)
{
	auto_strv struct strv lines = STRV_INIT;
	bool mine = false;

	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.len; i++) {
		char *colon = strchr(lines.items[i], ':');
		int64_t n;

		if (!colon)
			continue;
		*colon = '\0';
		str_strip(lines.items[i]);
		if (streq(lines.items[i], "processor"))
			mine = parse_i64(str_strip(colon + 1), &n) == 0 && n == id;
		else if (mine && streq(lines.items[i], key))
			return xstrdup(str_strip(colon + 1));
	}
	return NULL;
}

static void write_cpuinfo(struct jsonw *w, const char *key, const char *text, int64_t id, const char *name)
{
	auto_free char *value = cpuinfo_value(text, id, name);

	if (value)
		jsonw_kv_str(w, key, value);
}

/* Caches as the socket's first thread sees them. */
static void write_caches(struct jsonw *w, const char *cpu_dir)
{
	auto_strv struct strv names = STRV_INIT;
	auto_free char *base = path_join(cpu_dir, "cache");

	hw_list(base, &names);
	jsonw_key(w, "cache");
	jsonw_array_begin(w);
	for (size_t i = 0; i < names.len; i++) {
		auto_free char *dir = path_join(base, names.items[i]);
		auto_free char *size = hw_text(dir, "size");
		auto_free char *iec = NULL;
		auto_error struct error err = ERROR_INIT;
		uint64_t bytes = 0;

		if (numbered(names.items[i], "index") < 0 || str_is_empty(size))
			continue;
		iec = xasprintf("%s%s", size, strchr("KMG", size[strlen(size) - 1]) ? "iB" : "");
		if (parse_size(iec, &bytes, &err) < 0)
			continue;
		jsonw_object_begin(w);
		jsonw_kv_int(w, "level", hw_number(dir, "level", 0));
		hw_write_text(w, "type", dir, "type");
		jsonw_kv_uint(w, "size", bytes);
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
}

/* kHz in the file, MHz in the answer. */
static void write_frequency(struct jsonw *w, const char *key, const char *cpu_dir, const char *file)
{
	auto_free char *dir = path_join(cpu_dir, "cpufreq");
	int64_t khz = hw_number(dir, file, 0);

	if (khz > 0)
		jsonw_kv_int(w, key, khz / 1000);
}

static char *cpu_dir(const char *base, int64_t id)
{
	return xasprintf("%s/cpu%lld", base, (long long)id);
}

static void write_thread(struct jsonw *w, const struct cpu *cpu, size_t index, const char *isolated)
{
	jsonw_object_begin(w);
	jsonw_kv_int(w, "id", cpu->id);
	jsonw_kv_int(w, "numa_node", cpu->node);
	jsonw_kv_uint(w, "thread", index);
	jsonw_kv_bool(w, "online", true);
	jsonw_kv_bool(w, "isolated", isolated && in_ranges(isolated, cpu->id));
	jsonw_object_end(w);
}

/* One core from its first thread on; how many threads it took. */
static size_t write_core(struct jsonw *w, const char *base, const struct cpus *cpus, size_t first, const char *isolated)
{
	const struct cpu *cpu = &cpus->items[first];
	auto_free char *dir = cpu_dir(base, cpu->id);
	size_t n = 0;

	jsonw_object_begin(w);
	jsonw_kv_int(w, "core", cpu->core);
	jsonw_kv_int(w, "die", cpu->die);
	jsonw_key(w, "threads");
	jsonw_array_begin(w);
	for (; first + n < cpus->len; n++) {
		const struct cpu *t = &cpus->items[first + n];

		if (t->socket != cpu->socket || t->die != cpu->die || t->core != cpu->core)
			break;
		write_thread(w, t, n, isolated);
	}
	jsonw_array_end(w);
	write_frequency(w, "frequency", dir, "scaling_cur_freq");
	jsonw_object_end(w);
	return n;
}

static size_t write_socket(struct jsonw *w, const char *base, const char *info, const struct cpus *cpus, size_t first)
{
	const struct cpu *cpu = &cpus->items[first];
	auto_free char *dir = cpu_dir(base, cpu->id);
	auto_free char *isolated = hw_text(base, "isolated");
	size_t n = 0;

	jsonw_object_begin(w);
	jsonw_kv_int(w, "socket", cpu->socket);
	write_cpuinfo(w, "vendor", info, cpu->id, "vendor_id");
	write_cpuinfo(w, "name", info, cpu->id, "model name");
	write_caches(w, dir);
	jsonw_key(w, "cores");
	jsonw_array_begin(w);
	while (first + n < cpus->len && cpus->items[first + n].socket == cpu->socket)
		n += write_core(w, base, cpus, first + n, isolated);
	jsonw_array_end(w);
	write_frequency(w, "frequency", dir, "scaling_cur_freq");
	write_frequency(w, "frequency_minimum", dir, "cpuinfo_min_freq");
	write_frequency(w, "frequency_turbo", dir, "cpuinfo_max_freq");
	jsonw_object_end(w);
	return n;
}

static void write_cpu(const char *root, struct jsonw *w)
{
	CLEANUP(cpus_done) struct cpus cpus = {0};
	auto_free char *base = path_join(root, "/sys/devices/system/cpu");
	auto_free char *proc = path_join(root, "/proc");
	auto_free char *info = hw_text(proc, "cpuinfo");
	struct utsname u;

	uname(&u);
	read_cpus(base, &cpus);
	jsonw_key(w, "cpu");
	jsonw_object_begin(w);
	jsonw_kv_str(w, "architecture", u.machine);
	jsonw_key(w, "sockets");
	jsonw_array_begin(w);
	for (size_t i = 0; i < cpus.len;)
		i += write_socket(w, base, info ? info : "", &cpus, i);
	jsonw_array_end(w);
	jsonw_kv_uint(w, "total", cpus.len);
	jsonw_object_end(w);
}

uint64_t hw_meminfo(const char *text, const char *key)
{
	auto_strv struct strv lines = STRV_INIT;

	strv_split(&lines, text, '\n');
	for (size_t i = 0; i < lines.len; i++) {
		auto_strv struct strv words = STRV_INIT;
		uint64_t n;
		size_t at = 0;

		strv_split_words(&words, lines.items[i]);
		/* "Node 0 MemTotal: 1 kB" in a node's file */
		if (words.len > 3 && streq(words.items[0], "Node"))
			at = 2;
		if (words.len < at + 2 || !startswith(words.items[at], key) ||
		    !streq(words.items[at] + strlen(key), ":") || parse_u64(words.items[at + 1], &n) < 0)
			continue;
		return words.len > at + 2 && streq(words.items[at + 2], "kB") ? n * 1024 : n;
	}
	return 0;
}

/* @available: what could still be given out. */
static void write_amounts(struct jsonw *w, const char *text, uint64_t page, uint64_t available)
{
	uint64_t pages = hw_meminfo(text, "HugePages_Total"), free_pages = hw_meminfo(text, "HugePages_Free");
	uint64_t total = hw_meminfo(text, "MemTotal");

	jsonw_kv_uint(w, "hugepages_total", pages * page);
	jsonw_kv_uint(w, "hugepages_used", pages > free_pages ? (pages - free_pages) * page : 0);
	jsonw_kv_uint(w, "total", total);
	jsonw_kv_uint(w, "used", total > available ? total - available : 0);
}

static void write_nodes(const char *root, struct jsonw *w, uint64_t page)
{
	auto_strv struct strv names = STRV_INIT;
	auto_free char *base = path_join(root, "/sys/devices/system/node");

	hw_list(base, &names);
	jsonw_key(w, "nodes");
	jsonw_array_begin(w);
	for (size_t i = 0; i < names.len; i++) {
		auto_free char *dir = path_join(base, names.items[i]);
		auto_free char *text = hw_text(dir, "meminfo");
		int64_t node = numbered(names.items[i], "node");

		if (node < 0 || !text)
			continue;
		jsonw_object_begin(w);
		jsonw_kv_int(w, "numa_node", node);
		/* a node's file has no MemAvailable: the page cache can be given up */
		write_amounts(w, text, page, hw_meminfo(text, "MemFree") + hw_meminfo(text, "FilePages"));
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
}

static void write_memory(const char *root, struct jsonw *w)
{
	auto_free char *proc = path_join(root, "/proc");
	auto_free char *read = hw_text(proc, "meminfo");
	const char *text = read ? read : "";
	uint64_t page = hw_meminfo(text, "Hugepagesize");

	jsonw_key(w, "memory");
	jsonw_object_begin(w);
	write_nodes(root, w, page);
	jsonw_kv_uint(w, "hugepages_size", page);
	write_amounts(w, text, page, hw_meminfo(text, "MemAvailable"));
	jsonw_object_end(w);
}

/* "container", "virtual-machine" or "physical". */
static const char *machine_type(const char *root)
{
	auto_free char *run = path_join(root, "/run/systemd");
	auto_free char *proc = path_join(root, "/proc");
	auto_free char *info = hw_text(proc, "cpuinfo");
	auto_free char *flags = info ? cpuinfo_value(info, 0, "flags") : NULL;
	auto_strv struct strv words = STRV_INIT;

	if (hw_has(run, "container"))
		return "container";
	strv_split_words(&words, flags ? flags : "");
	return strv_contains(&words, "hypervisor") ? "virtual-machine" : "physical";
}

struct dmi_field {
	const char *key, *file;
};

static void write_dmi(struct jsonw *w, const char *key, const char *dir, const struct dmi_field *fields)
{
	jsonw_key(w, key);
	jsonw_object_begin(w);
	for (; fields->key; fields++)
		hw_write_text(w, fields->key, dir, fields->file);
	jsonw_object_end(w);
}

static void write_system(const char *root, struct jsonw *w)
{
	static const struct dmi_field fields[] = {
		{"uuid", "product_uuid"},     {"vendor", "sys_vendor"},       {"product", "product_name"},
		{"family", "product_family"}, {"version", "product_version"}, {"sku", "product_sku"},
		{"serial", "product_serial"},
	};
	static const struct dmi_field firmware[] = {
		{"vendor", "bios_vendor"}, {"date", "bios_date"}, {"version", "bios_version"}, {0}};
	static const struct dmi_field chassis[] = {{"vendor", "chassis_vendor"},
						   {"type", "chassis_type"},
						   {"serial", "chassis_serial"},
						   {"version", "chassis_version"},
						   {0}};
	static const struct dmi_field board[] = {{"vendor", "board_vendor"},
						 {"product", "board_name"},
						 {"serial", "board_serial"},
						 {"version", "board_version"},
						 {0}};
	auto_free char *dir = path_join(root, "/sys/class/dmi/id");

	jsonw_key(w, "system");
	jsonw_object_begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		auto_free char *text = hw_text(dir, fields[i].file);

		jsonw_kv_str(w, fields[i].key, text);
	}
	jsonw_kv_str(w, "type", machine_type(root));
	if (access(dir, F_OK) == 0) {
		write_dmi(w, "firmware", dir, firmware);
		write_dmi(w, "chassis", dir, chassis);
		write_dmi(w, "motherboard", dir, board);
	} else {
		jsonw_kv_null(w, "firmware");
		jsonw_kv_null(w, "chassis");
		jsonw_kv_null(w, "motherboard");
	}
	jsonw_object_end(w);
}

void resources_write(const char *root, struct jsonw *w)
{
	jsonw_object_begin(w);
	write_cpu(root, w);
	write_memory(root, w);
	resources_write_gpu(root, w);
	resources_write_network(root, w);
	resources_write_storage(root, w);
	resources_write_usb(root, w);
	resources_write_pci(root, w);
	write_system(root, w);
	jsonw_object_end(w);
}
