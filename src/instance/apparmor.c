/* AppArmor profiles: text from configuration, loading by apparmor_parser. */
#include "instance/apparmor.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strbuf.h"

#define PROFILE_NAME_MAX 200
#define PARSER "/sbin/apparmor_parser"

static const char *const base_rules[] = {
	"capability,",
	"dbus,",
	"file,",
	"network,",
	"umount,",
	/* its own processes only */
	"signal (receive) peer=unconfined,",
	"signal peer=@{profile_name},",
	"signal peer=@{profile_name}//&*,",
	"ptrace peer=@{profile_name},",
	"ptrace (readby, tracedby) peer=unconfined,",
	"unix,",
	/* knobs of the whole host */
	"deny @{PROC}/sys/fs/** wklx,",
	"deny @{PROC}/sysrq-trigger rwklx,",
	"deny @{PROC}/kcore rwklx,",
	"deny @{PROC}/acpi/** rwklx,",
	"deny @{PROC}/bus/** wklx,",
	"deny @{PROC}/sys/kernel/core_pattern wklx,",
	"deny @{PROC}/sys/kernel/modprobe wklx,",
	"deny @{PROC}/sys/vm/** wklx,",
	"deny /sys/firmware/efi/** rwklx,",
	"deny /sys/kernel/security/** rwklx,",
	"deny /sys/kernel/debug/** rwklx,",
	"deny /sys/kernel/tracing/** rwklx,",
	"deny /sys/kernel/config/** rwklx,",
	"deny /sys/[^fdck]*{,/**} wklx,",
	"deny /sys/module/** wklx,",
	/* mounts a container's own init makes */
	"mount fstype=proc -> @{PROC}/,",
	"mount fstype=sysfs -> /sys/,",
	"mount fstype=tmpfs,",
	"mount fstype=ramfs,",
	"mount fstype=mqueue,",
	"mount fstype=devpts,",
	"mount fstype=cgroup -> /sys/fs/cgroup/**,",
	"mount fstype=cgroup2 -> /sys/fs/cgroup/**,",
	"mount fstype=fuse,",
	"mount fstype=fuse.*,",
	"mount fstype=fusectl -> /sys/fs/fuse/connections/,",
	"deny mount fstype=debugfs,",
	"mount fstype=binfmt_misc -> @{PROC}/sys/fs/binfmt_misc/,",
	"mount options=(rw, make-slave) -> **,",
	"mount options=(rw, make-rslave) -> **,",
	"mount options=(rw, make-shared) -> **,",
	"mount options=(rw, make-rshared) -> **,",
	"mount options=(rw, make-private) -> **,",
	"mount options=(rw, make-rprivate) -> **,",
	"mount options=(rw, make-unbindable) -> **,",
	/* binding, and making read-only what is not the kernel's */
	"mount options=(rw, bind),",
	"mount options=(rw, rbind),",
	"mount options=(rw, move),",
	"mount options=(ro, remount, bind) -> /[^psd]*{,/**},",
	"mount options=(ro, remount, bind) -> /d[^e]*{,/**},",
	"mount options=(ro, remount, bind) -> /s[^y]*{,/**},",
	"mount options=(ro, remount, bind) -> /p[^r]*{,/**},",
};

static const char *const nesting_rules[] = {
	"/.oldroot/** r,", "pivot_root,",
	"mount,",          "change_profile -> \":@{profile_ns}:*\",",
	"change_profile,", "/sys/kernel/security/apparmor/** rw,",
};

bool apparmor_is_available(const char *root)
{
	auto_free char *path = xasprintf("%s/sys/kernel/security/apparmor/profiles", root);

	return access(path, F_OK) == 0;
}

char *apparmor_profile_name(const char *instance, const char *lxd_dir)
{
	auto_free char *dir = xstrdup(*lxd_dir == '/' ? lxd_dir + 1 : lxd_dir);
	char hash[SHA256_HEX + 1];
	char *name;

	for (char *p = dir; *p; p++)
		if (*p == '/')
			*p = '-';
	name = xasprintf("lxd-%s_<%s>", instance, dir);
	if (strlen(name) <= PROFILE_NAME_MAX)
		return name;
	sha256_hex(name, strlen(name), hash);
	free(name);
	return xasprintf("lxd-%.64s", hash);
}

static void append_rules(struct strbuf *b, const char *const *rules, size_t count)
{
	for (size_t i = 0; i < count; i++)
		strbuf_appendf(b, "  %s\n", rules[i]);
}

static void append_raw(struct strbuf *b, const char *raw)
{
	strbuf_append(b, "\n  # raw.apparmor\n");
	while (*raw) {
		int n = (int)strcspn(raw, "\n");

		strbuf_appendf(b, "  %.*s\n", n, raw);
		raw += n + (raw[n] == '\n');
	}
}

char *apparmor_profile_text(const char *profile_name, const struct strmap *config)
{
	const char *raw = strmap_get_or(config, "raw.apparmor", NULL);
	struct strbuf b = STRBUF_INIT;

	strbuf_append(&b, "#include <tunables/global>\n");
	strbuf_appendf(&b, "profile \"%s\" flags=(attach_disconnected,mediate_deleted) {\n", profile_name);
	append_rules(&b, base_rules, ARRAY_SIZE(base_rules));
	if (strmap_get_bool(config, "security.nesting", false)) {
		strbuf_append(&b, "\n  # security.nesting\n");
		append_rules(&b, nesting_rules, ARRAY_SIZE(nesting_rules));
	} else {
		strbuf_append(&b, "  deny /sys/kernel/security/apparmor/** rwklx,\n");
		strbuf_append(&b, "  deny change_profile,\n");
	}
	/* an unprivileged one may remount what its own user namespace lets it */
	if (!strmap_get_bool(config, "security.privileged", false))
		strbuf_append(&b, "  mount options=(rw, remount),\n  mount options=(ro, remount),\n");
	if (raw)
		append_raw(&b, raw);
	strbuf_append(&b, "}\n");
	return strbuf_take(&b);
}

static int run_parser(const char *option, const char *path, struct error *err)
{
	const char *const argv[] = {PARSER, option, path, NULL};
	struct process_spec spec = PROCESS_SPEC_INIT;

	spec.argv = argv;
	return process_run(&spec, NULL, err);
}

int apparmor_load(const char *path, const char *text, struct error *err)
{
	int r = file_replace_at(AT_FDCWD, path, text, strlen(text), 0600, err);

	if (r < 0)
		return r;
	r = run_parser("-rK", path, err);
	return r < 0 ? error_wrap(err, "Load AppArmor profile %s", path) : 0;
}

int apparmor_unload(const char *path, struct error *err)
{
	int r;

	if (access(path, F_OK) < 0)
		return 0;
	r = run_parser("-R", path, err);
	if (r < 0)
		return error_wrap(err, "Unload AppArmor profile %s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_errno(err, errno, "Remove %s", path);
	return 0;
}
