/*
 * Runs the daemon's side of lxd-container from the command line, for tests/e2e/test_container_helper.py. Not installed.
 * Commands come on stdin, one a line, words separated by tabs; one line of answer each: "ok ..." or "error ...".
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"
#include "instance/container.h"
#include "instance/netstate.h"

struct driver {
	struct container_host *host;
	struct strv words;
};

static const char *word(const struct driver *d, size_t i)
{
	return i < d->words.len ? d->words.items[i] : "";
}

static void answer_error(struct error *err)
{
	printf("error\t%d\t%d\t%s\n", err->status, err->errnum, error_msg(err));
}

static void answer_process(struct container_process *p)
{
	printf("ok\t%d\t%d\t%d\n", p->state, p->init_pid, p->monitor_pid);
	container_process_done(p);
}

/* Items of a file: "key = value" lines. */
static int read_conf(const char *path, struct lxcconf *ret, struct error *err)
{
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_strv struct strv lines = STRV_INIT;
	int r = file_read_at(AT_FDCWD, path, 1024 * 1024, &text, err);

	if (r < 0)
		return r;
	strv_split(&lines, strbuf_str(&text), '\n');
	for (size_t i = 0; i < lines.len; i++) {
		char *value = strstr(lines.items[i], " = ");

		if (!value)
			continue;
		*value = '\0';
		lxcconf_add(ret, lines.items[i], value + 3);
	}
	return 0;
}

/* start NAME ITEMS CONF LOG */
static int do_start(struct driver *d, struct error *err)
{
	auto_lxcconf struct lxcconf conf = LXCCONF_INIT;
	struct container_process p = CONTAINER_PROCESS_INIT;
	struct container_start_spec spec = {
		.name = word(d, 1), .conf = &conf, .conf_path = word(d, 3), .log_path = word(d, 4)};
	int64_t begin = time_now_ns();
	int r = read_conf(word(d, 2), &conf, err);

	if (r < 0)
		return r;
	r = container_start(d->host, &spec, &p, err);
	if (r < 0)
		return r;
	printf("ok\t%d\t%d\t%d\t%lld\n", p.state, p.init_pid, p.monitor_pid, (long long)(time_now_ns() - begin) / 1000);
	container_process_done(&p);
	return 0;
}

static int do_find(struct driver *d, struct error *err)
{
	struct container_process p = CONTAINER_PROCESS_INIT;
	int r = container_find(d->host, word(d, 1), &p, err);

	if (r == 0)
		answer_process(&p);
	return r;
}

/* What the daemon would keep from the start. */
static int open_process(struct driver *d, struct container_process *p, struct error *err)
{
	int r = container_find(d->host, word(d, 1), p, err);

	if (r == 0 && p->state == CONTAINER_STOPPED)
		return error_set(err, 400, "%s does not run", word(d, 1));
	return r;
}

static int wait_end(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms);
}

/* kill NAME, halt NAME: and wait for the monitor's end */
static int do_end(struct driver *d, struct error *err)
{
	auto_container_process struct container_process p = CONTAINER_PROCESS_INIT;
	int64_t begin = time_now_ns();
	int r = open_process(d, &p, err);

	if (r < 0)
		return r;
	r = streq(word(d, 0), "kill") ? container_kill(d->host, word(d, 1), err)
				      : container_halt(d->host, word(d, 1), err);
	if (r < 0)
		return r;
	if (wait_end(p.monitor_pidfd, 10000) != 1)
		return error_set(err, 500, "the monitor goes on");
	printf("ok\t%lld\n", (long long)(time_now_ns() - begin) / 1000);
	return 0;
}

static int do_reboot(struct driver *d, struct error *err)
{
	auto_container_process struct container_process p = CONTAINER_PROCESS_INIT;
	struct container_process next = CONTAINER_PROCESS_INIT;
	int r = open_process(d, &p, err);

	if (r == 0)
		r = container_reboot(d->host, word(d, 1), err);
	if (r < 0)
		return r;
	if (wait_end(p.init_pidfd, 10000) != 1)
		return error_set(err, 500, "init goes on");
	r = container_wait_running(d->host, word(d, 1), p.init_pid, p.monitor_pidfd, 10000, &next, err);
	if (r == 0)
		answer_process(&next);
	return r;
}

static int do_freeze(struct driver *d, struct error *err)
{
	int r = streq(word(d, 0), "freeze") ? container_freeze(d->host, word(d, 1), err)
					    : container_unfreeze(d->host, word(d, 1), err);

	if (r == 0)
		printf("ok\n");
	return r;
}

static void read_all(int fd, struct strbuf *out)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		strbuf_append_len(out, buf, (size_t)n);
}

/* Lines and tabs would break the answer. */
static void print_escaped(const char *s)
{
	for (; *s; s++) {
		if (*s == '\n')
			printf("\\n");
		else if (*s == '\t')
			printf("\\t");
		else if (*s != '\r')
			putchar(*s);
	}
}

/* exec NAME CONF UID GID CWD MODE SIGNAL ARGV...; MODE: pipe or pty; SIGNAL: sent after it has started, 0: none */
static int do_exec(struct driver *d, struct error *err)
{
	static const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
					  "HOME=/root", "LANG=C.UTF-8", NULL};
	auto_container_exec struct container_exec x = CONTAINER_EXEC_INIT;
	struct container_exec_spec spec = CONTAINER_EXEC_SPEC_INIT;
	struct container_exec_status st;
	auto_strbuf struct strbuf out = STRBUF_INIT;
	auto_close int rd = -EBADF;
	auto_close int wr = -EBADF;
	int pair[2], signum = 0, r;
	int64_t begin;
	uint32_t n = 0;

	if (parse_u32(word(d, 3), &spec.uid) < 0 || parse_u32(word(d, 4), &spec.gid) < 0 ||
	    parse_u32(word(d, 7), &n) < 0)
		return error_set(err, 400, "bad numbers");
	signum = (int)n;
	spec.name = word(d, 1);
	spec.conf_path = word(d, 2);
	spec.cwd = word(d, 5);
	spec.interactive = streq(word(d, 6), "pty");
	spec.width = 80;
	spec.height = 25;
	spec.argv = (const char *const *)d->words.items + 8;
	spec.env = env;
	if (pipe2(pair, O_CLOEXEC) < 0)
		return error_errno(err, errno, "pipe");
	rd = pair[0];
	wr = pair[1];
	spec.stdout_fd = spec.stderr_fd = wr;
	begin = time_now_ns();
	r = container_exec(d->host, &spec, &x, err);
	if (r < 0)
		return r;
	if (signum) {
		usleep(200 * 1000);
		r = container_exec_signal(&x, signum, err);
		if (r < 0)
			return r;
	}
	if (spec.interactive && x.pty_fd >= 0) {
		r = container_exec_resize(x.pty_fd, 101, 31, err);
		if (r < 0)
			return r;
		read_all(x.pty_fd, &out);
	} else {
		wr = fd_close(wr);
		read_all(rd, &out);
	}
	r = container_exec_read_status(&x, &st, err);
	if (r < 0)
		return r;
	printf("ok\t%d\t%d\t%lld\t", st.end, st.value, (long long)(time_now_ns() - begin) / 1000);
	print_escaped(strbuf_str(&out));
	printf("\n");
	return 0;
}

/* exec-bench NAME CONF COUNT: mean microseconds of exec true */
static int do_exec_bench(struct driver *d, struct error *err)
{
	static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	static const char *const argv[] = {"/bin/true", NULL};
	struct container_exec_spec spec = CONTAINER_EXEC_SPEC_INIT;
	struct container_exec_status st;
	int64_t begin = time_now_ns();
	uint32_t count = 1;
	int r = parse_u32(word(d, 3), &count);

	spec.name = word(d, 1);
	spec.conf_path = word(d, 2);
	spec.argv = argv;
	spec.env = env;
	for (uint32_t i = 0; i < count; i++) {
		auto_container_exec struct container_exec x = CONTAINER_EXEC_INIT;

		r = container_exec(d->host, &spec, &x, err);
		if (r == 0)
			r = container_exec_read_status(&x, &st, err);
		if (r < 0)
			return r;
	}
	printf("ok\t%lld\n", (long long)(time_now_ns() - begin) / 1000 / count);
	return 0;
}

/* net NAME: as read inside the container, and from outside */
static int do_net(struct driver *d, struct error *err)
{
	auto_container_process struct container_process p = CONTAINER_PROCESS_INIT;
	auto_free char *json = NULL;
	auto_free char *outside = NULL;
	int r = open_process(d, &p, err);

	if (r == 0)
		r = container_net_state(d->host, p.init_pidfd, &json, err);
	if (r == 0)
		r = netstate_read(p.init_pidfd, p.init_pid, &outside, err);
	if (r == 0)
		printf("ok\t%s\t%s\n", json, outside);
	return r;
}

/* mount NAME SOURCE TARGET FLAGS (of r, s) */
static int do_mount(struct driver *d, struct error *err)
{
	auto_container_process struct container_process p = CONTAINER_PROCESS_INIT;
	auto_close int source = open(word(d, 2), O_PATH | O_CLOEXEC);
	struct container_mount_spec spec = {.source_fd = source, .target = word(d, 3)};
	bool created = false;
	int r = open_process(d, &p, err);

	if (r < 0)
		return r;
	spec.init_pidfd = p.init_pidfd;
	spec.readonly = strchr(word(d, 4), 'r');
	spec.shift = strchr(word(d, 4), 's');
	r = container_mount(d->host, &spec, &created, err);
	if (r == 0)
		printf("ok\t%d\n", created);
	return r;
}

/* umount NAME TARGET REMOVE */
static int do_umount(struct driver *d, struct error *err)
{
	auto_container_process struct container_process p = CONTAINER_PROCESS_INIT;
	int r = open_process(d, &p, err);

	if (r == 0)
		r = container_umount(d->host, p.init_pidfd, word(d, 2), streq(word(d, 3), "1"), err);
	if (r == 0)
		printf("ok\n");
	return r;
}

/* cgset NAME KEY VALUE; cgget NAME KEY */
static int do_cgroup(struct driver *d, struct error *err)
{
	auto_free char *value = NULL;
	int r;

	if (streq(word(d, 0), "cgset")) {
		r = container_cgroup_set(d->host, word(d, 1), word(d, 2), word(d, 3), err);
		if (r == 0)
			printf("ok\n");
		return r;
	}
	r = container_cgroup_get(d->host, word(d, 1), word(d, 2), &value, err);
	if (r == 0) {
		printf("ok\t");
		print_escaped(value);
		printf("\n");
	}
	return r;
}

static int do_usage(struct driver *d, struct error *err)
{
	auto_container_process struct container_process p = CONTAINER_PROCESS_INIT;
	struct cgroup_layout layout = CGROUP_LAYOUT_INIT;
	struct cgroup_usage u;
	int r = open_process(d, &p, err);

	if (r == 0)
		r = cgroup_layout_read("", &layout, err);
	if (r == 0)
		r = cgroup_usage_read(&layout, p.init_pid, &u, err);
	if (r == 0)
		printf("ok\t%s\t%lld\t%lld\t%lld\n", cgroup_kind_name(layout.kind), (long long)u.memory_bytes,
		       (long long)u.cpu_ns, (long long)u.processes);
	cgroup_layout_done(&layout);
	return r;
}

struct many {
	struct driver *d;
	unsigned number;
	int result;
	char *message;
};

static void *start_one(void *arg)
{
	struct many *m = arg;
	auto_error struct error err = ERROR_INIT;
	struct driver d = {.host = m->d->host};
	auto_lxcconf struct lxcconf conf = LXCCONF_INIT;
	struct container_process p = CONTAINER_PROCESS_INIT;
	auto_free char *name = xasprintf("%s%u", word(m->d, 1), m->number);
	auto_free char *items = xasprintf("%s/%s.items", word(m->d, 2), name);
	auto_free char *saved = xasprintf("%s/%s.conf", word(m->d, 2), name);
	auto_free char *log = xasprintf("%s/%s.log", word(m->d, 2), name);
	struct container_start_spec spec = {.name = name, .conf = &conf, .conf_path = saved, .log_path = log};

	m->result = read_conf(items, &conf, &err);
	if (m->result == 0)
		m->result = container_start(d.host, &spec, &p, &err);
	if (m->result < 0)
		m->message = xstrdup(error_msg(&err));
	container_process_done(&p);
	return NULL;
}

/* start-many PREFIX DIR COUNT: all at once, from DIR/<name>.items */
static int do_start_many(struct driver *d, struct error *err)
{
	pthread_t threads[64];
	struct many jobs[64] = {0};
	int64_t begin = time_now_ns();
	uint32_t count = 0;
	int r = parse_u32(word(d, 3), &count);

	if (r < 0 || count > ARRAY_SIZE(jobs))
		return error_set(err, 400, "bad count");
	for (uint32_t i = 0; i < count; i++) {
		jobs[i] = (struct many){.d = d, .number = i};
		r = thread_start_joinable("start", start_one, &jobs[i], &threads[i], err);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t i = 0; i < count; i++)
		if (jobs[i].result < 0)
			return error_set(err, 500, "container %u: %s", i, jobs[i].message);
	printf("ok\t%lld\n", (long long)(time_now_ns() - begin) / 1000);
	return 0;
}

static int do_zygote(struct driver *d, struct error *err)
{
	int r = container_host_warm(d->host, err);

	if (r == 0)
		printf("ok\t%d\n", container_host_pid(d->host));
	return r;
}

static const struct {
	const char *name;
	int (*run)(struct driver *d, struct error *err);
} commands[] = {
	{"start", do_start},
	{"find", do_find},
	{"kill", do_end},
	{"halt", do_end},
	{"reboot", do_reboot},
	{"freeze", do_freeze},
	{"unfreeze", do_freeze},
	{"exec", do_exec},
	{"net", do_net},
	{"mount", do_mount},
	{"umount", do_umount},
	{"cgset", do_cgroup},
	{"cgget", do_cgroup},
	{"usage", do_usage},
	{"zygote", do_zygote},
	{"start-many", do_start_many},
	{"exec-bench", do_exec_bench},
};

static void run_line(struct driver *d, const char *line)
{
	auto_error struct error err = ERROR_INIT;

	strv_split(&d->words, line, '\t');
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!streq(commands[i].name, word(d, 0)))
			continue;
		if (commands[i].run(d, &err) < 0)
			answer_error(&err);
		goto out;
	}
	printf("error\t400\t22\tunknown command %s\n", word(d, 0));
out:
	fflush(stdout);
	strv_done(&d->words);
}

/* ct-driver LXD-CONTAINER LXCPATH */
int main(int argc, char **argv)
{
	struct driver d = {0};
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	if (argc != 3)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	d.host = container_host_new(argv[1], argv[2]);
	while ((n = getline(&line, &room, stdin)) > 0) {
		line[n - (line[n - 1] == '\n')] = '\0';
		run_line(&d, line);
	}
	free(line);
	container_host_free(d.host);
	return 0;
}
