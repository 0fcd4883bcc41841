/*
 * Load on an HTTPS server, with GnuTLS: TLS 1.3, what a Go client offers, in its order (X25519, P-256, P-384;
 * AES-128-GCM first), a client certificate, no tickets. Prints one line of JSON.
 *
 *   new     N threads make a connection, GET, and close, again and again: connections per second and latencies
 *   keep    N connections are kept busy with one GET by one thread: requests per second
 *   idle    N connections that have sent nothing, or (-g) made one GET, stay open until standard input ends
 *   slow    N connections stay half-open (even ones: a piece of a ClientHello; odd ones: handshake done and a request
 *           head that comes byte by byte), and are made again when the server has closed them, until standard input
 * ends guess   N threads send trust passwords that are wrong, each on a new connection, until standard input ends put
 * upload a file as the body of a POST; get: download to nowhere
 *
 * usage: tlsload MODE -p PORT [-c CERT -k KEY] [-n N] [-s SECONDS] [-w PAUSE_MS] [-S] [-g] [-f FILE] [-u PATH]
 * -S: each connection comes from another address in 127.0.0.0/8.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"

#define BUFFER_SIZE (64U << 10)
#define SAMPLES_MAX (1U << 20)
#define PIECE (256U << 10)
#define REOPEN_MS 1000 /* how soon a slow connection comes again after it was closed, and sends its next byte */
#define PRIORITY                                                               \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:" \
	"+CHACHA20-POLY1305:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1"

static struct {
	int port, n, seconds, pause_ms;
	bool spread, get_first;
	const char *cert, *key, *file, *path;
} opt = {.n = 1, .seconds = 3, .path = "/1.0"};

static gnutls_certificate_credentials_t credentials;
static gnutls_priority_t priority;
static char request[4096];
static size_t request_len;
static uint32_t *samples_us;
static atomic_size_t n_samples;
static atomic_uint next_source;
static atomic_bool ending;

static _Noreturn void fail(const char *what, int tls_code)
{
	fprintf(stderr, "tlsload: %s: %s\n", what,
		tls_code ? gnutls_strerror(tls_code)
		: errno  ? strerror(errno)
			 : "bad answer");
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void sleep_ms(int ms)
{
	if (ms > 0)
		poll(NULL, 0, ms);
}

/* A TCP connection, from an address of its own if that is wanted. */
static int connect_tcp(bool nonblock)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
	struct sockaddr_in from = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0), 0), one = 1;

	if (fd < 0)
		return -1;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (opt.spread) {
		unsigned i = atomic_fetch_add(&next_source, 1) % 60000U;

		/* 127.1.0.1 and on: no address that ends with 0 or 255 */
		from.sin_addr.s_addr = htonl(0x7f010000U + ((i / 250U) << 8) + i % 250U + 1U);
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0)
			fail("bind", 0);
	}
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static gnutls_session_t session_new(int fd, unsigned flags)
{
	gnutls_session_t tls;
	int r = gnutls_init(&tls, GNUTLS_CLIENT | GNUTLS_NO_TICKETS | GNUTLS_KEY_SHARE_TOP | flags);

	if (r == 0)
		r = gnutls_priority_set(tls, priority);
	if (r == 0)
		r = gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, credentials);
	if (r < 0)
		fail("session", r);
	gnutls_transport_set_int(tls, fd);
	return tls;
}

/* Handshake done, or NULL. */
static gnutls_session_t connect_tls(int *ret_fd)
{
	int fd = connect_tcp(false), r;
	struct timeval limit = {.tv_sec = 20};
	gnutls_session_t tls;

	if (fd < 0)
		return NULL;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	tls = session_new(fd, 0);
	do
		r = gnutls_handshake(tls);
	while (r < 0 && !gnutls_error_is_fatal(r) && r != GNUTLS_E_AGAIN);
	if (r < 0) {
		gnutls_deinit(tls);
		close(fd);
		errno = 0;
		return NULL;
	}
	*ret_fd = fd;
	return tls;
}

static void close_tls(gnutls_session_t tls, int fd)
{
	gnutls_bye(tls, GNUTLS_SHUT_WR);
	gnutls_deinit(tls);
	close(fd);
}

static bool send_all(gnutls_session_t tls, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = gnutls_record_send(tls, at, len);

		if (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_AGAIN)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

/* One blocking read into the answer; as answer_grown(). */
static int read_some(gnutls_session_t tls, struct answer *a)
{
	ssize_t n;

	if (a->used >= BUFFER_SIZE)
		return -1;
	do
		n = gnutls_record_recv(tls, a->data + a->used, BUFFER_SIZE - a->used);
	while (n == GNUTLS_E_INTERRUPTED);
	return n <= 0 ? -1 : answer_grown(a, (size_t)n);
}

static bool exchange(gnutls_session_t tls, const char *text, size_t len, struct answer *a)
{
	int r = 0;

	answer_reset(a);
	if (!send_all(tls, text, len))
		return false;
	while (r == 0)
		r = read_some(tls, a);
	return r > 0;
}

/* The answer must be that of a trusted caller when there is a certificate: an untrusted one has no "config". */
static void check_answer(const struct answer *a)
{
	errno = 0;
	a->data[a->used] = '\0';
	if (a->status != 200 || (opt.cert && !strstr(a->data + a->head, "\"auth\":\"trusted\"")))
		fail("answer", 0);
}

static void sample(uint64_t begin_ns)
{
	size_t i = atomic_fetch_add(&n_samples, 1);

	if (i < SAMPLES_MAX)
		samples_us[i] = (uint32_t)((now_ns() - begin_ns) / 1000);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void print_rate(const char *what, double elapsed)
{
	size_t n = atomic_load(&n_samples), kept = n < SAMPLES_MAX ? n : SAMPLES_MAX;

	errno = 0;
	if (n == 0)
		fail("nothing was answered", 0);
	qsort(samples_us, kept, sizeof(*samples_us), compare);
	printf("{\"%s\": %.1f, \"count\": %zu, \"p50_us\": %" PRIu32 ", \"p95_us\": %" PRIu32 ", \"max_us\": %" PRIu32
	       "}\n",
	       what, (double)n / elapsed, n, samples_us[kept / 2], samples_us[kept * 95 / 100], samples_us[kept - 1]);
}

static void run_threads(void *(*fn)(void *))
{
	pthread_t *threads = calloc((size_t)opt.n, sizeof(*threads));

	for (int i = 0; i < opt.n; i++)
		if (!threads || pthread_create(&threads[i], NULL, fn, (void *)(intptr_t)i) != 0)
			fail("thread", 0);
	if (opt.seconds) {
		sleep_ms(opt.seconds * 1000);
	} else {
		char end;

		printf("ready\n");
		fflush(stdout);
		while (read(0, &end, 1) > 0)
			;
	}
	atomic_store(&ending, true);
	for (int i = 0; i < opt.n; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

/* new */

static void *new_thread(void *arg)
{
	struct answer a = {.data = malloc(BUFFER_SIZE + 1)};
	gnutls_session_t tls;
	int fd;

	(void)arg;
	while (!atomic_load(&ending)) {
		uint64_t begin = now_ns();

		tls = connect_tls(&fd);
		if (!tls || !exchange(tls, request, request_len, &a))
			fail("connection", 0);
		sample(begin);
		check_answer(&a);
		close_tls(tls, fd);
		sleep_ms(opt.pause_ms);
	}
	free(a.data);
	return NULL;
}

static void mode_new(void)
{
	uint64_t begin = now_ns();

	run_threads(new_thread);
	print_rate("per_second", (double)(now_ns() - begin) / 1e9);
}

/* keep */

struct kept {
	int fd;
	gnutls_session_t tls;
	struct answer answer;
	uint64_t sent_ns;
};

static void kept_send(struct kept *c)
{
	answer_reset(&c->answer);
	c->sent_ns = now_ns();
	if (!send_all(c->tls, request, request_len))
		fail("send", 0);
}

static void kept_event(struct kept *c)
{
	struct answer *a = &c->answer;

	for (;;) {
		ssize_t n = gnutls_record_recv(c->tls, a->data + a->used, BUFFER_SIZE - a->used);

		if (n == GNUTLS_E_AGAIN)
			return;
		if (n <= 0)
			fail("receive", (int)n);
		if (answer_grown(a, (size_t)n) == 0)
			continue;
		sample(c->sent_ns);
		check_answer(a);
		kept_send(c);
	}
}

static void mode_keep(void)
{
	struct kept *all = calloc((size_t)opt.n, sizeof(*all));
	struct epoll_event events[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	uint64_t begin, end;

	if (!all || epoll < 0)
		fail("set-up", 0);
	for (int i = 0; i < opt.n; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};

		all[i].tls = connect_tls(&all[i].fd);
		all[i].answer.data = malloc(BUFFER_SIZE + 1);
		if (!all[i].tls || !exchange(all[i].tls, request, request_len, &all[i].answer))
			fail("connection", 0);
		fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
		epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event);
	}
	begin = now_ns();
	end = begin + (uint64_t)opt.seconds * 1000000000U;
	for (int i = 0; i < opt.n; i++)
		kept_send(&all[i]);
	while (now_ns() < end) {
		int n = epoll_wait(epoll, events, 64, 1000);

		for (int i = 0; i < n; i++)
			kept_event(events[i].data.ptr);
	}
	print_rate("per_second", (double)(now_ns() - begin) / 1e9);
}

/* idle */

static bool is_open(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) == 0;
}

static void mode_idle(void)
{
	struct answer a = {.data = malloc(BUFFER_SIZE + 1)};
	int *fds = calloc((size_t)opt.n, sizeof(*fds)), open_at_end = 0, open_at_start = 0;
	char end;

	for (int i = 0; i < opt.n; i++) {
		gnutls_session_t tls = connect_tls(&fds[i]);

		if (!tls || (opt.get_first && !exchange(tls, request, request_len, &a)))
			fail("connection", 0);
		if (opt.get_first)
			check_answer(&a);
	}
	for (int i = 0; i < opt.n; i++)
		open_at_start += is_open(fds[i]);
	printf("{\"open\": %d}\n", open_at_start);
	fflush(stdout);
	while (read(0, &end, 1) > 0)
		;
	for (int i = 0; i < opt.n; i++)
		open_at_end += is_open(fds[i]);
	printf("{\"open\": %d}\n", open_at_end);
}

/* slow */

struct slow {
	int fd; /* -1: none */
	bool handshaking;
	gnutls_session_t tls; /* NULL: half-open in TCP alone */
	size_t sent;
	uint64_t due_ns; /* to open again, or to send the next byte */
};

static struct {
	unsigned long opened, closed, refused;
} slow_counts;

static void slow_close(struct slow *s, uint64_t now)
{
	if (s->tls)
		gnutls_deinit(s->tls);
	close(s->fd);
	s->tls = NULL;
	s->fd = -1;
	s->due_ns = now + REOPEN_MS * 1000000ULL;
	slow_counts.closed++;
}

/* The handshake goes on, or the server says something: only its end is of interest. */
static void slow_event(struct slow *s, uint64_t now)
{
	char rest[4096];
	ssize_t n;

	if (s->fd < 0)
		return;
	if (!s->tls) {
		n = recv(s->fd, rest, sizeof(rest), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != ENOTCONN))
			slow_close(s, now);
		return;
	}
	if (s->handshaking) {
		n = gnutls_handshake(s->tls);
		s->handshaking = n != 0;
	} else {
		n = gnutls_record_recv(s->tls, rest, sizeof(rest));
		n = n == 0 ? GNUTLS_E_PREMATURE_TERMINATION : n;
	}
	if (n < 0 && n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED)
		slow_close(s, now);
}

static void slow_open(struct slow *s, int epoll, bool handshake, uint64_t now)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = s};

	s->due_ns = now + REOPEN_MS * 1000000ULL;
	s->fd = connect_tcp(true);
	if (s->fd < 0) {
		slow_counts.refused++;
		return;
	}
	slow_counts.opened++;
	s->sent = 0;
	s->handshaking = handshake;
	if (handshake)
		s->tls = session_new(s->fd, GNUTLS_NONBLOCK);
	epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event);
	if (handshake)
		slow_event(s, now);
}

/* The next byte of the request head, or the first bytes of a ClientHello and then nothing. */
static void slow_continue(struct slow *s, uint64_t now)
{
	static const unsigned char hello[] = {0x16, 0x03, 0x01, 0x01, 0x00, 0x01, 0x00, 0x00, 0xfc, 0x03, 0x03};
	ssize_t n = 1;

	s->due_ns = now + REOPEN_MS * 1000000ULL;
	if (!s->tls && s->sent == 0)
		n = send(s->fd, hello, sizeof(hello), MSG_NOSIGNAL | MSG_DONTWAIT);
	else if (s->tls && !s->handshaking)
		n = gnutls_record_send(s->tls, s->sent < request_len - 2 ? request + s->sent : "x", 1);
	if (n > 0)
		s->sent += !s->handshaking;
	else if (n != GNUTLS_E_AGAIN && !(n < 0 && errno == EAGAIN))
		slow_close(s, now);
}

static void mode_slow(void)
{
	struct slow *all = calloc((size_t)opt.n, sizeof(*all));
	struct epoll_event events[256];
	int epoll = epoll_create1(EPOLL_CLOEXEC), held = 0;
	struct pollfd in = {.fd = 0, .events = POLLIN};
	uint64_t begin = now_ns();
	bool ready = false;

	for (int i = 0; i < opt.n; i++)
		all[i].fd = -1;
	while (poll(&in, 1, 0) == 0) {
		uint64_t now = now_ns();
		int n, budget = 50; /* openings in a turn, so that events are not left waiting */

		held = 0;
		for (int i = 0; i < opt.n; i++) {
			struct slow *s = &all[i];

			held += s->fd >= 0;
			if (s->due_ns > now || (s->fd < 0 && budget-- <= 0))
				continue;
			if (s->fd < 0)
				slow_open(s, epoll, i % 2, now);
			else
				slow_continue(s, now);
		}
		if (!ready && now - begin > 2000000000U) {
			ready = true;
			printf("ready\n");
			fflush(stdout);
		}
		n = epoll_wait(epoll, events, 256, 10);
		for (int i = 0; i < n; i++)
			slow_event(events[i].data.ptr, now);
	}
	printf("{\"held\": %d, \"opened\": %lu, \"closed\": %lu, \"refused\": %lu, \"seconds\": %.1f}\n", held,
	       slow_counts.opened, slow_counts.closed, slow_counts.refused, (double)(now_ns() - begin) / 1e9);
}

/* guess */

static atomic_ulong guesses_by_status[600], guesses_cut;

static void *guess_thread(void *arg)
{
	struct answer a = {.data = malloc(BUFFER_SIZE + 1)};
	char body[200], text[500];
	gnutls_session_t tls;
	int fd;

	for (unsigned long i = 0; !atomic_load(&ending); i++) {
		int len = snprintf(body, sizeof(body),
				   "{\"type\":\"client\",\"name\":\"guess\",\"password\":\"guess-%d-%lu\"}",
				   (int)(intptr_t)arg, i);

		len = snprintf(text, sizeof(text),
			       "POST /1.0/certificates HTTP/1.1\r\nHost: lxd\r\nContent-Type: application/json\r\n"
			       "Content-Length: %d\r\nConnection: close\r\n\r\n%s",
			       len, body);
		tls = connect_tls(&fd);
		if (tls && exchange(tls, text, (size_t)len, &a) && a.status < 600)
			atomic_fetch_add(&guesses_by_status[a.status], 1);
		else
			atomic_fetch_add(&guesses_cut, 1);
		if (tls)
			close_tls(tls, fd);
		sleep_ms(opt.pause_ms);
	}
	free(a.data);
	return NULL;
}

static void mode_guess(void)
{
	opt.seconds = 0;
	run_threads(guess_thread);
	printf("{\"cut\": %lu", atomic_load(&guesses_cut));
	for (int i = 0; i < 600; i++)
		if (atomic_load(&guesses_by_status[i]))
			printf(", \"%d\": %lu", i, atomic_load(&guesses_by_status[i]));
	printf("}\n");
}

/* put and get */

static void mode_put(void)
{
	struct answer a = {.data = malloc(BUFFER_SIZE + 1)};
	char *piece = malloc(PIECE), head[1000];
	int fd, file = open(opt.file, O_RDONLY | O_CLOEXEC), r = 0, len;
	gnutls_session_t tls = connect_tls(&fd);
	uint64_t begin = now_ns();
	struct stat st;
	ssize_t n;

	if (file < 0 || fstat(file, &st) < 0 || !tls)
		fail(opt.file, 0);
	len = snprintf(head, sizeof(head),
		       "POST %s HTTP/1.1\r\nHost: lxd\r\nContent-Type: application/octet-stream\r\nContent-Length: "
		       "%jd\r\n\r\n",
		       opt.path, (intmax_t)st.st_size);
	if (!send_all(tls, head, (size_t)len))
		fail("send", 0);
	while ((n = read(file, piece, PIECE)) > 0)
		if (!send_all(tls, piece, (size_t)n))
			fail("send", 0);
	answer_reset(&a);
	while (r == 0)
		r = read_some(tls, &a);
	a.data[a.used] = '\0';
	if (r < 0 || a.status != 202)
		fail("answer to the upload", 0);
	fprintf(stderr, "%s\n", a.data + a.head);
	printf("{\"seconds\": %.4f, \"bytes\": %jd}\n", (double)(now_ns() - begin) / 1e9, (intmax_t)st.st_size);
	close_tls(tls, fd);
}

static void mode_get(void)
{
	struct answer a = {.data = malloc(BUFFER_SIZE + 1)};
	char *piece = malloc(PIECE);
	int fd, r = 0;
	gnutls_session_t tls = connect_tls(&fd);
	uint64_t begin = now_ns(), got = 0;

	answer_reset(&a);
	if (!tls || !send_all(tls, request, request_len))
		fail("send", 0);
	while (r == 0 && a.head == 0)
		r = read_some(tls, &a);
	errno = 0;
	if (r < 0 || a.status != 200 || a.body != BODY_LENGTH)
		fail("answer to the download", 0);
	for (got = a.used; got < a.expected;) {
		ssize_t n = gnutls_record_recv(tls, piece, PIECE);

		if (n <= 0)
			fail("receive", (int)n);
		got += (uint64_t)n;
	}
	printf("{\"seconds\": %.4f, \"bytes\": %zu}\n", (double)(now_ns() - begin) / 1e9, a.expected - a.head);
	close_tls(tls, fd);
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {{"new", mode_new},     {"keep", mode_keep}, {"idle", mode_idle}, {"slow", mode_slow},
	     {"guess", mode_guess}, {"put", mode_put},   {"get", mode_get}};

static void set_up(void)
{
	struct rlimit files = {.rlim_cur = 8192, .rlim_max = 8192};
	int r;

	signal(SIGPIPE, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &files);
	samples_us = malloc(SAMPLES_MAX * sizeof(*samples_us));
	request_len = (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: lxd\r\n\r\n", opt.path);
	r = gnutls_priority_init(&priority, PRIORITY, NULL);
	if (r == 0)
		r = gnutls_certificate_allocate_credentials(&credentials);
	if (r == 0 && opt.cert)
		r = gnutls_certificate_set_x509_key_file(credentials, opt.cert, opt.key, GNUTLS_X509_FMT_PEM);
	if (r < 0 || !samples_us || request_len >= sizeof(request))
		fail("set-up", r);
}

int main(int argc, char **argv)
{
	void (*run)(void) = NULL;
	int o;

	while ((o = getopt(argc, argv, "p:c:k:n:s:w:Sgf:u:")) != -1) {
		switch (o) {
		case 'p':
			opt.port = (int)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			opt.cert = optarg;
			break;
		case 'k':
			opt.key = optarg;
			break;
		case 'n':
			opt.n = (int)strtoul(optarg, NULL, 10);
			break;
		case 's':
			opt.seconds = (int)strtoul(optarg, NULL, 10);
			break;
		case 'w':
			opt.pause_ms = (int)strtoul(optarg, NULL, 10);
			break;
		case 'S':
			opt.spread = true;
			break;
		case 'g':
			opt.get_first = true;
			break;
		case 'f':
			opt.file = optarg;
			break;
		case 'u':
			opt.path = optarg;
			break;
		default:
			return 2;
		}
	}
	for (size_t i = 0; optind < argc && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(modes[i].name, argv[optind]) == 0)
			run = modes[i].run;
	if (!run || !opt.port || opt.n < 1) {
		fprintf(stderr, "usage: see the head of bench/tlsload.c\n");
		return 2;
	}
	set_up();
	run();
	return 0;
}
