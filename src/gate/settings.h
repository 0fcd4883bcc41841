/* What CONFIG says, made ready for use: credentials whose key is with the signer, the PKI, the priority string. */
#pragma once

#include <gnutls/gnutls.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/wire.h"
#include "base/wire_gate.h"
#include "tls/pki.h"

/* Immutable but for the signer sockets, each of which belongs to one thread. Counted: a handshake holds what it began
 * with. */
struct settings {
	atomic_uint refs;
	gnutls_certificate_credentials_t cred;
	gnutls_priority_t priority;
	struct pki *pki;
	unsigned threads;
	int signers[WIRE_SIGNER_THREADS_MAX]; /* -EBADF when it failed */
	int key_kind;                         /* gnutls_pk_algorithm_t of the server's certificate */
	unsigned key_bits;
	struct strbuf pki_bytes; /* CA and CRL as they came: is a new CONFIG's PKI another one? */
};

/* What the message carries, behind its type; checked for form only. */
struct settings_message {
	char *chain;
	struct strbuf ca, crl; /* empty: none */
	uint32_t threads;
};

void settings_message_done(struct settings_message *m);
/* Decode; false when it is malformed. */
bool settings_message_decode(struct wire_reader *r, struct settings_message *ret);

/* Make settings from a CONFIG message (behind its type); takes the fds of @m that it keeps. */
int settings_new(struct wire_message *m, struct settings **ret, struct error *err);
struct settings *settings_ref(struct settings *s);
void settings_unref(struct settings *s);
DEFINE_CLEANUP(struct settings *, settings_unref)

/* The calling thread is number @index: it signs over the socket of this number. */
void settings_thread_is(unsigned index);
