/*
 * The daemon's side of lxd-unpack. The jail gets its request in a pipe and three fds by number; all that comes back
 * is one bounded answer, whose JSON is decoded into known fields and written anew.
 */
#include "image/unpack.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/path.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "base/wire_unpack.h"
#include "image/unpack_reply.h"

void image_unpack_result_done(struct image_unpack_result *res)
{
	free(res->metadata_json);
	*res = IMAGE_UNPACK_RESULT_INIT;
}

static uint64_t or_default(uint64_t value, uint64_t def)
{
	return value ? value : def;
}

/* The request, in a pipe that is small enough to hold it whole. */
static int request_pipe(const struct image_unpack_spec *spec, unsigned timeout_ms, int *ret_fd, struct error *err)
{
	struct wire_unpack_request req = {
		.magic = WIRE_UNPACK_MAGIC,
		.flags = (spec->rootfs_fd >= 0 ? WIRE_UNPACK_SPLIT : 0U) |
			 (spec->target_dirfd < 0 ? WIRE_UNPACK_PROBE : 0U),
		.max_bytes = or_default(spec->max_bytes, IMAGE_UNPACK_BYTES_MAX),
		.max_members = or_default(spec->max_members, IMAGE_UNPACK_MEMBERS_MAX),
		.cpu_seconds = timeout_ms / 1000 + 1,
	};
	auto_close int rd = -EBADF, wr = -EBADF;
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return error_errno(err, errno, "Create pipe for the image unpacker");
	rd = p[0];
	wr = p[1];
	r = fd_write_full(wr, &req, sizeof(req));
	if (r < 0)
		return error_errno(err, -r, "Write to the image unpacker");
	*ret_fd = TAKE_FD(rd);
	return 0;
}

/* What became of a jail that did not answer. */
static int explain_end(const struct process_result *res, unsigned timeout_ms, struct error *err)
{
	int sig = res->exit_code - 128;

	if (err->errnum == ETIMEDOUT)
		return error_set(err, 413, "Image took longer than %u seconds to unpack", timeout_ms / 1000);
	if (err->errnum == EFBIG)
		return error_set(err, 500, "Image unpacker answered too much");
	if (sig == SIGXCPU)
		return error_set(err, 413, "Image took more than %u seconds of processor time", timeout_ms / 1000 + 1);
	if (sig > 0 && sig < NSIG)
		return error_set(err, 500, "Image unpacker was killed by signal %d (%s)", sig, strsignal(sig));
	return error_wrap(err, "Image unpacker");
}

static int jail_run(const struct image_unpack_spec *spec, struct process_result *res, struct error *err)
{
	unsigned timeout_ms = spec->timeout_ms ? spec->timeout_ms : IMAGE_UNPACK_TIMEOUT_MS;
	const int fds[] = {spec->meta_fd, spec->target_dirfd >= 0 ? spec->target_dirfd : spec->meta_fd,
			   spec->rootfs_fd};
	auto_free char *program = process_helper_path("lxd-unpack");
	const char *const argv[] = {program, NULL};
	struct process_spec process = PROCESS_SPEC_INIT;
	auto_close int request = -EBADF;
	int r;

	r = request_pipe(spec, timeout_ms, &request, err);
	if (r < 0)
		return r;
	process.argv = argv;
	process.stdin_fd = request;
	process.fds = fds;
	process.nfds = spec->rootfs_fd >= 0 ? 3 : 2;
	process.timeout_ms = timeout_ms;
	process.output_max = sizeof(struct wire_unpack_reply) + WIRE_UNPACK_TEXT_MAX + 1;
	r = process_run(&process, res, err);
	return r < 0 ? explain_end(res, timeout_ms, err) : 0;
}

static void dir_close(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* Calls @fn for each entry of the target; its first non-zero result ends the walk. */
static int target_each(int dirfd, int (*fn)(int dirfd, const char *name, struct error *err), struct error *err)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(dir_close) DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (!d) {
		int errnum = errno;

		fd_close(fd);
		return error_errno(err, errnum, "Read the target directory");
	}
	for (;;) {
		int r;

		errno = 0;
		e = readdir(d);
		if (!e)
			return errno ? error_errno(err, errno, "Read the target directory") : 0;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		r = fn(dirfd, e->d_name, err);
		if (r)
			return r;
	}
}

static int refuse_entry(int dirfd UNUSED, const char *name, struct error *err)
{
	return error_set(err, 500, "Unpack image: the target directory is not empty: it has \"%s\"", name);
}

/* Empty the target after a failure; its own failure is told together with the first one. */
static void target_empty(int dirfd, struct error *err)
{
	auto_error struct error e = ERROR_INIT;

	if (target_each(dirfd, path_remove_tree, &e) < 0) {
		auto_free char *first = xstrdup(error_msg(err));

		error_set(err, err->status, "%s (and the remains could not be removed: %s)", first, error_msg(&e));
	}
}

int image_unpack(const struct image_unpack_spec *spec, struct image_unpack_result *ret, struct error *err)
{
	auto_process_result struct process_result res = PROCESS_RESULT_INIT;
	int r;

	if (spec->target_dirfd >= 0) {
		r = target_each(spec->target_dirfd, refuse_entry, err);
		if (r < 0)
			return r;
	}
	r = jail_run(spec, &res, err);
	if (r == 0)
		r = image_unpack_reply_decode(res.out.data, res.out.len, spec->rootfs_fd >= 0, ret, err);
	if (r < 0 && spec->target_dirfd >= 0)
		target_empty(spec->target_dirfd, err);
	return r;
}

int image_probe(int meta_fd, struct image_unpack_result *ret, struct error *err)
{
	struct image_unpack_spec spec = IMAGE_UNPACK_SPEC_INIT;

	spec.meta_fd = meta_fd;
	spec.timeout_ms = 60000;
	return image_unpack(&spec, ret, err);
}
