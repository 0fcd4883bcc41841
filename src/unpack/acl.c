/* POSIX ACLs that a tarball holds as text, turned into the kernel's extended attributes. */
#include "unpack/acl.h"

#include <archive.h>
#include <archive_entry.h>
#include <endian.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define ACL_ENTRIES_MAX 1024

static const struct {
	int archive;
	uint16_t kernel;
	bool has_id;
} tags[] = {
	{ARCHIVE_ENTRY_ACL_USER_OBJ, ACL_USER_OBJ, false},   {ARCHIVE_ENTRY_ACL_USER, ACL_USER, true},
	{ARCHIVE_ENTRY_ACL_GROUP_OBJ, ACL_GROUP_OBJ, false}, {ARCHIVE_ENTRY_ACL_GROUP, ACL_GROUP, true},
	{ARCHIVE_ENTRY_ACL_MASK, ACL_MASK, false},           {ARCHIVE_ENTRY_ACL_OTHER, ACL_OTHER, false},
};

struct acl {
	struct posix_acl_xattr_header head;
	struct posix_acl_xattr_entry entries[ACL_ENTRIES_MAX];
};

/* The kernel wants entries in the order of their tags, then ids. */
static int entry_compare(const void *a, const void *b)
{
	const struct posix_acl_xattr_entry *x = a, *y = b;

	if (x->e_tag != y->e_tag)
		return le16toh(x->e_tag) < le16toh(y->e_tag) ? -1 : 1;
	return le32toh(x->e_id) < le32toh(y->e_id) ? -1 : le32toh(x->e_id) > le32toh(y->e_id);
}

/* One entry in the kernel's form; false when it cannot be said. */
static bool entry_convert(int tag, int perms, int id, const char *name, struct posix_acl_xattr_entry *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
		uint32_t number = UINT32_MAX;

		if (tags[i].archive != tag)
			continue;
		if (tags[i].has_id) {
			number = (uint32_t)id;
			if (id < 0 && (str_is_empty(name) || (!streq(name, "root") && parse_u32(name, &number) < 0)))
				return false;
			if (id < 0 && streq(name, "root"))
				number = 0;
		}
		*ret = (struct posix_acl_xattr_entry){htole16(tags[i].kernel), htole16((uint16_t)(perms & 7)),
						      htole32(number)};
		return true;
	}
	return false;
}

static void add_acl(struct archive_entry *e, int want, const char *xattr, struct tree_xattrs *x)
{
	auto_free struct acl *acl = xnew(struct acl);
	int type, perms, tag, id;
	const char *name;
	size_t n = 0;

	if (archive_entry_acl_reset(e, want) == 0)
		return;
	while (archive_entry_acl_next(e, want, &type, &perms, &tag, &id, &name) == ARCHIVE_OK) {
		if (n == ACL_ENTRIES_MAX || !entry_convert(tag, perms, id, name, &acl->entries[n]))
			return;
		n++;
	}
	if (n == 0)
		return;
	qsort(acl->entries, n, sizeof(acl->entries[0]), entry_compare);
	acl->head.a_version = htole32(POSIX_ACL_XATTR_VERSION);
	tree_xattrs_add(x, xattr, acl, sizeof(acl->head) + n * sizeof(acl->entries[0]));
}

void acl_from_entry(struct archive_entry *e, struct tree_xattrs *x)
{
	int types = archive_entry_acl_types(e);

	if (types & ARCHIVE_ENTRY_ACL_TYPE_ACCESS)
		add_acl(e, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access", x);
	if (types & ARCHIVE_ENTRY_ACL_TYPE_DEFAULT)
		add_acl(e, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default", x);
}
