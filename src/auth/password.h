/*
 * The trust password: its hash, and the guard that makes guessing it useless. The guard knows nothing of configuration
 * or requests.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define PASSWORD_MAX 1024 /* bytes; longer ones are refused without work */

/* For storing: libsodium's argon2id string; the caller frees. 400 when it is empty or too long. */
int password_hash(const char *plain, char **ret, struct error *err);
/* Has @text the form that password_hash() gives? */
bool password_is_hash(const char *text);

struct password_guard;

struct password_stats {
	uint64_t evaluated; /* hashes computed */
	uint64_t throttled; /* attempts refused without one */
	uint64_t busy;      /* answered 503 */
	uint64_t sources;   /* addresses on record */
};

/* For tests: the clock, and what compares. NULL: the real ones. */
struct password_guard_spec {
	int64_t (*now_ms)(void *arg); /* monotonic */
	bool (*verify)(const char *hash, const char *plain, void *arg);
	void *arg;
};

/* Nobody has guessed yet. @spec (NULL: all real) is copied. */
struct password_guard *password_guard_new(const struct password_guard_spec *spec);
void password_guard_free(struct password_guard *g);

enum password_verdict {
	PASSWORD_RIGHT,
	PASSWORD_WRONG,     /* also when none is set: after the same work */
	PASSWORD_THROTTLED, /* not looked at */
	PASSWORD_BUSY,      /* too many are being looked at; not counted against the caller */
};

/*
 * Is @given the password whose hash is @hash (NULL or "": none is set)? @host is where the guess comes from, an address
 * without port. Blocks for as long as the hash takes, at most 18 of them.
 *
 * Each source (an IPv4 address, an IPv6 /64) has five failures in ten minutes, after that one attempt per 2, 4, ... 60
 * seconds; what it sends in between is not looked at. All sources together (those of private networks, of public IPv4
 * and of IPv6 apart, so that a flood from the Internet leaves the local network its chance) share 30 failures, which
 * come back at 12 a minute, at 2 a minute while an attack goes on; 10 more, 4 a minute, are kept for sources that have
 * not been seen in the last ten minutes, so that a newcomer gets a hearing while known ones hammer. Successes cost
 * nothing.
 */
enum password_verdict password_guard_check(struct password_guard *g, const char *hash, const char *host,
					   const char *given);
void password_guard_stats(struct password_guard *g, struct password_stats *ret);
