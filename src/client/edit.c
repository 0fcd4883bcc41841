/* The edit commands: YAML from standard input, or an editor in a loop until the server takes the result. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process.h"
#include "base/str.h"
#include "base/yamltext.h"
#include "client/doc.h"

#define EDIT_MAX (16u * 1024 * 1024)

/* PUT what the YAML says of the writable fields. */
static int apply(struct cli *c, struct doc *d, const struct strbuf *yaml, struct error *err)
{
	auto_json struct json *j = NULL;
	struct doc edited;
	auto_free char *body = NULL;
	int r;

	r = yaml_read(strbuf_str(yaml), yaml->len, d->kind->typed, &j, err);
	if (r < 0)
		return r;
	if (json_kind(j) != JSON_OBJECT)
		return error_set(err, 400, "yaml: the text must be a mapping");
	edited = *d;
	edited.object = j;
	edited.config_changed = edited.devices_changed = edited.profiles_changed = false;
	body = doc_body(&edited);
	return cli_do(c, d->api, "PUT", d->url, body, d->etag, err);
}

/* Absolute path of a program in PATH, or NULL; the caller frees. */
static char *find_program(const char *name)
{
	auto_strv struct strv dirs = STRV_INIT;
	const char *path = getenv("PATH");

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? xstrdup(name) : NULL;
	strv_split(&dirs, path ? path : "/usr/bin:/bin", ':');
	for (size_t i = 0; i < dirs.len; i++) {
		char *file = path_join(dirs.items[i], name);

		if (access(file, X_OK) == 0)
			return file;
		free(file);
	}
	return NULL;
}

static int find_editor(struct strv *ret, struct error *err)
{
	static const char *const fallbacks[] = {"editor", "vi", "emacs", "nano"};
	const char *chosen = getenv("VISUAL");
	char *found = NULL;

	if (str_is_empty(chosen))
		chosen = getenv("EDITOR");
	if (!str_is_empty(chosen)) {
		strv_split(ret, chosen, ' ');
		found = find_program(ret->items[0]);
		if (!found)
			return error_set(err, 404, "Editor \"%s\" not found", ret->items[0]);
		free(ret->items[0]);
		ret->items[0] = found;
		return 0;
	}
	for (size_t i = 0; !found && i < ARRAY_SIZE(fallbacks); i++)
		found = find_program(fallbacks[i]);
	if (!found)
		return error_set(err, 404, "No text editor found, please set the EDITOR environment variable");
	strv_take(ret, found);
	return 0;
}

/* The editor keeps the terminal: same session, same environment. */
static int run_editor(const struct strv *editor, const char *file, struct error *err)
{
	auto_strv struct strv argv = STRV_INIT;
	int status;
	pid_t pid;

	strv_copy(&argv, editor);
	strv_add(&argv, file);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return error_errno(err, errno, "Start the editor");
	if (pid == 0) {
		execv(argv.items[0], argv.items);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_errno(err, errno, "Wait for the editor");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return error_set(err, 500, "The editor \"%s\" failed", argv.items[0]);
	return 0;
}

int cli_run_editor(const char *file, struct error *err)
{
	auto_strv struct strv editor = STRV_INIT;
	int r = find_editor(&editor, err);

	return r < 0 ? r : run_editor(&editor, file, err);
}

/* The text that the editor starts with: the comment, then the YAML. */
static int initial_text(const struct doc *d, const char *comment, struct strbuf *out, struct error *err)
{
	auto_free char *body = doc_body(d);
	auto_json struct json *j = NULL;
	auto_strv struct strv lines = STRV_INIT;
	int r;

	strv_split(&lines, comment ? comment : "Lines that begin with # are ignored.", '\n');
	for (size_t i = 0; i < lines.len; i++)
		strbuf_appendf(out, "### %s\n", lines.items[i]);
	strbuf_append_char(out, '\n');
	r = json_parse(body, strlen(body), &j, err);
	return r < 0 ? r : yaml_write(j, 0, out, err);
}

static int make_file(const char *text, size_t len, char path[], struct error *err)
{
	auto_close int fd = mkostemps(path, 5, O_CLOEXEC);
	int r;

	if (fd < 0)
		return error_errno(err, errno, "Create %s", path);
	r = fd_write_full(fd, text, len);
	return r < 0 ? error_errno(err, -r, "Write %s", path) : 0;
}

/* Ask whether to go back to the editor; false at the end of the input. */
static bool ask_again(const struct error *e)
{
	int ch;

	cli_complain("Config parsing error: %s\n", error_msg(e));
	fputs("Press enter to open the editor again or ctrl+c to abort change\n", stderr);
	do {
		ch = getchar();
	} while (ch != EOF && ch != '\n');
	return ch != EOF;
}

static int edit_file(struct cli *c, struct doc *d, const struct strv *editor, const char *path, struct error *err)
{
	for (;;) {
		auto_strbuf struct strbuf text = STRBUF_INIT;
		auto_error struct error e = ERROR_INIT;
		int r;

		r = run_editor(editor, path, err);
		if (r >= 0)
			r = file_read_at(AT_FDCWD, path, EDIT_MAX, &text, err);
		if (r < 0)
			return r;
		r = apply(c, d, &text, &e);
		if (r >= 0)
			return 0;
		if (!ask_again(&e))
			return error_move(err, &e);
	}
}

int doc_edit(struct cli *c, struct doc *d, const char *comment, struct error *err)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strv struct strv editor = STRV_INIT;
	char path[] = "/tmp/lxc-edit-XXXXXX.yaml";
	int r;

	if (cli_stdin_is_piped()) {
		r = cli_read_stdin(&text, err);
		return r < 0 ? r : apply(c, d, &text, err);
	}
	r = find_editor(&editor, err);
	if (r >= 0)
		r = initial_text(d, comment, &text, err);
	if (r >= 0)
		r = make_file(text.data, text.len, path, err);
	if (r < 0)
		return r;
	r = edit_file(c, d, &editor, path, err);
	unlink(path);
	return r;
}
