/*
 * Is an address of a routed NIC in use on its parent's network? One ARP request or neighbour solicitation for each,
 * from the interface's own addresses where it has some (who answers for others answers only such questions).
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/timeutil.h"
#include "network/nic_internal.h"

#define PROBE_MS 100
#define MAC_BYTES 6

struct probe {
	int arp; /* packet sockets */
	int nd;
	const struct nic *nic;
	const struct link_info *parent;
	struct ip_addr from4; /* AF_UNSPEC: the parent has none */
	struct ip_addr from6;
};

static void probe_done(struct probe *p)
{
	if (p->arp >= 0)
		close(p->arp);
	if (p->nd >= 0)
		close(p->nd);
}

static int open_socket(struct probe *p, uint16_t protocol, int *ret, struct error *err)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = (int)p->parent->index};

	*ret = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*ret < 0 || bind(*ret, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return error_errno(err, errno, "Open a socket on the interface %s", p->parent->name);
	return 0;
}

static int send_frame(struct probe *p, uint16_t protocol, const uint8_t to[MAC_BYTES], const void *data, size_t size,
		      struct error *err)
{
	struct sockaddr_ll dest = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = (int)p->parent->index,
		.sll_halen = MAC_BYTES,
	};

	memcpy(dest.sll_addr, to, MAC_BYTES);
	if (sendto(protocol == ETH_P_ARP ? p->arp : p->nd, data, size, 0, (const struct sockaddr *)&dest,
		   sizeof(dest)) < 0)
		return error_errno(err, errno, "Look for neighbours on the interface %s", p->parent->name);
	return 0;
}

/* --- IPv4 --- */

static int ask4(struct probe *p, const struct ip_addr *a, struct error *err)
{
	static const uint8_t everybody[MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct ether_arp ask = {
		.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER),
			   .ar_pro = htons(ETH_P_IP),
			   .ar_hln = MAC_BYTES,
			   .ar_pln = 4,
			   .ar_op = htons(ARPOP_REQUEST)},
	};

	memcpy(ask.arp_sha, p->parent->mac.bytes, MAC_BYTES);
	memcpy(ask.arp_spa, p->from4.bytes, 4);
	memcpy(ask.arp_tpa, a->bytes, 4);
	return send_frame(p, ETH_P_ARP, everybody, &ask, sizeof(ask), err);
}

/* Whoever speaks with the address has it. */
static bool is_from(const uint8_t *packet, size_t len, const struct ip_addr *a)
{
	struct ether_arp arp;

	if (len < sizeof(arp))
		return false;
	memcpy(&arp, packet, sizeof(arp));
	return arp.ea_hdr.ar_pro == htons(ETH_P_IP) && arp.ea_hdr.ar_pln == 4 && memcmp(arp.arp_spa, a->bytes, 4) == 0;
}

/* --- IPv6 --- */

struct solicitation {
	struct ip6_hdr ip;
	struct nd_neighbor_solicit ns;
	struct nd_opt_hdr option;
	uint8_t mac[MAC_BYTES];
};

static uint16_t checksum(const struct ip6_hdr *ip, const void *payload, size_t len)
{
	uint32_t sum = (uint32_t)len + IPPROTO_ICMPV6;
	const uint8_t *parts[] = {(const uint8_t *)&ip->ip6_src, payload};
	const size_t sizes[] = {2 * sizeof(struct in6_addr), len};

	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i + 1 < sizes[k]; i += 2)
			sum += (uint32_t)(parts[k][i] << 8 | parts[k][i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static int ask6(struct probe *p, const struct ip_addr *a, struct error *err)
{
	uint8_t group[MAC_BYTES] = {0x33, 0x33, 0xff, a->bytes[13], a->bytes[14], a->bytes[15]};
	uint8_t dest[16] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a->bytes[13], a->bytes[14], a->bytes[15]};
	struct solicitation ask = {0};
	bool known = p->from6.family == AF_INET6; /* without an address of its own it asks as for a duplicate */
	size_t len = known ? sizeof(ask) : offsetof(struct solicitation, option);
	size_t payload = len - sizeof(ask.ip);

	ask.ip.ip6_vfc = 6 << 4;
	ask.ip.ip6_plen = htons((uint16_t)payload);
	ask.ip.ip6_nxt = IPPROTO_ICMPV6;
	ask.ip.ip6_hlim = 255;
	memcpy(&ask.ip.ip6_src, p->from6.bytes, 16);
	memcpy(&ask.ip.ip6_dst, dest, 16);
	ask.ns.nd_ns_type = ND_NEIGHBOR_SOLICIT;
	memcpy(&ask.ns.nd_ns_target, a->bytes, 16);
	ask.option = (struct nd_opt_hdr){.nd_opt_type = ND_OPT_SOURCE_LINKADDR, .nd_opt_len = 1};
	memcpy(ask.mac, p->parent->mac.bytes, MAC_BYTES);
	ask.ns.nd_ns_cksum = checksum(&ask.ip, (const uint8_t *)&ask + sizeof(ask.ip), payload);
	return send_frame(p, ETH_P_IPV6, group, &ask, len, err);
}

static bool is_advertisement_of(const uint8_t *packet, size_t len, const struct ip_addr *a)
{
	struct nd_neighbor_advert na;
	struct ip6_hdr ip;

	if (len < sizeof(ip) + sizeof(na))
		return false;
	memcpy(&ip, packet, sizeof(ip));
	memcpy(&na, packet + sizeof(ip), sizeof(na));
	return ip.ip6_nxt == IPPROTO_ICMPV6 && na.nd_na_type == ND_NEIGHBOR_ADVERT &&
	       memcmp(&na.nd_na_target, a->bytes, 16) == 0;
}

/* --- both --- */

static const struct nic_family *probed(const struct nic *n, int family)
{
	const struct nic_family *f = nic_family_of(n, family);

	return f->probe && f->n_addresses ? f : NULL;
}

static int ask_all(struct probe *p, int family, struct error *err)
{
	const struct nic_family *f = probed(p->nic, family);
	int r = 0;

	for (size_t i = 0; f && i < f->n_addresses && r == 0; i++)
		r = family == AF_INET ? ask4(p, &f->addresses[i], err) : ask6(p, &f->addresses[i], err);
	return r;
}

/* Read what has come; the address of ours that somebody has, or NULL. */
static const struct ip_addr *read_answers(struct probe *p, int family)
{
	const struct nic_family *f = probed(p->nic, family);
	int sock = family == AF_INET ? p->arp : p->nd;
	uint8_t packet[2048]; /* the rest of longer ones does not matter */

	while (f && sock >= 0) {
		struct sockaddr_ll from = {0};
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(sock, packet, sizeof(packet), 0, (struct sockaddr *)&from, &size);

		if (n < 0)
			return NULL;
		for (size_t i = 0; i < f->n_addresses && from.sll_pkttype != PACKET_OUTGOING; i++)
			if (family == AF_INET ? is_from(packet, (size_t)n, &f->addresses[i])
					      : is_advertisement_of(packet, (size_t)n, &f->addresses[i]))
				return &f->addresses[i];
	}
	return NULL;
}

static int wait_answers(struct probe *p, struct error *err)
{
	int64_t deadline = time_monotonic_ms() + PROBE_MS;
	char text[IP_TEXT_MAX];

	for (;;) {
		struct pollfd fds[2] = {{.fd = p->arp, .events = POLLIN}, {.fd = p->nd, .events = POLLIN}};
		int64_t left = deadline - time_monotonic_ms();
		const struct ip_addr *taken;

		if (left <= 0 || (poll(fds, 2, (int)left) < 0 && errno != EINTR))
			return 0;
		taken = read_answers(p, AF_INET);
		if (!taken)
			taken = read_answers(p, AF_INET6);
		if (taken)
			return error_set(err, 400, "IP address \"%s\" in use on parent network \"%s\"",
					 ip_format(taken, text), p->parent->name);
	}
}

static int find_sources(struct networks *all, struct probe *p, struct error *err)
{
	auto_free struct link_address *list = NULL;
	size_t n = 0;
	int r = link_addresses(networks_links(all), p->parent->name, &list, &n, err);

	for (size_t i = 0; i < n && r == 0; i++) {
		struct ip_addr *from = list[i].address.addr.family == AF_INET ? &p->from4 : &p->from6;

		if (from->family == AF_UNSPEC)
			*from = list[i].address.addr;
	}
	return r;
}

int nic_probe(struct networks *all, const struct nic *n, const struct link_info *parent, struct error *err)
{
	CLEANUP(probe_done) struct probe p = {.arp = -EBADF, .nd = -EBADF, .nic = n, .parent = parent};
	int r;

	if ((!probed(n, AF_INET) && !probed(n, AF_INET6)) || !parent->up)
		return 0;
	r = find_sources(all, &p, err);
	if (r == 0 && probed(n, AF_INET))
		r = open_socket(&p, ETH_P_ARP, &p.arp, err);
	if (r == 0 && probed(n, AF_INET6))
		r = open_socket(&p, ETH_P_IPV6, &p.nd, err);
	if (r == 0)
		r = ask_all(&p, AF_INET, err);
	if (r == 0)
		r = ask_all(&p, AF_INET6, err);
	return r < 0 ? r : wait_answers(&p, err);
}
