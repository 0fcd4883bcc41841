/* Filters of `lxc list`, applied in the client so that every server gives the same answer. */
#include "client/list_filter.h"

#include <arpa/inet.h>
#include <regex.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jsonw.h"
#include "base/str.h"

/* @pattern against the whole of @text; a pattern that does not compile is compared as text. */
static bool regex_matches(const char *pattern, const char *text)
{
	auto_free char *anchored = xasprintf("^(%s)$", pattern);
	regex_t re;
	bool match;

	if (regcomp(&re, anchored, REG_EXTENDED | REG_NOSUB) != 0)
		return streq(pattern, text);
	match = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return match;
}

/* "a.b" stands for "abc.bcd": each dotted part is a beginning, and there are as many parts. */
static bool key_abbreviates(const char *abbreviation, const char *key)
{
	auto_strv struct strv a = STRV_INIT;
	auto_strv struct strv k = STRV_INIT;

	strv_split(&a, abbreviation, '.');
	strv_split(&k, key, '.');
	if (a.len != k.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (!startswith(k.items[i], a.items[i]))
			return false;
	return true;
}

static bool in_list(const char *values, const char *text)
{
	auto_strv struct strv list = STRV_INIT;

	strv_split(&list, values, ',');
	for (size_t i = 0; i < list.len; i++)
		if (text && strcasecmp(list.items[i], text) == 0)
			return true;
	return false;
}

struct network {
	int family;
	unsigned char bytes[16];
	unsigned prefix;
};

static int parse_network(const char *text, int family, struct network *ret, struct error *err)
{
	const char *slash = strchr(text, '/');
	auto_free char *address = slash ? xstrndup(text, (size_t)(slash - text)) : xstrdup(text);
	uint32_t prefix = family == AF_INET ? 32 : 128;

	ret->family = family;
	if (inet_pton(family, address, ret->bytes) != 1 ||
	    (slash && (parse_u32(slash + 1, &prefix) < 0 || prefix > (family == AF_INET ? 32 : 128))))
		return error_set(err, 400, "Invalid address or CIDR \"%s\"", text);
	ret->prefix = prefix;
	return 0;
}

static bool network_holds(const struct network *n, const char *address)
{
	unsigned char bytes[16];
	unsigned whole = n->prefix / 8, bits = n->prefix % 8;

	if (!address || inet_pton(n->family, address, bytes) != 1 || memcmp(bytes, n->bytes, whole) != 0)
		return false;
	return !bits || ((bytes[whole] ^ n->bytes[whole]) >> (8 - bits)) == 0;
}

struct address_search {
	struct network network;
	bool found;
};

static int search_nic(const char *name UNUSED, const struct json *nic, void *arg)
{
	struct address_search *s = arg;
	const struct json *addresses = json_get(nic, "addresses");

	for (size_t i = 0; i < json_len(addresses); i++)
		s->found = s->found || network_holds(&s->network, json_get_str(json_at(addresses, i), "address"));
	return 0;
}

static int match_address(const char *value, int family, const struct json *inst, struct error *err)
{
	struct address_search s = {0};
	const struct json *network = json_get(json_get(inst, "state"), "network");
	int r = parse_network(value, family, &s.network, err);

	if (r < 0)
		return r;
	if (json_kind(network) == JSON_OBJECT)
		json_each(network, search_nic, &s);
	return s.found;
}

struct config_search {
	const char *key, *value;
	bool found;
};

static int search_config(const char *key, const struct json *value, void *arg)
{
	struct config_search *s = arg;

	if (json_str(value) && key_abbreviates(s->key, key) && regex_matches(s->value, json_str(value)))
		s->found = true;
	return 0;
}

/* key=value, @key without the value. */
static int match_pair(const char *key, const char *value, const struct json *inst, struct error *err)
{
	static const char *const fields[] = {"type", "status", "architecture", "location"};
	const struct json *config = json_get(inst, "expanded_config");
	struct config_search s = {key, value, false};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (streq(key, fields[i]))
			return in_list(value, json_get_str(inst, key));
	if (streq(key, "ipv4"))
		return match_address(value, AF_INET, inst, err);
	if (streq(key, "ipv6"))
		return match_address(value, AF_INET6, inst, err);
	if (json_kind(config) == JSON_OBJECT)
		json_each(config, search_config, &s);
	return s.found;
}

int list_filter_match(const char *filter, const struct json *inst, struct error *err)
{
	const char *equals = strchr(filter, '=');
	const char *name = json_get_str(inst, "name");
	auto_free char *key = equals ? xstrndup(filter, (size_t)(equals - filter)) : NULL;

	if (equals)
		return match_pair(key, equals + 1, inst, err);
	return name && (startswith(name, filter) || regex_matches(filter, name));
}

bool list_filter_needs_state(const struct strv *filters)
{
	for (size_t i = 0; i < filters->len; i++)
		if (startswith(filters->items[i], "ipv4=") || startswith(filters->items[i], "ipv6="))
			return true;
	return false;
}

int list_filter_apply(const struct strv *filters, const struct json *list, struct json **ret, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_array_begin(&w);
	for (size_t k = 0; k < json_len(list); k++) {
		const struct json *inst = json_at(list, k);
		auto_free char *text = NULL;
		int match = 1;

		for (size_t i = 0; match > 0 && i < filters->len; i++)
			match = list_filter_match(filters->items[i], inst, err);
		if (match < 0)
			return match;
		if (!match)
			continue;
		text = json_to_text(inst);
		jsonw_raw(&w, text, strlen(text));
	}
	jsonw_array_end(&w);
	return json_parse(strbuf_str(&b), b.len, ret, err);
}
