/*
 * Messages between lxd and its helpers: fields one after the other, numbers little endian, texts and lists with
 * their length in front. One message is one packet of a SOCK_SEQPACKET socket; fds travel beside it.
 *
 * A reader never runs past the end: the first field that does not fit makes it `bad`, every field after that is
 * empty, and wire_done() tells. Numbers in a message are not trusted before that.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/strv.h"

#define WIRE_MESSAGE_MAX (1024u * 1024u) /* bytes of one message */
#define WIRE_LIST_MAX 65536u             /* items of one list */
#define WIRE_FDS_MAX 8

struct wire_reader {
	const unsigned char *data; /* borrowed */
	size_t len;
	size_t pos;
	bool bad;
};

/* Numbers are little endian. */
void wire_put_u32(struct strbuf *b, uint32_t v);
void wire_put_u64(struct strbuf *b, uint64_t v);
/* NULL is kept apart from "". */
void wire_put_str(struct strbuf *b, const char *s);
/* Bytes of any value. */
void wire_put_blob(struct strbuf *b, const void *data, size_t len);
/* A NULL-terminated array; NULL is an empty list. */
void wire_put_list(struct strbuf *b, const char *const *items);

/* 0 when the message is too short: then wire_done() is false. */
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);
/* Owned by the caller; NULL for a NULL text or a bad message. A text with a NUL inside is bad. */
char *wire_get_str(struct wire_reader *r);
/* Borrowed from the message, *@ret_len bytes; NULL for an empty blob or a bad message. */
const void *wire_get_blob(struct wire_reader *r, size_t *ret_len);
/* Appends to @ret. */
void wire_get_list(struct wire_reader *r, struct strv *ret);
/* True when every field was there and nothing is left over. */
bool wire_done(const struct wire_reader *r);

/* An error as fields: status, errnum, message. */
void wire_put_error(struct strbuf *b, const struct error *err);
/* Fills @err from the fields; a bad message gives an error that says so. Returns -errnum. */
int wire_get_error(struct wire_reader *r, struct error *err);

/* A packet and the fds that came with it. */
struct wire_message {
	unsigned char *data;
	size_t len;
	int fds[WIRE_FDS_MAX]; /* owned; -EBADF where there is none */
	struct wire_reader reader;
};

#define auto_wire_message CLEANUP(wire_message_done)
#define WIRE_MESSAGE_INIT \
	((struct wire_message){.fds = {-EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF}})
void wire_message_done(struct wire_message *m);

/* A connected pair of packet sockets, close-on-exec, with room for WIRE_MESSAGE_MAX. */
int wire_pair(int ret_fds[2], struct error *err);
/* Send one packet; -EMSGSIZE when it exceeds WIRE_MESSAGE_MAX. Negative errno. */
int wire_send(int sock, const struct strbuf *b, const int *fds, size_t nfds) MUST_USE;
/*
 * Receive one packet: 1, 0 when the peer has closed, or negative errno: -EAGAIN at the socket's time limit,
 * -ECONNRESET when the peer has closed without reading what it was sent.
 */
int wire_recv(int sock, struct wire_message *ret) MUST_USE;
