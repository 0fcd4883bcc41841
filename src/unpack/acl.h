/* POSIX ACLs that a tarball holds as text, turned into the kernel's extended attributes. */
#pragma once

#include "unpack/tree.h"

struct archive_entry;

/*
 * Add system.posix_acl_access and _default to @x when the entry has such ACLs as text (SCHILY.acl.*). An ACL that
 * names users without their number is left out whole: half an ACL would grant more than it says.
 */
void acl_from_entry(struct archive_entry *e, struct tree_xattrs *x);
