/* The AppArmor profile of an instance, where the kernel has AppArmor. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/strmap.h"

/* Does the kernel have it, with profiles that can be loaded? @root: "" in real life, a made-up tree in tests. */
bool apparmor_is_available(const char *root);
/* "lxd-<name>_<dir>", hashed when that is too long; the caller frees. */
char *apparmor_profile_name(const char *instance, const char *lxd_dir);
/*
 * The profile's text, owned by the caller; a pure function. Keys used: security.nesting, security.privileged,
 * raw.apparmor.
 */
char *apparmor_profile_text(const char *profile_name, const struct strmap *config);
/* Write the profile as @path and load it with apparmor_parser. */
int apparmor_load(const char *path, const char *text, struct error *err);
/* Unload the profile in @path and remove the file; missing is fine. */
int apparmor_unload(const char *path, struct error *err);
