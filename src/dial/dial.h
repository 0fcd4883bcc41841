/* The parts of the program lxd-dial: one connection, from the name of the server to the last byte. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/strv.h"

/* What the caller asked for; see base/wire_dial.h. */
struct dial_request {
	uint32_t flags;
	char *host;
	uint32_t port;
	char *proxy; /* NULL: none */
	char *ca_pem;
	struct strv pins;
	char *client_cert;
	char *client_key;
	uint32_t timeout_ms;
};

/* What it gets to know. */
struct dial_reply {
	char *leaf_pem;
	char fingerprint[65];
	uint32_t accepted_by;
	const char *version; /* constants of the TLS library */
	const char *cipher;
};

/* Read and check the request; 500 when it does not come from a caller of ours. */
int dial_request_read(int control, struct dial_request *ret, struct error *err);
/* Tell how it went: @err unset means connected. Negative errno. */
int dial_reply_send(int control, const struct dial_reply *reply, const struct error *err) MUST_USE;

/* A TCP connection with buffers of our own on both sides, so that many TLS records travel in one system call. */
#define LINK_IN_SIZE (256u * 1024)
#define LINK_OUT_SIZE (512u * 1024) /* more than is ever put in before it is written out */

struct link {
	int sock;
	int control;         /* the caller is gone when it hangs up; -EBADF once it no longer counts */
	int64_t deadline_ms; /* monotonic; waiting ends there. 0: reads and writes do not wait at all */
	bool eof;            /* the server has sent its last byte */
	int errnum;          /* of the socket, once it failed */
	size_t in_start, in_end;
	size_t out_start, out_end;
	unsigned char *in;
	unsigned char *out;
	char local[64], remote[64]; /* "192.0.2.1:4000", for messages */
};

/*
 * Connect to the server, or to the proxy in front of it (without speaking to it yet). All addresses of a name are
 * tried. Errors: 503, worded as Go words them.
 */
int link_connect(const struct dial_request *req, int control, struct link *ret, struct error *err);
void link_done(struct link *l);
/* Ask the proxy for the server, when there is one. */
int link_through_proxy(struct link *l, const struct dial_request *req, struct error *err);
/* Bytes into @buf (0: end); -EAGAIN when there are none yet (or, before the deadline is 0, none came in time). */
ssize_t link_read(struct link *l, void *buf, size_t len) MUST_USE;
/* Queue; the caller sees to the room. */
void link_queue(struct link *l, const void *data, size_t len);
/* Write what is queued. With a deadline all of it, or -EAGAIN; without, what the socket takes. Negative errno. */
int link_flush(struct link *l) MUST_USE;
/* Bytes that have been read from the socket, but not asked for yet: poll() does not tell of them. */
static inline size_t link_buffered(const struct link *l)
{
	return l->in_end - l->in_start;
}
static inline size_t link_queued(const struct link *l)
{
	return l->out_end - l->out_start;
}

/* --- who is believed --- */

/*
 * Certificate authorities as files hold them. They are read while files can be read; each is parsed only when a
 * server's chain names it.
 */
struct roots {
	struct strbuf pem;
};

void roots_done(struct roots *r);
/* The system's, by $SSL_CERT_FILE and $SSL_CERT_DIR or the usual places, as Go looks for them. */
void roots_load_system(struct roots *r);

/* --- rights --- */

/* Before anything is looked up: give up everything root has (when root). A process that can change the root waits. */
int confine_early(struct error *err);
/* When the connection stands: no files, no processes, no sockets but the open ones. */
int confine_late(struct error *err);

/* --- TLS --- */

struct tls;
/* Shake hands and judge the server; @reply is filled as far as it came, also on failure. */
int tls_connect(struct link *l, const struct dial_request *req, const struct roots *system, struct dial_reply *reply,
		struct tls **ret, struct error *err);
void tls_free(struct tls *t);
/* Copy both ways between @plain and the server until both directions have ended or one side is gone. */
void tls_relay(struct tls *t, int plain);
