/*
 * The nft commands for what shall be in force: pure functions from values to text. Every value in the text is a checked
 * interface name, a number, or a name made by nft_chain(), so none can end a word.
 *
 * table bridge lxd   filters of bridged NICs. One base chain per hook with one lookup by the interface that a frame
 * came in by, whatever the number of NICs: `pre` (prerouting, before the bridge learns an address) drops foreign
 * hardware addresses by sets; `in` and `forward` jump to in.LABEL and fwd.LABEL by maps. table inet lxd     networks'
 * base chains pstrt.NET, fwd.NET, in.NET, out.NET; `prert`, whose map jumps to prert.LABEL, the reverse path check of a
 * routed NIC. table netdev lxd   base chains rate.LABEL on the interfaces of NICs.
 */
#pragma once

#include "base/strbuf.h"
#include "base/strv.h"
#include "firewall/state.h"

enum nft_table { NFT_BRIDGE, NFT_INET, NFT_NETDEV, NFT_TABLES };

#define NFT_TABLE_NAME "lxd" /* in each family */

/* What of ours the kernel has: tables, and the names of their chains. */
struct nft_present {
	bool there[NFT_TABLES];
	struct strv chains[NFT_TABLES];
};

void nft_present_done(struct nft_present *p);

#define NFT_CHAIN_SIZE 256
/*
 * "in.LABEL" from "in." and "LABEL" into @buf, which is returned: bytes that nft takes in no name become "/" and two
 * hex digits (labels hold no slash), and the end of what is too long becomes "/" and a hash.
 */
const char *nft_chain(char buf[NFT_CHAIN_SIZE], const char *prefix, const char *label);

/*
 * Go from @before to @after, items of @kind with the same key; NULL: none. Those of NICs and routed NICs take it for
 * granted that the base chains are there. Appends nothing when nothing is to be done.
 */
void nft_render_change(struct strbuf *b, enum firewall_kind kind, const void *before, const void *after);
/*
 * Make exactly @s, whatever is there. The base chains stay hooked while their rules are replaced, so that nothing
 * passes in between; with @recreate the tables are made anew, for when something else bears their names. Rates are left
 * out where @has_device says that the interface is not there: it took its chain along.
 */
void nft_render_all(struct strbuf *b, const struct firewall_state *s, const struct nft_present *present, bool recreate,
		    bool (*has_device)(const char *name));

/* The parts, by kind. */
void nft_render_bridge_base(struct strbuf *b);
void nft_render_bridge_rules(struct strbuf *b);
void nft_render_nic(struct strbuf *b, const struct firewall_nic *before, const struct firewall_nic *after);
void nft_render_network(struct strbuf *b, const struct firewall_network *before, const struct firewall_network *after);
void nft_render_routed_base(struct strbuf *b);
void nft_render_routed_rules(struct strbuf *b);
void nft_render_routed(struct strbuf *b, const struct firewall_routed *before, const struct firewall_routed *after);
void nft_render_rate(struct strbuf *b, const struct firewall_rate *before, const struct firewall_rate *after);
/* The chains that an item has. */
void nft_nic_chains(const struct firewall_nic *n, struct strv *ret);
void nft_network_chains(const struct firewall_network *n, struct strv *ret);
void nft_routed_chains(const struct firewall_routed *r, struct strv *ret);
