#include "remote/listen.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"

#define BACKLOG 1024

void listen_set_done(struct listen_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		fd_close(s->fds[i]);
	free(s->text);
	*s = LISTEN_SET_INIT;
}

static int cannot_listen(const char *text, int errnum, struct error *err)
{
	error_errno(err, errnum, "Cannot listen on network HTTPS socket \"%s\"", text);
	return -errnum;
}

/* What the connections inherit: nothing waits to be sent, and a peer that vanished without a word is noticed in 4 min.
 */
static void set_connection_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},    {SOL_SOCKET, SO_KEEPALIVE, 1}, {IPPROTO_TCP, TCP_KEEPIDLE, 120},
		{IPPROTO_TCP, TCP_KEEPINTVL, 30}, {IPPROTO_TCP, TCP_KEEPCNT, 4},
	};

	/* niceties: the connections work without */
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

/* A listening socket on @addr, or a negative errno. @dual: IPv4 clients too. */
static int socket_open(const struct sockaddr *addr, socklen_t len, bool dual)
{
	auto_close int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, v6only = !dual;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (addr->sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) < 0)
		return -errno;
	set_connection_options(fd);
	if (bind(fd, addr, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* Every address: one socket for both families where IPv6 is there, else IPv4 alone. */
static int open_wildcard(const char *text, unsigned port, struct listen_set *set, struct error *err)
{
	const struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	const struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket_open((const struct sockaddr *)&six, sizeof(six), /* dual= */ true);

	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
		fd = socket_open((const struct sockaddr *)&four, sizeof(four), false);
	if (fd < 0)
		return cannot_listen(text, -fd, err);
	set->fds[set->n++] = fd;
	return 0;
}

static int resolve(const struct host_port *hp, struct addrinfo **ret, struct error *err)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | (address_is_ipv4(hp->host) || address_is_ipv6(hp->host) ? AI_NUMERICHOST : 0),
	};
	auto_free char *port = xasprintf("%u", hp->port);
	int r = getaddrinfo(hp->host, port, &hints, ret);

	if (r == EAI_SYSTEM)
		return error_errno(err, errno, "Couldn't resolve \"%s\"", hp->host);
	if (r != 0)
		return error_set(err, 400, "Couldn't resolve \"%s\": %s", hp->host, gai_strerror(r));
	return 0;
}

static int open_resolved(const struct host_port *hp, const char *text, struct listen_set *set, struct error *err)
{
	struct addrinfo *list;
	int r = resolve(hp, &list, err);

	if (r < 0)
		return r;
	for (struct addrinfo *a = list; a && r == 0 && set->n < LISTEN_SOCKETS_MAX; a = a->ai_next) {
		int fd = socket_open(a->ai_addr, a->ai_addrlen, false);

		if (fd < 0)
			r = cannot_listen(text, -fd, err);
		else
			set->fds[set->n++] = fd;
	}
	freeaddrinfo(list);
	return r;
}

int listen_set_open(const char *text, unsigned default_port, struct listen_set *ret, struct error *err)
{
	auto_host_port struct host_port hp = HOST_PORT_INIT;
	struct listen_set set = LISTEN_SET_INIT;
	int r = host_port_parse(text, default_port, &hp, err);

	if (r < 0)
		return r;
	set.text = xstrdup(text);
	if (!*hp.host || streq(hp.host, "::"))
		r = open_wildcard(text, hp.port, &set, err);
	else
		r = open_resolved(&hp, text, &set, err);
	if (r < 0)
		listen_set_done(&set);
	else
		*ret = set;
	return r;
}

/* Addresses that mean something to another host. */
static bool is_global(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		uint32_t a = ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr);

		return a >> 24 != 127 && a >> 16 != 0xa9fe && a != 0;
	}
	if (sa->sa_family == AF_INET6) {
		const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;

		return !IN6_IS_ADDR_LOOPBACK(a) && !IN6_IS_ADDR_LINKLOCAL(a) && !IN6_IS_ADDR_UNSPECIFIED(a) &&
		       !IN6_IS_ADDR_MULTICAST(a);
	}
	return false;
}

static void add_host_addresses(unsigned port, bool ipv4_only, struct strv *ret)
{
	struct ifaddrs *list;

	if (getifaddrs(&list) < 0)
		return;
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		char host[INET6_ADDRSTRLEN];
		const void *at;

		if (!i->ifa_addr || !is_global(i->ifa_addr) || (ipv4_only && i->ifa_addr->sa_family != AF_INET))
			continue;
		at = i->ifa_addr->sa_family == AF_INET
			     ? (const void *)&((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr
			     : (const void *)&((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr;
		if (inet_ntop(i->ifa_addr->sa_family, at, host, sizeof(host)))
			strv_take(ret, host_port_format(host, port));
	}
	freeifaddrs(list);
}

void listen_addresses(const char *text, unsigned default_port, struct strv *ret)
{
	auto_host_port struct host_port hp = HOST_PORT_INIT;
	auto_error struct error err = ERROR_INIT;

	if (host_port_parse(text, default_port, &hp, &err) < 0) {
		error_ignore(&err, "it was checked when it was set");
		return;
	}
	if (address_is_wildcard(hp.host))
		add_host_addresses(hp.port, streq(hp.host, "0.0.0.0"), ret);
	else
		strv_take(ret, host_port_format(hp.host, hp.port));
}
