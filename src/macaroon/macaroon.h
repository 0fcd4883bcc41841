/*
 * Macaroons: tickets whose holder can add conditions but take none away. A chain of HMAC-SHA256 over an identifier and
 * caveats; a third-party caveat is met by a discharge, a macaroon by whoever knows the caveat's root key. Nothing here
 * does I/O or looks at a clock. "Macaroons: Cookies with Contextual Caveats for Decentralized Authorization in the
 * Cloud" (NDSS 2014); formats as libmacaroons has them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/strbuf.h"
#include "base/strv.h"

#define MACAROON_SIG 32
#define MACAROON_ROOT_KEY 24 /* bytes of the root keys that we make */
#define MACAROON_NONCE 24
#define MACAROON_SLICE_MAX 16 /* macaroons in one ticket */
#define MACAROON_CAVEATS_MAX 64
#define MACAROON_TEXT_MAX (64u << 10) /* bytes of a ticket in any form */

struct macaroon_caveat {
	struct strbuf id;  /* of a first-party one: the condition itself */
	struct strbuf vid; /* empty: first party */
	char *location;    /* NULL: none */
};

struct macaroon {
	char *location; /* NULL: none; not signed */
	struct strbuf id;
	struct macaroon_caveat *caveats;
	size_t n;
	unsigned char sig[MACAROON_SIG];
};

#define MACAROON_INIT ((struct macaroon){0})
#define auto_macaroon CLEANUP(macaroon_done)
void macaroon_done(struct macaroon *m);

/* A primary macaroon and its discharges. */
struct macaroon_slice {
	struct macaroon *items;
	size_t n;
};

#define MACAROON_SLICE_INIT ((struct macaroon_slice){0})
#define auto_macaroon_slice CLEANUP(macaroon_slice_done)
void macaroon_slice_done(struct macaroon_slice *s);
/* Append @m, whose content is taken. */
void macaroon_slice_take(struct macaroon_slice *s, struct macaroon *m);

/* --- making --- */

/* @ret must be empty. @location may be NULL. */
void macaroon_new(struct macaroon *ret, const void *root, size_t root_len, const void *id, size_t id_len,
		  const char *location);
/* A condition for whoever verifies. */
void macaroon_add_condition(struct macaroon *m, const char *condition);
/* One that another party has to discharge: whoever gets @root (in the payload that @id stands for) can. */
void macaroon_add_third_party(struct macaroon *m, const void *root, size_t root_len, const void *id, size_t id_len,
			      const char *location, const unsigned char nonce[MACAROON_NONCE]);
/* Make @discharge good for @primary alone. */
void macaroon_bind(const struct macaroon *primary, struct macaroon *discharge);

/* --- verifying --- */

/*
 * Is @s, bound, made with @root? All first-party conditions of all macaroons are appended to @ret, for the caller to
 * check: each must hold. Every discharge must be used exactly once. Signatures are compared in constant time. 403.
 */
int macaroon_verify(const struct macaroon_slice *s, const void *root, size_t root_len, struct strv *ret,
		    struct error *err);

/* --- formats; whatever does not fit is 400, and @ret stays empty --- */

/* Version 1 or 2 in JSON, or a string that is the binary form in base64. */
int macaroon_from_json(const struct json *j, struct macaroon *ret, struct error *err);
/* Version 2. */
void macaroon_to_json(const struct macaroon *m, struct jsonw *w);
/* Version 1 or 2; *@ret_used is how many bytes it took. */
int macaroon_from_binary(const void *data, size_t len, struct macaroon *ret, size_t *ret_used, struct error *err);
/* Version 2, appended. */
void macaroon_to_binary(const struct macaroon *m, struct strbuf *b);
/* base64 (either alphabet) of a JSON array or of concatenated binary macaroons: a cookie's value. */
int macaroon_slice_from_text(const char *text, struct macaroon_slice *ret, struct error *err);
/* A JSON array in standard base64; the caller frees. */
char *macaroon_slice_to_text(const struct macaroon_slice *s);

/* base64 of either alphabet, with padding or without; -EINVAL. */
int base64_any_decode(const char *text, struct strbuf *ret) MUST_USE;
/* The URL alphabet, without padding; the caller frees. */
char *base64_url_encode(const void *data, size_t len);
