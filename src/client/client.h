/*
 * The framework of the `lxc` program: command rows, the context a command runs in, connections to remotes, waiting
 * for operations, printing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "base/strv.h"
#include "client/config.h"
#include "http/client_api.h"

struct cli;

/* Runs a command; the arguments' number has been checked. */
typedef int (*command_fn)(struct cli *c, struct error *err);

struct command {
	const char *name;
	const char *alias;                     /* a second name, or NULL */
	const char *args;                      /* as the usage line shows them */
	unsigned min_args, max_args;           /* COMMAND_ANY: no limit */
	const struct option_row *options;      /* may be NULL */
	const struct command *const *children; /* a group of commands, NULL-terminated; then .run is NULL */
	command_fn run;
	const char *doc;  /* one line */
	const char *more; /* further paragraphs of the help, or NULL */
	bool hidden;      /* not in the list of commands without --all */
};

#define COMMAND_ANY (~0u)

/* The context of the command that runs. */
struct cli {
	const struct command *root;
	const struct command *command;
	char *path; /* "lxc config set" */
	struct options *options;
	struct cli_config *config;
	struct cli_connection *connections;
	size_t connection_count;
	int exit_code; /* of the process when the command succeeds */
};

extern const struct option_row global_options[];

/* The n-th argument, or NULL; borrowed. */
const char *cli_arg(const struct cli *c, size_t n);
size_t cli_argc(const struct cli *c);
bool cli_quiet(const struct cli *c);
/* Standard output is a terminal and progress is wanted. */
bool cli_shows_progress(const struct cli *c);

/* An argument "[remote:]name" resolved: see spec of names in remote.c. */
struct target {
	char *remote;
	char *name;      /* "" when only a remote was given */
	struct api *api; /* borrowed from the context; NULL before target_connect() */
};

#define TARGET_INIT ((struct target){0})
#define auto_target CLEANUP(target_done)
void target_done(struct target *t);
/* Split @text (NULL: the default remote, no name) without connecting. 404 for an unknown remote. */
int target_parse(struct cli *c, const char *text, struct target *ret, struct error *err);
int target_connect(struct cli *c, struct target *t, struct error *err);
/* Both at once. */
int target_open(struct cli *c, const char *text, struct target *ret, struct error *err);
/* The same, and an empty name is an error that says what is missing ("instance"). */
int target_open_named(struct cli *c, const char *text, const char *kind, struct target *ret, struct error *err);

/* Wait for the operation of @reply (nothing to do for a synchronous one): progress, Ctrl-C. @ret_op may be NULL. */
int cli_wait(struct cli *c, struct api *a, const struct api_reply *reply, struct json **ret_op, struct error *err);
/* One request and its operation. */
int cli_do(struct cli *c, struct api *a, const char *method, const char *path, const char *body, const char *etag,
	   struct error *err);

/* "/1.0/instances/NAME" from a printf-like format whose %s are percent-encoded; the caller frees. */
char *cli_url(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Print @j as YAML on standard output. */
int cli_print_yaml(const struct json *j, unsigned flags, struct error *err);
/* Print text that may hold control characters: all but newline and tab are made visible. */
void cli_print_safe(const char *text);
/* A printf-like message on standard error; on a terminal the control characters of the server's text are visible. */
void cli_complain(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* The same on standard output. */
void cli_say(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* For api.debug: the line on standard error, like cli_complain(), without passwords and other secrets. */
void cli_debug(const char *line);
/* All of standard input. */
int cli_read_stdin(struct strbuf *ret, struct error *err);
/* True when standard input is no terminal. */
bool cli_stdin_is_piped(void);
/* "2026/11/23 17:44 UTC"; the caller frees. Text that is no time comes back as it is. */
char *cli_format_time(const char *rfc3339);
/* The same for image tables: "Nov 23, 2026 at 5:44pm (UTC)". */
char *cli_format_time_long(const char *rfc3339);
/* True for the API's "never": missing, Go's zero time, the epoch. */
bool cli_time_is_never(const char *rfc3339);
/* Last part of a path or URL without its query; the caller frees. */
char *cli_url_last(const char *url);
/* @s in upper case; the caller frees. */
char *cli_upper(const char *s);

/* Usage of @cmd (or of a group) on standard output; help.c. */
void help_print(const struct cli *c, const struct command *cmd, const char *path, bool with_doc);

/*
 * For `lxc info`: a line on standard error for each warning of @server (the answer of GET /1.0) that is new and not of
 * low severity. Whoever may not read warnings gets none; nothing fails. cmd_warning.c.
 */
void cli_tell_warnings(struct api *a, const struct json *server);

/* Every group's rows; one file each. */
extern const struct command cmd_alias, cmd_auth, cmd_config, cmd_console, cmd_copy, cmd_delete, cmd_exec, cmd_file,
	cmd_image, cmd_info, cmd_init, cmd_launch, cmd_list, cmd_monitor, cmd_move, cmd_network, cmd_operation,
	cmd_pause, cmd_profile, cmd_project, cmd_publish, cmd_query, cmd_remote, cmd_rename, cmd_restart, cmd_restore,
	cmd_snapshot, cmd_start, cmd_stop, cmd_storage, cmd_version, cmd_warning;
/* Groups within groups. */
extern const struct command cmd_config_trust;
