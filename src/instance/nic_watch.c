/*
 * An interface that goes down loses the routes and proxy entries that NICs have on it. The kernel tells when one has
 * come up: then they are put back.
 */
#include <linux/if.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/rtnetlink.h"
#include "base/str.h"
#include "instance/nics.h"

#define SETTLE_MS 100 /* several events are one piece of work */

/* Of the loop's thread, but for what a thread of ours gets. */
struct nic_watch {
	struct instances *all;
	int sock;
	struct strv names; /* that came up */
	bool all_names;    /* events were lost: any may have */
	bool waiting;
};

/* What one thread does; freed by it. */
struct work {
	struct instances *all;
	struct strv names;
	bool all_names;
};

/* Is something of the NIC on an interface that came up? */
static bool concerns(const struct work *w, const struct strmap *volatile_, const char *device)
{
	static const char *const lists[] = {"last_state.routes", "last_state.proxies"};
	auto_free char *host_key = nic_key(device, "host_name");

	if (w->all_names || strv_contains(&w->names, strmap_get_or(volatile_, host_key, "")))
		return true;
	for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
		auto_free char *key = nic_key(device, lists[k]);
		auto_strv struct strv items = STRV_INIT;

		strv_split(&items, strmap_get_or(volatile_, key, ""), ',');
		for (size_t n = 0; n < items.len; n++) {
			const char *at = strchr(items.items[n], '@');

			if (at && strv_contains(&w->names, at + 1))
				return true;
		}
	}
	return false;
}

static void put_back(const struct work *w, struct instance *i)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};

	nics_expand(i, &x);
	for (size_t k = 0; k < x.devices.len; k++) {
		const struct mapmap_item *d = &x.devices.items[k];
		auto_error struct error err = ERROR_INIT;
		auto_nic struct nic n = NIC_INIT;
		int r;

		if (!device_is_nic(&d->map) || !concerns(w, &x.config, d->key))
			continue;
		r = nics_read(i, d->key, &d->map, &x.config, &n, &err);
		if (r == 0 && *n.host_name)
			r = nic_restore_routes(w->all->networks, &n, &err);
		if (r < 0)
			log_warn("routes of a network device could not be put back", LOG_STR("nic", n.label),
				 LOG_ERR(&err));
	}
}

/* Cheap, without waiting for an instance at work. */
static bool may_concern(const struct work *w, struct instance *i)
{
	auto_strv struct strv devices = STRV_INIT;
	bool yes = false;

	mutex_lock(&w->all->lock);
	if (i->state != CONTAINER_STOPPED)
		nic_keys_noted(&i->row.volatile_, &devices);
	for (size_t k = 0; k < devices.len && !yes; k++)
		yes = concerns(w, &i->row.volatile_, devices.items[k]);
	mutex_unlock(&w->all->lock);
	return yes;
}

static void *work_thread(void *arg)
{
	auto_free struct work *w = arg;
	struct instance **list;
	size_t n = instances_snapshot(w->all, &list);

	for (size_t k = 0; k < n; k++) {
		if (may_concern(w, list[k])) {
			mutex_lock(&list[k]->busy);
			if (instance_state(list[k]) != CONTAINER_STOPPED)
				put_back(w, list[k]);
			mutex_unlock(&list[k]->busy);
		}
		instance_unref(list[k]);
	}
	free(list);
	strv_done(&w->names);
	return NULL;
}

static void on_settled(void *arg)
{
	struct nic_watch *watch = arg;
	struct work *w = xnew(struct work);
	auto_error struct error err = ERROR_INIT;

	*w = (struct work){.all = watch->all, .names = watch->names, .all_names = watch->all_names};
	watch->names = STRV_INIT;
	watch->all_names = watch->waiting = false;
	if (thread_start("links", work_thread, w, &err) == 0)
		return;
	log_error("routes of network devices are not looked after", LOG_ERR(&err));
	strv_done(&w->names);
	free(w);
}

static int take_link(uint16_t type, struct rtnl_bytes body, void *arg)
{
	struct nic_watch *watch = arg;
	struct ifinfomsg info;
	struct rtnl_attr a;

	if (type != RTM_NEWLINK || !rtnl_take(&body, &info, sizeof(info)))
		return 0;
	if (!(info.ifi_change & IFF_UP) || !(info.ifi_flags & IFF_UP))
		return 0;
	while (rtnl_next_attr(&body, &a)) {
		char name[IFNAMSIZ + 1] = "";

		if (a.type != IFLA_IFNAME)
			continue;
		rtnl_copy(&a, name, IFNAMSIZ);
		strv_add(&watch->names, name);
	}
	return 0;
}

static void on_event(struct loop_source *src UNUSED, uint32_t events UNUSED, void *arg)
{
	struct nic_watch *watch = arg;
	unsigned char packet[8192]; /* a notification is one message about one interface */
	ssize_t n;

	while ((n = recv(watch->sock, packet, sizeof(packet), MSG_DONTWAIT)) >= 0 || errno == ENOBUFS) {
		/* lost, or cut off */
		if (n < 0 || rtnl_packet((struct rtnl_bytes){packet, (size_t)n}, take_link, watch) < 0)
			watch->all_names = true;
	}
	if (watch->waiting || (!watch->names.len && !watch->all_names))
		return;
	watch->waiting = true;
	loop_timer_add(watch->all->loop, SETTLE_MS, on_settled, watch);
}

static void add_to_loop(void *arg)
{
	struct nic_watch *watch = arg;

	loop_add(watch->all->loop, watch->sock, EPOLLIN, on_event, watch);
}

void instances_watch_links(struct instances *all)
{
	struct sockaddr_nl links = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	struct nic_watch *watch = xnew(struct nic_watch); /* as long as the daemon */
	auto_error struct error err = ERROR_INIT;

	watch->all = all;
	watch->sock = rtnl_open(false, &err);
	if (watch->sock >= 0 && bind(watch->sock, (const struct sockaddr *)&links, sizeof(links)) < 0)
		error_errno(&err, errno, "Bind a netlink socket");
	if (err.status) {
		log_error("routes of network devices are not looked after", LOG_ERR(&err));
		return;
	}
	loop_post(all->loop, add_to_loop, watch);
}
