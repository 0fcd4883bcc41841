/*
 * Who answers for a container. liblxc asks whoever holds the abstract socket of the container's name, and any process
 * of the host may bind that name while the container does not run; so this looks before liblxc asks, and afterwards.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "container/container.h"

#define CONNECT_SECONDS 5

/* FNV-1a, as liblxc shortens names with it. */
static uint64_t hash_name(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	return h;
}

/* The address that liblxc's monitor listens on. */
static socklen_t command_address(const char *name, const char *lxcpath, struct sockaddr_un *ret)
{
	auto_free char *where = xasprintf("%s/%s", lxcpath, name);
	auto_free char *text = xasprintf("%s/command", where);

	if (strlen(text) >= sizeof(ret->sun_path) - 1) {
		free(text);
		text = xasprintf("lxc/%016" PRIx64 "/command", hash_name(where));
	}
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret->sun_path + 1, text, strlen(text));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(text));
}

int container_check_socket(const char *name, const char *lxcpath, struct error *err)
{
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval limit = {.tv_sec = CONNECT_SECONDS};
	struct sockaddr_un address;
	socklen_t len = command_address(name, lxcpath, &address);
	struct ucred peer;
	socklen_t peer_len = sizeof(peer);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return error_errno(err, errno, "Create a socket");
	if (connect(fd, (struct sockaddr *)&address, len) < 0) {
		if (errno == ECONNREFUSED)
			return 0;
		return error_errno(err, errno, "Connect to the control socket of container %s", name);
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) < 0)
		return error_errno(err, errno, "Look at the control socket of container %s", name);
	if (peer.uid != 0)
		return error_set(err, 500, "The control socket of container %s is held by uid %u", name, peer.uid);
	return 1;
}

/* Does @pid run our own program, perhaps an earlier version of it? */
static bool runs_our_program(pid_t pid)
{
	auto_free char *link = xasprintf("/proc/%d/exe", pid);
	static const char gone[] = " (deleted)";
	struct stat ours, theirs;
	char own_path[4096], path[4096];
	ssize_t own_len, len;

	if (stat("/proc/self/exe", &ours) == 0 && stat(link, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
	    ours.st_ino == theirs.st_ino)
		return true;
	own_len = readlink("/proc/self/exe", own_path, sizeof(own_path) - 1);
	len = readlink(link, path, sizeof(path) - 1);
	if (own_len <= 0 || len <= 0)
		return false;
	own_path[own_len] = path[len] = '\0';
	if (endswith(own_path, gone))
		own_path[own_len - (ssize_t)strlen(gone)] = '\0';
	if (endswith(path, gone))
		path[len - (ssize_t)strlen(gone)] = '\0';
	return streq(own_path, path);
}

/* Is @pid in the control groups of the container, or, when raw.lxc gave them other names, at least in no other's? */
static bool in_groups_of(pid_t pid, const char *name)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_free char *path = xasprintf("/proc/%d/cgroup", pid);
	auto_free char *own = xasprintf("/lxc.payload.%s", name);

	if (file_read_at(AT_FDCWD, path, 64 * 1024, &text, &err) < 0)
		return false;
	for (const char *at = strbuf_str(&text); (at = strstr(at, own)); at++)
		if (strchr("-/\n", at[strlen(own)])) /* liblxc numbers a group whose name was taken: "-1" */
			return true;
	return !strstr(strbuf_str(&text), "/lxc.payload.");
}

static bool is_root(pid_t pid)
{
	auto_error struct error err = ERROR_INIT;
	auto_strbuf struct strbuf text = STRBUF_INIT;
	auto_free char *path = xasprintf("/proc/%d/status", pid);

	return file_read_at(AT_FDCWD, path, 64 * 1024, &text, &err) == 0 &&
	       strstr(strbuf_str(&text), "\nUid:\t0\t0\t0\t0\n");
}

int container_check_processes(const char *name, pid_t init, pid_t monitor, struct error *err)
{
	const char *wrong = NULL;

	if (!is_root(monitor))
		wrong = "is not root's";
	else if (!runs_our_program(monitor))
		wrong = "is another program";
	else if (!in_groups_of(init, name))
		wrong = "has not started it: the process named as its init is in another container";
	if (!wrong)
		return 0;
	return error_set(err, 500, "The process %d that answers for container %s %s", monitor, name, wrong);
}
