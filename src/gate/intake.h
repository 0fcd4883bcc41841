/* A stranger's first bytes: the PROXY header of a listed proxy, the end of a request head. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROXY_HEADER_MAX 107 /* bytes with the line break; version 1 of the protocol says so */

/* An address as it came from the kernel or from a proxy. IPv4 in IPv6 is made IPv4. */
struct gate_address {
	bool v6;
	unsigned char bytes[16]; /* IPv4: the first four */
	uint16_t port;
};

/*
 * Read "PROXY TCP4 source destination port port\r\n" (TCP6; UNKNOWN). 1: @ret is the source; 0: UNKNOWN, the peer's
 * own address counts; -EINVAL for anything else.
 */
int gate_proxy_parse(const char *line, size_t len, struct gate_address *ret);
/* Read an address without port in its usual text form; -EINVAL. */
int gate_address_parse(const char *text, struct gate_address *ret);
/* The same host? Ports do not count. */
bool gate_address_equal(const struct gate_address *a, const struct gate_address *b);
/* "192.0.2.1:4000", "[2001:db8::1]:4000"; the caller frees. */
char *gate_address_text(const struct gate_address *a, bool with_port);

/* Where in its input the search for the end of a request head is; starts as zeros. */
struct gate_head {
	unsigned char state;
};

/* Look at the next @len bytes; true when the empty line after the header fields is among them. */
bool gate_head_ends(struct gate_head *h, const void *data, size_t len);
