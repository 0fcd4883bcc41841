/*
 * What lxd and lxd-nft say to each other, over the packet socket (wire_pair()) that is lxd-nft's fd 3: one question at
 * a time, each with its answer. lxd-nft ends when the socket closes, and by itself after WIRE_NFT_IDLE_MS without a
 * question; one that it has not taken from the socket has then not been carried out.
 *
 *   question: u32 WIRE_NFT_RUN; fd: a file with nft commands, read from its start, at most WIRE_NFT_SCRIPT_MAX bytes.
 *             They are one transaction.
 *   answer:   u32 WIRE_NFT_RAN, u32 status (0: done), str what libnftables says (at most WIRE_NFT_TEXT_MAX bytes).
 */
#pragma once

#define WIRE_NFT_PROGRAM "lxd-nft" /* so the kernel names it to those who watch the rules */
#define WIRE_NFT_FD 3
#define WIRE_NFT_IDLE_MS 10000
#define WIRE_NFT_SCRIPT_MAX (64u * 1024 * 1024)
#define WIRE_NFT_TEXT_MAX 8192

enum wire_nft_type { WIRE_NFT_RUN = 1, WIRE_NFT_RAN };
