#include "gate/settings.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "gate/sign.h"
#include "tls/policy.h"

#define CHAIN_LEN_MAX 8u

void settings_message_done(struct settings_message *m)
{
	free(m->chain);
	strbuf_done(&m->ca);
	strbuf_done(&m->crl);
}

/* A blob, or a NULL text, which says the same as an empty one. */
static void get_bytes(struct wire_reader *r, struct strbuf *ret)
{
	struct wire_reader peek = *r;
	const void *data;
	size_t len;

	if (wire_get_u32(&peek) == UINT32_MAX && !peek.bad) {
		*r = peek;
		return;
	}
	data = wire_get_blob(r, &len);
	if (data)
		strbuf_append_len(ret, data, len);
}

bool settings_message_decode(struct wire_reader *r, struct settings_message *ret)
{
	uint32_t magic = wire_get_u32(r);

	ret->chain = wire_get_str(r);
	get_bytes(r, &ret->ca);
	get_bytes(r, &ret->crl);
	ret->threads = wire_get_u32(r);
	return wire_done(r) && magic == WIRE_GATE_MAGIC && ret->chain && ret->threads >= 1 &&
	       ret->threads <= WIRE_SIGNER_THREADS_MAX && strlen(ret->chain) <= WIRE_GATE_CHAIN_MAX;
}

static int tls_error(struct error *err, const char *what, int code)
{
	return error_set(err, 500, "%s: %s", what, gnutls_strerror(code));
}

static int read_chain(const char *pem, gnutls_pcert_st *chain, unsigned *len, struct error *err)
{
	gnutls_datum_t data = {.data = (unsigned char *)(uintptr_t)pem, .size = (unsigned)strlen(pem)};
	int r = gnutls_pcert_list_import_x509_raw(chain, len, &data, GNUTLS_X509_FMT_PEM, 0);

	return r < 0 ? tls_error(err, "The server's certificate cannot be read", r) : 0;
}

/* Certificate and key. The key signs only in handshakes: whether the two belong together the signer has seen. */
static int load_pair(struct settings *s, const char *pem, struct error *err)
{
	gnutls_pcert_st chain[CHAIN_LEN_MAX];
	unsigned len = CHAIN_LEN_MAX;
	gnutls_privkey_t key = NULL;
	int r = read_chain(pem, chain, &len, err);

	if (r < 0)
		return r;
	s->key_kind = gnutls_pubkey_get_pk_algorithm(chain[0].pubkey, &s->key_bits);
	r = sign_key_new(s, &key);
	/* from here the credentials own both */
	if (r >= 0)
		r = gnutls_certificate_set_key(s->cred, NULL, 0, chain, (int)len, key);
	if (r >= 0)
		return 0;
	for (unsigned i = 0; i < len; i++)
		gnutls_pcert_deinit(&chain[i]);
	if (key)
		gnutls_privkey_deinit(key);
	return tls_error(err, "The server's certificate cannot be used", r);
}

static int prepare(struct settings *s, struct error *err)
{
	const char *at = NULL;
	int r = gnutls_priority_init(&s->priority, TLS_PRIORITY_SERVER, &at);

	if (r >= 0)
		r = gnutls_certificate_allocate_credentials(&s->cred);
	if (r < 0)
		return tls_error(err, "Prepare TLS", r);
	gnutls_certificate_set_flags(s->cred, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
	return 0;
}

static int fill(struct settings *s, const struct settings_message *m, struct error *err)
{
	int r = prepare(s, err);

	if (r == 0)
		r = pki_new(m->ca.data, m->ca.len, m->crl.data, m->crl.len, &s->pki, err);
	if (r < 0)
		return r;
	r = pki_announce(s->pki, s->cred);
	if (r < 0)
		return tls_error(err, "Use the CA file", r);
	wire_put_blob(&s->pki_bytes, m->ca.data, m->ca.len);
	wire_put_blob(&s->pki_bytes, m->crl.data, m->crl.len);
	return load_pair(s, m->chain, err);
}

static int take_signers(struct settings *s, struct wire_message *m, struct error *err)
{
	for (unsigned i = 0; i < s->threads; i++) {
		if (m->fds[i] < 0)
			return error_set(err, 500, "There are fewer signer sockets than threads");
		s->signers[i] = TAKE_FD(m->fds[i]);
	}
	return 0;
}

int settings_new(struct wire_message *m, struct settings **ret, struct error *err)
{
	CLEANUP(settings_message_done) struct settings_message msg = {0};
	CLEANUP(settings_unrefp) struct settings *s = xnew(struct settings);
	int r;

	atomic_init(&s->refs, 1);
	for (unsigned i = 0; i < WIRE_SIGNER_THREADS_MAX; i++)
		s->signers[i] = -EBADF;
	if (!settings_message_decode(&m->reader, &msg))
		return error_set(err, 500, "The configuration is malformed");
	s->threads = msg.threads;
	r = take_signers(s, m, err);
	if (r == 0)
		r = fill(s, &msg, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct settings *settings_ref(struct settings *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void settings_unref(struct settings *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	if (s->cred)
		gnutls_certificate_free_credentials(s->cred);
	if (s->priority)
		gnutls_priority_deinit(s->priority);
	pki_free(s->pki);
	for (unsigned i = 0; i < WIRE_SIGNER_THREADS_MAX; i++)
		fd_close(s->signers[i]);
	strbuf_done(&s->pki_bytes);
	free(s);
}
