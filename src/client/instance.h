/* What several instance commands share. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "base/strmap.h"
#include "base/strv.h"

/* "-c key=value" and "-d device,key=value" options; 400 naming the bad one. */
int instance_parse_config(const struct strv *args, struct strmap *ret, struct error *err);
int instance_parse_devices(const struct strv *args, struct mapmap *ret, struct error *err);
/* The instance that an operation is about, other than @not_this (may be NULL); or NULL; the caller frees. */
char *instance_name_of_operation(const struct json *op, const char *not_this);
