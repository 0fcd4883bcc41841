/* The program `lxc`: finds the command in the rows, parses its options, runs it, reports its error. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/client.h"
#include "client/private.h"
#include "client/remote.h"

const struct option_row global_options[] = {
	{"all", 0, OPTION_BOOL, NULL, "List the rarely used commands too", .hidden = true},
	{"debug", 0, OPTION_BOOL, NULL, "Print every request and reply on stderr"},
	{"force-local", 0, OPTION_BOOL, NULL, "Talk to the local UNIX socket only, without the configuration file"},
	{"help", 'h', OPTION_BOOL, NULL, "Print this help"},
	{"project", 0, OPTION_STRING, NULL, "Work in this project"},
	{"quiet", 'q', OPTION_BOOL, NULL, "Print no progress"},
	{"sub-commands", 0, OPTION_BOOL, NULL, "With help: list the sub-commands too"},
	{"verbose", 'v', OPTION_BOOL, NULL, "Print more about what happens"},
	{"version", 0, OPTION_BOOL, NULL, "Print the version"},
	OPTION_END,
};

static const struct command *const root_commands[] = {
	&cmd_alias, &cmd_auth,    &cmd_config,    &cmd_console, &cmd_copy,    &cmd_delete,   &cmd_exec,
	&cmd_file,  &cmd_image,   &cmd_info,      &cmd_init,    &cmd_launch,  &cmd_list,     &cmd_monitor,
	&cmd_move,  &cmd_network, &cmd_operation, &cmd_pause,   &cmd_profile, &cmd_project,  &cmd_publish,
	&cmd_query, &cmd_remote,  &cmd_rename,    &cmd_restart, &cmd_restore, &cmd_snapshot, &cmd_start,
	&cmd_stop,  &cmd_storage, &cmd_version,   &cmd_warning, NULL,
};

static const struct command root = {
	.name = "lxc",
	.children = root_commands,
	.doc = "Client of the system container manager LXD",
	.more = "Instances, images, networks, profiles, projects and storage pools of a server are managed by the\n"
		"commands below; each of them explains itself with --help.",
};

static const struct command *find_child(const struct command *group, const char *name)
{
	for (size_t i = 0; group->children && group->children[i]; i++) {
		const struct command *child = group->children[i];

		if (streq(child->name, name) || (child->alias && streq(child->alias, name)))
			return child;
	}
	return NULL;
}

/* A flag before or between command words whose value is the next word. */
static bool takes_next_word(const char *arg)
{
	const struct option_row *row;

	if (!startswith(arg, "--") || strchr(arg, '='))
		return false;
	row = option_find(global_options, NULL, arg + 2, strlen(arg + 2));
	return row && row->type == OPTION_STRING;
}

/*
 * Walk down the rows along the words of @args; the words of the command are left out of @ret_rest. At a group whose
 * next word is no command of it: *@ret_unknown is that word.
 */
static const struct command *find_command(struct cli *c, const struct strv *args, struct strv *ret_rest,
					  const char **ret_unknown)
{
	const struct command *at = c->root;
	size_t i = 0;

	for (; i < args->len && at->children; i++) {
		const char *arg = args->items[i];
		const struct command *child;
		char *path;

		if (streq(arg, "--"))
			break;
		if (arg[0] == '-' && arg[1]) {
			strv_add(ret_rest, arg);
			if (takes_next_word(arg) && i + 1 < args->len)
				strv_add(ret_rest, args->items[++i]);
			continue;
		}
		child = find_child(at, arg);
		if (!child) {
			*ret_unknown = arg;
			break;
		}
		path = xasprintf("%s %s", c->path ? c->path : "lxc", child->name);
		free(c->path);
		c->path = path;
		at = child;
	}
	for (; i < args->len; i++)
		strv_add(ret_rest, args->items[i]);
	return at;
}

/* Wrong number of arguments: the help, and an error unless there were none at all. */
static int check_args(const struct cli *c, bool *ret_stop, struct error *err)
{
	size_t n = cli_argc(c);

	if (n >= c->command->min_args && n <= c->command->max_args)
		return 0;
	*ret_stop = true;
	help_print(c, c->command, c->path, n > 0);
	return n ? error_set(err, 400, "Invalid number of arguments") : 0;
}

/* Once, while config.yml does not exist; programs that call this one have no use for it. */
static void greet(struct cli *c)
{
	auto_error struct error e = ERROR_INIT;
	auto_free char *socket = api_default_socket();
	struct stat st;

	if (c->config->exists || option_bool(c->options, "force-local") || stat(socket, &st) < 0)
		return;
	if (cli_config_change(c->config, NULL, NULL, &e) < 0) {
		error_ignore(&e, "a home that cannot be written must not stop the command");
		return;
	}
	if (isatty(STDERR_FILENO))
		fputs("If this is your first time running LXD on this machine, you should also run: lxd init\n"
		      "To start your first container: lxc image import <file> --alias <image>, lxc launch <image>\n\n",
		      stderr);
}

/* `lxc help config set` */
static int run_help(struct cli *c, const struct strv *args, struct error *err)
{
	auto_strv struct strv rest = STRV_INIT;
	struct strv words = {.items = args->items + 1, .len = args->len - 1};
	const char *unknown = NULL;
	const struct command *cmd = find_command(c, &words, &rest, &unknown);
	int r;

	r = options_parse(cmd->options, global_options, rest.items, rest.len, &c->options, err);
	if (r < 0)
		return r;
	if (unknown)
		return error_set(err, 400, "unknown command \"%s\" for \"%s\"", unknown, c->path ? c->path : "lxc");
	help_print(c, cmd, c->path ? c->path : "lxc", true);
	return 0;
}

static int run(struct cli *c, const struct strv *args, struct error *err)
{
	auto_strv struct strv rest = STRV_INIT;
	const char *unknown = NULL;
	bool stop = false;
	int r;

	if (args->len && streq(args->items[0], "help"))
		return run_help(c, args, err);
	c->command = find_command(c, args, &rest, &unknown);
	if (!c->path)
		c->path = xstrdup("lxc");
	if (unknown)
		return error_set(err, 400, "unknown command \"%s\" for \"%s\"", unknown, c->path);
	r = options_parse(c->command->options, global_options, rest.items, rest.len, &c->options, err);
	if (r < 0)
		return r;
	if (option_bool(c->options, "version")) {
		puts(LXD_VERSION);
		return 0;
	}
	if (option_bool(c->options, "help") || !c->command->run) {
		help_print(c, c->command, c->path, option_bool(c->options, "help") || c->command == c->root);
		return 0;
	}
	r = check_args(c, &stop, err);
	if (r < 0 || stop)
		return r;
	greet(c);
	return c->command->run(c, err);
}

static bool has_flag(const struct strv *args, const char *flag)
{
	for (size_t i = 0; i < args->len && !streq(args->items[i], "--"); i++)
		if (streq(args->items[i], flag))
			return true;
	return false;
}

static void cli_done(struct cli *c)
{
	for (size_t i = 0; i < c->connection_count; i++) {
		api_close(c->connections[i].api);
		candid_close(c->connections[i].login);
		free(c->connections[i].remote);
	}
	free(c->connections);
	cli_config_free(c->config);
	options_free(c->options);
	free(c->path);
}

int main(int argc, char **argv)
{
	CLEANUP(cli_done) struct cli c = {.root = &root};
	auto_error struct error err = ERROR_INIT;
	auto_strv struct strv args = STRV_INIT;
	auto_strv struct strv expanded = STRV_INIT;
	bool is_alias;
	int r;

	setlocale(LC_CTYPE, "C.UTF-8");
	signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++)
		strv_add(&args, argv[i]);
	r = cli_config_load(has_flag(&args, "--force-local"), &c.config, &err);
	if (r >= 0) {
		is_alias = cli_config_expand_alias(c.config, &args, &expanded);
		r = run(&c, is_alias ? &expanded : &args, &err);
	}
	if (fflush(stdout) != 0 && r >= 0)
		r = error_errno(&err, errno, "Write to standard output");
	if (r < 0) {
		cli_complain("Error: %s\n", error_msg(&err));
		remote_explain(&c, &err);
		return c.exit_code ? c.exit_code : 1;
	}
	return c.exit_code;
}
