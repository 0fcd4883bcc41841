/*
 * Writes doc/config.md from the tables of keys and device types; with "check FILE" compares instead. Run it as
 * `ninja -C build config-doc` after a change of the tables.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "config/keys.h"
#include "config/nic_type.h"
#include "device/device.h"

static const struct {
	enum config_scope scope;
	const char *title;
	const char *text;
} scopes[] = {
	{CONFIG_SCOPE_SERVER, "Server", "Set with `lxc config set KEY VALUE`."},
	{CONFIG_SCOPE_INSTANCE, "Instances and profiles",
	 "Set with `lxc config set INSTANCE KEY VALUE` or `lxc profile set PROFILE KEY VALUE`. Live: a change takes "
	 "effect "
	 "on a running instance; otherwise at its next start."},
	{CONFIG_SCOPE_POOL, "Storage pools", "Set when a pool is made."},
	{CONFIG_SCOPE_NETWORK, "Networks",
	 "Set with `lxc network set NETWORK KEY VALUE`; [networks.md](networks.md) has more."},
	{CONFIG_SCOPE_PROJECT, "Projects", "In the default project, which is always there, the features are fixed."},
};

/* A cell of a table: no vertical bar. */
static void cell(struct strbuf *b, const char *text)
{
	for (const char *p = text; *p; p++)
		strbuf_appendf(b, *p == '|' ? "\\%c" : "%c", *p);
}

struct section {
	struct strbuf rows;
	struct strbuf later;
	bool with_live; /* a column tells which keys are live */
};

static void add_values(struct strbuf *b, const struct config_key *key)
{
	for (size_t i = 0; key->values && key->values[i]; i++)
		strbuf_appendf(b, "%s`%s`", i ? ", " : " (", key->values[i]);
	if (key->values)
		strbuf_append(b, ")");
}

static void add_key(const struct config_key *key, void *arg)
{
	struct section *s = arg;
	struct strbuf *b = &s->rows;

	if (key->flags & CONFIG_LATER) {
		strbuf_appendf(&s->later, "%s`%s`", s->later.len ? ", " : "", key->name);
		return;
	}
	strbuf_appendf(b, "| `%s` | %s", key->name, config_type_name(key->type));
	add_values(b, key);
	strbuf_appendf(b, " | %s%s%s | ", key->def ? "`" : "", key->def ? key->def : "", key->def ? "`" : "");
	if (s->with_live)
		strbuf_appendf(b, "%s | ", key->flags & CONFIG_LIVE ? "yes" : "no");
	cell(b, key->doc);
	if (key->flags & CONFIG_INSTANCE_ONLY)
		strbuf_append(b, " (not in profiles)");
	strbuf_append(b, " |\n");
}

static void end_section(struct strbuf *out, struct section *s)
{
	if (s->rows.len)
		strbuf_appendf(out, "| Key | Value | Default | %sMeaning |\n|---|---|---|%s---|\n%s\n",
			       s->with_live ? "Live | " : "", s->with_live ? "---|" : "", strbuf_str(&s->rows));
	if (s->later.len)
		strbuf_appendf(out, "Known, but refused until this server can do it: %s.\n\n", strbuf_str(&s->later));
	strbuf_done(&s->rows);
	strbuf_done(&s->later);
}

static void add_nic_types(struct strbuf *out)
{
	for (int i = 0; i < NIC_TYPE_COUNT; i++) {
		struct section s = {.with_live = true};

		strbuf_appendf(out, "#### nictype: %s\n\n", nic_type_name((enum nic_type)i));
		for (const struct config_key *k = nic_type_keys((enum nic_type)i); k->name; k++)
			add_key(k, &s);
		end_section(out, &s);
	}
}

static void add_device_type(struct strbuf *out, const struct device_type *t)
{
	struct section s = {0};

	strbuf_appendf(out, "### %s\n\n", t->name);
	if (t->hotplug)
		strbuf_appendf(out, "Can be %s%s%s while the instance runs.\n\n",
			       t->hotplug & DEVICE_HOT_ADD ? "added" : "",
			       t->hotplug == (DEVICE_HOT_ADD | DEVICE_HOT_REMOVE) ? " and " : "",
			       t->hotplug & DEVICE_HOT_REMOVE ? "removed" : "");
	if (t->kind)
		add_nic_types(out);
	for (const struct config_key *k = t->keys; k && k->name; k++)
		add_key(k, &s);
	end_section(out, &s);
}

static void generate(struct strbuf *out)
{
	strbuf_append(
		out,
		"# Configuration\n\nGenerated from the tables in `src/config` and `src/device` by "
		"`ninja -C build config-doc`; a test compares.\n\n"
		"All values are text. A boolean is `true`, `1`, `yes` or `on`, or the opposite, in any case. A "
		"size is a number of bytes with an optional suffix: `B`, `kB`, `MB`, `GB`, `TB`, `PB`, `EB` "
		"(powers of 1000) or `KiB` to `EiB` (powers of 1024). A key that stands in no table is refused.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
		struct section s = {.with_live = scopes[i].scope == CONFIG_SCOPE_INSTANCE};

		strbuf_appendf(out, "## %s\n\n%s\n\n", scopes[i].title, scopes[i].text);
		config_keys_each(scopes[i].scope, add_key, &s);
		end_section(out, &s);
	}
	strbuf_append(out, "## Devices\n\nSet with `lxc config device add INSTANCE NAME TYPE KEY=VALUE...`.\n\n");
	for (size_t i = 0; device_types[i]; i++)
		add_device_type(out, device_types[i]);
	strbuf_truncate(out, out->len - 1);
}

static int compare(const char *path, const struct strbuf *want)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf have = STRBUF_INIT;

	if (file_read_at(AT_FDCWD, path, 1 << 20, &have, &err) < 0) {
		fprintf(stderr, "%s\n", error_msg(&err));
		return 1;
	}
	if (streq(strbuf_str(&have), strbuf_str(want)))
		return 0;
	fprintf(stderr, "%s does not say what the tables say: run ninja config-doc\n", path);
	return 1;
}

int main(int argc, char **argv)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf out = STRBUF_INIT;

	generate(&out);
	if (argc == 3 && streq(argv[1], "check"))
		return compare(argv[2], &out);
	if (argc != 2) {
		fprintf(stderr, "usage: %s [check] FILE\n", argv[0]);
		return 2;
	}
	if (file_replace_at(AT_FDCWD, argv[1], out.data, out.len, 0644, &err) < 0) {
		fprintf(stderr, "%s\n", error_msg(&err));
		return 1;
	}
	return 0;
}
