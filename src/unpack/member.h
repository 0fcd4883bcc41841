/* Names of archive members: pure checks on hostile text. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"

#define MEMBER_PATH_MAX 4000
#define MEMBER_NAME_MAX 255
#define MEMBER_DEPTH_MAX 256
#define MEMBER_LINK_MAX 4095

/* Where a member of a metadata or unified tarball goes. */
enum member_area {
	MEMBER_IGNORED,
	MEMBER_METADATA,  /* metadata.yaml */
	MEMBER_TEMPLATES, /* templates/... */
	MEMBER_ROOTFS,    /* rootfs/... */
};

/*
 * Normalise @raw: "./a//b/./c/" becomes "a/b/c", "./" becomes "". Errors (400): NULL or empty name, absolute path,
 * a ".." component, a component, path or depth beyond the limits above. @what begins the message ("Member").
 */
int member_path_clean(const char *raw, const char *what, char **ret, struct error *err);

/*
 * The area of a cleaned path; *@ret_rest is the part below it, within @path ("" for the folder itself). Only a
 * unified image has a rootfs in its tarball.
 */
enum member_area member_path_area(const char *path, bool unified, const char **ret_rest);

/* @raw for a message: control characters, quotes, bad UTF-8 as \xNN, cut at 200 bytes; the caller frees. */
char *member_escape(const char *raw);

/* Text of a symbolic link: not empty, within MEMBER_LINK_MAX. 400 naming @path. */
int member_check_symlink(const char *path, const char *target, struct error *err);
/* An owner id from an archive: 0 to 4294967294. 400 naming @path. */
int member_check_id(const char *path, int64_t id, struct error *err);
