/* Encoder and decoder of the messages between lxd and its helpers. */
#include "base/wire.h"

#include <endian.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"

#define NULL_TEXT UINT32_MAX

void wire_put_u32(struct strbuf *b, uint32_t v)
{
	uint32_t le = htole32(v);

	strbuf_append_len(b, &le, sizeof(le));
}

void wire_put_u64(struct strbuf *b, uint64_t v)
{
	uint64_t le = htole64(v);

	strbuf_append_len(b, &le, sizeof(le));
}

void wire_put_str(struct strbuf *b, const char *s)
{
	size_t len;

	if (!s) {
		wire_put_u32(b, NULL_TEXT);
		return;
	}
	len = strlen(s);
	wire_put_u32(b, (uint32_t)MIN_OF(len, (size_t)NULL_TEXT - 1));
	strbuf_append_len(b, s, len);
}

void wire_put_blob(struct strbuf *b, const void *data, size_t len)
{
	wire_put_u32(b, (uint32_t)len);
	strbuf_append_len(b, data, len);
}

void wire_put_list(struct strbuf *b, const char *const *items)
{
	uint32_t n = 0;

	while (items && items[n])
		n++;
	wire_put_u32(b, n);
	for (uint32_t i = 0; i < n; i++)
		wire_put_str(b, items[i]);
}

/* @len bytes from the message, or NULL when there are not so many. */
static const void *take(struct wire_reader *r, size_t len)
{
	const void *p = r->data + r->pos;

	if (r->bad || len > r->len - r->pos) {
		r->bad = true;
		return NULL;
	}
	r->pos += len;
	return p;
}

uint32_t wire_get_u32(struct wire_reader *r)
{
	const void *p = take(r, sizeof(uint32_t));
	uint32_t v = 0;

	if (p)
		memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

uint64_t wire_get_u64(struct wire_reader *r)
{
	const void *p = take(r, sizeof(uint64_t));
	uint64_t v = 0;

	if (p)
		memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

char *wire_get_str(struct wire_reader *r)
{
	uint32_t len = wire_get_u32(r);
	const char *p;

	if (r->bad || len == NULL_TEXT)
		return NULL;
	p = take(r, len);
	if (!p)
		return NULL;
	if (memchr(p, 0, len)) {
		r->bad = true;
		return NULL;
	}
	return xstrndup(p, len);
}

const void *wire_get_blob(struct wire_reader *r, size_t *ret_len)
{
	uint32_t len = wire_get_u32(r);
	const void *p = r->bad ? NULL : take(r, len);

	*ret_len = p ? len : 0;
	return *ret_len ? p : NULL;
}

void wire_get_list(struct wire_reader *r, struct strv *ret)
{
	uint32_t n = wire_get_u32(r);

	if (n > WIRE_LIST_MAX)
		r->bad = true;
	for (uint32_t i = 0; i < n && !r->bad; i++) {
		char *s = wire_get_str(r);

		if (s)
			strv_take(ret, s);
		else
			r->bad = true;
	}
}

bool wire_done(const struct wire_reader *r)
{
	return !r->bad && r->pos == r->len;
}

void wire_put_error(struct strbuf *b, const struct error *err)
{
	wire_put_u32(b, (uint32_t)err->status);
	wire_put_u32(b, (uint32_t)err->errnum);
	wire_put_str(b, error_msg(err));
}

int wire_get_error(struct wire_reader *r, struct error *err)
{
	uint32_t status = wire_get_u32(r);
	uint32_t errnum = wire_get_u32(r);
	auto_free char *msg = wire_get_str(r);

	if (!wire_done(r) || !msg || status < 400 || status > 599 || errnum == 0 || errnum > 4095)
		return error_set(err, 500, "The helper's error message is malformed");
	error_set(err, (int)status, "%s", msg);
	err->errnum = (int)errnum;
	return -(int)errnum;
}

void wire_message_done(struct wire_message *m)
{
	free(m->data);
	m->data = NULL;
	for (size_t i = 0; i < WIRE_FDS_MAX; i++)
		m->fds[i] = fd_close(m->fds[i]);
}

int wire_pair(int ret_fds[2], struct error *err)
{
	int room = (int)(2 * WIRE_MESSAGE_MAX);

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0)
		return error_errno(err, errno, "Create socket pair");
	/* needs root; without it a very long message fails with EMSGSIZE, which the caller reports */
	for (int i = 0; i < 2; i++)
		(void)!setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	return 0;
}

int wire_send(int sock, const struct strbuf *b, const int *fds, size_t nfds)
{
	if (b->len > WIRE_MESSAGE_MAX || nfds > WIRE_FDS_MAX)
		return -EMSGSIZE;
	return fd_send(sock, b->data, b->len, fds, nfds);
}

/* Size of the packet that is next; waits for one. */
static ssize_t next_size(int sock)
{
	char byte;
	ssize_t n;

	do
		n = recv(sock, &byte, sizeof(byte), MSG_PEEK | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int wire_recv(int sock, struct wire_message *ret)
{
	size_t nfds = WIRE_FDS_MAX;
	int fds[WIRE_FDS_MAX];
	ssize_t n = next_size(sock);

	if (n <= 0)
		return (int)n;
	wire_message_done(ret);
	ret->data = try_alloc((size_t)n, WIRE_MESSAGE_MAX);
	if (!ret->data)
		return -EMSGSIZE;
	n = fd_recv(sock, ret->data, (size_t)n, fds, &nfds);
	if (n < 0)
		return (int)n;
	for (size_t i = 0; i < nfds; i++)
		ret->fds[i] = fds[i];
	ret->len = (size_t)n;
	ret->reader = (struct wire_reader){.data = ret->data, .len = ret->len};
	return 1;
}
