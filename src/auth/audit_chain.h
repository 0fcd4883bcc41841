/*
 * The audit log's lines and files, and whether they are what was written: for the daemon, which appends, and for
 * `lxd audit verify`, which only reads. A line is
 *
 *	{"seq":N,...,"prev":"<hash of line N-1>","hash":"<SHA-256 of all before this member>"}
 *
 * so that no line can be changed, moved or taken out without a break that shows.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "base/strv.h"
#include "db/db.h"

#define AUDIT_FILE "audit.log"
#define AUDIT_SIZE_MAX (2u << 20)  /* a file that has grown beyond is rotated */
#define AUDIT_ROTATED_MAX 8        /* audit.log.1 (newest) ... audit.log.8 are kept */
#define AUDIT_LINE_MAX (16u << 10) /* more is no line of ours */
#define AUDIT_GROUP_MAX 64         /* lines that are written at once: so many may be unacknowledged after a crash */
#define AUDIT_EVENT_SEGMENT "audit-segment" /* of the line that begins a new chain after damage */

/* The "prev" of a chain's first line: 64 zeros. */
extern const char audit_no_hash[65];
/* The state of an empty log. */
struct db_audit audit_state_empty(void);

/*
 * Append line @seq with its newline. @fields is the inner text of a JSON object, without braces. Gives its hash.
 */
void audit_line_append(struct strbuf *out, int64_t seq, const char *prev, const char *fields, char hash[65]);

/* Name of the file that is @i rotations old; 0 is the current one. */
void audit_file_name(unsigned i, char name[32]);

/* What a look at the whole log has found. */
struct audit_report {
	struct strv segments; /* places where a new chain begins: damage that was found before */
	struct strv damage;   /* one sentence per damaged place: file and line; at most a few dozen */
	uint64_t n_damage;
	uint64_t lines;   /* read */
	uint64_t skipped; /* of them before the first that the database names */
	int64_t last;     /* number of the last line; 0: none */
	char last_hash[65];
	int64_t ahead;     /* whole lines behind the database's head: written, not acknowledged */
	size_t torn_bytes; /* of a last line without its end */
	off_t good_size;   /* of the current file, up to its last whole line */
};

#define AUDIT_REPORT_INIT ((struct audit_report){0})
void audit_report_done(struct audit_report *r);

/*
 * Read all files of the log in folder @dirfd and compare with @state. What cannot be read is damage too. @growing: a
 * daemon is at work, so any number of entries may have come since @state was; else no more than a crash can leave.
 */
void audit_examine(int dirfd, const struct db_audit *state, bool growing, struct audit_report *ret);
/* First number and its prev in the file that is @i rotations old. False: no such file, or it does not begin with an
 * entry. */
bool audit_file_start(int dirfd, unsigned i, int64_t *ret_seq, char prev[65]);
