/*
 * The daemon's side of the program lxd-container: everything that liblxc, a fork or a namespace is needed for.
 *
 * One "zygote" process is started on first use, and again when it has died; it forks a child per request, so any
 * number of threads may call at the same time. Every call blocks its thread until the answer or the time limit.
 * Names and paths given here have been checked by the caller; nothing is parsed by a shell on the way.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/strv.h"
#include "instance/lxcconf.h"

struct container_host;

/*
 * @program: path of lxd-container, NULL: beside the daemon or in libexec. @lxcpath: liblxc's path, by which running
 * containers are found again; it must be the same after a restart of the daemon, and exist. Starts nothing yet.
 */
struct container_host *container_host_new(const char *program, const char *lxcpath);
/* Ends the zygote (running containers and commands go on). NULL is fine. */
void container_host_free(struct container_host *h);
DEFINE_CLEANUP(struct container_host *, container_host_free)
/*
 * Wait until nothing of an earlier daemon's zygote is at work on this lxcpath: a start that was cut from its daemon
 * ends by stopping the container again. Before container_find() after a restart. -ETIMEDOUT.
 */
int container_host_settle(struct container_host *h, unsigned timeout_ms, struct error *err);
/* Start the zygote now, so that the first start need not wait for it. */
int container_host_warm(struct container_host *h, struct error *err);
/* Process id of the zygote, 0 while there is none (for tests and resource figures). */
pid_t container_host_pid(struct container_host *h);

enum container_state { CONTAINER_STOPPED, CONTAINER_RUNNING, CONTAINER_FROZEN };

/* A container's two processes as the host sees them. The pidfds are owned by this struct. */
struct container_process {
	enum container_state state;
	pid_t init_pid; /* 0 when stopped */
	int init_pidfd; /* -EBADF when stopped; readable (POLLIN) when init has ended */
	pid_t monitor_pid;
	int monitor_pidfd; /* readable when the monitor has ended: the container is gone for good */
};

#define CONTAINER_PROCESS_INIT ((struct container_process){.init_pidfd = -EBADF, .monitor_pidfd = -EBADF})
#define auto_container_process CLEANUP(container_process_done)
void container_process_done(struct container_process *p);

struct container_start_spec {
	const char *name;           /* liblxc's name of the container */
	const struct lxcconf *conf; /* from lxcconf_build() */
	const char *conf_path;      /* the configuration is saved here (logs/<n>/lxc.conf) for exec and for people */
	const char *log_path;       /* liblxc's log; a failure's message is taken from what this start wrote there */
	unsigned timeout_ms;        /* 0: one minute */
};

/*
 * Start and wait until init runs. An error names the step, and the path or syscall and errno that liblxc logged.
 * -EEXIST (400): it is running already. -EINVAL (400): a bad configuration item, named.
 */
int container_start(struct container_host *h, const struct container_start_spec *spec, struct container_process *ret,
		    struct error *err);
/* Is it running? Never an error because it is not: state is CONTAINER_STOPPED then. */
int container_find(struct container_host *h, const char *name, struct container_process *ret, struct error *err);
/*
 * For a reboot: init @old_init_pid has ended, the monitor is about to start the next one. Waits for that; state is
 * CONTAINER_STOPPED when the monitor has ended instead. @timeout_ms 0: one minute. -ETIMEDOUT.
 */
int container_wait_running(struct container_host *h, const char *name, pid_t old_init_pid, int monitor_pidfd,
			   unsigned timeout_ms, struct container_process *ret, struct error *err);
/* Thaw and kill everything; returns when liblxc has accepted it: wait for monitor_pidfd to see it gone. */
int container_kill(struct container_host *h, const char *name, struct error *err);
/* Send the halt signal (lxc.signal.halt of the running configuration, SIGPWR otherwise); returns at once. */
int container_halt(struct container_host *h, const char *name, struct error *err);
/* Send the reboot signal (lxc.signal.reboot, SIGINT otherwise); returns at once. */
int container_reboot(struct container_host *h, const char *name, struct error *err);
/* Returns when the cgroup reports frozen or thawed. */
int container_freeze(struct container_host *h, const char *name, struct error *err);
int container_unfreeze(struct container_host *h, const char *name, struct error *err);

struct container_exec_spec {
	const char *name;
	const char *conf_path;   /* as saved by the start */
	const char *const *argv; /* at least one; looked up in the PATH of @env when it has no slash */
	const char *const *env;  /* the whole environment, "KEY=value"; the caller makes the defaults */
	uid_t uid;               /* container ids */
	gid_t gid;
	const char *cwd;  /* NULL, "" or missing in the container: "/" */
	bool interactive; /* a terminal from the container's devpts; the three fds are not used then */
	unsigned width;   /* 0: unknown */
	unsigned height;
	int stdin_fd; /* borrowed; negative: /dev/null */
	int stdout_fd;
	int stderr_fd;
};

#define CONTAINER_EXEC_SPEC_INIT ((struct container_exec_spec){.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1})

enum container_exec_end {
	CONTAINER_EXEC_EXITED,         /* value: exit code */
	CONTAINER_EXEC_SIGNALED,       /* value: signal number */
	CONTAINER_EXEC_NOT_FOUND,      /* value: errno of execve (ENOENT, ENOTDIR): 127, "Command not found" */
	CONTAINER_EXEC_NOT_EXECUTABLE, /* value: errno of execve (EACCES, ENOEXEC ...): 126, "Command not executable" */
};

struct container_exec_status {
	enum container_exec_end end;
	int value;
};

/*
 * A command that was started. Unless @ended, poll @sock for POLLIN to learn that it has ended, then read its status.
 */
struct container_exec {
	int sock;
	pid_t pid;  /* on the host; 0 when it could not be executed and @ended says so at once */
	int pidfd;  /* -EBADF when there is no pid */
	int pty_fd; /* the terminal's master side when interactive, else -EBADF. Closing it hangs the command up */
	bool ended; /* the status is here already */
	struct container_exec_status status; /* private: use container_exec_read_status() */
};

#define CONTAINER_EXEC_INIT ((struct container_exec){.sock = -EBADF, .pidfd = -EBADF, .pty_fd = -EBADF})
#define auto_container_exec CLEANUP(container_exec_done)
/* Close what is open; a command that still runs goes on running. */
void container_exec_done(struct container_exec *x);

/*
 * Run a command in all namespaces of a running container with its seccomp policy, capabilities, LSM label and
 * cgroups, no supplementary groups and no other fd than 0, 1, 2. Returns when it has been started, or when it could
 * not be executed: that too is told by the status. -EINVAL (400): not running.
 */
int container_exec(struct container_host *h, const struct container_exec_spec *spec, struct container_exec *ret,
		   struct error *err);
/* Only the command itself gets it, not its children. -ESRCH: it has ended. */
int container_exec_signal(struct container_exec *x, int signum, struct error *err);
/* Works on the terminal's master side, whoever owns it by then. */
int container_exec_resize(int pty_fd, unsigned width, unsigned height, struct error *err);
/* How it ended; blocks until it has. May be called once. -EIO: the helper died first. */
int container_exec_read_status(struct container_exec *x, struct container_exec_status *ret, struct error *err);

/* Who is attached to a running container's console. */
struct container_console {
	int sock;   /* to the helper that sees to the end of it */
	int pty_fd; /* the console's bytes, both ways */
	int tty_fd; /* the container's side, for container_exec_resize(); -EBADF: the container has hidden it */
};

#define CONTAINER_CONSOLE_INIT ((struct container_console){.sock = -EBADF, .pty_fd = -EBADF, .tty_fd = -EBADF})
#define auto_container_console CLEANUP(container_console_done)
/* Detach, without waiting for it, and close what is open. */
void container_console_done(struct container_console *con);
/*
 * Attach to the console. -EBUSY (400): somebody else is attached; -EINVAL (400): the container does not run. pty_fd
 * must be read without a pause: the container's monitor waits for who does not, and so does all that is asked of it.
 */
int container_console(struct container_host *h, const char *name, struct container_console *ret, struct error *err);
/* Detach; container_console_wait() returns when it is done. */
void container_console_detach(struct container_console *con);
/* Block until the container has stopped or the console was detached from. */
void container_console_wait(struct container_console *con);

/*
 * The "network" object of an instance's state as JSON text ({"lo":{...},"eth0":{...}}), read in the network namespace
 * of @init_pidfd (borrowed). The caller frees.
 */
int container_net_state(struct container_host *h, int init_pidfd, char **ret_json, struct error *err);

/*
 * An rtnetlink socket in the network namespace of @init_pidfd (borrowed): what it is asked and told concerns the
 * container. The caller closes *@ret_sock.
 */
int container_net_socket(struct container_host *h, int init_pidfd, int *ret_sock, struct error *err);

struct container_mount_spec {
	int init_pidfd;     /* borrowed */
	int source_fd;      /* borrowed, O_PATH is enough: a folder, file or device node on the host */
	const char *target; /* path in the container; its symbolic links resolve inside the container's root */
	bool readonly;
	bool recursive;
	bool shift;              /* idmapped by the container's user namespace; ignored for privileged ones */
	const char *propagation; /* NULL: private; shared, slave, unbindable, or with r in front */
};

/*
 * Bind a host path into a running container. Missing parts of the target are made, as the container's root;
 * *@ret_created tells whether the last one was. Errors name the step and the path.
 */
int container_mount(struct container_host *h, const struct container_mount_spec *spec, bool *ret_created,
		    struct error *err);
/* Detach what is mounted at @target; with @remove_target the empty file or folder below is removed too. */
int container_umount(struct container_host *h, int init_pidfd, const char *target, bool remove_target,
		     struct error *err);

enum container_file_type { CONTAINER_FILE_REGULAR = 1, CONTAINER_FILE_FOLDER, CONTAINER_FILE_LINK };

/* Where the files are: a running container's own view, or the root folder of a stopped one. Borrowed. */
struct container_file_place {
	int init_pidfd; /* -EBADF: stopped */
	int root_fd;
	const char *uid_map; /* lines of the kernel's id maps by which the folder's owners are shifted; NULL: not */
	const char *gid_map;
};

/* What is made; all ones: not given. */
struct container_file_owner {
	uint32_t uid, gid, mode;
};

struct container_file {
	enum container_file_type type;
	uint32_t uid, gid, mode;
	int64_t mtime; /* seconds since the epoch */
	char *target;  /* of a link */
	int fd;        /* content of a file; names in a folder, each ended by NUL */
};

#define CONTAINER_FILE_INIT ((struct container_file){.fd = -EBADF})
#define auto_container_file CLEANUP(container_file_done)
void container_file_done(struct container_file *f);

/*
 * Files of a container, by a path beneath its root that can lead nowhere else. Errors: 404 `Not Found`; 400 what is no
 * file of the right kind; 403 files of the kernel's; else 500 naming the path.
 */
int container_file_read(struct container_host *h, const struct container_file_place *at, const char *path,
			struct container_file *ret, struct error *err);
int container_file_make_folder(struct container_host *h, const struct container_file_place *at, const char *path,
			       const struct container_file_owner *o, struct error *err);
int container_file_make_link(struct container_host *h, const struct container_file_place *at, const char *path,
			     const char *target, const struct container_file_owner *o, struct error *err);
int container_file_remove(struct container_host *h, const struct container_file_place *at, const char *path,
			  struct error *err);

/* A file on its way into a container. */
struct container_upload {
	int sock;
	int pipe;
};

#define CONTAINER_UPLOAD_INIT ((struct container_upload){.sock = -EBADF, .pipe = -EBADF})
/* Begin; a file that is there is emptied now unless @append, a new one appears when it is complete. */
int container_upload_begin(struct container_host *h, const struct container_file_place *at, const char *path,
			   bool append, const struct container_file_owner *o, struct container_upload *ret,
			   struct error *err);
/* Waits while the container's file system takes no more, at most a minute. */
int container_upload_write(struct container_upload *u, const void *data, size_t len, struct error *err);
int container_upload_finish(struct container_upload *u, struct error *err);
/* Of an upload that was not finished a new file goes away. */
void container_upload_done(struct container_upload *u);

/*
 * Write a cgroup file of a running container by its liblxc name: "memory.limit_in_bytes" (v1), "memory.max" (v2),
 * "devices.allow" and "devices.deny" (both). The monitor translates device lines on v2.
 */
int container_cgroup_set(struct container_host *h, const char *name, const char *key, const char *value,
			 struct error *err);
/* The file's text; the caller frees. */
int container_cgroup_get(struct container_host *h, const char *name, const char *key, char **ret_value,
			 struct error *err);
/* Allow or deny one device rule on a running container. */
int container_device_rule(struct container_host *h, const char *name, const struct device_rule *rule, bool allow,
			  struct error *err);
