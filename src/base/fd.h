/* File descriptors and whole files. All fds made here are close-on-exec. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/strbuf.h"

/* Close when >= 0, keep errno, return -EBADF: fd = fd_close(fd). */
int fd_close(int fd);
/* Read until @len bytes or end of file; bytes read, or negative errno. EINTR is retried. */
ssize_t fd_read_full(int fd, void *buf, size_t len) MUST_USE;
/* Write all; 0 or negative errno. */
int fd_write_full(int fd, const void *buf, size_t len) MUST_USE;
int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/* Read a whole file below @dirfd (AT_FDCWD for a plain path), at most @max bytes (-EFBIG beyond). */
int file_read_at(int dirfd, const char *path, size_t max, struct strbuf *ret, struct error *err);
/* Replace @path: temporary file in the same folder, write, fsync, rename, fsync of the folder. */
int file_replace_at(int dirfd, const char *path, const void *data, size_t len, mode_t mode, struct error *err);
/* Write a file that is made anew each time it is needed: neither atomic nor durable. An old one is overwritten. */
int file_write_at(int dirfd, const char *path, const void *data, size_t len, mode_t mode, struct error *err);
/* Write @text to an existing kernel file (proc, sys, cgroup) in one write. Negative errno. */
int file_write_kernel(int dirfd, const char *path, const char *text) MUST_USE;
/* mkdir -p below @dirfd for a trusted path; existing folders are fine and keep their mode. */
int dir_make_all(int dirfd, const char *path, mode_t mode, struct error *err);
/* fsync a folder by path below @dirfd. */
int dir_sync(int dirfd, const char *path, struct error *err);

/* Send or receive one message with up to @nfds fds (SCM_RIGHTS, close-on-exec) on a UNIX socket. */
int fd_send(int sock, const void *buf, size_t len, const int *fds, size_t nfds) MUST_USE;
/*
 * Bytes received (0: peer closed), or negative errno. *@nfds is in: room, out: how many arrived; the
 * caller owns them. More fds than room, or truncated data: -EMSGSIZE with nothing left open.
 */
ssize_t fd_recv(int sock, void *buf, size_t len, int *fds, size_t *nfds) MUST_USE;
