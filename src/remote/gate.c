#include "remote/gate.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/address.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/process.h"
#include "base/str.h"
#include "base/timeutil.h"

#define ANSWER_MS 10000 /* a helper that has not answered by then is ended */
#define THREADS_MAX 4
#define RETIRE_MS 12000 /* longer than a handshake may take */

static unsigned thread_count(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : (unsigned)MIN_OF(n, (long)THREADS_MAX);
}

static void end_process(pid_t *pid, int *pidfd)
{
	if (*pid > 0) {
		kill(*pid, SIGKILL);
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*pid = 0;
	*pidfd = fd_close(*pidfd);
}

static void set_timeouts(int sock)
{
	const struct timeval t = {.tv_sec = ANSWER_MS / 1000};

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

int gate_start(struct gate *g, struct error *err)
{
	auto_free char *program = process_helper_path("lxd-gate");
	const char *const argv[] = {program, NULL};
	struct process_spec spec = PROCESS_SPEC_INIT;
	int pair[2], r = wire_pair(pair, err);

	if (r < 0)
		return r;
	set_timeouts(pair[0]);
	spec.argv = argv;
	spec.fds = &pair[1];
	spec.nfds = 1;
	spec.keep_with_parent = true;
	r = process_spawn(&spec, &g->pid, &g->pidfd, err);
	fd_close(pair[1]);
	if (r < 0) {
		g->pid = 0;
		fd_close(pair[0]);
		return error_wrap(err, "Start lxd-gate");
	}
	g->control = pair[0];
	return 0;
}

struct signer {
	pid_t pid;
	int pidfd;
	int control;
	int sockets[WIRE_SIGNER_THREADS_MAX]; /* the gate's ends */
	size_t n;
};

static void signer_done(struct signer *s)
{
	for (size_t i = 0; i < s->n; i++)
		fd_close(s->sockets[i]);
	s->n = 0;
	s->control = fd_close(s->control);
	end_process(&s->pid, &s->pidfd);
}

/* What the signer says about the key when it has read it. */
static int signer_status(const struct signer *s, struct error *err)
{
	auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
	auto_free char *message = NULL;
	uint32_t type, status;
	int r = wire_recv(s->control, &m);

	if (r <= 0)
		return error_errno(err, r < 0 ? -r : EPIPE, "Wait for lxd-signer");
	type = wire_get_u32(&m.reader);
	status = wire_get_u32(&m.reader);
	message = wire_get_str(&m.reader);
	if (type != WIRE_SIGNER_STATUS || !wire_done(&m.reader))
		return error_set(err, 500, "lxd-signer sent an unknown message");
	return status ? error_set(err, 500, "%s", message ? message : "no reason given") : 0;
}

/* Socket pairs for @n threads: our ends in @s, the signer's in @fds. */
static int signer_sockets(struct signer *s, size_t n, int *fds, struct error *err)
{
	for (s->n = 0; s->n < n; s->n++) {
		int pair[2], r = wire_pair(pair, err);

		if (r < 0) {
			for (size_t i = 0; i < s->n; i++)
				fd_close(fds[i]);
			return r;
		}
		s->sockets[s->n] = pair[0];
		fds[s->n] = pair[1];
	}
	return 0;
}

static int chain_memfd(const char *chain, struct error *err)
{
	auto_close int fd = memfd_create("server.crt", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : fd_write_full(fd, chain, strlen(chain));

	return r < 0 ? error_errno(err, -r, "Copy the server's certificate") : TAKE_FD(fd);
}

static int signer_spawn(struct signer *s, const int *fds, size_t n, struct error *err)
{
	auto_free char *program = process_helper_path("lxd-signer");
	auto_free char *threads = xasprintf("%zu", s->n);
	const char *const argv[] = {program, threads, NULL};
	struct process_spec spec = PROCESS_SPEC_INIT;

	spec.argv = argv;
	spec.fds = fds;
	spec.nfds = n;
	spec.keep_with_parent = true;
	return process_spawn(&spec, &s->pid, &s->pidfd, err);
}

static int signer_start(const struct remote_keys *keys, struct signer *s, struct error *err)
{
	auto_close int chain = chain_memfd(keys->chain, err), theirs = -EBADF;
	int fds[3 + WIRE_SIGNER_THREADS_MAX], pair[2], r;
	unsigned n = thread_count();

	if (chain < 0)
		return chain;
	r = wire_pair(pair, err);
	if (r < 0)
		return r;
	s->control = pair[0];
	fds[0] = theirs = pair[1];
	set_timeouts(s->control);
	fds[1] = keys->key_fd;
	fds[2] = chain;
	r = signer_sockets(s, n, fds + 3, err);
	if (r < 0)
		return r;
	r = signer_spawn(s, fds, 3 + n, err);
	for (size_t i = 0; i < n; i++)
		fd_close(fds[3 + i]);
	theirs = fd_close(theirs);
	return r < 0 ? r : signer_status(s, err);
}

static int send_config(struct gate *g, const struct remote_keys *keys, const struct signer *s, struct error *err)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	int r;

	wire_put_u32(&b, WIRE_GATE_CONFIG);
	wire_put_u32(&b, WIRE_GATE_MAGIC);
	wire_put_str(&b, keys->chain);
	wire_put_blob(&b, keys->ca, keys->ca ? strlen(keys->ca) : 0);
	wire_put_blob(&b, keys->crl, keys->crl_len);
	wire_put_u32(&b, (uint32_t)s->n);
	r = wire_send(g->control, &b, s->sockets, s->n);
	return r < 0 ? error_errno(err, -r, "Configure lxd-gate") : 0;
}

/* The answer to CONFIG, behind its type. */
static int take_configured(struct wire_message *m, struct error *err)
{
	uint32_t status = wire_get_u32(&m->reader);
	auto_free char *message = wire_get_str(&m->reader);

	if (!wire_done(&m->reader))
		return error_set(err, 500, "lxd-gate sent an answer that is none");
	if (status)
		return error_set(err, 500, "%s", message ? message : "lxd-gate refused its configuration");
	if (message)
		log_warn("lxd-gate", LOG_STR("message", message));
	return 0;
}

static int await_configured(struct gate *g, gate_message_fn fn, void *arg, struct error *err)
{
	int64_t deadline = time_monotonic_ms() + ANSWER_MS;

	for (;;) {
		auto_wire_message struct wire_message m = WIRE_MESSAGE_INIT;
		int r = time_monotonic_ms() < deadline ? wire_recv(g->control, &m) : -ETIMEDOUT;

		if (r <= 0)
			return error_errno(err, r < 0 ? -r : EPIPE, "Wait for lxd-gate");
		if (wire_get_u32(&m.reader) != WIRE_GATE_CONFIGURED) {
			m.reader = (struct wire_reader){.data = m.data, .len = m.len};
			fn(&m, arg);
			continue;
		}
		return take_configured(&m, err);
	}
}

static void end_signer(struct gate *g)
{
	g->signer_control = fd_close(g->signer_control);
	end_process(&g->signer, &g->signer_pidfd);
}

void gate_end_old_signer(struct gate *g, int64_t now_ms)
{
	if (!g->old_signer || now_ms < g->old_signer_until)
		return;
	g->old_signer_control = fd_close(g->old_signer_control);
	end_process(&g->old_signer, &g->old_signer_pidfd);
}

static void retire_signer(struct gate *g)
{
	gate_end_old_signer(g, INT64_MAX);
	if (!g->signer)
		return;
	g->old_signer = g->signer;
	g->old_signer_pidfd = TAKE_FD(g->signer_pidfd);
	g->old_signer_control = TAKE_FD(g->signer_control);
	g->old_signer_until = time_monotonic_ms() + RETIRE_MS;
	g->signer = 0;
}

int gate_configure(struct gate *g, const struct remote_keys *keys, gate_message_fn fn, void *arg, struct error *err)
{
	CLEANUP(signer_done) struct signer s = {.pidfd = -EBADF, .control = -EBADF};
	int r = signer_start(keys, &s, err);

	if (r == 0)
		r = send_config(g, keys, &s, err);
	if (r == 0)
		r = await_configured(g, fn, arg, err);
	if (r < 0)
		return r;
	retire_signer(g);
	g->signer = s.pid;
	g->signer_pidfd = TAKE_FD(s.pidfd);
	g->signer_control = TAKE_FD(s.control);
	s.pid = 0;
	return 0;
}

int gate_listen(struct gate *g, enum wire_gate_listener which, const int *fds, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		auto_strbuf struct strbuf b = STRBUF_INIT;

		wire_put_u32(&b, WIRE_GATE_LISTEN);
		wire_put_u32(&b, which);
		r = wire_send(g->control, &b, &fds[i], 1);
	}
	return r;
}

int gate_unlisten(struct gate *g, enum wire_gate_listener which)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	wire_put_u32(&b, WIRE_GATE_UNLISTEN);
	wire_put_u32(&b, which);
	return wire_send(g->control, &b, NULL, 0);
}

int gate_proxies(struct gate *g, const struct strv *addresses)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;

	wire_put_u32(&b, WIRE_GATE_PROXIES);
	wire_put_list(&b, (const char *const *)addresses->items);
	return wire_send(g->control, &b, NULL, 0);
}

void gate_stop(struct gate *g)
{
	g->control = fd_close(g->control);
	end_process(&g->pid, &g->pidfd);
	end_signer(g);
	gate_end_old_signer(g, INT64_MAX);
}

/* "192.0.2.1:4000": an address, and a port. */
static bool peer_address_is_valid(const char *text)
{
	auto_free char *host = host_port_host(text);

	return strlen(text) < 64 && (address_is_ipv4(host) || address_is_ipv6(host));
}

struct http_tls_peer *gate_decode_peer(struct wire_message *m)
{
	struct http_tls_peer *p = xnew(struct http_tls_peer);
	const void *leaf;

	p->connection = wire_get_u64(&m->reader);
	p->metrics = wire_get_u32(&m->reader) == WIRE_LISTENER_METRICS;
	p->address = wire_get_str(&m->reader);
	p->tls_version = wire_get_u32(&m->reader);
	p->cipher = wire_get_str(&m->reader);
	p->verdict = wire_get_u32(&m->reader);
	p->not_before = (int64_t)wire_get_u64(&m->reader);
	p->not_after = (int64_t)wire_get_u64(&m->reader);
	leaf = wire_get_blob(&m->reader, &p->leaf_len);
	if (!wire_done(&m->reader) || !p->address || !peer_address_is_valid(p->address) || !p->cipher ||
	    p->verdict >= WIRE_PKI_MAX || p->leaf_len > WIRE_GATE_LEAF_MAX) {
		http_tls_peer_free(p);
		return NULL;
	}
	p->host = host_port_host(p->address);
	if (leaf) {
		p->leaf = xmalloc(p->leaf_len);
		memcpy(p->leaf, leaf, p->leaf_len);
		sha256_hex(leaf, p->leaf_len, p->fingerprint);
	}
	return p;
}
