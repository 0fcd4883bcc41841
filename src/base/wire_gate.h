/*
 * What lxd, lxd-gate and lxd-signer say to each other. Messages are packets of wire.h; the first field of each is its
 * type (u32). Everything that comes from the gate is a stranger's word: a gate that was taken over can claim any leaf.
 *
 *   lxd <-> gate, on the gate's fd 3:
 *     lxd: CONFIG, then LISTEN; later CONFIG again (new key pair, CA or CRL), LISTEN, UNLISTEN, TRUSTED, PROXIES,
 * PARKED gate: CONFIGURED after each CONFIG, CONNECTION for each connection whose first request head has arrived, PARK,
 * NOTE gate <-> signer, one socket per gate thread: SIGN, SIGNED; one at a time lxd <-> signer, on the signer's fd 3:
 * the signer sends SIGNER_STATUS once, before it answers anybody, and later SIGNER_COUNTS (at most once a second, only
 * after refusals). It ends when this socket or all others have closed.
 *
 * lxd-signer N: fd 3 is the control socket, fd 4 the private key (PEM), fd 5 the server's certificate (PEM, the leaf
 * first; to see that they belong together), fds 6 to 6 + N - 1 the sockets that the gate's threads ask on. Key and
 * certificate are files or memfds, read from offset 0. All sockets are packet sockets (wire_pair()).
 *
 * Both programs end when their control socket closes. They keep a PR_SET_PDEATHSIG that the caller set.
 */
#pragma once

#include <stdint.h>

#define WIRE_GATE_MAGIC 0x4c584754U
#define WIRE_GATE_CONTROL_FD 3
#define WIRE_GATE_LEAF_MAX (16u * 1024)  /* bytes of a client's certificate; larger ones end the handshake */
#define WIRE_GATE_HEAD_MAX (16u * 1024)  /* bytes of a first request head; lxd's HTTP library has room for it */
#define WIRE_GATE_CHAIN_MAX (64u * 1024) /* bytes of the server's chain */
#define WIRE_GATE_CA_MAX (128u * 1024)   /* bytes of server.ca */
#define WIRE_GATE_CRL_MAX (768u * 1024)  /* bytes of ca.crl; DER takes less than PEM */
#define WIRE_SIGNER_CONTROL_FD 3
#define WIRE_SIGNER_KEY_FD 4
#define WIRE_SIGNER_CERTIFICATE_FD 5
#define WIRE_SIGNER_SOCKET_FD 6 /* the first of them */
#define WIRE_SIGNER_THREADS_MAX 8

enum wire_gate_type {
	/*
	 * u32 magic, str server chain PEM, blob CAs (PEM; a NULL str or nothing: no PKI), blob CRLs (PEM or DER,
	 * several one after the other; a NULL str or nothing: none), u32 threads; fds: one signer socket per thread.
	 * The number of threads stays what the first CONFIG says. Connections that are open are judged anew by the new
	 * CA and CRL, and closed when their verdict became worse.
	 */
	WIRE_GATE_CONFIG = 1,
	/* u32 listener (enum wire_gate_listener); fd: the listening socket. Several per listener are fine. */
	WIRE_GATE_LISTEN,
	/* u32 listener: close its sockets; open connections stay. */
	WIRE_GATE_UNLISTEN,
	/* list of addresses: peers that may send a PROXY header (version 1). */
	WIRE_GATE_PROXIES,
	/* u64 connection: the caller is somebody we know; it no longer counts as a stranger. */
	WIRE_GATE_TRUSTED,
	/* u32 status (0: fine), str message: the answer to CONFIG. A refused CONFIG leaves the old one in force. With
	 * status 0 the message is a warning for the log (a CRL that is out of date or not signed by the CA), or NULL.
	 */
	WIRE_GATE_CONFIGURED,
	/*
	 * u64 connection, u32 listener, str peer "192.0.2.1:4000" or "[2001:db8::1]:4000", u32 TLS version (0x0303,
	 * 0x0304), str cipher suite, u32 verdict (enum wire_gate_verdict), u64 not_before, u64 not_after (seconds
	 * since the epoch; 0 without certificate), blob leaf DER (empty: none); fd: our end of the plain stream. Its
	 * first bytes, a whole request head, can be read already.
	 */
	WIRE_GATE_CONNECTION,
	/* u32 kind (enum wire_gate_note), str address, u64 count: connections refused since the last note. At most one
	 * a second. */
	WIRE_GATE_NOTE,
	/* u32 algorithm (enum wire_sign_algorithm), blob digest */
	WIRE_SIGN,
	/* u32 status (0: fine), blob signature, in the form that TLS sends */
	WIRE_SIGNED,
	/* u32 status (0: fine), str message: whether the key could be read and belongs to the certificate. Unless it is
	 * fine the signer ends after this. */
	WIRE_SIGNER_STATUS,
	/* u64 signatures made, u64 requests refused because there were too many, u64 malformed requests; since start */
	WIRE_SIGNER_COUNTS,
	/*
	 * u64 connection, from the gate: its answer is out and nothing moves; does lxd need its end any longer? PARKED
	 * answers: u64 connection, u32 whether lxd has let go. It then closes its end, the gate keeps the client's, and
	 * the next request head makes a CONNECTION of the same number. So an idle client costs lxd nothing.
	 */
	WIRE_GATE_PARK,
	WIRE_GATE_PARKED,
};

enum wire_gate_listener { WIRE_LISTENER_API, WIRE_LISTENER_METRICS, WIRE_LISTENER_MAX };

/* How the leaf stands to server.ca and ca.crl. */
enum wire_gate_verdict {
	WIRE_PKI_OFF,     /* no server.ca */
	WIRE_PKI_NONE,    /* no certificate was sent */
	WIRE_PKI_GOOD,    /* issued by the CA (at most one intermediate), valid now, fit for clients, not revoked */
	WIRE_PKI_BAD,     /* not issued by the CA, expired, not valid yet, wrong purpose, weak signature */
	WIRE_PKI_REVOKED, /* listed in its issuer's CRL */
	WIRE_PKI_UNSURE,  /* the CRL cannot be relied on: not signed by the CA; nobody is trusted */
	WIRE_PKI_MAX,
};

enum wire_gate_note { WIRE_NOTE_SOURCE_FULL, WIRE_NOTE_TOTAL_FULL, WIRE_NOTE_MAX };

enum wire_sign_algorithm {
	WIRE_SIGN_ECDSA_SHA256 = 1,
	WIRE_SIGN_ECDSA_SHA384,
	WIRE_SIGN_ECDSA_SHA512,
	WIRE_SIGN_RSA_PSS_SHA256,
	WIRE_SIGN_RSA_PSS_SHA384,
	WIRE_SIGN_RSA_PSS_SHA512,
	WIRE_SIGN_RSA_SHA256, /* PKCS #1 1.5, for TLS 1.2 */
	WIRE_SIGN_RSA_SHA384,
	WIRE_SIGN_RSA_SHA512,
	WIRE_SIGN_ED25519, /* the "digest" is the message */
	WIRE_SIGN_MAX,
};
