/* Shared by the files of src/candid. */
#pragma once

#include "base/thread.h"
#include "candid/candid.h"
#include "macaroon/bakery.h"

/* --- root keys (root_keys.c) --- */

struct root_keys;

/* Load what the database has. */
int root_keys_new(struct db *db, struct root_keys **ret, struct error *err);
void root_keys_free(struct root_keys *k);
/* The key that storage id @id (bytes) stands for, if it is still good; the caller wipes it. */
bool root_keys_find(struct root_keys *k, const struct strbuf *id, int64_t now_ns, struct strbuf *ret);
/* One to mint with, for tickets that are good for @expiry_ns: the newest, or a new one. */
int root_keys_pick(struct root_keys *k, int64_t now_ns, int64_t expiry_ns, struct strbuf *ret_id,
		   struct strbuf *ret_key, struct error *err);
/* From now on none of them is good. */
void root_keys_forget(struct root_keys *k);

/* --- the provider's public key (provider.c) --- */

struct provider;

/* One without an address: it cannot be asked. */
struct provider *provider_new(void);
void provider_free(struct provider *p);
/* @key: NULL: it is to be asked for. Proxies as core.proxy_https and core.proxy_ignore_hosts have them. */
void provider_set(struct provider *p, const char *url, const unsigned char *key, const char *proxy,
		  const char *no_proxy);
/*
 * Its key and the version of the protocol that it speaks. Asks it when that is not known: others wait for the same
 * answer, and for some seconds after a failure nobody asks. Errors: 503.
 */
int provider_key(struct provider *p, unsigned char ret[BAKERY_KEY], unsigned *ret_version, struct error *err);
/* What GET /discharge/info or /publickey answered. 503. */
int provider_read_key(const char *text, size_t len, unsigned char ret[BAKERY_KEY], unsigned *ret_version,
		      struct error *err);
