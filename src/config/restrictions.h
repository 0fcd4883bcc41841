/*
 * What may be in a project with restricted=true: an allow list, by key and by device. A key, a type or an option that
 * no rule here names is refused there. All pure: of configurations, never of the host.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/strmap.h"

/* Whose configuration is judged; for the error's text. */
struct restriction_subject {
	const char *project;
	const char *kind; /* "container", "profile" */
	const char *name;
};

/* Does the project with this configuration restrict at all? */
bool restrictions_apply(const struct strmap *project);
/*
 * Configuration and devices with all profiles (or those of one profile). @project is the project's configuration.
 * volatile.* is not judged: restrictions_check_volatile() does. Errors: 403 naming the key or device.
 */
int restrictions_check(const struct strmap *project, const struct restriction_subject *s, const struct strmap *config,
		       const struct mapmap *devices, struct error *err);
/*
 * The same of volatile.* keys that a client sends: those that describe nothing but the instance itself may be set,
 * others may only stay as they are in @before. 403.
 */
int restrictions_check_volatile(const struct strmap *project, const struct restriction_subject *s,
				const struct strmap *before, const struct strmap *after, struct error *err);
/* May a client of the project set this volatile key? For what is left out of copies. */
bool restrictions_allow_volatile(const struct strmap *project, const char *key);
/* May it use, and see, the network or (not @managed) the host's interface? */
bool restrictions_allow_network(const struct strmap *project, const char *name, bool managed);
/* A key of values allow and block: "restricted.snapshots", "restricted.backups". */
bool restrictions_allow(const struct strmap *project, const char *key);
