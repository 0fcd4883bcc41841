/* Remotes: config.yml, addresses, tokens, fingerprints, the outline of certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "client/address.h"
#include "client/cert.h"
#include "client/config.h"
#include "client/token.h"

/* ---- config.yml ---- */

static char *dir;

static int setup(void **state UNUSED)
{
	char template[] = "/tmp/lxc-config-XXXXXX";

	dir = xstrdup(mkdtemp(template));
	unsetenv("LXC_REMOTE");
	setenv("LXD_CONF", dir, 1);
	setenv("LXD_GLOBAL_CONF", "/nonexistent", 1);
	return 0;
}

static int teardown(void **state UNUSED)
{
	auto_error struct error e = ERROR_INIT;

	assert_int_equal(path_remove_tree(AT_FDCWD, dir, &e), 0);
	free(dir);
	return 0;
}

static void write_config(const char *text)
{
	auto_free char *path = path_join(dir, "config.yml");
	auto_error struct error e = ERROR_INIT;

	assert_int_equal(file_write_at(AT_FDCWD, path, text, strlen(text), 0644, &e), 0);
}

static char *read_config(void)
{
	auto_free char *path = path_join(dir, "config.yml");
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error e = ERROR_INIT;

	assert_int_equal(file_read_at(AT_FDCWD, path, 1 << 20, &text, &e), 0);
	return strbuf_take(&text);
}

static int add_alias(struct cli_config *c, void *arg, struct error *err UNUSED)
{
	strmap_set(&c->aliases, arg, "list");
	return 0;
}

static int refuse(struct cli_config *c, void *arg UNUSED, struct error *err)
{
	strmap_set(&c->aliases, "never", "seen");
	return error_set(err, 400, "no");
}

/* What the Go client wrote goes through a change and comes out with the same keys in the same order. */
static void config_keeps_what_others_wrote(void **state UNUSED)
{
	static const char text[] = "default-remote: m\n"
				   "remotes:\n"
				   "  images:\n"
				   "    addr: https://images.linuxcontainers.org\n"
				   "    protocol: simplestreams\n"
				   "    public: true\n"
				   "  local:\n"
				   "    addr: unix://\n"
				   "    project: p1\n"
				   "    public: false\n"
				   "  m:\n"
				   "    addr: https://127.0.0.1:8443\n"
				   "    auth_type: candid\n"
				   "    domain: example\n"
				   "    keepalive: 30\n"
				   "    project: default\n"
				   "    protocol: lxd\n"
				   "    public: false\n";
	auto_cli_config struct cli_config *c = NULL;
	auto_error struct error e = ERROR_INIT;
	auto_free char *before = xasprintf("%saliases: {}\n", text);
	auto_free char *expected = xasprintf("%saliases:\n  l: list\n", text);
	auto_free char *after = NULL;

	write_config(before);
	assert_int_equal(cli_config_load(false, &c, &e), 0);
	assert_string_equal(cli_config_default_remote(c), "m");
	assert_string_equal(strmap_get(mapmap_get(&c->remotes, "local"), "project"), "p1");
	assert_string_equal(strmap_get(mapmap_get(&c->remotes, "ubuntu"), "protocol"), "simplestreams");
	assert_int_equal(cli_config_change(c, add_alias, (char[]){"l"}, &e), 0);
	after = read_config();
	assert_string_equal(after, expected);
}

static void config_modes(void **state UNUSED)
{
	auto_cli_config struct cli_config *c = NULL;
	auto_error struct error e = ERROR_INIT;
	auto_free char *sub = path_join(dir, "a/b");
	auto_free char *file = path_join(sub, "config.yml");
	struct stat st;

	setenv("LXD_CONF", sub, 1);
	assert_int_equal(cli_config_load(false, &c, &e), 0);
	setenv("LXD_CONF", dir, 1);
	assert_false(c->exists);
	assert_int_equal(cli_config_change(c, NULL, NULL, &e), 0);
	assert_int_equal(stat(sub, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(chmod(file, 0600), 0);
	assert_int_equal(cli_config_change(c, add_alias, (char[]){"x"}, &e), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void config_refused_change_and_damage(void **state UNUSED)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"remotes:\n  a: [x\n", "line 3"},
		{"- a\n", "not a mapping"},
		{"remotes: [a]\n", "remotes is not a mapping"},
		{"remotes:\n  a: b\n", "remote \"a\" is not a mapping"},
		{"remotes:\n  a: {public: false}\n", "remote \"a\" has no addr"},
		{"remotes:\n  a: {addr: x, public: maybe}\n", "public must be true or false, not \"maybe\""},
		{"aliases:\n  a: {b: c}\n", "aliases"},
		{"a: b\na:\tc\n\t", "line"},
	};
	auto_free char *path = path_join(dir, "config.yml");

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_cli_config struct cli_config *c = NULL;
		auto_error struct error e = ERROR_INIT;
		auto_free char *after = NULL;

		write_config(bad[i].text);
		assert_true(cli_config_load(false, &c, &e) < 0);
		assert_non_null(strstr(error_msg(&e), path));
		assert_non_null(strstr(error_msg(&e), bad[i].message));
		after = read_config();
		assert_string_equal(after, bad[i].text);
	}
	{
		auto_cli_config struct cli_config *c = NULL;
		auto_error struct error e = ERROR_INIT;
		auto_free char *after = NULL;

		write_config("remotes: {}\n");
		assert_int_equal(cli_config_load(false, &c, &e), 0);
		assert_true(cli_config_change(c, refuse, NULL, &e) < 0);
		/* damaged after it was loaded: neither used nor replaced */
		write_config("remotes: {\n");
		error_clear(&e);
		assert_true(cli_config_change(c, add_alias, (char[]){"x"}, &e) < 0);
		after = read_config();
		assert_string_equal(after, "remotes: {\n");
	}
}

static void config_global_remotes(void **state UNUSED)
{
	auto_cli_config struct cli_config *c = NULL;
	auto_error struct error e = ERROR_INIT;
	auto_free char *global = path_join(dir, "global");
	auto_free char *file = path_join(global, "config.yml");
	auto_free char *pin = NULL;
	auto_free char *after = NULL;
	static const char text[] = "remotes:\n  g: {addr: 'https://g:8443'}\n  m: {addr: 'https://other:1'}\n";

	assert_int_equal(mkdir(global, 0755), 0);
	assert_int_equal(file_write_at(AT_FDCWD, file, text, strlen(text), 0644, &e), 0);
	setenv("LXD_GLOBAL_CONF", global, 1);
	write_config("remotes:\n  m: {addr: 'https://mine:1'}\n");
	assert_int_equal(cli_config_load(false, &c, &e), 0);
	setenv("LXD_GLOBAL_CONF", "/nonexistent", 1);
	assert_true(cli_config_is_global(c, "g"));
	assert_false(cli_config_is_global(c, "m"));
	assert_string_equal(strmap_get(mapmap_get(&c->remotes, "m"), "addr"), "https://mine:1");
	pin = cli_config_pin_path(c, "g");
	assert_non_null(startswith(pin, global));
	assert_int_equal(cli_config_change(c, NULL, NULL, &e), 0);
	after = read_config();
	assert_null(strstr(after, "g:8443"));
}

/* $LXC_REMOTE is not written into the file. */
static void config_environment(void **state UNUSED)
{
	auto_cli_config struct cli_config *c = NULL;
	auto_error struct error e = ERROR_INIT;
	auto_free char *after = NULL;

	write_config("default-remote: local\n");
	setenv("LXC_REMOTE", "images", 1);
	assert_int_equal(cli_config_load(false, &c, &e), 0);
	assert_string_equal(cli_config_default_remote(c), "images");
	assert_int_equal(cli_config_change(c, NULL, NULL, &e), 0);
	unsetenv("LXC_REMOTE");
	after = read_config();
	assert_non_null(startswith(after, "default-remote: local\n"));
}

/* Many writers at once: nothing is lost. */
static void config_concurrent_changes(void **state UNUSED)
{
	enum { WRITERS = 8, EACH = 5 };
	auto_cli_config struct cli_config *c = NULL;
	auto_error struct error e = ERROR_INIT;

	write_config("remotes: {}\n");
	for (int i = 0; i < WRITERS; i++) {
		if (fork() != 0)
			continue;
		if (cli_config_load(false, &c, &e) < 0)
			_exit(1);
		for (int k = 0; k < EACH; k++) {
			char *name = xasprintf("a%d-%d", i, k);

			if (cli_config_change(c, add_alias, name, &e) < 0)
				_exit(2);
			free(name);
		}
		_exit(0);
	}
	for (int i = 0; i < WRITERS; i++) {
		int status = -1;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(cli_config_load(false, &c, &e), 0);
	assert_int_equal(c->aliases.len, WRITERS * EACH);
}

static void config_symlink_stays(void **state UNUSED)
{
	auto_cli_config struct cli_config *c = NULL;
	auto_error struct error e = ERROR_INIT;
	auto_free char *path = path_join(dir, "config.yml");
	auto_free char *real = path_join(dir, "real.yml");
	struct stat st;

	unlink(path);
	assert_int_equal(file_write_at(AT_FDCWD, real, "aliases: {a: b}\n", 16, 0640, &e), 0);
	assert_int_equal(symlink("real.yml", path), 0);
	assert_int_equal(cli_config_load(false, &c, &e), 0);
	assert_int_equal(cli_config_change(c, NULL, NULL, &e), 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(unlink(path), 0);
}

static void config_names(void **state UNUSED)
{
	assert_null(cli_config_bad_name("m"));
	assert_string_equal(cli_config_bad_name("a:b"), "Remote names may not contain colons");
	assert_non_null(cli_config_bad_name("../x"));
	assert_non_null(cli_config_bad_name(".."));
	assert_non_null(cli_config_bad_name(""));
}

/* ---- addresses ---- */

static void address_good(void **state UNUSED)
{
	static const struct {
		const char *text;
		bool is_socket;
		const char *url;
	} rows[] = {
		{"10.0.0.1", false, "https://10.0.0.1:8443"},
		{"10.0.0.1:9443", false, "https://10.0.0.1:9443"},
		{"host", false, "https://host:8443"},
		{"host:", false, "https://host:8443"},
		{"::1", false, "https://[::1]:8443"},
		{"fd42::1", false, "https://[fd42::1]:8443"},
		{"[fd42::1]", false, "https://[fd42::1]:8443"},
		{"[fd42::1]:1", false, "https://[fd42::1]:1"},
		{"[10.0.0.1]:8443", false, "https://10.0.0.1:8443"},
		{"fe80::1%eth0", false, "https://[fe80::1%25eth0]:8443"},
		{"https://[fe80::1%25eth0]:8443", false, "https://[fe80::1%25eth0]:8443"},
		{"https://host", false, "https://host:8443"},
		{"HTTPS://host/", false, "https://host:8443"},
		{"https://host:1/1.0?x#y", false, "https://host:1"},
		{"unix://", false, "unix://"},
		{"unix:", false, "unix://"},
		{"unix:///run/x", false, "unix:///run/x"},
		{"unix:/run/x", false, "unix:///run/x"},
		{"/run/x", false, "unix:///run/x"},
		{"here.socket", true, "unix://here.socket"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_remote_address struct remote_address a = REMOTE_ADDRESS_INIT;
		auto_remote_address struct remote_address again = REMOTE_ADDRESS_INIT;
		auto_error struct error e = ERROR_INIT;
		auto_free char *url = NULL;
		auto_free char *second = NULL;

		assert_int_equal(remote_address_parse(rows[i].text, 8443, rows[i].is_socket, &a, &e), 0);
		url = remote_address_url(&a);
		assert_string_equal(url, rows[i].url);
		/* what is written is read as the same */
		assert_int_equal(remote_address_parse(url, 8443, false, &again, &e), 0);
		second = remote_address_url(&again);
		assert_string_equal(second, url);
	}
}

static void address_bad(void **state UNUSED)
{
	static const char *const rows[] = {
		"",
		"ftp://x",
		"http://1.2.3.4",
		"https://",
		"https://:8443",
		":8443",
		"h:0",
		"h:65536",
		"h:x",
		"h:-1",
		"h/path",
		"u@h",
		"https://u@h",
		"[::1",
		"[::1]x",
		"https://[::1]x",
		"a b",
		"a\nb",
		"h?x",
		"[]",
		"::1/64",
		"a%b",
		"[x:y]",
		"https://h:1:2/3x",
		"h\xc3\xa4 ",
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_remote_address struct remote_address a = REMOTE_ADDRESS_INIT;
		auto_error struct error e = ERROR_INIT;

		if (remote_address_parse(rows[i], 8443, false, &a, &e) >= 0)
			fail_msg("\"%s\" was accepted", rows[i]);
		assert_int_equal(e.status, 400);
	}
}

static void address_keeps_path(void **state UNUSED)
{
	auto_remote_address struct remote_address a = REMOTE_ADDRESS_INIT;
	auto_error struct error e = ERROR_INIT;

	assert_int_equal(remote_address_parse("https://host/a/b?q", 443, false, &a, &e), 0);
	assert_string_equal(a.path, "/a/b");
	assert_int_equal(a.port, 443);
}

#define FP "5a153b37c0a0d2ad9fe497d8125097fc9460affe38b0dbbed92c2e57eb5670c8"

static void fingerprints(void **state UNUSED)
{
	auto_free char *plain = fingerprint_normalise(FP);
	auto_free char *colons = fingerprint_normalise("5A:15:3B:37:C0:A0:D2:AD:9F:E4:97:D8:12:50:97:FC:94:60:AF:FE:38:"
						       "B0:DB:BE:D9:2C:2E:57:EB:56:70:C8");

	assert_string_equal(plain, FP);
	assert_string_equal(colons, FP);
	assert_null(fingerprint_normalise(""));
	assert_null(fingerprint_normalise("yes"));
	assert_null(fingerprint_normalise(FP "0"));
	assert_null(fingerprint_normalise("5a153b37c0a0"));
}

/* ---- tokens ---- */

#define VECTOR_D                                                                                                     \
	"eyJjbGllbnRfbmFtZSI6ImZvbyIsImZpbmdlcnByaW50IjoiNWExNTNiMzdjMGEwZDJhZDlmZTQ5N2Q4MTI1MDk3ZmM5NDYwYWZmZTM4Yj" \
	"BkYmJlZDkyYzJlNTdlYjU2NzBjOCIsImFkZHJlc3NlcyI6WyIxMjcuMC4wLjE6MSIsIjEyNy4wLjAuMToxODQ0NCJdLCJzZWNyZXQiOiJh" \
	"YmNkIiwiZXhwaXJlc19hdCI6IjAwMDEtMDEtMDFUMDA6MDA6MDBaIn0="

static void token_vector(void **state UNUSED)
{
	auto_trust_token struct trust_token t = TRUST_TOKEN_INIT;
	auto_free char *text = NULL;

	assert_int_equal(trust_token_decode(VECTOR_D, &t), 0);
	assert_string_equal(t.client_name, "foo");
	assert_string_equal(t.fingerprint, FP);
	assert_int_equal(t.addresses.len, 2);
	assert_string_equal(t.addresses.items[1], "127.0.0.1:18444");
	assert_string_equal(t.secret, "abcd");
	text = trust_token_encode(&t);
	assert_string_equal(text, VECTOR_D);
}

static void token_bad(void **state UNUSED)
{
	static const char *const rows[] = {
		"{}",
		"[]",
		"null",
		"\"x\"",
		"{\"client_name\":\"\",\"fingerprint\":\"" FP "\",\"addresses\":[\"a\"],\"secret\":\"s\"}",
		"{\"client_name\":\"n\",\"fingerprint\":\"12\",\"addresses\":[\"a\"],\"secret\":\"s\"}",
		"{\"client_name\":\"n\",\"fingerprint\":\"" FP "\",\"addresses\":[],\"secret\":\"s\"}",
		"{\"client_name\":\"n\",\"fingerprint\":\"" FP "\",\"addresses\":\"a\",\"secret\":\"s\"}",
		"{\"client_name\":\"n\",\"fingerprint\":\"" FP "\",\"addresses\":[1],\"secret\":\"s\"}",
		"{\"client_name\":\"n\",\"fingerprint\":\"" FP "\",\"addresses\":[\"a\"],\"secret\":\"\"}",
		"{\"client_name\":\"n\",\"fingerprint\":\"" FP "\",\"addresses\":[\"a\"]}",
	};
	auto_trust_token struct trust_token t = TRUST_TOKEN_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_free char *text = base64_encode(rows[i], strlen(rows[i]));

		assert_int_equal(trust_token_decode(text, &t), -EINVAL);
	}
	assert_int_equal(trust_token_decode("", &t), -EINVAL);
	assert_int_equal(trust_token_decode("127.0.0.1", &t), -EINVAL);
	assert_int_equal(trust_token_decode("foo", &t), -EINVAL);
}

static void token_of_operation(void **state UNUSED)
{
	static const char text[] =
		"{\"class\":\"token\",\"metadata\":{\"secret\":\"abcd\",\"fingerprint\":\"" FP
		"\",\"addresses\":[\"127.0.0.1:1\",\"127.0.0.1:18444\"],\"request\":{\"name\":\"foo\"}}}";
	auto_trust_token struct trust_token t = TRUST_TOKEN_INIT;
	auto_error struct error e = ERROR_INIT;
	auto_json struct json *j = NULL;
	auto_json struct json *other = NULL;
	auto_free char *token = NULL;

	assert_int_equal(json_parse(text, strlen(text), &j, &e), 0);
	assert_int_equal(trust_token_from_operation(j, &t), 0);
	token = trust_token_encode(&t);
	assert_string_equal(token, VECTOR_D);
	assert_int_equal(json_parse("{\"class\":\"task\",\"metadata\":null}", 32, &other, &e), 0);
	assert_int_equal(trust_token_from_operation(other, &t), -EINVAL);
}

/* ---- certificates ---- */

static const char pem[] = "-----BEGIN CERTIFICATE-----\n"
			  "MIIB0TCCAVagAwIBAgIQZ5RhmXlCKzGTlVqj7aKOhzAKBggqhkjOPQQDAzAwMRww\n"
			  "GgYDVQQKExNsaW51eGNvbnRhaW5lcnMub3JnMRAwDgYDVQQDDAdyb290QHZtMB4X\n"
			  "DTI2MTEyNTIyMjMyOVoXDTM2MTEyMjIyMjMyOVowMDEcMBoGA1UEChMTbGludXhj\n"
			  "b250YWluZXJzLm9yZzEQMA4GA1UEAwwHcm9vdEB2bTB2MBAGByqGSM49AgEGBSuB\n"
			  "BAAiA2IABDMycRBCElhdzVc0JJx8hEiIHgXF3F4Z9gxtDzS4XJTZpCQEAfKGnBmd\n"
			  "XLQmjQmJIu9X3vTNRlu1rJx3n2RK9KOhIJ9BAzPHpUa29BByV9zdxeRuEBWOuliq\n"
			  "sFzwBrCcL6M1MDMwDgYDVR0PAQH/BAQDAgWgMBMGA1UdJQQMMAoGCCsGAQUFBwMC\n"
			  "MAwGA1UdEwEB/wQCMAAwCgYIKoZIzj0EAwMDaQAwZgIxANpC+IPQRd2AH+4cKRKJ\n"
			  "E1n4djn6ndMaW3tmcX4I5jT/UG1DIqvAOrBzioILKxHcSAIxAMP3F3xOtFkfwySp\n"
			  "5YEEeb/96BXYWTfi0CKlA/V3LiGlr7DiqBO6OoTAAY/dnX8x/A==\n"
			  "-----END CERTIFICATE-----\n";

static void certificate_outline(void **state UNUSED)
{
	auto_strbuf struct strbuf der = STRBUF_INIT;
	auto_cert_summary struct cert_summary s = CERT_SUMMARY_INIT;
	char hex[SHA256_HEX + 1];

	assert_int_equal(cert_pem_to_der(pem, strlen(pem), &der), 0);
	assert_int_equal(cert_summary(der.data, der.len, &s), 0);
	assert_string_equal(s.common_name, "root@vm");
	assert_string_equal(s.not_before, "2026-11-25T22:23:29Z");
	assert_string_equal(s.not_after, "2036-11-22T22:23:29Z");
	assert_int_equal(cert_pem_fingerprint(pem, strlen(pem), hex), 0);
	assert_string_equal(hex, "4b2add6842dfcced98e664c0efb6008c02210a5170cf60c99a22b8413e1afd05");
}

/* Every cut, and every byte changed: an error or an answer, never more. */
static void certificate_damaged(void **state UNUSED)
{
	auto_strbuf struct strbuf der = STRBUF_INIT;

	assert_int_equal(cert_pem_to_der(pem, strlen(pem), &der), 0);
	for (size_t len = 0; len < der.len; len++) {
		auto_cert_summary struct cert_summary s = CERT_SUMMARY_INIT;
		auto_free char *copy = xmalloc(len + 1);

		memcpy(copy, der.data, len);
		assert_int_equal(cert_summary(copy, len, &s), -EINVAL);
	}
	for (size_t i = 0; i < der.len; i++) {
		for (int change = 1; change < 256; change <<= 1) {
			auto_cert_summary struct cert_summary s = CERT_SUMMARY_INIT;

			der.data[i] ^= (char)change;
			assert_true(cert_summary(der.data, der.len, &s) == 0 || !s.common_name);
			der.data[i] ^= (char)change;
		}
	}
}

static void certificate_not_pem(void **state UNUSED)
{
	static const char *const rows[] = {"",
					   "x",
					   "-----BEGIN CERTIFICATE-----\n",
					   "-----END CERTIFICATE-----",
					   "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
					   "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"};
	auto_strbuf struct strbuf der = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(cert_pem_to_der(rows[i], strlen(rows[i]), &der), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_keeps_what_others_wrote),
		cmocka_unit_test(config_modes),
		cmocka_unit_test(config_refused_change_and_damage),
		cmocka_unit_test(config_global_remotes),
		cmocka_unit_test(config_environment),
		cmocka_unit_test(config_concurrent_changes),
		cmocka_unit_test(config_symlink_stays),
		cmocka_unit_test(config_names),
		cmocka_unit_test(address_good),
		cmocka_unit_test(address_bad),
		cmocka_unit_test(address_keeps_path),
		cmocka_unit_test(fingerprints),
		cmocka_unit_test(token_vector),
		cmocka_unit_test(token_bad),
		cmocka_unit_test(token_of_operation),
		cmocka_unit_test(certificate_outline),
		cmocka_unit_test(certificate_damaged),
		cmocka_unit_test(certificate_not_pem),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
