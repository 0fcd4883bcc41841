/* Files of instances: where they are at this moment, running or stopped. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "instance/instance_internal.h"

/* What is to be done at a place. */
typedef int (*place_fn)(void *arg, struct container_host *h, const struct container_file_place *at, struct error *err);

struct visit {
	struct instance *i;
	place_fn fn;
	void *arg;
};

static int visit_stopped(void *arg, const struct instance_volume *volume, struct error *err)
{
	struct visit *v = arg;
	auto_free char *uids = idmap_to_kernel(volume->idmap, true);
	auto_free char *gids = idmap_to_kernel(volume->idmap, false);
	auto_close int root = openat(volume->dirfd, "rootfs", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct container_file_place at = {.init_pidfd = -EBADF, .root_fd = root, .uid_map = uids, .gid_map = gids};

	if (root < 0)
		return error_errno(err, errno, "Open the instance's root folder");
	return v->fn(v->arg, v->i->all->host, &at, err);
}

/* A pidfd of the running init; -EBADF when it is stopped. */
static int running_init(struct instance *i)
{
	int fd = -EBADF;

	mutex_lock(&i->all->lock);
	if (i->state != CONTAINER_STOPPED && i->proc.init_pidfd >= 0)
		fd = fcntl(i->proc.init_pidfd, F_DUPFD_CLOEXEC, 3);
	mutex_unlock(&i->all->lock);
	return fd;
}

/* While it works on a stopped instance nothing else does. */
static int visit(struct instance *i, place_fn fn, void *arg, struct error *err)
{
	struct visit v = {.i = i, .fn = fn, .arg = arg};
	auto_close int init = running_init(i);
	struct container_file_place at = {.init_pidfd = init, .root_fd = -EBADF};

	if (init >= 0)
		return fn(arg, i->all->host, &at, err);
	return instance_with_volume(i, visit_stopped, &v, err);
}

struct read_job {
	const char *path;
	struct container_file *ret;
};

static int do_read(void *arg, struct container_host *h, const struct container_file_place *at, struct error *err)
{
	const struct read_job *j = arg;

	return container_file_read(h, at, j->path, j->ret, err);
}

int instance_file_read(struct instance *i, const char *path, struct container_file *ret, struct error *err)
{
	struct read_job j = {.path = path, .ret = ret};

	return visit(i, do_read, &j, err);
}

struct make_job {
	const char *path;
	const char *target;
	const struct container_file_owner *owner;
};

static int do_make_folder(void *arg, struct container_host *h, const struct container_file_place *at, struct error *err)
{
	const struct make_job *j = arg;

	return container_file_make_folder(h, at, j->path, j->owner, err);
}

static int do_make_link(void *arg, struct container_host *h, const struct container_file_place *at, struct error *err)
{
	const struct make_job *j = arg;

	return container_file_make_link(h, at, j->path, j->target, j->owner, err);
}

static int do_remove(void *arg, struct container_host *h, const struct container_file_place *at, struct error *err)
{
	const struct make_job *j = arg;

	return container_file_remove(h, at, j->path, err);
}

int instance_file_make_folder(struct instance *i, const char *path, const struct container_file_owner *o,
			      struct error *err)
{
	struct make_job j = {.path = path, .owner = o};

	return visit(i, do_make_folder, &j, err);
}

int instance_file_make_link(struct instance *i, const char *path, const char *target,
			    const struct container_file_owner *o, struct error *err)
{
	struct make_job j = {.path = path, .target = target, .owner = o};

	return visit(i, do_make_link, &j, err);
}

int instance_file_remove(struct instance *i, const char *path, struct error *err)
{
	struct make_job j = {.path = path};

	return visit(i, do_remove, &j, err);
}

struct instance_upload {
	struct instance *i;
	struct container_upload upload;
	int init; /* -EBADF: it was stopped; then */
	struct stat root;
	char *uid_map;
	/* for the beginning */
	const char *path;
	bool append;
	const struct container_file_owner *owner;
};

void instance_upload_free(struct instance_upload *u)
{
	if (!u)
		return;
	container_upload_done(&u->upload);
	fd_close(u->init);
	instance_unref(u->i);
	free(u->uid_map);
	free(u);
}

static int do_begin(void *arg, struct container_host *h, const struct container_file_place *at, struct error *err)
{
	struct instance_upload *u = arg;

	if (at->init_pidfd >= 0)
		u->init = fcntl(at->init_pidfd, F_DUPFD_CLOEXEC, 3);
	else if (fstat(at->root_fd, &u->root) < 0)
		return error_errno(err, errno, "Look at the instance's root folder");
	u->uid_map = xstrdup_null(at->uid_map);
	return container_upload_begin(h, at, u->path, u->append, u->owner, &u->upload, err);
}

int instance_upload_new(struct instance *i, const char *path, bool append, const struct container_file_owner *o,
			struct instance_upload **ret, struct error *err)
{
	struct instance_upload *u = xnew(struct instance_upload);
	int r;

	*u = (struct instance_upload){.i = instance_ref(i),
				      .upload = CONTAINER_UPLOAD_INIT,
				      .init = -EBADF,
				      .path = path,
				      .append = append,
				      .owner = o};
	r = visit(i, do_begin, u, err);
	if (r < 0) {
		instance_upload_free(u);
		return r;
	}
	*ret = u;
	return 0;
}

int instance_upload_write(struct instance_upload *u, const void *data, size_t len, struct error *err)
{
	return container_upload_write(&u->upload, data, len, err);
}

static int changed(struct error *err)
{
	return error_set(err, 409, "The instance was started or stopped while the file was written");
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? streq(a, b) : a == b;
}

/* Still the place where it began, with owners shifted as they were? */
static int do_finish(void *arg, struct container_host *h UNUSED, const struct container_file_place *at,
		     struct error *err)
{
	struct instance_upload *u = arg;
	struct stat now;

	if (at->init_pidfd >= 0 || fstat(at->root_fd, &now) < 0 || now.st_ino != u->root.st_ino ||
	    now.st_dev != u->root.st_dev || !same_text(at->uid_map, u->uid_map))
		return changed(err);
	return container_upload_finish(&u->upload, err);
}

int instance_upload_finish(struct instance_upload *u, struct error *err)
{
	struct pollfd p = {.fd = u->init, .events = POLLIN};

	if (u->init < 0)
		return visit(u->i, do_finish, u, err);
	if (poll(&p, 1, 0) != 0)
		return changed(err);
	return container_upload_finish(&u->upload, err);
}
