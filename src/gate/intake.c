#include "gate/intake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

int gate_address_parse(const char *text, struct gate_address *ret)
{
	struct gate_address a = {0};

	if (inet_pton(AF_INET, text, a.bytes) == 1) {
		*ret = a;
		return 0;
	}
	if (inet_pton(AF_INET6, text, a.bytes) != 1)
		return -EINVAL;
	a.v6 = memcmp(a.bytes, mapped, sizeof(mapped)) != 0;
	if (!a.v6) {
		memmove(a.bytes, a.bytes + sizeof(mapped), 4);
		memset(a.bytes + 4, 0, 12);
	}
	*ret = a;
	return 0;
}

bool gate_address_equal(const struct gate_address *a, const struct gate_address *b)
{
	return a->v6 == b->v6 && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

char *gate_address_text(const struct gate_address *a, bool with_port)
{
	char text[INET6_ADDRSTRLEN] = "";

	inet_ntop(a->v6 ? AF_INET6 : AF_INET, a->bytes, text, sizeof(text));
	if (!with_port)
		return xstrdup(text);
	return xasprintf(a->v6 ? "[%s]:%u" : "%s:%u", text, a->port);
}

/* The next word of the line, ended by one blank or by the end. */
static char *next_word(char **at)
{
	char *word = *at, *blank;

	if (!word)
		return NULL;
	blank = strchr(word, ' ');
	if (blank)
		*blank = '\0';
	*at = blank ? blank + 1 : NULL;
	return word;
}

static bool is_port(const char *text, uint16_t *ret)
{
	uint32_t port;

	/* no leading zero, says the protocol; zero itself is allowed */
	if (!text || parse_u32(text, &port) < 0 || port > UINT16_MAX || (text[0] == '0' && text[1]))
		return false;
	*ret = (uint16_t)port;
	return true;
}

static int parse_addresses(char *at, bool v6, struct gate_address *ret)
{
	const char *source = next_word(&at), *destination = next_word(&at);
	const char *source_port = next_word(&at), *destination_port = next_word(&at);
	unsigned char ignored[16], own[16];
	struct gate_address a;
	uint16_t port;
	int family = v6 ? AF_INET6 : AF_INET;

	if (at || !source || !destination || inet_pton(family, source, own) != 1 ||
	    inet_pton(family, destination, ignored) != 1 || gate_address_parse(source, &a) < 0 ||
	    !is_port(source_port, &a.port) || !is_port(destination_port, &port))
		return -EINVAL;
	*ret = a;
	return 1;
}

int gate_proxy_parse(const char *line, size_t len, struct gate_address *ret)
{
	char text[PROXY_HEADER_MAX + 1];
	char *at = text;
	const char *word;

	if (len < 2 || len > PROXY_HEADER_MAX || line[len - 2] != '\r' || line[len - 1] != '\n' || memchr(line, 0, len))
		return -EINVAL;
	memcpy(text, line, len - 2);
	text[len - 2] = '\0';
	if (strpbrk(text, "\r\n"))
		return -EINVAL;
	word = next_word(&at);
	if (!streq(word, "PROXY"))
		return -EINVAL;
	word = next_word(&at);
	if (word && streq(word, "UNKNOWN"))
		return 0;
	if (word && streq(word, "TCP4"))
		return parse_addresses(at, false, ret);
	if (word && streq(word, "TCP6"))
		return parse_addresses(at, true, ret);
	return -EINVAL;
}

/* States: nothing but line breaks so far; inside a line; at the start of a line; after its CR. */
enum { HEAD_START, HEAD_LINE, HEAD_BREAK, HEAD_BREAK_CR };

bool gate_head_ends(struct gate_head *h, const void *data, size_t len)
{
	const char *p = data;

	for (size_t i = 0; i < len; i++) {
		switch (p[i]) {
		case '\n':
			if (h->state == HEAD_BREAK || h->state == HEAD_BREAK_CR)
				return true;
			/* line breaks before the request line do not count */
			h->state = h->state == HEAD_START ? HEAD_START : HEAD_BREAK;
			break;
		case '\r':
			if (h->state == HEAD_BREAK)
				h->state = HEAD_BREAK_CR;
			else if (h->state == HEAD_BREAK_CR)
				h->state = HEAD_LINE;
			break;
		default:
			h->state = HEAD_LINE;
		}
	}
	return false;
}
