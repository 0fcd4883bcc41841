/* /1.0/instances/{name}/logs: liblxc's log and configuration, and what recorded commands wrote. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/str.h"
#include "config/names.h"

static int find(struct api_call *c, struct instance **ret, struct error *err)
{
	return instance_find(c->api->instances, c->project, c->params[0], ret, err);
}

static int open_log_dir(struct api_call *c, struct error *err)
{
	CLEANUP(instance_unrefp) struct instance *i = NULL;
	auto_free char *dir = NULL;
	int fd, r = find(c, &i, err);

	if (r < 0)
		return r;
	dir = instance_log_dir(i);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return error_set(err, 404, "Not Found");
	return fd < 0 ? error_errno(err, errno, "Open log folder of instance %s", c->params[0]) : fd;
}

static int list_logs(struct api_call *c, struct error *err)
{
	struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);
	auto_strv struct strv names = STRV_INIT;
	int fd = open_log_dir(c, err);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (fd < 0 && err->status != 404)
		return fd;
	if (!d && fd < 0) {
		/* never started: an instance without logs has an empty list */
		CLEANUP(instance_unrefp) struct instance *i = NULL;

		error_clear(err);
		if (find(c, &i, err) < 0)
			return -err->errnum;
	}
	for (struct dirent *e; d && (e = readdir(d));) {
		auto_error struct error other = ERROR_INIT;

		if (name_check_log_file(e->d_name, &other) == 0)
			strv_add(&names, e->d_name);
	}
	if (d)
		closedir(d);
	strv_sort(&names);
	jsonw_array_begin(&w);
	for (size_t k = 0; k < names.len; k++)
		jsonw_strf(&w, "/1.0/%s/%s/logs/%s", c->prefix, c->params[0], names.items[k]);
	jsonw_array_end(&w);
	api_sync(c, &b);
	return 0;
}

static int check_log_name(const char *name, struct error *err)
{
	auto_error struct error e = ERROR_INIT;

	if (name_check_log_file(name, &e) < 0)
		return error_set(err, 400, "log file name %s not valid", name);
	return 0;
}

static int get_log(struct api_call *c, struct error *err)
{
	auto_close int dirfd = -EBADF;
	int fd, r = check_log_name(c->params[1], err);

	if (r < 0)
		return r;
	dirfd = open_log_dir(c, err);
	if (dirfd < 0)
		return dirfd;
	fd = openat(dirfd, c->params[1], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return error_set(err, 404, "Not Found");
	if (fd < 0)
		return error_errno(err, errno, "Open log file %s", c->params[1]);
	api_file(c, fd, "application/octet-stream", c->params[1]);
	return 0;
}

static int delete_log(struct api_call *c, struct error *err)
{
	auto_close int dirfd = -EBADF;
	auto_free char *url = NULL;
	int r = check_log_name(c->params[1], err);

	if (r == 0 && !name_is_exec_log(c->params[1]))
		r = error_set(err, 400, "lxc.log and lxc.conf may not be deleted");
	if (r < 0)
		return r;
	dirfd = open_log_dir(c, err);
	if (dirfd < 0)
		return dirfd;
	if (unlinkat(dirfd, c->params[1], 0) < 0)
		return errno == ENOENT ? error_set(err, 404, "Not Found")
				       : error_errno(err, errno, "Remove log file %s", c->params[1]);
	url = xasprintf("/1.0/instances/%s/logs/%s", c->params[0], c->params[1]);
	api_lifecycle(c, "instance-log-deleted", url);
	api_empty(c);
	return 0;
}

const struct api_route api_log_routes[] = {
	{.path = "/1.0/instances/{name}/logs",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .handler = list_logs,
	 .doc = "Log files"},
	{.path = "/1.0/instances/{name}/logs/{file}",
	 .method = HTTP_GET,
	 .perm = PERM_PROJECT_VIEW,
	 .handler = get_log,
	 .doc = "One log file"},
	{.path = "/1.0/instances/{name}/logs/{file}",
	 .method = HTTP_DELETE,
	 .perm = PERM_INSTANCE_USE,
	 .handler = delete_log,
	 .doc = "Remove the record of an exec"},
	{0},
};
