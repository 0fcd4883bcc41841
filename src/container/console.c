/*
 * Attaching to the console of a running container, which its monitor keeps. What is written to the console goes to a
 * file too, without us.
 *
 * The monitor copies between the console and a terminal that it makes for who attaches, for as long as the connection
 * to its command socket lasts; a process of ours holds that. liblxc tells the monitor of a new size only from its own
 * client's loop, so the daemon sets the size of the console itself.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "container/container.h"

#define CONSOLE_TTY 0    /* liblxc's number of the console */
#define SEE_OFF_MS 10000 /* a monitor that hangs for another reason is not waited for */
/* Major numbers of devpts' terminals: Linux, Documentation/admin-guide/devices.txt. */
#define PTS_MAJOR_FIRST 136u
#define PTS_MAJOR_LAST 143u

/* The copying is of bytes: no line end becomes another on the way. */
static void make_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t) < 0)
		return;
	cfmakeraw(&t);
	(void)!tcsetattr(fd, TCSANOW, &t);
}

/*
 * /dev/console as the container has it. What it is there is for the container to say: whatever is no terminal is not
 * opened; what is done to another terminal of the container harms nobody else. Negative: none.
 */
static int open_console(struct lxc_container *c)
{
	auto_free char *path = xasprintf("/proc/%d/root", c->init_pid(c));
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	auto_close int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_close int found = root < 0 ? -EBADF : (int)syscall(SYS_openat2, root, "dev/console", &how, sizeof(how));
	auto_free char *again = xasprintf("/proc/self/fd/%d", found);
	struct statfs fs;
	struct stat st;

	if (found < 0 || fstatfs(found, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC || fstat(found, &st) < 0 ||
	    !S_ISCHR(st.st_mode) || major(st.st_rdev) < PTS_MAJOR_FIRST || major(st.st_rdev) > PTS_MAJOR_LAST)
		return -ENOTTY;
	return open(again, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* liblxc says no more than that it was denied. */
static int explain(struct lxc_container *c, struct lxc_log_mark *mark, struct error *err)
{
	auto_free char *path = NULL;
	int r = lxc_log_error(mark, err, 500, "Attach to the console");

	if (!strstr(error_msg(err), "Denied access to tty"))
		return r;
	error_clear(err);
	path = c->get_running_config_item(c, "lxc.console.path");
	if (path && streq(path, "none"))
		return error_set(err, 400, "The instance has no console: its lxc.console.path is \"none\"");
	error_set(err, 400, "The console is in use: another client is attached to it");
	err->errnum = EBUSY;
	return -EBUSY;
}

/*
 * The monitor may be in the middle of a write to the terminal, and as it has the terminal's other end open itself, it
 * would never get to see that nobody reads any more: then the container could not even be stopped. So this process
 * stays, whatever becomes of the daemon, and reads on until the monitor has closed the terminal.
 */
static void see_off(int daemon, int connection, int terminal)
{
	struct pollfd wait[] = {{.fd = daemon, .events = POLLRDHUP}, {.fd = connection, .events = POLLRDHUP}};
	struct pollfd rest = {.fd = terminal, .events = POLLIN};
	char scrap[4096];
	ssize_t n;

	while (poll(wait, ARRAY_SIZE(wait), -1) < 0 && errno == EINTR)
		;
	(void)!shutdown(connection, SHUT_RDWR);
	do
		n = poll(&rest, 1, SEE_OFF_MS) > 0 ? read(terminal, scrap, sizeof(scrap)) : 0;
	while (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
}

int request_console(struct request *rq, struct error *err)
{
	struct wire_reader *in = &rq->msg.reader;
	auto_free char *lxcpath = wire_get_str(in);
	auto_free char *name = wire_get_str(in);
	struct lxc_log_mark mark = LXC_LOG_MARK_INIT;
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct lxc_container *c;
	int connection, fds[2], tty = CONSOLE_TTY, r;

	if (!wire_done(in) || !lxcpath || !name)
		return request_malformed(err);
	c = container_open_running(name, lxcpath, &mark, err);
	if (!c)
		return -err->errnum;
	connection = c->console_getfd(c, &tty, &fds[0]);
	if (connection < 0)
		return explain(c, &mark, err);
	make_raw(fds[0]);
	fds[1] = open_console(c);
	wire_put_u32(&b, WIRE_REPLY_OK);
	r = request_reply(rq, &b, fds, fds[1] < 0 ? 1 : 2, err);
	fd_close(fds[1]);
	see_off(rq->sock, connection, fds[0]);
	return r;
}
