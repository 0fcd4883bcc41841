/* The audit log: what is acknowledged is there after a kill or on a full disk; every edit, cut, swap and addition is
 * found, and told apart from what a crash leaves. */
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/audit.h"
#include "auth/audit_chain.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/strbuf.h"

static const struct identity admin = {.kind = IDENTITY_LOCAL};
static const struct identity stranger = {.kind = IDENTITY_NONE, .address = "192.0.2.1:4000"};

struct fixture {
	char dir[64];
	char *log;
	char *db_path;
	struct db *db;
	struct audit *a;
	char damage[512]; /* last sentence that was told */
};

static void on_damage(void *arg, const char *message)
{
	struct fixture *f = arg;

	snprintf(f->damage, sizeof(f->damage), "%s", message);
}

static void open_log(struct fixture *f)
{
	auto_error struct error err = ERROR_INIT;

	f->damage[0] = '\0';
	expect_ok(db_open(f->db_path, &f->db, &err), &err);
	expect_ok(audit_new(f->log, f->db, &f->a, &err), &err);
	audit_on_damage(f->a, on_damage, f);
}

static void close_log(struct fixture *f)
{
	audit_free(f->a);
	db_free(f->db);
	f->a = NULL;
	f->db = NULL;
}

static void again(struct fixture *f)
{
	close_log(f);
	open_log(f);
}

static void init(struct fixture *f, const char *parent)
{
	snprintf(f->dir, sizeof(f->dir), "%s/lxd-test-audit-XXXXXX", parent);
	assert_non_null(mkdtemp(f->dir));
	f->log = path_join(f->dir, "logs");
	f->db_path = path_join(f->dir, "lxd.db");
	open_log(f);
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	init(f, "/var/tmp");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;

	close_log(f);
	path_remove_tree(AT_FDCWD, f->dir, &err);
	free(f->log);
	free(f->db_path);
	free(f);
	return 0;
}

static int put(struct fixture *f, const char *detail, struct error *err)
{
	const struct audit_entry e = {.event = "certificate-added",
				      .verdict = "allowed",
				      .id = &admin,
				      .method = "POST",
				      .path = "/1.0/certificates",
				      .detail = detail};

	return audit_write(f->a, &e, err);
}

static void put_n(struct fixture *f, unsigned n)
{
	auto_error struct error err = ERROR_INIT;

	for (unsigned i = 0; i < n; i++)
		expect_ok(put(f, "x", &err), &err);
}

/* A look from outside, as `lxd audit verify` does it. */
static struct audit_report look(struct fixture *f)
{
	struct audit_report r;
	struct db_audit s = audit_state_empty();
	auto_error struct error err = ERROR_INIT;
	auto_close int fd = open(f->log, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	if (f->db)
		assert_true(db_audit_load(f->db, &s, &err) >= 0);
	else
		assert_true(db_audit_peek(f->db_path, &s, &err) >= 0);
	audit_examine(fd, &s, /* growing= */ false, &r);
	return r;
}

static void expect_sound(struct fixture *f, int64_t last)
{
	CLEANUP(audit_report_done) struct audit_report r = look(f);

	if (r.n_damage)
		fail_msg("damage: %s", r.damage.items[0]);
	assert_int_equal(r.last, last);
	assert_int_equal(r.ahead, 0);
	assert_int_equal(r.torn_bytes, 0);
}

static void expect_damage(struct fixture *f, const char *text)
{
	CLEANUP(audit_report_done) struct audit_report r = look(f);

	for (size_t i = 0; i < r.damage.len; i++)
		if (strstr(r.damage.items[i], text))
			return;
	fail_msg("\"%s\" is not among %zu damages; the first: %s", text, r.damage.len,
		 r.damage.len ? r.damage.items[0] : "none");
}

static struct strbuf read_log(struct fixture *f, unsigned i)
{
	struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_free char *path = NULL;
	char name[32];

	audit_file_name(i, name);
	path = path_join(f->log, name);
	expect_ok(file_read_at(AT_FDCWD, path, 64 << 20, &b, &err), &err);
	return b;
}

static void write_log(struct fixture *f, const void *data, size_t len)
{
	auto_error struct error err = ERROR_INIT;
	auto_free char *path = path_join(f->log, AUDIT_FILE);

	expect_ok(file_write_at(AT_FDCWD, path, data, len, 0600, &err), &err);
	assert_int_equal(truncate(path, (off_t)len), 0);
}

/* Where line @n (from 0) begins. */
static size_t line_at(const struct strbuf *b, unsigned n)
{
	const char *p = b->data;

	while (n--)
		p = strchr(p, '\n') + 1;
	return (size_t)(p - b->data);
}

static void line_has_everything(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	const struct identity tls = {.kind = IDENTITY_TLS, .fingerprint = "ab12", .address = "[2001:db8::1]:9"};
	const struct audit_entry e = {"certificate-removed", "denied", &tls, "DELETE", "/1.0/\"\n\x01", "f\xff"};
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_json struct json *j = NULL;
	struct stat st;
	auto_free char *path = path_join(f->log, AUDIT_FILE);

	expect_ok(audit_write(f->a, &e, &err), &err);
	b = read_log(f, 0);
	assert_ptr_equal(strchr(b.data, '\n'), b.data + b.len - 1);
	expect_ok(json_parse(b.data, b.len, &j, &err), &err);
	assert_int_equal(json_int(json_get(j, "seq")), 1);
	assert_int_equal(json_int(json_get(j, "count")), 1);
	assert_string_equal(json_get_str(j, "event"), "certificate-removed");
	assert_string_equal(json_get_str(j, "verdict"), "denied");
	assert_string_equal(json_get_str(j, "protocol"), "tls");
	assert_string_equal(json_get_str(j, "identity"), "ab12");
	assert_string_equal(json_get_str(j, "address"), "[2001:db8::1]:9");
	assert_string_equal(json_get_str(j, "path"), "/1.0/\"\n\x01");
	assert_string_equal(json_get_str(j, "prev"), audit_no_hash);
	assert_int_equal(strlen(json_get_str(j, "hash")), 64);
	assert_non_null(json_get_str(j, "time"));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	expect_sound(f, 1);
}

static void chain_goes_on_after_restart(void **state)
{
	struct fixture *f = *state;

	put_n(f, 3);
	again(f);
	put_n(f, 2);
	again(f);
	assert_string_equal(f->damage, "");
	expect_sound(f, 5);
}

static void every_byte_counts(void **state)
{
	struct fixture *f = *state;
	auto_strbuf struct strbuf b = STRBUF_INIT;

	put_n(f, 3);
	b = read_log(f, 0);
	for (size_t i = 0; i < b.len; i++) {
		CLEANUP(audit_report_done) struct audit_report r = AUDIT_REPORT_INIT;
		char old = b.data[i];

		b.data[i] = (char)(old == '7' ? '8' : '7');
		write_log(f, b.data, b.len);
		r = look(f);
		if (!r.n_damage)
			fail_msg("byte %zu was changed and nobody saw", i);
		b.data[i] = old;
	}
	write_log(f, b.data, b.len);
	expect_sound(f, 3);
}

static void edited_line_is_named(void **state)
{
	struct fixture *f = *state;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	char *at;

	put_n(f, 5);
	b = read_log(f, 0);
	at = strstr(b.data + line_at(&b, 2), "allowed");
	memcpy(at, "ALLOWED", 7);
	write_log(f, b.data, b.len);
	expect_damage(f, "audit.log line 3: entry 3 was changed");
	again(f);
	assert_non_null(strstr(f->damage, "entry 3 was changed"));
}

static void rehashed_line_breaks_the_chain(void **state)
{
	struct fixture *f = *state;
	auto_strbuf struct strbuf b = STRBUF_INIT, forged = STRBUF_INIT;
	char hash[65];

	put_n(f, 5);
	b = read_log(f, 0);
	/* one line, with a correct hash of its own */
	strbuf_append_len(&forged, b.data, line_at(&b, 2));
	{
		char prev[65];

		memcpy(prev, strstr(b.data + line_at(&b, 2), "\"prev\":\"") + 8, 64);
		prev[64] = '\0';
		audit_line_append(&forged, 3, prev, "\"event\":\"nothing\"", hash);
	}
	strbuf_append(&forged, b.data + line_at(&b, 3));
	write_log(f, forged.data, forged.len);
	expect_damage(f, "audit.log line 4: entry 4 does not continue");
}

/* All lines made anew with correct hashes: only the database knows. */
static void rewritten_log_does_not_fit_the_database(void **state)
{
	struct fixture *f = *state;
	auto_strbuf struct strbuf forged = STRBUF_INIT;
	char prev[65], hash[65];

	put_n(f, 5);
	memcpy(prev, audit_no_hash, 65);
	for (int64_t i = 1; i <= 5; i++) {
		audit_line_append(&forged, i, prev, "\"event\":\"nothing\"", hash);
		memcpy(prev, hash, 65);
	}
	write_log(f, forged.data, forged.len);
	expect_damage(f, "entry 5 is not the one that the database knows");
}

static void missing_lines_are_counted(void **state)
{
	struct fixture *f = *state;
	auto_strbuf struct strbuf b = STRBUF_INIT, cut = STRBUF_INIT;

	put_n(f, 6);
	b = read_log(f, 0);
	strbuf_append_len(&cut, b.data, line_at(&b, 2));
	strbuf_append(&cut, b.data + line_at(&b, 4));
	write_log(f, cut.data, cut.len);
	expect_damage(f, "audit.log line 3: is entry 5; entries 3 to 4 are missing");
	/* the beginning, and everything */
	write_log(f, b.data + line_at(&b, 1), b.len - line_at(&b, 1));
	expect_damage(f, "entries 1 to 1 are missing");
	write_log(f, "", 0);
	expect_damage(f, "entries 1 to 6 are missing at the end");
}

static void cut_tail_is_damage(void **state)
{
	struct fixture *f = *state;
	auto_strbuf struct strbuf b = STRBUF_INIT;

	put_n(f, 6);
	b = read_log(f, 0);
	close_log(f);
	write_log(f, b.data, line_at(&b, 5));
	expect_damage(f, "entries 6 to 6 are missing at the end");
	write_log(f, b.data, b.len - 1);
	expect_damage(f, "entries 6 to 6 are missing at the end");
	open_log(f);
	assert_non_null(strstr(f->damage, "missing"));
	/* a new chain goes on, and is found sound at the next start */
	put_n(f, 1);
	again(f);
	assert_string_equal(f->damage, "");
	{
		CLEANUP(audit_report_done) struct audit_report r = look(f);

		assert_int_equal(r.n_damage, 0);
		assert_int_equal(r.segments.len, 1);
		assert_int_equal(r.last, 8);
	}
}

static void swapped_and_repeated_lines_are_damage(void **state)
{
	struct fixture *f = *state;
	auto_strbuf struct strbuf b = STRBUF_INIT, s = STRBUF_INIT;
	size_t at[5];

	put_n(f, 4);
	b = read_log(f, 0);
	for (unsigned i = 0; i < 5; i++)
		at[i] = line_at(&b, i);
	strbuf_append_len(&s, b.data, at[1]);
	strbuf_append_len(&s, b.data + at[2], at[3] - at[2]);
	strbuf_append_len(&s, b.data + at[1], at[2] - at[1]);
	strbuf_append_len(&s, b.data + at[3], at[4] - at[3]);
	write_log(f, s.data, s.len);
	expect_damage(f, "audit.log line 2: is entry 3; entries 2 to 2 are missing");
	expect_damage(f, "audit.log line 3: is entry 2, where entry 4 should be");
	strbuf_truncate(&s, 0);
	strbuf_append_len(&s, b.data, at[2]);
	strbuf_append_len(&s, b.data + at[1], b.len - at[1]);
	write_log(f, s.data, s.len);
	expect_damage(f, "audit.log line 3: is entry 2, where entry 3 should be");
}

static void rubbish_is_damage(void **state)
{
	struct fixture *f = *state;
	auto_strbuf struct strbuf b = STRBUF_INIT, s = STRBUF_INIT;

	put_n(f, 3);
	b = read_log(f, 0);
	strbuf_append_len(&s, b.data, line_at(&b, 1));
	strbuf_append(&s, "hello\n");
	strbuf_append(&s, b.data + line_at(&b, 1));
	write_log(f, s.data, s.len);
	expect_damage(f, "audit.log line 2: is not an entry");
}

/* What a crash between file and database leaves: whole lines ahead, and the beginning of another. */
static void unacknowledged_lines_are_healed(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct db_audit s = audit_state_empty();

	put_n(f, 2);
	audit_state(f->a, &s);
	put_n(f, 2);
	expect_ok(db_audit_save(f->db, &s, &err), &err);
	b = read_log(f, 0);
	strbuf_append(&b, "{\"seq\":5,\"event\":\"cer");
	write_log(f, b.data, b.len);
	again(f);
	assert_string_equal(f->damage, "");
	expect_sound(f, 5);
	strbuf_done(&b);
	b = read_log(f, 0);
	assert_non_null(strstr(b.data + line_at(&b, 4), "\"event\":\"audit-healed\""));
	assert_non_null(strstr(b.data + line_at(&b, 4), "the 2 entries before this one"));
	assert_non_null(strstr(b.data + line_at(&b, 4), "21 bytes of a torn entry"));
}

static void torn_line_alone_is_healed(void **state)
{
	struct fixture *f = *state;
	auto_strbuf struct strbuf b = STRBUF_INIT;

	put_n(f, 2);
	b = read_log(f, 0);
	strbuf_append(&b, "{\"s");
	write_log(f, b.data, b.len);
	again(f);
	assert_string_equal(f->damage, "");
	expect_sound(f, 3);
}

/* More lines behind the database's than one group can be: somebody has added them, or the database is an old copy. */
static void too_many_ahead_are_damage(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	struct db_audit s;

	put_n(f, 1);
	audit_state(f->a, &s);
	put_n(f, AUDIT_GROUP_MAX + 1);
	expect_ok(db_audit_save(f->db, &s, &err), &err);
	expect_damage(f, "more than a crash can leave");
	again(f);
	assert_non_null(strstr(f->damage, "more than a crash can leave"));
	put_n(f, 1);
	again(f);
	assert_string_equal(f->damage, "");
}

static void change_while_running_is_seen(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = path_join(f->log, AUDIT_FILE);
	auto_strbuf struct strbuf b = STRBUF_INIT;

	put_n(f, 2);
	b = read_log(f, 0);
	write_log(f, b.data, line_at(&b, 1));
	put_n(f, 1);
	assert_non_null(strstr(f->damage, "was cut or added to"));
	f->damage[0] = '\0';
	assert_int_equal(unlink(path), 0);
	put_n(f, 1);
	assert_non_null(strstr(f->damage, "moved, replaced or removed"));
	again(f);
	assert_string_equal(f->damage, "");
	put_n(f, 1);
}

/* @files rotated ones of one line each, and one line in the current one. */
static void fill_files(struct fixture *f, unsigned files)
{
	audit_set_size_max(f->a, 1);
	put_n(f, files + 1);
	audit_set_size_max(f->a, AUDIT_SIZE_MAX);
}

static void rotation_keeps_the_chain(void **state)
{
	struct fixture *f = *state;
	CLEANUP(audit_report_done) struct audit_report r = AUDIT_REPORT_INIT;
	struct db_audit s;

	fill_files(f, 3);
	expect_sound(f, 4);
	again(f);
	assert_string_equal(f->damage, "");
	/* beyond what is kept the oldest go */
	fill_files(f, AUDIT_ROTATED_MAX + 2);
	audit_state(f->a, &s);
	assert_int_equal(s.count, 4 + AUDIT_ROTATED_MAX + 3);
	assert_int_equal(s.first, s.count - AUDIT_ROTATED_MAX);
	r = look(f);
	assert_int_equal(r.lines, AUDIT_ROTATED_MAX + 1);
	assert_int_equal(r.n_damage, 0);
	assert_int_equal(r.skipped, 0);
	again(f);
	assert_string_equal(f->damage, "");
}

static void missing_rotated_file_is_damage(void **state)
{
	static const char *const names[] = {"audit.log.3", "audit.log.2", "audit.log.1", "audit.log"};
	struct fixture *f = *state;

	fill_files(f, 3);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		auto_free char *path = path_join(f->log, names[i]), *aside = path_join(f->dir, "aside");

		assert_int_equal(rename(path, aside), 0);
		expect_damage(f, "missing");
		assert_int_equal(rename(aside, path), 0);
	}
	expect_sound(f, 4);
	{
		auto_free char *a = path_join(f->log, "audit.log.1"), *b = path_join(f->log, "audit.log.2");

		assert_int_equal(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE), 0);
		expect_damage(f, "out of order");
	}
}

/* A rotation that was killed after some of its renames. */
static void interrupted_rotation_goes_on(void **state)
{
	struct fixture *f = *state;
	auto_free char *current = path_join(f->log, "audit.log"), *one = path_join(f->log, "audit.log.1"),
		       *two = path_join(f->log, "audit.log.2");

	fill_files(f, 1);
	close_log(f);
	assert_int_equal(rename(one, two), 0);
	open_log(f);
	assert_string_equal(f->damage, "");
	put_n(f, 1);
	close_log(f);
	assert_int_equal(rename(current, one), 0);
	open_log(f);
	assert_string_equal(f->damage, "");
	put_n(f, 1);
	expect_sound(f, 4);
}

/* --- strangers --- */

static void flood_of_denials_is_counted(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	struct identity id = stranger;
	const struct audit_entry denied = {.event = "request-denied", .verdict = "denied", .id = &id, .path = "/1.0/x"};
	const struct audit_entry password = {.event = "password-failed", .verdict = "failed", .id = &stranger};
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct db_audit s;

	for (unsigned i = 0; i < 20000; i++) {
		snprintf(id.address, sizeof(id.address), "192.0.2.%u:%u", 1 + i % 10, i);
		expect_ok(audit_write(f->a, &denied, &err), &err);
	}
	audit_state(f->a, &s);
	assert_in_range(s.count, 1, 62);
	/* another event and the administrator are not held back by it */
	expect_ok(audit_write(f->a, &password, &err), &err);
	put_n(f, 1);
	audit_state(f->a, &s);
	assert_in_range(s.count, 3, 64);
	audit_flush(f->a);
	b = read_log(f, 0);
	assert_non_null(strstr(b.data, "\"event\":\"audit-summary\""));
	assert_non_null(strstr(b.data, "request-denied: counted, not written one by one; from 192.0.2.1 ("));
	assert_non_null(strstr(b.data, "others ("));
	expect_sound(f, s.count + 1);
}

static struct identity known(unsigned n)
{
	struct identity id = {.kind = IDENTITY_TLS, .restricted = true, .address = "198.51.100.7:9"};

	snprintf(id.fingerprint, sizeof(id.fingerprint), "%064x", n);
	return id;
}

static void deny(struct fixture *f, const struct identity *id, unsigned n)
{
	const struct audit_entry e = {.event = "request-denied", .verdict = "denied", .id = id, .path = "/1.0/x"};
	auto_error struct error err = ERROR_INIT;

	while (n--)
		expect_ok(audit_write(f->a, &e, &err), &err);
}

/* How many lines of denials the log has of this caller. */
static unsigned lines_of(struct fixture *f, const struct identity *id)
{
	auto_free char *who = xasprintf("\"identity\":\"%s\"", id->fingerprint);
	auto_strbuf struct strbuf b = read_log(f, 0);
	unsigned n = 0;

	for (char *line = b.data, *end; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		n += strstr(line, "\"event\":\"request-denied\"") && strstr(line, who);
	}
	return n;
}

/* What a known certificate is denied is seen, however many strangers, or other certificates, make noise. */
static void floods_hide_no_known_certificate(void **state)
{
	struct fixture *f = *state;
	const struct identity noisy = known(1), quiet = known(2);
	struct identity impostor = stranger;
	auto_strbuf struct strbuf b = STRBUF_INIT;

	/* a stranger may show the same fingerprint: it is one all the same */
	memcpy(impostor.fingerprint, quiet.fingerprint, sizeof(impostor.fingerprint));
	deny(f, &stranger, 50);
	deny(f, &impostor, 500);
	assert_int_equal(lines_of(f, &impostor), 10);
	deny(f, &noisy, 500);
	assert_int_equal(lines_of(f, &noisy), 60);
	deny(f, &quiet, 3);
	assert_int_equal(lines_of(f, &quiet), 13);
	audit_flush(f->a);
	b = read_log(f, 0);
	assert_non_null(strstr(b.data, "from 192.0.2.1 (490)"));
	assert_non_null(strstr(b.data, "from 198.51.100.7 (440)"));
	/* the summary says whose */
	for (char *line = b.data, *end; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (strstr(line, "audit-summary"))
			assert_true(!strstr(line, noisy.fingerprint) == !strstr(line, "198.51.100.7"));
	}
}

/* Renewing one's certificate is no way to be written about without bound. */
static void renewal_gives_no_new_allowance(void **state)
{
	struct fixture *f = *state;
	const struct identity was = known(1), now = known(2);

	deny(f, &was, 40);
	audit_renewed(f->a, was.fingerprint, now.fingerprint);
	deny(f, &now, 100);
	assert_int_equal(lines_of(f, &now), 20);
}

/* More certificates than are counted apart: the rest share, and the log stays bounded. */
static void many_known_certificates_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct db_audit s;

	audit_set_size_max(f->a, 64 << 20);
	for (unsigned i = 1; i <= 128; i++) {
		const struct identity id = known(i);

		deny(f, &id, 1);
	}
	for (unsigned i = 129; i <= 1000; i++) {
		const struct identity id = known(i);

		deny(f, &id, 1);
	}
	audit_state(f->a, &s);
	assert_int_equal(s.count, 128 + 60);
	deny(f, &stranger, 1);
	audit_state(f->a, &s);
	assert_int_equal(s.count, 128 + 61);
}

static void long_texts_are_cut(void **state)
{
	struct fixture *f = *state;
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf path = STRBUF_INIT, b = STRBUF_INIT;
	struct audit_entry e = {.event = "x", .verdict = "allowed", .id = &admin};

	for (int i = 0; i < 5000; i++)
		strbuf_append(&path, i % 2 ? "\x01" : "\xc3\xa4");
	e.path = e.detail = path.data;
	expect_ok(audit_write(f->a, &e, &err), &err);
	b = read_log(f, 0);
	assert_in_range(b.len, 1000, AUDIT_LINE_MAX);
	expect_sound(f, 1);
}

/* --- many threads, kill, full disk --- */

struct load {
	struct fixture *f;
	int out; /* a byte for each acknowledged entry; -1: none */
	unsigned n;
};

static void *write_many(void *arg)
{
	const struct load *l = arg;
	auto_error struct error err = ERROR_INIT;

	for (unsigned i = 0; i < l->n; i++) {
		if (put(l->f, "load", &err) < 0)
			abort();
		if (l->out >= 0 && write(l->out, "x", 1) != 1)
			abort();
	}
	return NULL;
}

static void run_threads(struct fixture *f, int out, unsigned n)
{
	struct load l = {.f = f, .out = out, .n = n};
	pthread_t t[4];

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, write_many, &l), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
}

static void threads_share_one_chain(void **state)
{
	struct fixture *f = *state;

	run_threads(f, -1, 50);
	expect_sound(f, 200);
}

static void kill_loses_nothing_acknowledged(void **state)
{
	struct fixture *f = *state;
	int64_t acknowledged = 0, last = 0;

	close_log(f);
	for (unsigned round = 0; round < 5; round++) {
		int fds[2], status;
		char c;
		pid_t pid;

		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		pid = fork();
		if (pid == 0) {
			close(fds[0]);
			open_log(f);
			run_threads(f, fds[1], 1000000);
			_exit(1);
		}
		close(fds[1]);
		/* it is at work */
		assert_int_equal(read(fds[0], &c, 1), 1);
		acknowledged++;
		usleep(round * 7000);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		while (read(fds[0], &c, 1) == 1)
			acknowledged++;
		close(fds[0]);
		open_log(f);
		assert_string_equal(f->damage, "");
		{
			CLEANUP(audit_report_done) struct audit_report r = look(f);

			assert_int_equal(r.n_damage, 0);
			assert_true(r.last >= acknowledged && r.last > last);
			last = r.last;
		}
		close_log(f);
	}
	assert_true(acknowledged > 0);
	open_log(f);
}

/* In a process of its own, whose mounts nobody else sees. 77: the machine does not let us. */
static int on_full_disk(void)
{
	struct fixture f = {0};
	auto_error struct error err = ERROR_INIT;
	unsigned written = 0;
	struct db_audit s;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/mnt", "tmpfs", 0, "size=300k") < 0)
		return 77;
	init(&f, "/mnt");
	while (put(&f, "until the disk is full", &err) == 0)
		written++;
	if (err.status != 507 || !written)
		return 1;
	error_clear(&err);
	audit_state(f.a, &s);
	if (s.count != (int64_t)written)
		return 2;
	/* it fails again and again, and what is there stays sound */
	for (int i = 0; i < 3; i++)
		if (put(&f, "x", &err) == 0)
			return 3;
	error_clear(&err);
	expect_sound(&f, written);
	/* room again: it goes on where it was */
	if (mount(NULL, "/mnt", NULL, MS_REMOUNT, "size=2m") < 0)
		return 4;
	if (put(&f, "x", &err) < 0)
		return 5;
	again(&f);
	expect_sound(&f, written + 1);
	return f.damage[0] ? 6 : 0;
}

static void full_disk_is_an_error_and_no_damage(void **state UNUSED)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(on_full_disk());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(line_has_everything),
		TEST(chain_goes_on_after_restart),
		TEST(every_byte_counts),
		TEST(edited_line_is_named),
		TEST(rehashed_line_breaks_the_chain),
		TEST(rewritten_log_does_not_fit_the_database),
		TEST(missing_lines_are_counted),
		TEST(cut_tail_is_damage),
		TEST(swapped_and_repeated_lines_are_damage),
		TEST(rubbish_is_damage),
		TEST(unacknowledged_lines_are_healed),
		TEST(torn_line_alone_is_healed),
		TEST(too_many_ahead_are_damage),
		TEST(change_while_running_is_seen),
		TEST(rotation_keeps_the_chain),
		TEST(missing_rotated_file_is_damage),
		TEST(interrupted_rotation_goes_on),
		TEST(flood_of_denials_is_counted),
		TEST(floods_hide_no_known_certificate),
		TEST(renewal_gives_no_new_allowance),
		TEST(many_known_certificates_are_bounded),
		TEST(long_texts_are_cut),
		TEST(threads_share_one_chain),
		TEST(kill_loses_nothing_acknowledged),
		cmocka_unit_test(full_disk_is_an_error_and_no_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
