/* Volatile keys of NICs: names, hardware addresses, and notes on what is on the host. Pure. */
#include "instance/nic_keys.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/str.h"
#include "config/ip.h"
#include "config/nic_type.h"

bool device_is_nic(const struct strmap *device)
{
	return device && streq(strmap_get_or(device, "type", ""), "nic");
}

char *nic_key(const char *device, const char *what)
{
	return xasprintf("volatile.%s.%s", device, what);
}

/* The device of "volatile.DEVICE.WHAT"; NULL when it is another key. The caller frees. */
static char *device_of(const char *key, const char *what)
{
	auto_free char *tail = xasprintf(".%s", what);
	const char *begin = startswith(key, "volatile.");
	const char *end = begin ? endswith(begin, tail) : NULL;

	return end && end > begin ? xstrndup(begin, (size_t)(end - begin)) : NULL;
}

static bool is_own_key(const char *key)
{
	for (size_t k = 0; nic_volatile_notes[k]; k++) {
		auto_free char *device = device_of(key, nic_volatile_notes[k]);

		if (device)
			return true;
	}
	return false;
}

void nic_keys_keep_own(struct strmap *to, const struct strmap *from)
{
	for (size_t k = to->len; k-- > 0;)
		if (is_own_key(to->items[k].key))
			strmap_set(to, to->items[k].key, NULL);
	for (size_t k = 0; k < from->len; k++)
		if (is_own_key(from->items[k].key))
			strmap_set(to, from->items[k].key, from->items[k].value);
}

void nic_keys_merge(struct strmap *volatile_, const struct strmap *changes)
{
	for (size_t k = 0; k < changes->len; k++)
		strmap_set(volatile_, changes->items[k].key, *changes->items[k].value ? changes->items[k].value : NULL);
}

static bool name_is_used(const struct mapmap *devices, const struct strmap *volatile_, const struct strmap *changes,
			 const char *name)
{
	for (size_t k = 0; k < devices->len; k++) {
		const struct mapmap_item *d = &devices->items[k];
		auto_free char *key = nic_key(d->key, "name");
		const char *own = strmap_get_or(&d->map, "name", NULL);

		if (!device_is_nic(&d->map))
			continue;
		if (!own)
			own = strmap_get_or(changes, key, strmap_get_or(volatile_, key, ""));
		if (streq(own, name))
			return true;
	}
	return false;
}

static void add_name(const struct mapmap *devices, const char *device, const struct strmap *volatile_,
		     struct strmap *changes)
{
	auto_free char *key = nic_key(device, "name");
	unsigned number = 0;

	for (;; number++) {
		auto_free char *name = xasprintf("eth%u", number);

		if (name_is_used(devices, volatile_, changes, name))
			continue;
		strmap_set(changes, key, name);
		return;
	}
}

static void add_mac(const char *device, struct strmap *changes)
{
	auto_free char *key = nic_key(device, "hwaddr");
	struct mac_addr mac = {{0x00, 0x16, 0x3e}};
	char text[MAC_TEXT_MAX];

	random_bytes(mac.bytes + 3, 3);
	strmap_set(changes, key, mac_format(&mac, text));
}

static bool is_other_kind(const struct strmap *old, const struct strmap *new)
{
	return device_is_nic(old) && nic_type_of(old) != nic_type_of(new);
}

/* Keys of devices that are no NICs (any more), or whose options say it themselves. */
static void drop_keys(const struct mapmap *devices, const struct strmap *volatile_, const char *what,
		      struct strmap *changes)
{
	for (size_t k = 0; k < volatile_->len; k++) {
		const char *key = volatile_->items[k].key;
		auto_free char *name = device_of(key, what);
		auto_free char *inner = name && streq(what, "hwaddr") ? device_of(key, "last_state.hwaddr") : NULL;
		const struct strmap *device = name ? mapmap_get(devices, name) : NULL;

		if (!name || inner)
			continue;
		if (!device_is_nic(device) || strmap_get_or(device, what, NULL))
			strmap_set(changes, key, "");
	}
}

void nic_keys_complete(const struct mapmap *devices, const struct mapmap *old, const struct strmap *volatile_,
		       struct strmap *changes)
{
	drop_keys(devices, volatile_, "hwaddr", changes);
	drop_keys(devices, volatile_, "name", changes);
	for (size_t k = 0; k < devices->len; k++) {
		const struct mapmap_item *d = &devices->items[k];
		auto_free char *mac_key = nic_key(d->key, "hwaddr");
		auto_free char *name_key = nic_key(d->key, "name");

		if (!device_is_nic(&d->map))
			continue;
		if (!strmap_get_or(&d->map, "name", NULL) && !strmap_get_or(volatile_, name_key, NULL))
			add_name(devices, d->key, volatile_, changes);
		if (strmap_get_or(&d->map, "hwaddr", NULL) || nic_type_of(&d->map) == NIC_PHYSICAL)
			continue;
		if (!strmap_get_or(volatile_, mac_key, NULL) ||
		    (old && is_other_kind(mapmap_get(old, d->key), &d->map)))
			add_mac(d->key, changes);
	}
}

void nic_keys_noted(const struct strmap *volatile_, struct strv *ret)
{
	for (size_t k = 0; k < volatile_->len; k++) {
		auto_free char *device = device_of(volatile_->items[k].key, "host_name");

		if (device && *volatile_->items[k].value)
			strv_add(ret, device);
	}
}
