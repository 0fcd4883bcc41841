/*
 * The daemon's side of the network: which addresses are listened on, and the two programs that serve them, lxd-gate
 * (TLS) and lxd-signer (the private key). Both are started with the first address, started again with a growing delay
 * when they end, and end with the last address. Connections arrive in the HTTP server as http_server_add().
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/strv.h"
#include "base/wire_gate.h"
#include "http/server.h"

#define REMOTE_API_PORT 8443
#define REMOTE_METRICS_PORT 9100

struct remote;

struct remote_spec {
	struct http_server **http; /* set before the first address is */
	/* The gate refused connections since the last call: @kind is an enum wire_gate_note. From the gate's thread. */
	void (*refused)(void *arg, unsigned kind, const char *address, uint64_t count);
	/* The programs ended, or an address cannot be bound: @message; NULL: all is well again. From the gate's thread.
	 */
	void (*trouble)(void *arg, const char *message);
	void *arg;
};

/* What the gate shows and believes. All is borrowed and copied. */
struct remote_keys {
	const char *chain; /* PEM: server.crt */
	int key_fd;        /* server.key, for reading; handed to each signer */
	const char *ca;    /* PEM; NULL: no PKI */
	const void *crl;   /* PEM or DER, one or more; NULL: none */
	size_t crl_len;
};

/* Nothing is listened on and no program runs yet; its thread starts. */
int remote_new(const struct remote_spec *spec, struct remote **ret, struct error *err);

/*
 * Take over keys and certificates; a running gate serves the next handshake with them. An error (a key that does not
 * fit its certificate, a CA that cannot be read) leaves what was in force.
 */
int remote_set_keys(struct remote *r, const struct remote_keys *keys, struct error *err);
/*
 * Listen on @text ("" or NULL: not at all) instead of what was. Blocks until the sockets are bound and the gate has
 * them; on any error the old address stays. Open connections stay in any case. Errors as listen_set_open(), and the
 * gate's.
 */
int remote_set_address(struct remote *r, enum wire_gate_listener which, const char *text, struct error *err);
/* The same at start-up: an address that cannot be bound yet is logged and tried again every 30 s. */
void remote_start_address(struct remote *r, enum wire_gate_listener which, const char *text);
/* Peers that may speak for others by the PROXY protocol. */
void remote_set_proxies(struct remote *r, const struct strv *addresses);
/* The connection's caller is known: it no longer counts among strangers. */
void remote_vouch(struct remote *r, const struct http_tls_peer *peer);
/*
 * The same for a caller whose certificate is known, of which at most @max connections may be open at once: -EUSERS when
 * this is one too many. Safe to repeat.
 */
int remote_claim(struct remote *r, const struct http_tls_peer *peer, unsigned max);
/* What certificate authorities say has changed: see http_server_recheck(). */
void remote_authority_changed(struct remote *r);
/* "host:port" at which clients reach the API; empty without an address. */
void remote_addresses(struct remote *r, struct strv *ret);
/* Close the listening sockets and end both programs; for the end of the daemon. */
void remote_stop(struct remote *r);
