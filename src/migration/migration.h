/*
 * The two halves of a migration between servers, over a migration_link: a stopped container without snapshots goes from
 * one to the other as a stream of rsync. The protocol is LXD's; between two servers of ours hard links and ACLs, which
 * it loses, arrive too.
 */
#pragma once

#include "config/idmap.h"
#include "migration/link.h"
#include "migration/transfer.h"

struct migration_source {
	int dirfd;                 /* the volume: rootfs/, templates/, metadata.yaml; borrowed */
	const struct idmap *idmap; /* by which its owners are shifted on disk; empty: not at all */
	bool compress;
	migration_progress_fn progress; /* may be NULL */
	void *progress_arg;
};

/*
 * Blocks until the sink has said that all is well. Errors: the sink's reason, or ours; the sink has been told then.
 */
int migration_send(struct migration_link *l, const struct migration_source *s, struct error *err);

struct migration_sink {
	int dirfd; /* an empty folder that only root can reach; borrowed */
	bool compress;
	migration_progress_fn progress; /* may be NULL */
	void *progress_arg;
};

/*
 * Take in what the source sends. *@ret_idmap tells how the owners of the files are shifted. The source waits then for
 * migration_answer(). Errors: 400 for what is not supported (a running source, snapshots); the source's reason.
 */
int migration_receive(struct migration_link *l, const struct migration_sink *s, struct idmap *ret_idmap,
		      struct error *err);
/* Tell the other side how it ended: @reason NULL means well. */
void migration_answer(struct migration_link *l, const char *reason);
