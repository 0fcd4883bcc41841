/* One running lxd-gate with its lxd-signer: starting, configuring and ending them, and the messages of wire_gate.h. */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/strv.h"
#include "base/wire.h"
#include "remote/remote.h"

struct gate {
	pid_t pid; /* 0: not running */
	int pidfd;
	int control;
	pid_t signer; /* 0: not running */
	int signer_pidfd;
	int signer_control;
	/* the signer before it, while handshakes that began with its key may still go on; 0: none */
	pid_t old_signer;
	int old_signer_pidfd;
	int old_signer_control;
	int64_t old_signer_until; /* CLOCK_MONOTONIC, ms */
};

#define GATE_INIT                                  \
	((struct gate){.pidfd = -EBADF,            \
		       .control = -EBADF,          \
		       .signer_pidfd = -EBADF,     \
		       .signer_control = -EBADF,   \
		       .old_signer_pidfd = -EBADF, \
		       .old_signer_control = -EBADF})

/* Sees a message of the gate other than the answer that is waited for. */
typedef void (*gate_message_fn)(struct wire_message *m, void *arg);

/* Start lxd-gate; it serves nobody before it is configured. The thread must live as long as the gate. */
int gate_start(struct gate *g, struct error *err);
/*
 * A new signer with @keys' private key, and a CONFIG; the one before may finish what it has begun. On failure the
 * signer that was there goes on, and the gate keeps what it had. Blocks for at most ten seconds; messages that arrive
 * meanwhile go to @fn.
 */
int gate_configure(struct gate *g, const struct remote_keys *keys, gate_message_fn fn, void *arg, struct error *err);
/* End the old signer when it is time, or @now_ms is INT64_MAX. */
void gate_end_old_signer(struct gate *g, int64_t now_ms);
/* Hand over listening sockets (they stay the caller's), or have them closed. Negative errno. */
int gate_listen(struct gate *g, enum wire_gate_listener which, const int *fds, size_t n) MUST_USE;
int gate_unlisten(struct gate *g, enum wire_gate_listener which) MUST_USE;
int gate_proxies(struct gate *g, const struct strv *addresses) MUST_USE;
/* End both and wait for them. */
void gate_stop(struct gate *g);

/* Decode a CONNECTION (behind its type) into a peer, owned by the caller; NULL for a message that is not one. */
struct http_tls_peer *gate_decode_peer(struct wire_message *m);
