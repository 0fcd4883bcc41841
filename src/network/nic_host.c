/* The host's side of NICs: what all types share, and the table of types. The types are in files of their own. */
#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/str.h"
#include "network/nic_internal.h"

static const struct nic_kind *const kinds[] = {
	[NIC_BRIDGED] = &nic_bridged, [NIC_ROUTED] = &nic_routed,     [NIC_P2P] = &nic_p2p,
	[NIC_MACVLAN] = &nic_macvlan, [NIC_PHYSICAL] = &nic_physical,
};

static const struct nic_kind *kind_of(const struct nic *n)
{
	return kinds[n->type];
}

void nic_guest_done(struct nic_guest *g)
{
	free(g->addresses);
	*g = (struct nic_guest){0};
}

static char *volatile_key(const char *device, const char *what)
{
	return xasprintf("volatile.%s.%s", device, what);
}

/* --- before the start --- */

static void make_name(struct nic *n, const char *prefix)
{
	auto_free char *hex = random_hex(4);
	auto_free char *name = xasprintf("%s%s", prefix, hex);

	nic_name_copy(n->host_name, name);
}

/* A name of the host's side, which nothing has; physical: the parent's. */
static int choose_name(struct networks *all, struct nic *n, struct error *err)
{
	const char *prefix = kind_of(n)->prefix;
	struct link_info other;
	int r;

	if (!prefix) {
		nic_name_copy(n->host_name, n->parent);
		return 0;
	}
	if (!*n->host_name)
		make_name(n, prefix);
	r = link_get(networks_links(all), n->host_name, &other, err);
	return r == 1 ? error_set(err, 400, "Network interface \"%s\" already exists", n->host_name) : r;
}

int nic_prepare(struct networks *all, struct nic *n, struct strmap *changes, struct error *err)
{
	auto_free char *key = volatile_key(n->device, "host_name");
	int r;

	if (!*n->name)
		return error_set(err, 400, "Requires name property to start");
	r = choose_name(all, n, err);
	if (r == 0 && kind_of(n)->prepare)
		r = kind_of(n)->prepare(all, n, changes, err);
	if (r < 0)
		return r;
	strmap_set(changes, key, n->host_name);
	nic_note(n, NULL, changes);
	return 0;
}

/* --- start and stop --- */

/* The link goes first, and takes along what is bound to it; the filters last. */
static int remove_link(struct networks *all, const char *name, struct error *err)
{
	struct link_info info = {0};
	int r = link_get(networks_links(all), name, &info, err);

	if (r <= 0)
		return r;
	if (!streq(info.kind, "veth") && !streq(info.kind, "macvlan"))
		return error_set(err, 500, "Interface \"%s\" is no longer the one that was made: it stays", name);
	return link_delete(networks_links(all), name, err);
}

static int remove_filters(struct networks *all, const char *label, struct error *err)
{
	struct firewall *fw = networks_firewall(all);
	struct nic_steps steps = {.err = err};
	auto_error struct error e = ERROR_INIT;

	nic_step(&steps, firewall_rate_remove(fw, label, &e), &e);
	nic_step(&steps, firewall_routed_remove(fw, label, &e), &e);
	nic_step(&steps, firewall_nic_remove(fw, label, &e), &e);
	return steps.r;
}

static int remove_all(struct networks *all, const struct nic *n, const struct strmap *volatile_, struct error *err)
{
	const struct nic_kind *kind = kind_of(n);
	auto_strmap struct strmap own = STRMAP_INIT;
	struct nic_steps steps = {.err = err};
	auto_error struct error e = ERROR_INIT;

	if (kind->prefix && *n->host_name)
		nic_step(&steps, remove_link(all, n->host_name, &e), &e);
	nic_note(n, NULL, &own);
	nic_step(&steps, nic_remove_noted(all, n->device, volatile_, &own, &e), &e);
	nic_step(&steps, nic_remove_noted(all, n->device, &own, &(struct strmap){0}, &e), &e);
	if (kind->stop)
		nic_step(&steps, kind->stop(all, n, volatile_, &e), &e);
	nic_step(&steps, remove_filters(all, n->label, &e), &e);
	return steps.r;
}

/* On the host's side of a pair once nothing is missing: all but the last step may be done when the daemon is killed. */
static const char complete_note[] = "lxd: complete network device";

int nic_complete(struct networks *all, const struct nic *n, struct error *err)
{
	return kind_of(n)->routes ? link_set_alias(networks_links(all), n->host_name, complete_note, err) : 0;
}

int nic_start(struct networks *all, const struct nic *n, int netns_fd, struct nic_guest *ret, struct error *err)
{
	CLEANUP(nic_guest_done) struct nic_guest g = {.mac = n->mac, .netns_fd = netns_fd};
	auto_error struct error undo = ERROR_INIT;
	int r;

	nic_name_copy(g.name, n->name);
	r = kind_of(n)->start(all, n, &g, err);
	if (r == 0 && netns_fd == LINK_HERE)
		r = nic_complete(all, n, err);
	if (r == 0) {
		*ret = g;
		g = (struct nic_guest){0};
		return 0;
	}
	/* what was there before is somebody else's */
	if (*g.link && remove_all(all, n, &(struct strmap){0}, &undo) < 0)
		log_warn("a network device that could not be made leaves something behind", LOG_STR("nic", n->label),
			 LOG_ERR(&undo));
	return r;
}

/* The keys that live from start to stop. */
static void clear_volatile(const char *device, struct strmap *changes)
{
	for (size_t i = 0; nic_volatile_notes[i]; i++) {
		auto_free char *key = volatile_key(device, nic_volatile_notes[i]);

		strmap_set(changes, key, "");
	}
}

int nic_stop(struct networks *all, const struct nic *n, const struct strmap *volatile_, struct strmap *changes,
	     struct error *err)
{
	int r = remove_all(all, n, volatile_, err);

	clear_volatile(n->device, changes);
	return r < 0 ? error_wrap(err, "Stop network device \"%s\"", n->device) : 0;
}

int nic_sweep(struct networks *all, const char *label, const char *device, const struct strmap *volatile_,
	      struct strmap *changes, struct error *err)
{
	auto_free char *name_key = volatile_key(device, "host_name");
	auto_free char *mac_key = volatile_key(device, "last_state.hwaddr");
	auto_free char *host_name = xstrdup(strmap_get_or(volatile_, name_key, ""));
	auto_free char *card_device = xstrdup(device);
	struct nic card = {.type = NIC_PHYSICAL, .device = card_device, .parent = host_name};
	struct nic_steps steps = {.err = err};
	auto_error struct error e = ERROR_INIT;

	if (strmap_get(volatile_, mac_key))
		nic_step(&steps, nic_physical.stop(all, &card, volatile_, &e), &e);
	else if (*host_name)
		nic_step(&steps, remove_link(all, host_name, &e), &e);
	nic_step(&steps, nic_remove_noted(all, device, volatile_, &(struct strmap){0}, &e), &e);
	nic_step(&steps, remove_filters(all, label, &e), &e);
	clear_volatile(device, changes);
	return steps.r;
}

/* --- into a running container, and out of it --- */

static int add_gateway(struct link_ns *inside, const char *name, const struct ip_addr *gateway, struct error *err)
{
	struct link_route to = {.family = gateway->family, .dest = ip_host_prefix(gateway), .on_link = true};
	struct link_route via = {.family = gateway->family, .via = *gateway};
	int r;

	if (gateway->family == AF_UNSPEC)
		return 0;
	via.dest.addr.family = gateway->family;
	r = link_add_route(inside, name, &to, err);
	return r < 0 ? r : link_add_route(inside, name, &via, err);
}

int nic_plug(struct networks *all, const struct nic_guest *g, int netns_fd, struct link_ns *inside, struct error *err)
{
	struct link_move move = {.netns_fd = netns_fd, .new_name = g->name, .up = true};
	int r = g->inside ? link_set_up(inside, g->name, true, err)
			  : link_move(networks_links(all), g->link, &move, err);

	if (r == -EEXIST)
		return nic_name_taken(g->name, err);
	for (size_t i = 0; i < g->n_addresses && r == 0; i++)
		r = link_add_address(inside, g->name, &g->addresses[i], err);
	if (r == 0)
		r = add_gateway(inside, g->name, &g->gateway4, err);
	return r < 0 ? r : add_gateway(inside, g->name, &g->gateway6, err);
}

/* The container may have renamed it and given it another address; the note that it was made with tells. */
static int find_macvlan(const struct nic *n, struct link_ns *inside, struct link_info *ret, struct error *err)
{
	auto_free struct link_info *list = NULL;
	size_t len = 0;
	int r = link_list(inside, &list, &len, err);

	for (size_t i = 0; i < len && r == 0; i++) {
		if (!nic_macvlan_is(n, &list[i]))
			continue;
		*ret = list[i];
		r = 1;
	}
	return r;
}

/* What the container has made of its own links is no card of the host. */
static bool may_be_card(const struct link_info *l)
{
	return !l->loopback && !l->peer_here && !l->parent && !streq(l->kind, "bridge");
}

/* The container may have renamed it; its address tells. A card that kept its own address is known by its name only. */
static int find_inside(const struct nic *n, struct link_ns *inside, struct link_info *ret, struct error *err)
{
	auto_free struct link_info *list = NULL;
	size_t len = 0;
	int r = link_get(inside, n->name, ret, err);

	if (r == 1 && n->type == NIC_PHYSICAL && !may_be_card(ret))
		r = 0;
	if (r < 0 || !n->has_mac || (r == 1 && memcmp(&ret->mac, &n->mac, sizeof(n->mac)) == 0))
		return r;
	r = link_list(inside, &list, &len, err);
	for (size_t i = 0; i < len && r == 0; i++) {
		if (memcmp(&list[i].mac, &n->mac, sizeof(n->mac)) != 0 ||
		    (n->type == NIC_PHYSICAL && !may_be_card(&list[i])))
			continue;
		*ret = list[i];
		r = 1;
	}
	return r;
}

int nic_is_inside(const struct nic *n, struct link_ns *inside, struct error *err)
{
	struct link_info info = {0};
	int r = n->type == NIC_MACVLAN ? find_macvlan(n, inside, &info, err) : find_inside(n, inside, &info, err);

	return r == 1 && n->type == NIC_MACVLAN ? nic_macvlan_is_as_wanted(n, &info) : r;
}

int nic_unplug(struct networks *all UNUSED, const struct nic *n, struct link_ns *inside, struct error *err)
{
	auto_close int host = -EBADF;
	struct link_move move = {.new_name = n->host_name};
	struct link_info info = {0};
	int r;

	if (n->type != NIC_MACVLAN && n->type != NIC_PHYSICAL)
		return 0;
	r = n->type == NIC_MACVLAN ? find_macvlan(n, inside, &info, err) : find_inside(n, inside, &info, err);
	if (r <= 0)
		return r;
	if (n->type == NIC_MACVLAN)
		return link_delete(inside, info.name, err);
	host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (host < 0)
		return error_errno(err, errno, "Open the host's network namespace");
	move.netns_fd = host;
	return link_move(inside, info.name, &move, err);
}

int nic_unplug_unknown(struct networks *all, const char *device, const struct strmap *volatile_, struct link_ns *inside,
		       struct error *err)
{
	auto_free char *key = volatile_key(device, "host_name");
	struct nic n = {.type = NIC_MACVLAN};

	nic_name_copy(n.host_name, strmap_get_or(volatile_, key, ""));
	return nic_unplug(all, &n, inside, err);
}

/* --- changes --- */

int nic_update(struct networks *all, const struct nic *before, const struct nic *after, struct error *err)
{
	const struct nic_kind *kind = kind_of(after);
	auto_error struct error undo = ERROR_INIT;
	int r = nic_limits_change(all, before, after, err);

	if (r < 0 || !kind->update)
		return r;
	r = kind->update(all, before, after, err);
	if (r < 0 && nic_limits_change(all, after, before, &undo) < 0)
		log_error("limits of a network device could not be put back", LOG_STR("nic", after->label),
			  LOG_ERR(&undo));
	return r;
}

/* A limit that the packet filter keeps has to be noted there again. */
static int resume_limits(struct networks *all, const struct nic *n, struct error *err)
{
	struct nic none = {.ingress_bits = n->ingress_bits};

	return n->egress_bits ? nic_limits_change(all, &none, n, err) : 0;
}

/*
 * A NIC that was not made in full is none (its end for the guest may be inside from the first step on), nor is one that
 * was not moved into the container yet: its end for the guest is still here.
 */
int nic_is_in_place(struct networks *all, const struct nic *n, struct error *err)
{
	struct link_info info = {0};
	int r;

	if (!*n->host_name)
		return 0;
	r = link_get(networks_links(all), n->host_name, &info, err);
	if (r < 0)
		return r;
	/* a macvlan or a card moves as a whole */
	return kind_of(n)->routes ? r == 1 && !info.peer_here && streq(info.alias, complete_note) : r == 0;
}

int nic_resume(struct networks *all, const struct nic *n, const struct strmap *volatile_, struct error *err)
{
	auto_strmap struct strmap own = STRMAP_INIT;
	int r = nic_is_in_place(all, n, err);

	if (r <= 0)
		return r;
	nic_note(n, NULL, &own);
	r = nic_remove_noted(all, n->device, volatile_, &own, err);
	if (r == 0 && kind_of(n)->resume)
		r = kind_of(n)->resume(all, n, err);
	if (r == 0)
		r = nic_restore_routes(all, n, err);
	if (r == 0)
		r = resume_limits(all, n, err);
	return r < 0 ? r : 1;
}

int nic_restore_routes(struct networks *all, const struct nic *n, struct error *err)
{
	return kind_of(n)->routes ? kind_of(n)->routes(all, n, err) : 0;
}
