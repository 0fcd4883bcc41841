/* The one request and the one reply. */
#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/wire.h"
#include "base/wire_dial.h"
#include "dial/dial.h"

#define KNOWN_FLAGS (WIRE_DIAL_SYSTEM_ROOTS | WIRE_DIAL_CA | WIRE_DIAL_PIN | WIRE_DIAL_FETCH)
#define TIMEOUT_MAX_MS (10u * 60 * 1000)

/* A name or an address: it is written into requests to a proxy. */
static bool is_host(const char *host)
{
	for (; *host; host++)
		if (!isalnum((unsigned char)*host) && !strchr(".-_:%", *host) && (unsigned char)*host < 0x80)
			return false;
	return true;
}

static int check(const struct dial_request *q, struct error *err)
{
	if (str_is_empty(q->host) || q->port == 0 || q->port > 65535)
		return error_set(err, 400, "lxd-dial: there is no server to connect to");
	if (!is_host(q->host))
		return error_set(err, 400, "Invalid host name \"%s\"", q->host);
	if (q->flags == 0 || (q->flags & ~KNOWN_FLAGS))
		return error_set(err, 400, "lxd-dial: it is not said whom to believe");
	if ((q->flags & WIRE_DIAL_CA) && str_is_empty(q->ca_pem))
		return error_set(err, 400, "lxd-dial: the certificate authority is missing");
	if ((q->flags & WIRE_DIAL_PIN) && q->pins.len == 0)
		return error_set(err, 400, "lxd-dial: the pinned certificates are missing");
	if (!q->client_cert != !q->client_key)
		return error_set(err, 400, "lxd-dial: a client certificate and its key belong together");
	if ((q->flags & WIRE_DIAL_FETCH) && (q->client_cert || q->flags != WIRE_DIAL_FETCH))
		return error_set(err, 400, "lxd-dial: nothing of ours is shown to a server that nobody vouches for");
	return 0;
}

int dial_request_read(int control, struct dial_request *ret, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	uint32_t magic;
	int r = wire_recv(control, &m);

	if (r <= 0)
		return error_set(err, 500, "lxd-dial is started by lxd and lxc: it needs a request");
	magic = wire_get_u32(&m.reader);
	ret->flags = wire_get_u32(&m.reader);
	ret->host = wire_get_str(&m.reader);
	ret->port = wire_get_u32(&m.reader);
	ret->proxy = wire_get_str(&m.reader);
	ret->ca_pem = wire_get_str(&m.reader);
	wire_get_list(&m.reader, &ret->pins);
	ret->client_cert = wire_get_str(&m.reader);
	ret->client_key = wire_get_str(&m.reader);
	ret->timeout_ms = wire_get_u32(&m.reader);
	/* the key is in here */
	explicit_bzero(m.data, m.len);
	if (!wire_done(&m.reader) || magic != WIRE_DIAL_MAGIC)
		return error_set(err, 500, "lxd-dial: malformed request");
	if (ret->timeout_ms == 0 || ret->timeout_ms > TIMEOUT_MAX_MS)
		ret->timeout_ms = TIMEOUT_MAX_MS;
	return check(ret, err);
}

int dial_reply_send(int control, const struct dial_reply *reply, const struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	wire_put_u32(&b, WIRE_DIAL_MAGIC);
	wire_put_str(&b, reply->leaf_pem);
	wire_put_str(&b, reply->fingerprint);
	wire_put_u32(&b, reply->accepted_by);
	wire_put_str(&b, reply->version);
	wire_put_str(&b, reply->cipher);
	wire_put_u32(&b, err->status != 0);
	if (err->status)
		wire_put_error(&b, err);
	return wire_send(control, &b, NULL, 0);
}
