/*
 * `lxc remote add`: look at the server, let the user decide whether it is the right one, make it trust this client,
 * choose a project, and only then write anything down. A refusal or an error on the way leaves no trace but the
 * client's key pair.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/wire_dial.h"
#include "base/prompt.h"
#include "client/candid.h"
#include "client/remote.h"
#include "client/token.h"

#define NAME_LEN_MAX 200 /* it names a file, with more around it */

struct addition {
	struct cli *c;
	const char *name;
	struct remote_address address;
	const char *auth_type; /* as asked for, or what was found out; NULL: none is stored */
	bool public;
	char *wanted;           /* fingerprint the server must have; NULL: any, the user is asked */
	const char *token_text; /* NULL: no token */
	struct trust_token token;
	struct dial_target how;
	char *pin; /* PEM to be pinned; NULL: authorities vouch for the server */
	struct api *api;
	struct candid *login; /* of api; NULL: by certificate */
	char *project;
};

static void addition_done(struct addition *a)
{
	remote_address_done(&a->address);
	free(a->wanted);
	trust_token_done(&a->token);
	dial_target_done(&a->how);
	free(a->pin);
	api_close(a->api);
	candid_close(a->login);
	free(a->project);
}

/* ---- writing down ---- */

static int store(struct cli_config *config, void *arg, struct error *err)
{
	struct addition *a = arg;
	auto_free char *url = remote_address_url(&a->address);
	auto_free char *jar = cli_config_jar_path(config, a->name);
	struct strmap *old = mapmap_get(&config->remotes, a->name);
	struct strmap *remote;
	int r;

	if (old)
		return error_set(err, 409, "Remote %s exists as <%s>", a->name, strmap_get_or(old, "addr", ""));
	r = cli_config_set_pin(config, a->name, a->pin, err);
	if (r >= 0 && a->login)
		r = candid_keep(a->login, jar, err);
	if (r < 0)
		return r;
	remote = mapmap_ensure(&config->remotes, a->name);
	strmap_set(remote, "addr", url);
	strmap_set(remote, "auth_type", a->auth_type);
	strmap_set(remote, "domain", option_str(a->c->options, "domain"));
	strmap_set(remote, "project", str_is_empty(a->project) ? NULL : a->project);
	strmap_set(remote, "protocol", "lxd");
	strmap_set(remote, "public", a->public ? "true" : "false");
	return 0;
}

static int save(struct addition *a, struct error *err)
{
	auto_error struct error e = ERROR_INIT;
	auto_free char *jar = cli_config_jar_path(a->c->config, a->name);
	int r = cli_config_change(a->c->config, store, a, err);

	if (r < 0 && r != -EEXIST && a->login)
		unlink(jar);
	/* the pin of a remote that was there all the time stays */
	if (r < 0 && r != -EEXIST && a->pin && cli_config_set_pin(a->c->config, a->name, NULL, &e) < 0)
		error_ignore(&e, "the error before it is the one to report");
	return r;
}

/* ---- whether it is the right server ---- */

static int mismatch(const struct addition *a, const char *shown, struct error *err)
{
	auto_free char *url = remote_address_url(&a->address);

	if (a->token_text)
		return error_set(
			err, 400,
			"Certificate fingerprint mismatch between certificate token and server \"%s\": the token "
			"names %s, the server shows %s",
			url, a->wanted, shown);
	return error_set(err, 400, "Certificate fingerprint mismatch: %s was given, the server \"%s\" shows %s",
			 a->wanted, url, shown);
}

/* y, n, or the fingerprint itself */
static int ask_fingerprint(const char *shown, struct error *err)
{
	auto_free char *answer = NULL;
	auto_free char *typed = NULL;
	int r;

	printf("Certificate fingerprint: %s\n", shown);
	r = prompt_line("ok (y/n/[fingerprint])? ", &answer, err);
	if (r < 0)
		return r;
	typed = fingerprint_normalise(answer);
	if (typed && streq(typed, shown))
		return 0;
	if (!*answer || *answer == 'n' || *answer == 'N')
		return error_set(err, 400, "Server certificate NACKed by user");
	if (!typed && (*answer == 'y' || *answer == 'Y'))
		return 0;
	return error_set(err, 400, "Please type 'y', 'n' or the fingerprint:");
}

static bool wants_candid(const struct addition *a)
{
	return a->auth_type && streq(a->auth_type, "candid");
}

/* Neither a public server nor one that asks an identity provider is shown who this client is. */
static bool shows_key(const struct addition *a)
{
	return !a->public && !wants_candid(a);
}

/*
 * One connection shows the certificate, and whether an authority vouches for it (*@ret_known). Fails only when the
 * server cannot be reached, in the words of the Go client.
 */
static int look_at(struct addition *a, struct dial_result *shown, bool *ret_known, struct error *err)
{
	auto_free char *url = remote_address_url(&a->address);
	auto_error struct error e = ERROR_INIT;
	auto_close int fd = -EBADF;
	int r;

	dial_target_done(&a->how);
	a->how = DIAL_TARGET_INIT;
	r = remote_reach_address(a->c->config, &a->address, shows_key(a), &a->how, err);
	if (r < 0)
		return r;
	fd = dial_target_connect(&a->how, shown, &e);
	*ret_known = fd >= 0;
	if (fd >= 0 || shown->leaf_pem)
		return 0;
	error_wrap(&e, "Get \"%s\"", url);
	return error_move(err, &e);
}

/* Every further connection of this command leads to the server with this certificate, whoever signs others. */
static void hold_to(struct addition *a, const char *fingerprint)
{
	a->how.flags = WIRE_DIAL_PIN;
	strv_add(&a->how.pins, fingerprint);
}

/* A fingerprint that was given is compared in any case. Afterwards a->how leads to this server only. */
static int judge(struct addition *a, struct dial_result *shown, bool known, struct error *err)
{
	int r = 0;

	if (a->wanted && !streq(a->wanted, shown->fingerprint))
		return mismatch(a, shown->fingerprint, err);
	if (known && !option_given(a->c->options, "fingerprint")) {
		if (a->wanted)
			hold_to(a, shown->fingerprint);
		return 0;
	}
	if (!a->wanted && !option_bool(a->c->options, "accept-certificate"))
		r = ask_fingerprint(shown->fingerprint, err);
	if (r < 0)
		return r;
	a->pin = TAKE_PTR(shown->leaf_pem);
	hold_to(a, shown->fingerprint);
	return 0;
}

static void open_connection(struct addition *a)
{
	api_close(a->api);
	a->api = api_open_remote(&a->how, NULL);
	a->api->debug = option_bool(a->c->options, "debug") ? cli_debug : NULL;
}

/* ---- whether it trusts us ---- */

static char *trust_body(const char *secret, const char *type)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "name", "");
	jsonw_kv_str(&w, "type", type);
	jsonw_kv_bool(&w, "restricted", false);
	jsonw_kv_null(&w, "projects");
	jsonw_kv_str(&w, "certificate", "");
	jsonw_kv_str(&w, "password", secret);
	jsonw_kv_bool(&w, "token", false);
	jsonw_object_end(&w);
	return strbuf_take(&b);
}

static void wipe_free(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

static int ask_trust(struct api *api, const char *secret, const char *type, struct error *err)
{
	char *body = trust_body(secret, type);
	int r = api_do(api, "POST", "/1.0/certificates", body, NULL, err);

	wipe_free(body);
	return r;
}

static int send_password(struct addition *a, struct error *err)
{
	const char *given = option_str(a->c->options, "password");
	auto_free char *question = xasprintf("Admin password (or token) for %s: ", a->name);
	char *typed = NULL;
	int r = 0;

	if (str_is_empty(given))
		r = prompt_secret(question, &typed, err);
	if (r >= 0)
		r = ask_trust(a->api, typed ? typed : given, "client", err);
	wipe_free(typed);
	return r;
}

/* Password or token, unless the server trusts this client already. */
static int gain_trust(struct addition *a, struct api_reply *server, struct error *err)
{
	const char *auth = json_get_str(server->metadata, "auth");
	int r;

	if (auth && streq(auth, "trusted")) {
		if (a->token_text)
			cli_complain("The server trusts this client already; the token was not used.\n");
		return 0;
	}
	r = a->token_text ? ask_trust(a->api, a->token_text, "", err) : send_password(a, err);
	if (r < 0)
		return r;
	api_reply_done(server);
	r = api_get(a->api, "/1.0", server, err);
	if (r < 0)
		return r;
	auth = json_get_str(server->metadata, "auth");
	if (!auth || !streq(auth, "trusted"))
		return error_set(err, 403, "Server doesn't trust us after authentication");
	if (!a->token_text)
		printf("Client certificate now trusted by server: %s\n", a->name);
	return 0;
}

static bool list_has(const struct json *list, const char *text)
{
	for (size_t i = 0; i < json_len(list); i++) {
		const char *item = json_str(json_at(list, i));

		if (item && streq(item, text))
			return true;
	}
	return false;
}

static int check_auth_type(struct addition *a, const struct json *server, struct error *err)
{
	const struct json *methods = json_get(server, "auth_methods");

	/* as the reference client chooses; a password is for certificates */
	if (!a->auth_type && !a->token_text)
		a->auth_type = list_has(methods, "candid") && !option_given(a->c->options, "password") ? "candid"
												       : "tls";
	if (json_kind(methods) == JSON_ARRAY && a->auth_type && !list_has(methods, a->auth_type))
		return error_set(err, 400, "Authentication type '%s' not supported by server", a->auth_type);
	return 0;
}

/* A connection of its own: the server must not see a certificate beside the login. */
static int log_in(struct addition *a, struct api_reply *server, struct error *err)
{
	const char *auth;
	int r = candid_open(a->how.host, a->how.port, NULL, option_str(a->c->options, "domain"), &a->login, err);

	if (r < 0)
		return r;
	free(TAKE_PTR(a->how.client_cert));
	free(TAKE_PTR(a->how.client_key));
	open_connection(a);
	http_client_set_login(a->api->http, candid_login(a->login));
	api_reply_done(server);
	r = api_get(a->api, "/1.0", server, err);
	if (r < 0)
		return r;
	auth = json_get_str(server->metadata, "auth");
	if (!auth || !streq(auth, "trusted"))
		return error_set(err, 403, "Server doesn't trust us after authentication");
	return 0;
}

/* ---- the project ---- */

static int ask_project(const struct strv *names, char **ret, struct error *err)
{
	int r;

	puts("Available projects:");
	for (size_t i = 0; i < names->len; i++) {
		fputs(" - ", stdout);
		cli_print_safe(names->items[i]);
		putchar('\n');
	}
	for (;;) {
		r = prompt_line("Name of the project to use for this remote: ", ret, err);
		if (r < 0 || strv_contains(names, *ret))
			return r;
		free(TAKE_PTR(*ret));
		fputs("Invalid input, try again.\n\n", stderr);
	}
}

/* The only project, or the user's choice; none when `default` is among several. */
static int pick_project(struct addition *a, struct error *err)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_strv struct strv names = STRV_INIT;
	int r = api_get(a->api, "/1.0/projects", &reply, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < json_len(reply.metadata); i++) {
		const char *url = json_str(json_at(reply.metadata, i));

		if (url)
			strv_take(&names, cli_url_last(url));
	}
	if (names.len == 1)
		a->project = xstrdup(names.items[0]);
	else if (names.len > 1 && !strv_contains(&names, "default"))
		return ask_project(&names, &a->project, err);
	return 0;
}

static int choose_project(struct addition *a, const struct json *server, struct error *err)
{
	const char *wanted = option_str(a->c->options, "project");
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_free char *url = NULL;
	int r;

	if (str_is_empty(wanted))
		return list_has(json_get(server, "api_extensions"), "projects") ? pick_project(a, err) : 0;
	url = cli_url("/1.0/projects/%s", wanted);
	r = api_get(a->api, url, &reply, err);
	if (r >= 0)
		a->project = xstrdup(wanted);
	return r;
}

/* ---- the branches ---- */

static int finish(struct addition *a, struct error *err)
{
	auto_api_reply struct api_reply server = API_REPLY_INIT;
	int r;

	r = api_get(a->api, "/1.0", &server, err);
	if (r < 0)
		return r;
	if (json_is_true(json_get(server.metadata, "public"))) {
		a->public = true;
		return save(a, err);
	}
	r = check_auth_type(a, server.metadata, err);
	if (r >= 0)
		r = wants_candid(a) ? log_in(a, &server, err) : gain_trust(a, &server, err);
	if (r >= 0)
		r = choose_project(a, server.metadata, err);
	return r < 0 ? r : save(a, err);
}

static int add_socket(struct addition *a, struct error *err)
{
	auto_free char *path = *a->address.socket ? xstrdup(a->address.socket) : api_default_socket();
	auto_api_reply struct api_reply server = API_REPLY_INIT;
	int r;

	a->auth_type = "tls";
	r = api_open(path, NULL, &a->api, err);
	if (r < 0)
		return error_wrap(err, "Get \"http://unix.socket/1.0\"");
	r = api_get(a->api, "/1.0", &server, err);
	if (r >= 0)
		r = choose_project(a, server.metadata, err);
	return r < 0 ? r : save(a, err);
}

/* The server is known and believed: go on with it. */
static int go_on(struct addition *a, struct error *err)
{
	open_connection(a);
	return finish(a, err);
}

static int add_network(struct addition *a, struct error *err)
{
	auto_dial_result struct dial_result shown = DIAL_RESULT_INIT;
	bool known;
	int r = shows_key(a) ? remote_ensure_key(a->c->config, err) : 0;

	if (r >= 0)
		r = look_at(a, &shown, &known, err);
	if (r >= 0)
		r = judge(a, &shown, known, err);
	if (r < 0)
		return r;
	if (!a->public)
		return go_on(a, err);
	a->auth_type = NULL;
	return save(a, err);
}

static int try_address(struct addition *a, const char *text, bool *ret_reached, struct error *err)
{
	auto_dial_result struct dial_result shown = DIAL_RESULT_INIT;
	bool known;
	int r;

	remote_address_done(&a->address);
	*ret_reached = false;
	r = remote_address_parse(text, REMOTE_DEFAULT_PORT, false, &a->address, err);
	if (r >= 0 && a->address.socket)
		r = error_set(err, 400, "Invalid address \"%s\": a token leads to a server on the network", text);
	if (r >= 0)
		r = look_at(a, &shown, &known, err);
	if (r < 0)
		return r;
	*ret_reached = true;
	r = judge(a, &shown, known, err);
	return r < 0 ? r : go_on(a, err);
}

/* The addresses one after the other; only one that cannot be reached leads to the next, and in the end to a question.
 */
static int add_by_token(struct addition *a, const struct strv *addresses, struct error *err)
{
	auto_free char *other = NULL;
	bool reached = false;
	int r = remote_ensure_key(a->c->config, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < addresses->len; i++) {
		auto_error struct error e = ERROR_INIT;

		r = try_address(a, addresses->items[i], &reached, &e);
		if (reached)
			return r < 0 ? error_move(err, &e) : 0;
		cli_complain("%s\n", error_msg(&e));
	}
	puts("All server addresses are unavailable");
	r = prompt_line("Please provide an alternate server address (empty to abort): ", &other, err);
	if (r < 0)
		return r;
	return *other ? try_address(a, other, &reached, err) : error_set(err, 400, "Failed to add remote");
}

static int store_streams(struct cli_config *config, void *arg, struct error *err)
{
	const struct addition *a = arg;
	struct strmap *remote = mapmap_get(&config->remotes, a->name);

	if (remote)
		return error_set(err, 409, "Remote %s exists as <%s>", a->name, strmap_get_or(remote, "addr", ""));
	remote = mapmap_ensure(&config->remotes, a->name);
	strmap_set(remote, "addr", cli_arg(a->c, cli_argc(a->c) - 1));
	strmap_set(remote, "protocol", "simplestreams");
	strmap_set(remote, "public", "true");
	return cli_config_set_pin(config, a->name, NULL, err);
}

/* Written down as it is: nothing is asked of the server. */
static int add_streams(struct addition *a, const char *text, struct error *err)
{
	int r;

	if (strncasecmp(text, "https://", strlen("https://")) != 0)
		return error_set(err, 400, "Only https URLs are supported for simplestreams");
	r = remote_address_parse(text, 443, false, &a->address, err);
	return r < 0 ? r : cli_config_change(a->c->config, store_streams, a, err);
}

/* What was typed instead of, or beside, an address. */
static int read_token(struct addition *a, const char *address, struct error *err)
{
	const char *explicit = option_str(a->c->options, "token");

	if (explicit && option_bool(a->c->options, "accept-certificate"))
		return error_set(err, 400,
				 "--token cannot be used with --accept-certificate: the token says which "
				 "certificate the server must have");
	if (explicit && trust_token_decode(explicit, &a->token) < 0)
		return error_set(err, 400, "The text after --token is not a certificate add token");
	if (explicit)
		a->token_text = explicit;
	else if (trust_token_decode(address, &a->token) >= 0)
		a->token_text = address;
	if (!a->token_text)
		return 0;
	if (a->wanted && !streq(a->wanted, a->token.fingerprint))
		return error_set(err, 400, "The token is for a server with fingerprint %s, not %s",
				 a->token.fingerprint, a->wanted);
	free(a->wanted);
	a->wanted = xstrdup(a->token.fingerprint);
	return 0;
}

static int read_options(struct addition *a, struct error *err)
{
	const char *fingerprint = option_str(a->c->options, "fingerprint");

	a->auth_type = option_str(a->c->options, "auth-type");
	a->public = option_bool(a->c->options, "public");
	if (str_is_empty(a->auth_type))
		a->auth_type = NULL;
	if (fingerprint) {
		a->wanted = fingerprint_normalise(fingerprint);
		if (!a->wanted)
			return error_set(err, 400, "Invalid fingerprint \"%s\": a SHA-256 has 64 hexadecimal digits",
					 fingerprint);
	}
	return 0;
}

/* Does the whole text name a socket that exists? */
static bool is_socket(const char *text)
{
	struct stat st;

	return stat(text, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int add_by_address(struct addition *a, const char *text, struct error *err)
{
	const char *protocol = option_str(a->c->options, "protocol");
	int r;

	if (streq(protocol, "simplestreams"))
		return add_streams(a, text, err);
	if (!streq(protocol, "lxd"))
		return error_set(err, 400, "Invalid protocol: %s", protocol);
	r = remote_address_parse(text, REMOTE_DEFAULT_PORT, is_socket(text), &a->address, err);
	if (r < 0)
		return r;
	return a->address.socket ? add_socket(a, err) : add_network(a, err);
}

static int check_name(const struct addition *a, struct error *err)
{
	const struct strmap *old = mapmap_get(&a->c->config->remotes, a->name);
	const char *bad = cli_config_bad_name(a->name);

	if (bad)
		return error_set(err, 400, "%s", bad);
	if (strlen(a->name) > NAME_LEN_MAX)
		return error_set(err, 400, "The name of the remote is too long: %d characters at most", NAME_LEN_MAX);
	if (old)
		return error_set(err, 409, "Remote %s exists as <%s>", a->name, strmap_get_or(old, "addr", ""));
	return 0;
}

static int run_add(struct cli *c, struct error *err)
{
	CLEANUP(addition_done) struct addition a = {.c = c, .name = cli_arg(c, 0)};
	const char *address = cli_arg(c, cli_argc(c) - 1);
	auto_strv struct strv given = STRV_INIT;
	int r = read_options(&a, err);

	if (r >= 0)
		r = read_token(&a, address, err);
	if (r >= 0 && a.token_text == a.name)
		r = error_set(err, 400, "A name is needed with a token: lxc remote add NAME TOKEN");
	if (r >= 0 && wants_candid(&a) && (a.token_text || option_given(c->options, "password")))
		r = error_set(err, 400, "Tokens and passwords are for certificates, not for --auth-type=candid");
	if (r >= 0)
		r = check_name(&a, err);
	if (r < 0)
		return r;
	if (!a.token_text)
		return add_by_address(&a, address, err);
	if (a.token_text == address || cli_argc(c) == 1)
		return add_by_token(&a, &a.token.addresses, err);
	strv_add(&given, address);
	return add_by_token(&a, &given, err);
}

static const struct option_row add_options[] = {
	{"accept-certificate", 0, OPTION_BOOL, NULL, "Accept the server's certificate without asking"},
	{"auth-type", 0, OPTION_STRING, NULL, "How the server knows this client: tls or candid"},
	{"domain", 0, OPTION_STRING, NULL, "Domain of the identity provider to log in with (candid)"},
	{"fingerprint", 0, OPTION_STRING, NULL, "SHA-256 of the certificate that the server must have"},
	{"password", 0, OPTION_STRING, NULL, "Trust password of the server, or a token"},
	{"protocol", 0, OPTION_STRING, "lxd", "What the server speaks: lxd or simplestreams"},
	{"public", 0, OPTION_BOOL, NULL, "A server of public images"},
	{"token", 0, OPTION_STRING, NULL, "Token made by `lxc config trust add` on the server"},
	OPTION_END,
};

const struct command cmd_remote_add = {
	.name = "add",
	.args = "[<remote>] <IP|FQDN|URL|token>",
	.min_args = 1,
	.max_args = 2,
	.options = add_options,
	.run = run_add,
	.doc = "Add a remote",
	.more = "The server's certificate is shown by its fingerprint and accepted once; from then on only this\n"
		"certificate is accepted. With a token, or with --fingerprint, it is compared without a question.\n"
		"With --auth-type=candid the server's identity provider says who you are: it asks on the terminal or "
		"in\n"
		"the browser, and again when the login has expired. No certificate of this client is shown then.\n"
		"A folder with client.ca trusts what this authority has signed instead.",
};
