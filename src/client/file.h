/* Files of instances, as `lxc file` sends and gets them. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/strbuf.h"
#include "http/client_api.h"

/* What is made; negative: the server's default. */
struct file_kind {
	const char *type; /* "file", "directory", "symlink" */
	int64_t uid, gid, mode;
};

enum file_type { FILE_TYPE_UNKNOWN, FILE_TYPE_REGULAR, FILE_TYPE_FOLDER, FILE_TYPE_LINK };

/* What comes from the server, which is not trusted. */
struct file_got {
	enum file_type type;
	mode_t mode;        /* rwx bits alone */
	struct strbuf body; /* of a folder, the envelope; of a link, its target */
	int fd;             /* a regular file's content goes here; negative: nowhere */
	/* Called for a regular file before its content comes, to open .fd; may be NULL. */
	int (*open)(struct file_got *g, struct error *err);
};
void file_got_done(struct file_got *g);

/* Behind the last slash; borrowed. */
const char *file_base_name(const char *path);

/* POST a file, folder or link; @body (its content or target) may be NULL. */
int file_send(struct api *a, const char *instance, const char *path, const struct file_kind *k,
	      const struct http_piece *body, struct error *err);
/* GET @path: *@g tells what it is and holds what came; links are not followed. An answer without a type is an error. */
int file_get(struct api *a, const char *instance, const char *path, struct file_got *g, struct error *err);
/* All missing folders down to @path ("" or "/": none). */
int file_make_folders(struct api *a, const char *instance, const char *path, const struct file_kind *k,
		      struct error *err);
/* The file or folder @source with all below it, into the folder @target. Owners and modes are the local ones. */
int file_push_tree(struct api *a, const char *instance, const char *source, const char *target, struct error *err);
/*
 * The file or folder @path, into the local folder @target, which is made when missing. Nothing is written outside that:
 * names that are none are refused, and links in it are not followed.
 */
int file_pull_tree(struct api *a, const char *instance, const char *path, const char *target, struct error *err);
