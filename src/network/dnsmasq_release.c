/*
 * Giving leases back in a client's name: a DHCPRELEASE (RFC 2131) or a DHCPv6 RELEASE (RFC 8415) to the bridge's own
 * address, so that dnsmasq forgets what a NIC had. Packets do not leave the host.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "network/dnsmasq_internal.h"

#define DHCP4_SERVER_PORT 67
#define DHCP6_SERVER_PORT 547
#define CLIENT_ID_MAX 255

/* --- packets --- */

struct writer {
	uint8_t *buf;
	size_t len;
};

static void put(struct writer *w, const void *data, size_t n)
{
	memcpy(w->buf + w->len, data, n);
	w->len += n;
}

static void put_u8(struct writer *w, unsigned v)
{
	w->buf[w->len++] = (uint8_t)v;
}

static void put_u16(struct writer *w, unsigned v)
{
	put_u8(w, v >> 8);
	put_u8(w, v & 0xff);
}

static void put_u32(struct writer *w, uint32_t v)
{
	put_u16(w, v >> 16);
	put_u16(w, v & 0xffff);
}

static void put_zeros(struct writer *w, size_t n)
{
	memset(w->buf + w->len, 0, n);
	w->len += n;
}

static void put_option4(struct writer *w, unsigned code, const void *data, size_t n)
{
	put_u8(w, code);
	put_u8(w, (unsigned)n);
	put(w, data, n);
}

size_t dnsmasq_release4_packet(const struct dnsmasq_lease *l, const struct ip_addr *server, uint32_t xid,
			       uint8_t buf[DNSMASQ_PACKET_MAX])
{
	static const uint8_t cookie[] = {99, 130, 83, 99}, release = 7;
	struct writer w = {.buf = buf};
	uint8_t id[CLIENT_ID_MAX];
	size_t n = l->client_id ? dnsmasq_hex_parse(l->client_id, id, sizeof(id)) : 0;

	put_u8(&w, 1); /* BOOTREQUEST */
	put_u8(&w, 1); /* Ethernet */
	put_u8(&w, sizeof(l->mac.bytes));
	put_u8(&w, 0);
	put_u32(&w, xid);
	put_u32(&w, 0); /* secs, flags */
	put(&w, l->address.bytes, 4);
	put_zeros(&w, 12); /* yiaddr, siaddr, giaddr */
	put(&w, l->mac.bytes, sizeof(l->mac.bytes));
	put_zeros(&w, 10 + 64 + 128); /* rest of chaddr, sname, file */
	put(&w, cookie, sizeof(cookie));
	put_option4(&w, 53, &release, 1);
	put_option4(&w, 54, server->bytes, 4);
	if (n)
		put_option4(&w, 61, id, n);
	put_u8(&w, 255);
	return w.len;
}

size_t dnsmasq_release6_packet(const struct dnsmasq_lease *l, const char *server_duid, uint32_t xid,
			       uint8_t buf[DNSMASQ_PACKET_MAX])
{
	struct writer w = {.buf = buf};
	uint8_t client[CLIENT_ID_MAX], server[CLIENT_ID_MAX];
	size_t n_client = l->client_id ? dnsmasq_hex_parse(l->client_id, client, sizeof(client)) : 0;
	size_t n_server = server_duid ? dnsmasq_hex_parse(server_duid, server, sizeof(server)) : 0;

	if (!n_client || !n_server)
		return 0;
	put_u32(&w, 8u << 24 | (xid & 0xffffff)); /* RELEASE */
	put_u16(&w, 1);                           /* client identifier */
	put_u16(&w, (unsigned)n_client);
	put(&w, client, n_client);
	put_u16(&w, 2); /* server identifier */
	put_u16(&w, (unsigned)n_server);
	put(&w, server, n_server);
	put_u16(&w, 8); /* elapsed time */
	put_u16(&w, 2);
	put_u16(&w, 0);
	put_u16(&w, 3); /* IA_NA with one IAADDR */
	put_u16(&w, 12 + 28);
	put_u32(&w, l->iaid);
	put_zeros(&w, 8); /* T1, T2 */
	put_u16(&w, 5);
	put_u16(&w, 24);
	put(&w, l->address.bytes, 16);
	put_zeros(&w, 8); /* lifetimes */
	return w.len;
}

/* --- sending --- */

/* The bridge's addresses, from what dnsmasq was told: NONE where it listens on none. */
struct servers {
	struct ip_addr v4;
	struct ip_addr v6;
};

static struct servers find_servers(struct dnsmasq *d)
{
	struct servers s = {0};

	mutex_lock(&d->lock);
	s.v4 = d->server4;
	s.v6 = d->server6;
	mutex_unlock(&d->lock);
	return s;
}

static socklen_t sockaddr_of(const struct ip_addr *a, unsigned port, unsigned interface, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (a->family == AF_INET) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		memcpy(&v4->sin_addr, a->bytes, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)port);
	v6->sin6_scope_id = interface;
	memcpy(&v6->sin6_addr, a->bytes, 16);
	return sizeof(*v6);
}

/* Through the bridge, as dnsmasq takes nothing from other interfaces. */
static int send_packet(const struct dnsmasq *d, const struct ip_addr *to, unsigned port, const void *data, size_t len)
{
	auto_close int fd = socket(to->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_storage ss;
	socklen_t n = sockaddr_of(to, port, if_nametoindex(d->name), &ss);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, d->name, (socklen_t)strlen(d->name) + 1) < 0)
		return -errno;
	return sendto(fd, data, len, 0, (struct sockaddr *)&ss, n) < 0 ? -errno : 0;
}

static uint32_t random_id(void)
{
	uint32_t id;

	random_bytes(&id, sizeof(id));
	return id;
}

static void release(const struct dnsmasq *d, const struct servers *s, const struct dnsmasq_lease *l, const char *duid)
{
	uint8_t packet[DNSMASQ_PACKET_MAX];
	bool v4 = l->address.family == AF_INET;
	const struct ip_addr *server = v4 ? &s->v4 : &s->v6;
	size_t n = 0;
	int r = 0;

	if (server->family)
		n = v4 ? dnsmasq_release4_packet(l, server, random_id(), packet)
		       : dnsmasq_release6_packet(l, duid, random_id(), packet);
	if (n)
		r = send_packet(d, server, v4 ? DHCP4_SERVER_PORT : DHCP6_SERVER_PORT, packet, n);
	if (r < 0)
		log_warn("a lease cannot be given back", LOG_STR("network", d->name), LOG_INT("errno", -r));
}

/* dnsmasq keeps names in lower case, and without the domain. */
static bool is_name(const char *name, const char *lease)
{
	return name && lease && strcasecmp(name, lease) == 0;
}

static bool is_among(const struct ip_addr *a, const struct ip_addr *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ip_equal(a, &list[i]))
			return true;
	return false;
}

/* Which leases are meant. */
struct selection {
	const struct mac_addr *mac;
	const char *hostname;
	const struct ip_addr *keep;
	size_t n_keep;
	const struct ip_addr *address; /* this one of others than @mac, instead of those of @mac */
};

static bool is_meant(const struct dnsmasq_lease *l, const void *arg)
{
	const struct selection *s = arg;
	bool own = memcmp(&l->mac, s->mac, sizeof(l->mac)) == 0;

	if (s->address)
		return ip_equal(&l->address, s->address) && (l->address.family == AF_INET6 || !own);
	if (is_among(&l->address, s->keep, s->n_keep))
		return false;
	return l->address.family == AF_INET ? own : is_name(s->hostname, l->hostname);
}

/* Ask the process that runs. */
static int release_by_packets(struct dnsmasq *d, const struct servers *servers, const struct selection *s,
			      struct error *err)
{
	struct dnsmasq_lease *leases = NULL;
	auto_free char *duid = NULL;
	size_t n = 0;
	int r = dnsmasq_leases_with_duid(d, &leases, &n, &duid, err);

	for (size_t i = 0; i < n; i++) {
		if (is_meant(&leases[i], s))
			release(d, servers, &leases[i], duid);
		dnsmasq_lease_done(&leases[i]);
	}
	free(leases);
	return r;
}

/* None runs, be it that the network is down or that it has just died: it must not find them when it comes back. */
static int release_in_file(struct dnsmasq *d, const struct selection *s, bool *ret_done, struct error *err)
{
	int r = 0;

	mutex_lock(&d->busy);
	*ret_done = !dnsmasq_know_process(d);
	if (*ret_done)
		r = dnsmasq_leases_drop(d, is_meant, s, err);
	mutex_unlock(&d->busy);
	return r;
}

static void release_selected(struct dnsmasq *d, const struct selection *s)
{
	auto_error struct error err = ERROR_INIT;
	struct servers servers = find_servers(d);
	bool done = false;
	int r = 0;

	if (!servers.v4.family && !servers.v6.family)
		return; /* not brought to a configuration yet: one of an earlier daemon may run */
	if (!dnsmasq_know_process(d))
		r = release_in_file(d, s, &done, &err);
	if (r == 0 && !done)
		r = release_by_packets(d, &servers, s, &err);
	if (r < 0)
		log_warn("leases cannot be given back", LOG_STR("network", d->name), LOG_ERR(&err));
}

void dnsmasq_release(struct dnsmasq *d, const struct mac_addr *mac, const char *hostname, const struct ip_addr *keep,
		     size_t n_keep)
{
	struct selection s = {.mac = mac, .hostname = hostname, .keep = keep, .n_keep = n_keep};

	release_selected(d, &s);
}

void dnsmasq_release_address(struct dnsmasq *d, const struct ip_addr *a, const struct mac_addr *mac)
{
	struct selection s = {.mac = mac, .address = a};

	release_selected(d, &s);
}
