/* What the two halves of the resources module share: reading small files of /sys. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/jsonw.h"
#include "base/strv.h"

/* Text of @dir/@name without white space at its ends, NULL when it cannot be read; the caller frees. */
char *hw_text(const char *dir, const char *name);
/* The file as a number: decimal, or hexadecimal after 0x; @otherwise when it is neither. */
int64_t hw_number(const char *dir, const char *name, int64_t otherwise);
bool hw_has(const char *dir, const char *name);
/* Last part of the symbolic link @dir/@name, NULL when it is none; the caller frees. */
char *hw_link(const char *dir, const char *name);
/* Names in @dir in natural order; none when it cannot be read. */
void hw_list(const char *dir, struct strv *ret);
/* @dir/numa_node, where -1 (no such thing) is 0. */
int64_t hw_numa_node(const char *dir);
/* key and the file's text, left out when it cannot be read or is empty */
void hw_write_text(struct jsonw *w, const char *key, const char *dir, const char *name);

/* Value of a "Key: 12 kB" line in bytes (without unit: as it is), 0 when missing. */
uint64_t hw_meminfo(const char *text, const char *key);

/* One key with its value each. */
void resources_write_gpu(const char *root, struct jsonw *w);
void resources_write_network(const char *root, struct jsonw *w);
void resources_write_storage(const char *root, struct jsonw *w);
void resources_write_usb(const char *root, struct jsonw *w);
void resources_write_pci(const char *root, struct jsonw *w);
