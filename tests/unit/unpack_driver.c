/*
 * Runs image_unpack() on files of the command line, so that the end-to-end tests can feed it hostile images:
 *
 *	unpack-driver TARGET|- META [ROOTFS|- [MAX_BYTES [MAX_MEMBERS [TIMEOUT_MS]]]]
 *
 * TARGET "-" probes. Prints {"status":0,"metadata":...,"members":N,...} or {"status":S,"error":"..."}.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/jsonw.h"
#include "base/str.h"
#include "image/unpack.h"

static uint64_t number(int argc, char **argv, int i)
{
	uint64_t n = 0;

	if (i < argc && parse_u64(argv[i], &n) < 0)
		fprintf(stderr, "%s: not a number\n", argv[i]);
	return n;
}

static void print_result(struct jsonw *w, const struct image_unpack_result *res)
{
	jsonw_kv_int(w, "status", 0);
	jsonw_kv_raw(w, "metadata", res->metadata_json);
	jsonw_kv_uint(w, "members", res->members);
	jsonw_kv_uint(w, "bytes", res->bytes);
	jsonw_kv_uint(w, "skipped_nodes", res->skipped_nodes);
	jsonw_kv_str(w, "meta_ext", res->meta_ext);
	jsonw_kv_str(w, "rootfs_ext", res->rootfs_ext);
}

int main(int argc, char **argv)
{
	auto_image_unpack_result struct image_unpack_result res = IMAGE_UNPACK_RESULT_INIT;
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf out = STRBUF_INIT;
	struct image_unpack_spec spec = IMAGE_UNPACK_SPEC_INIT;
	struct jsonw w = JSONW(&out);

	if (argc < 3)
		return 2;
	if (!streq(argv[1], "-"))
		spec.target_dirfd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	spec.meta_fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (argc > 3 && !streq(argv[3], "-"))
		spec.rootfs_fd = open(argv[3], O_RDONLY | O_CLOEXEC);
	spec.max_bytes = number(argc, argv, 4);
	spec.max_members = number(argc, argv, 5);
	spec.timeout_ms = (unsigned)number(argc, argv, 6);
	jsonw_object_begin(&w);
	if (image_unpack(&spec, &res, &err) < 0) {
		jsonw_kv_int(&w, "status", err.status);
		jsonw_kv_int(&w, "errnum", err.errnum);
		jsonw_kv_str(&w, "error", error_msg(&err));
	} else {
		print_result(&w, &res);
	}
	jsonw_object_end(&w);
	puts(out.data);
	return 0;
}
