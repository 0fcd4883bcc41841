/* Fuzz target: dnsmasq's leases file and host entries, in which containers have a say. */
#include <stdint.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/str.h"
#include "network/dnsmasq_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever was understood can be given back without writing beyond the packet. */
static void give_back(const struct dnsmasq_lease *l, const char *duid)
{
	uint8_t packet[DNSMASQ_PACKET_MAX];
	struct ip_addr server = {.family = AF_INET};
	size_t n = l->address.family == AF_INET ? dnsmasq_release4_packet(l, &server, 1, packet)
						: dnsmasq_release6_packet(l, duid, 1, packet);

	if (n > sizeof(packet))
		abort();
}

/* An entry that was read is written again with the same meaning. */
static void write_again(const char *line)
{
	CLEANUP(dnsmasq_host_done) struct dnsmasq_host h = {0}, again = {0};
	auto_free char *text = NULL;

	if (!dnsmasq_host_parse(line, &h))
		return;
	text = dnsmasq_host_line(&h);
	if (!text || !dnsmasq_host_parse(text, &again) || !ip_equal(&h.v4, &again.v4) || !ip_equal(&h.v6, &again.v6))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	struct dnsmasq_lease *leases;
	auto_free char *duid = NULL;
	size_t n;

	dnsmasq_leases_parse(text, &leases, &n, &duid);
	for (size_t i = 0; i < n; i++) {
		give_back(&leases[i], duid);
		dnsmasq_lease_done(&leases[i]);
	}
	free(leases);
	write_again(text);
	return 0;
}
