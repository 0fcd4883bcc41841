/*
 * The call waits: a signature takes less than a millisecond, and the signer does nothing else. A signer that does not
 * answer in time is not asked again until a new CONFIG brings another.
 */
#include "gate/sign.h"

#include <gnutls/crypto.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"

#define ANSWER_MS 2000
#define ANSWER_MAX 4096 /* bytes; a signature of RSA 16384 has 2048 */

static _Thread_local unsigned thread_index;

void settings_thread_is(unsigned index)
{
	thread_index = index;
}

/* What our wire calls an algorithm of GnuTLS; 0: we have no such. */
static uint32_t wire_algorithm(gnutls_sign_algorithm_t algorithm)
{
	switch (algorithm) {
	case GNUTLS_SIGN_ECDSA_SHA256:
	case GNUTLS_SIGN_ECDSA_SECP256R1_SHA256:
		return WIRE_SIGN_ECDSA_SHA256;
	case GNUTLS_SIGN_ECDSA_SHA384:
	case GNUTLS_SIGN_ECDSA_SECP384R1_SHA384:
		return WIRE_SIGN_ECDSA_SHA384;
	case GNUTLS_SIGN_ECDSA_SHA512:
	case GNUTLS_SIGN_ECDSA_SECP521R1_SHA512:
		return WIRE_SIGN_ECDSA_SHA512;
	case GNUTLS_SIGN_RSA_PSS_RSAE_SHA256:
		return WIRE_SIGN_RSA_PSS_SHA256;
	case GNUTLS_SIGN_RSA_PSS_RSAE_SHA384:
		return WIRE_SIGN_RSA_PSS_SHA384;
	case GNUTLS_SIGN_RSA_PSS_RSAE_SHA512:
		return WIRE_SIGN_RSA_PSS_SHA512;
	case GNUTLS_SIGN_RSA_SHA256:
		return WIRE_SIGN_RSA_SHA256;
	case GNUTLS_SIGN_RSA_SHA384:
		return WIRE_SIGN_RSA_SHA384;
	case GNUTLS_SIGN_RSA_SHA512:
		return WIRE_SIGN_RSA_SHA512;
	case GNUTLS_SIGN_EDDSA_ED25519:
		return WIRE_SIGN_ED25519;
	default:
		return 0;
	}
}

static bool answer_arrives(int sock)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};
	int r;

	do
		r = poll(&p, 1, ANSWER_MS);
	while (r < 0 && errno == EINTR);
	return r > 0;
}

/* The signature in an answer, as memory that GnuTLS frees. */
static int take_answer(const unsigned char *data, size_t len, gnutls_datum_t *ret)
{
	struct wire_reader r = {.data = data, .len = len};
	uint32_t type = wire_get_u32(&r), status = wire_get_u32(&r);
	size_t size;
	const void *signature = wire_get_blob(&r, &size);

	if (!wire_done(&r) || type != WIRE_SIGNED || status || !signature)
		return GNUTLS_E_PK_SIGN_FAILED;
	ret->data = gnutls_malloc(size);
	if (!ret->data)
		return GNUTLS_E_MEMORY_ERROR;
	memcpy(ret->data, signature, size);
	ret->size = (unsigned)size;
	return 0;
}

static int ask(int *sock, uint32_t algorithm, const void *digest, size_t len, gnutls_datum_t *ret)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	unsigned char answer[ANSWER_MAX];
	ssize_t n = -1;

	if (*sock < 0 || algorithm == 0)
		return GNUTLS_E_PK_SIGN_FAILED;
	wire_put_u32(&b, WIRE_SIGN);
	wire_put_u32(&b, algorithm);
	wire_put_blob(&b, digest, len);
	if (send(*sock, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)b.len && answer_arrives(*sock))
		n = recv(*sock, answer, sizeof(answer), MSG_DONTWAIT | MSG_TRUNC);
	if (n <= 0 || n > (ssize_t)sizeof(answer)) {
		/* an answer that comes late must not be taken for that of the next question */
		*sock = fd_close(*sock);
		return GNUTLS_E_PK_SIGN_FAILED;
	}
	return take_answer(answer, (size_t)n, ret);
}

/* RSA of PKCS #1 1.5: what comes is the digest with its algorithm in front, in DER. */
static int ask_digest_info(int *sock, const gnutls_datum_t *info, gnutls_datum_t *ret)
{
	gnutls_digest_algorithm_t hash = GNUTLS_DIG_UNKNOWN;
	unsigned char digest[64];
	unsigned len = sizeof(digest);
	int r = gnutls_decode_ber_digest_info(info, &hash, digest, &len);
	uint32_t algorithm = hash == GNUTLS_DIG_SHA256   ? WIRE_SIGN_RSA_SHA256
			     : hash == GNUTLS_DIG_SHA384 ? WIRE_SIGN_RSA_SHA384
			     : hash == GNUTLS_DIG_SHA512 ? WIRE_SIGN_RSA_SHA512
							 : 0;

	return r < 0 ? GNUTLS_E_PK_SIGN_FAILED : ask(sock, algorithm, digest, len, ret);
}

static int sign_hash(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *arg, unsigned flags,
		     const gnutls_datum_t *hash, gnutls_datum_t *ret)
{
	struct settings *s = arg;
	int *sock = &s->signers[thread_index];

	(void)key;
	(void)flags;
	if (algorithm == GNUTLS_SIGN_RSA_RAW)
		return ask_digest_info(sock, hash, ret);
	return ask(sock, wire_algorithm(algorithm), hash->data, hash->size, ret);
}

/* For the kinds that hash by themselves. */
static int sign_data(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *arg, unsigned flags,
		     const gnutls_datum_t *data, gnutls_datum_t *ret)
{
	struct settings *s = arg;
	gnutls_digest_algorithm_t hash = gnutls_sign_get_hash_algorithm(algorithm);
	unsigned char digest[64];
	gnutls_datum_t d = {.data = digest, .size = gnutls_hash_get_len(hash)};

	if (algorithm == GNUTLS_SIGN_EDDSA_ED25519)
		return ask(&s->signers[thread_index], WIRE_SIGN_ED25519, data->data, data->size, ret);
	if (d.size == 0 || d.size > sizeof(digest) || gnutls_hash_fast(hash, data->data, data->size, digest) < 0)
		return GNUTLS_E_PK_SIGN_FAILED;
	return sign_hash(key, algorithm, arg, flags, &d, ret);
}

static int info(gnutls_privkey_t key, unsigned flags, void *arg)
{
	const struct settings *s = arg;
	gnutls_sign_algorithm_t algorithm = GNUTLS_FLAGS_TO_SIGN_ALGO(flags);

	(void)key;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO)
		return s->key_kind;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS)
		return (int)s->key_bits;
	if (flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO)
		return wire_algorithm(algorithm) != 0 &&
		       (gnutls_sign_supports_pk_algorithm(algorithm, (gnutls_pk_algorithm_t)s->key_kind) != 0);
	return -1;
}

int sign_key_new(struct settings *s, gnutls_privkey_t *ret)
{
	int r = gnutls_privkey_init(ret);

	if (r >= 0)
		r = gnutls_privkey_import_ext4(*ret, s, sign_data, sign_hash, NULL, NULL, info, 0);
	return r;
}
