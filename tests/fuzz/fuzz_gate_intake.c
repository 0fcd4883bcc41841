/*
 * Fuzz target: a stranger's first bytes at the gate. A PROXY header is read (and what was read is written and read
 * again), and the end of a request head is looked for in pieces: it must be found where a whole look finds it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "gate/intake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void proxy(const char *line, size_t len)
{
	struct gate_address a = {0}, again;
	auto_free char *text = NULL;
	int r = gate_proxy_parse(line, len, &a);

	if (r <= 0)
		return;
	text = gate_address_text(&a, false);
	if (gate_address_parse(text, &again) < 0 || !gate_address_equal(&a, &again))
		abort();
}

/* Where the head ends by one look, byte for byte; @len when it does not. */
static size_t end_by_bytes(const uint8_t *data, size_t len)
{
	struct gate_head h = {0};

	for (size_t i = 0; i < len; i++)
		if (gate_head_ends(&h, data + i, 1))
			return i;
	return len;
}

static void head(const uint8_t *data, size_t len, size_t step)
{
	struct gate_head h = {0};
	size_t end = end_by_bytes(data, len);

	for (size_t i = 0; i < len; i += step) {
		size_t n = MIN_OF(step, len - i);
		bool found = gate_head_ends(&h, data + i, n);

		if (found != (end >= i && end < i + n))
			abort();
		if (found)
			return;
	}
	if (end < len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	struct gate_address a;

	proxy((const char *)data, size);
	(void)!gate_address_parse(text, &a);
	if (size > 1)
		head(data + 1, size - 1, 1u + data[0]);
	return 0;
}
