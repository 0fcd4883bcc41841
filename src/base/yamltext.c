/* YAML to and from JSON values, by libyaml. */
#include "base/yamltext.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/timeutil.h"

#define READ_DEPTH_MAX 32

/* ---- writing ---- */

struct writer {
	yaml_emitter_t emitter;
	unsigned flags;
	bool failed;
};

static int append_cb(void *data, unsigned char *buffer, size_t size)
{
	strbuf_append_len(data, buffer, size);
	return 1;
}

/* Emit @e if it could be made at all (@made). */
static void emit(struct writer *w, yaml_event_t *e, int made)
{
	if (!made || !yaml_emitter_emit(&w->emitter, e))
		w->failed = true;
}

/* Words that YAML 1.1 readers take for something else than text. */
static bool is_reserved_word(const char *s)
{
	static const char *const words[] = {"",      "~",     "null",  "Null",  "NULL",  "y",     "Y",     "yes",
					    "Yes",   "YES",   "on",    "On",    "ON",    "n",     "N",     "no",
					    "No",    "NO",    "off",   "Off",   "OFF",   "true",  "True",  "TRUE",
					    "false", "False", "FALSE", ".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",
					    ".INF",  "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", "<<"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (streq(s, words[i]))
			return true;
	return false;
}

/* Integers (also 0x, 0o, 0b, with "_"), decimal fractions with exponents, and base-60 numbers (1:30). */
static bool is_number_like(const char *s)
{
	bool digit = false, seen_e = false;

	if (*s == '+' || *s == '-')
		s++;
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'b' || s[1] == 'o'))
		return s[2] && s[2 + strspn(s + 2, "0123456789abcdefABCDEF_")] == '\0';
	if (!isdigit((unsigned char)*s) && *s != '.')
		return false;
	for (; *s; s++) {
		if (isdigit((unsigned char)*s)) {
			digit = true;
		} else if ((*s == 'e' || *s == 'E') && digit && !seen_e && s[1]) {
			seen_e = true;
			if ((s[1] == '+' || s[1] == '-') && s[2])
				s++;
		} else if (!strchr("._:", *s)) {
			return false;
		}
	}
	return digit;
}

static bool is_time_like(const char *s)
{
	int64_t ns;

	if (time_parse(s, &ns) >= 0)
		return true;
	/* a bare date */
	return strlen(s) == 10 && strspn(s, "0123456789-") == 10 && s[4] == '-' && s[7] == '-';
}

/* True for an address such as 1.2.3.4 or a MAC, which hold digits and separators but are no numbers. */
static bool is_plain_dotted(const char *s)
{
	const char *dot = strchr(s, '.');

	return dot && strchr(dot + 1, '.');
}

static bool needs_quotes(const char *s)
{
	if (is_reserved_word(s) || is_time_like(s))
		return true;
	if (!is_number_like(s) || is_plain_dotted(s))
		return false;
	/* base 60 has one or two digits after each colon */
	for (const char *c = strchr(s, ':'); c; c = strchr(c + 1, ':'))
		if (c[1] < '0' || c[1] > '5' || strcspn(c + 1, ":.") > 2 ||
		    (strcspn(c + 1, ":.") == 2 && !isdigit(c[2])))
			return strchr(s, ':') == NULL;
	return true;
}

static void emit_scalar(struct writer *w, const char *s, yaml_scalar_style_t style)
{
	yaml_event_t e;

	emit(w, &e, yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)s, (int)strlen(s), 1, 1, style));
}

static void write_string(struct writer *w, const char *key, const char *s)
{
	int64_t ns;

	if (!(w->flags & YAML_QUOTE_TIMES) && key && (endswith(key, "_at") || streq(key, "timestamp")) &&
	    time_parse(s, &ns) >= 0)
		emit_scalar(w, s, YAML_PLAIN_SCALAR_STYLE);
	else if (strchr(s, '\n'))
		emit_scalar(w, s, YAML_LITERAL_SCALAR_STYLE);
	else
		emit_scalar(w, s, needs_quotes(s) ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE);
}

static void write_value(struct writer *w, const char *key, const struct json *j);

struct member {
	const char *key;
	const struct json *value;
};

struct members {
	struct member *items;
	size_t len;
};

static int collect(const char *key, const struct json *value, void *arg)
{
	struct members *m = arg;

	m->items[m->len++] = (struct member){key, value};
	return 0;
}

static int compare_members(const void *a, const void *b)
{
	return strcmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

/* The one list of the API whose members have capitals in JSON only. */
static bool is_capitalised(const char *key)
{
	return key && streq(key, "storage_supported_drivers");
}

static void write_key(struct writer *w, const char *key, bool lower)
{
	auto_free char *copy = xstrdup(key);

	if (lower)
		copy[0] = (char)tolower((unsigned char)copy[0]);
	write_string(w, NULL, copy);
}

static void write_object(struct writer *w, const char *key, const struct json *j)
{
	struct members m = {.items = xnew_array(struct member, json_len(j) + 1)};
	auto_free struct member *items = m.items;
	yaml_event_t e;

	json_each(j, collect, &m);
	if (w->flags & YAML_SORT_KEYS)
		qsort(items, m.len, sizeof(*items), compare_members);
	emit(w, &e,
	     yaml_mapping_start_event_initialize(&e, NULL, NULL, 1,
						 m.len ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE));
	for (size_t i = 0; i < m.len; i++) {
		write_key(w, items[i].key, is_capitalised(key));
		write_value(w, items[i].key, items[i].value);
	}
	emit(w, &e, yaml_mapping_end_event_initialize(&e));
}

static void write_array(struct writer *w, const char *key, const struct json *j)
{
	size_t n = json_len(j);
	yaml_event_t e;

	emit(w, &e,
	     yaml_sequence_start_event_initialize(&e, NULL, NULL, 1,
						  n ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE));
	for (size_t i = 0; i < n; i++)
		write_value(w, is_capitalised(key) ? key : NULL, json_at(j, i));
	emit(w, &e, yaml_sequence_end_event_initialize(&e));
}

/* The API's optional maps and lists are null in JSON and empty in YAML. */
static void write_null(struct writer *w, const char *key)
{
	static const char *const maps[] = {"config",   "devices", "expanded_config", "expanded_devices", "network",
					   "metadata", "disk",    "properties",      "resources"};
	yaml_event_t e;

	if (w->flags & YAML_KEEP_NULL || !key) {
		emit_scalar(w, "null", YAML_PLAIN_SCALAR_STYLE);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		if (!streq(key, maps[i]))
			continue;
		emit(w, &e, yaml_mapping_start_event_initialize(&e, NULL, NULL, 1, YAML_FLOW_MAPPING_STYLE));
		emit(w, &e, yaml_mapping_end_event_initialize(&e));
		return;
	}
	emit(w, &e, yaml_sequence_start_event_initialize(&e, NULL, NULL, 1, YAML_FLOW_SEQUENCE_STYLE));
	emit(w, &e, yaml_sequence_end_event_initialize(&e));
}

static void write_value(struct writer *w, const char *key, const struct json *j)
{
	auto_free char *text = NULL;

	switch (json_kind(j)) {
	case JSON_OBJECT:
		write_object(w, key, j);
		break;
	case JSON_ARRAY:
		write_array(w, key, j);
		break;
	case JSON_STRING:
		write_string(w, key, json_str(j));
		break;
	case JSON_NULL:
		write_null(w, key);
		break;
	default:
		text = json_to_text(j);
		emit_scalar(w, text, YAML_PLAIN_SCALAR_STYLE);
	}
}

int yaml_write(const struct json *j, unsigned flags, struct strbuf *out, struct error *err)
{
	struct writer w = {.flags = flags};
	yaml_event_t e;

	if (!yaml_emitter_initialize(&w.emitter))
		return error_set(err, 507, "Out of memory for YAML");
	yaml_emitter_set_output(&w.emitter, append_cb, out);
	yaml_emitter_set_unicode(&w.emitter, 1);
	yaml_emitter_set_width(&w.emitter, -1);
	emit(&w, &e, yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING));
	emit(&w, &e, yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1));
	write_value(&w, NULL, j);
	emit(&w, &e, yaml_document_end_event_initialize(&e, 1));
	emit(&w, &e, yaml_stream_end_event_initialize(&e));
	yaml_emitter_delete(&w.emitter);
	return w.failed ? error_set(err, 500, "Cannot write YAML") : 0;
}

/* ---- reading ---- */

struct reader {
	yaml_parser_t parser;
	struct jsonw out;
	const char *const *typed;
	struct error *err;
};

static int next_event(struct reader *r, yaml_event_t *e)
{
	if (yaml_parser_parse(&r->parser, e))
		return 0;
	return error_set(r->err, 400, "yaml: line %zu: %s", r->parser.problem_mark.line + 1,
			 r->parser.problem ? r->parser.problem : "invalid text");
}

static bool is_typed(const struct reader *r, const char *key)
{
	for (size_t i = 0; key && r->typed && r->typed[i]; i++)
		if (streq(r->typed[i], key))
			return true;
	return false;
}

static void read_scalar(struct reader *r, const yaml_event_t *e, const char *key)
{
	const char *s = (const char *)e->data.scalar.value;
	bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	int64_t number;

	if (plain && (streq(s, "") || streq(s, "~") || streq(s, "null")))
		jsonw_null(&r->out);
	else if (plain && is_typed(r, key) && (streq(s, "true") || streq(s, "false")))
		jsonw_bool(&r->out, streq(s, "true"));
	else if (plain && is_typed(r, key) && parse_i64(s, &number) >= 0)
		jsonw_int(&r->out, number);
	else
		jsonw_str(&r->out, s);
}

static int read_value(struct reader *r, yaml_event_t *e, const char *key, unsigned depth);

static int read_mapping(struct reader *r, unsigned depth)
{
	int res;

	jsonw_object_begin(&r->out);
	for (;;) {
		CLEANUP(yaml_event_delete) yaml_event_t k = {0};
		CLEANUP(yaml_event_delete) yaml_event_t v = {0};

		res = next_event(r, &k);
		if (res < 0)
			return res;
		if (k.type == YAML_MAPPING_END_EVENT)
			break;
		if (k.type != YAML_SCALAR_EVENT)
			return error_set(r->err, 400, "yaml: line %zu: a key must be text", k.start_mark.line + 1);
		jsonw_key(&r->out, (const char *)k.data.scalar.value);
		res = next_event(r, &v);
		if (res >= 0)
			res = read_value(r, &v, (const char *)k.data.scalar.value, depth);
		if (res < 0)
			return res;
	}
	jsonw_object_end(&r->out);
	return 0;
}

static int read_sequence(struct reader *r, unsigned depth)
{
	int res;

	jsonw_array_begin(&r->out);
	for (;;) {
		CLEANUP(yaml_event_delete) yaml_event_t v = {0};

		res = next_event(r, &v);
		if (res < 0)
			return res;
		if (v.type == YAML_SEQUENCE_END_EVENT)
			break;
		res = read_value(r, &v, NULL, depth);
		if (res < 0)
			return res;
	}
	jsonw_array_end(&r->out);
	return 0;
}

static int read_value(struct reader *r, yaml_event_t *e, const char *key, unsigned depth)
{
	if (depth >= READ_DEPTH_MAX)
		return error_set(r->err, 400, "yaml: line %zu: nested too deep", e->start_mark.line + 1);
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		read_scalar(r, e, key);
		return 0;
	case YAML_MAPPING_START_EVENT:
		return read_mapping(r, depth + 1);
	case YAML_SEQUENCE_START_EVENT:
		return read_sequence(r, depth + 1);
	case YAML_ALIAS_EVENT:
		return error_set(r->err, 400, "yaml: line %zu: aliases are not supported", e->start_mark.line + 1);
	default:
		return error_set(r->err, 400, "yaml: line %zu: unexpected content", e->start_mark.line + 1);
	}
}

/* One document, or none, and the end of the stream. */
static int read_stream(struct reader *r)
{
	bool seen = false;
	int res;

	for (;;) {
		CLEANUP(yaml_event_delete) yaml_event_t e = {0};

		res = next_event(r, &e);
		if (res < 0)
			return res;
		switch (e.type) {
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_END_EVENT:
			break;
		case YAML_DOCUMENT_START_EVENT:
			if (seen)
				return error_set(r->err, 400, "yaml: line %zu: more than one document",
						 e.start_mark.line + 1);
			seen = true;
			break;
		case YAML_STREAM_END_EVENT:
			if (!seen)
				jsonw_null(&r->out);
			return 0;
		default:
			res = read_value(r, &e, NULL, 0);
			if (res < 0)
				return res;
		}
	}
}

int yaml_read(const char *text, size_t len, const char *const *typed, struct json **ret, struct error *err)
{
	auto_strbuf struct strbuf json = STRBUF_INIT;
	struct reader r = {.out = JSONW(&json), .typed = typed, .err = err};
	int res;

	if (!yaml_parser_initialize(&r.parser))
		return error_set(err, 507, "Out of memory for YAML");
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	res = read_stream(&r);
	yaml_parser_delete(&r.parser);
	if (res < 0)
		return res;
	return json_parse(strbuf_str(&json), json.len, ret, err);
}
