/*
 * What a caller (lxd or lxc) and lxd-dial say to each other: one request and one reply, packets of wire.h on the dial's
 * fd 3; after a good reply the dial relays between the TLS connection and the plain stream on its fd 4 until both ends
 * are closed (a half-closed stream becomes close_notify, and the other way round).
 *
 * The dial is the only program that parses what a server sends in TLS. Started by root it gives up everything first.
 */
#pragma once

#include <stdint.h>

#define WIRE_DIAL_MAGIC 0x4c584449U
#define WIRE_DIAL_CONTROL_FD 3
#define WIRE_DIAL_STREAM_FD 4

enum wire_dial_flags {
	/* What makes a server acceptable; any one suffices. None of them is refused. */
	WIRE_DIAL_SYSTEM_ROOTS = 1 << 0, /* the system's certificate authorities and the name */
	WIRE_DIAL_CA = 1 << 1,           /* the authorities in `ca` and the name */
	WIRE_DIAL_PIN = 1 << 2,          /* the leaf's SHA-256 is one of `pins` */
	WIRE_DIAL_FETCH = 1 << 3, /* alone: accept any, report it, show nothing of ours (no client certificate) */
};

/*
 * Request: u32 magic, u32 flags, str host, u32 port, str proxy ("http://[user:password@]host:port", NULL: none), str
 * ca (PEM), list pins (lower-case hex), str client certificate (PEM, NULL: none), str client key (PEM), u32 timeout in
 * ms for connecting and the handshake.
 *
 * Reply: u32 magic, str leaf (PEM, NULL: none was received), str its SHA-256, u32 which of the flags accepted it, str
 * TLS version, str cipher, u32 failed (0: connected), and if failed an error (wire_put_error).
 */
