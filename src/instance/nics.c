/* NICs with the life of an instance: start, stop, what dnsmasq knows of them, and their names in the state. */
#include "instance/nics.h"

#include <string.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/str.h"
#include "config/nic_type.h"

void instance_nics_done(struct instance_nics *s)
{
	for (size_t k = 0; k < s->n; k++) {
		nic_done(&s->nics[k]);
		nic_guest_done(&s->guests[k]);
	}
	free(s->nics);
	free(s->guests);
	*s = INSTANCE_NICS_INIT;
}

/* --- start --- */

int nics_read(struct instance *i, const char *device, const struct strmap *options, const struct strmap *volatile_,
	      struct nic *ret, struct error *err)
{
	auto_free char *name = instance_name_dup(i);
	struct nic_owner owner = {.project = i->row.project, .instance = name, .device = device};

	return nic_read(i->all->networks, &owner, options, volatile_, ret, err);
}

static int prepare_all(struct instance *i, const struct instance_expanded *x, struct instance_nics *s,
		       struct strmap *changes, struct error *err)
{
	s->nics = xnew_array(struct nic, x->devices.len);
	s->guests = xnew_array(struct nic_guest, x->devices.len);
	for (size_t k = 0; k < x->devices.len; k++) {
		const struct mapmap_item *d = &x->devices.items[k];
		struct nic *n = &s->nics[s->n];
		int r;

		if (!device_is_nic(&d->map))
			continue;
		s->n++;
		r = nics_read(i, d->key, &d->map, &x->config, n, err);
		if (r == 0)
			r = nic_prepare(i->all->networks, n, changes, err);
		if (r < 0)
			return error_wrap(err, "Failed to start device \"%s\"", d->key);
	}
	return 0;
}

int nics_start(struct instance *i, struct instance_expanded *x, struct instance_nics *ret, struct error *err)
{
	CLEANUP(instance_nics_done) struct instance_nics s = INSTANCE_NICS_INIT;
	auto_strmap struct strmap changes = STRMAP_INIT;
	bool noted = false;
	int r;

	nic_keys_complete(&x->devices, NULL, &x->config, &changes);
	nic_keys_merge(&x->config, &changes);
	nic_keys_keep_own(&x->config, &(struct strmap){0}); /* of a start before, if anybody put them there */
	r = prepare_all(i, x, &s, &changes, err);
	if (r == 0 && changes.len) {
		r = instance_save_volatile(i, &changes, /* used_now= */ false, err);
		noted = true;
	}
	for (size_t k = 0; k < s.n && r == 0; k++) {
		r = nic_start(i->all->networks, &s.nics[k], LINK_HERE, &s.guests[k], err);
		if (r < 0)
			error_wrap(err, "Failed to start device \"%s\"", s.nics[k].device);
		else
			s.started++;
	}
	if (r < 0) {
		if (noted)
			nics_undo(i, &s);
		return r;
	}
	*ret = s;
	s = INSTANCE_NICS_INIT;
	return 0;
}

/* --- stop --- */

static void copy_volatile(struct instance *i, struct strmap *ret)
{
	mutex_lock(&i->all->lock);
	strmap_copy(ret, &i->row.volatile_);
	mutex_unlock(&i->all->lock);
}

void nics_undo(struct instance *i, struct instance_nics *s)
{
	auto_strmap struct strmap volatile_ = STRMAP_INIT;
	auto_strmap struct strmap changes = STRMAP_INIT;
	auto_error struct error err = ERROR_INIT;

	if (!s->n)
		return;
	copy_volatile(i, &volatile_);
	for (size_t k = s->started; k-- > 0;)
		if (nic_stop(i->all->networks, &s->nics[k], &volatile_, &changes, &err) < 0) {
			log_error("network device of a failed start stays", LOG_STR("nic", s->nics[k].label),
				  LOG_ERR(&err));
			error_clear(&err);
		}
	s->started = 0;
	for (size_t k = 0; k < s->n; k++)
		for (size_t m = 0; nic_volatile_notes[m]; m++) {
			auto_free char *key = nic_key(s->nics[k].device, nic_volatile_notes[m]);

			strmap_set(&changes, key, "");
		}
	if (instance_save_volatile(i, &changes, false, &err) < 0)
		log_error("volatile keys of a failed start stay", LOG_STR("instance", i->row.name), LOG_ERR(&err));
}

/* One NIC that is noted as being there; @options NULL: its device is gone. */
static void stop_one(struct instance *i, const char *device, const struct strmap *options,
		     const struct strmap *volatile_, struct strmap *changes)
{
	auto_free char *full = instance_lxc_name(i);
	auto_free char *label = xasprintf("%s.%s", full, device);
	auto_error struct error err = ERROR_INIT;
	auto_nic struct nic n = NIC_INIT;
	int r = options ? nics_read(i, device, options, volatile_, &n, &err) : -ENODEV;

	error_clear(&err);
	if (r == 0 && i->inside && nic_unplug(i->all->networks, &n, i->inside, &err) < 0)
		log_error("network device stays in a namespace that goes", LOG_STR("nic", label), LOG_ERR(&err));
	error_clear(&err);
	if (r == 0)
		r = nic_stop(i->all->networks, &n, volatile_, changes, &err);
	else
		r = nic_sweep(i->all->networks, label, device, volatile_, changes, &err);
	if (r < 0)
		log_error("network device was not removed entirely", LOG_STR("nic", label), LOG_ERR(&err));
}

void nics_expand(struct instance *i, struct instance_expanded *x)
{
	auto_error struct error err = ERROR_INIT;
	int r;

	mutex_lock(&i->all->lock);
	r = instance_expand(i->all, &i->row, NULL, x, &err);
	mutex_unlock(&i->all->lock);
	if (r < 0)
		error_ignore(&err, "what is noted goes, also when a profile is missing");
}

void nics_stop(struct instance *i, struct strmap *changes)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
	auto_strv struct strv devices = STRV_INIT;

	nics_expand(i, &x);
	nic_keys_noted(&x.config, &devices);
	for (size_t k = devices.len; k-- > 0;) {
		const struct strmap *options = mapmap_get(&x.devices, devices.items[k]);

		stop_one(i, devices.items[k], device_is_nic(options) ? options : NULL, &x.config, changes);
	}
	link_ns_free(i->inside);
	i->inside = NULL;
}

/* --- host entries --- */

static void set_entry(struct instance *i, const char *device, const struct strmap *options,
		      const struct strmap *volatile_)
{
	auto_error struct error err = ERROR_INIT;
	auto_nic struct nic n = NIC_INIT;
	int r = nics_read(i, device, options, volatile_, &n, &err);

	if (r == 0)
		r = nic_host_entry_set(i->all->networks, &n, &err);
	if (r < 0)
		log_warn("DHCP and DNS do not know a network device", LOG_STR("instance", i->row.name),
			 LOG_STR("device", device), LOG_ERR(&err));
}

static void remove_entry(struct instance *i, const char *device, const struct strmap *options,
			 const struct strmap *volatile_)
{
	auto_error struct error err = ERROR_INIT;
	auto_nic struct nic n = NIC_INIT;
	int r = nics_read(i, device, options, volatile_, &n, &err);

	if (r == 0)
		r = nic_host_entry_remove(i->all->networks, &n, &err);
	if (r < 0)
		log_warn("DHCP and DNS still know a network device", LOG_STR("instance", i->row.name),
			 LOG_STR("device", device), LOG_ERR(&err));
}

static bool is_elsewhere(const struct strmap *old, const struct strmap *now)
{
	static const char *const where[] = {"nictype", "network", "parent"};

	for (size_t k = 0; device_is_nic(now) && k < ARRAY_SIZE(where); k++)
		if (!streq(strmap_get_or(old, where[k], ""), strmap_get_or(now, where[k], "")))
			return true;
	return !device_is_nic(now);
}

void nics_write_entries(struct instance *i, const struct mapmap *old)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};

	nics_expand(i, &x);
	for (size_t k = 0; old && k < old->len; k++) {
		const struct mapmap_item *d = &old->items[k];

		if (device_is_nic(&d->map) && is_elsewhere(&d->map, mapmap_get(&x.devices, d->key)))
			remove_entry(i, d->key, &d->map, &x.config);
	}
	for (size_t k = 0; k < x.devices.len; k++)
		if (device_is_nic(&x.devices.items[k].map))
			set_entry(i, x.devices.items[k].key, &x.devices.items[k].map, &x.config);
}

void nics_remove_entries(struct instance *i)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};

	nics_expand(i, &x);
	for (size_t k = 0; k < x.devices.len; k++)
		if (device_is_nic(&x.devices.items[k].map))
			remove_entry(i, x.devices.items[k].key, &x.devices.items[k].map, &x.config);
}

/* --- state --- */

/* Of a NIC that is there; nothing when its hardware address is not known by these. */
static void add_host_name(const char *device, const struct mapmap *devices, const struct strmap *volatile_,
			  struct strmap *ret)
{
	const struct strmap *options = devices ? mapmap_get(devices, device) : NULL;
	auto_free char *name_key = nic_key(device, "host_name");
	auto_free char *mac_key = nic_key(device, "hwaddr");
	const char *text = strmap_get(volatile_, mac_key);
	struct mac_addr mac;
	char canonical[MAC_TEXT_MAX];

	if (!text && options)
		text = strmap_get(options, "hwaddr");
	if (text && mac_parse(text, &mac))
		strmap_set(ret, mac_format(&mac, canonical), strmap_get(volatile_, name_key));
}

/* {hardware address: name of the host's side}. Profiles are looked at only when the volatile keys do not say all. */
static void host_names(struct instance *i, struct strmap *ret)
{
	CLEANUP(instance_expanded_done) struct instance_expanded x = {0};
	auto_strv struct strv devices = STRV_INIT;

	mutex_lock(&i->all->lock);
	nic_keys_noted(&i->row.volatile_, &devices);
	for (size_t k = 0; k < devices.len; k++)
		add_host_name(devices.items[k], NULL, &i->row.volatile_, ret);
	mutex_unlock(&i->all->lock);
	if (ret->len == devices.len)
		return;
	nics_expand(i, &x);
	for (size_t k = 0; k < devices.len; k++)
		add_host_name(devices.items[k], &x.devices, &x.config, ret);
}

char *nics_add_host_names(struct instance *i, char *json)
{
	static const char empty[] = ",\"host_name\":\"\"";
	auto_strmap struct strmap names = STRMAP_INIT;
	struct strbuf out = STRBUF_INIT;
	const char *p = json, *at;

	host_names(i, &names);
	if (!names.len)
		return json;
	while ((at = strstr(p, empty))) {
		/* the address stands right before it, in quotes */
		size_t quoted = MAC_TEXT_MAX - 1 + strlen("\"");
		auto_free char *mac = at - p > (ptrdiff_t)quoted ? xstrndup(at - quoted, MAC_TEXT_MAX - 1)
								 : xstrdup("");

		strbuf_append_len(&out, p, (size_t)(at - p));
		strbuf_appendf(&out, ",\"host_name\":\"%s\"", strmap_get_or(&names, mac, ""));
		p = at + strlen(empty);
	}
	strbuf_append(&out, p);
	free(json);
	return strbuf_take(&out);
}
