/* What several instance commands share. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "base/strmap.h"
#include "base/strv.h"

/* "-c key=value" and "-d device,key=value" options; 400 naming the bad one. */
int instance_parse_config(const struct strv *args, struct strmap *ret, struct error *err);
int instance_parse_devices(const struct strv *args, struct mapmap *ret, struct error *err);
/*
 * What the options --network, --storage and --device add to @devices of an instance that gets @profiles (none: the
 * default one) on server @a. The last one changes devices that are there or in a profile; 400 for others.
 */
struct cli;
struct api;
int instance_new_devices(struct cli *c, struct api *a, const struct strv *profiles, struct mapmap *devices,
			 struct error *err);
/* The instance that an operation is about, other than @not_this (may be NULL); or NULL; the caller frees. */
char *instance_name_of_operation(const struct json *op, const char *not_this);
