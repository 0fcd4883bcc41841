/* `lxc info --resources`: the server's hardware as text. */
#include "client/info_resources.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "client/print.h"

/* One line, @indent spaces in front; the server's text is made safe for terminals. */
static void put(unsigned indent, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void put(unsigned indent, const char *fmt, ...)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_free char *safe = NULL;
	va_list ap;

	va_start(ap, fmt);
	strbuf_vappendf(&b, fmt, ap);
	va_end(ap);
	safe = print_safe_text(strbuf_str(&b), "");
	printf("%*s%s\n", (int)indent, "", safe);
}

static void put_text(unsigned indent, const char *label, const struct json *j, const char *key)
{
	const char *text = json_get_str(j, key);

	if (!str_is_empty(text))
		put(indent, "%s: %s", label, text);
}

static void put_size(unsigned indent, const char *label, int64_t bytes)
{
	auto_free char *text = format_size_iec(bytes > 0 ? (uint64_t)bytes : 0);

	put(indent, "%s: %s", label, text);
}

static long long number(const struct json *j, const char *key)
{
	return (long long)json_int(json_get(j, key));
}

static const char *yes_no(const struct json *j, const char *key)
{
	return json_is_true(json_get(j, key)) ? "true" : "false";
}

/* A part of the system that has rows of text only. */
struct row {
	const char *label, *key;
};

static void put_rows(unsigned indent, const char *title, const struct json *j, const struct row *rows)
{
	bool any = false;

	for (; rows->label; rows++) {
		if (str_is_empty(json_get_str(j, rows->key)))
			continue;
		if (!any)
			put(indent, "%s:", title);
		any = true;
		put_text(indent + 2, rows->label, j, rows->key);
	}
}

static void print_system(const struct json *s)
{
	static const struct row system[] = {{"UUID", "uuid"},     {"Vendor", "vendor"},   {"Product", "product"},
					    {"Family", "family"}, {"Version", "version"}, {"SKU", "sku"},
					    {"Serial", "serial"}, {"Type", "type"},       {0}};
	static const struct row part[] = {{"Vendor", "vendor"},
					  {"Product", "product"},
					  {"Type", "type"},
					  {"Version", "version"},
					  {"Date", "date"},
					  {"Serial", "serial"},
					  {0}};

	put_rows(0, "System", s, system);
	put_rows(2, "Chassis", json_get(s, "chassis"), part);
	put_rows(2, "Motherboard", json_get(s, "motherboard"), part);
	put_rows(2, "Firmware", json_get(s, "firmware"), part);
}

static void print_core(unsigned indent, const struct json *core)
{
	const struct json *threads = json_get(core, "threads");

	put(indent, "- Core %lld", number(core, "core"));
	if (number(core, "frequency"))
		put(indent + 2, "Frequency: %lldMhz", number(core, "frequency"));
	put(indent + 2, "Threads:");
	for (size_t i = 0; i < json_len(threads); i++) {
		const struct json *t = json_at(threads, i);

		put(indent + 4, "- %lld (id: %lld, online: %s, NUMA node: %lld)", number(t, "thread"), number(t, "id"),
		    yes_no(t, "online"), number(t, "numa_node"));
	}
}

static void print_socket(unsigned indent, const struct json *s)
{
	const struct json *caches = json_get(s, "cache"), *cores = json_get(s, "cores");

	put_text(indent, "Vendor", s, "vendor");
	put_text(indent, "Name", s, "name");
	if (json_len(caches))
		put(indent, "Caches:");
	for (size_t i = 0; i < json_len(caches); i++) {
		const struct json *c = json_at(caches, i);
		auto_free char *size = format_size_iec((uint64_t)number(c, "size"));

		put(indent + 2, "- Level %lld (type: %s): %s", number(c, "level"),
		    json_get_str(c, "type") ? json_get_str(c, "type") : "", size);
	}
	put(indent, "Cores:");
	for (size_t i = 0; i < json_len(cores); i++)
		print_core(indent + 2, json_at(cores, i));
}

static void print_cpu(const struct json *cpu)
{
	const struct json *sockets = json_get(cpu, "sockets");
	const char *arch = json_get_str(cpu, "architecture");
	bool several = json_len(sockets) > 1;

	putchar('\n');
	put(0, "%s (%s):", several ? "CPUs" : "CPU", arch ? arch : "");
	for (size_t i = 0; i < json_len(sockets); i++) {
		if (several)
			put(2, "Socket %lld:", number(json_at(sockets, i), "socket"));
		print_socket(several ? 4 : 2, json_at(sockets, i));
	}
}

static void print_amounts(unsigned indent, const struct json *m)
{
	put_size(indent, "Free", number(m, "total") - number(m, "used"));
	put_size(indent, "Used", number(m, "used"));
	put_size(indent, "Total", number(m, "total"));
}

static void print_memory(const struct json *m)
{
	const struct json *nodes = json_get(m, "nodes");

	putchar('\n');
	put(0, "Memory:");
	if (number(m, "hugepages_total")) {
		put(2, "Hugepages:");
		put_size(4, "Free", number(m, "hugepages_total") - number(m, "hugepages_used"));
		put_size(4, "Used", number(m, "hugepages_used"));
		put_size(4, "Total", number(m, "hugepages_total"));
	}
	if (json_len(nodes) > 1)
		put(2, "NUMA nodes:");
	for (size_t i = 0; json_len(nodes) > 1 && i < json_len(nodes); i++) {
		put(4, "Node %lld:", number(json_at(nodes, i), "numa_node"));
		print_amounts(6, json_at(nodes, i));
	}
	print_amounts(2, m);
}

/* What cards and disks tell of where they are. */
static void print_place(unsigned indent, const struct json *j)
{
	put(indent, "NUMA node: %lld", number(j, "numa_node"));
	put_text(indent, "PCI address", j, "pci_address");
	put_text(indent, "USB address", j, "usb_address");
}

/* "Vendor: Name (1af4)" */
static void print_named(unsigned indent, const char *label, const struct json *j, const char *key, const char *id_key)
{
	const char *name = json_get_str(j, key), *id = json_get_str(j, id_key);

	if (!str_is_empty(name) && !str_is_empty(id))
		put(indent, "%s: %s (%s)", label, name, id);
	else if (!str_is_empty(name) || !str_is_empty(id))
		put(indent, "%s: %s", label, str_is_empty(name) ? id : name);
}

static void print_card(unsigned indent, const struct json *card)
{
	const struct json *ports = json_get(card, "ports"), *drm = json_get(card, "drm");

	print_place(indent, card);
	print_named(indent, "Vendor", card, "vendor", "vendor_id");
	print_named(indent, "Product", card, "product", "product_id");
	print_named(indent, "Driver", card, "driver", "driver_version");
	if (drm)
		put(indent, "DRM: card %lld", number(drm, "id"));
	put_text(indent + 2, "Card", drm, "card_name");
	put_text(indent + 2, "Render", drm, "render_name");
	if (json_len(ports))
		put(indent, "Ports:");
	for (size_t i = 0; i < json_len(ports); i++) {
		const struct json *p = json_at(ports, i);

		put(indent + 2, "- Port %lld (%s)", number(p, "port"), json_get_str(p, "protocol"));
		put_text(indent + 4, "ID", p, "id");
		put_text(indent + 4, "Address", p, "address");
		put(indent + 4, "Link detected: %s", yes_no(p, "link_detected"));
		if (number(p, "link_speed"))
			put(indent + 4, "Link speed: %lldMbit/s", number(p, "link_speed"));
	}
}

static void print_disk(unsigned indent, const struct json *d)
{
	const struct json *parts = json_get(d, "partitions");

	print_place(indent, d);
	put_text(indent, "ID", d, "id");
	put_text(indent, "Device", d, "device");
	put_text(indent, "Model", d, "model");
	put_text(indent, "Type", d, "type");
	put_size(indent, "Size", number(d, "size"));
	put_text(indent, "WWN", d, "wwn");
	put(indent, "Read-Only: %s", yes_no(d, "read_only"));
	put(indent, "Removable: %s", yes_no(d, "removable"));
	if (json_len(parts))
		put(indent, "Partitions:");
	for (size_t i = 0; i < json_len(parts); i++) {
		const struct json *p = json_at(parts, i);

		put(indent + 2, "- Partition %lld", number(p, "partition"));
		put_text(indent + 4, "ID", p, "id");
		put_text(indent + 4, "Device", p, "device");
		put(indent + 4, "Read-Only: %s", yes_no(p, "read_only"));
		put_size(indent + 4, "Size", number(p, "size"));
	}
}

static void print_usb(unsigned indent, const struct json *d)
{
	print_named(indent, "Vendor", d, "vendor", "vendor_id");
	print_named(indent, "Product", d, "product", "product_id");
	put(indent, "Bus Address: %lld", number(d, "bus_address"));
	put(indent, "Device Address: %lld", number(d, "device_address"));
}

void info_resources_print(const struct json *resources)
{
	static const struct {
		const char *member, *list, *one, *several, *item;
		void (*print)(unsigned indent, const struct json *j);
	} kinds[] = {
		{"gpu", "cards", "GPU", "GPUs", "Card", print_card},
		{"network", "cards", "NIC", "NICs", "Card", print_card},
		{"storage", "disks", "Disk", "Disks", "Disk", print_disk},
		{"usb", "devices", "USB device", "USB devices", "Device", print_usb},
	};

	print_system(json_get(resources, "system"));
	print_cpu(json_get(resources, "cpu"));
	print_memory(json_get(resources, "memory"));
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		const struct json *list = json_get(json_get(resources, kinds[k].member), kinds[k].list);
		size_t n = json_len(list);

		if (n)
			printf("\n%s:\n", n > 1 ? kinds[k].several : kinds[k].one);
		for (size_t i = 0; i < n; i++) {
			if (n > 1)
				put(2, "%s %zu:", kinds[k].item, i);
			kinds[k].print(n > 1 ? 4 : 2, json_at(list, i));
		}
	}
}
