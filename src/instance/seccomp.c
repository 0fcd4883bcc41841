/* Assembling seccomp policies: which system calls fail with ENOSYS in a container. */
#include "instance/seccomp.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/strbuf.h"

/* ENOSYS (38): programs take it for an old kernel and go on without */
static const char default_deny[] = "reject_force_umount\n"
				   "[all]\n"
				   "kexec_load errno 38\n"
				   "open_by_handle_at errno 38\n"
				   "init_module errno 38\n"
				   "finit_module errno 38\n"
				   "delete_module errno 38\n";

/* Entry points of 32-bit and x32 programs on a 64-bit kernel. */
static const char *const compat_deny[] = {
	"compat_sys_rt_sigaction",
	"stub_x32_rt_sigreturn",
	"compat_sys_ioctl",
	"compat_sys_readv",
	"compat_sys_writev",
	"compat_sys_recvfrom",
	"compat_sys_sendmsg",
	"compat_sys_recvmsg",
	"stub_x32_execve",
	"compat_sys_ptrace",
	"compat_sys_rt_sigpending",
	"compat_sys_rt_sigtimedwait",
	"compat_sys_rt_sigqueueinfo",
	"compat_sys_sigaltstack",
	"compat_sys_timer_create",
	"compat_sys_mq_notify",
	"compat_sys_kexec_load",
	"compat_sys_waitid",
	"compat_sys_set_robust_list",
	"compat_sys_get_robust_list",
	"compat_sys_vmsplice",
	"compat_sys_move_pages",
	"compat_sys_preadv64",
	"compat_sys_pwritev64",
	"compat_sys_rt_tgsigqueueinfo",
	"compat_sys_recvmmsg",
	"compat_sys_sendmmsg",
	"compat_sys_process_vm_readv",
	"compat_sys_process_vm_writev",
	"compat_sys_setsockopt",
	"compat_sys_getsockopt",
	"compat_sys_io_setup",
	"compat_sys_io_submit",
	"stub_x32_execveat",
};

static const char *const compat_architectures[] = {"x86_64", "aarch64", "ppc64"};

/* A key and its older name. */
struct twin {
	const char *name;
	const char *legacy;
};

static const struct twin allow_key = {"security.syscalls.allow", "security.syscalls.whitelist"};
static const struct twin deny_key = {"security.syscalls.deny", "security.syscalls.blacklist"};
static const struct twin default_key = {"security.syscalls.deny_default", "security.syscalls.blacklist_default"};
static const struct twin compat_key = {"security.syscalls.deny_compat", "security.syscalls.blacklist_compat"};

static const char *twin_get(const struct strmap *config, const struct twin *t)
{
	const char *v = strmap_get_or(config, t->name, NULL);

	return v ? v : strmap_get_or(config, t->legacy, NULL);
}

static bool twin_bool(const struct strmap *config, const struct twin *t, bool def)
{
	return parse_bool_or(twin_get(config, t), def);
}

int seccomp_validate(const struct strmap *config, struct error *err)
{
	static const struct twin *const all[] = {&allow_key, &deny_key, &default_key, &compat_key};
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		bool is_new = strmap_get_or(config, all[i]->name, NULL);
		bool is_old = strmap_get_or(config, all[i]->legacy, NULL);

		if (is_new && is_old)
			return error_set(err, 400, "%s and %s are mutually exclusive", all[i]->name, all[i]->legacy);
		any = any || is_new || is_old;
	}
	if (any && strmap_get_or(config, "raw.seccomp", NULL))
		return error_set(err, 400, "raw.seccomp is mutually exclusive with security.syscalls*");
	if (twin_get(config, &allow_key) &&
	    (twin_get(config, &deny_key) || twin_get(config, &default_key) || twin_get(config, &compat_key)))
		return error_set(err, 400,
				 "security.syscalls.allow is mutually exclusive with security.syscalls.deny*");
	return 0;
}

static void append_lines(struct strbuf *b, const char *text)
{
	strbuf_append(b, text);
	if (b->len && b->data[b->len - 1] != '\n')
		strbuf_append_char(b, '\n');
}

static void append_compat(struct strbuf *b, const char *architecture)
{
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(compat_architectures); i++)
		known = known || streq(compat_architectures[i], architecture);
	if (!known)
		return;
	strbuf_appendf(b, "[%s]\n", architecture);
	for (size_t i = 0; i < ARRAY_SIZE(compat_deny); i++)
		strbuf_appendf(b, "%s errno 38\n", compat_deny[i]);
}

char *seccomp_policy(const struct strmap *config, const char *architecture)
{
	const char *raw = strmap_get_or(config, "raw.seccomp", NULL);
	const char *allow = twin_get(config, &allow_key);
	const char *deny = twin_get(config, &deny_key);
	bool by_default = twin_bool(config, &default_key, true);
	bool compat = twin_bool(config, &compat_key, false);
	struct strbuf b = STRBUF_INIT;

	if (raw)
		return xstrdup(raw);
	if (allow) {
		strbuf_append(&b, "2\nallowlist\n[all]\n");
		append_lines(&b, allow);
		return strbuf_take(&b);
	}
	if (!by_default && !compat && !deny)
		return NULL;
	strbuf_append(&b, "2\ndenylist\n");
	strbuf_append(&b, by_default ? default_deny : "[all]\n");
	if (compat)
		append_compat(&b, architecture);
	if (deny) {
		if (compat)
			strbuf_append(&b, "[all]\n");
		append_lines(&b, deny);
	}
	return strbuf_take(&b);
}
