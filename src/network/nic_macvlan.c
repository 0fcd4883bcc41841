/* NICs beside others on one interface of the host: a macvlan link in bridge mode, which moves into the container. */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "network/nic_internal.h"

/* "lxd: NAME ", by the name that it had on the host. */
static char *note_head(const struct nic *n)
{
	return xasprintf("lxd: %s ", n->host_name);
}

static char *make_note(const struct nic *n)
{
	auto_free char *head = note_head(n);
	char mac[MAC_TEXT_MAX];

	return xasprintf("%s%s", head, n->has_mac ? mac_format(&n->mac, mac) : "");
}

bool nic_macvlan_is(const struct nic *n, const struct link_info *info)
{
	auto_free char *head = note_head(n);
	bool noted = *n->host_name && startswith(info->alias, head);

	return streq(info->kind, "macvlan") &&
	       (noted || (n->has_mac && memcmp(&info->mac, &n->mac, sizeof(n->mac)) == 0));
}

bool nic_macvlan_is_as_wanted(const struct nic *n, const struct link_info *info)
{
	auto_free char *note = make_note(n);

	return streq(info->alias, note) || (n->has_mac && memcmp(&info->mac, &n->mac, sizeof(n->mac)) == 0);
}

static int macvlan_prepare(struct networks *all, const struct nic *n, struct strmap *changes UNUSED, struct error *err)
{
	return nic_parent_get(all, n, NULL, err);
}

static int macvlan_start(struct networks *all, const struct nic *n, struct nic_guest *ret, struct error *err)
{
	auto_free char *note = make_note(n);
	int r = link_add_macvlan(networks_links(all), n->host_name, n->parent, n->mtu, n->has_mac ? &n->mac : NULL,
				 err);

	if (r < 0)
		return r;
	nic_name_copy(ret->link, n->host_name); /* it is ours: removed when what follows fails */
	ret->mtu = n->mtu;
	return link_set_alias(networks_links(all), n->host_name, note, err);
}

const struct nic_kind nic_macvlan = {.prefix = "mac", .prepare = macvlan_prepare, .start = macvlan_start};
