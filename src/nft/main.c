/*
 * The program lxd-nft: hands nft commands of lxd to libnftables (base/wire_nft.h). It is apart because the library is
 * not known to be safe in a program with threads and its memory grows with use: this process lives only while there is
 * work. It keeps CAP_NET_ADMIN and nothing else; files are read at the start alone (names of marks and the like).
 */
#include <nftables/libnftables.h>
#include <poll.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <linux/netlink.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/confine.h"
#include "base/fd.h"
#include "base/wire.h"
#include "base/wire_nft.h"

#define NETLINK_FD 4 /* libnftables opens its socket first of all */

static bool has_netlink(void)
{
	struct sockaddr_nl a = {0};
	socklen_t size = sizeof(a);

	return getsockname(NETLINK_FD, (struct sockaddr *)&a, &size) == 0 && a.nl_family == AF_NETLINK;
}

static int confine(struct error *err)
{
	static const int calls[] = {SCMP_SYS(poll),       SCMP_SYS(ppoll),      SCMP_SYS(select),
				    SCMP_SYS(pselect6),   SCMP_SYS(recvmsg),    SCMP_SYS(recvfrom),
				    SCMP_SYS(sendmsg),    SCMP_SYS(sendto),     SCMP_SYS(setsockopt),
				    SCMP_SYS(getsockopt), SCMP_SYS(getsockname)};
	const struct confine_spec spec = {
		.program = CONFINE_NFT,
		.fds_keep = NETLINK_FD + 1,
		.nofile = 16,
		.memory_mib = 1024,
		.net_admin = true,
		.calls = calls,
		.n_calls = ARRAY_SIZE(calls),
	};

	return confine_enter(&spec, err);
}

static int read_script(int fd, struct strbuf *ret, struct error *err)
{
	off_t size = lseek(fd, 0, SEEK_END); /* fstat() is not among the system calls that are left */

	if (size < 0 || size > WIRE_NFT_SCRIPT_MAX)
		return error_set(err, 500, "lxd-nft was given no commands");
	strbuf_reserve(ret, (size_t)size + 1);
	while (ret->len < (size_t)size) {
		ssize_t n = pread(fd, ret->data + ret->len, (size_t)size - ret->len, (off_t)ret->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, errno, "Read the nft commands");
		if (n == 0)
			break;
		ret->len += (size_t)n;
		ret->data[ret->len] = '\0';
	}
	return 0;
}

static int run(struct nft_ctx *nft, const struct wire_message *m, struct error *err)
{
	auto_strbuf struct strbuf script = STRBUF_INIT;
	struct wire_reader r = m->reader;
	int ret;

	if (wire_get_u32(&r) != WIRE_NFT_RUN || !wire_done(&r))
		return error_set(err, 500, "lxd-nft was sent an unknown message");
	ret = read_script(m->fds[0], &script, err);
	if (ret < 0)
		return ret;
	if (nft_run_cmd_from_buffer(nft, strbuf_str(&script)) != 0)
		return error_set(err, 500, "%.*s", WIRE_NFT_TEXT_MAX, nft_ctx_get_error_buffer(nft));
	return 0;
}

static int answer(struct nft_ctx *nft, const struct wire_message *m)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;

	run(nft, m, &err);
	wire_put_u32(&b, WIRE_NFT_RAN);
	wire_put_u32(&b, (uint32_t)err.status);
	wire_put_str(&b, err.status ? error_msg(&err) : "");
	return wire_send(WIRE_NFT_FD, &b, NULL, 0);
}

/* Answer until lxd has gone, or has had no question for a while. */
static void serve(struct nft_ctx *nft)
{
	struct pollfd p = {.fd = WIRE_NFT_FD, .events = POLLIN};

	for (;;) {
		auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
		int n = poll(&p, 1, WIRE_NFT_IDLE_MS);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || wire_recv(WIRE_NFT_FD, &m) <= 0 || answer(nft, &m) < 0)
			return;
	}
}

int main(void)
{
	auto_error struct error err = ERROR_INIT;
	struct nft_ctx *nft;

	if (getsockopt(WIRE_NFT_FD, SOL_SOCKET, SO_TYPE, &(int){0}, &(socklen_t){sizeof(int)}) < 0) {
		fprintf(stderr, "lxd-nft is started by lxd\n");
		return 2;
	}
	close(NETLINK_FD);
	nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft || nft_ctx_buffer_error(nft) != 0 || nft_ctx_buffer_output(nft) != 0 || !has_netlink()) {
		fprintf(stderr, "lxd-nft: no netlink socket for nftables\n");
		return 1;
	}
	if (confine(&err) < 0) {
		fprintf(stderr, "lxd-nft: %s\n", error_msg(&err));
		return 1;
	}
	serve(nft);
	/* no exit handlers: there is nothing to flush, and the jail allows little */
	_exit(0);
}
