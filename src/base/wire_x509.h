/*
 * What lxd and lxd-x509 say to each other. The program gets one word, "inspect" or "authority"; fd 3 is server.ca, fd 4
 * is ca.crl (/dev/null: there is none), standard input the certificate (DER or PEM) for "inspect". Its answer is
 * one message of wire.h on standard output: u32 magic, u32 status, and then
 *   status 0, inspect: str PEM, str fingerprint, str common name, str subject, u64 not before, u64 not after,
 *     u32 is RSA, u32 bits of the key, u32 verdict (enum wire_gate_verdict)
 *   status 0, authority: str warning (NULL: none)
 *   otherwise: str message
 */
#pragma once

#define WIRE_X509_MAGIC 0x4c585835U
#define WIRE_X509_CA_FD 3
#define WIRE_X509_CRL_FD 4
#define WIRE_X509_INPUT_MAX (128u * 1024) /* bytes of what is to be read as a certificate */
