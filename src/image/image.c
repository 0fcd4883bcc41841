#include "image/image.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"
#include "image/unpack.h"

#define NS 1000000000ll
#define HASH_PIECE (256u << 10)
#define HELD_MAX (256u << 10)
#define RESERVE_MAX ((uint64_t)1 << 30) /* of the disk stays free, or a twentieth if that is less */

struct images {
	struct store *store;
	char *dir;
	int dirfd;              /* images/ */
	int staging;            /* images/staging/ */
	pthread_rwlock_t trees; /* read: a tree is being copied; write: one goes away */
};

struct image_upload {
	struct images *im;
	char *uuid;
	int dirfd;  /* staging/<uuid>/ */
	int fds[2]; /* by enum image_part */
	int64_t sizes[2];
	char *held; /* at most HELD_MAX bytes of the part that arrives, not written yet */
	size_t held_len;
	enum image_part held_part;
};

static const char *const part_files[] = {"meta", "rootfs"};

/*
 * The names that an image has below images/. Each project has files of its own: what one uploads under a fingerprint,
 * cut into parts as it likes, is never what another gets.
 */
static char *name_with(const char *project, const char *fingerprint, const char *suffix)
{
	bool is_default = streq(project, "default");

	return xasprintf("%s%s%s%s", is_default ? "" : project, is_default ? "" : "_", fingerprint, suffix);
}

static char *file_name(const char *project, const char *fingerprint, enum image_part part)
{
	return name_with(project, fingerprint, part == IMAGE_PART_ROOTFS ? ".rootfs" : "");
}

static char *tree_name(const char *project, const char *fingerprint)
{
	return name_with(project, fingerprint, ".tree");
}

static int remove_files(struct images *im, const char *project, const char *fingerprint, struct error *err)
{
	auto_free char *meta = file_name(project, fingerprint, IMAGE_PART_META);
	auto_free char *rootfs = file_name(project, fingerprint, IMAGE_PART_ROOTFS);
	auto_free char *tree = tree_name(project, fingerprint);
	int r = path_remove_tree(im->dirfd, tree, err);

	if (r == 0)
		r = path_remove_tree(im->dirfd, rootfs, err);
	if (r == 0)
		r = path_remove_tree(im->dirfd, meta, err);
	return r;
}

/* Rows that a crash left half made or half removed lose their files and themselves. */
static int recover(struct images *im, struct error *err)
{
	int r = path_remove_tree(im->dirfd, "staging", err);

	if (r < 0)
		return r;
	for (;;) {
		auto_free char *fingerprint = NULL;
		auto_free char *project = NULL;
		int64_t id = 0;

		mutex_lock(&im->store->lock);
		for (size_t i = 0; i < im->store->n_images && !fingerprint; i++) {
			if (im->store->images[i]->phase == DB_READY)
				continue;
			fingerprint = xstrdup(im->store->images[i]->fingerprint);
			project = xstrdup(im->store->images[i]->project);
			id = im->store->images[i]->id;
		}
		mutex_unlock(&im->store->lock);
		if (!fingerprint)
			return 0;
		log_info("removing unfinished image", LOG_STR("fingerprint", fingerprint));
		r = remove_files(im, project, fingerprint, err);
		if (r == 0)
			r = store_image_remove(im->store, id, err);
		if (r < 0)
			return r;
	}
}

int images_new(struct store *store, const char *lxd_dir, struct images **ret, struct error *err)
{
	struct images *im = xnew(struct images);
	int r;

	im->store = store;
	im->dir = path_join(lxd_dir, "images");
	im->dirfd = im->staging = -EBADF;
	pthread_rwlock_init(&im->trees, NULL);
	r = dir_make_all(AT_FDCWD, im->dir, 0700, err);
	if (r == 0) {
		im->dirfd = open(im->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = im->dirfd < 0 ? error_errno(err, errno, "Open %s", im->dir) : recover(im, err);
	}
	if (r == 0)
		r = dir_make_all(im->dirfd, "staging", 0700, err);
	if (r == 0) {
		im->staging = openat(im->dirfd, "staging", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (im->staging < 0)
			r = error_errno(err, errno, "Open %s/staging", im->dir);
	}
	if (r < 0) {
		images_free(im);
		return r;
	}
	*ret = im;
	return 0;
}

void images_free(struct images *im)
{
	if (!im)
		return;
	fd_close(im->staging);
	fd_close(im->dirfd);
	pthread_rwlock_destroy(&im->trees);
	free(im->dir);
	free(im);
}

int image_upload_new(struct images *im, struct image_upload **ret, struct error *err)
{
	struct image_upload *up = xnew(struct image_upload);
	int r = 0;

	up->im = im;
	up->uuid = uuid_new();
	up->dirfd = up->fds[0] = up->fds[1] = -EBADF;
	if (mkdirat(im->staging, up->uuid, 0700) < 0)
		r = error_errno(err, errno, "Create staging folder for image");
	if (r == 0) {
		up->dirfd = openat(im->staging, up->uuid, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (up->dirfd < 0)
			r = error_errno(err, errno, "Open staging folder for image");
	}
	if (r < 0) {
		image_upload_free(up);
		return r;
	}
	*ret = up;
	return 0;
}

/* Nobody who sends an image, and no server that it comes from, may fill the disk. */
static int check_space(const struct image_upload *up, struct error *err)
{
	struct statvfs v;
	uint64_t unit, reserve;

	if ((uint64_t)up->sizes[0] + (uint64_t)up->sizes[1] > IMAGE_BYTES_MAX)
		return error_set(err, 413, "The image is larger than %llu GiB", IMAGE_BYTES_MAX >> 30);
	if (fstatvfs(up->dirfd, &v) < 0)
		return error_errno(err, errno, "Find out how much space is left for images");
	unit = v.f_frsize;
	reserve = MIN_OF((uint64_t)v.f_blocks * unit / 20, RESERVE_MAX);
	if ((uint64_t)v.f_bavail * unit < reserve + up->held_len)
		return error_set(err, 507, "No space left on device for the image: %llu MiB stay free",
				 (unsigned long long)(reserve >> 20));
	return 0;
}

static int write_held(struct image_upload *up, struct error *err)
{
	int r;

	if (up->held_len == 0)
		return 0;
	r = check_space(up, err);
	if (r < 0)
		return r;
	r = fd_write_full(up->fds[up->held_part], up->held, up->held_len);
	up->held_len = 0;
	if (r < 0) {
		error_errno(err, -r, "Write image file");
		return r == -ENOSPC || r == -EDQUOT ? error_status(err, 507) : r;
	}
	return 0;
}

/* Bytes come in small pieces, and a write costs much more than a copy of its bytes: they are gathered. */
int image_upload_write(struct image_upload *up, enum image_part part, const void *data, size_t len, struct error *err)
{
	const char *from = data;
	int r = 0;

	if (up->fds[part] < 0) {
		up->fds[part] = openat(up->dirfd, part_files[part], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (up->fds[part] < 0)
			return error_errno(err, errno, "Create image file");
	}
	if (!up->held)
		up->held = xmalloc(HELD_MAX);
	if (part != up->held_part)
		r = write_held(up, err);
	up->held_part = part;
	up->sizes[part] += (int64_t)len;
	while (r == 0 && len > 0) {
		size_t n = MIN_OF(len, HELD_MAX - up->held_len);

		memcpy(up->held + up->held_len, from, n);
		up->held_len += n;
		from += n;
		len -= n;
		if (up->held_len == HELD_MAX)
			r = write_held(up, err);
	}
	return r;
}

/* The fingerprint is made while the image is unpacked, not while it arrives: the sender would wait for it. */
struct hash_job {
	const struct image_upload *up;
	char fingerprint[SHA256_HEX + 1];
	int errnum;
};

/* Metadata bytes, then rootfs bytes. */
static void *hash_thread(void *arg)
{
	struct hash_job *job = arg;
	auto_free char *piece = xmalloc(HASH_PIECE);
	struct sha256 hash;

	sha256_init(&hash);
	for (int part = 0; part < 2 && job->errnum == 0; part++) {
		/* a hint: the disk writes while we hash, and the fsync() at the end finds little left to do */
		if (job->up->fds[part] >= 0)
			sync_file_range(job->up->fds[part], 0, 0, SYNC_FILE_RANGE_WRITE);
		for (int64_t at = 0; at < job->up->sizes[part];) {
			ssize_t n = pread(job->up->fds[part], piece, HASH_PIECE, at);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0) {
				job->errnum = n < 0 ? errno : EIO;
				break;
			}
			sha256_update(&hash, piece, (size_t)n);
			at += n;
		}
	}
	sha256_final_hex(&hash, job->fingerprint);
	return NULL;
}

void image_result_done(struct image_result *r)
{
	free(r->fingerprint);
	*r = (struct image_result){0};
}

/* An image may claim any date: what does not fit becomes the nearest that does. */
static int64_t seconds_to_ns(int64_t seconds)
{
	int64_t ns;

	if (!__builtin_mul_overflow(seconds, NS, &ns))
		return ns;
	return seconds < 0 ? TIME_EPOCH : INT64_MAX / NS * NS;
}

/* The row from what metadata.yaml and the client said. */
static int make_row(struct image_upload *up, const struct image_params *p, const char *fingerprint,
		    const struct image_unpack_result *u, struct db_image *row, struct error *err)
{
	auto_json struct json *meta = NULL;
	int r = json_parse(u->metadata_json, strlen(u->metadata_json), &meta, err);

	if (r < 0)
		return error_wrap(err, "Image metadata");
	row->project = xstrdup(p->project);
	row->fingerprint = xstrdup(fingerprint);
	row->filename = xstrdup(p->filename ? p->filename : "");
	row->architecture = xstrdup(json_get_str(meta, "architecture"));
	row->type = xstrdup("container");
	row->size_bytes = up->sizes[0] + up->sizes[1];
	row->is_public = p->is_public;
	row->auto_update = p->auto_update;
	row->cached = p->cached;
	row->source = xstrdup(p->source ? p->source : "");
	row->split = up->fds[IMAGE_PART_ROOTFS] >= 0;
	row->created_ns = seconds_to_ns(json_int(json_get(meta, "creation_date")));
	row->expires_ns = p->expires_ns ? p->expires_ns : seconds_to_ns(json_int(json_get(meta, "expiry_date")));
	row->uploaded_ns = time_now_ns();
	row->last_used_ns = TIME_GO_ZERO;
	row->meta_ext = xstrdup(u->meta_ext);
	row->rootfs_ext = xstrdup(u->rootfs_ext ? u->rootfs_ext : "");
	row->staging = xstrdup(up->uuid);
	row->phase = DB_CREATING;
	if (p->profiles)
		strv_copy(&row->profiles, p->profiles);
	else
		strv_add(&row->profiles, "default");
	if (p->properties_all) {
		strmap_copy(&row->properties, p->properties);
		return 0;
	}
	r = json_to_strmap(json_get(meta, "properties"), "properties", &row->properties, err);
	if (r < 0)
		return r;
	strmap_merge(&row->properties, p->properties);
	return 0;
}

static int unpack_into(int parent, const char *name, int meta_fd, int rootfs_fd, struct image_unpack_result *res,
		       struct error *err)
{
	struct image_unpack_spec spec = IMAGE_UNPACK_SPEC_INIT;
	auto_close int target = -EBADF;

	if (mkdirat(parent, name, 0700) < 0)
		return error_errno(err, errno, "Create folder for unpacked image");
	target = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (target < 0)
		return error_errno(err, errno, "Open folder for unpacked image");
	spec.meta_fd = meta_fd;
	spec.rootfs_fd = rootfs_fd;
	spec.target_dirfd = target;
	return image_unpack(&spec, res, err);
}

/* Move the staged files to their names. The row is in phase creating: a crash here is undone at start. */
static int place_files(struct image_upload *up, const char *project, const char *fingerprint, struct error *err)
{
	struct images *im = up->im;
	auto_free char *tree = tree_name(project, fingerprint);

	for (int part = 0; part < 2; part++) {
		auto_free char *name = file_name(project, fingerprint, (enum image_part)part);

		if (up->fds[part] < 0)
			continue;
		if (fsync(up->fds[part]) < 0 || renameat(up->dirfd, part_files[part], im->dirfd, name) < 0)
			return error_errno(err, errno, "Store image file %s", name);
	}
	if (renameat(up->dirfd, "tree", im->dirfd, tree) < 0)
		return error_errno(err, errno, "Store unpacked image %s", tree);
	return dir_sync(im->dirfd, ".", err);
}

static int add_image(struct image_upload *up, struct db_image *row, struct error *err)
{
	struct images *im = up->im;
	auto_error struct error undo = ERROR_INIT;
	int r;

	/* an upload takes its time */
	if (!store_has_project(im->store, row->project) ||
	    !streq(store_effective_project(im->store, row->project, PROJECT_IMAGES), row->project))
		return error_set(err, 409, "Project \"%s\" has no images of its own any more", row->project);
	r = store_image_add(im->store, row, err);
	if (r == -EEXIST)
		return error_set(err, 409, "Image with same fingerprint already exists");
	if (r < 0)
		return r;
	r = place_files(up, row->project, row->fingerprint, err);
	if (r == 0) {
		row->phase = DB_READY;
		free(TAKE_PTR(row->staging));
		r = store_image_update(im->store, row, err);
	}
	if (r < 0) {
		remove_files(im, row->project, row->fingerprint, &undo);
		store_image_remove(im->store, row->id, &undo);
	}
	return r;
}

int image_upload_finish(struct image_upload *up, const struct image_params *params, struct image_result *ret,
			struct error *err)
{
	auto_image_unpack_result struct image_unpack_result unpacked = IMAGE_UNPACK_RESULT_INIT;
	CLEANUP(db_image_done) struct db_image row = {0};
	/* why it could not be unpacked: of interest only when it is the image that is expected */
	auto_error struct error failed = ERROR_INIT;
	struct hash_job job = {.up = up};
	pthread_t hasher;
	bool known;
	int r;

	if (up->fds[IMAGE_PART_META] < 0)
		return error_set(err, 400, "The image is empty");
	r = write_held(up, err);
	if (r == 0)
		r = thread_start_joinable("image-hash", hash_thread, &job, &hasher, err);
	if (r < 0)
		return r;
	r = unpack_into(up->dirfd, "tree", up->fds[0], up->fds[1], &unpacked, &failed);
	pthread_join(hasher, NULL);
	if (job.errnum)
		return error_errno(err, job.errnum, "Read image file");
	ret->fingerprint = xstrdup(job.fingerprint);
	ret->size_bytes = up->sizes[0] + up->sizes[1];
	if (!str_is_empty(params->expected) && !streq(params->expected, job.fingerprint))
		return error_set(err, 400, "fingerprints don't match, got %s expected %s", job.fingerprint,
				 params->expected);
	mutex_lock(&up->im->store->lock);
	known = store_image_locked(up->im->store, params->project, job.fingerprint) != NULL;
	mutex_unlock(&up->im->store->lock);
	if (known)
		return error_set(err, 409, "Image with same fingerprint already exists");
	if (r < 0)
		return error_move(err, &failed);
	ret->skipped_nodes = unpacked.skipped_nodes;
	r = make_row(up, params, job.fingerprint, &unpacked, &row, err);
	return r < 0 ? r : add_image(up, &row, err);
}

void image_upload_free(struct image_upload *up)
{
	auto_error struct error err = ERROR_INIT;

	if (!up)
		return;
	if (path_remove_tree(up->im->staging, up->uuid, &err) < 0)
		log_warn("staged image stays until the next start", LOG_ERR(&err));
	fd_close(up->dirfd);
	fd_close(up->fds[0]);
	fd_close(up->fds[1]);
	free(up->held);
	free(up->uuid);
	free(up);
}

int image_delete(struct images *im, const char *project, const char *fingerprint, struct error *err)
{
	CLEANUP(db_image_done) struct db_image row = {0};
	int r = store_image_begin_delete(im->store, project, fingerprint, &row, err);

	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&im->trees);
	r = remove_files(im, project, fingerprint, err);
	pthread_rwlock_unlock(&im->trees);
	return r < 0 ? r : store_image_remove(im->store, row.id, err);
}

/* Somebody removed the tree by hand: make it again from the files, beside, then put it in place. */
static int restore_tree(struct images *im, const char *project, const char *fingerprint, struct error *err)
{
	auto_image_unpack_result struct image_unpack_result unpacked = IMAGE_UNPACK_RESULT_INIT;
	auto_error struct error ignored = ERROR_INIT;
	auto_free char *tree = tree_name(project, fingerprint);
	auto_free char *uuid = uuid_new();
	auto_close int meta = image_file_open(im, project, fingerprint, IMAGE_PART_META, err);
	auto_close int rootfs = -EBADF;
	int r;

	if (meta < 0)
		return meta;
	rootfs = image_file_open(im, project, fingerprint, IMAGE_PART_ROOTFS, &ignored);
	r = unpack_into(im->staging, uuid, meta, rootfs, &unpacked, err);
	if (r == 0 && renameat2(im->staging, uuid, im->dirfd, tree, RENAME_NOREPLACE) < 0 && errno != EEXIST)
		r = error_errno(err, errno, "Store unpacked image %s", tree);
	path_remove_tree(im->staging, uuid, &ignored);
	return r;
}

int image_tree_open(struct images *im, const char *project, const char *fingerprint, struct error *err)
{
	auto_free char *tree = tree_name(project, fingerprint);
	bool known;
	int fd, r = 0;

	pthread_rwlock_rdlock(&im->trees);
	mutex_lock(&im->store->lock);
	known = store_image_locked(im->store, project, fingerprint) != NULL;
	mutex_unlock(&im->store->lock);
	if (!known)
		r = error_set(err, 404, "Image not found");
	fd = r < 0 ? -1 : openat(im->dirfd, tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && fd < 0 && errno == ENOENT) {
		r = restore_tree(im, project, fingerprint, err);
		if (r == 0)
			fd = openat(im->dirfd, tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (r == 0 && fd < 0)
		r = error_errno(err, errno, "Open unpacked image %s", tree);
	if (r < 0) {
		pthread_rwlock_unlock(&im->trees);
		return r;
	}
	return fd;
}

void image_tree_close(struct images *im, int fd)
{
	fd_close(fd);
	pthread_rwlock_unlock(&im->trees);
}

int image_file_open(struct images *im, const char *project, const char *fingerprint, enum image_part part,
		    struct error *err)
{
	auto_free char *name = file_name(project, fingerprint, part);
	int fd = openat(im->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? error_errno(err, errno, "Open image file %s", name) : fd;
}
