/*
 * Chains of others (Docker, ufw ...) that drop what is forwarded unless they accept it: with nftables an accept of ours
 * does not help against them, so all that can be done is to say what to add to them.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/strv.h"
#include "firewall/firewall.h"

/* The networks that are asked about, and what stands in their way. */
struct foreign {
	const struct firewall_network *const *nets; /* borrowed */
	size_t n_nets;
	struct foreign_chain *chains;
	size_t n_chains;
};

void foreign_done(struct foreign *f);

/* A base chain of the forward hook with policy drop: of @family, in @table; @legacy: of iptables-legacy. */
void foreign_add_chain(struct foreign *f, int family, const char *table, const char *chain, bool legacy);
/* Some chain of that table accepts what comes in by @interface, or (@out) goes out by it. */
void foreign_add_accept(struct foreign *f, int family, const char *table, bool legacy, bool out, const char *interface);
/* That table has a chain in which the administrator's rules belong (DOCKER-USER). */
void foreign_add_user_chain(struct foreign *f, int family, const char *table, bool legacy, const char *chain);
/* The same from the text of `iptables-legacy -S`, or of ip6tables-legacy by @family. */
void foreign_add_legacy(struct foreign *f, int family, const char *text);

/* What is wrong for network @i: names table and chain, and the two rules to add; NULL: nothing. The caller frees. */
char *foreign_message(const struct foreign *f, size_t i);

/* Ask the kernel. 500. */
int foreign_read(struct foreign *f, struct error *err);
