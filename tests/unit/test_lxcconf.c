/* liblxc configuration from made-up hosts and instances. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "instance/lxcconf.h"

struct setup {
	struct strmap config;
	struct lxcconf_host host;
	struct idmap_entry entry;
	struct idmap idmap;
	struct device_plan plan;
	struct lxcconf_input in;
	struct lxcconf out;
};

static void setup_v1(struct setup *s)
{
	static const char *const controllers[] = {"memory", "cpu", "cpuset", "pids", "devices"};

	*s = (struct setup){.entry = {.is_uid = true, .is_gid = true, .host = 100000, .ns = 0, .count = 65536}};
	s->idmap = (struct idmap){.entries = &s->entry, .len = 1};
	s->host.memory_bytes = 1000000000;
	s->host.cpus_online = 8;
	s->host.cgroup.kind = CGROUP_V1;
	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
		strmap_set(&s->host.cgroup.mounts, controllers[i], "/cg");
	strv_add(&s->host.paths, "/dev/fuse");
	s->in = (struct lxcconf_input){
		.name = "c1",
		.architecture = "x86_64",
		.log_path = "/l/lxc.log",
		.rootfs_path = "/p/c1/rootfs",
		.rootfs_idmapped = true,
		.idmap = &s->idmap,
		.config = &s->config,
		.plan = &s->plan,
		.seccomp_path = "/s/c1",
		.host = &s->host,
	};
}

static void setup_v2(struct setup *s)
{
	static const char *const controllers[] = {"memory", "cpu", "cpuset", "pids"};

	setup_v1(s);
	strmap_done(&s->host.cgroup.mounts);
	s->host.cgroup.kind = CGROUP_V2;
	strmap_set(&s->host.cgroup.mounts, "", "/sys/fs/cgroup");
	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
		strmap_set(&s->host.cgroup.unified, controllers[i], "1");
}

static void done(struct setup *s)
{
	strmap_done(&s->config);
	lxcconf_host_done(&s->host);
	lxcconf_done(&s->out);
}

static void build(struct setup *s)
{
	auto_error struct error err = ERROR_INIT;

	lxcconf_done(&s->out);
	assert_int_equal(lxcconf_build(&s->in, &s->out, &err), 0);
}

static void expect_error(struct setup *s, const char *key, const char *value)
{
	auto_error struct error err = ERROR_INIT;
	struct lxcconf out = LXCCONF_INIT;

	strmap_set(&s->config, key, value);
	assert_true(lxcconf_build(&s->in, &out, &err) < 0);
	assert_int_equal(err.status, 400);
	assert_non_null(strstr(error_msg(&err), startswith(key, "raw.lxc") ? "lxc" : key));
	strmap_set(&s->config, key, NULL);
}

static bool has(const struct setup *s, const char *key, const char *value)
{
	for (size_t i = 0; i < s->out.len; i++)
		if (streq(s->out.items[i].key, key) && (!value || streq(s->out.items[i].value, value)))
			return true;
	return false;
}

static void unprivileged(void **state)
{
	struct setup s;

	(void)state;
	setup_v1(&s);
	build(&s);
	assert_string_equal(s.out.items[0].key, "lxc.log.file");
	assert_true(has(&s, "lxc.mount.auto", "proc:rw sys:rw cgroup:mixed"));
	assert_true(has(&s, "lxc.mount.entry", "/dev/fuse dev/fuse none bind,create=file,optional 0 0"));
	assert_false(has(&s, "lxc.mount.entry", "/dev/net/tun dev/net/tun none bind,create=file,optional 0 0"));
	assert_true(has(&s, "lxc.idmap", "u 0 100000 65536") && has(&s, "lxc.idmap", "g 0 100000 65536"));
	assert_true(has(&s, "lxc.rootfs.options", "nodev,idmap=container"));
	assert_true(has(&s, "lxc.rootfs.path", "dir:/p/c1/rootfs"));
	assert_true(has(&s, "lxc.net.0.type", "empty") && has(&s, "lxc.tty.max", "0"));
	assert_false(has(&s, "lxc.cap.drop", NULL) || has(&s, "lxc.cgroup.devices.deny", NULL));
	done(&s);
}

static void privileged(void **state)
{
	struct setup s;

	(void)state;
	setup_v1(&s);
	s.idmap.len = 0;
	build(&s);
	assert_true(has(&s, "lxc.cap.drop", NULL) && has(&s, "lxc.mount.auto", "proc:mixed sys:mixed cgroup:mixed"));
	assert_true(has(&s, "lxc.cgroup.devices.deny", "a") && has(&s, "lxc.cgroup.devices.allow", "c 1:3 rwm"));
	assert_false(has(&s, "lxc.rootfs.options", NULL) || has(&s, "lxc.idmap", NULL));
	s.host.in_user_namespace = true;
	build(&s);
	assert_false(has(&s, "lxc.cgroup.devices.deny", NULL));
	done(&s);
	setup_v2(&s);
	s.idmap.len = 0;
	build(&s);
	assert_true(has(&s, "lxc.cgroup2.devices.deny", "a"));
	assert_true(has(&s, "lxc.mount.auto", "proc:mixed sys:mixed cgroup:rw:force"));
	done(&s);
}

static void nics(void **state)
{
	struct ip_prefix addresses[2];
	struct nic_guest guests[] = {
		{.link = "veth1", .name = "eth0", .mac = {{0, 0x16, 0x3e, 1, 2, 3}}, .mtu = 1400},
		{.link = "card0", .name = "eth1", .addresses = addresses, .n_addresses = ARRAY_SIZE(addresses)},
	};
	struct setup s;

	(void)state;
	assert_true(ip_prefix_parse(AF_INET, "192.0.2.10/32", &addresses[0]));
	assert_true(ip_prefix_parse(AF_INET6, "2001:db8::10/128", &addresses[1]));
	assert_true(ip_parse(AF_INET, "169.254.0.1", &guests[1].gateway4));
	setup_v1(&s);
	s.in.nics = guests;
	s.in.n_nics = ARRAY_SIZE(guests);
	build(&s);
	assert_false(has(&s, "lxc.net.0.type", "empty"));
	assert_true(has(&s, "lxc.net.0.type", "phys") && has(&s, "lxc.net.0.link", "veth1"));
	assert_true(has(&s, "lxc.net.0.name", "eth0") && has(&s, "lxc.net.0.flags", "up"));
	assert_true(has(&s, "lxc.net.0.hwaddr", "00:16:3e:01:02:03") && has(&s, "lxc.net.0.mtu", "1400"));
	assert_false(has(&s, "lxc.net.0.ipv4.address", NULL) || has(&s, "lxc.net.0.ipv4.gateway", NULL));
	assert_true(has(&s, "lxc.net.1.link", "card0") && has(&s, "lxc.net.1.name", "eth1"));
	assert_false(has(&s, "lxc.net.1.hwaddr", NULL) || has(&s, "lxc.net.1.mtu", NULL));
	assert_true(has(&s, "lxc.net.1.ipv4.address", "192.0.2.10/32"));
	assert_true(has(&s, "lxc.net.1.ipv6.address", "2001:db8::10/128"));
	assert_true(has(&s, "lxc.net.1.ipv4.gateway", "169.254.0.1"));
	assert_false(has(&s, "lxc.net.1.ipv6.gateway", NULL));
	done(&s);
}

static void nesting_and_environment(void **state)
{
	struct setup s;

	(void)state;
	setup_v1(&s);
	strmap_set(&s.config, "security.nesting", "true");
	strmap_set(&s.config, "environment.TERM", "xterm one");
	build(&s);
	assert_true(has(&s, "lxc.mount.entry", "proc dev/.lxc/proc proc create=dir,optional 0 0"));
	assert_true(has(&s, "lxc.environment", "TERM=xterm one"));
	expect_error(&s, "environment.X", "a\nlxc.cap.keep = all");
	done(&s);
}

static void limits_v1(void **state)
{
	struct setup s;

	(void)state;
	setup_v1(&s);
	s.host.swap_accounting = true;
	strmap_set(&s.config, "limits.memory", "100MB");
	strmap_set(&s.config, "limits.processes", "50");
	strmap_set(&s.config, "limits.cpu", "2");
	strmap_set(&s.config, "limits.cpu.allowance", "25ms/100ms");
	build(&s);
	assert_true(has(&s, "lxc.cgroup.memory.limit_in_bytes", "100000000"));
	assert_true(has(&s, "lxc.cgroup.memory.memsw.limit_in_bytes", "100000000"));
	assert_true(has(&s, "lxc.cgroup.memory.soft_limit_in_bytes", "90000000"));
	assert_true(has(&s, "lxc.cgroup.pids.max", "50") && has(&s, "lxc.cgroup.cpuset.cpus", "0-1"));
	assert_true(has(&s, "lxc.cgroup.cpu.cfs_quota_us", "25000"));
	strmap_set(&s.config, "limits.memory.enforce", "soft");
	strmap_set(&s.config, "limits.cpu.allowance", "50%");
	strmap_set(&s.config, "limits.cpu.priority", "5");
	build(&s);
	assert_false(has(&s, "lxc.cgroup.memory.limit_in_bytes", NULL));
	assert_true(has(&s, "lxc.cgroup.memory.soft_limit_in_bytes", "100000000"));
	assert_true(has(&s, "lxc.cgroup.cpu.shares", "507"));
	done(&s);
}

static void limits_v2(void **state)
{
	struct setup s;

	(void)state;
	setup_v2(&s);
	strmap_set(&s.config, "limits.memory", "50%");
	strmap_set(&s.config, "limits.memory.swap", "false");
	strmap_set(&s.config, "limits.cpu", "0,2-3");
	strmap_set(&s.config, "limits.cpu.allowance", "25ms/100ms");
	build(&s);
	assert_true(has(&s, "lxc.cgroup2.memory.max", "500000000") && has(&s, "lxc.cgroup2.memory.swap.max", "0"));
	assert_true(has(&s, "lxc.cgroup2.cpuset.cpus", "0,2-3") && has(&s, "lxc.cgroup2.cpu.max", "25000 100000"));
	strmap_set(&s.config, "limits.cpu.allowance", "20%");
	build(&s);
	assert_true(has(&s, "lxc.cgroup2.cpu.weight", "20"));
	done(&s);
}

static void bad_limits(void **state)
{
	static const char *const bad[][2] = {
		{"limits.memory", "0"},
		{"limits.memory", "12q"},
		{"limits.memory", "101%"},
		{"limits.cpu", "0"},
		{"limits.cpu", "7-9"},
		{"limits.cpu", "3-1"},
		{"limits.cpu", "x"},
		{"limits.processes", "many"},
		{"limits.cpu.priority", "11"},
		{"limits.cpu.allowance", "5ms"},
		{"limits.cpu.allowance", "0ms/1ms"},
	};
	struct setup s;

	(void)state;
	setup_v1(&s);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_error(&s, bad[i][0], bad[i][1]);
	done(&s);
}

static void device_mounts_are_quoted(void **state)
{
	struct device_mount mount = {.source = (char *)(uintptr_t) "/srv/my data",
				     .target = (char *)(uintptr_t) "mnt/a b",
				     .is_dir = true,
				     .readonly = true,
				     .recursive = true};
	struct setup s;

	(void)state;
	setup_v1(&s);
	s.plan.mounts = &mount;
	s.plan.n_mounts = 1;
	build(&s);
	assert_true(has(&s, "lxc.mount.entry", "/srv/my\\040data mnt/a\\040b none rbind,ro,create=dir 0 0"));
	done(&s);
}

static void raw_lxc(void **state)
{
	static const char *const refused[] = {
		"lxc.log.file = /x",
		"lxc.logfile=/x",
		"lxc.syslog = a",
		"lxc.log.syslog = a",
		"lxc.ephemeral = 1",
		"lxc.prlimit.nofile = 3",
		"lxc.net.0.type = phys",
		"lxc.network.type = veth",
		"no equal sign",
		"foo = bar",
		"lxc.net.0.ipv4.addressx = 1",
		"  lxc.net.0.link = eth0 ",
	};
	struct setup s;

	(void)state;
	setup_v1(&s);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		auto_error struct error err = ERROR_INIT;

		assert_true(raw_lxc_validate(refused[i], &err) < 0);
		expect_error(&s, "raw.lxc", refused[i]);
	}
	strmap_set(&s.config, "raw.lxc", "# note\n\nlxc.signal.halt = SIGTERM\nlxc.net.0.ipv4.address=192.0.2.1/24\n");
	build(&s);
	assert_string_equal(s.out.items[s.out.len - 2].key, "lxc.signal.halt");
	assert_string_equal(s.out.items[s.out.len - 2].value, "SIGTERM");
	assert_string_equal(s.out.items[s.out.len - 1].key, "lxc.net.0.ipv4.address");
	done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unprivileged), cmocka_unit_test(privileged),
		cmocka_unit_test(nics),         cmocka_unit_test(nesting_and_environment),
		cmocka_unit_test(limits_v1),    cmocka_unit_test(limits_v2),
		cmocka_unit_test(bad_limits),   cmocka_unit_test(device_mounts_are_quoted),
		cmocka_unit_test(raw_lxc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
