/* Restricted projects: every key with every value, against what it is about; and that nothing else gets in. */
#include "unit.h"

#include "base/strv.h"
#include "config/keys.h"
#include "config/restrictions.h"

/* "a=1;b=2" */
static void parse(const char *text, char sep, struct strmap *ret)
{
	auto_strv struct strv items = STRV_INIT;

	strv_split(&items, text, sep);
	for (size_t i = 0; i < items.len; i++) {
		char *value = strchr(items.items[i], '=');

		assert_non_null(value);
		*value++ = '\0';
		strmap_set(ret, items.items[i], value);
	}
}

/* @what is "key=value" of the configuration, or "@type=nic;network=x" a device. */
static int check(const char *restrictions, const char *kind, const char *what, struct error *err)
{
	const struct restriction_subject subject = {"pr", kind, "c1"};
	auto_strmap struct strmap project = STRMAP_INIT;
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_mapmap struct mapmap devices = MAPMAP_INIT;
	int r;

	strmap_set(&project, "restricted", "true");
	parse(restrictions, ';', &project);
	expect_ok(config_validate(CONFIG_SCOPE_PROJECT, &project, err), err);
	if (*what == '@')
		parse(what + 1, ';', mapmap_ensure(&devices, "d"));
	else
		parse(what, '|', &config);
	r = restrictions_check(&project, &subject, &config, &devices, err);
	return r;
}

#define SHIFT_DISK "@type=disk;path=/x;source=/srv/a;shift=true"
#define ROOT "@type=disk;path=/;pool=p"
#define R "restricted."

static const struct {
	const char *restrictions;
	const char *what;
	const char *refusal; /* NULL: it may be */
} cases[] = {
	/* nesting */
	{"", "security.nesting=true", "Container nesting is forbidden"},
	{"", "security.nesting=false", NULL},
	{R "containers.nesting=block", "security.nesting=1", "Container nesting is forbidden"},
	{R "containers.nesting=allow", "security.nesting=true", NULL},
	/* privilege */
	{"", "security.privileged=true", "Privileged containers are forbidden"},
	{"", "security.privileged=false", NULL},
	{R "containers.privilege=unprivileged", "security.privileged=yes", "Privileged containers are forbidden"},
	{R "containers.privilege=isolated", "security.privileged=true", "Privileged containers are forbidden"},
	{R "containers.privilege=isolated", "user.x=1", "Non-isolated containers are forbidden"},
	{R "containers.privilege=isolated", "security.idmap.isolated=false", "Non-isolated containers are forbidden"},
	{R "containers.privilege=isolated", "security.idmap.isolated=true", NULL},
	{R "containers.privilege=allow", "security.privileged=true", NULL},
	/* low level */
	{"", "raw.lxc=x", "Use of low-level config \"raw.lxc\" on container \"c1\" of project \"pr\" is forbidden"},
	{R "containers.lowlevel=block", "raw.seccomp=x", "low-level"},
	{R "containers.lowlevel=allow", "raw.lxc=x", NULL},
	{R "containers.lowlevel=allow", "security.privileged=true", "Privileged containers are forbidden"},
	{"", "boot.host_shutdown_timeout=1", "low-level"},
	{"", "linux.kernel_modules=ip_vs", "low-level"},
	{"", "security.idmap.base=1", "low-level"},
	{"", "security.idmap.size=1", "low-level"},
	{"", "security.devlxd.images=true", "low-level"},
	{"", "security.syscalls.allow=x", "low-level"},
	{"", "security.syscalls.deny=x", NULL},
	{"", "security.syscalls.deny_default=false", "cannot be turned off"},
	{"", "security.syscalls.deny_default=true", NULL},
	{R "containers.lowlevel=allow", "security.syscalls.deny_default=false", NULL},
	{"", "no.such.key=1", "low-level"},
	/* interception */
	{"", "security.syscalls.intercept.mknod=true", "interception is forbidden"},
	{"", "security.syscalls.intercept.mknod=false", NULL},
	{R "containers.interception=block", "security.syscalls.intercept.setxattr=true", "interception is forbidden"},
	{R "containers.interception=allow", "security.syscalls.intercept.mknod=true", NULL},
	{R "containers.interception=allow", "security.syscalls.intercept.bpf.devices=true", NULL},
	{R "containers.interception=allow", "security.syscalls.intercept.mount=true", "interception is forbidden"},
	{R "containers.interception=allow", "security.syscalls.intercept.mount.allowed=ext4",
	 "interception is forbidden"},
	{R "containers.interception=full", "security.syscalls.intercept.mount=true", NULL},
	{R "containers.interception=full", "security.syscalls.intercept.mount.allowed=ext4", NULL},
	{R "containers.interception=full", "security.syscalls.intercept.sched_setscheduler=true", "low-level"},
	/* id maps */
	{"", "raw.idmap=both 1000 1000", "Use of low-level \"raw.idmap\" element 0"},
	{R "idmap.uid=1000", "raw.idmap=uid 1000 1000", NULL},
	{R "idmap.uid=1000", "raw.idmap=gid 1000 1000", "element 0"},
	{R "idmap.uid=1000", "raw.idmap=both 1000 1000", "element 0"},
	{R "idmap.uid=1000;restricted.idmap.gid=1000", "raw.idmap=both 1000 1000", NULL},
	{R "idmap.uid=1000-1010", "raw.idmap=uid 1000-1010 0-10", NULL},
	{R "idmap.uid=1000-1010", "raw.idmap=uid 1000-1011 0-11", "element 0"},
	{R "idmap.uid=5, 1000-1010", "raw.idmap=uid 5 0\nuid 999 1", "element 1"},
	{R "containers.lowlevel=allow", "raw.idmap=both 0 0", NULL},
	/* disks */
	{"", ROOT, NULL},
	{R "devices.disk=block", ROOT, NULL},
	{R "devices.disk=block", "@type=disk;path=/x;pool=p;source=v", "Disk devices are forbidden"},
	{"", "@type=disk;path=/x;pool=p;source=v", NULL},
	{R "devices.disk=managed", "@type=disk;path=/x;source=/srv", "not backed by a pool is forbidden"},
	{"", "@type=disk;path=/x;source=/srv", "not backed by a pool is forbidden"},
	{R "devices.disk=allow", "@type=disk;path=/x;source=/srv", NULL},
	{R "devices.disk=allow", SHIFT_DISK, "The option \"shift\" of disks is forbidden"},
	{R "devices.disk=allow;restricted.containers.lowlevel=allow", SHIFT_DISK, NULL},
	{R "devices.disk=allow", "@type=disk;path=/x;source=/srv;raw.mount.options=dev", "\"raw.mount.options\""},
	{R "devices.disk=allow", "@type=disk;path=/x;source=/srv;propagation=rshared", "\"propagation\""},
	{R "devices.disk=allow;restricted.devices.disk.paths=/srv/a, /srv/b/", "@type=disk;path=/x;source=/srv/a",
	 NULL},
	{R "devices.disk=allow;restricted.devices.disk.paths=/srv/a, /srv/b/", "@type=disk;path=/x;source=/srv/b/c",
	 NULL},
	{R "devices.disk=allow;restricted.devices.disk.paths=/srv/a", "@type=disk;path=/x;source=/srv/ab",
	 "Disk source path \"/srv/ab\" not allowed"},
	{R "devices.disk=allow;restricted.devices.disk.paths=/srv/a", "@type=disk;path=/x;source=/srv", "not allowed"},
	{R "devices.disk=allow;restricted.devices.disk.paths=/srv/a", "@type=disk;path=/x;source=/srv/a/../b",
	 "not allowed"},
	{R "devices.disk=allow;restricted.devices.disk.paths=/srv/a", "@type=disk;path=/x;source=/srv/a/..",
	 "not allowed"},
	/* devices by type */
	{"", "@type=none", NULL},
	{"", "@type=unix-char;source=/dev/null", "Unix character devices are forbidden"},
	{R "devices.unix-char=block", "@type=unix-char;path=/dev/null", "Unix character devices are forbidden"},
	{R "devices.unix-char=allow", "@type=unix-char;path=/dev/null", NULL},
	{"", "@type=unix-block;path=/dev/sda", "Unix block devices are forbidden"},
	{R "devices.unix-block=block", "@type=unix-block;path=/dev/sda", "Unix block devices are forbidden"},
	{R "devices.unix-block=allow", "@type=unix-block;path=/dev/sda", NULL},
	{R "devices.unix-block=allow", "@type=unix-char;path=/dev/null", "Unix character devices are forbidden"},
	{"", "@type=unix-hotplug;vendorid=1", "Unix hotplug devices are forbidden"},
	{R "devices.unix-hotplug=block", "@type=unix-hotplug;vendorid=1", "Unix hotplug devices are forbidden"},
	{R "devices.unix-hotplug=allow", "@type=unix-hotplug;vendorid=1", NULL},
	{"", "@type=gpu", "GPU devices are forbidden"},
	{R "devices.gpu=block", "@type=gpu", "GPU devices are forbidden"},
	{R "devices.gpu=allow", "@type=gpu", NULL},
	{"", "@type=infiniband", "Infiniband devices are forbidden"},
	{R "devices.infiniband=block", "@type=infiniband", "Infiniband devices are forbidden"},
	{R "devices.infiniband=allow", "@type=infiniband", NULL},
	{"", "@type=pci", "PCI devices are forbidden"},
	{R "devices.pci=block", "@type=pci", "PCI devices are forbidden"},
	{R "devices.pci=allow", "@type=pci", NULL},
	{"", "@type=proxy", "Proxy devices are forbidden"},
	{R "devices.proxy=block", "@type=proxy", "Proxy devices are forbidden"},
	{R "devices.proxy=allow", "@type=proxy", NULL},
	{"", "@type=usb", "USB devices are forbidden"},
	{R "devices.usb=block", "@type=usb", "USB devices are forbidden"},
	{R "devices.usb=allow", "@type=usb", NULL},
	{"", "@type=tpm;path=/dev/tpm0", "Devices of type \"tpm\" are forbidden"},
	{"", "@path=/x", "Devices of type \"\" are forbidden"},
	/* network cards */
	{"", "@type=nic;network=br0", NULL},
	{"", "@type=nic;nictype=bridged;parent=br0", "Only managed network devices are allowed"},
	{R "devices.nic=managed", "@type=nic;nictype=macvlan;parent=eth0", "Only managed network devices are allowed"},
	{R "devices.nic=managed", "@type=nic;nictype=p2p", "Only managed network devices are allowed"},
	{R "devices.nic=block", "@type=nic;network=br0", "Network devices are forbidden"},
	{R "devices.nic=allow", "@type=nic;nictype=physical;parent=eth0", NULL},
	{R "networks.access=br1", "@type=nic;network=br0", "Network not allowed in project"},
	{R "networks.access=br1, br0", "@type=nic;network=br0", NULL},
	{R "devices.nic=allow;restricted.networks.access=br1", "@type=nic;nictype=bridged;parent=br0",
	 "Network not allowed in project"},
	{R "devices.nic=allow;restricted.networks.access=br1", "@type=nic;nictype=bridged;parent=br1", NULL},
	{R "devices.nic=allow;restricted.networks.access=br1", "@type=nic;nictype=p2p",
	 "Network not allowed in project"},
	{"", "@type=nic;network=br0;ipv4.routes=192.0.2.0/24", "not within restricted.networks.subnets"},
	{"", "@type=nic;network=br0;ipv6.routes.external=2001:db8::/64", "not within restricted.networks.subnets"},
	{R "networks.subnets=br0:192.0.2.0/24", "@type=nic;network=br0;ipv4.routes=192.0.2.128/25", NULL},
	{R "networks.subnets=br0:192.0.2.0/24", "@type=nic;network=br0;ipv4.routes=192.0.0.0/16",
	 "not within restricted.networks.subnets"},
	{R "networks.subnets=br1:192.0.2.0/24", "@type=nic;network=br0;ipv4.routes=192.0.2.128/25",
	 "not within restricted.networks.subnets"},
	{R "networks.subnets=br0:192.0.2.0/24", "@type=nic;network=br0;ipv4.routes=192.0.2.1/32,198.51.100.0/24",
	 "ipv4.routes \"198.51.100.0/24\""},
	{R "networks.subnets=br0:192.0.2.0/24", "@type=nic;network=br0;ipv4.address=198.51.100.7", NULL},
	{R "devices.nic=allow", "@type=nic;nictype=routed;parent=eth0;ipv4.address=192.0.2.9", NULL},
	{R "devices.nic=allow;restricted.networks.subnets=eth0:192.0.2.0/24",
	 "@type=nic;nictype=routed;parent=eth0;ipv4.address=198.51.100.7", "ipv4.address \"198.51.100.7/32\""},
	{R "devices.nic=allow;restricted.networks.subnets=eth0:192.0.2.0/24",
	 "@type=nic;nictype=routed;parent=eth0;ipv4.address=192.0.2.7", NULL},
};

static void every_key_and_value(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_error struct error err = ERROR_INIT;
		int r = check(cases[i].restrictions, "container", cases[i].what, &err);

		if (cases[i].refusal && r == 0)
			fail_msg("[%s] lets in %s", cases[i].restrictions, cases[i].what);
		if (cases[i].refusal)
			expect_error(r, &err, 403, cases[i].refusal);
		else if (r < 0)
			fail_msg("[%s] refuses %s: %s", cases[i].restrictions, cases[i].what, error_msg(&err));
	}
}

/* Each restriction whose values are words has a case above for each of them. */
static void collect(const struct config_key *key, void *arg UNUSED)
{
	for (const char *const *v = key->values; startswith(key->name, R) && v && *v; v++) {
		auto_free char *pair = xasprintf("%s=%s", key->name, *v);
		bool elsewhere = streq(key->name, R "backups") || streq(key->name, R "snapshots") ||
				 startswith(key->name, R "cluster.") || startswith(key->name, R "virtual-machines.");
		bool found = elsewhere;

		for (size_t i = 0; i < ARRAY_SIZE(cases) && !found; i++)
			found = strstr(cases[i].restrictions, pair) != NULL;
		if (!found)
			fail_msg("no case for %s", pair);
	}
}

static void no_value_is_left_out(void **state UNUSED)
{
	config_keys_each(CONFIG_SCOPE_PROJECT, collect, NULL);
}

/* What a restricted project lets its instances set; a new key of instances is refused until it is here. */
static const char *const free_keys[] = {
	"boot.autostart",
	"boot.autostart.delay",
	"boot.autostart.priority",
	"boot.stop.priority",
	"cloud-init.network-config",
	"cloud-init.user-data",
	"cloud-init.vendor-data",
	"cluster.evacuate",
	"environment.*",
	"image.*",
	"limits.cpu",
	"limits.cpu.allowance",
	"limits.cpu.priority",
	"limits.disk.priority",
	"limits.hugepages.1GB",
	"limits.hugepages.1MB",
	"limits.hugepages.2MB",
	"limits.hugepages.64KB",
	"limits.kernel.*",
	"limits.memory",
	"limits.memory.enforce",
	"limits.memory.hugepages",
	"limits.memory.swap",
	"limits.memory.swap.priority",
	"limits.network.priority",
	"limits.processes",
	"linux.sysctl.*",
	"migration.incremental.memory",
	"migration.incremental.memory.goal",
	"migration.incremental.memory.iterations",
	"migration.stateful",
	"security.devlxd",
	"security.idmap.isolated",
	"security.protection.delete",
	"security.protection.shift",
	"security.syscalls.blacklist",
	"security.syscalls.blacklist_compat",
	"security.syscalls.blacklist_default",
	"security.syscalls.deny",
	"security.syscalls.deny_compat",
	"security.syscalls.deny_default",
	"snapshots.expiry",
	"snapshots.pattern",
	"snapshots.schedule",
	"snapshots.schedule.stopped",
	"user.*",
};

static void expect_verdict(const struct config_key *key, void *arg UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	const char *star = endswith(key->name, "*");
	auto_free char *name = star ? xasprintf("%.*sx", (int)(star - key->name), key->name) : xstrdup(key->name);
	auto_free char *what = xasprintf("%s=%s", name, streq(name, "raw.idmap") ? "both 0 0" : "true");
	bool is_free = startswith(key->name, "volatile.") != NULL;
	int r = check("", "container", what, &err);

	for (size_t i = 0; i < ARRAY_SIZE(free_keys); i++)
		is_free = is_free || streq(free_keys[i], key->name);
	if (is_free != (r == 0))
		fail_msg("%s is %s", key->name, r == 0 ? "let in" : "refused");
}

static void keys_are_refused_unless_they_are_known(void **state UNUSED)
{
	config_keys_each(CONFIG_SCOPE_INSTANCE, expect_verdict, NULL);
}

static void nothing_is_refused_without_restricted(void **state UNUSED)
{
	const struct restriction_subject subject = {"pr", "container", "c1"};
	auto_strmap struct strmap project = STRMAP_INIT;
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_mapmap struct mapmap devices = MAPMAP_INIT;
	auto_error struct error err = ERROR_INIT;

	/* the keys count only together with it */
	strmap_set(&project, "restricted.devices.nic", "block");
	strmap_set(&config, "security.privileged", "true");
	strmap_set(mapmap_ensure(&devices, "d"), "type", "nic");
	expect_ok(restrictions_check(&project, &subject, &config, &devices, &err), &err);
	assert_true(restrictions_allow(&project, "restricted.snapshots"));
	assert_true(restrictions_allow_network(&project, "br0", false));
	strmap_set(&project, "restricted", "false");
	expect_ok(restrictions_check(&project, &subject, &config, &devices, &err), &err);
}

static void profiles_need_not_be_isolated(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;

	expect_ok(check(R "containers.privilege=isolated", "profile", "user.x=1", &err), &err);
	expect_error(check(R "containers.privilege=isolated", "profile", "security.idmap.isolated=false", &err), &err,
		     403, "on profile \"c1\"");
}

static void snapshots_and_backups(void **state UNUSED)
{
	static const char *const keys[] = {R "snapshots", R "backups"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		auto_strmap struct strmap project = STRMAP_INIT;

		strmap_set(&project, "restricted", "true");
		assert_false(restrictions_allow(&project, keys[i]));
		strmap_set(&project, keys[i], "block");
		assert_false(restrictions_allow(&project, keys[i]));
		strmap_set(&project, keys[i], "allow");
		assert_true(restrictions_allow(&project, keys[i]));
	}
}

static void networks_that_are_seen(void **state UNUSED)
{
	auto_strmap struct strmap project = STRMAP_INIT;

	strmap_set(&project, "restricted", "true");
	assert_true(restrictions_allow_network(&project, "br0", true));
	assert_false(restrictions_allow_network(&project, "eth0", false));
	strmap_set(&project, "restricted.networks.access", "br1");
	assert_false(restrictions_allow_network(&project, "br0", true));
	assert_true(restrictions_allow_network(&project, "br1", true));
	strmap_set(&project, "restricted.devices.nic", "allow");
	assert_false(restrictions_allow_network(&project, "eth0", false));
	strmap_set(&project, "restricted.networks.access", NULL);
	assert_true(restrictions_allow_network(&project, "eth0", false));
	strmap_set(&project, "restricted.devices.nic", "block");
	assert_false(restrictions_allow_network(&project, "br0", true));
}

static void volatile_keys_of_clients(void **state UNUSED)
{
	static const struct {
		const char *key;
		bool may;
	} keys[] = {
		{"volatile.apply_template", true},
		{"volatile.base_image", true},
		{"volatile.last_state.power", true},
		{"volatile.eth0.hwaddr", true},
		{"volatile.eth0.host_name", false},
		{"volatile.eth0.last_state.hwaddr", false},
		{"volatile.idmap.base", false},
		{"volatile.idmap.next", false},
		{"volatile.last_state.idmap", false},
		{"volatile.uuid", false},
		{"volatile.eth0.last_state.created", false},
	};
	const struct restriction_subject subject = {"pr", "container", "c1"};
	auto_strmap struct strmap project = STRMAP_INIT;

	strmap_set(&project, "restricted", "true");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_strmap struct strmap now = STRMAP_INIT;
		int r;

		strmap_set(&now, keys[i].key, "x");
		assert_int_equal(restrictions_allow_volatile(&project, keys[i].key), keys[i].may);
		r = restrictions_check_volatile(&project, &subject, &STRMAP_INIT, &now, &err);
		if (keys[i].may)
			expect_ok(r, &err);
		else
			expect_error(r, &err, 403, keys[i].key);
		/* as it was: a client sends back what it has read */
		expect_ok(restrictions_check_volatile(&project, &subject, &now, &now, &err), &err);
	}
	strmap_set(&project, "restricted.containers.lowlevel", "allow");
	assert_true(restrictions_allow_volatile(&project, "volatile.idmap.base"));
}

static void bad_values_of_restrictions(void **state UNUSED)
{
	static const struct {
		const char *key, *value;
	} bad[] = {
		{"restricted", "maybe"},
		{"restricted.containers.nesting", "full"},
		{"restricted.containers.privilege", "block"},
		{"restricted.containers.interception", "some"},
		{"restricted.devices.disk", "unmanaged"},
		{"restricted.devices.disk.paths", "/srv,tmp"},
		{"restricted.devices.nic", "true"},
		{"restricted.idmap.uid", "1-"},
		{"restricted.idmap.gid", "5-4"},
		{"restricted.networks.subnets", "192.0.2.0/24"},
		{"restricted.networks.subnets", "br0:nowhere"},
		{"limits.containers", "-1"},
		{"limits.memory", "12q"},
		{"limits.cpu", "1-3"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_strmap struct strmap config = STRMAP_INIT;

		strmap_set(&config, bad[i].key, bad[i].value);
		expect_error(config_validate(CONFIG_SCOPE_PROJECT, &config, &err), &err, 400, bad[i].key);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_and_value),
		cmocka_unit_test(no_value_is_left_out),
		cmocka_unit_test(keys_are_refused_unless_they_are_known),
		cmocka_unit_test(nothing_is_refused_without_restricted),
		cmocka_unit_test(profiles_need_not_be_isolated),
		cmocka_unit_test(snapshots_and_backups),
		cmocka_unit_test(networks_that_are_seen),
		cmocka_unit_test(volatile_keys_of_clients),
		cmocka_unit_test(bad_values_of_restrictions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
