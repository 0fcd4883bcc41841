#include "base/userns.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"

/* @pid has left for a user namespace of its own, says so on @gone, and waits there. */
static int map_and_enter(pid_t pid, int gone, const char *uid_map, const char *gid_map, struct error *err)
{
	auto_free char *uids = xasprintf("/proc/%d/uid_map", pid);
	auto_free char *gids = xasprintf("/proc/%d/gid_map", pid);
	auto_free char *ns = xasprintf("/proc/%d/ns/user", pid);
	auto_close int fd = -EBADF;
	char c;
	int r;

	if (fd_read_full(gone, &c, 1) != 1)
		return error_set(err, 500, "Make a user namespace for the instance's files");
	r = file_write_kernel(AT_FDCWD, uids, uid_map);
	if (r == 0)
		r = file_write_kernel(AT_FDCWD, gids, gid_map);
	if (r < 0)
		return error_errno(err, -r, "Set the id map for the instance's files");
	fd = open(ns, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWUSER) < 0)
		return error_errno(err, errno, "Enter the user namespace for the instance's files");
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return error_errno(err, errno, "Become root of the instance's ids");
	return 0;
}

int userns_enter(const char *uid_map, const char *gid_map, struct error *err)
{
	int gone[2], r;
	pid_t pid;

	if (pipe2(gone, O_CLOEXEC) < 0)
		return error_errno(err, errno, "Make a pipe");
	pid = fork();
	if (pid < 0)
		return error_errno(err, errno, "Fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWUSER) < 0 || write(gone[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(gone[1]);
	r = map_and_enter(pid, gone[0], uid_map, gid_map, err);
	close(gone[0]);
	kill(pid, SIGKILL); /* while the rights over it are there */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}
