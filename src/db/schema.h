/* The database schema as numbered steps; a step, once released, is never edited. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* How many steps there are: the version that this program writes. */
int64_t schema_version(void);
/* SQL that leads from version @from to @from + 1. */
const char *schema_step(size_t from);
