/*
 * NICs that are an interface of the host: it moves into the container and comes back with the name, address and MTU
 * that it had, which are kept in volatile keys while it is away.
 */
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "network/nic_internal.h"

#define RETURN_MS 2000 /* the kernel takes a network namespace down in the background */

static void note(struct strmap *changes, const struct nic *n, const char *what, const char *value)
{
	auto_free char *key = xasprintf("volatile.%s.last_state.%s", n->device, what);

	strmap_set(changes, key, value);
}

static const char *noted(const struct strmap *volatile_, const struct nic *n, const char *what)
{
	auto_free char *key = xasprintf("volatile.%s.last_state.%s", n->device, what);

	return strmap_get(volatile_, key);
}

static int physical_prepare(struct networks *all, const struct nic *n, struct strmap *changes, struct error *err)
{
	struct link_info parent = {0};
	char mac[MAC_TEXT_MAX];
	auto_free char *mtu = NULL;
	int r = nic_parent_get(all, n, &parent, err);

	if (r < 0)
		return r;
	if (parent.loopback)
		return error_set(err, 400, "Parent device \"%s\" is the loopback interface", n->parent);
	mtu = xasprintf("%u", parent.mtu);
	note(changes, n, "created", "false");
	note(changes, n, "hwaddr", mac_format(&parent.mac, mac));
	note(changes, n, "mtu", mtu);
	return 0;
}

static int set_values(struct link_ns *links, const char *name, const struct mac_addr *mac, unsigned mtu,
		      struct error *err)
{
	int r = link_set_up(links, name, false, err); /* not every driver changes its address while it is up */

	if (r == 0 && mac)
		r = link_set_mac(links, name, mac, err);
	if (r == 0 && mtu)
		r = link_set_mtu(links, name, mtu, err);
	return r;
}

static int physical_start(struct networks *all, const struct nic *n, struct nic_guest *ret, struct error *err)
{
	nic_name_copy(ret->link, n->parent);
	ret->mtu = n->mtu;
	return set_values(networks_links(all), n->parent, n->has_mac ? &n->mac : NULL, n->mtu, err);
}

/*
 * liblxc brings it back under its name; when nobody was left to do that the kernel moves it soon, under the name that
 * it had in the container or a made-up one. Then its address tells which one it is. 1, or 0 when it is not there.
 */
static int find_returned(struct link_ns *links, const struct nic *n, const struct mac_addr *mac, struct error *err)
{
	auto_free struct link_info *list = NULL;
	size_t len = 0;
	int r = link_get(links, n->parent, &(struct link_info){0}, err);

	if (r != 0)
		return r;
	r = link_list(links, &list, &len, err);
	for (size_t i = 0; i < len && r == 0; i++) {
		if (*list[i].kind || list[i].loopback || memcmp(&list[i].mac, mac, sizeof(*mac)) != 0)
			continue;
		r = link_set_up(links, list[i].name, false, err);
		if (r == 0)
			r = link_rename(links, list[i].name, n->parent, err);
		return r < 0 ? r : 1;
	}
	return r;
}

static int wait_returned(struct link_ns *links, const struct nic *n, const struct mac_addr *mac, struct error *err)
{
	int64_t deadline = time_monotonic_ms() + RETURN_MS;
	int r = find_returned(links, n, mac, err);

	while (r == 0 && time_monotonic_ms() < deadline) {
		nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
		r = find_returned(links, n, mac, err);
	}
	return r == 0 ? error_set(err, 500, "Interface \"%s\" has not come back from the container", n->parent) : r;
}

static int physical_stop(struct networks *all, const struct nic *n, const struct strmap *volatile_, struct error *err)
{
	struct link_ns *links = networks_links(all);
	const char *mac_text = noted(volatile_, n, "hwaddr");
	const char *mtu_text = noted(volatile_, n, "mtu");
	struct mac_addr mac = {0};
	uint32_t mtu = 0;
	int r;

	if (!mac_text || !mac_parse(mac_text, &mac) || !mtu_text || parse_u32(mtu_text, &mtu) < 0)
		return 0; /* it was never taken */
	r = wait_returned(links, n, n->has_mac ? &n->mac : &mac, err);
	return r < 0 ? r : set_values(links, n->parent, &mac, mtu, err);
}

const struct nic_kind nic_physical = {.prepare = physical_prepare, .start = physical_start, .stop = physical_stop};
