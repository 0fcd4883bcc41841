/* Whom the client believes on the network, its own key pair, and what to say when a server is refused. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/str.h"
#include "base/wire_dial.h"
#include "client/cert.h"
#include "client/private.h"
#include "client/remote.h"

#define PEM_MAX (1024 * 1024)

/* 1 and the file's text, or 0 when it does not exist. */
static int read_optional(const char *path, char **ret, struct error *err)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error e = ERROR_INIT;
	int r = file_read_at(AT_FDCWD, path, PEM_MAX, &text, &e);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return error_move(err, &e);
	*ret = strbuf_take(&text);
	return 1;
}

static bool holds_certificate(const char *pem)
{
	auto_strbuf struct strbuf der = STRBUF_INIT;
	auto_cert_summary struct cert_summary s = CERT_SUMMARY_INIT;

	return cert_pem_to_der(pem, strlen(pem), &der) >= 0 && cert_summary(der.data, der.len, &s) >= 0;
}

static int read_key_pair(const struct cli_config *config, struct dial_target *t, struct error *err)
{
	auto_free char *crt = cli_config_file(config, "client.crt");
	auto_free char *key = cli_config_file(config, "client.key");
	int r;

	r = read_optional(crt, &t->client_cert, err);
	if (r <= 0)
		return r;
	if (!holds_certificate(t->client_cert))
		return error_set(err, 400, "%s holds no certificate", crt);
	r = read_optional(key, &t->client_key, err);
	if (r > 0 && !strstr(t->client_key, "PRIVATE KEY-----"))
		return error_set(err, 400, "%s holds no private key", key);
	if (r == 0)
		return error_set(err, 400, "%s has no key: %s is missing", crt, key);
	if (r > 0 && strstr(t->client_key, "ENCRYPTED"))
		return error_set(err, 400, "%s is encrypted, which this client does not support", key);
	return r;
}

int remote_reach_address(const struct cli_config *config, const struct remote_address *address, bool with_key,
			 struct dial_target *ret, struct error *err)
{
	auto_free char *ca = cli_config_file(config, "client.ca");
	int r;

	ret->host = xstrdup(address->host);
	ret->port = address->port;
	ret->proxy = dial_proxy_from_env(address->host, address->port);
	r = read_optional(ca, &ret->ca_pem, err);
	if (r < 0)
		return r;
	ret->flags = r > 0 ? WIRE_DIAL_CA : WIRE_DIAL_SYSTEM_ROOTS;
	return with_key ? read_key_pair(config, ret, err) : 0;
}

/* 1 when the remote has a pinned certificate. */
static int read_pin(const struct cli_config *config, const char *remote, char hex[SHA256_HEX + 1], struct error *err)
{
	auto_free char *path = cli_config_pin_path(config, remote);
	auto_free char *pem = NULL;
	int r = read_optional(path, &pem, err);

	if (r <= 0)
		return r;
	if (cert_pem_fingerprint(pem, strlen(pem), hex) < 0)
		return error_set(err, 400, "%s holds no certificate", path);
	return 1;
}

bool remote_uses_candid(const struct strmap *fields)
{
	return !strmap_get_bool(fields, "public", false) && streq(strmap_get_or(fields, "auth_type", "tls"), "candid");
}

int remote_reach(const struct cli_config *config, const char *remote, struct dial_target *ret, char **ret_path,
		 struct error *err)
{
	const struct strmap *fields = mapmap_get(&config->remotes, remote);
	bool streams = streq(strmap_get_or(fields, "protocol", "lxd"), "simplestreams");
	bool public = strmap_get_bool(fields, "public", false);
	auto_remote_address struct remote_address address = REMOTE_ADDRESS_INIT;
	char pin[SHA256_HEX + 1];
	int r;

	r = remote_address_parse(strmap_get_or(fields, "addr", ""), 443, false, &address, err);
	if (r >= 0 && address.socket)
		r = error_set(err, 400, "The address of remote \"%s\" is no URL of a server", remote);
	if (r >= 0)
		r = remote_reach_address(config, &address, !public && !streams && !remote_uses_candid(fields), ret,
					 err);
	if (r < 0)
		return r;
	r = streams ? 0 : read_pin(config, remote, pin, err);
	if (r < 0)
		return r;
	if (streams)
		ret->flags = WIRE_DIAL_SYSTEM_ROOTS;
	if (r > 0) {
		ret->flags = WIRE_DIAL_PIN | (ret->flags & WIRE_DIAL_CA);
		strv_add(&ret->pins, pin);
	}
	if (ret_path)
		*ret_path = TAKE_PTR(address.path);
	return 0;
}

/* ---- our own key pair ---- */

static int generate(const char *crt, const char *key, struct error *err)
{
	auto_free char *program = process_helper_path("lxd-keygen");
	const char *argv[] = {program, "--client", crt, key, NULL};
	struct process_spec spec = PROCESS_SPEC_INIT;
	int r;

	fputs("Generating a client certificate. This may take a minute...\n", stderr);
	spec.argv = argv;
	r = process_run(&spec, NULL, err);
	return r < 0 ? error_wrap(err, "Generate the client certificate") : 0;
}

int remote_ensure_key(const struct cli_config *config, struct error *err)
{
	auto_free char *crt = cli_config_file(config, "client.crt");
	auto_free char *key = cli_config_file(config, "client.key");
	auto_close int lock = -EBADF;
	int r;

	if (access(crt, F_OK) == 0 && access(key, F_OK) == 0)
		return 0;
	r = cli_config_lock(config, &lock, err);
	if (r < 0 || (access(crt, F_OK) == 0 && access(key, F_OK) == 0))
		return r;
	return generate(crt, key, err);
}

/* ---- after a failure ---- */

static void explain_certificate(const struct cli *c, const char *remote, const struct dial_result *peer)
{
	auto_free char *path = cli_config_pin_path(c->config, remote);
	auto_error struct error e = ERROR_INIT;
	const char *addr = strmap_get_or(mapmap_get(&c->config->remotes, remote), "addr", "");
	char pin[SHA256_HEX + 1];

	if (read_pin(c->config, remote, pin, &e) <= 0) {
		cli_complain(
			"The server \"%s\" shows a certificate that no known authority vouches for (fingerprint %s), "
			"and none is pinned for it. Nothing was sent.\n"
			"To trust this server: lxc remote remove %s; lxc remote add %s %s\n",
			remote, peer->fingerprint, remote, remote, addr);
		return;
	}
	cli_complain(
		"The certificate of the server \"%s\" is not the one that was accepted before; nothing was sent.\n"
		"  accepted: %s (%s)\n"
		"  now:      %s\n"
		"Either the server has a new certificate, or something between here and there answers in its place.\n"
		"Compare with `lxc info` on the server itself (certificate_fingerprint). If that is the second "
		"fingerprint:\n"
		"  lxc remote remove %s; lxc remote add %s %s --fingerprint %s\n",
		remote, pin, path, peer->fingerprint, remote, remote, addr, peer->fingerprint);
}

static bool is_network(const struct cli_connection *connection)
{
	return http_client_is_remote(connection->api->http);
}

static void explain_key_pair(const struct cli *c)
{
	auto_free char *crt = cli_config_file(c->config, "client.crt");
	auto_free char *key = cli_config_file(c->config, "client.key");

	cli_complain("The key pair of this client is %s and %s\n", crt, key);
}

/* Whether the server knows this client at all decides what helps; when it does not say, nothing is said. */
static void explain_refusal(const struct cli_connection *at)
{
	auto_api_reply struct api_reply reply = API_REPLY_INIT;
	auto_error struct error e = ERROR_INIT;
	const char *auth = NULL;

	if (api_get(at->api, "/1.0", &reply, &e) < 0)
		error_ignore(&e, "the error that is explained has been printed");
	else
		auth = json_get_str(reply.metadata, "auth");
	if (auth && streq(auth, "trusted"))
		cli_complain("Your %s is restricted on this server (\"%s\")\n", at->login ? "account" : "certificate",
			     at->remote);
	else if (auth && streq(auth, "untrusted") && !at->login)
		cli_complain("The server \"%s\" does not trust this client (any more), as `lxc info %s:` shows: have a "
			     "token "
			     "made there by `lxc config trust add`, then `lxc remote remove %s` and `lxc remote add %s "
			     "TOKEN`\n",
			     at->remote, at->remote, at->remote, at->remote);
}

void remote_explain(const struct cli *c, const struct error *err)
{
	for (size_t i = 0; i < c->connection_count; i++) {
		const struct cli_connection *at = &c->connections[i];
		const struct dial_result *peer = is_network(at) ? http_client_peer(at->api->http) : NULL;

		bool public = strmap_get_bool(mapmap_get(&c->config->remotes, at->remote), "public", false);

		if (is_network(at) && strstr(error_msg(err), "Load the client certificate"))
			explain_key_pair(c);
		if (!peer)
			continue;
		if (peer->leaf_pem && !peer->accepted_by)
			explain_certificate(c, at->remote, peer);
		else if (!public && err->status == 403 && strstr(error_msg(err), "not authorized"))
			explain_refusal(at);
	}
}
