/* `lxc config trust`: who may use a server from afar. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "client/cert.h"
#include "client/client.h"
#include "client/doc.h"
#include "client/entity.h"
#include "base/prompt.h"
#include "client/table.h"
#include "client/token.h"

#define CERTIFICATE_MAX (1024 * 1024)
#define SHORT_FINGERPRINT 12

/* ---- certificates ---- */

/* What the API does not say is read from the certificate; one that cannot be read leaves the cells empty. */
static void add_row(struct table *table, const struct json *entry)
{
	const char *pem = json_get_str(entry, "certificate"), *fingerprint = json_get_str(entry, "fingerprint");
	auto_cert_summary struct cert_summary s = CERT_SUMMARY_INIT;
	auto_strbuf struct strbuf der = STRBUF_INIT;
	auto_free char *shortened = xstrndup(fingerprint ? fingerprint : "", SHORT_FINGERPRINT);
	auto_free char *from = NULL;
	auto_free char *to = NULL;

	if (pem && cert_pem_to_der(pem, strlen(pem), &der) >= 0 && cert_summary(der.data, der.len, &s) >= 0) {
		from = cli_format_time_long(s.not_before);
		to = cli_format_time_long(s.not_after);
	}
	const char *cells[] = {
		json_get_str(entry, "type"), json_get_str(entry, "name"), s.common_name, shortened, from, to};

	table_add(table, cells, ARRAY_SIZE(cells));
}

static int run_list(struct cli *c, struct error *err)
{
	static const char *const header[] = {"TYPE", "NAME", "COMMON NAME", "FINGERPRINT", "ISSUE DATE", "EXPIRY DATE"};
	static const struct entity_list list = {.url = "/1.0/certificates?recursion=1",
						.header = header,
						.columns = ARRAY_SIZE(header),
						.add_row = add_row};

	return entity_list(c, &list, err);
}

/* "[remote:]fingerprint", or "remote:" and "fingerprint" */
static int open_entry(struct cli *c, struct target *t, struct error *err)
{
	int r;

	if (cli_argc(c) < 2)
		return target_open_named(c, cli_arg(c, 0), "certificate fingerprint", t, err);
	r = target_open(c, cli_arg(c, 0), t, err);
	if (r < 0)
		return r;
	if (*t->name)
		return error_set(err, 400, "Invalid number of arguments");
	free(t->name);
	t->name = xstrdup(cli_arg(c, 1));
	return *t->name ? 0 : error_set(err, 400, "Missing certificate fingerprint");
}

static int load(struct cli *c, struct target *t, struct doc *d, struct error *err)
{
	auto_free char *url = NULL;
	int r = open_entry(c, t, err);

	if (r < 0)
		return r;
	url = cli_url("/1.0/certificates/%s", t->name);
	return doc_load(t->api, url, &doc_certificate, d, err);
}

static int run_show(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = load(c, &t, &d, err);

	return r < 0 ? r : cli_print_yaml(d.object, 0, err);
}

static int run_edit(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_doc struct doc d = DOC_INIT;
	int r = load(c, &t, &d, err);

	return r < 0 ? r
		     : doc_edit(c, &d,
				"This is the certificate's entry in the trust store, as YAML.\n"
				"Lines that begin with # are ignored; fingerprint and type cannot be changed.",
				err);
}

static int run_remove(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	auto_free char *url = NULL;
	int r = open_entry(c, &t, err);

	if (r < 0)
		return r;
	url = cli_url("/1.0/certificates/%s", t.name);
	return cli_do(c, t.api, "DELETE", url, NULL, NULL, err);
}

/* ---- adding ---- */

/* @der NULL: a token is asked for */
static char *add_body(struct cli *c, const char *name, const struct strbuf *der)
{
	const char *projects = option_str(c->options, "projects");
	auto_free char *base64 = der ? base64_encode(der->data, der->len) : xstrdup("");
	auto_strv struct strv names = STRV_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	strv_split(&names, projects ? projects : "", ',');
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", name);
	jsonw_kv_str(&w, "type", option_str(c->options, "type"));
	jsonw_kv_bool(&w, "restricted", option_bool(c->options, "restricted"));
	if (names.len)
		jsonw_kv_strv(&w, "projects", &names);
	else
		jsonw_kv_null(&w, "projects");
	jsonw_kv_str(&w, "certificate", base64);
	jsonw_kv_str(&w, "password", "");
	jsonw_kv_bool(&w, "token", !der);
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

static int read_certificate(const char *file, struct strbuf *der, struct error *err)
{
	auto_strbuf struct strbuf pem = STRBUF_INIT;
	auto_error struct error e = ERROR_INIT;
	auto_cert_summary struct cert_summary s = CERT_SUMMARY_INIT;
	int r;

	if (streq(file, "-"))
		r = cli_read_stdin(&pem, err);
	else
		r = file_read_at(AT_FDCWD, file, CERTIFICATE_MAX, &pem, &e);
	if (r == -ENOENT)
		return error_set(err, 404, "open %s: no such file or directory", file);
	if (r < 0)
		return err->msg ? r : error_move(err, &e);
	if (cert_pem_to_der(strbuf_str(&pem), pem.len, der) < 0 || cert_summary(der->data, der->len, &s) < 0)
		return error_set(err, 400, "Invalid certificate file");
	return 0;
}

static int add_file(struct cli *c, struct target *t, const char *file, struct error *err)
{
	const char *name = option_str(c->options, "name");
	auto_free char *own = streq(file, "-") ? xstrdup("stdin") : cli_url_last(file);
	auto_strbuf struct strbuf der = STRBUF_INIT;
	auto_free char *body = NULL;
	int r = read_certificate(file, &der, err);

	if (r < 0)
		return r;
	body = add_body(c, str_is_empty(name) ? own : name, &der);
	return cli_do(c, t->api, "POST", "/1.0/certificates", body, NULL, err);
}

static int ask_name(struct cli *c, char **ret, struct error *err)
{
	const char *name = option_str(c->options, "name");
	int r;

	if (!str_is_empty(name)) {
		*ret = xstrdup(name);
		return 0;
	}
	for (;;) {
		r = prompt_line("Please provide client name: ", ret, err);
		if (r < 0 || **ret)
			return r;
		free(TAKE_PTR(*ret));
		fputs("Invalid input, try again.\n\n", stderr);
	}
}

static int add_token(struct cli *c, struct target *t, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_trust_token struct trust_token token = TRUST_TOKEN_INIT;
	auto_free char *name = NULL;
	auto_free char *body = NULL;
	auto_free char *text = NULL;
	int r;

	if (streq(option_str(c->options, "type"), "metrics"))
		return error_set(err, 400, "Cannot use metrics type certificate when using a token");
	r = ask_name(c, &name, err);
	if (r < 0)
		return r;
	body = add_body(c, name, NULL);
	r = api_call(t->api, "POST", "/1.0/certificates", body, NULL, &reply, err);
	if (r < 0)
		return r;
	if (trust_token_from_operation(reply.metadata, &token) < 0)
		return error_set(err, 500, "The server's answer holds no token");
	text = trust_token_encode(&token);
	if (!cli_quiet(c))
		printf("Client %s certificate add token:\n", name);
	puts(text);
	explicit_bzero(text, strlen(text));
	return 0;
}

/* The name of a remote with its colon? Otherwise it is a file. */
static bool is_remote(const struct cli *c, const char *text)
{
	size_t n = strlen(text);
	auto_free char *name = n && text[n - 1] == ':' ? xstrndup(text, n - 1) : NULL;

	return name && mapmap_get(&c->config->remotes, name);
}

static int run_add(struct cli *c, struct error *err)
{
	const char *type = option_str(c->options, "type");
	const char *file = cli_argc(c) == 2 ? cli_arg(c, 1) : cli_arg(c, 0);
	auto_target struct target t = TARGET_INIT;
	int r;

	if (!streq(type, "client") && !streq(type, "metrics"))
		return error_set(err, 400, "Unknown certificate type \"%s\"", type);
	if (cli_argc(c) == 1 && is_remote(c, file))
		file = NULL;
	r = target_open(c, file == cli_arg(c, 0) ? NULL : cli_arg(c, 0), &t, err);
	if (r < 0)
		return r;
	if (*t.name)
		return error_set(err, 400, "\"%s\" names no remote; expected \"<remote>:\"", cli_arg(c, 0));
	if (!str_is_empty(option_str(c->options, "projects")) && !option_bool(c->options, "restricted"))
		cli_complain("Warning: without --restricted the projects are not a restriction: the client gets full "
			     "access\n");
	return file ? add_file(c, &t, file, err) : add_token(c, &t, err);
}

/* ---- tokens ---- */

/* Calls @fn for each operation that holds a token; stops at a result that is not 0. */
static int each_token(struct target *t, int (*fn)(const struct json *op, struct trust_token *token, void *arg),
		      void *arg, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	const struct json *list;
	int r = api_get(t->api, "/1.0/operations?project=default&recursion=1", &reply, err);

	if (r < 0)
		return r;
	list = json_get(reply.metadata, "running");
	for (size_t i = 0; r == 0 && i < json_len(list); i++) {
		auto_trust_token struct trust_token token = TRUST_TOKEN_INIT;
		const struct json *op = json_at(list, i);

		if (json_int(json_get(op, "status_code")) == 103 && trust_token_from_operation(op, &token) >= 0)
			r = fn(op, &token, arg);
	}
	return r;
}

struct token_list {
	struct table table;
	struct jsonw w;
	bool yaml;
};

static int list_token(const struct json *op UNUSED, struct trust_token *token, void *arg)
{
	static const char *const keys[][3] = {{"ClientName", "Token", "ExpiresAt"},
					      {"clientname", "token", "expiresat"}};
	struct token_list *list = arg;
	auto_free char *text = trust_token_encode(token);
	auto_free char *expires = cli_time_is_never(token->expires_at) ? xstrdup("")
								       : cli_format_time(token->expires_at);
	const char *cells[] = {token->client_name, text, expires};

	jsonw_object_begin(&list->w);
	for (size_t i = 0; i < ARRAY_SIZE(cells); i++)
		jsonw_kv_str(&list->w, keys[list->yaml][i], cells[i]);
	jsonw_object_end(&list->w);
	table_add(&list->table, cells, ARRAY_SIZE(cells));
	return 0;
}

static int run_list_tokens(struct cli *c, struct error *err)
{
	static const char *const header[] = {"NAME", "TOKEN", "EXPIRES AT"};
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct token_list list = {.table = TABLE_INIT, .w = JSONW(&b)};
	auto_target struct target t = TARGET_INIT;
	auto_json struct json *j = NULL;
	enum table_format format;
	int r;

	r = table_format_parse(option_str(c->options, "format"), &format, err);
	if (r >= 0)
		r = target_open(c, cli_arg(c, 0), &t, err);
	if (r < 0)
		return r;
	table_set_header(&list.table, header, ARRAY_SIZE(header));
	list.yaml = format == TABLE_YAML;
	jsonw_array_begin(&list.w);
	r = each_token(&t, list_token, &list, err);
	jsonw_array_end(&list.w);
	if (r >= 0)
		r = json_parse(strbuf_str(&b), b.len, &j, err);
	if (r >= 0) {
		table_sort(&list.table);
		r = table_print(&list.table, format, j, err);
	}
	table_done(&list.table);
	return r;
}

struct token_search {
	const char *name;
	char *id; /* of the operation */
};

static int find_token(const struct json *op, struct trust_token *token, void *arg)
{
	struct token_search *search = arg;

	if (!streq(token->client_name, search->name) || !json_get_str(op, "id"))
		return 0;
	search->id = xstrdup(json_get_str(op, "id"));
	return 1;
}

static int run_revoke(struct cli *c, struct error *err)
{
	auto_target struct target t = TARGET_INIT;
	struct token_search search = {0};
	auto_free char *id = NULL;
	auto_free char *url = NULL;
	int r;

	r = target_open_named(c, cli_arg(c, 0), "token", &t, err);
	if (r < 0)
		return r;
	search.name = t.name;
	r = each_token(&t, find_token, &search, err);
	id = search.id;
	if (r < 0)
		return r;
	if (!id)
		return error_set(err, 404, "No certificate add token for member %s on remote: %s", t.name, t.remote);
	url = cli_url("/1.0/operations/%s", id);
	r = cli_do(c, t.api, "DELETE", url, NULL, NULL, err);
	if (r >= 0 && !cli_quiet(c))
		printf("Certificate add token for %s deleted\n", t.name);
	return r;
}

static const struct option_row list_options[] = {TABLE_FORMAT_OPTION, OPTION_END};
static const struct option_row add_options[] = {
	{"name", 0, OPTION_STRING, NULL, "Name of the entry"},
	{"projects", 0, OPTION_STRING, NULL, "Projects that it is restricted to, with commas between"},
	{"restricted", 0, OPTION_BOOL, NULL, "Restrict it to projects"},
	{"type", 0, OPTION_STRING, "client", "client, or metrics"},
	OPTION_END,
};

#define ROW(id, nm, arguments, min, max, fn, text, ...) \
	static const struct command id = {              \
		.name = nm, .args = arguments, .min_args = min, .max_args = max, .run = fn, .doc = text, __VA_ARGS__}

ROW(trust_add, "add", "[<remote>:] [<certificate>]", 0, 2, run_add, "Let a client in", .options = add_options,
    .more = "With a certificate (a PEM file, or - for standard input) the client that has its key is trusted.\n"
	    "Without one a token is made: the client that uses it first, with `lxc remote add`, is trusted.");
ROW(trust_edit, "edit", "[<remote>:]<fingerprint>", 1, 1, run_edit, "Edit an entry as YAML");
ROW(trust_list, "list", "[<remote>:]", 0, 1, run_list, "List the certificates that are trusted", .alias = "ls",
    .options = list_options);
ROW(trust_list_tokens, "list-tokens", "[<remote>:]", 0, 1, run_list_tokens, "List the tokens that wait to be used",
    .options = list_options);
ROW(trust_remove, "remove", "[<remote>:]<fingerprint>", 1, 2, run_remove, "Remove a certificate", .alias = "rm");
ROW(trust_revoke, "revoke-token", "[<remote>:]<name>", 1, 1, run_revoke, "Take a token back");
ROW(trust_show, "show", "[<remote>:]<fingerprint>", 1, 1, run_show, "Show an entry as YAML");

static const struct command *const children[] = {&trust_add,    &trust_edit,   &trust_list, &trust_list_tokens,
						 &trust_remove, &trust_revoke, &trust_show, NULL};

const struct command cmd_config_trust = {
	.name = "trust", .children = children, .doc = "Who may use the server from afar"};
