#include "base/landlock.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"

static int version(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static int create(uint64_t handled, int *ret_set, struct error *err)
{
	const struct landlock_ruleset_attr attr = {.handled_access_fs = handled};

	*ret_set = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	return *ret_set < 0 ? error_errno(err, errno, "Create Landlock rules") : 0;
}

int landlock_begin(int *ret_set, uint64_t *ret_handled, struct error *err)
{
	int abi = version();

	*ret_set = -EBADF;
	*ret_handled = LANDLOCK_V1 | LANDLOCK_REFER;
	if (abi < 2)
		return 0;
	if (abi >= 3)
		*ret_handled |= LANDLOCK_TRUNCATE;
	if (abi >= 5)
		*ret_handled |= LANDLOCK_IOCTL;
	return create(*ret_handled, ret_set, err);
}

int landlock_allow(int set, const char *path, uint64_t access, struct error *err)
{
	auto_close int fd = open(path, O_PATH | O_CLOEXEC);
	const struct landlock_path_beneath_attr rule = {.parent_fd = fd, .allowed_access = access};

	if (fd < 0)
		return error_errno(err, errno, "Open %s of the jail", path);
	if (syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return error_errno(err, errno, "Add Landlock rule for %s", path);
	return 0;
}

int landlock_end(int set, struct error *err)
{
	if (syscall(SYS_landlock_restrict_self, set, 0) < 0)
		return error_errno(err, errno, "Apply Landlock rules");
	return 0;
}

int landlock_forbid_files(struct error *err)
{
	auto_close int set = -EBADF;
	int r;

	if (version() < 1)
		return 0;
	r = create(LANDLOCK_V1, &set, err);
	return r < 0 ? r : landlock_end(set, err);
}
