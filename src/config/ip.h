/* IP addresses, prefixes and hardware addresses: values, made from text once at the edge, written back in one form. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

struct ip_addr {
	int family;        /* AF_INET, AF_INET6; AF_UNSPEC: none */
	uint8_t bytes[16]; /* network order; IPv4 uses the first four */
};

/* An address with its prefix length: "192.0.2.1/24". */
struct ip_prefix {
	struct ip_addr addr;
	unsigned len; /* bits */
};

struct mac_addr {
	uint8_t bytes[6];
};

#define IP_TEXT_MAX 64
#define MAC_TEXT_MAX 18
#define IP_ADDR_NONE ((struct ip_addr){0})

/* @family AF_UNSPEC: either. False when @text is no such address; zones ("fe80::1%eth0") are none. */
bool ip_parse(int family, const char *text, struct ip_addr *ret);
/* "ADDRESS/LENGTH"; without a length false. Host bits may be set. */
bool ip_prefix_parse(int family, const char *text, struct ip_prefix *ret);
/* Six bytes of hex with colons. */
bool mac_parse(const char *text, struct mac_addr *ret);

/* Canonical text into @buf, which is returned. */
const char *ip_format(const struct ip_addr *a, char buf[IP_TEXT_MAX]);
const char *ip_prefix_format(const struct ip_prefix *p, char buf[IP_TEXT_MAX]);
const char *mac_format(const struct mac_addr *m, char buf[MAC_TEXT_MAX]); /* lower case */

/* 4 or 16 bytes; 32 or 128 bits. */
size_t ip_size(int family);
unsigned ip_bits(int family);
bool ip_equal(const struct ip_addr *a, const struct ip_addr *b);
/* Order of the numbers; IPv4 before IPv6. */
int ip_compare(const struct ip_addr *a, const struct ip_addr *b);
/* Loopback 127/8, ::1; link-local 169.254/16, fe80::/10. */
bool ip_is_loopback(const struct ip_addr *a);
bool ip_is_link_local(const struct ip_addr *a);

/* The network address: host bits cleared. */
struct ip_prefix ip_network(const struct ip_prefix *p);
/* Is the address its own network address? True also for full length. */
bool ip_prefix_is_network(const struct ip_prefix *p);
bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a);
/* Do they share an address? */
bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b);
/* The whole address as a prefix: /32, /128. */
struct ip_prefix ip_host_prefix(const struct ip_addr *a);
/* The address @n after the network address (ip_nth(192.0.2.0/24, 1) is 192.0.2.1). False when it is outside. */
bool ip_nth(const struct ip_prefix *p, uint64_t n, struct ip_addr *ret);
/* The last address: IPv4 broadcast, IPv6 all ones. */
struct ip_addr ip_last(const struct ip_prefix *p);
/* One further; false at the end of all addresses. */
bool ip_next(struct ip_addr *a);
/* EUI-64 address of @mac in the /64 @subnet (the first 64 bits count). */
struct ip_addr ip_eui64(const struct ip_prefix *subnet, const struct mac_addr *mac);

/*
 * A comma separated list of prefixes, blanks allowed; a bare address is one of full length. @family as above. 400
 * `Item "x": reason`. The caller frees *@ret.
 */
int ip_prefixes_parse(int family, const char *list, struct ip_prefix **ret, size_t *ret_n, struct error *err);

struct ip_range {
	struct ip_addr first;
	struct ip_addr last;
};

/* A comma separated list of FIRST-LAST. 400 `Item "x": IP range must contain start and end IP addresses`. */
int ip_ranges_parse(int family, const char *list, struct ip_range **ret, size_t *ret_n, struct error *err);
