/* Questions and answers. */
#include "admin/ask.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/prompt.h"
#include "base/str.h"

static void complain(const char *why)
{
	fflush(stdout);
	if (why)
		fprintf(stderr, "Invalid input: %s\n\n", why);
	else
		fputs("Invalid input, try again.\n\n", stderr);
}

/* One answer without blanks around it, @def for an empty one. */
static int ask(const char *question, const char *def, char **ret, struct error *err)
{
	auto_free char *text = def ? xasprintf("%s [default=%s]: ", question, def) : xasprintf("%s: ", question);
	auto_free char *line = NULL;
	const char *answer;
	int r = prompt_line(text, &line, err);

	if (r < 0)
		return r;
	answer = str_strip(line);
	*ret = xstrdup(*answer || !def ? answer : def);
	return 0;
}

int ask_text(const char *question, const char *def, ask_check_fn check, const void *arg, char **ret, struct error *err)
{
	for (;;) {
		auto_error struct error e = ERROR_INIT;
		auto_free char *answer = NULL;
		int r = ask(question, def, &answer, err);

		if (r < 0)
			return r;
		if (*answer && (!check || check(answer, arg, &e) >= 0)) {
			*ret = TAKE_PTR(answer);
			return 0;
		}
		complain(*answer ? error_msg(&e) : NULL);
	}
}

int ask_bool(const char *question, bool def, bool *ret, struct error *err)
{
	for (;;) {
		auto_free char *answer = NULL;
		int r = ask(question, def ? "yes" : "no", &answer, err);

		if (r < 0)
			return r;
		if (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "n") == 0) {
			*ret = strcasecmp(answer, "y") == 0;
			return 0;
		}
		if (parse_bool(answer, ret) >= 0)
			return 0;
		complain(NULL);
	}
}

static void forget(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

int ask_password(const char *question, char **ret, struct error *err)
{
	auto_free char *text = xasprintf("%s: ", question);

	for (;;) {
		char *first = NULL, *again = NULL;
		bool same;
		int r;

		r = prompt_secret(text, &first, err);
		if (r >= 0)
			r = prompt_secret("Again: ", &again, err);
		same = r >= 0 && *first && streq(first, again);
		forget(again);
		if (same)
			*ret = TAKE_PTR(first);
		forget(first);
		if (same || r < 0)
			return r;
		complain(NULL);
	}
}
