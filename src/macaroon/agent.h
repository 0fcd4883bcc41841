/* Programs as users of an identity provider ("agents"): who holds a private key shows that he does. No I/O. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "macaroon/bakery.h"

/*
 * @login is the macaroon, with its payloads, that the provider gives whoever says that he is the agent with the public
 * half of @key: caveats for the location `local`, condition `true`, that only the secret half can discharge. The token
 * that it takes then, a macaroon and its bound discharges in binary form, is appended to @ret. 400 for what is
 * malformed or for another key; 403 for a caveat that is another's, or a condition that is not `true`.
 */
int agent_token(const struct json *login, const struct bakery_key *key, struct strbuf *ret, struct error *err);
