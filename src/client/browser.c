/* Pages that the user has to look at. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/process.h"
#include "base/str.h"
#include "client/interact.h"

extern char **environ;

/* $BROWSER is a list, of which the first is taken; "%s" in it stands for the page, which comes last in any case. */
void browser_command(const char *browser, bool has_display, struct strv *ret)
{
	auto_free char *first = NULL;

	if (!str_is_empty(browser)) {
		first = xstrndup(browser, strcspn(browser, ":"));
		strv_split_words(ret, first);
		strv_remove(ret, "%s");
	} else if (has_display) {
		strv_add(ret, "xdg-open");
	}
}

/* Where in $PATH a program is; NULL: nowhere. The caller frees. */
static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	auto_strv struct strv folders = STRV_INIT;

	if (strchr(name, '/'))
		return *name == '/' && access(name, X_OK) == 0 ? xstrdup(name) : NULL;
	strv_split(&folders, path ? path : "", ':');
	for (size_t i = 0; i < folders.len; i++) {
		auto_free char *full = xasprintf("%s/%s", folders.items[i], name);

		if (folders.items[i][0] == '/' && access(full, X_OK) == 0)
			return TAKE_PTR(full);
	}
	return NULL;
}

static bool has_display(void)
{
	return !str_is_empty(getenv("DISPLAY")) || !str_is_empty(getenv("WAYLAND_DISPLAY"));
}

/* It runs on beside us, in a session of its own, and is not waited for. */
static int open_browser(const char *url)
{
	auto_strv struct strv words = STRV_INIT;
	auto_error struct error e = ERROR_INIT;
	auto_free char *program = NULL;
	struct process_spec spec = PROCESS_SPEC_INIT;
	pid_t pid;

	browser_command(getenv("BROWSER"), has_display(), &words);
	program = words.len ? find_program(words.items[0]) : NULL;
	if (!program)
		return -ENOENT;
	free(words.items[0]);
	words.items[0] = TAKE_PTR(program);
	strv_add(&words, url);
	spec.argv = (const char *const *)words.items;
	spec.env = (const char *const *)environ;
	spec.new_session = true;
	if (process_spawn(&spec, &pid, NULL, &e) < 0) {
		error_ignore(&e, "the user gets the address to open it himself");
		return -EIO;
	}
	return 0;
}

void browser_show(const char *url)
{
	if (open_browser(url) >= 0)
		fprintf(stderr,
			"Opening an authorization web page in your browser.\nIf it does not open, please open this "
			"URL:\n%s\n",
			url);
	else
		fprintf(stderr, "Please open this URL in your browser to authorize:\n%s\n", url);
}
