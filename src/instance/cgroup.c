/* Control group layouts and usage figures, read below a root that tests can choose. */
#include "instance/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "base/strv.h"
#include "base/timeutil.h"
#include "instance/cgroup_internal.h"

#define FILE_MAX (4 * 1024 * 1024)
#define DEPTH_MAX 64       /* of control groups that a container makes below its own */
#define REMOVE_PAUSE_MS 10 /* between two tries to remove a group */

static const char *const kind_names[] = {"none", "v1", "v2", "hybrid"};

const char *cgroup_kind_name(enum cgroup_kind kind)
{
	return kind_names[kind];
}

void cgroup_layout_done(struct cgroup_layout *l)
{
	strmap_done(&l->mounts);
	strmap_done(&l->unified);
	free(l->root);
	*l = CGROUP_LAYOUT_INIT;
}

/* Mount points have white space and backslash as octal numbers. In place. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		    s[3] <= '7') {
			*out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

/* A v1 controller's name in superblock options (or "name=x" of a hierarchy without), and not one of their other words.
 */
static bool is_controller(const char *word)
{
	static const char *const others[] = {"rw", "ro", "xattr", "clone_children", "noprefix", "none"};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (streq(others[i], word))
			return false;
	return startswith(word, "name=") || !strchr(word, '=');
}

/* "36 35 98:0 /root /mount/point opts - cgroup source rw,cpu,cpuacct" */
static void take_mount(struct cgroup_layout *l, const char *line)
{
	auto_strv struct strv words = STRV_INIT;
	auto_strv struct strv options = STRV_INIT;
	size_t dash = 0;

	strv_split(&words, line, ' ');
	while (dash < words.len && !streq(words.items[dash], "-"))
		dash++;
	if (words.len < 5 || dash + 3 >= words.len)
		return;
	unescape(words.items[4]);
	if (streq(words.items[dash + 1], "cgroup2")) {
		if (!strmap_get(&l->mounts, ""))
			strmap_set(&l->mounts, "", words.items[4]);
		return;
	}
	if (!streq(words.items[dash + 1], "cgroup"))
		return;
	strv_split(&options, words.items[dash + 3], ',');
	for (size_t i = 0; i < options.len; i++)
		if (is_controller(options.items[i]) && !strmap_get(&l->mounts, options.items[i]))
			strmap_set(&l->mounts, options.items[i], words.items[4]);
}

static int read_text(const char *root, const char *path, struct strbuf *ret, struct error *err)
{
	auto_free char *full = xasprintf("%s%s", root, path);

	return file_read_at(AT_FDCWD, full, FILE_MAX, ret, err);
}

static void read_unified_controllers(struct cgroup_layout *l)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strv struct strv words = STRV_INIT;
	auto_free char *path = xasprintf("%s/cgroup.controllers", strmap_get(&l->mounts, ""));

	if (read_text(l->root, path, &text, &err) < 0) {
		error_ignore(&err, "a unified hierarchy without controllers has none to offer");
		return;
	}
	if (!text.data)
		return;
	strv_split(&words, str_strip(text.data), ' ');
	for (size_t i = 0; i < words.len; i++)
		if (*words.items[i])
			strmap_set(&l->unified, words.items[i], "1");
}

int cgroup_layout_read(const char *root, struct cgroup_layout *ret, struct error *err)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strv struct strv lines = STRV_INIT;
	bool v2;
	int r;

	*ret = CGROUP_LAYOUT_INIT;
	r = read_text(root, "/proc/self/mountinfo", &text, err);
	if (r < 0)
		return error_wrap(err, "Find the host's control groups");
	ret->root = xstrdup(root);
	strv_split(&lines, strbuf_str(&text), '\n');
	for (size_t i = 0; i < lines.len; i++)
		take_mount(ret, lines.items[i]);
	v2 = strmap_get(&ret->mounts, "") != NULL;
	if (v2)
		read_unified_controllers(ret);
	if (v2)
		ret->kind = ret->mounts.len > 1 ? CGROUP_HYBRID : CGROUP_V2;
	else
		ret->kind = ret->mounts.len > 0 ? CGROUP_V1 : CGROUP_NONE;
	return 0;
}

bool cgroup_is_unified(const struct cgroup_layout *l, const char *controller)
{
	if (strmap_get(&l->mounts, controller))
		return false;
	/* devices, freezer and cpuacct are no controllers there, but every v2 cgroup filters, freezes and counts */
	if (streq(controller, "devices") || streq(controller, "freezer") || streq(controller, "cpuacct"))
		return l->kind == CGROUP_V2;
	return strmap_get(&l->unified, controller) != NULL;
}

bool cgroup_has(const struct cgroup_layout *l, const char *controller)
{
	return strmap_get(&l->mounts, controller) || cgroup_is_unified(l, controller);
}

/* Cut the path after the container's own part, "lxc.payload.<name>": init may live further below. */
static void cut_to_payload(char *path)
{
	char *p = strstr(path, "/lxc.payload.");

	if (!p)
		return;
	p = strchr(p + 1, '/');
	if (p)
		*p = '\0';
}

int cgroup_membership(const struct cgroup_layout *l, pid_t pid, struct strmap *ret, struct error *err)
{
	auto_free char *path = xasprintf("/proc/%d/cgroup", pid);
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strv struct strv lines = STRV_INIT;
	int r = read_text(l->root, path, &text, err);

	if (r < 0)
		return r;
	strv_split(&lines, strbuf_str(&text), '\n');
	for (size_t i = 0; i < lines.len; i++) {
		auto_strv struct strv names = STRV_INIT;
		char *first = strchr(lines.items[i], ':');
		char *second = first ? strchr(first + 1, ':') : NULL;

		if (!second)
			continue;
		*second = '\0';
		cut_to_payload(second + 1);
		if (!first[1])
			strmap_set(ret, "", second + 1);
		strv_split(&names, first + 1, ',');
		for (size_t k = 0; k < names.len; k++)
			strmap_set(ret, names.items[k], second + 1);
	}
	return 0;
}

char *cgroup_read_file(const struct cgroup_layout *l, const struct strmap *paths, const char *controller,
		       const char *file)
{
	auto_error struct error err = ERROR_INIT;
	struct strbuf text = STRBUF_INIT;
	const char *mount = strmap_get(&l->mounts, controller);
	const char *in = strmap_get(paths, controller);
	auto_free char *path = NULL;

	if (!mount || !in)
		return NULL;
	path = xasprintf("%s%s/%s", mount, streq(in, "/") ? "" : in, file);
	if (read_text(l->root, path, &text, &err) < 0) {
		error_ignore(&err, "a figure that the host does not keep");
		strbuf_done(&text);
		return NULL;
	}
	return strbuf_take(&text);
}

int64_t cgroup_read_number(const struct cgroup_layout *l, const struct strmap *paths, const char *controller,
			   const char *file)
{
	auto_free char *text = cgroup_read_file(l, paths, controller, file);
	int64_t v;

	return text && parse_i64(str_strip(text), &v) == 0 ? v : -1;
}

/* "KEY NUMBER" lines. */
static int64_t read_keyed(const struct cgroup_layout *l, const struct strmap *paths, const char *controller,
			  const char *file, const char *key)
{
	auto_free char *text = cgroup_read_file(l, paths, controller, file);
	auto_strv struct strv lines = STRV_INIT;
	int64_t v;

	strv_split(&lines, text ? text : "", '\n');
	for (size_t i = 0; i < lines.len; i++) {
		const char *rest = startswith(lines.items[i], key);

		if (rest && *rest == ' ' && parse_i64(rest + 1, &v) == 0)
			return v;
	}
	return -1;
}

static int64_t difference(int64_t both, int64_t one)
{
	if (both < 0 || one < 0)
		return -1;
	return both > one ? both - one : 0;
}

static void read_memory(const struct cgroup_layout *l, const struct strmap *paths, struct cgroup_usage *u)
{
	if (cgroup_is_unified(l, "memory")) {
		u->memory_bytes = cgroup_read_number(l, paths, "", "memory.current");
		u->memory_peak_bytes = cgroup_read_number(l, paths, "", "memory.peak");
		u->swap_bytes = cgroup_read_number(l, paths, "", "memory.swap.current");
		u->swap_peak_bytes = cgroup_read_number(l, paths, "", "memory.swap.peak");
		return;
	}
	u->memory_bytes = cgroup_read_number(l, paths, "memory", "memory.usage_in_bytes");
	u->memory_peak_bytes = cgroup_read_number(l, paths, "memory", "memory.max_usage_in_bytes");
	u->swap_bytes = difference(cgroup_read_number(l, paths, "memory", "memory.memsw.usage_in_bytes"),
				   u->memory_bytes);
	u->swap_peak_bytes = difference(cgroup_read_number(l, paths, "memory", "memory.memsw.max_usage_in_bytes"),
					u->memory_peak_bytes);
}

static int64_t read_cpu(const struct cgroup_layout *l, const struct strmap *paths)
{
	int64_t usec;

	if (strmap_get(&l->mounts, "cpuacct"))
		return cgroup_read_number(l, paths, "cpuacct", "cpuacct.usage");
	usec = read_keyed(l, paths, "", "cpu.stat", "usage_usec");
	return usec < 0 ? -1 : usec * 1000;
}

int64_t cgroup_read_processes(const struct cgroup_layout *l, const struct strmap *paths)
{
	const char *controller = cgroup_is_unified(l, "pids") ? "" : "pids";
	int64_t n = cgroup_read_number(l, paths, controller, "pids.current");
	auto_free char *text = NULL;

	if (n >= 0)
		return n;
	text = cgroup_read_file(l, paths, strmap_get(&l->mounts, "memory") ? "memory" : "", "cgroup.procs");
	if (!text)
		return -1;
	n = 0;
	for (const char *p = text; *p; p++)
		n += *p == '\n';
	return n;
}

int cgroup_usage_read(const struct cgroup_layout *l, pid_t init_pid, struct cgroup_usage *ret, struct error *err)
{
	auto_strmap struct strmap paths = STRMAP_INIT;
	struct cgroup_usage u = {-1, -1, -1, -1, -1, -1};
	int r = cgroup_membership(l, init_pid, &paths, err);

	if (r < 0) {
		error_set(err, 500, "Read the control groups of process %d: it has ended", init_pid);
		err->errnum = ESRCH;
		return -ESRCH;
	}
	read_memory(l, &paths, &u);
	u.cpu_ns = read_cpu(l, &paths);
	u.processes = cgroup_read_processes(l, &paths);
	*ret = u;
	return 0;
}

/* Removes a group and those below it. True when it is gone. */
static bool remove_group(int parent, const char *name, int depth)
{
	struct dirent *entry;
	DIR *dir;
	int fd;

	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return true;
	if (depth == DEPTH_MAX)
		return false;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		fd_close(fd);
		return errno == ENOENT;
	}
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_DIR && !streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
			remove_group(fd, entry->d_name, depth + 1);
	closedir(dir);
	return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

/* "4:memory:/path" of process 1, below whose groups liblxc makes its own: that folder, or NULL. */
static char *base_folder(const struct cgroup_layout *l, const char *line)
{
	auto_strv struct strv fields = STRV_INIT, names = STRV_INIT;
	const char *mount, *path;
	size_t len;

	strv_split(&fields, line, ':');
	if (fields.len != 3)
		return NULL;
	strv_split(&names, fields.items[1], ',');
	mount = strmap_get(&l->mounts, names.len ? names.items[0] : "");
	if (!mount)
		return NULL;
	path = fields.items[2];
	len = strlen(path);
	if (endswith(path, "/init.scope"))
		len -= strlen("/init.scope");
	return xasprintf("%s%s%.*s", l->root, mount, (int)len, path);
}

bool cgroup_remove_left(const struct cgroup_layout *l, const char *name, int64_t timeout_ms)
{
	auto_free char *payload = xasprintf("lxc.payload.%s", name);
	auto_free char *monitor = xasprintf("lxc.monitor.%s", name);
	const char *const groups[] = {payload, monitor};
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strv struct strv lines = STRV_INIT;
	auto_error struct error err = ERROR_INIT;
	int64_t deadline = time_monotonic_ms() + timeout_ms;
	bool gone = true;

	if (read_text(l->root, "/proc/1/cgroup", &text, &err) < 0) {
		error_ignore(&err, "without control groups none is left");
		return true;
	}
	strv_split(&lines, strbuf_str(&text), '\n');
	for (size_t i = 0; i < lines.len; i++) {
		auto_free char *folder = base_folder(l, lines.items[i]);
		auto_close int fd = folder ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -EBADF;

		for (size_t k = 0; fd >= 0 && k < ARRAY_SIZE(groups); k++) {
			while (!remove_group(fd, groups[k], 0)) {
				if (time_monotonic_ms() >= deadline) {
					gone = false;
					break;
				}
				usleep(REMOVE_PAUSE_MS * 1000);
			}
		}
	}
	return gone;
}
