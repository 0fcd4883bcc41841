/* `lxc snapshot` and `lxc restore`; what else concerns snapshots is with the commands for instances. */
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/client.h"

#define NEVER "0001-01-01T00:00:00Z"

static char *snapshot_body(const struct cli *c, const char *name)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", name);
	jsonw_kv_bool(&w, "stateful", option_bool(c->options, "stateful"));
	if (option_bool(c->options, "no-expiry"))
		jsonw_kv_str(&w, "expires_at", NEVER);
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

/* With --reuse the one of this name goes first; that there is none is fine. */
static int make_room(struct cli *c, struct target *t, const char *name, struct error *err)
{
	auto_free char *url = cli_url("/1.0/instances/%s/snapshots/%s", t->name, name);
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	int r = api_get(t->api, url, &reply, err);

	if (r < 0 && err->status == 404) {
		error_clear(err);
		return 0;
	}
	return r < 0 ? r : cli_do(c, t->api, "DELETE", url, NULL, NULL, err);
}

static int run_snapshot(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	const char *name = cli_arg(c, 1) ? cli_arg(c, 1) : "";
	auto_free char *url = NULL, *body = NULL;
	int r = target_open_named(c, cli_arg(c, 0), "instance", &t, err);

	if (r >= 0 && strchr(t.name, '/'))
		r = error_set(err, 400, "Invalid instance name: %s", t.name);
	if (r >= 0 && *name && option_bool(c->options, "reuse"))
		r = make_room(c, &t, name, err);
	if (r < 0)
		return r;
	url = cli_url("/1.0/instances/%s/snapshots", t.name);
	body = snapshot_body(c, name);
	return cli_do(c, t.api, "POST", url, body, NULL, err);
}

static int run_restore(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	auto_free char *url = NULL;
	int r = target_open_named(c, cli_arg(c, 0), "instance", &t, err);

	if (r < 0)
		return r;
	url = cli_url("/1.0/instances/%s", t.name);
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "restore", cli_arg(c, 1));
	jsonw_kv_bool(&w, "stateful", option_bool(c->options, "stateful"));
	jsonw_object_end(&w);
	return cli_do(c, t.api, "PUT", url, strbuf_str(&b), NULL, err);
}

static const struct option_row snapshot_options[] = {
	{"no-expiry", 0, OPTION_BOOL, NULL, "Keep it, whatever snapshots.expiry says"},
	{"reuse", 0, OPTION_BOOL, NULL, "Replace the snapshot of this name"},
	{"stateful", 0, OPTION_BOOL, NULL, "With the state of its processes"},
	OPTION_END,
};

static const struct option_row restore_options[] = {
	{"stateful", 0, OPTION_BOOL, NULL, "With the state of its processes"},
	OPTION_END,
};

const struct command cmd_snapshot = {
	.name = "snapshot",
	.args = "[<remote>:]<instance> [<snapshot>]",
	.min_args = 1,
	.max_args = 2,
	.options = snapshot_options,
	.run = run_snapshot,
	.doc = "Make a snapshot of an instance",
	.more = "Without a name it gets the next one of the pattern snapshots.pattern, which is snap0, snap1 ... by "
		"default.",
};

const struct command cmd_restore = {
	.name = "restore",
	.args = "[<remote>:]<instance> <snapshot>",
	.min_args = 2,
	.max_args = 2,
	.options = restore_options,
	.run = run_restore,
	.doc = "Make an instance what it was at a snapshot",
	.more = "A running instance is stopped for it and started again.",
};
