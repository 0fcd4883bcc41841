#include "signer/key.h"

#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire_gate.h"

#define RSA_BITS_MIN 2048u
#define RSA_BITS_MAX 16384u
#define MESSAGE_MAX 1024u /* bytes of a handshake that Ed25519 signs at once */
#define KEY_ID_SIZE 32

struct signer_key {
	gnutls_privkey_t key;
	int kind; /* gnutls_pk_algorithm_t */
};

struct algorithm {
	int kind;
	gnutls_sign_algorithm_t sign;
	unsigned digest_len; /* 0: a message */
};

static const struct algorithm algorithms[WIRE_SIGN_MAX] = {
	[WIRE_SIGN_ECDSA_SHA256] = {GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA256, 32},
	[WIRE_SIGN_ECDSA_SHA384] = {GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA384, 48},
	[WIRE_SIGN_ECDSA_SHA512] = {GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA512, 64},
	[WIRE_SIGN_RSA_PSS_SHA256] = {GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, 32},
	[WIRE_SIGN_RSA_PSS_SHA384] = {GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA384, 48},
	[WIRE_SIGN_RSA_PSS_SHA512] = {GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA512, 64},
	[WIRE_SIGN_RSA_SHA256] = {GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA256, 32},
	[WIRE_SIGN_RSA_SHA384] = {GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA384, 48},
	[WIRE_SIGN_RSA_SHA512] = {GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA512, 64},
	[WIRE_SIGN_ED25519] = {GNUTLS_PK_EDDSA_ED25519, GNUTLS_SIGN_EDDSA_ED25519, 0},
};

static int read_key(struct signer_key *k, const void *pem, size_t len, struct error *err)
{
	gnutls_datum_t data = {.data = (unsigned char *)(uintptr_t)pem, .size = (unsigned)len};
	int r = gnutls_privkey_init(&k->key);

	if (r >= 0)
		r = gnutls_privkey_import_x509_raw(k->key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
	return r < 0 ? error_set(err, 400, "The private key cannot be read: %s", gnutls_strerror(r)) : 0;
}

static bool is_known_curve(gnutls_privkey_t key)
{
	gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
	gnutls_datum_t x = {0}, y = {0}, k = {0};
	int r = gnutls_privkey_export_ecc_raw2(key, &curve, &x, &y, &k, 0);

	if (k.data)
		explicit_bzero(k.data, k.size);
	gnutls_free(x.data);
	gnutls_free(y.data);
	gnutls_free(k.data);
	return r >= 0 && (curve == GNUTLS_ECC_CURVE_SECP256R1 || curve == GNUTLS_ECC_CURVE_SECP384R1 ||
			  curve == GNUTLS_ECC_CURVE_SECP521R1);
}

static int check_kind(struct signer_key *k, struct error *err)
{
	unsigned bits = 0;

	k->kind = gnutls_privkey_get_pk_algorithm(k->key, &bits);
	switch (k->kind) {
	case GNUTLS_PK_RSA:
		if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
			return error_set(err, 400, "The private key has %u bits; RSA keys need %u to %u", bits,
					 RSA_BITS_MIN, RSA_BITS_MAX);
		return 0;
	case GNUTLS_PK_ECDSA:
		if (!is_known_curve(k->key))
			return error_set(err, 400, "The private key is on a curve other than P-256, P-384 and P-521");
		return 0;
	case GNUTLS_PK_EDDSA_ED25519:
		return 0;
	default:
		return error_set(err, 400, "The private key is neither RSA nor EC nor Ed25519");
	}
}

static int id_of_key(gnutls_privkey_t key, unsigned char id[KEY_ID_SIZE])
{
	size_t len = KEY_ID_SIZE;
	gnutls_pubkey_t public;
	int r = gnutls_pubkey_init(&public);

	if (r < 0)
		return r;
	r = gnutls_pubkey_import_privkey(public, key, 0, 0);
	if (r >= 0)
		r = gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, id, &len);
	gnutls_pubkey_deinit(public);
	return r;
}

static int id_of_chain(const void *chain, size_t chain_len, unsigned char id[KEY_ID_SIZE])
{
	gnutls_datum_t data = {.data = (unsigned char *)(uintptr_t)chain, .size = (unsigned)chain_len};
	size_t len = KEY_ID_SIZE;
	gnutls_x509_crt_t crt;
	int r = gnutls_x509_crt_init(&crt);

	if (r < 0)
		return r;
	r = gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_PEM);
	if (r >= 0)
		r = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, id, &len);
	gnutls_x509_crt_deinit(crt);
	return r;
}

static int check_match(struct signer_key *k, const void *chain, size_t chain_len, struct error *err)
{
	unsigned char ours[KEY_ID_SIZE], theirs[KEY_ID_SIZE];
	int r = id_of_key(k->key, ours);

	if (r < 0)
		return error_set(err, 400, "The private key cannot be used: %s", gnutls_strerror(r));
	r = id_of_chain(chain, chain_len, theirs);
	if (r < 0)
		return error_set(err, 400, "The certificate cannot be read: %s", gnutls_strerror(r));
	if (memcmp(ours, theirs, sizeof(ours)) != 0)
		return error_set(err, 400, "The private key is not that of the certificate");
	return 0;
}

int signer_key_new(const void *pem, size_t pem_len, const void *chain, size_t chain_len, struct signer_key **ret,
		   struct error *err)
{
	struct signer_key *k = xnew(struct signer_key);
	int r = read_key(k, pem, pem_len, err);

	if (r == 0)
		r = check_kind(k, err);
	if (r == 0)
		r = check_match(k, chain, chain_len, err);
	if (r < 0) {
		signer_key_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void signer_key_free(struct signer_key *k)
{
	if (!k)
		return;
	if (k->key)
		gnutls_privkey_deinit(k->key);
	free(k);
}

int signer_key_sign(struct signer_key *k, unsigned algorithm, const void *digest, size_t len, gnutls_datum_t *ret)
{
	gnutls_datum_t data = {.data = (unsigned char *)(uintptr_t)digest, .size = (unsigned)len};
	const struct algorithm *a;
	int r;

	if (algorithm == 0 || algorithm >= WIRE_SIGN_MAX)
		return -EINVAL;
	a = &algorithms[algorithm];
	if (a->kind != k->kind || len == 0 || (a->digest_len ? len != a->digest_len : len > MESSAGE_MAX))
		return -EINVAL;
	*ret = (gnutls_datum_t){0};
	if (a->digest_len)
		r = gnutls_privkey_sign_hash2(k->key, a->sign, 0, &data, ret);
	else
		r = gnutls_privkey_sign_data2(k->key, a->sign, 0, &data, ret);
	return r < 0 ? -EIO : 0;
}
