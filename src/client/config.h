/* The client's own configuration: config.yml with remotes and aliases, and the built-in remotes. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/strmap.h"
#include "base/strv.h"

struct cli_config {
	char *path; /* of config.yml */
	bool exists;
	char *default_remote;
	struct mapmap remotes; /* keys addr, protocol, public, project, auth_type, domain */
	struct strmap aliases;
};

/* Read it; a missing file gives the defaults. @force_local: only the built-in `local`. */
int cli_config_load(bool force_local, struct cli_config **ret, struct error *err);
/* Replace the file atomically. */
int cli_config_save(struct cli_config *c, struct error *err);
void cli_config_free(struct cli_config *c);
DEFINE_CLEANUP(struct cli_config *, cli_config_free)
#define auto_cli_config CLEANUP(cli_config_freep)
/* True for remotes that are built in and cannot be changed. */
bool cli_config_is_static(const char *remote);
/* $LXC_REMOTE, or the configured default; borrowed. */
const char *cli_config_default_remote(const struct cli_config *c);
/*
 * Replace leading words of @args that are an alias: @ARGS@ and @ARG1@... take the rest, which is appended otherwise.
 * True when something was replaced.
 */
bool cli_config_expand_alias(const struct cli_config *c, const struct strv *args, struct strv *ret);
