/*
 * What TLS we speak, at both ends: TLS 1.3 and 1.2, ECDHE with AEAD ciphers, P-384, P-256 and X25519, SHA-2
 * signatures. One string, so that gate, dial and tests cannot differ.
 */
#pragma once

/* For gnutls_priority_init(). Tickets are refused by GNUTLS_NO_TICKETS at gnutls_init(), compression is not built in.
 */
#define TLS_PRIORITY_COMMON                                                                                    \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:-CIPHER-ALL:+AES-256-GCM:" \
	"+AES-128-GCM:+CHACHA20-POLY1305:-MAC-ALL:+AEAD:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP384R1:"            \
	"+GROUP-SECP256R1:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:-SIGN-DSA-SHA1:-SIGN-RSA-SHA224:-SIGN-ECDSA-SHA224:" \
	"%NO_TICKETS"
/* A client asks for the extension that makes renegotiation safe. */
#define TLS_PRIORITY TLS_PRIORITY_COMMON ":%SAFE_RENEGOTIATION"
/* Our server ends a connection that is to be negotiated anew, so it need not insist. */
#define TLS_PRIORITY_SERVER TLS_PRIORITY_COMMON ":%PARTIAL_RENEGOTIATION"
