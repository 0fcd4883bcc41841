/* Cookie jars as files: the reference client's JSON, and its lock. */
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "client/cookies_private.h"

#define JAR_MAX (4u * 1024 * 1024)
#define LOCK_MS 3000
#define LOCK_STEP_MS 20

/* The time, or @otherwise when there is none that can be read. */
static int64_t time_of(const struct json *entry, const char *key, int64_t otherwise)
{
	const char *text = json_get_str(entry, key);
	int64_t ns;

	return text && time_parse(text, &ns) >= 0 ? ns : otherwise;
}

/* Cookies of a domain come back as the host's that set them. */
static void take_entry(struct cookie_jar *jar, const struct json *entry)
{
	const char *name = json_get_str(entry, "Name"), *value = json_get_str(entry, "Value");
	const char *host = json_get_str(entry, "CanonicalHost"), *path = json_get_str(entry, "Path");
	int64_t port = json_int(json_get(entry, "Port"));
	struct cookie c;

	if (!name || !value || !host || !path)
		return;
	c = (struct cookie){
		.name = xstrdup(name),
		.value = xstrdup(value),
		.host = xstrdup(host),
		.port = port > 0 && port <= 65535 ? (unsigned)port : 0,
		.path = xstrdup(path),
		.secure = json_is_true(json_get(entry, "Secure")),
		.http_only = json_is_true(json_get(entry, "HttpOnly")),
		.persistent = json_is_true(json_get(entry, "Persistent")),
		.expires = time_of(entry, "Expires", COOKIE_NEVER - 1),
		.creation = time_of(entry, "Creation", 0),
		.last_access = time_of(entry, "LastAccess", 0),
		.updated = time_of(entry, "Updated", 0),
	};
	if (c.persistent && cookie_is_good(&c))
		cookie_jar_merge(jar, &c);
	else
		cookie_done(&c);
}

void cookie_jar_parse(struct cookie_jar *jar, const char *text, size_t len)
{
	auto_json struct json *doc = NULL;
	auto_error struct error e = ERROR_INIT;

	if (json_parse(text, len, &doc, &e) < 0) {
		error_ignore(&e, "a new login makes a new jar");
		return;
	}
	for (size_t i = 0; json_kind(doc) == JSON_ARRAY && i < json_len(doc); i++)
		take_entry(jar, json_at(doc, i));
}

/* By host, the longer path first, then by age. */
static int compare(const void *pa, const void *pb)
{
	const struct cookie *a = pa, *b = pb;
	size_t la = strlen(a->path), lb = strlen(b->path);
	int r = strcmp(a->host, b->host);

	if (r == 0)
		r = (la < lb) - (la > lb);
	if (r == 0)
		r = (a->creation > b->creation) - (a->creation < b->creation);
	return r ? r : strcmp(a->name, b->name);
}

static void write_cookie(struct jsonw *w, const struct cookie *c)
{
	jsonw_object_begin(w);
	jsonw_kv_str(w, "Name", c->name);
	jsonw_kv_str(w, "Value", c->value);
	jsonw_kv_str(w, "Domain", c->host);
	jsonw_kv_str(w, "Path", c->path);
	jsonw_kv_bool(w, "Secure", c->secure);
	jsonw_kv_bool(w, "HttpOnly", c->http_only);
	jsonw_kv_bool(w, "Persistent", true);
	jsonw_kv_bool(w, "HostOnly", true);
	jsonw_kv_time(w, "Expires", c->expires);
	jsonw_kv_time(w, "Creation", c->creation);
	jsonw_kv_time(w, "LastAccess", c->last_access);
	jsonw_kv_time(w, "Updated", c->updated);
	jsonw_kv_str(w, "CanonicalHost", c->host);
	if (c->port)
		jsonw_kv_uint(w, "Port", c->port); /* ours; other clients pass over it */
	jsonw_object_end(w);
}

void cookie_jar_format(struct cookie_jar *jar, struct strbuf *ret)
{
	struct jsonw w = JSONW(ret);
	int64_t now = time_now_ns();
	size_t written = 0;

	if (jar->len)
		qsort(jar->items, jar->len, sizeof(*jar->items), compare);
	for (size_t i = 0; i < jar->len; i++) {
		if (!jar->items[i].persistent || jar->items[i].expires <= now)
			continue;
		if (written++ == 0)
			jsonw_array_begin(&w);
		write_cookie(&w, &jar->items[i]);
	}
	if (written)
		jsonw_array_end(&w);
	else
		jsonw_null(&w);
	strbuf_append_char(ret, '\n');
}

/* A record lock on "<path>.lock", which stays empty: other clients refuse to lock a file that is not. */
static int lock_jar(const char *path, int *ret_fd, struct error *err)
{
	auto_free char *name = xasprintf("%s.lock", path);
	auto_close int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int64_t end = time_monotonic_ms() + LOCK_MS;

	if (fd < 0)
		return error_errno(err, errno, "Open %s", name);
	while (fcntl(fd, F_SETLK, &all) < 0) {
		if (errno == ENOLCK || errno == ENOSYS)
			break; /* a file system without locks */
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return error_errno(err, errno, "Lock %s", name);
		if (time_monotonic_ms() > end)
			return error_set(err, 500, "Lock %s: another client holds it", name);
		nanosleep(&(struct timespec){.tv_nsec = LOCK_STEP_MS * 1000000L}, NULL);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int read_jar(struct cookie_jar *jar, const char *path, struct error *err)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_error struct error e = ERROR_INIT;
	int r = file_read_at(AT_FDCWD, path, JAR_MAX, &text, &e);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return error_move(err, &e);
	cookie_jar_parse(jar, strbuf_str(&text), text.len);
	explicit_bzero(text.data, text.len);
	return 0;
}

int cookie_jar_load(struct cookie_jar *jar, const char *path, struct error *err)
{
	auto_close int lock = -EBADF;
	int r;

	if (access(path, F_OK) < 0)
		return 0;
	r = lock_jar(path, &lock, err);
	return r < 0 ? r : read_jar(jar, path, err);
}

int cookie_jar_save(struct cookie_jar *jar, const char *path, struct error *err)
{
	auto_free char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_close int lock = -EBADF;
	int r = dir_make_all(AT_FDCWD, dir, 0700, err);

	if (r >= 0)
		r = lock_jar(path, &lock, err);
	if (r >= 0)
		r = read_jar(jar, path, err);
	if (r < 0)
		return r;
	cookie_jar_format(jar, &text);
	r = file_replace_at(AT_FDCWD, path, text.data, text.len, 0600, err);
	explicit_bzero(text.data, text.len);
	return r;
}
