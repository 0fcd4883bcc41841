/* The daemon's main(): options, start-up in order, signals, shutdown. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "api/api.h"
#include "api/image_remote.h"
#include "api/server_config.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/process.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "daemon/network_side.h"
#include "instance/snapshot.h"
#include "daemon/remote_side.h"

#define SHUTDOWN_TIMEOUT_MIN 5 /* core.shutdown_timeout when it is unset */

struct daemon {
	char *dir;
	char *socket_path;
	char *group;
	int lock_fd;
	struct db *db;
	struct http_server *http;
	struct api api;
	_Atomic bool force; /* of the shutdown request */
};

/* Set before threads start, for the log sink. */
static struct events *log_events;

static const struct option long_options[] = {
	{"group", required_argument, NULL, 'g'},
	{"logfile", required_argument, NULL, 'l'},
	{"debug", no_argument, NULL, 'd'},
	{"verbose", no_argument, NULL, 'v'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static void usage(FILE *out)
{
	fprintf(out, "Usage: lxd [--group GROUP] [--logfile FILE] [--debug] [--verbose]\n"
		     "       lxd audit|init|shutdown|version|waitready [OPTION...]\n\n"
		     "Without a command, run the daemon in the foreground.\n\n"
		     "  --group GROUP    group that may use the socket besides root\n"
		     "  --logfile FILE   write the log to FILE instead of standard error\n"
		     "  -d, --debug      log everything\n"
		     "  -v, --verbose    log information too\n"
		     "  --version        print the version\n\n"
		     "The state is kept below $LXD_DIR (default /var/lib/lxd).\n");
}

/* Commands other than the daemon are a client's: they live in a program of their own. */
static int run_admin(char **argv)
{
	auto_free char *path = process_helper_path("lxd-admin");

	execv(path, argv);
	fprintf(stderr, "Error: cannot run %s: %s\n", path, strerror(errno));
	return 1;
}

static void log_to_events(enum log_level level, const char *sentence, const struct log_field *fields)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct jsonw w = JSONW(&b);

	if (!events_wanted(log_events, EVENT_LOGGING))
		return;
	jsonw_object_begin(&w);
	jsonw_kv_str(&w, "message", sentence);
	jsonw_kv_str(&w, "level", log_level_name(level));
	jsonw_key(&w, "context");
	jsonw_object_begin(&w);
	for (; fields->key; fields++) {
		if (fields->str)
			jsonw_kv_str(&w, fields->key, fields->str);
		else
			jsonw_kv_strf(&w, fields->key, "%lld", (long long)fields->num);
	}
	jsonw_object_end(&w);
	jsonw_object_end(&w);
	events_publish(log_events, EVENT_LOGGING, NULL, b.data);
}

static int prepare_dir(struct daemon *d, struct error *err)
{
	static const char probe[] = "lxd";
	const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	auto_free char *lock = path_join(d->dir, "lock");
	auto_free char *database = path_join(d->dir, "database");
	int r = dir_make_all(AT_FDCWD, d->dir, 0711, err);

	if (r < 0)
		return r;
	d->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0)
		return error_errno(err, errno, "Open %s", lock);
	/* a record lock, which children do not inherit: it ends with this process, however it ends */
	if (fcntl(d->lock_fd, F_SETLK, &whole) < 0) {
		if (errno == EACCES || errno == EAGAIN)
			return error_set(err, 500, "Another daemon is running on %s", d->dir);
		return error_errno(err, errno, "Lock %s", lock);
	}
	/* a full disk says so here, before anything is half done */
	if (pwrite(d->lock_fd, probe, sizeof(probe), 0) < 0 || fsync(d->lock_fd) < 0)
		return error_errno(err, errno, "Write %s", lock);
	return dir_make_all(AT_FDCWD, database, 0700, err);
}

static int open_socket(struct daemon *d, struct error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	gid_t gid = 0;

	if (fd < 0)
		return error_errno(err, errno, "Create socket");
	if (strlen(d->socket_path) >= sizeof(addr.sun_path))
		return error_set(err, 500, "Socket path %s is too long (at most %zu bytes)", d->socket_path,
				 sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, d->socket_path, strlen(d->socket_path) + 1);
	if (d->group) {
		struct group *g = getgrnam(d->group);

		if (!g)
			return error_set(err, 500, "Group \"%s\" does not exist", d->group);
		gid = g->gr_gid;
	}
	/* the lock is ours, so a socket that is there belongs to a daemon that is gone */
	if (unlink(d->socket_path) < 0 && errno != ENOENT)
		return error_errno(err, errno, "Remove stale socket %s", d->socket_path);
	/* the socket's own mode is that of the file which bind() makes: nobody else can connect in between */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return error_errno(err, errno, "Bind socket %s", d->socket_path);
	if (chown(d->socket_path, 0, gid) < 0 || chmod(d->socket_path, 0660) < 0)
		return error_errno(err, errno, "Set owner of socket %s", d->socket_path);
	if (listen(fd, 512) < 0)
		return error_errno(err, errno, "Listen on socket %s", d->socket_path);
	return TAKE_FD(fd);
}

static void on_instance_event(void *arg, const char *project, const char *name, const char *action)
{
	struct daemon *d = arg;
	auto_free char *url = xasprintf("/1.0/instances/%s", name);

	api_lifecycle_as(&d->api, project, NULL, action, url);
}

static void on_shutdown_request(void *arg, bool force)
{
	struct daemon *d = arg;

	d->force = force;
	kill(getpid(), SIGPWR);
}

/*
 * Has the host booted, or the daemon been shut down with all instances, since a daemon last ran here? The file
 * boot_id holds the boot in which it did; a shutdown removes it.
 */
static int check_boot(struct daemon *d, struct error *err)
{
	auto_free char *path = path_join(d->dir, "boot_id");
	auto_strbuf struct strbuf now = STRBUF_INIT, last = STRBUF_INIT;
	auto_error struct error none = ERROR_INIT;
	int r = file_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 256, &now, err);

	if (r < 0)
		return r;
	if (file_read_at(AT_FDCWD, path, 256, &last, &none) < 0)
		error_ignore(&none, "first start, or after a shutdown");
	d->api.boot = !streq(strbuf_str(&last), strbuf_str(&now));
	return d->api.boot ? file_replace_at(AT_FDCWD, path, now.data, now.len, 0600, err) : 0;
}

static void forget_boot(struct daemon *d)
{
	auto_free char *path = path_join(d->dir, "boot_id");

	if (unlink(path) < 0 && errno != ENOENT)
		log_error("cannot remove file", LOG_STR("path", path), LOG_STR("error", strerror(errno)));
}

static void on_audit_damage(void *arg, const char *message)
{
	struct daemon *d = arg;

	warnings_raise(d->api.warnings, "Audit log damaged", "high", "", message);
}

/* What tells administrators what happened and what is wrong. */
static int open_records(struct daemon *d, struct error *err)
{
	auto_free char *logs = path_join(d->dir, "logs");
	int r = warnings_new(d->db, &d->api.warnings, err);

	if (r == 0)
		r = audit_new(logs, d->db, &d->api.audit, err);
	if (r == 0)
		audit_on_damage(d->api.audit, on_audit_damage, d);
	return r;
}

static int start(struct daemon *d, struct error *err)
{
	auto_free char *db_path = path_join(d->dir, "database", "lxd.db");
	struct api *api = &d->api;
	struct instances_spec spec = {.lxd_dir = d->dir, .event = on_instance_event, .event_arg = d};
	struct http_handlers handlers;
	int fd, r = api_routes_check(err);

	if (r == 0)
		r = prepare_dir(d, err);
	if (r == 0)
		r = db_open(db_path, &d->db, err);
	if (r == 0)
		r = open_records(d, err);
	if (r == 0)
		r = store_new(d->db, &api->store, err);
	if (r == 0)
		r = trust_new(d->db, &api->trust, err);
	if (r == 0)
		r = candid_new(d->db, trust_access(api->trust), &api->candid, err);
	if (r == 0)
		api->rbac = rbac_new(api->store, api->trust);
	if (r == 0)
		r = images_new(api->store, d->dir, &api->images, err);
	if (r == 0)
		r = loop_new(&api->loop, err);
	if (r == 0)
		r = network_side_open(api, d->dir, err);
	if (r < 0)
		return r;
	api->lxd_dir = d->dir;
	api->started_ms = time_monotonic_ms();
	mutex_init(&api->server_lock);
	mutex_init(&api->config_lock);
	api->version = LXD_API_VERSION;
	api->shutdown = on_shutdown_request;
	api->shutdown_arg = d;
	api->events = events_new(api->loop);
	api->operations = operations_new(api->loop, api->events);
	api->image_tokens = image_tokens_new();
	log_events = api->events;
	log_set_sink(log_to_events);
	api->password_guard = password_guard_new(NULL);
	r = tokens_new(api, d->db, &api->tokens, err);
	if (r < 0)
		return r;
	spec.store = api->store;
	spec.images = api->images;
	spec.loop = api->loop;
	spec.networks = api->networks;
	r = instances_new(&spec, &api->instances, err);
	if (r == 0)
		r = loop_start(api->loop, err);
	if (r < 0)
		return r;
	r = check_boot(d, err);
	if (r < 0)
		return r;
	network_side_start(api);
	r = remote_side_prepare(api, &d->http, err);
	if (r < 0)
		return r;
	fd = open_socket(d, err);
	if (fd < 0)
		return fd;
	api->ready = true;
	handlers = api_http_handlers(api);
	r = http_server_start(fd, &handlers, &d->http, err);
	/* local callers are served whether the network can be or not */
	if (r == 0) {
		server_config_apply_stored(api);
		instances_snapshots_begin(api->instances);
	}
	return r;
}

static void *autostart_thread(void *arg)
{
	struct daemon *d = arg;

	instances_autostart(d->api.instances, d->api.boot);
	return NULL;
}

static int64_t shutdown_timeout_ms(struct daemon *d)
{
	auto_strmap struct strmap config = STRMAP_INIT;
	int64_t minutes = SHUTDOWN_TIMEOUT_MIN;
	const char *text;

	store_config_copy(d->api.store, &config);
	text = strmap_get(&config, "core.shutdown_timeout");
	if (text && (parse_i64(text, &minutes) < 0 || minutes < 0))
		minutes = SHUTDOWN_TIMEOUT_MIN;
	return MIN_OF(minutes, 24 * 60) * 60 * 1000;
}

static void wait_operations(struct daemon *d, sigset_t *signals)
{
	int64_t deadline = time_monotonic_ms() + shutdown_timeout_ms(d);

	while (time_monotonic_ms() < deadline && operations_running(d->api.operations)) {
		struct timespec t = {.tv_nsec = 100 * 1000 * 1000};
		int sig = sigtimedwait(signals, NULL, &t);

		/* somebody is in a hurry */
		if (sig == SIGINT || sig == SIGQUIT)
			return;
	}
}

/* Wait for the signal that ends the daemon, and do what it asks first. */
static void serve(struct daemon *d, sigset_t *signals)
{
	int sig = 0;

	while (sig != SIGTERM && sig != SIGINT && sig != SIGQUIT && sig != SIGPWR)
		sig = sigwaitinfo(signals, NULL);
	log_info("stopping", LOG_INT("signal", sig));
	d->api.shutting_down = true;
	instances_snapshots_end(d->api.instances);
	if (sig == SIGTERM || sig == SIGPWR)
		wait_operations(d, signals);
	if (sig == SIGPWR)
		instances_shutdown(d->api.instances, d->force);
	if (sig == SIGTERM || sig == SIGPWR)
		networks_quiesce(d->api.networks);
	if (sig == SIGPWR) {
		networks_shutdown(d->api.networks);
		forget_boot(d);
	}
}

static void parse_options(struct daemon *d, int argc, char **argv)
{
	auto_error struct error err = ERROR_INIT;
	int c;

	while ((c = getopt_long(argc, argv, "dvh", long_options, NULL)) != -1) {
		switch (c) {
		case 'g':
			d->group = xstrdup(optarg);
			break;
		case 'l':
			if (log_set_file(optarg, &err) < 0) {
				fprintf(stderr, "Error: %s\n", error_msg(&err));
				exit(1);
			}
			break;
		case 'd':
			log_set_level(LOG_LEVEL_DEBUG);
			break;
		case 'v':
			log_set_level(LOG_LEVEL_INFO);
			break;
		case 'V':
			puts(LXD_API_VERSION);
			exit(0);
		case 'h':
			usage(stdout);
			exit(0);
		default:
			exit(1);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "Error: unknown command \"%s\" for \"lxd\"\n", argv[optind]);
		exit(1);
	}
}

static void raise_limits(void)
{
	struct rlimit lim;

	/* threads come and go: few arenas keep the heap small */
	mallopt(M_ARENA_MAX, 2);
	/* a large answer is served from the heap again and again: mapping and faulting in its pages costs more than
	 * filling it */
	mallopt(M_MMAP_THRESHOLD, 4 * 1024 * 1024);
	mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	umask(022);
	signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	static struct daemon d = {.lock_fd = -EBADF};
	auto_error struct error err = ERROR_INIT;
	const char *dir = getenv("LXD_DIR"), *socket_path = getenv("LXD_SOCKET");
	sigset_t signals;

	if (argc > 1 && argv[1][0] != '-')
		return run_admin(argv);
	parse_options(&d, argc, argv);
	if (geteuid() != 0) {
		fprintf(stderr, "Error: this must be run as root\n");
		return 1;
	}
	raise_limits();
	d.dir = xstrdup(str_is_empty(dir) ? "/var/lib/lxd" : dir);
	d.socket_path = str_is_empty(socket_path) ? path_join(d.dir, "unix.socket") : xstrdup(socket_path);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGPWR);
	/* every thread inherits the mask: signals come to this one */
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if (start(&d, &err) < 0) {
		fprintf(stderr, "Error: %s\n", error_msg(&err));
		return 1;
	}
	log_info("ready", LOG_STR("socket", d.socket_path));
	if (thread_start("autostart", autostart_thread, &d, &err) < 0)
		log_error("instances are not started", LOG_ERR(&err));
	serve(&d, &signals);
	remote_stop(d.api.remote);
	unlink(d.socket_path);
	audit_flush(d.api.audit);
	/* threads may still answer: the process ends here, all state is on disk */
	db_checkpoint(d.db);
	_exit(0);
}
