/* Devices as /sys shows them: graphics and network cards, disks, USB and PCI devices. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api/resources.h"
#include "api/resources_internal.h"
#include "base/alloc.h"
#include "base/path.h"
#include "base/str.h"

#define SECTOR_BYTES 512
#define PCI_CLASS_NETWORK 0x02
#define PCI_CLASS_DISPLAY 0x03
#define USB_CLASS_HUB 0x09

/* "0000:00:03.0" */
static bool is_pci_address(const char *name)
{
	return strlen(name) == 12 && strspn(name, "0123456789abcdef:.") == 12 && name[4] == ':' && name[7] == ':' &&
	       name[10] == '.';
}

/* The nearest folder at or above @dir/@name (links followed) that is a PCI device; NULL when there is none. */
static char *pci_parent(const char *dir, const char *name)
{
	auto_free char *path = path_join(dir, name);
	auto_free char *real = realpath(path, NULL);
	char *slash = real ? strrchr(real, '/') : NULL;

	for (; slash; slash = strrchr(real, '/')) {
		if (is_pci_address(slash + 1))
			return TAKE_PTR(real);
		*slash = '\0';
	}
	return NULL;
}

/* The same for a USB device: the folder that has a bus and a device number. */
static char *usb_parent(const char *dir, const char *name)
{
	auto_free char *path = path_join(dir, name);
	auto_free char *real = realpath(path, NULL);
	char *slash = real ? strrchr(real, '/') : NULL;

	for (; slash; slash = strrchr(real, '/')) {
		if (hw_has(real, "busnum") && hw_has(real, "devnum"))
			return TAKE_PTR(real);
		*slash = '\0';
	}
	return NULL;
}

static const char *last_part(const char *path)
{
	return strrchr(path, '/') + 1;
}

/* An id such as 0x1af4 as clients know it: "1af4". */
static void write_id(struct jsonw *w, const char *key, const char *dir, const char *name)
{
	auto_free char *text = hw_text(dir, name);
	const char *digits = text ? startswith(text, "0x") : NULL;

	jsonw_kv_str(w, key, digits ? digits : text);
}

/* The driver's name and version; drivers of the kernel's own tree carry the kernel's. */
static void write_driver(struct jsonw *w, const char *dir)
{
	auto_free char *driver = hw_link(dir, "driver");
	auto_free char *version = hw_text(dir, "driver/module/version");
	struct utsname u;

	uname(&u);
	jsonw_kv_str(w, "driver", driver);
	jsonw_kv_str(w, "driver_version", version ? version : driver ? u.release : NULL);
}

/* What all cards tell of their PCI device. */
static void write_pci_card(struct jsonw *w, const char *dir)
{
	write_driver(w, dir);
	jsonw_kv_int(w, "numa_node", hw_numa_node(dir));
	jsonw_kv_str(w, "pci_address", last_part(dir));
	write_id(w, "vendor_id", dir, "vendor");
	write_id(w, "product_id", dir, "device");
}

static void write_usb_address(struct jsonw *w, const char *dir)
{
	jsonw_kv_strf(w, "usb_address", "%lld:%lld", (long long)hw_number(dir, "busnum", 0),
		      (long long)hw_number(dir, "devnum", 0));
}

/* PCI and USB address of what @dir/@name belongs to, where it has them. */
static void write_addresses(struct jsonw *w, const char *dir, const char *name)
{
	auto_free char *pci = pci_parent(dir, name);
	auto_free char *usb = usb_parent(dir, name);

	if (pci)
		jsonw_kv_str(w, "pci_address", last_part(pci));
	if (usb)
		write_usb_address(w, usb);
}

static void pci_list(const char *root, struct strv *ret)
{
	auto_free char *base = path_join(root, "/sys/bus/pci/devices");
	auto_strv struct strv names = STRV_INIT;

	hw_list(base, &names);
	for (size_t i = 0; i < names.len; i++)
		if (is_pci_address(names.items[i]))
			strv_take(ret, path_join(base, names.items[i]));
}

static bool pci_class_is(const char *dir, unsigned class)
{
	return hw_number(dir, "class", 0) >> 16 == class;
}

void resources_write_pci(const char *root, struct jsonw *w)
{
	auto_strv struct strv devices = STRV_INIT;

	pci_list(root, &devices);
	jsonw_key(w, "pci");
	jsonw_object_begin(w);
	jsonw_key(w, "devices");
	jsonw_array_begin(w);
	for (size_t i = 0; i < devices.len; i++) {
		const char *dir = devices.items[i];
		auto_free char *group = hw_link(dir, "iommu_group");
		uint32_t number = 0;

		jsonw_object_begin(w);
		write_pci_card(w, dir);
		jsonw_kv_uint(w, "iommu_group", group && parse_u32(group, &number) == 0 ? number : 0);
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
	jsonw_kv_uint(w, "total", devices.len);
	jsonw_object_end(w);
}

/* The n of "usb" interfaces: folders such as 1-1:1.0 below the device. */
static void write_usb_interfaces(struct jsonw *w, const char *dir)
{
	auto_strv struct strv names = STRV_INIT;

	hw_list(dir, &names);
	jsonw_key(w, "interfaces");
	jsonw_array_begin(w);
	for (size_t i = 0; i < names.len; i++) {
		auto_free char *sub = path_join(dir, names.items[i]);
		static const char *const fields[][2] = {{"class_id", "bInterfaceClass"},
							{"subclass_id", "bInterfaceSubClass"},
							{"number", "bInterfaceNumber"}};

		if (!hw_has(sub, "bInterfaceNumber"))
			continue;
		jsonw_object_begin(w);
		write_driver(w, sub);
		for (size_t k = 0; k < ARRAY_SIZE(fields); k++) {
			auto_free char *text = hw_text(sub, fields[k][1]);

			/* hexadecimal without a prefix */
			jsonw_kv_uint(w, fields[k][0], text ? strtoul(text, NULL, 16) : 0);
		}
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
}

static bool is_hub(const char *dir)
{
	auto_free char *class = hw_text(dir, "bDeviceClass");

	return class && strtoul(class, NULL, 16) == USB_CLASS_HUB;
}

void resources_write_usb(const char *root, struct jsonw *w)
{
	auto_free char *base = path_join(root, "/sys/bus/usb/devices");
	auto_strv struct strv names = STRV_INIT;
	unsigned total = 0;

	hw_list(base, &names);
	jsonw_key(w, "usb");
	jsonw_object_begin(w);
	jsonw_key(w, "devices");
	jsonw_array_begin(w);
	for (size_t i = 0; i < names.len; i++) {
		auto_free char *dir = path_join(base, names.items[i]);

		if (!hw_has(dir, "idVendor") || is_hub(dir))
			continue;
		jsonw_object_begin(w);
		jsonw_kv_int(w, "bus_address", hw_number(dir, "busnum", 0));
		jsonw_kv_int(w, "device_address", hw_number(dir, "devnum", 0));
		jsonw_kv_int(w, "speed", hw_number(dir, "speed", 0));
		write_id(w, "vendor_id", dir, "idVendor");
		write_id(w, "product_id", dir, "idProduct");
		hw_write_text(w, "vendor", dir, "manufacturer");
		hw_write_text(w, "product", dir, "product");
		write_usb_interfaces(w, dir);
		jsonw_object_end(w);
		total++;
	}
	jsonw_array_end(w);
	jsonw_kv_uint(w, "total", total);
	jsonw_object_end(w);
}

/* One card's node in /dev/dri: name and "major:minor". */
static void write_drm_node(struct jsonw *w, const char *drm, const char *name, const char *name_key,
			   const char *device_key)
{
	auto_free char *dir = path_join(drm, name);

	jsonw_kv_str(w, name_key, name);
	hw_write_text(w, device_key, dir, "dev");
}

static void write_drm(struct jsonw *w, const char *dir)
{
	auto_free char *drm = path_join(dir, "drm");
	auto_strv struct strv names = STRV_INIT;
	bool open = false;

	hw_list(drm, &names);
	for (size_t i = 0; i < names.len; i++) {
		const char *number = startswith(names.items[i], "card");
		uint32_t id;

		if (number && parse_u32(number, &id) == 0 && !open) {
			open = true;
			jsonw_key(w, "drm");
			jsonw_object_begin(w);
			jsonw_kv_uint(w, "id", id);
			write_drm_node(w, drm, names.items[i], "card_name", "card_device");
		} else if (open && startswith(names.items[i], "renderD")) {
			write_drm_node(w, drm, names.items[i], "render_name", "render_device");
		}
	}
	if (open)
		jsonw_object_end(w);
}

void resources_write_gpu(const char *root, struct jsonw *w)
{
	auto_strv struct strv devices = STRV_INIT;
	unsigned total = 0;

	pci_list(root, &devices);
	jsonw_key(w, "gpu");
	jsonw_object_begin(w);
	jsonw_key(w, "cards");
	jsonw_array_begin(w);
	for (size_t i = 0; i < devices.len; i++) {
		if (!pci_class_is(devices.items[i], PCI_CLASS_DISPLAY))
			continue;
		jsonw_object_begin(w);
		write_pci_card(w, devices.items[i]);
		write_drm(w, devices.items[i]);
		jsonw_object_end(w);
		total++;
	}
	jsonw_array_end(w);
	jsonw_kv_uint(w, "total", total);
	jsonw_object_end(w);
}

/* One interface; @dir is its folder below /sys/class/net. */
static void write_port(struct jsonw *w, const char *dir, const char *name)
{
	static const struct {
		int64_t type; /* ARPHRD_* */
		const char *name;
	} protocols[] = {{1, "ethernet"}, {32, "infiniband"}};
	int64_t type = hw_number(dir, "type", 0), speed = hw_number(dir, "speed", 0);
	bool link = hw_number(dir, "carrier", 0) == 1;

	jsonw_object_begin(w);
	jsonw_kv_str(w, "id", name);
	hw_write_text(w, "address", dir, "address");
	jsonw_kv_int(w, "port", hw_number(dir, "dev_port", 0));
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (type == protocols[i].type)
			jsonw_kv_str(w, "protocol", protocols[i].name);
	jsonw_kv_bool(w, "link_detected", link);
	if (link && speed > 0)
		jsonw_kv_int(w, "link_speed", speed);
	if (link)
		hw_write_text(w, "link_duplex", dir, "duplex");
	jsonw_object_end(w);
}

/* A physical interface and the folder of the device that it is a port of. */
struct port {
	char *name, *dir, *device;
	bool done;
};

struct ports {
	struct port *items;
	size_t len;
};

static void ports_done(struct ports *p)
{
	for (size_t i = 0; i < p->len; i++) {
		free(p->items[i].name);
		free(p->items[i].dir);
		free(p->items[i].device);
	}
	free(p->items);
}

static void read_ports(const char *root, struct ports *ret)
{
	auto_free char *base = path_join(root, "/sys/class/net");
	auto_strv struct strv names = STRV_INIT;

	hw_list(base, &names);
	ret->items = xcalloc(names.len + 1, sizeof(*ret->items));
	for (size_t i = 0; i < names.len; i++) {
		auto_free char *dir = path_join(base, names.items[i]);
		auto_free char *link = path_join(dir, "device");
		char *device = usb_parent(dir, "device");

		if (!device)
			device = pci_parent(dir, "device");
		if (!device)
			device = realpath(link, NULL);
		if (!device)
			continue; /* a bridge, a veth, lo */
		ret->items[ret->len++] = (struct port){
			.name = xstrdup(names.items[i]), .dir = TAKE_PTR(dir), .device = device};
	}
}

/* All interfaces of the device @dir; "ports" is left out when it has none. */
static void write_ports_of(struct jsonw *w, struct ports *ports, const char *dir)
{
	bool open = false;

	for (size_t i = 0; i < ports->len; i++) {
		struct port *p = &ports->items[i];

		if (p->done || !streq(p->device, dir))
			continue;
		if (!open) {
			jsonw_key(w, "ports");
			jsonw_array_begin(w);
		}
		open = true;
		p->done = true;
		write_port(w, p->dir, p->name);
	}
	if (open)
		jsonw_array_end(w);
}

/* A card that is no PCI device of the network class: USB, or a PCI function with several jobs. */
static void write_other_card(struct jsonw *w, struct ports *ports, const struct port *first)
{
	auto_free char *link = path_join(first->dir, "device");
	auto_free char *device = xstrdup(first->device);
	auto_free char *driver = hw_link(link, "driver");

	jsonw_object_begin(w);
	jsonw_kv_str(w, "driver", driver);
	jsonw_kv_int(w, "numa_node", hw_numa_node(device));
	if (hw_has(device, "busnum")) {
		write_usb_address(w, device);
		write_id(w, "vendor_id", device, "idVendor");
		write_id(w, "product_id", device, "idProduct");
		hw_write_text(w, "vendor", device, "manufacturer");
		hw_write_text(w, "product", device, "product");
	} else if (is_pci_address(last_part(device))) {
		jsonw_kv_str(w, "pci_address", last_part(device));
		write_id(w, "vendor_id", device, "vendor");
		write_id(w, "product_id", device, "device");
	}
	write_ports_of(w, ports, device);
	jsonw_object_end(w);
}

void resources_write_network(const char *root, struct jsonw *w)
{
	auto_strv struct strv devices = STRV_INIT;
	CLEANUP(ports_done) struct ports ports = {0};
	unsigned total = 0;

	pci_list(root, &devices);
	read_ports(root, &ports);
	jsonw_key(w, "network");
	jsonw_object_begin(w);
	jsonw_key(w, "cards");
	jsonw_array_begin(w);
	for (size_t i = 0; i < devices.len; i++) {
		auto_free char *real = realpath(devices.items[i], NULL);

		if (!real || !pci_class_is(real, PCI_CLASS_NETWORK))
			continue;
		jsonw_object_begin(w);
		write_pci_card(w, real);
		write_ports_of(w, &ports, real);
		jsonw_object_end(w);
		total++;
	}
	for (size_t i = 0; i < ports.len; i++) {
		if (ports.items[i].done)
			continue;
		write_other_card(w, &ports, &ports.items[i]);
		total++;
	}
	jsonw_array_end(w);
	jsonw_kv_uint(w, "total", total);
	jsonw_object_end(w);
}

/* What clients know a disk's bus as: where it hangs decides before what it calls itself. */
static char *disk_type(const char *dir)
{
	auto_free char *path = path_join(dir, "device");
	auto_free char *real = realpath(path, NULL);
	auto_free char *subsystem = hw_link(path, "subsystem");

	if (hw_number(path, "type", 0) == 5)
		return xstrdup("cdrom");
	if (real && strstr(real, "/usb"))
		return xstrdup("usb");
	if (real && strstr(real, "/ata"))
		return xstrdup("sata");
	return subsystem ? TAKE_PTR(subsystem) : xstrdup("");
}

/* The name of a link in @dir that leads to the device @name, NULL when there is none; the caller frees. */
static char *dev_alias(const char *root, const char *folder, const char *name)
{
	auto_free char *dir = path_join(root, folder);
	auto_strv struct strv names = STRV_INIT;

	hw_list(dir, &names);
	for (size_t i = 0; i < names.len; i++) {
		auto_free char *path = path_join(dir, names.items[i]);
		auto_free char *target = NULL;
		char buf[256];
		ssize_t n = readlink(path, buf, sizeof(buf) - 1);

		if (n <= 0)
			continue;
		target = xasprintf("/%.*s", (int)n, buf);
		if (streq(last_part(target), name))
			return xstrdup(names.items[i]);
	}
	return NULL;
}

/* id, device number, size and whether it is read-only: what disks and partitions have in common. */
static void write_block(struct jsonw *w, const char *dir, const char *name)
{
	jsonw_kv_str(w, "id", name);
	hw_write_text(w, "device", dir, "dev");
	jsonw_kv_bool(w, "read_only", hw_number(dir, "ro", 0) == 1);
	jsonw_kv_int(w, "size", hw_number(dir, "size", 0) * SECTOR_BYTES);
}

static void write_partitions(struct jsonw *w, const char *dir)
{
	auto_strv struct strv names = STRV_INIT;

	hw_list(dir, &names);
	jsonw_key(w, "partitions");
	jsonw_array_begin(w);
	for (size_t i = 0; i < names.len; i++) {
		auto_free char *sub = path_join(dir, names.items[i]);
		int64_t number = hw_number(sub, "partition", 0);

		if (number <= 0)
			continue;
		jsonw_object_begin(w);
		write_block(w, sub, names.items[i]);
		jsonw_kv_int(w, "partition", number);
		jsonw_object_end(w);
	}
	jsonw_array_end(w);
}

static void write_disk(struct jsonw *w, const char *root, const char *dir, const char *name)
{
	auto_free char *device = path_join(dir, "device");
	auto_free char *type = disk_type(dir);
	auto_free char *by_id = dev_alias(root, "/dev/disk/by-id", name);
	auto_free char *by_path = dev_alias(root, "/dev/disk/by-path", name);

	jsonw_object_begin(w);
	write_block(w, dir, name);
	jsonw_kv_str(w, "type", type);
	hw_write_text(w, "model", device, "model");
	jsonw_kv_bool(w, "removable", hw_number(dir, "removable", 0) == 1);
	jsonw_kv_int(w, "numa_node", hw_numa_node(device));
	jsonw_kv_str(w, "device_id", by_id);
	if (by_path)
		jsonw_kv_str(w, "device_path", by_path);
	jsonw_kv_int(w, "block_size", hw_number(dir, "queue/logical_block_size", 0));
	hw_write_text(w, "firmware_version", device, hw_has(device, "firmware_rev") ? "firmware_rev" : "rev");
	hw_write_text(w, "serial", dir, hw_has(dir, "serial") ? "serial" : "device/serial");
	hw_write_text(w, "wwn", dir, hw_has(dir, "wwid") ? "wwid" : "device/wwid");
	/* the kernel tells only whether it turns */
	jsonw_kv_int(w, "rpm", hw_number(dir, "queue/rotational", 0) ? 1 : 0);
	write_addresses(w, dir, "device");
	write_partitions(w, dir);
	jsonw_object_end(w);
}

void resources_write_storage(const char *root, struct jsonw *w)
{
	auto_free char *base = path_join(root, "/sys/block");
	auto_strv struct strv names = STRV_INIT;
	unsigned total = 0;

	hw_list(base, &names);
	jsonw_key(w, "storage");
	jsonw_object_begin(w);
	jsonw_key(w, "disks");
	jsonw_array_begin(w);
	for (size_t i = 0; i < names.len; i++) {
		auto_free char *dir = path_join(base, names.items[i]);

		if (!hw_has(dir, "device"))
			continue; /* loop, zram, device mapper */
		write_disk(w, root, dir, names.items[i]);
		total++;
	}
	jsonw_array_end(w);
	jsonw_kv_uint(w, "total", total);
	jsonw_object_end(w);
}
