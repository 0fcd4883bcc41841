/* Fuzz target: metadata.yaml, names of archive members. With libFuzzer: clang -fsanitize=fuzzer,address. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "unpack/member.h"
#include "unpack/metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is accepted is valid JSON. */
static void fuzz_yaml(const char *text, size_t len)
{
	auto_error struct error err = ERROR_INIT;
	auto_json struct json *root = NULL;
	auto_free char *json = NULL;

	if (metadata_yaml_to_json(text, len, &json, &err) < 0) {
		assert(err.status == 400 && err.msg);
		return;
	}
	if (json_parse(json, strlen(json), &root, &err) < 0)
		abort();
	if (!json_get_str(root, "architecture"))
		abort();
}

/* Whatever is accepted stays below its root. */
static void fuzz_path(const char *raw)
{
	auto_error struct error err = ERROR_INIT;
	auto_free char *path = NULL, *shown = member_escape(raw);
	const char *rest;

	for (const char *p = shown; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			abort();
	if (member_path_clean(raw, "Member", &path, &err) < 0)
		return;
	member_path_area(path, true, &rest);
	if (*path == '/' || strstr(path, "//") || strcmp(path, "..") == 0 || strncmp(path, "../", 3) == 0 ||
	    strstr(path, "/../"))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);

	fuzz_yaml((const char *)data, size);
	fuzz_path(text);
	return 0;
}
