/* Fuzz target: what lxd and its gate read of each other: a CONFIG, and a CONNECTION of a gate that was taken over. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wire.h"
#include "gate/settings.h"
#include "remote/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings_message config = {0};
	struct wire_reader r = {.data = data, .len = size};
	struct wire_message m = WIRE_MESSAGE_INIT;
	struct http_tls_peer *peer;

	if (settings_message_decode(&r, &config) &&
	    (!config.chain || config.threads == 0 || config.threads > WIRE_SIGNER_THREADS_MAX))
		abort();
	settings_message_done(&config);
	m.reader = (struct wire_reader){.data = data, .len = size};
	peer = gate_decode_peer(&m);
	if (peer && (!peer->host || !peer->cipher || peer->verdict >= WIRE_PKI_MAX || (peer->leaf_len && !peer->leaf)))
		abort();
	if (peer)
		http_tls_peer_free(peer);
	return 0;
}
