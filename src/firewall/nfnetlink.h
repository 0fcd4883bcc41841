/* What nftables holds, read from the kernel itself: chains, and rules as far as they accept an interface. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/rtnetlink.h"

/* A socket for questions, or, with @group != 0, for what the kernel tells of changes (non-blocking). Returns the fd. */
int nfnl_open(unsigned group, struct error *err);

/* A chain, borrowed for the time of the call. */
struct nfnl_chain {
	int family; /* NFPROTO_* */
	const char *table;
	const char *name;
	bool is_base;
	uint32_t hook;   /* NF_*; of base chains, like the rest */
	uint32_t policy; /* NF_ACCEPT, NF_DROP */
};

typedef void (*nfnl_chain_fn)(const struct nfnl_chain *chain, void *arg);

/* Call @fn for each chain of @family (NFPROTO_UNSPEC: all); none where the kernel has no nftables. */
int nfnl_chains(int sock, int family, nfnl_chain_fn fn, void *arg, struct error *err);

/* A rule that accepts what comes in by, or goes out by, one interface; whatever else it asks for. */
struct nfnl_accept {
	int family;
	const char *table;
	const char *chain;
	bool out;
	const char *interface;
};

typedef void (*nfnl_accept_fn)(const struct nfnl_accept *accept, void *arg);

/* Call @fn for each such rule of @family. */
int nfnl_accepts(int sock, int family, nfnl_accept_fn fn, void *arg, struct error *err);

/* The number of the present set of rules, which grows by one with each change by anybody. */
int nfnl_generation(int sock, uint32_t *ret, struct error *err);
/* The table that a message of the kernel names, "" when it names none. Every kind of object has it in one place. */
void nfnl_table_of(struct rtnl_bytes body, char *buf, size_t size);
