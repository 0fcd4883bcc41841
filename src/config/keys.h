/*
 * Configuration keys: one row per key says what values it takes, what it does and whether a change reaches a
 * running instance. What has no row does not exist; what the reference has and we do not yet is a row marked so.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/strmap.h"

enum config_scope {
	CONFIG_SCOPE_SERVER,
	CONFIG_SCOPE_INSTANCE, /* with volatile.* and image.* */
	CONFIG_SCOPE_PROFILE,  /* rows of instances, without volatile.* and image.* */
	CONFIG_SCOPE_POOL,
	CONFIG_SCOPE_PROJECT,
	CONFIG_SCOPE_NETWORK,
	CONFIG_SCOPE_COUNT,
};

enum config_type {
	CONFIG_STRING,
	CONFIG_BOOL,
	CONFIG_INT,          /* 64 bits, signed */
	CONFIG_UINT32,       /* 0 to 4294967295 */
	CONFIG_SIZE,         /* bytes with an optional suffix */
	CONFIG_SIZE_PERCENT, /* the same, or "50%" */
	CONFIG_ENUM,         /* one of key.values */
	CONFIG_LIST,         /* comma separated */
	CONFIG_CPUSET,       /* "3", a count, or "0-3,7" */
	CONFIG_OCTAL,        /* file mode */
	CONFIG_PATH,         /* absolute path */
};

enum config_flags {
	CONFIG_LIVE = 1 << 0,          /* a change takes effect on a running instance */
	CONFIG_INSTANCE_ONLY = 1 << 1, /* not in profiles */
	CONFIG_LATER =
		1 << 2, /* known, but this server cannot do it yet: any value is refused, by check() or plainly */
	CONFIG_MULTILINE = 1 << 3, /* line breaks and tabs are part of the value */
	CONFIG_SECRET = 1 << 4,    /* shown as the boolean true, kept out of logs */
};

struct config_key {
	const char *name; /* whole name, or a prefix that ends in ".*" */
	enum config_type type;
	const char *def; /* text for the documentation; NULL: none */
	unsigned flags;  /* enum config_flags */
	/* What the type does not say; NULL: nothing more. @key is the whole name; @value is not empty. */
	int (*check)(const char *key, const char *value, struct error *err);
	const char *const *values; /* CONFIG_ENUM: NULL-terminated */
	const char *doc;
	/* Prefix rows: may this text stand in for the star? NULL: any. What may not is an unknown key. */
	bool (*fits)(const char *rest);
};

/* Row of @name in a table that ends with a row without name, or NULL. An exact name wins over a prefix. */
const struct config_key *config_key_in(const struct config_key *rows, const char *name);
/* Row of @name in @scope, or NULL. */
const struct config_key *config_key_find(enum config_scope scope, const char *name);
/* Does a change of this key take effect on a running instance? False for unknown keys. */
bool config_key_is_live(enum config_scope scope, const char *name);
/* Call @fn for each row of @scope, in the order of the table. */
void config_keys_each(enum config_scope scope, void (*fn)(const struct config_key *key, void *arg), void *arg);
/* "string", "bool" ...: for the documentation. */
const char *config_type_name(enum config_type type);

/*
 * Check one value by its row; "" is unset and always fits. Errors: 400, naming value and key.
 */
int config_check_value(const struct config_key *key, const char *name, const char *value, struct error *err);
/*
 * Check every key of @config: 400 `Unknown configuration key: foo`, for the server `cannot set 'foo' to 'x': unknown
 * key`; keys for later: `Configuration key "foo" is not supported by this server yet`.
 */
int config_validate(enum config_scope scope, const struct strmap *config, struct error *err);
/*
 * The same for the network @name: 400 `Invalid option for network "NET" option "KEY"`, `Invalid value for network "NET"
 * option "KEY": REASON`.
 */
int config_validate_network(const char *name, const struct strmap *config, struct error *err);
