/*
 * The program lxd-transfer runs one rsync on behalf of lxd, which never sees the tree's bytes: the peer of a migration
 * is a stranger, and rsync is a large program. It gets the tree as its only writable (or, when sending, its only)
 * file system, no network, few capabilities, Landlock and a list of system calls.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define TRANSFER_TREE_FD 3 /* from lxd */
#define RELAY_IN_FD 4      /* when sending: what the peer says, kept for the relay */
#define RELAY_OUT_FD 5     /* and what rsync says */
#define JAIL_TREE "/tree"
#define JAIL_SELF "/lxd-transfer"

/*
 * Split off a child in its own mount, pid, network, IPC and UTS namespaces; returns 0 in it. The caller itself waits
 * for the child and ends as it does: it returns for an error only.
 */
int jail_split(struct error *err);
/*
 * In the child: the folder TRANSFER_TREE_FD becomes JAIL_TREE, writable unless @sending, beside /usr read-only and
 * this program as JAIL_SELF; then capabilities, limits, Landlock and seccomp. rsync may be executed after it.
 */
int jail_enter(bool sending, struct error *err);

/* The seccomp allow list (filter.c): anything else fails with ENOSYS; it stays across execve. */
int jail_filter_load(struct error *err);

/*
 * Copy between this process's standard streams, which rsync holds the other ends of, and RELAY_IN_FD and RELAY_OUT_FD,
 * until the peer's side ends. The exit code.
 */
int relay_run(void);
