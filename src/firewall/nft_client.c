#include "firewall/nft_client.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/process.h"
#include "base/str.h"
#include "base/wire.h"
#include "base/wire_nft.h"

#define SHOWN_MAX 16384 /* bytes of commands that go to the debug log */
#define ANSWER_S 60     /* thousands of NICs take a few seconds */

struct nft_client {
	struct reaper *reaper;
	int sock;  /* -EBADF: no process */
	int pidfd; /* ours to send signals by; the reaper has its own */
};

struct nft_client *nft_client_new(struct reaper *reaper)
{
	struct nft_client *c = xnew(struct nft_client);

	c->reaper = reaper;
	c->sock = c->pidfd = -EBADF;
	return c;
}

/* Without its socket the process ends by itself. */
void nft_client_rest(struct nft_client *c)
{
	c->sock = fd_close(c->sock);
	c->pidfd = fd_close(c->pidfd);
}

void nft_client_free(struct nft_client *c)
{
	if (!c)
		return;
	nft_client_rest(c);
	free(c);
}

/* It hangs: whatever it was doing is not done as far as anybody knows. */
static void kill_child(struct nft_client *c)
{
	if (c->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
	nft_client_rest(c);
}

static void set_timeouts(int sock)
{
	const struct timeval t = {.tv_sec = ANSWER_S};

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

static int start(struct nft_client *c, struct error *err)
{
	auto_free char *program = process_helper_path(WIRE_NFT_PROGRAM);
	const char *const argv[] = {program, NULL};
	struct process_spec spec = PROCESS_SPEC_INIT;
	int pair[2], pidfd, r = wire_pair(pair, err);
	pid_t pid;

	if (r < 0)
		return r;
	set_timeouts(pair[0]);
	spec.argv = argv;
	spec.fds = &pair[1];
	spec.nfds = 1;
	r = process_spawn(&spec, &pid, &pidfd, err);
	fd_close(pair[1]);
	if (r < 0) {
		fd_close(pair[0]);
		return error_wrap(err, "Start lxd-nft");
	}
	c->sock = pair[0];
	c->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
	reaper_add(c->reaper, pid, pidfd);
	return 0;
}

/* The commands as a file in memory: they may be longer than a message. */
static int script_file(const struct strbuf *script, int *ret_fd, struct error *err)
{
	auto_close int fd = memfd_create("nft", MFD_CLOEXEC);
	int r;

	if (script->len > WIRE_NFT_SCRIPT_MAX)
		return error_set(err, 500, "These are too many rules: %zu bytes of commands", script->len);
	if (fd < 0)
		return error_errno(err, errno, "Create a file in memory");
	r = fd_write_full(fd, script->data, script->len);
	if (r < 0)
		return error_errno(err, -r, "Write to a file in memory");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* One question and its answer: 1, 0 when the process had ended before it took the question, or negative errno. */
static int exchange(struct nft_client *c, int fd, struct wire_message *ret)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	int r;

	wire_put_u32(&b, WIRE_NFT_RUN);
	r = wire_send(c->sock, &b, &fd, 1);
	if (r == 0)
		r = wire_recv(c->sock, ret);
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

/* libnftables says "/dev/stdin:1:2-3: Error: reason", the line, and carets below it: the reason and the line. */
static void set_reason(const char *text, struct error *err)
{
	auto_strv struct strv lines = STRV_INIT;
	const char *reason, *at;

	strv_split(&lines, text, '\n');
	reason = lines.len ? lines.items[0] : "no reason given";
	at = strstr(reason, "Error: ");
	if (at)
		reason = at + strlen("Error: ");
	if (at && lines.len > 1)
		error_set(err, 500, "nftables: %s: %.200s", reason, lines.items[1]);
	else
		error_set(err, 500, "nftables: %s", reason);
}

static int read_answer(struct wire_message *m, struct error *err)
{
	uint32_t type = wire_get_u32(&m->reader), status = wire_get_u32(&m->reader);
	auto_free char *text = wire_get_str(&m->reader);

	if (type != WIRE_NFT_RAN || !text || !wire_done(&m->reader))
		return error_set(err, 500, "lxd-nft gave a malformed answer");
	if (status == 0)
		return 0;
	set_reason(text, err);
	return -err->errnum;
}

int nft_client_run(struct nft_client *c, const struct strbuf *script, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_close int fd = -EBADF;
	int r = script_file(script, &fd, err);

	if (r < 0)
		return r;
	log_debug("nftables", LOG_STR("commands", script->len < SHOWN_MAX ? strbuf_str(script) : "too many to show"));
	/* it may end for want of work just now */
	for (int attempt = 0; attempt < 2; attempt++) {
		r = c->sock < 0 ? start(c, err) : 0;
		if (r < 0)
			return r;
		r = exchange(c, fd, &m);
		if (r > 0)
			return read_answer(&m, err);
		if (r < 0) {
			kill_child(c);
			return error_errno(err, -r, "Wait for lxd-nft");
		}
		nft_client_rest(c);
	}
	return error_set(err, 500, "lxd-nft ends at once; its standard error, in the daemon's log, says why");
}
