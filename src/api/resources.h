/* The host's hardware as /sys and /proc show it, in the form of GET /1.0/resources. */
#pragma once

#include "base/jsonw.h"

/*
 * Write the whole object: cpu, memory, gpu, network, storage, usb, pci, system. @root is put in front of every path
 * ("" in real life). What the host does not tell is left out or 0, a kind that it lacks is an empty list.
 */
void resources_write(const char *root, struct jsonw *w);
