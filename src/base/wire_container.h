/*
 * What lxd and lxd-container say to each other. For each request lxd sends one byte and one end of a socket pair over
 * the helper's fd 3; on the pair goes one request message and come one or more replies (base/wire.h). The fields of
 * each message stand beside its number, in their order.
 */
#pragma once

enum wire_container_request {
	/* lxcpath, name, conf_path, log_path, u32 count, count * (key, value) -> PROCESS */
	WIRE_CONTAINER_START = 1,
	/* lxcpath, name -> PROCESS */
	WIRE_CONTAINER_FIND,
	/* lxcpath, name, u32 old init pid, u32 timeout_ms; fd: monitor's pidfd -> PROCESS */
	WIRE_CONTAINER_WAIT_RUNNING,
	/* lxcpath, name, u32 enum wire_container_action -> OK */
	WIRE_CONTAINER_CONTROL,
	/*
	 * lxcpath, name, conf_path, u32 uid, u32 gid, cwd, u32 interactive, u32 width, u32 height, u32 bits of the
	 * stdio fds that follow (1, 2, 4), argv, env -> STARTED, then STATUS or ERROR
	 */
	WIRE_CONTAINER_EXEC,
	/* none; fd: init's pidfd -> OK with JSON text */
	WIRE_CONTAINER_NET_STATE,
	/* none; fd: init's pidfd -> OK; fd: an rtnetlink socket of its network namespace */
	WIRE_CONTAINER_NET_SOCKET,
	/* target, u32 WIRE_MOUNT_ bits, propagation; fds: init's pidfd, source -> OK with u32 created */
	WIRE_CONTAINER_MOUNT,
	/* target, u32 remove; fd: init's pidfd -> OK */
	WIRE_CONTAINER_UMOUNT,
	/* lxcpath, name, key, value -> OK */
	WIRE_CONTAINER_CGROUP_SET,
	/* lxcpath, name, key -> OK with the text */
	WIRE_CONTAINER_CGROUP_GET,
	/*
	 * lxcpath, name -> OK; fds: the terminal, the console as the container has it, if it has. The end of either
	 * side's socket is that of being attached.
	 */
	WIRE_CONTAINER_CONSOLE,
	/*
	 * u32 enum wire_file_verb, path, u32 WIRE_FILE_ bits, u32 uid, gid, mode (all ones: not given), link's target,
	 * u32 running, user and group map as the kernel takes them (NULL: none); fds: init's pidfd when running, else
	 * the root folder, and for writing the body's pipe -> OK with u32 type, uid, gid, mode, u64 seconds, text (a
	 * link's target); fd: content, or a folder's names, each ended by NUL. For writing the first OK means that the
	 * body may come; when it has ended the daemon sends one u32, and a second OK follows.
	 */
	WIRE_CONTAINER_FILE,
	WIRE_CONTAINER_REQUEST_MAX,
};

enum wire_file_verb {
	WIRE_FILE_READ = 1,
	WIRE_FILE_WRITE,
	WIRE_FILE_MAKE_FOLDER,
	WIRE_FILE_MAKE_LINK,
	WIRE_FILE_REMOVE,
	WIRE_FILE_VERB_MAX,
};

enum wire_file_type { WIRE_FILE_REGULAR = 1, WIRE_FILE_FOLDER, WIRE_FILE_LINK };
/* For writing: at the end of a file that is there. */
#define WIRE_FILE_APPEND 1u
#define WIRE_FILE_NOT_GIVEN 0xffffffffu

enum wire_container_action {
	WIRE_ACTION_KILL = 1,
	WIRE_ACTION_HALT,
	WIRE_ACTION_REBOOT,
	WIRE_ACTION_FREEZE,
	WIRE_ACTION_UNFREEZE,
	WIRE_ACTION_MAX,
};

enum wire_container_reply {
	/* status, errnum, message */
	WIRE_REPLY_ERROR = 1,
	/* what the request says */
	WIRE_REPLY_OK,
	/* u32 state, u32 init pid, u32 monitor pid; fds (unless stopped): pidfds of init and monitor */
	WIRE_REPLY_PROCESS,
	/* u32 pid; fds: pidfd, and the terminal when interactive */
	WIRE_REPLY_STARTED,
	/* u32 enum container_exec_end, u32 value */
	WIRE_REPLY_STATUS,
};

enum {
	WIRE_MOUNT_READONLY = 1,
	WIRE_MOUNT_RECURSIVE = 2,
	WIRE_MOUNT_SHIFT = 4,
};

/* An option of mount entries that liblxc does not get to see: no symbolic link on the way to the source. */
#define WIRE_MOUNT_NOFOLLOW "x-lxd.nofollow"

/* Values of the fields above, the same on both sides. */
enum wire_container_state { WIRE_STATE_STOPPED, WIRE_STATE_RUNNING, WIRE_STATE_FROZEN };
enum wire_exec_end { WIRE_EXEC_EXITED, WIRE_EXEC_SIGNALED, WIRE_EXEC_NOT_FOUND, WIRE_EXEC_NOT_EXECUTABLE };
