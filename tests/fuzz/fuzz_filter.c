/* Fuzz target: a filter from a client, parsed and put to an object. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "config/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char object[] =
	"{\"name\":\"c1\",\"size\":15,\"on\":true,\"config\":{\"user.a\":\"x\",\"user.a.b\":\"y\"},"
	"\"text\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *j = NULL;
	CLEANUP(filter_freep) struct filter *f = NULL;

	if (json_parse(object, strlen(object), &j, &err) < 0)
		abort();
	if (filter_parse(text, &f, &err) < 0) {
		if (f || err.status != 400 || !strstr(error_msg(&err), "Invalid filter: "))
			abort();
		return 0;
	}
	filter_match(f, filter_get_json, j);
	return 0;
}
