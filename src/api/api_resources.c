/* /1.0/resources: the host's hardware, read anew for each request. */
#include "api/api.h"
#include "api/resources.h"

static int get_resources(struct api_call *c, struct error *err UNUSED)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	resources_write("", &w);
	api_sync(c, &b);
	return 0;
}

const struct api_route api_resources_routes[] = {
	{.path = "/1.0/resources",
	 .method = HTTP_GET,
	 .perm = PERM_TRUSTED,
	 .handler = get_resources,
	 .doc = "The host's processors, memory, disks, network cards and other devices"},
	{0},
};
