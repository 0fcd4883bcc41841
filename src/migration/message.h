/*
 * The messages of a migration's control socket: protobuf, one per websocket message. The source offers a header, the
 * sink answers with one, and at the end (or instead of an answer) comes a verdict. Pure functions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/strv.h"
#include "config/idmap.h"

#define MIGRATION_MESSAGE_MAX (1024 * 1024) /* bytes of one message */

/* What both rsyncs must do alike. */
enum migration_features {
	MIGRATION_XATTRS = 1 << 0,
	MIGRATION_DELETE = 1 << 1,
	MIGRATION_COMPRESS = 1 << 2,
	MIGRATION_BIDIRECTIONAL = 1 << 3, /* the list is meant as it is; servers that do not say so are too old */
	MIGRATION_HARDLINKS = 1 << 4,     /* ours */
	MIGRATION_ACLS = 1 << 5,          /* ours */
};

struct migration_header {
	bool rsync;            /* the way of transfer; else one that only some storage drivers know */
	bool running;          /* the source is a running instance: live, or copied in two stages */
	bool refresh;          /* an existing instance is to be brought up to date */
	bool index;            /* a description of the volume comes before it */
	unsigned features;     /* enum migration_features */
	struct idmap idmap;    /* by which the files' owners are shifted; empty: not at all */
	struct strv snapshots; /* names */
};

#define MIGRATION_HEADER_INIT ((struct migration_header){0})
#define auto_migration_header CLEANUP(migration_header_done)
void migration_header_done(struct migration_header *h);

/* Append the message. */
void migration_header_encode(const struct migration_header *h, struct strbuf *ret);
/* 400 for a malformed message or an id map that cannot be. */
int migration_header_decode(const void *data, size_t len, struct migration_header *ret, struct error *err);

/* Append the verdict; @message is the reason of a failure, NULL means success. */
void migration_verdict_encode(const char *message, struct strbuf *ret);
/* 0 for a success; a failure of the peer gives its text, without control characters, with status 500; else 400. */
int migration_verdict_decode(const void *data, size_t len, struct error *err);
/* Does the message look like a verdict where a header would be due as well? */
bool migration_is_verdict(const void *data, size_t len);
