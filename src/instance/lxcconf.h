/*
 * From an instance's configuration to liblxc's: a pure function from plain values to a list of items, in the order
 * in which they are set. What the host has is part of the input, so tests need no such host.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strmap.h"
#include "base/strv.h"
#include "config/idmap.h"
#include "device/plan.h"
#include "instance/cgroup.h"
#include "network/nic.h"

struct lxcconf_item {
	char *key;
	char *value;
};

struct lxcconf {
	struct lxcconf_item *items;
	size_t len;
};

#define LXCCONF_INIT ((struct lxcconf){0})
#define auto_lxcconf CLEANUP(lxcconf_done)

/* Append one line; key and value are copied. lxcconf_addf() formats the value. */
void lxcconf_done(struct lxcconf *c);
void lxcconf_add(struct lxcconf *c, const char *key, const char *value);
void lxcconf_addf(struct lxcconf *c, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The first value of @key, or NULL; borrowed. */
const char *lxcconf_get(const struct lxcconf *c, const char *key);

/* What the host offers; see lxcconf_probe_host(). */
struct lxcconf_host {
	struct strv paths;           /* those of lxcconf_optional_paths that exist */
	struct cgroup_layout cgroup; /* from cgroup_layout_read() */
	bool in_user_namespace;      /* of the daemon: no device cgroup, no mknod */
	uint64_t memory_bytes;       /* for limits in percent */
	unsigned cpus_online;
	bool swap_accounting; /* v1: memory.memsw.* exists */
};

#define LXCCONF_HOST_INIT ((struct lxcconf_host){0})
void lxcconf_host_done(struct lxcconf_host *h);
/* Look at the host once; @root is "" in real life, the top of a made-up tree in tests. */
int lxcconf_probe_host(const char *root, struct lxcconf_host *ret, struct error *err);

#define LXCCONF_CONSOLE_LOG_MAX 131072u /* bytes of a console's log before it becomes NAME.1 */

struct lxcconf_input {
	const char *name;         /* its host name */
	const char *architecture; /* "x86_64", "i686" ... */
	const char *log_path;     /* logs/<n>/lxc.log */
	const char *log_level;    /* NULL: warn */
	const char *console_log;  /* NULL: none */
	const char *rootfs_path;
	bool rootfs_idmapped;           /* the files hold container ids: mount with an idmap */
	const struct idmap *idmap;      /* empty: privileged */
	const struct strmap *config;    /* expanded */
	const struct device_plan *plan; /* NULL: none */
	const char *seccomp_path;       /* policy file; NULL: none */
	const char *apparmor_profile;   /* NULL: no AppArmor here */
	const struct lxcconf_host *host;
	const char *mounts_dir;       /* $LXD_DIR/devices/<n>: nodes made by the daemon; NULL: none */
	const struct nic_guest *nics; /* interfaces to move in; without any there is only lo */
	size_t n_nics;
};

/*
 * Build the whole list. Errors (400) name the configuration key: a limit that does not parse, a raw.lxc line that is
 * refused. Keys that are not liblxc's business (user.*, volatile.* ...) are ignored.
 */
int lxcconf_build(const struct lxcconf_input *in, struct lxcconf *ret, struct error *err);

/* One live limit as liblxc cgroup items without the "lxc.cgroup." prefix ("memory.max"), for container_cgroup_set(). */
int lxcconf_limits(const struct strmap *config, const struct lxcconf_host *host, struct lxcconf *ret,
		   struct error *err);
/*
 * What to write, in this order, to take a running container from the limits @before to @after; a limit that is gone
 * is written as "none". Orders that the kernel would refuse (memory beyond memory and swap) are avoided.
 */
int lxcconf_limit_changes(const struct strmap *before, const struct strmap *after, const struct lxcconf_host *host,
			  struct lxcconf *ret, struct error *err);
/* "c 1:3 rwm"; the caller frees. */
char *lxcconf_device_rule(const struct device_rule *rule);
/* Text of raw.lxc: `key = value` lines. -EINVAL (400) with the line for refused keys or bad syntax. */
int raw_lxc_validate(const char *text, struct error *err);
/* A path as a field of a mount entry: white space and backslash in octal; the caller frees. */
char *lxcconf_quote_path(const char *path);
