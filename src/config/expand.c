/* Profiles laid over each other, and the root disk among the devices. */
#include "config/expand.h"

#include "base/str.h"

void expand_config(struct strmap *dst, const struct strmap *layer)
{
	strmap_merge(dst, layer);
}

void expand_devices(struct mapmap *dst, const struct mapmap *layer)
{
	for (size_t i = 0; i < layer->len; i++)
		mapmap_set(dst, layer->items[i].key, &layer->items[i].map);
}

bool expand_is_root_disk(const struct strmap *device)
{
	return streq(strmap_get_or(device, "type", ""), "disk") && streq(strmap_get_or(device, "path", ""), "/") &&
	       str_is_empty(strmap_get(device, "source"));
}

int expand_root_disk(const struct mapmap *devices, const char **ret_name, const struct strmap **ret, struct error *err)
{
	const struct mapmap_item *found = NULL;

	for (size_t i = 0; i < devices->len; i++) {
		const struct mapmap_item *item = &devices->items[i];

		if (!expand_is_root_disk(&item->map))
			continue;
		if (found)
			return error_set(err, 400, "More than one root device found: \"%s\" and \"%s\"", found->key,
					 item->key);
		found = item;
	}
	if (!found)
		return error_set(err, 400, "No root device could be found");
	*ret_name = found->key;
	*ret = &found->map;
	return 0;
}
