/* The client's own configuration: config.yml with remotes and aliases, the built-in remotes, and the files beside it.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/strmap.h"
#include "base/strv.h"

struct cli_config {
	char *dir;        /* $LXD_CONF, or ~/.config/lxc */
	char *path;       /* of config.yml in it */
	char *global_dir; /* $LXD_GLOBAL_CONF, or /etc/lxd */
	bool exists;
	bool force_local;
	char *default_remote;
	struct mapmap remotes; /* keys addr, auth_type, domain, keepalive, project, protocol, public */
	struct strv global;    /* names of those that come from the global file */
	struct strmap aliases;
};

/* Read it; a missing file gives the defaults. @force_local: only the built-in `local`. */
int cli_config_load(bool force_local, struct cli_config **ret, struct error *err);
void cli_config_free(struct cli_config *c);
DEFINE_CLEANUP(struct cli_config *, cli_config_free)
#define auto_cli_config CLEANUP(cli_config_freep)

/* Changes @c; a negative result leaves the file alone. */
typedef int (*cli_config_change_fn)(struct cli_config *c, void *arg, struct error *err);
/*
 * Lock the folder (made when it is missing), read the file again, let @fn (may be NULL) change what was read, and
 * replace the file: what another `lxc` has written meanwhile is not lost.
 */
int cli_config_change(struct cli_config *c, cli_config_change_fn fn, void *arg, struct error *err);

/* The lock alone, for files beside config.yml; closing *@ret_fd ends it. The folder is made when it is missing. */
int cli_config_lock(const struct cli_config *c, int *ret_fd, struct error *err);

/* True for remotes that are built in and cannot be changed. */
bool cli_config_is_static(const char *remote);
/* True for those of the global file, which is never written. */
bool cli_config_is_global(const struct cli_config *c, const char *remote);
/* Text that a remote of this name cannot have, or NULL when the name is fine. */
const char *cli_config_bad_name(const char *remote);
/* $LXC_REMOTE, or the configured default; borrowed. */
const char *cli_config_default_remote(const struct cli_config *c);

/* Path of a file in the folder ("client.crt"), and of a remote's pinned certificate. The caller frees. */
char *cli_config_file(const struct cli_config *c, const char *name);
char *cli_config_pin_path(const struct cli_config *c, const char *remote);
/* Write or remove (@pem NULL) the pinned certificate of a remote of our own. */
int cli_config_set_pin(const struct cli_config *c, const char *remote, const char *pem, struct error *err);
/* The cookie jar of a remote; the caller frees. */
char *cli_config_jar_path(const struct cli_config *c, const char *remote);

/*
 * Replace leading words of @args that are an alias: @ARGS@ and @ARG1@... take the rest, which is appended otherwise.
 * True when something was replaced.
 */
bool cli_config_expand_alias(const struct cli_config *c, const struct strv *args, struct strv *ret);
