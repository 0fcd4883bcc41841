/* Fuzz target: what an image server of the simplestreams kind lists. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "http/simplestreams.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(const char *path)
{
	auto_free char *url = streams_url_path("", path);

	if (*path == '/' || strstr(url, "/../") || strpbrk(url, " ?#\\\n"))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	size_t len = strlen(text);
	auto_error struct error err = ERROR_INIT;
	auto_strv struct strv paths = STRV_INIT;
	auto_streams_list struct streams_list list = STREAMS_LIST_INIT;

	if (streams_parse_index(text, len, &paths, &err) < 0)
		error_clear(&err);
	for (size_t i = 0; i < paths.len; i++)
		check_path(paths.items[i]);
	if (streams_parse_products(text, len, &list, &err) < 0)
		error_clear(&err);
	for (size_t i = 0; i < list.len; i++) {
		const struct streams_image *img = list.items[i];

		check_path(img->meta.path);
		if (img->root.path)
			check_path(img->root.path);
		if (strlen(img->fingerprint) != 64 || streams_image_size(img) == 0)
			abort();
		streams_find(&list, img->fingerprint, "x86_64", NULL);
		if (img->aliases.len)
			streams_find(&list, img->aliases.items[0], img->architecture, img->type);
	}
	return 0;
}
