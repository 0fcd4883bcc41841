/* Who a caller is, and the one decision whether it may do something. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum permission {
	PERM_INVALID, /* a route row without a permission: the router refuses to start */
	PERM_ANYONE,  /* also untrusted callers: the handler does its own checks */
	PERM_TRUSTED, /* any caller we know; the handler shows each what is its own */
	PERM_METRICS, /* /1.0/metrics */
	/* in a project; roles.c has their names on the wire, and which role holds which */
	PERM_PROJECT_VIEW,
	PERM_INSTANCE_USE,  /* life cycle, exec, snapshots */
	PERM_INSTANCE_EDIT, /* create, change, delete */
	PERM_IMAGE_EDIT,
	PERM_NETWORK_EDIT,
	PERM_PROFILE_EDIT,
	PERM_VOLUME_EDIT,
	PERM_PROJECT_EDIT, /* the project's own configuration */
	PERM_ADMIN,        /* the server's administrators: full certificates and the local socket */
	PERM_INTERNAL,     /* the local administrator's tools only */
	PERM_MAX,
};

enum identity_kind {
	IDENTITY_NONE,    /* nobody we know */
	IDENTITY_LOCAL,   /* came through the UNIX socket: root-equivalent */
	IDENTITY_TLS,     /* a trusted certificate of type client */
	IDENTITY_METRICS, /* a trusted certificate of type metrics: /1.0/metrics only */
	IDENTITY_CANDID,  /* a user whom the identity provider vouches for */
};

struct access;

#define IDENTITY_USER_MAX 255

/* Copied by value into operations and sessions: nothing in it is owned. */
struct identity {
	enum identity_kind kind;
	uid_t uid;            /* IDENTITY_LOCAL */
	char fingerprint[65]; /* IDENTITY_TLS, IDENTITY_METRICS; "" otherwise. Also of strangers that showed a
				 certificate */
	char user[IDENTITY_USER_MAX + 1]; /* IDENTITY_CANDID: the provider's name for it */
	bool restricted;                  /* of certificates: it may do only what @access says */
	struct access *access; /* the register of rights, which lives as long as the daemon; NULL: it has none */
	uint64_t rights_seen;  /* access_seen() when the identity was made */
	unsigned login;        /* IDENTITY_CANDID: access_login() then */
	/* As the connection showed them, for judging it again: seconds since the epoch, enum wire_gate_verdict. */
	int64_t not_before, not_after;
	unsigned verdict;
	char address[64]; /* where the caller is, "192.0.2.1:4000"; "@" for the UNIX socket */
};

/* How it has shown who it is, as events and the audit log say: "unix", "tls", "candid", "none". */
const char *identity_protocol(const struct identity *id);
/* What tells callers of a kind apart: a user's name, a certificate's fingerprint; "" for others. */
const char *identity_name(const struct identity *id);
/* May do everything, everywhere. */
bool identity_is_admin(const struct identity *id);
/* The same caller: both local, the same certificate or the same user. Strangers are nobody's same. */
bool identity_equal(const struct identity *a, const struct identity *b);

/* May @id do @perm in @project (NULL: on the server)? Everything that is not allowed by a rule is refused. */
bool authorize(const struct identity *id, enum permission perm, const char *project);
