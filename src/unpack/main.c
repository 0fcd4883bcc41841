/*
 * The program lxd-unpack: reads one request (base/wire_unpack.h), jails itself, unpacks one image and writes one
 * reply. Exit code 0 means that a reply was written, also when it tells of an error.
 */
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/wire_unpack.h"
#include "unpack/jail.h"
#include "unpack/metadata.h"
#include "unpack/squash.h"
#include "unpack/tarball.h"
#include "unpack/tree.h"

struct job {
	struct wire_unpack_request req;
	struct tree_counts counts;
	enum wire_unpack_format meta_format;
	enum wire_unpack_format rootfs_format;
	char *json;
};

static int write_yaml(int root, const struct strbuf *yaml, struct error *err)
{
	auto_close int fd = openat(root, "metadata.yaml", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	int r = fd < 0 ? -errno : fd_write_full(fd, yaml->data, yaml->len);

	if (r == 0)
		return 0;
	error_errno(err, -r, "Write metadata.yaml");
	return error_status(err, r == -ENOSPC || r == -EDQUOT ? 507 : 500);
}

static int read_metadata(struct job *job, bool unified, struct tarball_sink *sink, struct error *err)
{
	int r = tarball_read_image(WIRE_UNPACK_META_FD, job->meta_format, unified, sink, err);

	if (r < 0)
		return r;
	if (!sink->yaml.data)
		return error_set(err, 400, "Metadata tarball is missing metadata.yaml");
	return metadata_yaml_to_json(sink->yaml.data, sink->yaml.len, &job->json, err);
}

static int probe(struct job *job, struct error *err)
{
	struct tarball_sink sink = {.counts = &job->counts};
	int r = read_metadata(job, false, &sink, err);

	strbuf_done(&sink.yaml);
	return r;
}

static int read_rootfs(struct job *job, struct tree *rootfs, struct error *err)
{
	if (job->rootfs_format == WIRE_FORMAT_SQUASHFS)
		return squash_read(WIRE_UNPACK_ROOTFS_FD, rootfs, &job->counts, err);
	return tarball_read_rootfs(WIRE_UNPACK_ROOTFS_FD, job->rootfs_format, rootfs, &job->counts, err);
}

static int unpack_into(struct job *job, int root, struct tarball_sink *sink, struct error *err)
{
	bool unified = !(job->req.flags & WIRE_UNPACK_SPLIT);
	CLEANUP(tree_freep) struct tree *rootfs = NULL;
	CLEANUP(tree_freep) struct tree *templates = NULL;
	int r;

	r = tree_new(root, "rootfs", &job->counts, &rootfs, err);
	if (r == 0)
		r = tree_new(root, "templates", &job->counts, &templates, err);
	if (r < 0)
		return r;
	sink->rootfs = unified ? rootfs : NULL;
	sink->templates = templates;
	r = read_metadata(job, unified, sink, err);
	if (r == 0 && unified && !sink->rootfs_seen)
		return error_set(err, 400, "Image is missing its rootfs");
	if (r == 0 && !unified)
		r = read_rootfs(job, rootfs, err);
	if (r == 0)
		r = write_yaml(root, &sink->yaml, err);
	if (r == 0)
		r = tree_finish(templates, err);
	if (r == 0)
		r = tree_finish(rootfs, err);
	return r;
}

static int unpack(struct job *job, struct error *err)
{
	struct tarball_sink sink = {.counts = &job->counts};
	auto_close int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (root < 0)
		return error_errno(err, errno, "Open the target directory");
	r = unpack_into(job, root, &sink, err);
	strbuf_done(&sink.yaml);
	return r;
}

static int run(struct job *job, struct error *err)
{
	int r = tarball_format_detect(WIRE_UNPACK_META_FD, &job->meta_format, err);

	if (r == 0 && (job->req.flags & WIRE_UNPACK_SPLIT))
		r = tarball_format_detect(WIRE_UNPACK_ROOTFS_FD, &job->rootfs_format, err);
	if (r < 0)
		return r;
	return job->req.flags & WIRE_UNPACK_PROBE ? probe(job, err) : unpack(job, err);
}

static int enter(const struct job *job, struct error *err)
{
	static const int fds[] = {WIRE_UNPACK_META_FD, WIRE_UNPACK_ROOTFS_FD};
	struct jail_spec spec = {
		.target_fd = job->req.flags & WIRE_UNPACK_PROBE ? -EBADF : WIRE_UNPACK_TARGET_FD,
		.keep_fds = fds,
		.keep_len = job->req.flags & WIRE_UNPACK_SPLIT ? 2 : 1,
		.max_bytes = job->req.max_bytes,
		.cpu_seconds = job->req.cpu_seconds,
	};
	int r = jail_split(&spec, err);

	return r < 0 ? r : jail_enter(&spec, err);
}

static int request_read(struct wire_unpack_request *req, struct error *err)
{
	ssize_t n = fd_read_full(STDIN_FILENO, req, sizeof(*req));

	if (n != (ssize_t)sizeof(*req) || req->magic != WIRE_UNPACK_MAGIC || !req->cpu_seconds)
		return error_set(err, 500, "lxd-unpack is started by lxd: it needs a request on its standard input");
	return 0;
}

static int reply_write(const struct job *job, const struct error *err)
{
	const char *text = err->status ? error_msg(err) : job->json;
	struct wire_unpack_reply reply = {
		.magic = WIRE_UNPACK_MAGIC,
		.status = (uint32_t)err->status,
		.text_len = (uint32_t)MIN_OF(strlen(text), WIRE_UNPACK_TEXT_MAX + 1U),
		.meta_format = job->meta_format,
		.rootfs_format = job->rootfs_format,
		.members = job->counts.members,
		.bytes = job->counts.bytes,
		.skipped_nodes = job->counts.skipped_nodes,
	};
	int r = fd_write_full(STDOUT_FILENO, &reply, sizeof(reply));

	return r < 0 ? r : fd_write_full(STDOUT_FILENO, text, reply.text_len);
}

int main(void)
{
	auto_error struct error err = ERROR_INIT;
	struct job job = {0};
	int r;

	/* member names are UTF-8; this locale is built into the C library, and must be set while files are visible */
	setlocale(LC_CTYPE, "C.UTF-8");
	r = request_read(&job.req, &err);
	if (r == 0) {
		job.counts.max_bytes = job.req.max_bytes;
		job.counts.max_members = job.req.max_members;
		r = enter(&job, &err);
	}
	if (r == 0)
		run(&job, &err);
	r = reply_write(&job, &err);
	/* no exit handlers: there is nothing to flush, and the jail allows little */
	_exit(r < 0 ? 126 : 0);
}
