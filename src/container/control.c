/* Signals, freezing and cgroup values of a running container, all through liblxc's command socket. */
#include <string.h>

#include "base/alloc.h"
#include "container/container.h"

#define CGROUP_VALUE_MAX (64 * 1024)

/* Use the signal that the running container was configured with; this process has not loaded its configuration. */
static void take_running_item(struct lxc_container *c, const char *key)
{
	auto_free char *value = c->get_running_config_item(c, key);

	if (value && *value)
		c->set_config_item(c, key, value);
}

static bool act_halt(struct lxc_container *c)
{
	take_running_item(c, "lxc.signal.halt");
	/* with a time limit of 0 liblxc only sends the signal, and always says false */
	c->shutdown(c, 0);
	return true;
}

static bool act_reboot(struct lxc_container *c)
{
	take_running_item(c, "lxc.signal.reboot");
	return c->reboot(c);
}

static bool act_kill(struct lxc_container *c)
{
	return c->stop(c);
}

static bool act_freeze(struct lxc_container *c)
{
	return c->freeze(c);
}

static bool act_unfreeze(struct lxc_container *c)
{
	return c->unfreeze(c);
}

static const struct {
	const char *verb;
	bool (*act)(struct lxc_container *c);
} actions[WIRE_ACTION_MAX] = {
	[WIRE_ACTION_KILL] = {"Kill", act_kill},
	[WIRE_ACTION_HALT] = {"Halt", act_halt},
	[WIRE_ACTION_REBOOT] = {"Reboot", act_reboot},
	[WIRE_ACTION_FREEZE] = {"Freeze", act_freeze},
	[WIRE_ACTION_UNFREEZE] = {"Unfreeze", act_unfreeze},
};

int request_control(struct request *rq, struct error *err)
{
	struct wire_reader *in = &rq->msg.reader;
	auto_free char *lxcpath = wire_get_str(in);
	auto_free char *name = wire_get_str(in);
	uint32_t action = wire_get_u32(in);
	struct lxc_log_mark mark = LXC_LOG_MARK_INIT;
	auto_free char *what = NULL;
	struct lxc_container *c;

	if (!wire_done(in) || !lxcpath || !name || action >= WIRE_ACTION_MAX || !actions[action].act)
		return request_malformed(err);
	c = container_open_running(name, lxcpath, &mark, err);
	if (!c)
		return -err->errnum;
	what = xasprintf("%s container %s", actions[action].verb, name);
	if (!actions[action].act(c))
		return lxc_log_error(&mark, err, 500, what);
	return request_reply_ok(rq, err);
}

int request_cgroup_set(struct request *rq, struct error *err)
{
	struct wire_reader *in = &rq->msg.reader;
	auto_free char *lxcpath = wire_get_str(in);
	auto_free char *name = wire_get_str(in);
	auto_free char *key = wire_get_str(in);
	auto_free char *value = wire_get_str(in);
	struct lxc_log_mark mark = LXC_LOG_MARK_INIT;
	auto_free char *what = NULL;
	struct lxc_container *c;

	if (!wire_done(in) || !lxcpath || !name || !key || !value)
		return request_malformed(err);
	c = container_open_running(name, lxcpath, &mark, err);
	if (!c)
		return -err->errnum;
	what = xasprintf("Set cgroup value %s of container %s to \"%s\"", key, name, value);
	if (!c->set_cgroup_item(c, key, value))
		return lxc_log_error(&mark, err, 500, what);
	return request_reply_ok(rq, err);
}

int request_cgroup_get(struct request *rq, struct error *err)
{
	struct wire_reader *in = &rq->msg.reader;
	auto_free char *lxcpath = wire_get_str(in);
	auto_free char *name = wire_get_str(in);
	auto_free char *key = wire_get_str(in);
	auto_free char *value = xcalloc(1, CGROUP_VALUE_MAX);
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct lxc_log_mark mark = LXC_LOG_MARK_INIT;
	auto_free char *what = NULL;
	struct lxc_container *c;

	if (!wire_done(in) || !lxcpath || !name || !key)
		return request_malformed(err);
	c = container_open_running(name, lxcpath, &mark, err);
	if (!c)
		return -err->errnum;
	what = xasprintf("Read cgroup value %s of container %s", key, name);
	if (c->get_cgroup_item(c, key, value, CGROUP_VALUE_MAX - 1) < 0)
		return lxc_log_error(&mark, err, 500, what);
	wire_put_u32(&b, WIRE_REPLY_OK);
	wire_put_str(&b, value);
	return request_reply(rq, &b, NULL, 0, err);
}
