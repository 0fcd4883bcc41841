/* Which host ids a container gets: root's share of the host's ids, and the ranges cut from it. */
#pragma once

#include <stddef.h>

#include "base/strmap.h"
#include "config/idmap.h"

/* Start of the first isolated range, and size of one when nothing is said: also the least a host must give. */
#define IDMAP_RANGE 65536u

/*
 * The host's map: root's first entry with at least 65536 ids in the files @subuid and @subgid (NULL: those of /etc),
 * else the kernel's default limited to what /proc/self/uid_map and gid_map have. -ENOENT (status 500) with the
 * reference's text when there is none.
 */
int idmap_host_range(const char *subuid, const char *subgid, struct idmap *ret, struct error *err);
/* The same with the files that stand for /proc/self/uid_map and gid_map named too, for tests. */
int idmap_host_range_from(const char *subuid, const char *subgid, const char *uid_map, const char *gid_map,
			  struct idmap *ret, struct error *err);

/*
 * The map that an instance with the expanded configuration @config shall have: empty when privileged. @current is
 * what it had (empty: nothing yet), kept while it still fits the settings. @taken: maps of the other isolated
 * instances, stopped ones included. The caller holds the lock that makes choice and record one step.
 */
int idmap_choose(const struct idmap *host, const struct strmap *config, const struct idmap *current,
		 const struct idmap *taken, size_t n_taken, struct idmap *ret, struct error *err);

/*
 * Parse raw.idmap and append its entries to @ret. 400 `Invalid ID map line: ...`, `The ID map ranges are of
 * different sizes: ...`.
 */
int idmap_parse_raw(const char *text, struct idmap *ret, struct error *err);
/* "N" or "N-M": false when it is neither, or beyond 32 bits. */
bool idmap_parse_range(const char *text, uint32_t *first, uint32_t *count);
/* Map @e into @m, taking the container ids it covers away from the other entries. */
void idmap_punch(struct idmap *m, struct idmap_entry e);
