/*
 * For end-to-end tests: connects through lxd-dial and copies standard input to the server, what it sends to standard
 * output. First a line of JSON on standard error: how the server was judged, or the error.
 *
 *	dial-driver URL [--system] [--fetch] [--ca FILE] [--pin HEX] [--cert FILE --key FILE] [--proxy URL] [--timeout
 *MS]
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/wire_dial.h"
#include "http/dial.h"

static char *slurp(const char *path)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	auto_error struct error err = ERROR_INIT;

	if (file_read_at(AT_FDCWD, path, 1 << 20, &b, &err) < 0) {
		fprintf(stderr, "%s\n", error_msg(&err));
		exit(2);
	}
	return strbuf_take(&b);
}

static void tell(const struct dial_result *res, const struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "error", err->status ? error_msg(err) : "");
	jsonw_kv_int(&w, "status", err->status);
	jsonw_kv_str(&w, "leaf", res->leaf_pem);
	jsonw_kv_str(&w, "fingerprint", res->fingerprint);
	jsonw_kv_int(&w, "accepted_by", res->accepted_by);
	jsonw_kv_str(&w, "version", res->tls_version);
	jsonw_kv_str(&w, "cipher", res->cipher);
	jsonw_object_end(&w);
	fprintf(stderr, "%s\n", b.data);
}

/* Copy until the server ends; the end of standard input is passed on. */
static int copy(int fd)
{
	struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	static char buf[65536];

	for (;;) {
		ssize_t n;

		if (poll(p, 2, -1) < 0)
			return 1;
		if (p[1].revents) {
			n = read(fd, buf, sizeof(buf));
			if (n <= 0)
				return n < 0;
			if (fd_write_full(STDOUT_FILENO, buf, (size_t)n) < 0)
				return 1;
		}
		if (p[0].revents) {
			n = read(STDIN_FILENO, buf, sizeof(buf));
			if (n <= 0) {
				shutdown(fd, SHUT_WR);
				p[0].fd = -1;
			} else if (fd_write_full(fd, buf, (size_t)n) < 0) {
				p[0].fd = -1; /* what the server said before it closed is still of interest */
			}
		}
	}
}

int main(int argc, char **argv)
{
	auto_dial_target struct dial_target t = DIAL_TARGET_INIT;
	auto_dial_result struct dial_result res = DIAL_RESULT_INIT;
	auto_error struct error err = ERROR_INIT;
	struct dial_spec spec = {0};
	uint32_t timeout = 0;
	int fd;

	if (argc < 2 || dial_target_parse(argv[1], 8443, &t, NULL, &err) < 0) {
		fprintf(stderr, "usage: dial-driver URL ...: %s\n", error_msg(&err));
		return 2;
	}
	for (int i = 2; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (streq(argv[i], "--system"))
			t.flags |= WIRE_DIAL_SYSTEM_ROOTS;
		else if (streq(argv[i], "--fetch"))
			t.flags |= WIRE_DIAL_FETCH;
		else if (streq(argv[i], "--ca"))
			t.flags |= WIRE_DIAL_CA, t.ca_pem = slurp(value), i++;
		else if (streq(argv[i], "--pin"))
			t.flags |= WIRE_DIAL_PIN, strv_add(&t.pins, value), i++;
		else if (streq(argv[i], "--cert"))
			t.client_cert = slurp(value), i++;
		else if (streq(argv[i], "--key"))
			t.client_key = slurp(value), i++;
		else if (streq(argv[i], "--proxy"))
			t.proxy = xstrdup(value), i++;
		else if (streq(argv[i], "--timeout") && parse_u32(value, &timeout) == 0)
			i++;
	}
	spec = (struct dial_spec){.host = t.host,
				  .port = t.port,
				  .flags = t.flags,
				  .proxy = t.proxy,
				  .ca_pem = t.ca_pem,
				  .pins = &t.pins,
				  .client_cert = t.client_cert,
				  .client_key = t.client_key,
				  .timeout_ms = timeout};
	fd = dial_connect(&spec, &res, &err);
	tell(&res, &err);
	return fd < 0 ? 1 : copy(fd);
}
