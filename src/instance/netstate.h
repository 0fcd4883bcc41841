/* A running container's network interfaces, read by the daemon itself: no process, no change of namespace. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

/*
 * The same JSON text as container_net_state(). @init_pidfd is borrowed; @init_pid is its pid. The caller frees
 * *@ret_json. -ESRCH: the process has ended. -EOPNOTSUPP or -EINVAL: the kernel lacks the means. The id that the
 * container's namespace gets here stays until that namespace goes.
 */
int netstate_read(int init_pidfd, pid_t init_pid, char **ret_json, struct error *err);
/* The network namespace of the process; the caller closes the fd. -ESRCH: it has ended. */
int netstate_open_namespace(int init_pidfd, pid_t init_pid, struct error *err);
