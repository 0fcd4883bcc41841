/* The filter= parameter: split into words, parsed into clauses, judged one after the other. */
#include "config/filter.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/json.h"
#include "base/str.h"
#include "base/strv.h"

/* A filter comes from a client: what it may cost is bounded. */
#define CLAUSES_MAX 64
#define VALUE_MAX 256
#define REPEAT_MAX 32

struct clause {
	bool negate;   /* "not" */
	bool is_ne;    /* "ne", else "eq" */
	bool with_or;  /* joined to what stands before by "or", else by "and" */
	bool is_regex; /* regex is compiled; else value is compared as it is */
	char *field;
	char *value;
	regex_t regex;
};

struct filter {
	struct clause *clauses;
	size_t len;
};

static void clause_done(struct clause *c)
{
	free(c->field);
	free(c->value);
	if (c->is_regex)
		regfree(&c->regex);
}

void filter_free(struct filter *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->len; i++)
		clause_done(&f->clauses[i]);
	free(f->clauses);
	free(f);
}

static int bad(struct error *err, const char *what)
{
	return error_set(err, 400, "Invalid filter: %s", what);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Words between white space. A word that begins with a quote goes on to the next quote. */
static int split_words(const char *text, struct strv *ret, struct error *err)
{
	const char *p = text;

	while (*p) {
		const char *end = p;

		if (is_space(*p)) {
			p++;
			continue;
		}
		if (*p == '"') {
			end = strchr(p + 1, '"');
			if (!end)
				return bad(err, "unterminated quote");
			strv_take(ret, xstrndup(p + 1, (size_t)(end - p - 1)));
			p = end + 1;
			continue;
		}
		while (*end && !is_space(*end))
			end++;
		strv_take(ret, xstrndup(p, (size_t)(end - p)));
		p = end;
	}
	return 0;
}

/* The bounds of "{2,5}" from after the bracket on, each at most REPEAT_MAX. */
static bool bounds_are_small(const char *p)
{
	while (*p && *p != '}') {
		char *end;

		if (strtoul(p, &end, 10) > REPEAT_MAX)
			return false;
		p = *end && *end != '}' ? end + 1 : end;
	}
	return true;
}

/*
 * Patterns that cost the library little, to compile and whatever text they meet: no references back, no repeated
 * groups, at most one counted repetition and that one small.
 */
static bool is_cheap(const char *pattern)
{
	bool after_group = false, counted = false;

	for (const char *p = pattern; *p; p++) {
		if (strchr("*+?{", *p) && after_group)
			return false;
		if (*p == '{' && (counted || !bounds_are_small(p + 1)))
			return false;
		counted = counted || *p == '{';
		after_group = *p == ')';
		if (*p == '\\' && p[1]) {
			p++;
			if (*p >= '1' && *p <= '9')
				return false;
		}
	}
	return true;
}

/*
 * A repetition of a repetition, "a++": no regular expression to clients' ideas (but "a+?"), and the library takes time
 * that doubles with each.
 */
static bool repeats_a_repetition(const char *pattern)
{
	unsigned in_a_row = 0;

	for (const char *p = pattern; *p; p++) {
		bool repeats = strchr("*+?{", *p) != NULL;

		if (repeats && in_a_row > 0 && (in_a_row > 1 || *p != '?'))
			return true;
		in_a_row = repeats ? in_a_row + 1 : 0;
		if (*p == '{')
			p += strcspn(p, "}") - 1;
		else if (*p == '}')
			in_a_row = 1;
		else if (*p == '[' && p[1]) /* signs in brackets mean themselves; the first "]" may be one of them */
			p += 1 + strcspn(p + 2, "]");
		else if (*p == '\\' && p[1])
			p++;
	}
	return false;
}

/* What is no regular expression is compared as it is. */
static int compile(struct clause *c, struct error *err)
{
	bool anchored = strpbrk(c->value, "^$") != NULL;
	auto_free char *pattern = anchored ? xstrdup(c->value) : xasprintf("^(%s)$", c->value);

	if (!is_cheap(c->value))
		return error_set(err, 400, "Invalid filter: pattern \"%s\" is too complex", c->value);
	if (repeats_a_repetition(c->value))
		return 0;
	c->is_regex = regcomp(&c->regex, pattern, REG_EXTENDED | REG_ICASE | REG_NOSUB) == 0;
	return 0;
}

static int parse_operator(const char *word, struct clause *c, struct error *err)
{
	c->is_ne = strcasecmp(word, "ne") == 0;
	if (!c->is_ne && strcasecmp(word, "eq") != 0)
		return error_set(err, 400, "Invalid filter: unknown operator \"%s\"", word);
	return 0;
}

/* [not] FIELD OP VALUE from word *@at on. */
static int parse_clause(const struct strv *words, size_t *at, struct clause *c, struct error *err)
{
	size_t i = *at;
	int r;

	if (strcasecmp(words->items[i], "not") == 0) {
		c->negate = true;
		if (++i == words->len)
			return bad(err, "incomplete not clause");
	}
	if (i + 1 == words->len)
		return bad(err, "clause has no operator");
	if (i + 2 == words->len)
		return bad(err, "clause has no value");
	if (strlen(words->items[i]) > VALUE_MAX || strlen(words->items[i + 2]) > VALUE_MAX)
		return error_set(err, 400, "Invalid filter: field or value of more than %d bytes", VALUE_MAX);
	r = parse_operator(words->items[i + 1], c, err);
	if (r < 0)
		return r;
	c->field = xstrdup(words->items[i]);
	c->value = xstrdup(words->items[i + 2]);
	*at = i + 3;
	return compile(c, err);
}

/* The word between two clauses. */
static int parse_junction(const struct strv *words, size_t *at, struct clause *next, struct error *err)
{
	const char *word = words->items[*at];

	next->with_or = strcasecmp(word, "or") == 0;
	if (!next->with_or && strcasecmp(word, "and") != 0)
		return bad(err, "invalid clause composition");
	if (++*at == words->len)
		return bad(err, "unterminated compound clause");
	return 0;
}

static int parse_words(const struct strv *words, struct filter *f, struct error *err)
{
	size_t at = 0;

	while (at < words->len) {
		struct clause c = {0};
		int r = f->len ? parse_junction(words, &at, &c, err) : 0;

		if (r == 0 && f->len == CLAUSES_MAX)
			r = error_set(err, 400, "Invalid filter: more than %d clauses", CLAUSES_MAX);
		if (r == 0)
			r = parse_clause(words, &at, &c, err);
		if (r < 0) {
			clause_done(&c);
			return r;
		}
		f->clauses = xreallocarray(f->clauses, f->len + 1, sizeof(*f->clauses));
		f->clauses[f->len++] = c;
	}
	return 0;
}

int filter_parse(const char *text, struct filter **ret, struct error *err)
{
	CLEANUP(filter_freep) struct filter *f = xnew(struct filter);
	auto_strv struct strv words = STRV_INIT;
	int r = split_words(text, &words, err);

	if (r == 0)
		r = parse_words(&words, f, err);
	if (r == 0)
		*ret = TAKE_PTR(f);
	return r;
}

static bool is_number(const char *text, double value)
{
	char *end;
	double v = strtod(text, &end);

	return end != text && *end == '\0' && v >= value && v <= value;
}

static bool value_fits(const struct clause *c, const struct filter_value *v)
{
	bool b;

	switch (v->kind) {
	case FILTER_STRING:
		return c->is_regex ? regexec(&c->regex, v->str, 0, NULL, 0) == 0 : streq(c->value, v->str);
	case FILTER_BOOL:
		return parse_bool(c->value, &b) == 0 && b == v->b;
	case FILTER_NUMBER:
		return is_number(c->value, v->num);
	case FILTER_MISSING:
		break;
	}
	return false;
}

bool filter_match(const struct filter *f, filter_get_fn get, void *arg)
{
	bool fits = true;

	for (size_t i = 0; i < f->len; i++) {
		const struct clause *c = &f->clauses[i];
		struct filter_value v = get(c->field, arg);
		bool one = value_fits(c, &v);

		if (c->is_ne != c->negate)
			one = !one;
		fits = c->with_or ? fits || one : fits && one;
	}
	return fits;
}

/* The value at @path below @j: the longest name first, for names that hold dots themselves. */
static const struct json *find(const struct json *j, const char *path)
{
	auto_free char *name = xstrdup(path);
	const struct json *value = json_get(j, name);
	char *dot;

	while (!value && (dot = strrchr(name, '.'))) {
		const struct json *child;

		*dot = '\0';
		child = json_get(j, name);
		if (child)
			value = find(child, path + (dot - name) + 1);
	}
	return value;
}

static double number_of(const struct json *j)
{
	auto_free char *text = json_to_text(j);

	return strtod(text, NULL);
}

struct filter_value filter_get_json(const char *path, void *arg)
{
	const struct json *j = find(arg, path);

	switch (json_kind(j)) {
	case JSON_STRING:
		return (struct filter_value){.kind = FILTER_STRING, .str = json_str(j)};
	case JSON_BOOL:
		return (struct filter_value){.kind = FILTER_BOOL, .b = json_is_true(j)};
	case JSON_INT:
	case JSON_FLOAT:
		return (struct filter_value){.kind = FILTER_NUMBER, .num = number_of(j)};
	case JSON_NULL:
	case JSON_ARRAY:
	case JSON_OBJECT:
		break;
	}
	return (struct filter_value){.kind = FILTER_MISSING};
}
