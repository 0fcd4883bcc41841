/*
 * Work on files beneath a root folder that somebody hostile may change at any moment. Links, "..", and mounts resolve
 * as they do for a process whose root that folder is; nothing else can be reached, and only regular files are ever
 * opened: no FIFO, device or socket. Errors: 404 `Not Found`, 400 what is no file of the wanted kind, else 500 naming
 * the path.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/error.h"

struct beneath {
	int root; /* O_PATH or better */
	int fds;  /* this process's /proc/self/fd: held from before other mounts are entered */
};

/* Owner and mode of what is made. */
struct beneath_owner {
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/* What @path is, links not followed. */
int beneath_look(const struct beneath *b, const char *path, struct stat *ret, struct error *err);
/* The target of a link; the caller frees. */
int beneath_read_link(const struct beneath *b, const char *path, char **ret, struct error *err);
/*
 * The content of a regular file, for reading. A file of a file system that may not answer, or whose size is not known
 * before it is read, comes as a copy in memory, at most 16 MiB.
 */
int beneath_open(const struct beneath *b, const char *path, struct error *err);
/* The names in a folder, each ended by NUL, as a file in memory. */
int beneath_list(const struct beneath *b, const char *path, struct error *err);
/* A folder that is there already is fine, and stays as it is. */
int beneath_make_folder(const struct beneath *b, const char *path, const struct beneath_owner *o, struct error *err);
/* The same link there is fine. */
int beneath_make_link(const struct beneath *b, const char *path, const char *target, const struct beneath_owner *o,
		      struct error *err);
/* A file, link or empty folder. */
int beneath_remove(const struct beneath *b, const char *path, struct error *err);

/* A file being written. */
struct beneath_file {
	int fd;
	int parent; /* a new file, which has no name yet: where it gets one */
	char *name;
};

/*
 * Open for writing. A file that is there is emptied, unless @append, and keeps its owner, mode and inode. A new one
 * appears with beneath_commit(), complete. Links are followed.
 */
int beneath_write(const struct beneath *b, const char *path, bool append, const struct beneath_owner *o,
		  struct beneath_file *ret, struct error *err);
int beneath_commit(const struct beneath *b, struct beneath_file *f, struct error *err);
