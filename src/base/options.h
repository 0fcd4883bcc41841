/*
 * Command-line options in GNU style, from rows: --long value, --long=value, -s value, -svalue, clusters, flags mixed
 * with arguments, "--" ends flags. The same rows print the help.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/strv.h"

enum option_type {
	OPTION_BOOL,     /* --x, --x=false */
	OPTION_STRING,   /* the last one wins */
	OPTION_LIST,     /* may be repeated */
	OPTION_INT,      /* a decimal number, checked */
	OPTION_OPTIONAL, /* --x, or --x=value; .def is what --x alone means */
};

struct option_row {
	const char *name;
	char letter; /* 0: none */
	enum option_type type;
	const char *def; /* shown in help; what option_str() and option_int() give when absent */
	const char *doc;
	bool hidden;
};

/* Row lists end with this. */
#define OPTION_END           \
	{                    \
		.name = NULL \
	}

struct options; /* parsed options and the arguments between them */

/*
 * Parse @args (without the program's name) by up to two row lists (@more may be NULL). Messages are those of the
 * reference client: unknown flag: --x; unknown shorthand flag: 'x' in -x; flag needs an argument: --x.
 */
int options_parse(const struct option_row *rows, const struct option_row *more, char *const *args, size_t count,
		  struct options **ret, struct error *err);
void options_free(struct options *o);
DEFINE_CLEANUP(struct options *, options_free)
#define auto_options CLEANUP(options_freep)

/* Whether the option stood on the command line; the value of a switch (false when it was not given). */
bool option_given(const struct options *o, const char *name);
bool option_bool(const struct options *o, const char *name);
/* The value, the row's default, or NULL; borrowed. */
const char *option_str(const struct options *o, const char *name);
int64_t option_int(const struct options *o, const char *name);
/* All values in order; borrowed. */
const struct strv *option_list(const struct options *o, const char *name);
/* Arguments that are no flags; borrowed. */
const struct strv *option_args(const struct options *o);
/* How many arguments came before "--"; the number of arguments when there was none. */
size_t option_args_before_dashes(const struct options *o);

/* Find a row by its long name or letter among both lists, or NULL. */
const struct option_row *option_find(const struct option_row *rows, const struct option_row *more, const char *name,
				     size_t len);
/* Append one help line per visible row. */
void options_help(const struct option_row *rows, struct strbuf *out);
