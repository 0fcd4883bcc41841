#include "auth/audit_chain.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/str.h"

#define SENTENCES_MAX 30
#define FILE_READ_MAX (256u << 20) /* a log that somebody has blown up is damage to report, not memory to fill */

#define SEQ_MAX (INT64_MAX / 2)

const char audit_no_hash[65] = "0000000000000000000000000000000000000000000000000000000000000000";

static const char seq_mark[] = "{\"seq\":";
static const char prev_mark[] = ",\"prev\":\"";
static const char hash_mark[] = "\",\"hash\":\"";
static const char end_mark[] = "\"}";

struct db_audit audit_state_empty(void)
{
	struct db_audit s = {.first = 1};

	memcpy(s.head, audit_no_hash, sizeof(s.head));
	memcpy(s.first_prev, audit_no_hash, sizeof(s.first_prev));
	return s;
}

void audit_line_append(struct strbuf *out, int64_t seq, const char *prev, const char *fields, char hash[65])
{
	size_t begin = out->len;

	strbuf_appendf(out, "%s%lld,%s%s%s", seq_mark, (long long)seq, fields, prev_mark, prev);
	sha256_hex(out->data + begin, out->len - begin, hash);
	strbuf_appendf(out, "%s%s%s\n", hash_mark, hash, end_mark);
}

void audit_file_name(unsigned i, char name[32])
{
	if (i == 0)
		snprintf(name, 32, "%s", AUDIT_FILE);
	else
		snprintf(name, 32, "%s.%u", AUDIT_FILE, i);
}

struct line {
	int64_t seq;
	char prev[65];
	char hash[65];     /* as it says */
	char computed[65]; /* as it is */
	bool segment;
};

static bool take_hash(const char *text, char to[65])
{
	if (strspn(text, "0123456789abcdef") < 64)
		return false;
	memcpy(to, text, 64);
	to[64] = '\0';
	return true;
}

/* @text has @len bytes without the newline. False: not in the form of a line. */
static bool parse_line(const char *text, size_t len, struct line *l)
{
	const size_t tail = strlen(hash_mark) + 64 + strlen(end_mark), prev = strlen(prev_mark) + 64;
	const char *at;
	size_t digits;
	auto_free char *number = NULL;

	if (len < strlen(seq_mark) + prev + tail || len > AUDIT_LINE_MAX ||
	    memcmp(text, seq_mark, strlen(seq_mark)) != 0)
		return false;
	at = text + strlen(seq_mark);
	digits = strspn(at, "0123456789");
	number = xstrndup(at, digits);
	if (at[digits] != ',' || parse_i64(number, &l->seq) < 0 || l->seq >= SEQ_MAX)
		return false;
	l->segment = startswith(at + digits, ",\"event\":\"" AUDIT_EVENT_SEGMENT "\"") != NULL;
	at = text + len - tail;
	if (memcmp(at, hash_mark, strlen(hash_mark)) != 0 || !take_hash(at + strlen(hash_mark), l->hash) ||
	    memcmp(text + len - strlen(end_mark), end_mark, strlen(end_mark)) != 0)
		return false;
	sha256_hex(text, len - tail, l->computed);
	at -= prev;
	return memcmp(at, prev_mark, strlen(prev_mark)) == 0 && take_hash(at + strlen(prev_mark), l->prev);
}

/* The walk along all files. */
struct walk {
	struct audit_report *report;
	const struct db_audit *state;
	bool begun;   /* the entry is past that the database names as the first */
	int64_t next; /* number of the line to come; 0: whatever comes, after something that was no line */
	char prev[65];
	char file[32];
	uint64_t number; /* of the line in its file */
};

static void damage(struct walk *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void damage(struct walk *w, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list ap;

	if (w->report->n_damage++ >= SENTENCES_MAX)
		return;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	if (w->number)
		strv_addf(&w->report->damage, "%s line %llu: %s", w->file, (unsigned long long)w->number, text);
	else
		strv_add(&w->report->damage, text);
}

static void check_order(struct walk *w, const struct line *l)
{
	if (w->next == 0 && !l->segment)
		return;
	if (l->seq == w->next && streq(l->prev, w->prev))
		return;
	if (l->seq > w->next)
		damage(w, "is entry %lld; entries %lld to %lld are missing before it", (long long)l->seq,
		       (long long)w->next, (long long)l->seq - 1);
	else if (l->seq < w->next)
		damage(w, "is entry %lld, where entry %lld should be: out of order or repeated", (long long)l->seq,
		       (long long)w->next);
	else
		damage(w, "entry %lld does not continue the one before it", (long long)l->seq);
}

/* Before the entry that the database names as the first (@l NULL: no entry at all): of a chain that was given up, or of
 * a file whose removal by rotation a crash has prevented. */
static bool is_before_first(struct walk *w, const struct line *l)
{
	if (w->begun || w->state->first == 1 || (l && l->seq >= w->state->first))
		return false;
	w->report->skipped++;
	return true;
}

static void check_line(struct walk *w, const struct line *l)
{
	struct audit_report *r = w->report;

	check_order(w, l);
	if (!streq(l->hash, l->computed))
		damage(w, "entry %lld was changed: its text does not have the hash that it states", (long long)l->seq);
	else if (l->seq == w->state->count && !streq(l->hash, w->state->head))
		damage(w, "entry %lld is not the one that the database knows as the last", (long long)l->seq);
	if (l->seq > w->state->count)
		r->ahead++;
	w->next = l->seq + 1;
	memcpy(w->prev, l->hash, sizeof(w->prev));
	r->last = l->seq;
	memcpy(r->last_hash, l->hash, sizeof(r->last_hash));
}

static void take_line(struct walk *w, const char *text, size_t len)
{
	struct line l = {0};
	bool parsed = parse_line(text, len, &l);

	w->number++;
	w->report->lines++;
	if (parsed && l.segment && w->report->segments.len < SENTENCES_MAX)
		strv_addf(&w->report->segments,
			  "%s line %llu: entry %lld begins a new chain: the daemon found the log damaged before it",
			  w->file, (unsigned long long)w->number, (long long)l.seq);
	if (is_before_first(w, parsed ? &l : NULL))
		return;
	w->begun = true;
	if (parsed) {
		check_line(w, &l);
		return;
	}
	damage(w, "is not an entry of this log");
	w->next = 0;
}

static void take_text(struct walk *w, const struct strbuf *text, bool current)
{
	size_t at = 0;

	w->number = 0;
	while (at < text->len) {
		const char *end = memchr(text->data + at, '\n', text->len - at);

		if (!end)
			break;
		take_line(w, text->data + at, (size_t)(end - text->data) - at);
		at = (size_t)(end - text->data) + 1;
	}
	if (current) {
		w->report->good_size = (off_t)at;
		w->report->torn_bytes = text->len - at;
	} else if (at < text->len && !is_before_first(w, NULL)) {
		w->number++;
		damage(w, "has no end");
	}
}

static void walk_file(struct walk *w, int dirfd, unsigned i)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	int r;

	audit_file_name(i, w->file);
	w->number = 0;
	r = file_read_at(dirfd, w->file, FILE_READ_MAX, &text, &err);
	if (r == -ENOENT) {
		error_ignore(&err, "rotation leaves gaps when it is interrupted");
		return;
	}
	if (r < 0)
		damage(w, "%s", error_msg(&err));
	take_text(w, &text, i == 0);
}

static void check_end(struct walk *w, bool growing)
{
	struct audit_report *r = w->report;

	w->number = 0;
	if (r->last < w->state->count)
		damage(w, "entries %lld to %lld are missing at the end",
		       (long long)MAX_OF(r->last + 1, w->state->first), (long long)w->state->count);
	else if (!growing && r->ahead > AUDIT_GROUP_MAX)
		damage(w,
		       "%lld entries follow the last one that the database knows (%lld): more than a crash can leave",
		       (long long)r->ahead, (long long)w->state->count);
	if (r->torn_bytes && r->last < w->state->count)
		damage(w, "%s ends in %zu bytes that are no entry", AUDIT_FILE, r->torn_bytes);
}

void audit_examine(int dirfd, const struct db_audit *state, bool growing, struct audit_report *ret)
{
	struct walk w = {.report = ret, .state = state, .next = state->first};

	*ret = AUDIT_REPORT_INIT;
	memcpy(w.prev, state->first_prev, sizeof(w.prev));
	memcpy(ret->last_hash, audit_no_hash, sizeof(ret->last_hash));
	for (unsigned i = AUDIT_ROTATED_MAX + 1; i-- > 0;)
		walk_file(&w, dirfd, i);
	check_end(&w, growing);
}

bool audit_file_start(int dirfd, unsigned i, int64_t *ret_seq, char prev[65])
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	struct line l = {0};
	const char *end;
	char name[32];

	audit_file_name(i, name);
	if (file_read_at(dirfd, name, FILE_READ_MAX, &text, &err) < 0) {
		error_ignore(&err, "the caller keeps what it knows");
		return false;
	}
	end = text.len ? memchr(text.data, '\n', text.len) : NULL;
	if (!end || !parse_line(text.data, (size_t)(end - text.data), &l))
		return false;
	*ret_seq = l.seq;
	memcpy(prev, l.prev, sizeof(l.prev));
	return true;
}

void audit_report_done(struct audit_report *r)
{
	strv_done(&r->damage);
	strv_done(&r->segments);
	*r = AUDIT_REPORT_INIT;
}
