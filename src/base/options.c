/* GNU style option parsing by rows. */
#include "base/options.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

struct given {
	const struct option_row *row;
	struct strv values;
};

struct options {
	const struct option_row *rows, *more;
	struct given *given;
	size_t count;
	struct strv args;
	size_t before_dashes;
};

static const struct strv no_values = STRV_INIT;

const struct option_row *option_find(const struct option_row *rows, const struct option_row *more, const char *name,
				     size_t len)
{
	const struct option_row *lists[] = {rows, more};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		for (const struct option_row *r = lists[i]; r && r->name; r++)
			if (strlen(r->name) == len && strncmp(r->name, name, len) == 0)
				return r;
	return NULL;
}

static const struct option_row *find_letter(const struct options *o, char letter)
{
	const struct option_row *lists[] = {o->rows, o->more};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		for (const struct option_row *r = lists[i]; r && r->name; r++)
			if (r->letter == letter)
				return r;
	return NULL;
}

static struct given *find_given(const struct options *o, const char *name)
{
	for (size_t i = 0; i < o->count; i++)
		if (streq(o->given[i].row->name, name))
			return &o->given[i];
	return NULL;
}

/* @shown is the flag as the user wrote it, for messages. */
static int check_value(const struct option_row *row, const char *value, struct error *err)
{
	int64_t number;
	bool flag;

	if (row->type == OPTION_BOOL && parse_bool(value, &flag) < 0)
		return error_set(err, 400, "invalid argument \"%s\" for \"--%s\" flag: not a boolean", value,
				 row->name);
	if (row->type == OPTION_INT && parse_i64(value, &number) < 0)
		return error_set(err, 400, "invalid argument \"%s\" for \"--%s\" flag: not a number", value, row->name);
	return 0;
}

static int store(struct options *o, const struct option_row *row, const char *value, struct error *err)
{
	struct given *g = find_given(o, row->name);
	int r;

	r = check_value(row, value, err);
	if (r < 0)
		return r;
	if (!g) {
		o->given = xreallocarray(o->given, o->count + 1, sizeof(*o->given));
		g = &o->given[o->count++];
		*g = (struct given){.row = row};
	} else if (row->type != OPTION_LIST) {
		strv_done(&g->values);
	}
	strv_add(&g->values, value);
	return 0;
}

/* What the flag alone means, or NULL when it needs a value. */
static const char *implied_value(const struct option_row *row)
{
	if (row->type == OPTION_BOOL)
		return "true";
	return row->type == OPTION_OPTIONAL ? row->def : NULL;
}

/* --name, --name=value, --name value; *@i moves over a value taken from the next argument. */
static int parse_long(struct options *o, char *const *args, size_t count, size_t *i, struct error *err)
{
	const char *name = args[*i] + 2;
	size_t len = strcspn(name, "=");
	const struct option_row *row = option_find(o->rows, o->more, name, len);

	if (!row)
		return error_set(err, 400, "unknown flag: --%.*s", (int)len, name);
	if (name[len] == '=')
		return store(o, row, name + len + 1, err);
	if (implied_value(row))
		return store(o, row, implied_value(row), err);
	if (*i + 1 >= count)
		return error_set(err, 400, "flag needs an argument: --%s", name);
	return store(o, row, args[++*i], err);
}

/* -f, -abc, -fvalue, -f=value, -f value */
static int parse_short(struct options *o, char *const *args, size_t count, size_t *i, struct error *err)
{
	const char *cluster = args[*i];
	int r;

	for (const char *p = cluster + 1; *p; p++) {
		const struct option_row *row = find_letter(o, *p);

		if (!row)
			return error_set(err, 400, "unknown shorthand flag: '%c' in -%s", *p, p);
		if (p[1] == '=')
			return store(o, row, p + 2, err);
		if (implied_value(row)) {
			r = store(o, row, implied_value(row), err);
			if (r < 0)
				return r;
			continue;
		}
		if (p[1])
			return store(o, row, p + 1, err);
		if (*i + 1 >= count)
			return error_set(err, 400, "flag needs an argument: '%c' in -%s", *p, p);
		return store(o, row, args[++*i], err);
	}
	return 0;
}

int options_parse(const struct option_row *rows, const struct option_row *more, char *const *args, size_t count,
		  struct options **ret, struct error *err)
{
	auto_options struct options *o = xnew(struct options);
	bool dashes = false;
	int r;

	o->rows = rows;
	o->more = more;
	for (size_t i = 0; i < count; i++) {
		const char *arg = args[i];

		if (dashes || arg[0] != '-' || !arg[1]) {
			strv_add(&o->args, arg);
		} else if (streq(arg, "--")) {
			dashes = true;
			o->before_dashes = o->args.len;
		} else {
			r = arg[1] == '-' ? parse_long(o, args, count, &i, err) : parse_short(o, args, count, &i, err);
			if (r < 0)
				return r;
		}
	}
	if (!dashes)
		o->before_dashes = o->args.len;
	*ret = TAKE_PTR(o);
	return 0;
}

void options_free(struct options *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->count; i++)
		strv_done(&o->given[i].values);
	free(o->given);
	strv_done(&o->args);
	free(o);
}

bool option_given(const struct options *o, const char *name)
{
	return find_given(o, name) != NULL;
}

bool option_bool(const struct options *o, const char *name)
{
	return parse_bool_or(option_str(o, name), false);
}

const char *option_str(const struct options *o, const char *name)
{
	const struct given *g = find_given(o, name);
	const struct option_row *row;

	if (g)
		return g->values.items[g->values.len - 1];
	row = option_find(o->rows, o->more, name, strlen(name));
	return row && row->type != OPTION_OPTIONAL ? row->def : NULL;
}

int64_t option_int(const struct options *o, const char *name)
{
	const char *text = option_str(o, name);
	int64_t v = 0;

	if (!text || parse_i64(text, &v) < 0)
		return 0;
	return v;
}

const struct strv *option_list(const struct options *o, const char *name)
{
	const struct given *g = find_given(o, name);

	return g ? &g->values : &no_values;
}

const struct strv *option_args(const struct options *o)
{
	return &o->args;
}

size_t option_args_before_dashes(const struct options *o)
{
	return o->before_dashes;
}

void options_help(const struct option_row *rows, struct strbuf *out)
{
	size_t width = 0;

	for (const struct option_row *r = rows; r->name; r++)
		if (!r->hidden)
			width = MAX_OF(width, strlen(r->name) + (r->type == OPTION_OPTIONAL ? strlen(r->def) + 5 : 0));
	for (const struct option_row *r = rows; r->name; r++) {
		auto_free char *name = r->type == OPTION_OPTIONAL ? xasprintf("%s[=\"%s\"]", r->name, r->def)
								  : xstrdup(r->name);

		if (r->hidden)
			continue;
		if (r->letter)
			strbuf_appendf(out, "  -%c, ", r->letter);
		else
			strbuf_append(out, "      ");
		strbuf_appendf(out, "--%-*s   %s", (int)width, name, r->doc);
		if (r->def && r->type == OPTION_STRING)
			strbuf_appendf(out, " (default \"%s\")", r->def);
		else if (r->def && r->type == OPTION_INT)
			strbuf_appendf(out, " (default %s)", r->def);
		strbuf_append_char(out, '\n');
	}
}
