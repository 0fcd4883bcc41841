/* Bodies of tables, and what turns a table into one that has them. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"
#include "firewall/xt_rules.h"

/* From a chain of the kernel to one of ours; those of one base chain in their order. */
struct jump {
	const char *base;
	const char *own;
	bool last; /* behind everybody's rules instead of before them */
};

static const struct table {
	enum xt_program program;
	const char *name;
	struct jump jumps[6];
} tables[XT_TABLES] = {
	[XT_EB_NAT] = {XT_EBTABLES, "nat", {{"PREROUTING", "lxd-pre"}}},
	[XT_EB_FILTER] = {XT_EBTABLES, "filter", {{"INPUT", "lxd-in"}, {"FORWARD", "lxd-fwd"}}},
	[XT_V4_RAW] = {XT_IPTABLES, "raw", {{"PREROUTING", "lxd-pre"}}},
	[XT_V4_MANGLE] = {XT_IPTABLES, "mangle", {{"POSTROUTING", "lxd-post"}}},
	[XT_V4_NAT] = {XT_IPTABLES, "nat", {{"POSTROUTING", "lxd-post"}, {"POSTROUTING", "lxd-post-after", true}}},
	[XT_V4_FILTER] =
		{XT_IPTABLES,
		 "filter",
		 {{"INPUT", "lxd-nic-in"}, {"INPUT", "lxd-in"}, {"FORWARD", "lxd-fwd"}, {"OUTPUT", "lxd-out"}}},
	[XT_V6_RAW] = {XT_IP6TABLES, "raw", {{"PREROUTING", "lxd-pre"}}},
	[XT_V6_NAT] = {XT_IP6TABLES, "nat", {{"POSTROUTING", "lxd-post"}, {"POSTROUTING", "lxd-post-after", true}}},
	[XT_V6_FILTER] = {XT_IP6TABLES,
			  "filter",
			  {{"INPUT", "lxd-nic-in"},
			   {"INPUT", "lxd-in"},
			   {"FORWARD", "lxd-nic-fwd"},
			   {"FORWARD", "lxd-fwd"},
			   {"OUTPUT", "lxd-out"}}},
};

static const char *const programs[XT_PROGRAMS] = {"ebtables", "iptables", "ip6tables"};

void xt_body_done(struct xt_body *b)
{
	strv_done(&b->chains);
	strbuf_done(&b->rules);
}

void xt_body_copy(struct xt_body *dst, const struct xt_body *src)
{
	xt_body_done(dst);
	strv_copy(&dst->chains, &src->chains);
	strbuf_append(&dst->rules, strbuf_str(&src->rules));
}

enum xt_program xt_program_of(enum xt_table t)
{
	return tables[t].program;
}

const char *xt_program_name(enum xt_program p)
{
	return programs[p];
}

const char *xt_chain(char buf[XT_CHAIN_SIZE], const char *prefix, const char *label)
{
	char hash[SHA256_HEX + 1];

	sha256_hex(label, strlen(label), hash);
	snprintf(buf, XT_CHAIN_SIZE, "%s%.12s", prefix, hash);
	return buf;
}

void xt_rule(struct xt_body *b, const char *chain, const char *fmt, ...)
{
	va_list ap;

	if (!strv_contains(&b->chains, chain))
		strv_add(&b->chains, chain);
	strbuf_appendf(&b->rules, "-A %s ", chain);
	va_start(ap, fmt);
	strbuf_vappendf(&b->rules, fmt, ap);
	va_end(ap);
	strbuf_append_char(&b->rules, '\n');
}

const char *xt_comment(char buf[XT_COMMENT_SIZE], const char *label, const char *more)
{
	const char *under = strchr(label, '_'), *dot = strchr(under ? under : label, '.');

	if (!dot)
		dot = label + strlen(label);
	snprintf(buf, XT_COMMENT_SIZE, "generated for LXD container %.*s (%s)%s", (int)MIN_OF(dot - label, 80), label,
		 *dot ? dot + 1 : "", more);
	for (char *c = buf; *c; c++)
		if (*c < ' ' || *c > '~' || strchr("\"\\'", *c))
			*c = '?';
	return buf;
}

void xt_render(enum xt_table t, const struct firewall_state *s, struct xt_body *ret)
{
	if (t == XT_EB_NAT)
		xt_render_eb_nat(s, ret);
	else if (t == XT_EB_FILTER)
		xt_render_eb_filter(s, ret);
	else if (t == XT_V4_RAW || t == XT_V6_RAW)
		xt_render_routed(t, s, ret);
	else
		xt_render_networks(t, s, ret);
	if (t == XT_V4_FILTER)
		xt_render_requests(s, ret);
	if (t == XT_V6_FILTER)
		xt_render_advertisements(s, ret);
}

/* --- what a table has of ours --- */

struct found {
	struct strv chains;
	struct strv jumps; /* lines "-A BASE -j OWN" */
};

static void found_done(struct found *f)
{
	strv_done(&f->chains);
	strv_done(&f->jumps);
}

/* Is the line a jump to one of ours, from where we put such? */
static bool is_our_jump(const struct table *t, const char *line)
{
	for (size_t i = 0; i < ARRAY_SIZE(t->jumps) && t->jumps[i].base; i++) {
		auto_free char *front = xasprintf("-A %s -j " XT_OURS, t->jumps[i].base);
		const char *rest = startswith(line, front);

		if (rest && !strchr(rest, ' '))
			return true;
	}
	return false;
}

static void take_line(const struct table *t, const char *line, struct found *f)
{
	const char *chain = startswith(line, ":");

	if (chain && startswith(chain, XT_OURS)) {
		auto_free char *name = xstrndup(chain, strcspn(chain, " "));

		strv_add(&f->chains, name);
	} else if (is_our_jump(t, line)) {
		strv_add(&f->jumps, line);
	}
}

static void find_ours(const struct table *t, const char *saved, struct found *ret)
{
	auto_strv struct strv lines = STRV_INIT;
	bool here = false;

	strv_split(&lines, saved, '\n');
	for (size_t i = 0; i < lines.len; i++) {
		const char *begin = startswith(lines.items[i], "*");

		if (begin)
			here = streq(begin, t->name);
		else if (here)
			take_line(t, lines.items[i], ret);
	}
}

/* --- the script --- */

static void wanted_jumps(const struct table *t, const struct xt_body *wanted, struct strv *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(t->jumps) && t->jumps[i].base; i++)
		if (strv_contains(&wanted->chains, t->jumps[i].own))
			strv_addf(ret, "-A %s -j %s", t->jumps[i].base, t->jumps[i].own);
}

/* Some may be twice, or in the wrong order: then all are made anew. */
static void append_jumps(const struct table *t, const struct xt_body *wanted, const struct strv *found,
			 struct strbuf *b)
{
	auto_strv struct strv jumps = STRV_INIT;

	wanted_jumps(t, wanted, &jumps);
	if (strv_equal(&jumps, found))
		return;
	for (size_t i = 0; i < found->len; i++)
		strbuf_appendf(b, "-D %s\n", found->items[i] + strlen("-A "));
	for (size_t i = ARRAY_SIZE(t->jumps); i-- > 0;) {
		const struct jump *j = &t->jumps[i];

		if (j->base && strv_contains(&wanted->chains, j->own))
			strbuf_appendf(b, "%s %s -j %s\n", j->last ? "-A" : "-I", j->base, j->own);
	}
}

void xt_script(enum xt_table t, const struct xt_body *wanted, const char *saved, struct strbuf *ret)
{
	const struct table *table = &tables[t];
	CLEANUP(found_done) struct found found = {0};

	find_ours(table, saved, &found);
	if (!wanted->chains.len && !found.chains.len && !found.jumps.len)
		return;
	strbuf_appendf(ret, "*%s\n", table->name);
	/* this makes or empties them */
	for (size_t i = 0; i < wanted->chains.len; i++)
		strbuf_appendf(ret, ":%s %s\n", wanted->chains.items[i],
			       table->program == XT_EBTABLES ? "RETURN" : "- [0:0]");
	for (size_t i = 0; i < found.chains.len; i++)
		if (!strv_contains(&wanted->chains, found.chains.items[i]))
			strbuf_appendf(ret, "-F %s\n", found.chains.items[i]);
	strbuf_append(ret, strbuf_str(&wanted->rules));
	append_jumps(table, wanted, &found.jumps, ret);
	for (size_t i = 0; i < found.chains.len; i++)
		if (!strv_contains(&wanted->chains, found.chains.items[i]))
			strbuf_appendf(ret, "-X %s\n", found.chains.items[i]);
	strbuf_append(ret, "COMMIT\n");
}
