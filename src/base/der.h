/*
 * DER as far as certificates need it: elements cut off one by one, tags and lengths checked against what holds them.
 * Nothing is decided by what is read here: judging certificates is the job of the programs with GnuTLS.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/macros.h"

enum {
	DER_INTEGER = 0x02,
	DER_OID = 0x06,
	DER_UTC_TIME = 0x17,
	DER_GENERAL_TIME = 0x18,
	DER_SEQUENCE = 0x30,
	DER_SET = 0x31,
	DER_VERSION = 0xa0 /* [0], of a certificate */
};

/* Bytes not read yet of an element's content; borrowed. */
struct der {
	const unsigned char *at;
	size_t left;
};

/* Cut the next element off @from; -EINVAL when it is cut short or of a form that certificates do not have. */
int der_next(struct der *from, unsigned *ret_tag, struct der *ret) MUST_USE;
/* The same; another tag than @tag is -EINVAL, too. */
int der_expect(struct der *from, unsigned tag, struct der *ret) MUST_USE;
/* "YYMMDDhhmmssZ" or "YYYYMMDDhhmmssZ", in UTC as it stands there; -EINVAL for anything else. */
int der_time(struct der *from, struct tm *ret) MUST_USE;

/* What a certificate says about itself; nothing of it is proven. */
struct der_certificate {
	struct tm not_before, not_after;
	struct der subject;
};

/* Read the outline of @der, @len bytes; -EINVAL when it is no certificate. */
int der_certificate(const void *der, size_t len, struct der_certificate *ret) MUST_USE;
