/* Questions to the user. */
#include "base/prompt.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/macros.h"
#include "base/strbuf.h"

#define LINE_MAX_BYTES (64 * 1024)

static volatile sig_atomic_t caught;

/* Byte by byte: what follows the line belongs to the next reader. */
static int read_line(struct strbuf *line, struct error *err)
{
	bool any = false;

	for (;;) {
		char c;
		ssize_t n = read(STDIN_FILENO, &c, 1);

		if (n < 0 && errno == EINTR && !caught)
			continue;
		if (n < 0 && errno == EINTR)
			return error_set(err, 400, "Interrupted");
		if (n < 0)
			return error_errno(err, errno, "Read standard input");
		if (n == 0 && !any)
			return error_set(err, 400, "EOF");
		if (n == 0 || c == '\n')
			break;
		any = true;
		if (line->len >= LINE_MAX_BYTES)
			return error_set(err, 400, "The line on standard input is too long");
		strbuf_append_char(line, c);
	}
	if (line->len && line->data[line->len - 1] == '\r')
		strbuf_truncate(line, line->len - 1);
	return 0;
}

int prompt_line(const char *text, char **ret, struct error *err)
{
	auto_strbuf struct strbuf line = STRBUF_INIT;
	int r;

	fputs(text, stdout);
	fflush(stdout);
	r = read_line(&line, err);
	if (r >= 0)
		*ret = strbuf_take(&line);
	return r;
}

/* The buffer has its size from the start, so that no copy stays behind in memory that was given back. */
static int read_secret(char **ret, struct error *err)
{
	auto_strbuf struct strbuf line = STRBUF_INIT;
	int r;

	strbuf_reserve(&line, LINE_MAX_BYTES + 2);
	r = read_line(&line, err);
	if (r >= 0)
		*ret = strbuf_take(&line);
	else if (line.data)
		explicit_bzero(line.data, line.len);
	return r;
}

static void on_signal(int sig)
{
	caught = sig;
}

static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

/* Read without echo; a signal that would end or stop the program does so after the echo is back. */
static int ask_hidden(const char *text, const struct termios *before, char **ret, struct error *err)
{
	struct sigaction catch = {.sa_handler = on_signal}, old[ARRAY_SIZE(ending)];
	struct termios quiet = *before;
	int r;

	caught = 0;
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		sigaction(ending[i], &catch, &old[i]);
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	quiet.c_lflag |= ICANON | ISIG;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet);
	/* only now: who sees the question may type at once */
	fputs(text, stdout);
	fflush(stdout);
	r = read_secret(ret, err);
	tcsetattr(STDIN_FILENO, TCSADRAIN, before);
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		sigaction(ending[i], &old[i], NULL);
	putchar('\n');
	fflush(stdout);
	if (caught)
		raise(caught);
	caught = 0;
	return r;
}

int prompt_secret(const char *text, char **ret, struct error *err)
{
	struct termios before;
	int r;

	if (tcgetattr(STDIN_FILENO, &before) == 0)
		return ask_hidden(text, &before, ret, err);
	fputs(text, stdout);
	fflush(stdout);
	r = read_secret(ret, err);
	putchar('\n');
	return r;
}
