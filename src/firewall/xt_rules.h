/*
 * The rules for ebtables, iptables and ip6tables, as input of their restore programs, which put a table's part in force
 * as a whole. All rules are in chains of our own, named "lxd-...", which are jumped to from the chains of the kernel;
 * so what is ours is known by its name. Pure functions from values to text: every value is a checked interface name, a
 * number, a name that xt_chain() made, or a comment of harmless characters.
 *
 * ebtables   nat PREROUTING: foreign hardware addresses, before the bridge learns them. filter INPUT and FORWARD: one
 *            chain per NIC and hook.
 * iptables   nat, mangle, filter: networks. raw PREROUTING: reverse path checks.
 * ip6tables  the same, and in filter, before all else, neighbour advertisements of NICs: what ebtables cannot look
 * into. Only with net.bridge.bridge-nf-call-ip6tables=1 does the kernel show them bridged packets.
 */
#pragma once

#include "base/strbuf.h"
#include "base/strv.h"
#include "firewall/state.h"

enum xt_program { XT_EBTABLES, XT_IPTABLES, XT_IP6TABLES, XT_PROGRAMS };

enum xt_table {
	XT_EB_NAT,
	XT_EB_FILTER,
	XT_V4_RAW,
	XT_V4_MANGLE,
	XT_V4_NAT,
	XT_V4_FILTER,
	XT_V6_RAW,
	XT_V6_NAT,
	XT_V6_FILTER,
	XT_TABLES,
};

#define XT_OURS "lxd-"   /* chains of ours begin so */
#define XT_CHAIN_SIZE 29 /* bytes of the longest name that all take, and a NUL */

/* What is ours in one table. */
struct xt_body {
	struct strv chains;  /* names, those of the kernel's hooks first; none is empty */
	struct strbuf rules; /* lines "-A CHAIN ..." */
};

void xt_body_done(struct xt_body *b);
/* @dst becomes like @src. */
void xt_body_copy(struct xt_body *dst, const struct xt_body *src);

enum xt_program xt_program_of(enum xt_table t);
/* "ebtables" ... */
const char *xt_program_name(enum xt_program p);

/* The chain of a NIC: @prefix ("lxd-in-") and a part of its label's hash, into @buf, which is returned. */
const char *xt_chain(char buf[XT_CHAIN_SIZE], const char *prefix, const char *label);

/* What @s needs in table @t. */
void xt_render(enum xt_table t, const struct firewall_state *s, struct xt_body *ret);
/*
 * Input of the restore program that makes of a table, of which @saved is what the save program says (all tables; "":
 * nothing), one that has exactly @wanted of ours. Appends nothing when neither has anything.
 */
void xt_script(enum xt_table t, const struct xt_body *wanted, const char *saved, struct strbuf *ret);

/* The parts, by table. */
void xt_render_eb_nat(const struct firewall_state *s, struct xt_body *b);
void xt_render_eb_filter(const struct firewall_state *s, struct xt_body *b);
void xt_render_requests(const struct firewall_state *s, struct xt_body *b);
void xt_render_advertisements(const struct firewall_state *s, struct xt_body *b);
void xt_render_networks(enum xt_table t, const struct firewall_state *s, struct xt_body *b);
void xt_render_routed(enum xt_table t, const struct firewall_state *s, struct xt_body *b);

/* Append a rule; @chain is noted when it is new. */
void xt_rule(struct xt_body *b, const char *chain, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* `generated for LXD container INST (DEV)`, without what cannot stand in quotes, into @buf, which is returned. */
#define XT_COMMENT_SIZE 200
const char *xt_comment(char buf[XT_COMMENT_SIZE], const char *label, const char *more);
