/*
 * User and group id maps of unprivileged containers: where the host's ids come from, how a container
 * gets its share, and the JSON text of the volatile.idmap.* keys.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct idmap_entry {
	bool is_uid;
	bool is_gid;
	uint32_t host;  /* first id on the host */
	uint32_t ns;    /* first id in the container */
	uint32_t count; /* how many, at least 1 */
};

struct idmap {
	struct idmap_entry *entries; /* empty: no user namespace (privileged) */
	size_t len;
};

#define IDMAP_INIT ((struct idmap){0})
#define auto_idmap CLEANUP(idmap_done)

void idmap_done(struct idmap *m);
/* Append @e. */
void idmap_add(struct idmap *m, struct idmap_entry e);
/* Replace what @dst has by a copy of @src; they may be the same. */
void idmap_copy(struct idmap *dst, const struct idmap *src);
/* The same entries in the same order? */
bool idmap_equal(const struct idmap *a, const struct idmap *b);
/* Host id of container id @id; -1 when it is not mapped. An empty map is the identity. */
int64_t idmap_uid_to_host(const struct idmap *m, uint32_t id);
int64_t idmap_gid_to_host(const struct idmap *m, uint32_t id);
int64_t idmap_uid_from_host(const struct idmap *m, uint32_t id);
int64_t idmap_gid_from_host(const struct idmap *m, uint32_t id);
/* [{"Isuid":true,"Isgid":false,"Hostid":100000,"Nsid":0,"Maprange":65536},...]; "[]" when empty; the caller frees. */
char *idmap_to_json(const struct idmap *m);
/* Read the same text; *@ret is replaced. 400 `Invalid id map: ...`. */
int idmap_from_json(const char *text, struct idmap *ret, struct error *err);
/* Lines of the kernel's uid_map (or else gid_map); NULL when the map is empty; the caller frees. */
char *idmap_to_kernel(const struct idmap *m, bool uids);
