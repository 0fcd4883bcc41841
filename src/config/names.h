/*
 * Names come in through these checks and no other way: what passed is safe as a file name, a path component and an
 * argument. All return 0, or 400 with the reference's text.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* 1 to 63 of a-z A-Z 0-9 -; begins with a letter, ends with no hyphen, is no number. `Invalid instance name: ...`. */
int name_check_instance(const char *name, struct error *err);
int name_check_snapshot(const char *name, struct error *err);
int name_check_profile(const char *name, struct error *err);
int name_check_project(const char *name, struct error *err);
int name_check_pool(const char *name, struct error *err);
/* 1 to 64 bytes, no slash, not "." or "..". */
int name_check_device(const char *name, struct error *err);
/* 2 to 15 of a-z A-Z 0-9 - _ . but not "..", "all", "default". `Network interface is too short ...`. */
int name_check_interface(const char *name, struct error *err);
/* Image alias: may hold slashes and colons; is never a path. */
int name_check_alias(const char *name, struct error *err);
/* A prefix of an image fingerprint: 1 to 64 hex digits. */
int name_check_fingerprint(const char *text, struct error *err);
/* Files of an instance's log folder: lxc.log, lxc.conf, exec_<letters, digits, -, _>.{stdout,stderr}. 404 otherwise. */
int name_check_log_file(const char *name, struct error *err);
/* May a client remove this log file? Only records of exec. */
bool name_is_exec_log(const char *name);

/* Valid UTF-8 without control characters; @multiline allows line breaks and tabs. */
bool text_is_clean(const char *text, bool multiline);

/* A random two-word name that name_check_instance() accepts; the caller frees. */
char *instance_name_random(void);
