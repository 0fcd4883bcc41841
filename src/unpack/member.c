/* Names of archive members: pure checks on hostile text. */
#include "unpack/member.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define ESCAPE_MAX 200

/* Length of the UTF-8 sequence at @s, or 0 when it is not valid. */
static size_t utf8_len(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;

	if (s[0] >= 0xf5)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* C1 controls travel as two bytes, and are as bad for a terminal as C0 */
	if (n == 2 && s[0] == 0xc2 && s[1] < 0xa0)
		return 0;
	return n;
}

char *member_escape(const char *raw)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	const unsigned char *s = (const unsigned char *)(raw ? raw : "");

	while (*s) {
		size_t n = utf8_len(s);

		if (out.len > ESCAPE_MAX) {
			strbuf_append(&out, "...");
			break;
		}
		if (n == 0 || *s < 0x20 || *s == 0x7f || *s == '"' || *s == '\\') {
			strbuf_appendf(&out, "\\x%02x", *s);
			s++;
			continue;
		}
		strbuf_append_len(&out, s, n);
		s += n;
	}
	return strbuf_take(&out);
}

static int refuse(struct error *err, const char *what, const char *raw, const char *why)
{
	auto_free char *shown = member_escape(raw);

	return error_set(err, 400, "%s \"%s\": %s", what, shown, why);
}

int member_path_clean(const char *raw, const char *what, char **ret, struct error *err)
{
	auto_strbuf struct strbuf out = STRBUF_INIT;
	unsigned depth = 0;

	if (str_is_empty(raw))
		return refuse(err, what, raw, "has no usable name");
	if (raw[0] == '/')
		return refuse(err, what, raw, "absolute path");
	if (strlen(raw) > MEMBER_PATH_MAX)
		return refuse(err, what, raw, "path is too long");
	for (const char *p = raw; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.')
			return refuse(err, what, raw, "path contains \"..\"");
		if (n > MEMBER_NAME_MAX)
			return refuse(err, what, raw, "name is too long");
		if (n > 0 && !(n == 1 && p[0] == '.')) {
			if (++depth > MEMBER_DEPTH_MAX)
				return refuse(err, what, raw, "path is too deep");
			if (out.len)
				strbuf_append_char(&out, '/');
			strbuf_append_len(&out, p, n);
		}
		p += n;
		p += strspn(p, "/");
	}
	*ret = strbuf_take(&out);
	return 0;
}

enum member_area member_path_area(const char *path, bool unified, const char **ret_rest)
{
	static const struct {
		const char *name;
		enum member_area area;
	} areas[] = {
		{"metadata.yaml", MEMBER_METADATA},
		{"templates", MEMBER_TEMPLATES},
		{"rootfs", MEMBER_ROOTFS},
	};

	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		const char *rest = startswith(path, areas[i].name);

		if (!rest || (*rest && *rest != '/'))
			continue;
		if (areas[i].area == MEMBER_ROOTFS && !unified)
			break;
		*ret_rest = *rest ? rest + 1 : rest;
		return areas[i].area;
	}
	*ret_rest = path;
	return MEMBER_IGNORED;
}

int member_check_symlink(const char *path, const char *target, struct error *err)
{
	if (str_is_empty(target))
		return refuse(err, "Member", path, "symbolic link without a target");
	if (strlen(target) > MEMBER_LINK_MAX)
		return refuse(err, "Member", path, "target of the symbolic link is too long");
	return 0;
}

int member_check_id(const char *path, int64_t id, struct error *err)
{
	if (id < 0 || id >= UINT32_MAX)
		return refuse(err, "Member", path, "owner id is out of range");
	return 0;
}
