/* What clients send to /1.0/certificates, strangers among them: bodies, and the tokens that they give as a password. */
#pragma once

#include "base/json.h"
#include "base/jsonw.h"

struct certificate_body {
	char *name;
	char *type;
	bool restricted;
	struct strv projects;
	char *certificate; /* POST: base64 of the DER; PUT, PATCH: PEM */
	char *password;
	bool token;
};

/* For json_decode(). Changes know neither password nor token. */
extern const struct json_field certificate_post_fields[];
extern const struct json_field certificate_put_fields[];
/* Which fields of the second a body has. */
enum { GIVEN_NAME = 1 << 0, GIVEN_TYPE = 1 << 1, GIVEN_RESTRICTED = 1 << 2, GIVEN_PROJECTS = 1 << 3 };

/* Wipes the password. */
void certificate_body_done(struct certificate_body *b);
/* The object of a token's request: what certificate_post_fields reads back, without certificate and password. */
void certificate_body_write(const struct certificate_body *b, struct jsonw *w);

enum invitation { INVITATION_NONE, INVITATION_CLUSTER, INVITATION_ADD };

/*
 * Is @password one of the printable tokens: base64 of a JSON object with secret, fingerprint, addresses and, for
 * clients, client_name, for members of a cluster server_name? *@ret_secret is set with INVITATION_ADD alone; the caller
 * wipes and frees.
 */
enum invitation invitation_parse(const char *password, char **ret_secret);
