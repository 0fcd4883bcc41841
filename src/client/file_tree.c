/* Whole trees to and from an instance. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "client/file.h"

#define DEPTH_MAX 200 /* of folders that a server names: each holds an fd */

/* --- push --- */

static int push_entry(struct api *a, const char *instance, int dirfd, const char *name, const char *target,
		      unsigned depth, struct error *err);

static int push_entries(struct api *a, const char *instance, int dirfd, const char *name, const char *target,
			unsigned depth, struct error *err)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!d)
		return error_errno(err, errno, "open %s", name);
	while (r == 0 && (e = readdir(d))) {
		auto_free char *to = NULL;

		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		to = path_join(target, e->d_name);
		r = push_entry(a, instance, fd, e->d_name, to, depth + 1, err);
	}
	closedir(d);
	return r;
}

static int push_link(struct api *a, const char *instance, int dirfd, const char *name, const char *target,
		     struct file_kind *k, struct error *err)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(dirfd, name, text, sizeof(text));
	struct http_piece body = {.data = text, .len = n < 0 ? 0 : (uint64_t)n};

	if (n < 0)
		return error_errno(err, errno, "readlink %s", name);
	k->type = "symlink";
	return file_send(a, instance, target, k, &body, err);
}

static int push_regular(struct api *a, const char *instance, int dirfd, const char *name, const char *target,
			const struct file_kind *k, struct error *err)
{
	auto_close int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct http_piece body = {.fd = fd};
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, errno, "open %s", name);
	body.len = (uint64_t)st.st_size;
	return file_send(a, instance, target, k, &body, err);
}

static int push_entry(struct api *a, const char *instance, int dirfd, const char *name, const char *target,
		      unsigned depth, struct error *err)
{
	struct file_kind k = {.type = "file"};
	struct stat st;
	int r;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, errno, "stat %s", name);
	if (depth > DEPTH_MAX)
		return error_set(err, 400, "%s: more than %d folders deep", target, DEPTH_MAX);
	k.uid = st.st_uid;
	k.gid = st.st_gid;
	k.mode = st.st_mode & 0777;
	if (S_ISLNK(st.st_mode))
		return push_link(a, instance, dirfd, name, target, &k, err);
	if (S_ISREG(st.st_mode))
		return push_regular(a, instance, dirfd, name, target, &k, err);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, 400, "'%s' isn't a supported file type", name);
	k.type = "directory";
	r = file_send(a, instance, target, &k, NULL, err);
	return r < 0 ? r : push_entries(a, instance, dirfd, name, target, depth, err);
}

/* "dir" lands as target/dir, "dir/" and "." with what they hold. */
int file_push_tree(struct api *a, const char *instance, const char *source, const char *target, struct error *err)
{
	auto_free char *name = xstrdup(source);
	auto_free char *joined = NULL;
	auto_free char *to = NULL;

	while (strlen(name) > 1 && endswith(name, "/"))
		name[strlen(name) - 1] = '\0';
	joined = path_join(target, file_base_name(name));
	to = path_lexical(joined);
	return push_entry(a, instance, AT_FDCWD, name, to, 0, err);
}

/* --- pull --- */

struct pulled {
	struct file_got got;
	int dirfd;
	const char *name;
};

static int open_pulled(struct file_got *g, struct error *err)
{
	struct pulled *p = (struct pulled *)g;
	struct stat st;

	g->fd = openat(p->dirfd, p->name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	if (g->fd < 0)
		return error_errno(err, errno, "open %s", p->name);
	if (fstat(g->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(err, 400, "%s is there and no regular file", p->name);
	return ftruncate(g->fd, 0) < 0 ? error_errno(err, errno, "truncate %s", p->name) : 0;
}

static int check_name(const char *name, struct error *err)
{
	if (!*name || strchr(name, '/') || streq(name, ".") || streq(name, ".."))
		return error_set(err, 400, "The server names \"%s\" as a file in a folder: refused", name);
	return 0;
}

static int pull_entry(struct api *a, const char *instance, const char *path, int dirfd, const char *name,
		      unsigned depth, struct error *err);

static int pull_names(struct api *a, const char *instance, const char *path, const struct strbuf *envelope, int fd,
		      unsigned depth, struct error *err)
{
	CLEANUP(json_freep) struct json *j = NULL;
	const struct json *names;
	int r = json_parse(strbuf_str(envelope), envelope->len, &j, err);

	if (r < 0)
		return error_wrap(err, "Read the names in %s", path);
	names = json_get(j, "metadata");
	for (size_t i = 0; i < json_len(names) && r == 0; i++) {
		const char *name = json_str(json_at(names, i));
		auto_free char *below = NULL;

		if (!name)
			return error_set(err, 500, "The names in %s are no texts", path);
		below = path_join(path, name);
		r = check_name(name, err);
		if (r == 0)
			r = pull_entry(a, instance, below, fd, name, depth + 1, err);
	}
	return r;
}

static int pull_folder(struct api *a, const char *instance, const char *path, const struct pulled *p, unsigned depth,
		       struct error *err)
{
	auto_close int fd = -EBADF;
	int r;

	if (depth > DEPTH_MAX)
		return error_set(err, 400, "%s: more than %d folders deep", path, DEPTH_MAX);
	if (mkdirat(p->dirfd, p->name, 0700) < 0 && errno != EEXIST)
		return error_errno(err, errno, "mkdir %s", p->name);
	fd = openat(p->dirfd, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "open %s", p->name);
	r = pull_names(a, instance, path, &p->got.body, fd, depth, err);
	if (r == 0 && fchmod(fd, p->got.mode) < 0)
		r = error_errno(err, errno, "chmod %s", p->name);
	return r;
}

static int pull_entry(struct api *a, const char *instance, const char *path, int dirfd, const char *name,
		      unsigned depth, struct error *err)
{
	struct pulled p = {.got = {.fd = -EBADF, .open = open_pulled}, .dirfd = dirfd, .name = name};
	int r = file_get(a, instance, path, &p.got, err);

	if (r == 0 && p.got.type == FILE_TYPE_FOLDER)
		r = pull_folder(a, instance, path, &p, depth, err);
	else if (r == 0 && p.got.type == FILE_TYPE_LINK && symlinkat(strbuf_str(&p.got.body), dirfd, name) < 0)
		r = error_errno(err, errno, "symlink %s", name);
	else if (r == 0 && p.got.type == FILE_TYPE_REGULAR && fchmod(p.got.fd, p.got.mode) < 0)
		r = error_errno(err, errno, "chmod %s", name);
	file_got_done(&p.got);
	return r;
}

int file_pull_tree(struct api *a, const char *instance, const char *path, const char *target, struct error *err)
{
	const char *name = file_base_name(path);
	auto_close int fd = -EBADF;
	int r = dir_make_all(AT_FDCWD, target, 0755, err);

	if (r < 0)
		return r;
	fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, errno, "open %s", target);
	return pull_entry(a, instance, path, fd, *name ? name : ".", 0, err);
}
