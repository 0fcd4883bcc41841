/* Help, from the rows that also parse. */
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/str.h"
#include "client/client.h"

static void append_indented(struct strbuf *out, const char *text)
{
	strbuf_append(out, "  ");
	for (; *text; text++) {
		strbuf_append_char(out, *text);
		if (*text == '\n' && text[1] && text[1] != '\n')
			strbuf_append(out, "  ");
	}
	strbuf_append_char(out, '\n');
}

static void append_usage(struct strbuf *out, const struct command *cmd, const char *path, bool is_root)
{
	strbuf_append(out, "Usage:\n");
	if (cmd->run)
		strbuf_appendf(out, "  %s%s%s [flags]\n", path, str_is_empty(cmd->args) ? "" : " ",
			       cmd->args ? cmd->args : "");
	if (cmd->children)
		strbuf_appendf(out, "  %s [command]%s\n", path, is_root ? " [flags]" : "");
	if (cmd->alias)
		strbuf_appendf(out, "\nAliases:\n  %s, %s\n", cmd->name, cmd->alias);
}

static void append_children(struct strbuf *out, const struct command *cmd, bool all)
{
	size_t width = 0;

	for (size_t i = 0; cmd->children[i]; i++)
		if (all || !cmd->children[i]->hidden)
			width = MAX_OF(width, strlen(cmd->children[i]->name));
	strbuf_append(out, "\nAvailable Commands:\n");
	for (size_t i = 0; cmd->children[i]; i++)
		if (all || !cmd->children[i]->hidden)
			strbuf_appendf(out, "  %-*s   %s\n", (int)width, cmd->children[i]->name, cmd->children[i]->doc);
}

void help_print(const struct cli *c, const struct command *cmd, const char *path, bool with_doc)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	bool is_root = cmd == c->root;
	bool all = c->options && (option_bool(c->options, "all") || option_bool(c->options, "sub-commands"));

	if (with_doc) {
		strbuf_append(&out, "Description:\n");
		append_indented(&out, cmd->doc);
		if (cmd->more) {
			strbuf_append_char(&out, '\n');
			append_indented(&out, cmd->more);
		}
		strbuf_append_char(&out, '\n');
	}
	append_usage(&out, cmd, path, is_root);
	if (cmd->children)
		append_children(&out, cmd, all || !is_root);
	if (cmd->options && cmd->options->name) {
		strbuf_append(&out, "\nFlags:\n");
		options_help(cmd->options, &out);
	}
	strbuf_append(&out, is_root ? "\nFlags:\n" : "\nGlobal Flags:\n");
	options_help(global_options, &out);
	if (cmd->children)
		strbuf_appendf(&out, "\nUse \"%s [command] --help\" for more information about a command.\n", path);
	fputs(strbuf_str(&out), stdout);
}
