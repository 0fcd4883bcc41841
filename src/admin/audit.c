/* `lxd audit verify`: is the audit log what was written? Reads only; with the daemon running or not. */
#include "admin/audit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "auth/audit_chain.h"
#include "base/alloc.h"
#include "base/path.h"
#include "base/str.h"
#include "http/client_api.h"

/* While the daemon writes, what was just read may be half of something: look again. */
#define TRIES 20
#define PAUSE_MS 50

static const char *lxd_dir(void)
{
	const char *dir = getenv("LXD_DIR");

	return str_is_empty(dir) ? "/var/lib/lxd" : dir;
}

static int take_hash(const struct json *obj, const char *key, char to[65], struct error *err)
{
	const char *text = json_get_str(obj, key);

	if (!text || strlen(text) != 64)
		return error_set(err, 500, "The daemon does not tell where the audit log stands");
	memcpy(to, text, 65);
	return 0;
}

/* The daemon that runs holds the database. */
static int ask_daemon(struct db_audit *ret, struct error *err)
{
	auto_api struct api *a = NULL;
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *socket = api_default_socket();
	int r = api_open(socket, NULL, &a, err);

	if (r >= 0)
		r = api_get(a, "/internal/audit", &reply, err);
	if (r < 0)
		return error_wrap(err, "Ask the daemon, which holds the database");
	ret->count = json_int(json_get(reply.metadata, "count"));
	ret->first = json_int(json_get(reply.metadata, "first"));
	r = take_hash(reply.metadata, "head", ret->head, err);
	return r < 0 ? r : take_hash(reply.metadata, "first_prev", ret->first_prev, err);
}

static int read_state(struct db_audit *ret, bool *ret_running, struct error *err)
{
	auto_free char *path = path_join(lxd_dir(), "database", "lxd.db");
	int r;

	*ret = audit_state_empty();
	*ret_running = false;
	r = db_audit_peek(path, ret, err);
	if (r != -EBUSY)
		return r < 0 ? r : 0;
	error_clear(err);
	*ret_running = true;
	return ask_daemon(ret, err);
}

struct look {
	struct db_audit state;
	bool running;
	bool writing; /* the log grew between two looks */
	struct audit_report report;
};

static void look_done(struct look *l)
{
	audit_report_done(&l->report);
}

/* Those behind the last entry that was known when the reading began: the daemon has taken most of them up by now. */
static int settle_ahead(struct look *l, struct error *err)
{
	struct db_audit now;
	int r = read_state(&now, &l->running, err);

	if (r < 0)
		return r;
	l->writing |= now.count != l->state.count;
	l->report.ahead = MAX_OF(l->report.last - now.count, 0);
	return 0;
}

static int look_once(struct look *l, struct error *err)
{
	auto_free char *logs = path_join(lxd_dir(), "logs");
	auto_close int fd = -EBADF;
	int64_t before = l->state.count;
	int r = read_state(&l->state, &l->running, err);

	if (r < 0)
		return r;
	l->writing |= before && l->state.count != before;
	fd = open(logs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "Open %s", logs);
	audit_report_done(&l->report);
	audit_examine(fd, &l->state, l->running, &l->report);
	return l->running && l->report.ahead ? settle_ahead(l, err) : 0;
}

static int look(struct look *l, struct error *err)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};

	for (int i = 0; i < TRIES; i++) {
		int r = look_once(l, err);

		if (r < 0)
			return r;
		if (!l->running || (!l->report.n_damage && !l->report.ahead && !l->report.torn_bytes))
			return 0;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static void print_damage(const struct look *l)
{
	const struct audit_report *r = &l->report;

	for (size_t i = 0; i < r->segments.len; i++)
		printf("DAMAGED: %s\n", r->segments.items[i]);
	for (size_t i = 0; i < r->damage.len; i++)
		printf("DAMAGED: %s\n", r->damage.items[i]);
	if (r->n_damage > r->damage.len)
		printf("DAMAGED: and %llu more places\n", (unsigned long long)(r->n_damage - r->damage.len));
	if (r->skipped)
		printf("Note: %llu lines before entry %lld are not of this chain\n", (unsigned long long)r->skipped,
		       (long long)l->state.first);
}

/* What a daemon that has just been killed leaves; one that runs has no such thing for long. */
static uint64_t print_unfinished(const struct look *l)
{
	const struct audit_report *r = &l->report;

	if ((l->writing && r->ahead <= AUDIT_GROUP_MAX) || (!r->ahead && !r->torn_bytes))
		return 0;
	if (l->running) {
		printf("DAMAGED: %lld entries and %zu bytes were added behind entry %lld, not by the daemon\n",
		       (long long)r->ahead, r->torn_bytes, (long long)l->state.count);
		return 1;
	}
	if (r->ahead)
		printf("Note: the last %lld entries were written but never acknowledged: the daemon was killed. It "
		       "says "
		       "so in the log when it starts\n",
		       (long long)r->ahead);
	if (r->torn_bytes)
		printf("Note: the log ends in %zu bytes of an entry that was never finished. The daemon removes them "
		       "when it starts\n",
		       r->torn_bytes);
	return 0;
}

static int verify(struct error *err)
{
	CLEANUP(look_done) struct look l = {0};
	uint64_t bad;
	int r = look(&l, err);

	if (r < 0)
		return error_wrap(err, "Verify audit log");
	print_damage(&l);
	bad = l.report.n_damage + l.report.segments.len + print_unfinished(&l);
	if (bad)
		return error_set(err, 500, "The audit log is damaged: %llu places", (unsigned long long)bad);
	if (l.report.last)
		printf("OK: entries %lld to %lld, none changed, none missing\n", (long long)l.state.first,
		       (long long)l.report.last);
	else
		printf("OK: no entries yet\n");
	return 0;
}

int audit_run(const struct options *o, struct error *err)
{
	const struct strv *args = option_args(o);

	if (args->len != 1)
		return error_set(err, 400, "Invalid number of arguments: lxd audit verify");
	if (!streq(args->items[0], "verify"))
		return error_set(err, 400, "unknown command \"%s\" for \"lxd audit\"", args->items[0]);
	return verify(err);
}
