/* Tokens that add a client to a server: base64 of a small JSON object, made and read by clients. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strv.h"

struct trust_token {
	char *client_name;
	char *fingerprint; /* of the server's certificate, lower case */
	struct strv addresses;
	char *secret;
	char *expires_at; /* RFC 3339; Go's zero time: never */
};

#define TRUST_TOKEN_INIT ((struct trust_token){0})
#define auto_trust_token CLEANUP(trust_token_done)
/* Wipes the secret. */
void trust_token_done(struct trust_token *t);

/* -EINVAL for text that is no token. */
int trust_token_decode(const char *text, struct trust_token *ret) MUST_USE;
/* The token in its one text form; the caller frees. */
char *trust_token_encode(const struct trust_token *t);
/* From the operation (its object) that holds the token; -EINVAL when it is of another kind. */
int trust_token_from_operation(const struct json *operation, struct trust_token *ret) MUST_USE;
