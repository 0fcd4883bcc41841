/*
 * A running container's network interfaces. The kernel tells those of another network namespace to whoever has
 * CAP_NET_ADMIN there and an id for it (Linux 4.20).
 */
#include "instance/netstate.h"

#include <fcntl.h>
#include <linux/net_namespace.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/interfaces.h"
#include "base/rtnetlink.h"

#ifndef PIDFD_GET_NET_NAMESPACE
#define PIDFD_GET_NET_NAMESPACE _IO(0xff, 4)
#endif

/* Before Linux 6.11: by path. The pid belonged to the process if that one is not reaped even now. */
static int open_namespace_by_pid(int pidfd, pid_t pid, struct error *err)
{
	auto_free char *path = xasprintf("/proc/%d/ns/net", pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	int saved = errno;

	if (syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0)
		return error_errno(err, errno, "Look at process %d", pid);
	if (fd < 0)
		return error_errno(err, saved == ENOENT ? ESRCH : saved, "Open %s", path);
	return TAKE_FD(fd);
}

int netstate_open_namespace(int pidfd, pid_t pid, struct error *err)
{
	int fd = ioctl(pidfd, PIDFD_GET_NET_NAMESPACE, 0);

	if (fd >= 0)
		return fd; /* close-on-exec: the kernel makes it so */
	if (errno == ESRCH)
		return error_errno(err, ESRCH, "Look at process %d", pid);
	return open_namespace_by_pid(pidfd, pid, err);
}

static int take_id(uint16_t type, struct rtnl_bytes body, void *arg)
{
	struct rtgenmsg head;
	struct rtnl_attr a;

	if (type != RTM_NEWNSID)
		return 0;
	if (!rtnl_take(&body, &head, sizeof(head)))
		return -EBADMSG;
	while (rtnl_next_attr(&body, &a))
		if (a.type == NETNSA_NSID)
			rtnl_copy(&a, arg, sizeof(int32_t));
	return 0;
}

static int find_id(int sock, int netns, int32_t *ret)
{
	struct rtnl_request ask;

	*ret = NETNSA_NSID_NOT_ASSIGNED;
	rtnl_request_init(&ask, RTM_GETNSID, NLM_F_ACK, &(struct rtgenmsg){0}, sizeof(struct rtgenmsg));
	rtnl_request_add(&ask, NETNSA_FD, netns);
	return rtnl_ask(sock, &ask, take_id, ret);
}

/* The id under which the daemon's namespace knows @netns; the kernel chooses a free one the first time. */
static int namespace_id(int sock, int netns, int32_t *ret, struct error *err)
{
	struct rtnl_request ask;
	int32_t id = NETNSA_NSID_NOT_ASSIGNED;
	int r = find_id(sock, netns, &id);

	if (r == 0 && id < 0) {
		rtnl_request_init(&ask, RTM_NEWNSID, NLM_F_ACK, &(struct rtgenmsg){0}, sizeof(struct rtgenmsg));
		rtnl_request_add(&ask, NETNSA_NSID, NETNSA_NSID_NOT_ASSIGNED);
		rtnl_request_add(&ask, NETNSA_FD, netns);
		r = rtnl_ask(sock, &ask, take_id, &id);
		/* another thread may have been faster */
		if (r == 0 || r == -EEXIST)
			r = find_id(sock, netns, &id);
	}
	if (r == 0 && id < 0)
		r = -EOPNOTSUPP;
	if (r < 0)
		return error_errno(err, -r, "Give the container's network namespace an id");
	*ret = id;
	return 0;
}

int netstate_read(int init_pidfd, pid_t init_pid, char **ret_json, struct error *err)
{
	auto_close int netns = netstate_open_namespace(init_pidfd, init_pid, err);
	auto_close int sock = -EBADF;
	int32_t id = NETNSA_NSID_NOT_ASSIGNED;
	int r;

	if (netns < 0)
		return netns;
	sock = rtnl_open(true, err);
	if (sock < 0)
		return sock;
	r = namespace_id(sock, netns, &id, err);
	if (r < 0)
		return r;
	return interfaces_read(sock, id, ret_json, err);
}
