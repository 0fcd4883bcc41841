/* Fuzz target: addresses of listeners and remotes. What is accepted must survive being written and read again. */
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/alloc.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	auto_host_port struct host_port hp = HOST_PORT_INIT, again = HOST_PORT_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_free char *formatted = NULL;

	if (host_port_parse(text, 8443, &hp, &err) < 0)
		return 0;
	formatted = host_port_format(hp.host, hp.port);
	if (host_port_parse(formatted, 1, &again, &err) < 0 || !streq(hp.host, again.host) || hp.port != again.port)
		abort();
	return 0;
}
