#include "image/pack.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/str.h"

#define CHUNK (256u * 1024)
#define TICK_MS 500
#define REASON_MAX 1000

static const char *const compressions[] = {"gzip", "xz", "zstd", "bzip2", "none"};

bool image_compression_known(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(compressions); i++)
		if (streq(compressions[i], name))
			return true;
	return false;
}

/* The program at work. */
struct packer {
	pid_t pid;
	int in;     /* its standard output */
	int errors; /* what it says when it fails */
};

static void packer_done(struct packer *p)
{
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	fd_close(p->in);
	fd_close(p->errors);
}

/* What metadata.yaml shall say, as a file. */
static int make_request(const char *text, int *ret_fd, struct error *err)
{
	int r;

	*ret_fd = memfd_create("metadata", MFD_CLOEXEC);
	if (*ret_fd < 0)
		return error_errno(err, errno, "Make a file in memory");
	r = fd_write_full(*ret_fd, text, strlen(text));
	if (r == 0 && lseek(*ret_fd, 0, SEEK_SET) < 0)
		r = -errno;
	return r < 0 ? error_errno(err, -r, "Write a file in memory") : 0;
}

static int start(struct packer *p, const struct image_pack_spec *spec, struct error *err)
{
	auto_free char *program = process_helper_path("lxd-pack");
	const char *const argv[] = {program, spec->compression, spec->uid_map, spec->uid_map ? spec->gid_map : NULL,
				    NULL};
	struct process_spec process = PROCESS_SPEC_INIT;
	auto_close int request = -EBADF, out = -EBADF;
	int pipes[2], r = make_request(spec->metadata, &request, err);

	if (r < 0)
		return r;
	p->errors = memfd_create("errors", MFD_CLOEXEC);
	if (p->errors < 0 || pipe2(pipes, O_CLOEXEC) < 0)
		return error_errno(err, errno, "Create a pipe");
	p->in = pipes[0];
	out = pipes[1];
	process.argv = argv;
	process.stdin_fd = request;
	process.stdout_fd = out;
	process.stderr_fd = p->errors;
	process.fds = &spec->dirfd;
	process.nfds = 1;
	return process_spawn(&process, &p->pid, NULL, err);
}

static int take_output(struct packer *p, const struct image_pack_spec *spec, struct image_upload *up, struct error *err)
{
	auto_free char *buf = xmalloc(CHUNK);

	for (;;) {
		struct pollfd fd = {.fd = p->in, .events = POLLIN};
		ssize_t n;
		int r;

		if (spec->cancelled && spec->cancelled(spec->arg))
			return error_set(err, 400, "The publishing was cancelled");
		if (poll(&fd, 1, TICK_MS) <= 0)
			continue;
		n = read(p->in, buf, CHUNK);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return error_errno(err, errno, "Read the image that is made");
		r = n > 0 ? image_upload_write(up, IMAGE_PART_META, buf, (size_t)n, err) : 0;
		if (r < 0)
			return r;
	}
}

/* It has ended, and says why if it failed; its words may quote the container's file names. */
static int check_end(struct packer *p, struct error *err)
{
	char text[REASON_MAX + 1];
	int status;
	ssize_t n;

	while (waitpid(p->pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_errno(err, errno, "Wait for lxd-pack");
	p->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	n = pread(p->errors, text, REASON_MAX, 0);
	text[n > 0 ? n : 0] = '\0';
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	if (WIFSIGNALED(status))
		return error_set(err, 500, "Make the image: killed by signal %d", WTERMSIG(status));
	return error_set(err, 500, "Make the image: %s", str_strip(text));
}

int image_pack(const struct image_pack_spec *spec, struct image_upload *up, struct error *err)
{
	struct packer p = {.in = -EBADF, .errors = -EBADF};
	int r = start(&p, spec, err);

	if (r == 0)
		r = take_output(&p, spec, up, err);
	if (r == 0)
		r = check_end(&p, err);
	packer_done(&p);
	return r;
}
