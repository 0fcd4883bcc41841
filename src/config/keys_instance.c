/* Keys of instances; profiles have them too, but for those that only an instance can have. */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "config/idmap_alloc.h"
#include "config/cron.h"
#include "config/expiry.h"
#include "config/keys_tables.h"
#include "config/snapshot_name.h"

static const char *const enforce_values[] = {"hard", "soft", NULL};

/* Names of variables and settings reach lines of liblxc: letters, digits and a few marks. */
static bool is_word(const char *s, const char *marks)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

	for (; *s; s++)
		if (!strchr(letters, *s) && !strchr(marks, *s))
			return false;
	return true;
}

static int check_environment(const char *key, const char *value UNUSED, struct error *err)
{
	return is_word(key + strlen("environment."), ".-") ? 0 : error_set(err, 400, "Invalid variable name");
}

static int check_sysctl(const char *key, const char *value UNUSED, struct error *err)
{
	return is_word(key + strlen("linux.sysctl."), "./-") ? 0 : error_set(err, 400, "Invalid sysctl name");
}

static int check_priority(const char *key UNUSED, const char *value, struct error *err)
{
	uint32_t v;

	if (parse_u32(value, &v) < 0 || v > 10)
		return error_set(err, 400, "Invalid priority \"%s\": not within 0 to 10", value);
	return 0;
}

static int check_memory(const char *key UNUSED, const char *value, struct error *err)
{
	return strspn(value, "0") && !strpbrk(value, "123456789") ? error_set(err, 400, "Memory limit can't be 0") : 0;
}

/* "25ms": a positive number of milliseconds. */
static bool is_ms(const char *text, size_t len)
{
	auto_free char *part = xstrndup(text, len);
	uint32_t v;

	if (len < 3 || !streq(part + len - 2, "ms"))
		return false;
	part[len - 2] = '\0';
	return parse_u32(part, &v) == 0 && v > 0;
}

static int check_allowance(const char *key UNUSED, const char *value, struct error *err)
{
	const char *percent = endswith(value, "%");
	const char *slash = strchr(value, '/');
	auto_free char *number = percent ? xstrndup(value, (size_t)(percent - value)) : NULL;
	uint32_t v;

	if (number && parse_u32(number, &v) == 0 && v > 0)
		return 0;
	if (slash && is_ms(value, (size_t)(slash - value)) && is_ms(slash + 1, strlen(slash + 1)))
		return 0;
	return error_set(err, 400, "Invalid CPU allowance \"%s\"", value);
}

static bool is_rlimit(const char *text)
{
	uint64_t v;

	return streq(text, "unlimited") || parse_u64(text, &v) == 0;
}

static bool is_rlimit_name(const char *rest)
{
	static const char *const names[] = {"as",      "core", "cpu",    "data",  "fsize",  "locks",
					    "memlock", "nice", "nofile", "nproc", "rtprio", "sigpending"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(names[i], rest))
			return true;
	return false;
}

static int check_rlimit(const char *key UNUSED, const char *value, struct error *err)
{
	const char *colon = strchr(value, ':');
	auto_free char *soft = colon ? xstrndup(value, (size_t)(colon - value)) : xstrdup(value);

	return is_rlimit(soft) && (!colon || is_rlimit(colon + 1))
		       ? 0
		       : error_set(err, 400, "Invalid resource limit \"%s\"", value);
}

static int check_idmap_size(const char *key UNUSED, const char *value, struct error *err)
{
	uint32_t v;

	if (streq(value, "auto") || (parse_u32(value, &v) == 0 && v > 0))
		return 0;
	return error_set(err, 400, "Invalid value for uint32 \"%s\"", value);
}

static int check_raw_idmap(const char *key UNUSED, const char *value, struct error *err)
{
	auto_idmap struct idmap m = IDMAP_INIT;

	return idmap_parse_raw(value, &m, err);
}

/* DEVICE.WHAT with a known WHAT. */
static bool is_volatile_of_device(const char *rest)
{
	static const char *const ends[] = {
		".hwaddr",
		".name",
		".host_name",
		".apply_quota",
		".ceph_rbd",
		".last_state.created",
		".last_state.mtu",
		".last_state.hwaddr",
		".last_state.proxies",
		".last_state.routes",
		".id",
		".driver",
		".vlan",
		".spoofcheck",
		".uuid",
		".mtu",
	};
	const char *vf = strstr(rest, ".last_state.vf.");

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		const char *end = endswith(rest, ends[i]);

		if (end && end > rest)
			return true;
	}
	return vf && vf > rest && vf[strlen(".last_state.vf.")];
}

const struct config_key config_keys_instance[] = {
	{"boot.autostart", CONFIG_BOOL, NULL, 0, NULL, NULL, "Start at boot; unset: as it was before"},
	{"boot.autostart.delay", CONFIG_UINT32, "0", 0, NULL, NULL,
	 "Seconds to wait after the start before the next one"},
	{"boot.autostart.priority", CONFIG_INT, "0", 0, NULL, NULL, "Higher ones start first"},
	{"boot.stop.priority", CONFIG_INT, "0", 0, NULL, NULL, "Higher ones stop first"},
	{"boot.host_shutdown_timeout", CONFIG_UINT32, "30", CONFIG_LIVE, NULL, NULL,
	 "Seconds to wait at shutdown before the instance is killed"},
	{"environment.*", CONFIG_STRING, NULL, CONFIG_LIVE, check_environment, NULL,
	 "Environment variable of init and of exec"},
	{"limits.cpu", CONFIG_CPUSET, NULL, CONFIG_LIVE, NULL, NULL, "How many CPUs, or which"},
	{"limits.cpu.allowance", CONFIG_STRING, "100%", CONFIG_LIVE, check_allowance, NULL,
	 "Share (50%) or time per period (25ms/100ms)"},
	{"limits.cpu.priority", CONFIG_UINT32, "10", CONFIG_LIVE, check_priority, NULL,
	 "0 to 10, among instances with the same share"},
	{"limits.memory", CONFIG_SIZE_PERCENT, NULL, CONFIG_LIVE, check_memory, NULL,
	 "Memory, in bytes or percent of the host"},
	{"limits.memory.enforce", CONFIG_ENUM, "hard", CONFIG_LIVE, NULL, enforce_values, "hard or soft"},
	{"limits.memory.swap", CONFIG_BOOL, "true", CONFIG_LIVE, NULL, NULL, "May it swap"},
	{"limits.processes", CONFIG_UINT32, NULL, CONFIG_LIVE, NULL, NULL, "Most processes at a time"},
	{"limits.kernel.*", CONFIG_STRING, NULL, 0, check_rlimit, NULL, "Resource limit: soft, or soft:hard",
	 is_rlimit_name},
	{"linux.sysctl.*", CONFIG_STRING, NULL, 0, check_sysctl, NULL, "Kernel setting of the container's namespaces"},
	{"raw.lxc", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL, "Lines for liblxc"},
	{"raw.seccomp", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL, "Whole system call policy"},
	{"raw.apparmor", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL, "Lines for the AppArmor profile"},
	{"raw.idmap", CONFIG_STRING, NULL, CONFIG_MULTILINE, check_raw_idmap, NULL,
	 "Lines of: uid, gid or both; host ids; container ids"},
	{"security.privileged", CONFIG_BOOL, "false", 0, NULL, NULL, "Without a user namespace"},
	{"security.nesting", CONFIG_BOOL, "false", 0, NULL, NULL, "Containers inside"},
	{"security.idmap.isolated", CONFIG_BOOL, "false", 0, NULL, NULL, "Ids that no other instance has"},
	{"security.idmap.base", CONFIG_UINT32, NULL, 0, NULL, NULL,
	 "First host id of an isolated one, among the host's; other instances may have it too"},
	{"security.idmap.size", CONFIG_STRING, "auto", 0, check_idmap_size, NULL,
	 "How many ids an isolated one has; auto: 65536"},
	{"security.protection.delete", CONFIG_BOOL, "false", CONFIG_LIVE, NULL, NULL, "Refuse deletion"},
	{"security.protection.shift", CONFIG_BOOL, "false", CONFIG_LIVE, NULL, NULL,
	 "Refuse to change owners of files"},
	{"security.syscalls.deny_default", CONFIG_BOOL, "true", 0, NULL, NULL, "Deny the dangerous system calls"},
	{"security.syscalls.deny_compat", CONFIG_BOOL, "false", 0, NULL, NULL, "Deny those of other personalities"},
	{"security.syscalls.blacklist_default", CONFIG_BOOL, "true", 0, NULL, NULL, "Deny the dangerous system calls"},
	{"security.syscalls.blacklist_compat", CONFIG_BOOL, "false", 0, NULL, NULL,
	 "Deny those of other personalities"},
	{"security.syscalls.allow", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL, "System calls, one per line"},
	{"security.syscalls.deny", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL, "System calls, one per line"},
	{"security.syscalls.whitelist", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL,
	 "System calls, one per line"},
	{"security.syscalls.blacklist", CONFIG_STRING, NULL, CONFIG_MULTILINE, NULL, NULL,
	 "System calls, one per line"},
	{"snapshots.expiry", CONFIG_STRING, NULL, CONFIG_LIVE, expiry_check, NULL,
	 "How long snapshots are kept that are made without a time of their own: 1M 2H 3d 4w 5m 6y; unset: for ever"},
	{"snapshots.pattern", CONFIG_STRING, "snap%d", CONFIG_LIVE, snapshot_pattern_check, NULL,
	 "Names of snapshots that are made without one: %d is the next number, {{ creation_date }} the time"},
	{"snapshots.schedule", CONFIG_STRING, NULL, CONFIG_LIVE, schedule_check, NULL,
	 "When snapshots are made: like crontab, or @hourly, @daily, @weekly, @monthly, @yearly, @startup, @never; "
	 "several "
	 "separated by comma and space"},
	{"snapshots.schedule.stopped", CONFIG_BOOL, "false", CONFIG_LIVE, NULL, NULL,
	 "Also while the instance is stopped"},
	{"user.*", CONFIG_STRING, NULL, CONFIG_LIVE | CONFIG_MULTILINE, NULL, NULL, "Free for any use"},
	{"image.*", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY | CONFIG_MULTILINE, NULL, NULL,
	 "Properties of the image it was made from"},
	{"volatile.apply_template", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL, "Kept by the server"},
	{"volatile.base_image", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL, "Kept by the server"},
	{"volatile.cloud-init.instance-id", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL,
	 "Kept by the server"},
	{"volatile.evacuate.origin", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL, "Kept by the server"},
	{"volatile.idmap.base", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL, "Kept by the server"},
	{"volatile.idmap.current", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL, "Kept by the server"},
	{"volatile.idmap.next", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL, "Kept by the server"},
	{"volatile.last_state.idmap", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL, "Kept by the server"},
	{"volatile.last_state.power", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL, "Kept by the server"},
	{"volatile.apply_quota", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL, "Kept by the server"},
	{"volatile.uuid", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL, "Kept by the server"},
	{"volatile.*", CONFIG_STRING, NULL, CONFIG_INSTANCE_ONLY, NULL, NULL, "Kept by the server for a device",
	 is_volatile_of_device},
	CONFIG_LATER_ROW("cloud-init.network-config"),
	CONFIG_LATER_ROW("cloud-init.user-data"),
	CONFIG_LATER_ROW("cloud-init.vendor-data"),
	CONFIG_LATER_ROW("cluster.evacuate"),
	CONFIG_LATER_ROW("limits.disk.priority"),
	CONFIG_LATER_ROW("limits.hugepages.64KB"),
	CONFIG_LATER_ROW("limits.hugepages.1MB"),
	CONFIG_LATER_ROW("limits.hugepages.2MB"),
	CONFIG_LATER_ROW("limits.hugepages.1GB"),
	CONFIG_LATER_ROW("limits.memory.swap.priority"),
	CONFIG_LATER_ROW("limits.network.priority"),
	CONFIG_LATER_ROW("linux.kernel_modules"),
	CONFIG_LATER_ROW("migration.incremental.memory"),
	CONFIG_LATER_ROW("migration.incremental.memory.goal"),
	CONFIG_LATER_ROW("migration.incremental.memory.iterations"),
	CONFIG_LATER_ROW("nvidia.runtime"),
	CONFIG_LATER_ROW("nvidia.driver.capabilities"),
	CONFIG_LATER_ROW("nvidia.require.cuda"),
	CONFIG_LATER_ROW("nvidia.require.driver"),
	CONFIG_LATER_ROW("security.devlxd"),
	CONFIG_LATER_ROW("security.devlxd.images"),
	CONFIG_LATER_ROW("security.syscalls.intercept.mknod"),
	CONFIG_LATER_ROW("security.syscalls.intercept.setxattr"),
	CONFIG_LATER_ROW("security.syscalls.intercept.mount"),
	CONFIG_LATER_ROW("security.syscalls.intercept.bpf"),
	CONFIG_LATER_ROW("security.syscalls.intercept.bpf.devices"),
	CONFIG_LATER_ROW("security.syscalls.intercept.sched_setscheduler"),
	CONFIG_LATER_ROW("security.syscalls.intercept.mount.allowed"),
	CONFIG_LATER_ROW("security.syscalls.intercept.mount.fuse"),
	CONFIG_LATER_ROW("security.syscalls.intercept.mount.shift"),
	CONFIG_LATER_ROW("limits.memory.hugepages"),
	CONFIG_LATER_ROW("migration.stateful"),
	CONFIG_LATER_ROW("raw.qemu"),
	CONFIG_LATER_ROW("raw.qemu.conf"),
	CONFIG_LATER_ROW("security.secureboot"),
	CONFIG_LATER_ROW("security.agent.metrics"),
	CONFIG_LATER_ROW("agent.nic_config"),
	CONFIG_END,
};
