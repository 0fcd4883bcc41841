/* Fuzz target: what another server says on a migration's control connection, as a header and as a verdict. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "migration/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was understood is the same when it is said again. */
static void again(const struct migration_header *h)
{
	auto_migration_header struct migration_header second = MIGRATION_HEADER_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;

	migration_header_encode(h, &b);
	if (b.len > MIGRATION_MESSAGE_MAX)
		return;
	if (migration_header_decode(b.data, b.len, &second, &err) < 0 || second.features != h->features ||
	    !idmap_equal(&second.idmap, &h->idmap) || second.snapshots.len != h->snapshots.len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_migration_header struct migration_header h = MIGRATION_HEADER_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_error struct error verdict = ERROR_INIT;

	if (migration_header_decode(data, size, &h, &err) == 0)
		again(&h);
	else if (err.status != 400)
		abort();
	if (migration_verdict_decode(data, size, &verdict) < 0)
		for (const char *p = error_msg(&verdict); *p; p++)
			if ((unsigned char)*p < ' ' || *p == 0x7f)
				abort();
	(void)migration_is_verdict(data, size);
	return 0;
}
