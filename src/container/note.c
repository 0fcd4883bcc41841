/* The note for joining a container: collected from its configuration and its init, saved, read back. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/wire.h"
#include "container/container.h"
#include "container/join.h"

#define NOTE_VERSION 0x4a4f0001u
#define NOTE_MAX (256 * 1024)

/* Items that a joining process need not know about; a dot at the end: everything below. */
static const char *const harmless[] = {
	"lxc.log.",        "lxc.console.", "lxc.cap.drop", "lxc.cap.keep",         "lxc.mount.",
	"lxc.autodev",     "lxc.pty.max",  "lxc.tty.",     "lxc.uts.name",         "lxc.idmap",
	"lxc.cgroup2.",    "lxc.sysctl.",  "lxc.net.",     "lxc.rootfs.",          "lxc.signal.",
	"lxc.hook.",       "lxc.init.cmd", "lxc.proc.",    "lxc.apparmor.profile", "lxc.monitor.",
	"lxc.environment",
};

static const struct {
	const char *name;
	uint32_t value;
} personalities[] = {{"linux64", PER_LINUX}, {"x86_64", PER_LINUX}, {"linux32", PER_LINUX32}, {"i686", PER_LINUX32}};

static const struct {
	const char *name;
	int resource;
} resources[] = {
	{"as", RLIMIT_AS},           {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
	{"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},       {"locks", RLIMIT_LOCKS},
	{"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
	{"nofile", RLIMIT_NOFILE},   {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},
	{"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
	{"stack", RLIMIT_STACK},
};

static bool is_harmless(const char *key)
{
	/* the limits themselves; "lxc.cgroup.dir" and "lxc.cgroup.relative" are about where the groups are */
	if (startswith(key, "lxc.cgroup."))
		return !startswith(key, "lxc.cgroup.dir") && !streq(key, "lxc.cgroup.relative");
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
		const char *rest = startswith(key, harmless[i]);

		if (rest && (!*rest || harmless[i][strlen(harmless[i]) - 1] == '.'))
			return true;
	}
	return false;
}

static bool parse_limit_number(const char *s, rlim_t *ret)
{
	uint64_t v;

	if (streq(s, "unlimited")) {
		*ret = RLIM_INFINITY;
		return true;
	}
	if (parse_u64(s, &v) < 0)
		return false;
	*ret = v;
	return true;
}

/* "soft:hard", or one number for both. */
static bool take_limit(struct join_note *note, const char *name, const char *value)
{
	auto_free char *soft = xstrndup(value, strcspn(value, ":"));
	const char *colon = strchr(value, ':');
	struct join_limit l;

	for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
		if (!streq(resources[i].name, name))
			continue;
		l.resource = resources[i].resource;
		if (note->n_limits == ARRAY_SIZE(note->limits) || !parse_limit_number(soft, &l.value.rlim_cur) ||
		    !parse_limit_number(colon ? colon + 1 : soft, &l.value.rlim_max))
			return false;
		note->limits[note->n_limits++] = l;
		return true;
	}
	return false;
}

static bool take_personality(struct join_note *note, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(personalities); i++) {
		if (!streq(personalities[i].name, value))
			continue;
		note->personality = personalities[i].value;
		return true;
	}
	return false;
}

void join_note_item(struct join_note *note, const char *key, const char *value)
{
	const char *limit = startswith(key, "lxc.prlimit.");
	bool known = true;

	if (limit)
		known = take_limit(note, limit, value);
	else if (streq(key, "lxc.arch"))
		known = take_personality(note, value);
	else if (streq(key, "lxc.no_new_privs"))
		note->no_new_privs = streq(value, "1");
	else if (streq(key, "lxc.seccomp.profile"))
		note->has_seccomp = *value;
	else
		known = is_harmless(key);
	note->unknown = note->unknown || !known;
}

/* One line of mountinfo: is it the hierarchy of @controllers ("" is the unified one)? Mount point and root of it then.
 */
static bool match_mount(char *line, const char *controllers, char **ret_root, char **ret_point)
{
	auto_free char *first = xstrndup(controllers, strcspn(controllers, ","));
	auto_strv struct strv options = STRV_INIT;
	auto_strv struct strv words = STRV_INIT;
	char *rest = strstr(line, " - ");
	auto_strv struct strv tail = STRV_INIT;

	if (!rest)
		return false;
	strv_split_words(&tail, rest + 3);
	strv_split_words(&words, line);
	if (tail.len < 3 || words.len < 5)
		return false;
	strv_split(&options, tail.items[2], ',');
	if (*controllers ? !streq(tail.items[0], "cgroup") || !strv_contains(&options, first)
			 : !streq(tail.items[0], "cgroup2"))
		return false;
	*ret_root = xstrdup(words.items[3]);
	*ret_point = xstrdup(words.items[4]);
	return true;
}

/* Path on this host of the group @path of a hierarchy; NULL when it is mounted nowhere. */
static char *group_path(const struct strv *mounts, const char *controllers, const char *path)
{
	for (size_t i = 0; i < mounts->len; i++) {
		auto_free char *root = NULL;
		auto_free char *point = NULL;
		auto_free char *group = NULL;
		auto_free char *procs = NULL;
		const char *below;

		if (!match_mount(mounts->items[i], controllers, &root, &point))
			continue;
		below = streq(root, "/") ? path : startswith(path, root);
		if (!below)
			continue;
		group = xasprintf("%s%s", point, below);
		procs = xasprintf("%s/cgroup.procs", group);
		if (access(procs, W_OK) == 0)
			return TAKE_PTR(group);
	}
	return NULL;
}

/* One line of /proc/PID/cgroup. False: the process is in such a group that cannot be found. */
static bool take_group(const struct strv *mounts, const char *wanted, const char *line, struct strv *ret,
		       char **ret_unified)
{
	auto_free char *own = xasprintf("/%s", wanted);
	const char *controllers = strchr(line, ':');
	const char *colon = controllers ? strchr(controllers + 1, ':') : NULL;
	auto_free char *names = NULL;
	auto_free char *path = NULL;
	const char *at, *end;
	char *group;

	if (!colon)
		return !*line;
	names = xstrndup(controllers + 1, (size_t)(colon - controllers - 1));
	at = strstr(colon + 1, own);
	if (!at)
		return true; /* liblxc does not manage this hierarchy */
	end = at + strlen(own);
	if (*end && *end != '/')
		return false;
	path = xstrndup(colon + 1, (size_t)(end - colon - 1));
	group = group_path(mounts, names, path);
	if (!group)
		return false;
	if (*names)
		strv_take(ret, group);
	else
		*ret_unified = group;
	return true;
}

static bool read_lines(const char *path, struct strv *ret)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;

	if (file_read_at(AT_FDCWD, path, 1024 * 1024, &text, &err) < 0)
		return false;
	strv_split(ret, strbuf_str(&text), '\n');
	return true;
}

bool control_groups_find(pid_t pid, const char *wanted, struct strv *ret, char **ret_unified)
{
	auto_free char *path = xasprintf("/proc/%d/cgroup", pid);
	auto_strv struct strv mounts = STRV_INIT;
	auto_strv struct strv lines = STRV_INIT;

	if (!read_lines("/proc/self/mountinfo", &mounts) || !read_lines(path, &lines))
		return false;
	for (size_t i = 0; i < lines.len; i++)
		if (!take_group(&mounts, wanted, lines.items[i], ret, ret_unified))
			return false;
	return ret->len > 0 || *ret_unified;
}

/* A security module that labels processes: liblxc knows how to take on the label. */
static bool has_labels(void)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;

	if (access("/sys/fs/selinux", F_OK) == 0)
		return true;
	if (file_read_at(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", 16, &text, &err) < 0)
		return access("/sys/module/apparmor", F_OK) == 0;
	return *strbuf_str(&text) != 'N';
}

static char *note_path(const char *conf_path)
{
	return xasprintf("%s.join", conf_path);
}

void join_note_remove(const char *conf_path)
{
	auto_free char *path = note_path(conf_path);

	(void)!unlink(path);
}

void join_note_save(struct join_note *note, const char *name, pid_t init, const char *conf_path)
{
	auto_free char *path = note_path(conf_path);
	auto_free char *group = xasprintf("lxc.payload.%s", name);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	const struct sock_filter *filter = NULL;
	size_t filter_len = 0;
	auto_close int fd = -EBADF;

	if (note->unknown || has_labels() || (note->has_seccomp && !filter_copy_get(&filter, &filter_len)) ||
	    !control_groups_find(init, group, &note->groups, &note->unified))
		return;
	wire_put_u32(&b, NOTE_VERSION);
	wire_put_u32(&b, note->no_new_privs);
	wire_put_u32(&b, note->personality);
	wire_put_u32(&b, (uint32_t)note->n_limits);
	for (size_t i = 0; i < note->n_limits; i++) {
		wire_put_u32(&b, (uint32_t)note->limits[i].resource);
		wire_put_u64(&b, note->limits[i].value.rlim_cur);
		wire_put_u64(&b, note->limits[i].value.rlim_max);
	}
	wire_put_list(&b, (const char *const *)note->groups.items);
	wire_put_str(&b, note->unified);
	wire_put_u32(&b, (uint32_t)filter_len);
	for (size_t i = 0; i < filter_len; i++) {
		uint64_t word;

		memcpy(&word, &filter[i], sizeof(word));
		wire_put_u64(&b, word);
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fd_write_full(fd, b.data, b.len) < 0)
		(void)!unlink(path); /* part of a note is none */
}

static bool read_filter(struct wire_reader *in, struct join_note *ret)
{
	ret->filter_len = wire_get_u32(in);
	if (ret->filter_len > BPF_MAXINSNS)
		return false;
	if (ret->filter_len)
		ret->filter = xnew_array(struct sock_filter, ret->filter_len);
	for (size_t i = 0; i < ret->filter_len; i++) {
		uint64_t word = wire_get_u64(in);

		memcpy(&ret->filter[i], &word, sizeof(word));
	}
	return true;
}

bool join_note_load(const char *conf_path, struct join_note *ret)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_free char *path = note_path(conf_path);
	struct wire_reader in = {0};

	if (file_read_at(AT_FDCWD, path, NOTE_MAX, &text, &err) < 0 || !text.data)
		return false;
	in = (struct wire_reader){.data = (const unsigned char *)text.data, .len = text.len};
	if (wire_get_u32(&in) != NOTE_VERSION)
		return false;
	ret->no_new_privs = wire_get_u32(&in);
	ret->personality = wire_get_u32(&in);
	ret->n_limits = wire_get_u32(&in);
	if (ret->n_limits > ARRAY_SIZE(ret->limits))
		return false;
	for (size_t i = 0; i < ret->n_limits; i++) {
		ret->limits[i].resource = (int)wire_get_u32(&in);
		ret->limits[i].value.rlim_cur = wire_get_u64(&in);
		ret->limits[i].value.rlim_max = wire_get_u64(&in);
	}
	wire_get_list(&in, &ret->groups);
	ret->unified = wire_get_str(&in);
	return read_filter(&in, ret) && wire_done(&in);
}
