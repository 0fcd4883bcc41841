/* Settings of interfaces below /proc/sys/net. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/strbuf.h"
#include "network/link_internal.h"

static bool have_family(const char *family)
{
	auto_free char *path = xasprintf("/proc/sys/net/%s", family);

	return access(path, F_OK) == 0;
}

bool link_have_ipv6(void)
{
	return have_family("ipv6");
}

/* A name that is no path: those of interfaces hold no slash, and "." and ".." are none. */
static char *setting_path(const char *family, const char *name, const char *key, struct error *err)
{
	if (strchr(name, '/') || streq(name, ".") || streq(name, "..")) {
		error_errno(err, EINVAL, "Interface name \"%s\"", name);
		return NULL;
	}
	return xasprintf("/proc/sys/net/%s/conf/%s/%s", family, name, key);
}

int link_sysctl_write(const char *family, const char *name, const char *key, const char *value, struct error *err)
{
	auto_free char *path = setting_path(family, name, key, err);
	int r;

	if (!path)
		return -EINVAL;
	r = file_write_kernel(AT_FDCWD, path, value);
	if (r == -ENOENT && !have_family(family))
		return 0;
	if (r < 0)
		return error_errno(err, -r, "Write %s to %s", value, path);
	return 0;
}

int link_sysctl_read(const char *family, const char *name, const char *key, int *ret, struct error *err)
{
	auto_free char *path = setting_path(family, name, key, err);
	auto_strbuf struct strbuf text = STRBUF_INIT;
	int64_t value;
	int r;

	if (!path)
		return -EINVAL;
	r = file_read_at(AT_FDCWD, path, 64, &text, err);
	if (r < 0)
		return r;
	r = parse_i64(str_strip(text.data), &value);
	if (r < 0)
		return error_errno(err, -r, "Read %s", path);
	*ret = (int)value;
	return 0;
}
