#include "daemon/server_keys.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>

#include "auth/x509.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/process.h"
#include "base/str.h"
#include "base/timeutil.h"

#define FILE_MAX (1u << 20)
#define SETTLE_MS 100                /* files that are replaced together: wait for the last of them */
#define DAY_MS (24 * 60 * 60 * 1000) /* how often the certificate's end is looked at */
#define RETRY_MS 5000                /* what failed and may pass is tried again then; the pause doubles each time */
#define RETRY_MS_MAX 60000
#define WARNING_KEYS "Server key pair cannot be used"
#define WARNING_CRL "Certificate revocation list needs attention"
#define WARNING_AUTHORITY "Certificate authority cannot be used"

/* One state of a file on disk, for telling whether it is another now. */
struct stamp {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
};

struct server_keys {
	struct api *api;
	char *dir;
	char *crt, *key, *ca, *crl; /* paths */
	int inotify;
	/* the watch's */
	bool retry;          /* the last look failed at what may pass */
	int64_t retry_delay; /* ms; 0: that was no second try */
	int64_t retry_at, expiry_at;
	/* what is in force */
	struct strbuf chain;
	int key_fd; /* a copy in memory: the file may be cut or overwritten in place */
	struct stamp key_stamp;
	char fingerprint[SHA256_HEX + 1];
	struct strbuf ca_pem;  /* empty: no PKI */
	struct strbuf crl_any; /* PEM or DER */
};

/* A link that leads nowhere is there too: it was meant to lead somewhere. What cannot be told is there. */
static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static int make_pair(struct server_keys *k, struct error *err)
{
	auto_free char *program = process_helper_path("lxd-keygen");
	const char *const argv[] = {program, k->crt, k->key, NULL};
	struct process_spec spec = PROCESS_SPEC_INIT;

	spec.argv = argv;
	return process_run(&spec, NULL, err) < 0 ? error_wrap(err, "Make server certificate") : 0;
}

/* The files as they are now. */
struct found {
	struct strbuf chain, ca, crl;
	int key_fd;
	struct stamp key_stamp;
	char fingerprint[SHA256_HEX + 1];
};

#define FOUND_INIT ((struct found){.key_fd = -EBADF})

static void found_done(struct found *f)
{
	strbuf_done(&f->chain);
	strbuf_done(&f->ca);
	strbuf_done(&f->crl);
	fd_close(f->key_fd);
}

/* Of the first certificate in @pem. */
static int fingerprint(const char *pem, char ret[SHA256_HEX + 1])
{
	static const char head[] = "-----BEGIN CERTIFICATE-----";
	const char *begin = strstr(pem, head), *end = begin ? strstr(begin, "-----END CERTIFICATE-----") : NULL;
	auto_strbuf struct strbuf der = STRBUF_INIT;
	auto_free char *body = NULL;

	if (!end)
		return -EINVAL;
	begin += sizeof(head) - 1;
	body = xstrndup(begin, (size_t)(end - begin));
	if (base64_decode(body, &der) < 0 || !der.len)
		return -EINVAL;
	sha256_hex(der.data, der.len, ret);
	return 0;
}

/* The key goes from the file into one in memory by the kernel: it is never in this process. */
static int copy_key(const char *path, struct found *f, struct error *err)
{
	auto_close int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), to = -EBADF;
	struct stat st;
	ssize_t n = 1;

	if (from < 0 || fstat(from, &st) < 0)
		return error_errno(err, errno, "Open %s", path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > FILE_MAX)
		return error_set(err, 500, "%s is %s", path,
				 !S_ISREG(st.st_mode) ? "not a regular file"
				 : st.st_size         ? "too large"
						      : "empty");
	to = memfd_create("server-key", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (to < 0)
		return error_errno(err, errno, "Create a file in memory");
	while (n > 0)
		n = sendfile(to, from, NULL, FILE_MAX);
	if (n < 0 || lseek(to, 0, SEEK_SET) < 0 ||
	    fcntl(to, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return error_errno(err, errno, "Copy %s", path);
	f->key_stamp = (struct stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
	f->key_fd = TAKE_FD(to);
	return 0;
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
	       a->mtime.tv_nsec == b->mtime.tv_nsec;
}

static int read_pair(struct server_keys *k, struct found *f, struct error *err)
{
	int r = file_read_at(AT_FDCWD, k->crt, FILE_MAX, &f->chain, err);

	if (r < 0)
		return r;
	if (fingerprint(strbuf_str(&f->chain), f->fingerprint) < 0)
		return error_set(err, 500, "Server certificate %s is not a PEM certificate", k->crt);
	return copy_key(k->key, f, err);
}

/* A file that is not there leaves @ret empty; one that is there and holds nothing was meant to hold something. */
static int read_optional(const char *path, struct strbuf *ret, struct error *err)
{
	struct stat st;
	int r;

	if (!exists(path))
		return 0;
	if (stat(path, &st) < 0)
		return error_errno(err, errno, "Open %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, 500, "%s is not a regular file", path);
	r = file_read_at(AT_FDCWD, path, FILE_MAX, ret, err);
	if (r == 0 && !ret->len)
		return error_set(err, 500, "%s is empty", path);
	return r;
}

static int read_authority(struct server_keys *k, struct found *f, struct error *err)
{
	auto_free char *warning = NULL;
	int r = read_optional(k->ca, &f->ca, err);

	if (r == 0)
		r = read_optional(k->crl, &f->crl, err);
	if (r < 0)
		return r;
	if (!f->ca.len) {
		warnings_resolve(k->api->warnings, WARNING_CRL, "");
		return 0;
	}
	r = x509_check_authority(k->ca, k->crl, &warning, err);
	if (r == 0 && warning)
		warnings_raise(k->api->warnings, WARNING_CRL, "high", "", warning);
	else if (r == 0)
		warnings_resolve(k->api->warnings, WARNING_CRL, "");
	return r;
}

/* Make @f's key pair and authorities those that are in force. */
static int take_over(struct server_keys *k, struct found *f, struct error *err)
{
	const struct remote_keys keys = {
		.chain = strbuf_str(&f->chain),
		.key_fd = f->key_fd,
		.ca = f->ca.len ? f->ca.data : NULL,
		.crl = f->crl.data,
		.crl_len = f->crl.len,
	};
	int r;

	/* from here on nobody is trusted for a verdict that was made without a CA */
	if (f->ca.len)
		trust_set_pki(k->api->trust, true);
	r = remote_set_keys(k->api->remote, &keys, err);
	if (r < 0)
		return r;
	strbuf_done(&k->chain);
	strbuf_done(&k->ca_pem);
	strbuf_done(&k->crl_any);
	fd_close(k->key_fd);
	k->chain = f->chain;
	k->ca_pem = f->ca;
	k->crl_any = f->crl;
	k->key_fd = TAKE_FD(f->key_fd);
	k->key_stamp = f->key_stamp;
	memcpy(k->fingerprint, f->fingerprint, sizeof(k->fingerprint));
	f->chain = f->ca = f->crl = STRBUF_INIT;
	api_set_certificate(k->api, k->chain.data, k->fingerprint);
	return 0;
}

int server_keys_new(struct api *api, struct server_keys **ret, struct error *err)
{
	struct server_keys *k = xnew(struct server_keys);
	CLEANUP(found_done) struct found f = FOUND_INIT;
	int r = 0;

	k->api = api;
	k->dir = xstrdup(api->lxd_dir);
	k->crt = path_join(k->dir, "server.crt");
	k->key = path_join(k->dir, "server.key");
	k->ca = path_join(k->dir, "server.ca");
	k->crl = path_join(k->dir, "ca.crl");
	k->key_fd = k->inotify = -EBADF;
	if (!exists(k->crt) || !exists(k->key))
		r = make_pair(k, err);
	if (r == 0)
		r = read_pair(k, &f, err);
	if (r == 0)
		r = read_authority(k, &f, err);
	if (r == 0)
		r = take_over(k, &f, err);
	if (r < 0)
		return r;
	/* what was wrong before the restart has either been put right or is what we run with now */
	warnings_resolve(api->warnings, WARNING_AUTHORITY, "");
	warnings_resolve(api->warnings, WARNING_KEYS, "");
	*ret = k;
	return 0;
}

static void warn(struct server_keys *k, const char *type, const struct error *err)
{
	if (!k->retry_delay) /* once, however often it is tried */
		log_error("server keys", LOG_STR("warning", type), LOG_ERR(err));
	warnings_raise(k->api->warnings, type, "high", "", error_msg(err));
}

static bool same(const struct strbuf *a, const struct strbuf *b)
{
	return a->len == b->len && (!a->len || memcmp(a->data, b->data, a->len) == 0);
}

/* What goes with a new authority while there is no good pair on disk. */
static int use_pair_in_force(struct server_keys *k, struct found *f, struct error *err)
{
	strbuf_done(&f->chain);
	strbuf_append_len(&f->chain, k->chain.data, k->chain.len);
	fd_close(f->key_fd);
	f->key_fd = fcntl(k->key_fd, F_DUPFD_CLOEXEC, 3);
	f->key_stamp = k->key_stamp;
	memcpy(f->fingerprint, k->fingerprint, sizeof(f->fingerprint));
	return f->key_fd < 0 ? error_errno(err, errno, "Keep the server's key") : 0;
}

/* The pair on disk, unless it is not whole. */
static int look_at_pair(struct server_keys *k, struct found *f, bool *ret_changed)
{
	auto_error struct error err = ERROR_INIT;
	bool crt = exists(k->crt), key = exists(k->key);
	int r = 0;

	if (!crt && !key) {
		r = make_pair(k, &err);
		k->retry = k->retry || r < 0;
	} else if (!crt || !key) {
		r = error_set(&err, 500, "%s is missing; remove both for a new pair", crt ? k->key : k->crt);
	}
	if (r == 0)
		r = read_pair(k, f, &err);
	if (r < 0) {
		warn(k, WARNING_KEYS, &err);
		return r;
	}
	*ret_changed = !same(&f->chain, &k->chain) || !same_stamp(&f->key_stamp, &k->key_stamp);
	return 0;
}

/* An authority that vanishes stays in force until a restart: a file being replaced must not open the door. */
static int look_at_authority(struct server_keys *k, struct found *f, bool *ret_changed)
{
	auto_error struct error err = ERROR_INIT;
	int r = 0;

	if ((k->ca_pem.len && !exists(k->ca)) || (k->crl_any.len && !exists(k->crl)))
		r = error_set(&err, 500, "%s is gone; the old one stays in force until the daemon is restarted",
			      exists(k->ca) ? k->crl : k->ca);
	if (r == 0) {
		r = read_authority(k, f, &err);
		k->retry = k->retry || r < 0;
	}
	if (r < 0) {
		warn(k, WARNING_AUTHORITY, &err);
		strbuf_done(&f->ca);
		strbuf_done(&f->crl);
		strbuf_append_len(&f->ca, k->ca_pem.data, k->ca_pem.len);
		strbuf_append_len(&f->crl, k->crl_any.data, k->crl_any.len);
		return r;
	}
	warnings_resolve(k->api->warnings, WARNING_AUTHORITY, "");
	*ret_changed = !same(&f->ca, &k->ca_pem) || !same(&f->crl, &k->crl_any);
	return 0;
}

static void audit(struct server_keys *k, const char *event, const char *verdict, const char *detail)
{
	const struct identity nobody = {.kind = IDENTITY_LOCAL, .address = "@"};
	const struct audit_entry entry = {.event = event, .verdict = verdict, .id = &nobody, .detail = detail};
	auto_error struct error err = ERROR_INIT;

	if (k->api->audit && audit_write(k->api->audit, &entry, &err) < 0)
		log_error("audit log", LOG_ERR(&err));
}

/* take_over() that tells administrators when it failed; it is tried again. */
static int try_take_over(struct server_keys *k, struct found *f, bool pair)
{
	auto_error struct error err = ERROR_INIT;
	int r = take_over(k, f, &err);

	if (r == 0)
		return 0;
	k->retry = true;
	warn(k, pair ? WARNING_KEYS : WARNING_AUTHORITY, &err);
	if (!k->retry_delay)
		audit(k, "server-keys-changed", "failed", error_msg(&err));
	return r;
}

/*
 * Take over what is new on disk. A pair that is no good keeps no authority or CRL out: those are taken over with the
 * pair in force. True when the server's certificate is another now.
 */
static bool look(struct server_keys *k)
{
	CLEANUP(found_done) struct found f = FOUND_INIT;
	auto_error struct error err = ERROR_INIT;
	bool pair = false, authority = false, pair_is_good = look_at_pair(k, &f, &pair) == 0;
	char old[sizeof(k->fingerprint)];
	int r = 0;

	memcpy(old, k->fingerprint, sizeof(old));
	look_at_authority(k, &f, &authority);
	if (pair) {
		r = try_take_over(k, &f, /* pair= */ true);
		pair_is_good = r == 0;
	}
	if (authority && (!pair || r < 0)) {
		r = use_pair_in_force(k, &f, &err);
		r = r == 0 ? try_take_over(k, &f, /* pair= */ false) : r;
	}
	if (pair_is_good)
		warnings_resolve(k->api->warnings, WARNING_KEYS, "");
	if (r < 0 || (!pair && !authority))
		return false;
	log_info("server keys taken over", LOG_STR("fingerprint", k->fingerprint));
	pair = !streq(old, k->fingerprint);
	if (pair)
		audit(k, "server-certificate-changed", "allowed", k->fingerprint);
	if (authority)
		audit(k, "certificate-authority-changed", "allowed", NULL);
	if (authority)
		remote_authority_changed(k->api->remote);
	return pair;
}

static bool is_ours(const char *name)
{
	return streq(name, "server.crt") || streq(name, "server.key") || streq(name, "server.ca") ||
	       streq(name, "ca.crl");
}

/* Reads what is there; true when one of our files was among it. */
static bool drain(struct server_keys *k)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool ours = false;
	ssize_t n;

	while ((n = read(k->inotify, buf, sizeof(buf))) > 0) {
		for (char *at = buf; at < buf + n;) {
			const struct inotify_event *e = (const void *)at;

			ours = ours || (e->len && is_ours(e->name)) || (e->mask & IN_Q_OVERFLOW);
			at += sizeof(*e) + e->len;
		}
	}
	return ours;
}

static void check_expiry(struct server_keys *k)
{
	struct x509_info info = X509_INFO_INIT;
	auto_error struct error err = ERROR_INIT;

	if (x509_inspect(k->chain.data, k->chain.len, NULL, NULL, &info, &err) < 0)
		warn(k, WARNING_KEYS, &err);
	else
		warnings_check_certificate_expiry(k->api->warnings, info.not_after, (int64_t)time(NULL));
	x509_info_done(&info);
}

/* look(), and when to look again without being called. */
static void look_and_plan(struct server_keys *k)
{
	k->retry = false;
	if (look(k))
		check_expiry(k);
	k->retry_delay = !k->retry ? 0 : k->retry_delay ? MIN_OF(k->retry_delay * 2, RETRY_MS_MAX) : RETRY_MS;
	k->retry_at = k->retry ? time_monotonic_ms() + k->retry_delay : 0;
}

/* Milliseconds to the next thing to be done without an event. */
static int patience(const struct server_keys *k)
{
	int64_t until = k->retry_at ? MIN_OF(k->retry_at, k->expiry_at) : k->expiry_at;

	return (int)MAX_OF(until - time_monotonic_ms(), (int64_t)0);
}

static void on_time(struct server_keys *k)
{
	int64_t now = time_monotonic_ms();

	if (now >= k->expiry_at) {
		check_expiry(k);
		k->expiry_at = now + DAY_MS;
	}
	if (k->retry_at && now >= k->retry_at)
		look_and_plan(k);
}

static void *watch_thread(void *arg)
{
	struct server_keys *k = arg;
	struct pollfd p = {.fd = k->inotify, .events = POLLIN};

	check_expiry(k);
	k->expiry_at = time_monotonic_ms() + DAY_MS;
	for (;;) {
		int n = poll(&p, 1, patience(k));

		if (n == 0)
			on_time(k);
		if (n <= 0 || !drain(k))
			continue;
		/* a pair that is gone is made at once; others may still be being written */
		while (exists(k->crt) + exists(k->key) != 0 && poll(&p, 1, SETTLE_MS) > 0)
			drain(k);
		k->retry_delay = 0;
		look_and_plan(k);
	}
	return NULL;
}

int server_keys_watch(struct server_keys *k, struct error *err)
{
	k->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (k->inotify < 0 ||
	    inotify_add_watch(k->inotify, k->dir,
			      IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR) < 0)
		return error_errno(err, errno, "Watch %s", k->dir);
	return thread_start("keys", watch_thread, k, err);
}
