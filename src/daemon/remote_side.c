#include "daemon/remote_side.h"

#include "base/alloc.h"
#include "daemon/server_keys.h"

#define WARNING_REFUSED "Too many remote connections"
#define WARNING_TROUBLE "Remote API is not served"

static void on_refused(void *arg, unsigned kind UNUSED, const char *address, uint64_t count)
{
	struct api *api = arg;
	auto_free char *text = xasprintf("%llu connections were refused, the last one from %s",
					 (unsigned long long)count, address);

	warnings_raise(api->warnings, WARNING_REFUSED, "moderate", "", text);
}

static void on_trouble(void *arg, const char *message)
{
	struct api *api = arg;

	if (message)
		warnings_raise(api->warnings, WARNING_TROUBLE, "high", "", message);
	else
		warnings_resolve(api->warnings, WARNING_TROUBLE, "");
}

static void on_trust_change(void *arg)
{
	struct http_server **at = arg, *http = __atomic_load_n(at, __ATOMIC_ACQUIRE);

	/* not yet: then nobody is connected either */
	if (http)
		http_server_recheck(http, /* authority= */ false);
}

int remote_side_prepare(struct api *api, struct http_server **http, struct error *err)
{
	const struct remote_spec spec = {.http = http, .refused = on_refused, .trouble = on_trouble, .arg = api};
	struct server_keys *keys = NULL;
	int r = remote_new(&spec, &api->remote, err);

	if (r == 0)
		r = server_keys_new(api, &keys, err);
	trust_on_change(api->trust, on_trust_change, http);
	/* from here on trust changes in a thread of its own */
	if (r == 0)
		r = server_keys_watch(keys, err);
	return r;
}
