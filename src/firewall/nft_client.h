/*
 * lxd's side of lxd-nft (base/wire_nft.h): started on first use, gone after some seconds without work, started again
 * when needed. One caller at a time.
 */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"
#include "firewall/reaper.h"

struct nft_client;

/* @reaper is borrowed, and outlives the client. */
struct nft_client *nft_client_new(struct reaper *reaper);
/* Let the process end now: there will be nothing to do for a while. The next call starts another. */
void nft_client_rest(struct nft_client *c);
/* Lets the process end. */
void nft_client_free(struct nft_client *c);
/* Carry @script out as one transaction. 500 with what the kernel or libnftables says; nothing has changed then. */
int nft_client_run(struct nft_client *c, const struct strbuf *script, struct error *err);
