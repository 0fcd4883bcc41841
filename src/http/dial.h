/*
 * Connections to other servers over TLS, through lxd-dial: a process per connection that does the handshake, judges the
 * server's certificate and relays; this side sees a plain stream. See base/wire_dial.h.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/strv.h"

/* Where to, and whom to believe. All texts are borrowed. */
struct dial_spec {
	const char *host; /* name or address, without brackets */
	unsigned port;
	unsigned flags;          /* enum wire_dial_flags */
	const char *proxy;       /* "http://[user:password@]host:port"; NULL: none */
	const char *ca_pem;      /* WIRE_DIAL_CA */
	const struct strv *pins; /* WIRE_DIAL_PIN: SHA-256 of leafs, lower-case hex */
	const char *client_cert; /* PEM; NULL: none */
	const char *client_key;  /* PEM; one belongs to the other */
	unsigned timeout_ms;     /* 0: 30 s */
};

/* What the server showed. */
struct dial_result {
	char *leaf_pem; /* NULL when the handshake did not come so far */
	char fingerprint[65];
	unsigned accepted_by; /* one of the flags; 0: it was refused */
	char *tls_version;    /* "TLS1.3"; NULL without a connection */
	char *cipher;
};

#define DIAL_RESULT_INIT ((struct dial_result){0})
#define auto_dial_result CLEANUP(dial_result_done)
void dial_result_done(struct dial_result *r);

/*
 * Connect: the fd of the plain stream, owned by the caller; closing it ends the dial. Blocks until the handshake is
 * done. Errors are worded as Go's client words them ("Unable to connect to: 192.0.2.1:8443 ([dial tcp ...: connection
 * refused])", "x509: certificate signed by unknown authority"); @ret (may be NULL) is filled also when the certificate
 * is refused. Negative errno.
 */
int dial_connect(const struct dial_spec *spec, struct dial_result *ret, struct error *err);

/* What is known about a server that is spoken to: enough to connect again. Texts are owned. */
struct dial_target {
	char *host;
	unsigned port;
	unsigned flags;
	char *proxy;
	char *ca_pem;
	struct strv pins;
	char *client_cert;
	char *client_key;
};

#define DIAL_TARGET_INIT ((struct dial_target){0})
#define auto_dial_target CLEANUP(dial_target_done)
void dial_target_done(struct dial_target *t);
/* Splits "https://host[:port][/...]" (default port @default_port); *@ret_path gets what follows, "" or "/...". 400. */
int dial_target_parse(const char *url, unsigned default_port, struct dial_target *ret, char **ret_path,
		      struct error *err);
/* The pin for a certificate: SHA-256 of what the first block of @pem holds, which nobody here looks into. 400. */
int dial_pem_fingerprint(const char *pem, char ret[65], struct error *err);
/* A deep copy; @dst must be empty. */
void dial_target_copy(struct dial_target *dst, const struct dial_target *src);
/* "host:port" with brackets where they are needed; the caller frees. */
char *dial_target_authority(const struct dial_target *t);
/*
 * The proxy for @host and @port out of what $https_proxy and $no_proxy (or core.proxy_https and
 * core.proxy_ignore_hosts) hold, as Go reads them: loopback addresses and localhost are never asked for through a
 * proxy; @no_proxy is a list of names (with their subdomains), ".names", addresses, networks, "*", each with ":port" if
 * wanted. NULL: none. The caller frees.
 */
char *dial_proxy_pick(const char *proxy, const char *no_proxy, const char *host, unsigned port);
/* The same by $HTTPS_PROXY or $https_proxy, and $NO_PROXY or $no_proxy. */
char *dial_proxy_from_env(const char *host, unsigned port);
/* Connect as @t says. */
int dial_target_connect(const struct dial_target *t, struct dial_result *ret, struct error *err);
