/* GET /1.0/resources from a made-up /sys and /proc: what is there is told, what is not gives empty lists. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/resources.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"

static char root[] = "/tmp/test-resources.XXXXXX";

static char *in_root(const char *path)
{
	char *full = xasprintf("%s%s", root, path);
	auto_free char *dir = xstrdup(full);
	auto_error struct error err = ERROR_INIT;

	*strrchr(dir, '/') = '\0';
	expect_ok(dir_make_all(AT_FDCWD, dir, 0755, &err), &err);
	return full;
}

static void put(const char *path, const char *text)
{
	auto_free char *full = in_root(path);
	auto_error struct error err = ERROR_INIT;

	expect_ok(file_replace_at(AT_FDCWD, full, text, strlen(text), 0644, &err), &err);
}

static void put_link(const char *path, const char *target)
{
	auto_free char *full = in_root(path);

	assert_int_equal(symlink(target, full), 0);
}

static int make_root(void **state UNUSED)
{
	strncpy(root, "/tmp/test-resources.XXXXXX", sizeof(root));
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;

	return path_remove_tree(AT_FDCWD, root, &err);
}

static struct json *read_all(void)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	struct jsonw w = JSONW(&b);
	struct json *j = NULL;

	resources_write(root, &w);
	expect_ok(json_parse(strbuf_str(&b), b.len, &j, &err), &err);
	return j;
}

/* The value at "cpu.sockets.0.cores"; NULL when it is not there. */
static const struct json *at(const struct json *j, const char *path)
{
	auto_strv struct strv parts = STRV_INIT;

	strv_split(&parts, path, '.');
	for (size_t i = 0; j && i < parts.len; i++) {
		uint32_t n;

		j = parse_u32(parts.items[i], &n) == 0 ? json_at(j, n) : json_get(j, parts.items[i]);
	}
	return j;
}

static void is_number(const struct json *j, const char *path, int64_t want)
{
	if (!at(j, path))
		fail_msg("%s is not there", path);
	if (json_int(at(j, path)) != want)
		fail_msg("%s is %lld, wanted %lld", path, (long long)json_int(at(j, path)), (long long)want);
}

static void is_text(const struct json *j, const char *path, const char *want)
{
	const char *text = at(j, path) ? json_str(at(j, path)) : NULL;

	if (!text || !streq(text, want))
		fail_msg("%s is \"%s\", wanted \"%s\"", path, text ? text : "(none)", want);
}

static void empty_host(void **state UNUSED)
{
	auto_json struct json *j = read_all();
	static const char *const lists[] = {"cpu.sockets",   "memory.nodes", "gpu.cards",  "network.cards",
					    "storage.disks", "usb.devices",  "pci.devices"};
	static const char *const totals[] = {"cpu.total",     "memory.total", "gpu.total", "network.total",
					     "storage.total", "usb.total",    "pci.total"};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		assert_int_equal(json_kind(at(j, lists[i])), JSON_ARRAY);
		assert_int_equal(json_len(at(j, lists[i])), 0);
		is_number(j, totals[i], 0);
	}
	is_text(j, "system.type", "physical");
	is_text(j, "system.vendor", "");
	assert_int_equal(json_kind(at(j, "system.firmware")), JSON_NULL);
}

static void put_cpu(int id, int socket, int core, int node)
{
	auto_free char *dir = xasprintf("/sys/devices/system/cpu/cpu%d", id);
	const struct {
		const char *name;
		int value;
	} files[] = {{"topology/physical_package_id", socket}, {"topology/core_id", core}, {"topology/die_id", 0}};
	auto_free char *link = xasprintf("%s/node%d", dir, node);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_free char *path = xasprintf("%s/%s", dir, files[i].name);
		auto_free char *text = xasprintf("%d\n", files[i].value);

		put(path, text);
	}
	put_link(link, "../../node/node0");
}

static void processors(void **state UNUSED)
{
	auto_json struct json *j = NULL;

	/* two sockets; core 0 of the first has two threads that are not neighbours; cpu4 is offline */
	put_cpu(0, 0, 0, 0);
	put_cpu(1, 0, 1, 0);
	put_cpu(2, 0, 0, 0);
	put_cpu(10, 1, 0, 1);
	put("/sys/devices/system/cpu/cpu4/online", "0\n");
	put("/sys/devices/system/cpu/cpufreq/boost", "1\n");
	put("/sys/devices/system/cpu/isolated", "2-3,10\n");
	put("/sys/devices/system/cpu/cpu0/cache/index0/level", "1\n");
	put("/sys/devices/system/cpu/cpu0/cache/index0/type", "Data\n");
	put("/sys/devices/system/cpu/cpu0/cache/index0/size", "32K\n");
	put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2096021\n");
	put("/proc/cpuinfo", "processor\t: 0\nvendor_id\t: One\nmodel name\t: First: a\nflags\t\t: fpu hypervisor\n\n"
			     "processor\t: 10\nvendor_id\t: Two\nmodel name\t: Second\n");
	j = read_all();
	is_number(j, "cpu.total", 4);
	assert_int_equal(json_len(at(j, "cpu.sockets")), 2);
	is_text(j, "cpu.sockets.0.vendor", "One");
	is_text(j, "cpu.sockets.0.name", "First: a");
	is_text(j, "cpu.sockets.1.name", "Second");
	assert_int_equal(json_len(at(j, "cpu.sockets.0.cores")), 2);
	assert_int_equal(json_len(at(j, "cpu.sockets.0.cores.0.threads")), 2);
	is_number(j, "cpu.sockets.0.cores.0.threads.1.id", 2);
	is_number(j, "cpu.sockets.0.cores.0.threads.1.thread", 1);
	assert_true(json_is_true(at(j, "cpu.sockets.0.cores.0.threads.1.isolated")));
	assert_false(json_is_true(at(j, "cpu.sockets.0.cores.1.threads.0.isolated")));
	is_number(j, "cpu.sockets.1.cores.0.threads.0.numa_node", 1);
	is_number(j, "cpu.sockets.0.cache.0.size", 32 * 1024);
	is_number(j, "cpu.sockets.0.frequency", 2096);
	is_text(j, "system.type", "virtual-machine");
}

static void memory(void **state UNUSED)
{
	auto_json struct json *j = NULL;

	put("/proc/meminfo", "MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  400 kB\nHugePages_Total:  4\n"
			     "HugePages_Free:  1\nHugepagesize:  2048 kB\n");
	put("/sys/devices/system/node/node0/meminfo",
	    "Node 0 MemTotal: 1000 kB\nNode 0 MemFree: 100 kB\nNode 0 FilePages: 200 kB\nNode 0 HugePages_Total: 4\n"
	    "Node 0 HugePages_Free: 4\n");
	j = read_all();
	is_number(j, "memory.total", 1000 * 1024);
	is_number(j, "memory.used", 600 * 1024);
	is_number(j, "memory.hugepages_size", 2 << 20);
	is_number(j, "memory.hugepages_total", 8 << 20);
	is_number(j, "memory.hugepages_used", 6 << 20);
	is_number(j, "memory.nodes.0.used", 700 * 1024);
	is_number(j, "memory.nodes.0.hugepages_used", 0);
}

#define PCI "/sys/devices/pci0000:00/"

static void put_pci(const char *address, const char *class)
{
	const char *const files[][2] = {{"class", class}, {"vendor", "0x1af4\n"}, {"device", "0x1041\n"}};
	auto_free char *link = xasprintf("/sys/bus/pci/devices/%s", address);
	auto_free char *target = xasprintf("../../../devices/pci0000:00/%s", address);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_free char *path = xasprintf(PCI "%s/%s", address, files[i][0]);

		put(path, files[i][1]);
	}
	put_link(link, target);
}

static void put_interface(const char *name, const char *device, const char *speed)
{
	auto_free char *dir = xasprintf("%s/net/%s", device, name);
	auto_free char *link = xasprintf("/sys/class/net/%s", name);
	auto_free char *target = xasprintf("../../..%s", dir);
	const char *const files[][2] = {{"address", "00:00:5e:00:53:01\n"},
					{"type", "1\n"},
					{"carrier", "1\n"},
					{"speed", speed},
					{"dev_port", "0\n"}};
	auto_free char *back = xasprintf("%s/device", dir);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_free char *path = xasprintf("%s/%s", dir, files[i][0]);

		put(path, files[i][1]);
	}
	put_link(back, "../..");
	put_link(link, target);
}

static void network_cards(void **state UNUSED)
{
	auto_json struct json *j = NULL;

	/* a virtio card with one port, a card without driver, a USB adapter, a bridge */
	put_pci("0000:00:03.0", "0x020000\n");
	put_pci("0000:00:04.0", "0x020000\n");
	put_pci("0000:00:05.0", "0x0c0330\n");
	put(PCI "0000:00:03.0/virtio2/uevent", "");
	put_interface("eth0", PCI "0000:00:03.0/virtio2", "1000\n");
	put(PCI "0000:00:05.0/usb1/1-2/busnum", "1\n");
	put(PCI "0000:00:05.0/usb1/1-2/devnum", "7\n");
	put(PCI "0000:00:05.0/usb1/1-2/idVendor", "0bda\n");
	put(PCI "0000:00:05.0/usb1/1-2/idProduct", "8153\n");
	put_interface("usb0", PCI "0000:00:05.0/usb1/1-2/1-2:1.0", "-1\n");
	put("/sys/class/net/br0/address", "00:00:5e:00:53:02\n");
	j = read_all();
	is_number(j, "network.total", 3);
	is_text(j, "network.cards.0.pci_address", "0000:00:03.0");
	is_text(j, "network.cards.0.vendor_id", "1af4");
	is_text(j, "network.cards.0.ports.0.id", "eth0");
	is_text(j, "network.cards.0.ports.0.protocol", "ethernet");
	is_number(j, "network.cards.0.ports.0.link_speed", 1000);
	is_text(j, "network.cards.1.pci_address", "0000:00:04.0");
	assert_null(at(j, "network.cards.1.ports"));
	is_text(j, "network.cards.2.usb_address", "1:7");
	is_text(j, "network.cards.2.vendor_id", "0bda");
	is_text(j, "network.cards.2.ports.0.id", "usb0");
	assert_null(at(j, "network.cards.2.ports.0.link_speed"));
	is_number(j, "pci.total", 3);
}

static void disks(void **state UNUSED)
{
	auto_json struct json *j = NULL;

	put_pci("0000:00:02.0", "0x010000\n");
	put(PCI "0000:00:02.0/virtio1/model", "Made up\n");
	put_link(PCI "0000:00:02.0/virtio1/subsystem", "../../../../bus/virtio");
	put("/sys/bus/virtio/uevent", "");
	put("/sys/block/vda/dev", "254:0\n");
	put("/sys/block/vda/size", "2048\n");
	put("/sys/block/vda/ro", "0\n");
	put("/sys/block/vda/queue/logical_block_size", "512\n");
	put("/sys/block/vda/queue/rotational", "1\n");
	put("/sys/block/vda/vda1/partition", "1\n");
	put("/sys/block/vda/vda1/dev", "254:1\n");
	put("/sys/block/vda/vda1/size", "1024\n");
	put("/sys/block/vda/vda1/ro", "1\n");
	put_link("/sys/block/vda/device", "../../devices/pci0000:00/0000:00:02.0/virtio1");
	put("/sys/block/loop0/size", "8\n");
	put("/dev/vda", "");
	put_link("/dev/disk/by-id/virtio-abc", "../../vda");
	put_link("/dev/disk/by-id/virtio-abc-part1", "../../vda1");
	j = read_all();
	is_number(j, "storage.total", 1);
	is_text(j, "storage.disks.0.id", "vda");
	is_text(j, "storage.disks.0.device", "254:0");
	is_text(j, "storage.disks.0.device_id", "virtio-abc");
	is_text(j, "storage.disks.0.model", "Made up");
	is_text(j, "storage.disks.0.type", "virtio");
	is_text(j, "storage.disks.0.pci_address", "0000:00:02.0");
	is_number(j, "storage.disks.0.size", 1 << 20);
	is_number(j, "storage.disks.0.rpm", 1);
	assert_int_equal(json_len(at(j, "storage.disks.0.partitions")), 1);
	is_number(j, "storage.disks.0.partitions.0.size", 1 << 19);
	assert_true(json_is_true(at(j, "storage.disks.0.partitions.0.read_only")));
}

static void graphics_usb_and_system(void **state UNUSED)
{
	auto_json struct json *j = NULL;

	put_pci("0000:00:06.0", "0x030000\n");
	put(PCI "0000:00:06.0/drm/card1/dev", "226:1\n");
	put(PCI "0000:00:06.0/drm/renderD128/dev", "226:128\n");
	put("/sys/bus/usb/devices/usb1/idVendor", "1d6b\n");
	put("/sys/bus/usb/devices/usb1/bDeviceClass", "09\n");
	put("/sys/bus/usb/devices/1-1/idVendor", "0529\n");
	put("/sys/bus/usb/devices/1-1/idProduct", "0001\n");
	put("/sys/bus/usb/devices/1-1/bDeviceClass", "ff\n");
	put("/sys/bus/usb/devices/1-1/busnum", "1\n");
	put("/sys/bus/usb/devices/1-1/devnum", "3\n");
	put("/sys/bus/usb/devices/1-1/1-1:1.0/bInterfaceNumber", "00\n");
	put("/sys/bus/usb/devices/1-1/1-1:1.0/bInterfaceClass", "ff\n");
	put("/sys/class/dmi/id/sys_vendor", "Somebody\n");
	put("/sys/class/dmi/id/bios_date", "01/01/2020\n");
	j = read_all();
	is_number(j, "gpu.total", 1);
	is_number(j, "gpu.cards.0.drm.id", 1);
	is_text(j, "gpu.cards.0.drm.card_device", "226:1");
	is_text(j, "gpu.cards.0.drm.render_name", "renderD128");
	is_number(j, "usb.total", 1);
	is_number(j, "usb.devices.0.device_address", 3);
	is_text(j, "usb.devices.0.vendor_id", "0529");
	is_number(j, "usb.devices.0.interfaces.0.class_id", 255);
	is_text(j, "system.vendor", "Somebody");
	is_text(j, "system.firmware.date", "01/01/2020");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(empty_host, make_root, remove_root),
		cmocka_unit_test_setup_teardown(processors, make_root, remove_root),
		cmocka_unit_test_setup_teardown(memory, make_root, remove_root),
		cmocka_unit_test_setup_teardown(network_cards, make_root, remove_root),
		cmocka_unit_test_setup_teardown(disks, make_root, remove_root),
		cmocka_unit_test_setup_teardown(graphics_usb_and_system, make_root, remove_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
