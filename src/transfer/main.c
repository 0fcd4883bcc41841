/*
 * The program lxd-transfer: `lxd-transfer receive|send [FEATURE...]` runs rsync between the pipes on its standard input
 * and output and the folder on fd 3. Exit code: rsync's; 125 when the jail could not be made. Errors go to standard
 * error, whose last line is the cause.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "base/strv.h"
#include "transfer/transfer.h"

#define RSYNC "/usr/bin/rsync"
#define EXIT_JAIL 125

static const char *const environment[] = {"PATH=/usr/bin", "LANG=C.UTF-8", NULL};

/* What changes the bytes on the wire, so that both sides must have it: named by lxd as the two have agreed. */
static const struct {
	const char *name;
	char letter;
} features[] = {
	{"hardlinks", 'H'},
	{"acls", 'A'},
	{"xattrs", 'X'},
	{"compress", 'z'},
};

struct request {
	bool sending;
	struct strbuf letters;
	bool xattrs, compress;
};

static int request_parse(int argc, char **argv, struct request *req, struct error *err)
{
	if (argc < 2 || (!streq(argv[1], "receive") && !streq(argv[1], "send")))
		return error_set(err, 400, "lxd-transfer is started by lxd: receive or send, then features");
	req->sending = streq(argv[1], "send");
	for (int i = 2; i < argc; i++) {
		size_t k = 0;

		while (k < ARRAY_SIZE(features) && !streq(features[k].name, argv[i]))
			k++;
		if (k == ARRAY_SIZE(features))
			return error_set(err, 400, "Unknown transfer feature \"%s\"", argv[i]);
		strbuf_append_len(&req->letters, &features[k].letter, 1);
		req->xattrs = req->xattrs || streq(argv[i], "xattrs");
		req->compress = req->compress || streq(argv[i], "compress");
	}
	return 0;
}

/*
 * Of extended attributes only those that belong to the container: the rest is for the host's security modules, or
 * needs rights that nobody in here has.
 */
static void add_common(const struct request *req, struct strv *args)
{
	strv_add(args, "--numeric-ids");
	if (req->compress)
		strv_add(args, "--compress-level=2");
	if (req->xattrs) {
		strv_add(args, "--filter=+x user.*");
		strv_add(args, "--filter=+x security.capability");
		strv_add(args, "--filter=-x *");
	}
}

/* The letters behind "e." say what the peer's rsync understands at least: all since 3.0. */
static void receive_args(const struct request *req, struct strv *args)
{
	strv_add(args, "rsync");
	strv_add(args, "--server");
	strv_addf(args, "-logDtpr%se.iLsfx", strbuf_str(&req->letters));
	strv_add(args, "--sparse");
	strv_add(args, "--modify-window=-1"); /* times are compared to the nanosecond */
	strv_add(args, "--stderr=all");
	add_common(req, args);
	strv_add(args, ".");
	strv_add(args, JAIL_TREE "/");
}

static void send_args(const struct request *req, struct strv *args)
{
	strv_add(args, "rsync");
	strv_addf(args, "-logDtpr%s", strbuf_str(&req->letters));
	strv_add(args, "--rsh=" JAIL_SELF " relay");
	add_common(req, args);
	strv_add(args, JAIL_TREE "/");
	strv_add(args, "peer:/");
}

/* The sender's rsync speaks to the relay; what lxd gave as standard streams is kept for that. */
static int keep_for_relay(struct error *err)
{
	auto_close int low = open("/dev/null", O_RDWR | O_CLOEXEC);
	auto_close int null = low < 0 ? -EBADF : fcntl(low, F_DUPFD_CLOEXEC, RELAY_OUT_FD + 1);

	if (null < 0)
		return error_errno(err, errno, "Open /dev/null");
	low = fd_close(low); /* it may have one of the numbers that are wanted now */
	if (dup2(STDIN_FILENO, RELAY_IN_FD) < 0 || dup2(STDOUT_FILENO, RELAY_OUT_FD) < 0 ||
	    dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return error_errno(err, errno, "Move the standard streams");
	return 0;
}

static int run(const struct request *req, struct error *err)
{
	auto_strv struct strv args = STRV_INIT;
	int r = 0;

	if (req->sending)
		send_args(req, &args);
	else
		receive_args(req, &args);
	if (req->sending)
		r = keep_for_relay(err);
	if (r == 0)
		r = jail_split(err);
	if (r == 0)
		r = jail_enter(req->sending, err);
	if (r < 0)
		return r;
	execve(RSYNC, args.items, (char *const *)(uintptr_t)environment);
	return error_errno(err, errno, "Run " RSYNC);
}

int main(int argc, char **argv)
{
	auto_error struct error err = ERROR_INIT;
	struct request req = {0};
	int r;

	if (argc > 1 && streq(argv[1], "relay"))
		return relay_run();
	r = request_parse(argc, argv, &req, &err);
	if (r == 0)
		r = run(&req, &err);
	dprintf(STDERR_FILENO, "%s\n", error_msg(&err));
	return EXIT_JAIL;
}
