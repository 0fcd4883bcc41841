/*
 * Reads squashfs 4.0 images in this process: the kernel of a root daemon must not mount what a stranger made, and a
 * reader of our own keeps the jail free of exec and threads and puts each member through the same checks as tar.
 */
#pragma once

#include "base/error.h"
#include "unpack/tree.h"

/* Unpack the squashfs in file @fd into @rootfs. 400 when it is damaged, else the errors of tree.h. */
int squash_read(int fd, struct tree *rootfs, struct tree_counts *counts, struct error *err);
