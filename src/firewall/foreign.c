#include "firewall/foreign.h"

#include <fcntl.h>
#include <linux/netfilter.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/str.h"
#include "firewall/nfnetlink.h"
#include "firewall/nft_rules.h"

struct passes {
	bool in, out;
};

struct foreign_chain {
	int family; /* NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_INET */
	char *table;
	char *chain;
	char *user_chain; /* NULL: none */
	bool legacy;
	struct passes *passes; /* by network */
};

void foreign_done(struct foreign *f)
{
	for (size_t i = 0; i < f->n_chains; i++) {
		free(f->chains[i].table);
		free(f->chains[i].chain);
		free(f->chains[i].user_chain);
		free(f->chains[i].passes);
	}
	free(f->chains);
	f->chains = NULL;
	f->n_chains = 0;
}

/* --- what is there --- */

void foreign_add_chain(struct foreign *f, int family, const char *table, const char *chain, bool legacy)
{
	struct foreign_chain *c;

	f->chains = xreallocarray(f->chains, f->n_chains + 1, sizeof(*f->chains));
	c = &f->chains[f->n_chains++];
	*c = (struct foreign_chain){.family = family,
				    .table = xstrdup(table),
				    .chain = xstrdup(chain),
				    .legacy = legacy,
				    .passes = xnew_array(struct passes, f->n_nets)};
}

static bool is_of(const struct foreign_chain *c, int family, const char *table, bool legacy)
{
	return c->family == family && c->legacy == legacy && streq(c->table, table);
}

void foreign_add_accept(struct foreign *f, int family, const char *table, bool legacy, bool out, const char *interface)
{
	for (size_t k = 0; k < f->n_chains; k++) {
		struct foreign_chain *c = &f->chains[k];

		for (size_t i = 0; i < f->n_nets && is_of(c, family, table, legacy); i++) {
			bool same = streq(f->nets[i]->name, interface);

			c->passes[i].in |= same && !out;
			c->passes[i].out |= same && out;
		}
	}
}

void foreign_add_user_chain(struct foreign *f, int family, const char *table, bool legacy, const char *chain)
{
	for (size_t k = 0; k < f->n_chains; k++) {
		struct foreign_chain *c = &f->chains[k];

		if (is_of(c, family, table, legacy) && !c->user_chain)
			c->user_chain = xstrdup(chain);
	}
}

/* The word behind @option, or NULL; "! -i br0" counts as none. */
static const char *option_of(const struct strv *words, const char *option)
{
	for (size_t i = 1; i + 1 < words->len; i++)
		if (streq(words->items[i], option) && !streq(words->items[i - 1], "!"))
			return words->items[i + 1];
	return NULL;
}

static void add_legacy_rule(struct foreign *f, int family, const struct strv *words)
{
	const char *target = option_of(words, "-j"), *in = option_of(words, "-i"), *out = option_of(words, "-o");

	if (!target || !streq(target, "ACCEPT"))
		return;
	if (in)
		foreign_add_accept(f, family, "filter", true, false, in);
	if (out)
		foreign_add_accept(f, family, "filter", true, true, out);
}

void foreign_add_legacy(struct foreign *f, int family, const char *text)
{
	auto_strv struct strv lines = STRV_INIT;

	strv_split(&lines, text, '\n');
	/* policies and chains come before rules */
	for (size_t i = 0; i < lines.len; i++) {
		auto_strv struct strv words = STRV_INIT;

		if (streq(lines.items[i], "-P FORWARD DROP"))
			foreign_add_chain(f, family, "filter", "FORWARD", true);
		else if (streq(lines.items[i], "-N DOCKER-USER"))
			foreign_add_user_chain(f, family, "filter", true, "DOCKER-USER");
		strv_split_words(&words, lines.items[i]);
		add_legacy_rule(f, family, &words);
	}
}

/* --- what to say --- */

static const char *family_name(int family)
{
	return family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_IPV6 ? "ip6" : "inet";
}

static bool concerns(const struct foreign_chain *c, const struct firewall_network *n)
{
	bool v4 = n->v4.address.addr.family != AF_UNSPEC, v6 = n->v6.address.addr.family != AF_UNSPEC;

	return (v4 && c->family != NFPROTO_IPV6) || (v6 && c->family != NFPROTO_IPV4);
}

/* A table that belongs to iptables is best changed by its commands. */
static void append_rule(struct strbuf *b, const struct foreign_chain *c, const char *bridge, bool out)
{
	const char *chain = c->user_chain ? c->user_chain : c->chain;

	if (c->family == NFPROTO_INET || !streq(c->table, "filter") || !streq(c->chain, "FORWARD"))
		strbuf_appendf(b, "nft insert rule %s %s %s %s %s accept", family_name(c->family), c->table, chain,
			       out ? "oifname" : "iifname", bridge);
	else
		strbuf_appendf(b, "%s%s -I %s %s %s -j ACCEPT", c->family == NFPROTO_IPV4 ? "iptables" : "ip6tables",
			       c->legacy ? "-legacy" : "", chain, out ? "-o" : "-i", bridge);
}

char *foreign_message(const struct foreign *f, size_t i)
{
	const struct firewall_network *net = f->nets[i];
	auto_strbuf struct strbuf b = STRBUF_INIT;

	for (size_t k = 0; k < f->n_chains; k++) {
		const struct foreign_chain *c = &f->chains[k];

		if (!concerns(c, net) || (c->passes[i].in && c->passes[i].out))
			continue;
		strbuf_appendf(&b,
			       "%sChain \"%s\" of table \"%s %s\" drops what is forwarded and does not accept network "
			       "\"%s\"; add the rules: ",
			       b.len ? ". " : "", c->chain, family_name(c->family), c->table, net->name);
		append_rule(&b, c, net->name, false);
		strbuf_append(&b, "; ");
		append_rule(&b, c, net->name, true);
	}
	return b.len ? strbuf_take(&b) : NULL;
}

/* --- the kernel --- */

static bool is_ip(int family)
{
	return family == NFPROTO_IPV4 || family == NFPROTO_IPV6 || family == NFPROTO_INET;
}

static void take_policy(const struct nfnl_chain *c, void *arg)
{
	if (c->is_base && is_ip(c->family) && c->hook == NF_INET_FORWARD && c->policy == NF_DROP &&
	    !streq(c->table, NFT_TABLE_NAME))
		foreign_add_chain(arg, c->family, c->table, c->name, false);
}

static void take_user_chain(const struct nfnl_chain *c, void *arg)
{
	if (streq(c->name, "DOCKER-USER"))
		foreign_add_user_chain(arg, c->family, c->table, false, c->name);
}

static void take_accept(const struct nfnl_accept *a, void *arg)
{
	foreign_add_accept(arg, a->family, a->table, false, a->out, a->interface);
}

static int read_nftables(struct foreign *f, struct error *err)
{
	auto_close int sock = nfnl_open(0, err);
	int r = sock < 0 ? sock : nfnl_chains(sock, NFPROTO_UNSPEC, take_policy, f, err);

	if (r < 0 || f->n_chains == 0)
		return r;
	r = nfnl_chains(sock, NFPROTO_UNSPEC, take_user_chain, f, err);
	return r < 0 ? r : nfnl_accepts(sock, NFPROTO_UNSPEC, take_accept, f, err);
}

static const struct legacy {
	int family;
	const char *tables; /* lists the tables that exist; asking the program would make them */
	const char *program;
} legacies[] = {
	{NFPROTO_IPV4, "/proc/net/ip_tables_names", "/usr/sbin/iptables-legacy"},
	{NFPROTO_IPV6, "/proc/net/ip6_tables_names", "/usr/sbin/ip6tables-legacy"},
};

static bool has_filter_table(const char *path)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strv struct strv lines = STRV_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(AT_FDCWD, path, 4096, &text, &err) < 0)
		return false;
	strv_split(&lines, strbuf_str(&text), '\n');
	return strv_contains(&lines, "filter");
}

static void read_legacy(struct foreign *f, const struct legacy *l)
{
	auto_process_result struct process_result res = PROCESS_RESULT_INIT;
	const char *const argv[] = {l->program, "-w", "5", "-t", "filter", "-S", NULL};
	struct process_spec spec = PROCESS_SPEC_INIT;
	auto_error struct error err = ERROR_INIT;

	if (!has_filter_table(l->tables) || access(l->program, X_OK) < 0)
		return;
	spec.argv = argv;
	spec.timeout_ms = 10000;
	spec.output_max = 16 << 20;
	if (process_run(&spec, &res, &err) == 0)
		foreign_add_legacy(f, l->family, strbuf_str(&res.out));
	else
		error_ignore(&err, "its rules cannot be known");
}

int foreign_read(struct foreign *f, struct error *err)
{
	int r = read_nftables(f, err);

	for (size_t i = 0; i < ARRAY_SIZE(legacies); i++)
		read_legacy(f, &legacies[i]);
	return r;
}
