/* Device types: what is refused, what a container needs for each, and nodes on the host. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/path.h"
#include "base/strv.h"
#include "device/device.h"

/* "type=disk,path=/mnt" as a device. */
static void parse(struct strmap *d, const char *text)
{
	auto_strv struct strv parts = STRV_INIT;

	strv_split(&parts, text, ',');
	for (size_t i = 0; i < parts.len; i++) {
		char *eq = strchr(parts.items[i], '=');

		assert_non_null(eq);
		*eq = '\0';
		strmap_set(d, parts.items[i], eq + 1);
	}
}

static int validate(const char *name, const char *text, struct error *err)
{
	auto_strmap struct strmap d = STRMAP_INIT;

	parse(&d, text);
	return device_validate(name, &d, err);
}

static void good_devices(void **state UNUSED)
{
	static const char *const good[] = {
		"type=disk,path=/,pool=default",
		"type=disk,path=/mnt,source=/srv",
		"type=disk,path=/mnt,source=/srv,readonly=true,shift=yes,required=false,propagation=rslave",
		"type=disk,path=/mnt,source=/srv,recursive=1,raw.mount.options=noatime;nosuid,size=,limits.read=",
		"type=disk,path=/mnt,source=/srv,optional=true",
		"type=unix-char,source=/dev/null",
		"type=unix-char,path=/dev/x,major=10,minor=200,uid=5,gid=6,mode=0640,required=false",
		"type=unix-block,source=/dev/sda,path=/dev/blk",
		"type=none",
	};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		expect_ok(validate("d", good[i], &err), &err);
}

static void bad_devices(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"path=/x", "Missing device type"},
		{"type=", "Missing device type"},
		{"type=zzz", "Invalid device type zzz"},
		{"type=gpu", "Device type \"gpu\" is not supported by this server yet"},
		{"type=proxy,listen=x", "Device type \"proxy\" is not supported"},
		{"type=none,x=1", "Invalid device option \"x\""},
		{"type=none,path=", "Invalid device option \"path\""},
		{"type=disk,path=/x", "Disk entry is missing the required \"source\" or \"path\" property"},
		{"type=disk,source=/x", "Disk entry is missing the required \"source\" or \"path\" property"},
		{"type=disk,path=/,source=/x", "Root disk entry may not have a \"source\""},
		{"type=disk,path=/", "Root disk entry must have a \"pool\" property set"},
		{"type=disk,path=/,pool=p,recursive=true", "recursive"},
		{"type=disk,path=/,pool=p,readonly=true", "no mount options"},
		{"type=disk,path=/,pool=p,size=1GB", "can't limit the size"},
		{"type=disk,path=/,pool=p,size=big", "size"},
		{"type=disk,path=/x,source=/y,size=1GB", "Only the root disk may have a size quota"},
		{"type=disk,path=/x,source=vol,pool=p", "Custom storage volumes are not supported"},
		{"type=disk,path=/x,source=rel", "Source path must be absolute for local sources"},
		{"type=disk,path=/x,source=ceph:a/b", "Source path must be absolute"},
		{"type=disk,path=x,source=/y", "Not an absolute path: x"},
		{"type=disk,path=/a/../b,source=/y", "may not hold \"..\""},
		{"type=disk,path=/..,source=/y", "may not hold \"..\""},
		{"type=disk,path=//,source=/y", "The path of the root disk is \"/\", not \"//\""},
		{"type=disk,path=/./,source=/y", "root disk"},
		{"type=disk,path=/x,source=/y,recursive=true,readonly=true", "exclude each other"},
		{"type=disk,path=/x,source=/y,required=true,optional=true", "exclude each other"},
		{"type=disk,path=/x,source=/y,propagation=wild", "propagation"},
		{"type=disk,path=/x,source=/y,raw.mount.options=a b", "Invalid mount options"},
		{"type=disk,path=/x,source=/y,limits.read=10MB", "\"limits.read\" is not supported by this server yet"},
		{"type=disk,path=/x,source=/y,readonly=perhaps", "Invalid value for a boolean \"perhaps\""},
		{"type=disk,path=/x\n,source=/y", "control characters"},
		{"type=unix-char", "Unix device entry is missing the required \"source\" or \"path\" property"},
		{"type=unix-block", "Unix device entry is missing"},
		{"type=unix-char,source=/dev/x,major=1", "\"major\" and \"minor\""},
		{"type=unix-char,source=/dev/x,major=x,minor=1", "Invalid value for uint32 \"x\""},
		{"type=unix-char,source=/dev/x,major=4096,minor=1", "not within 0 to 4095"},
		{"type=unix-char,source=/dev/x,mode=rw", "Invalid file mode \"rw\""},
		{"type=unix-char,source=/dev/x,uid=-1", "Invalid value for uint32 \"-1\""},
		{"type=unix-char,source=dev/x", "Not an absolute path"},
		{"type=unix-char,source=/dev/x,path=/dev/../etc", "may not hold \"..\""},
		{"type=unix-char,source=/dev/x,path=/", "can't be at \"/\""},
	};
	static const char *const names[] = {"", ".", "..", "a/b", "a\n"};
	auto_error struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int r = validate("d1", rows[i][0], &err);

		assert_true(startswith(error_msg(&err), "Device validation failed for \"d1\": ") != NULL);
		expect_error(r, &err, 400, rows[i][1]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		expect_error(validate(names[i], "type=none", &err), &err, 400, "Device validation failed");
}

static void add(struct mapmap *m, const char *name, const char *text)
{
	parse(mapmap_ensure(m, name), text);
}

static void paths_and_roots_are_single(void **state UNUSED)
{
	auto_mapmap struct mapmap m = MAPMAP_INIT;
	auto_error struct error err = ERROR_INIT;

	add(&m, "a", "type=disk,path=/mnt/x,source=/a");
	add(&m, "b", "type=disk,path=/mnt/x/y,source=/b");
	add(&m, "n", "type=none");
	add(&m, "root", "type=disk,path=/,pool=default");
	expect_ok(devices_validate(&m, &err), &err);
	add(&m, "c", "type=disk,path=//mnt/./x/,source=/c");
	expect_error(devices_validate(&m, &err), &err, 400, "path \"/mnt/x\" is used by device \"a\" too");
	mapmap_remove(&m, "c");
	add(&m, "z", "type=unix-char,source=/mnt/x");
	expect_error(devices_validate(&m, &err), &err, 400, "Device validation failed for \"z\"");
	mapmap_remove(&m, "z");
	add(&m, "other", "type=disk,path=/,pool=default");
	expect_error(devices_validate(&m, &err), &err, 400, "More than one root device found: \"other\" and \"root\"");
	mapmap_remove(&m, "other");
	add(&m, "x", "type=zzz");
	expect_error(devices_validate(&m, &err), &err, 400,
		     "Device validation failed for \"x\": Invalid device type zzz");
}

static void disk_plans(void **state UNUSED)
{
	auto_device_plan struct device_plan plan = DEVICE_PLAN_INIT;
	auto_mapmap struct mapmap m = MAPMAP_INIT;
	auto_error struct error err = ERROR_INIT;

	add(&m, "a", "type=disk,path=/mnt/x/deep,source=/etc/passwd,readonly=true,raw.mount.options=noatime");
	add(&m, "b", "type=disk,path=//mnt/./x,source=/tmp,recursive=true,shift=true,propagation=shared");
	add(&m, "c", "type=disk,path=/gone,source=/nonexistent/x,required=false");
	add(&m, "d", "type=disk,path=/gone2,source=/etc/passwd/x,optional=true");
	add(&m, "root", "type=disk,path=/,pool=default");
	expect_ok(devices_plan(&m, &plan, &err), &err);
	assert_true(plan.n_mounts == 2 && plan.n_nodes == 0 && plan.n_rules == 0);
	/* the parent comes first, whatever the names */
	assert_string_equal(plan.mounts[0].target, "mnt/x");
	assert_string_equal(plan.mounts[0].device, "b");
	assert_true(plan.mounts[0].is_dir && plan.mounts[0].recursive && plan.mounts[0].shift &&
		    !plan.mounts[0].readonly);
	assert_string_equal(plan.mounts[0].propagation, "shared");
	assert_null(plan.mounts[0].options);
	assert_string_equal(plan.mounts[1].target, "mnt/x/deep");
	assert_string_equal(plan.mounts[1].source, "/etc/passwd");
	assert_string_equal(plan.mounts[1].options, "noatime");
	assert_true(!plan.mounts[1].is_dir && plan.mounts[1].readonly && !plan.mounts[1].shift);
	assert_null(plan.mounts[1].propagation);
	add(&m, "e", "type=disk,path=/x,source=/nonexistent");
	expect_error(devices_plan(&m, &plan, &err), &err, 400, "Missing source path \"/nonexistent\" for disk \"e\"");
}

static struct device_plan plan_of(const char *text, int *ret_r, struct error *err)
{
	struct device_plan plan = DEVICE_PLAN_INIT;
	auto_strmap struct strmap d = STRMAP_INIT;

	parse(&d, text);
	*ret_r = device_plan_one("d", &d, &plan, err);
	return plan;
}

static void unix_plans(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	struct device_plan p;
	int r;

	p = plan_of("type=unix-char,source=/dev/zero,path=/dev/other,uid=5,gid=6,mode=0640", &r, &err);
	expect_ok(r, &err);
	assert_true(p.n_nodes == 1 && p.n_rules == 1 && p.n_mounts == 0);
	assert_string_equal(p.nodes[0].target, "dev/other");
	assert_true(p.nodes[0].type == 'c' && p.nodes[0].major == 1 && p.nodes[0].minor == 5);
	assert_true(p.nodes[0].uid == 5 && p.nodes[0].gid == 6 && p.nodes[0].mode == 0640);
	assert_true(p.rules[0].type == 'c' && p.rules[0].major == 1 && p.rules[0].minor == 5);
	assert_memory_equal(p.rules[0].access, "rwm", 4);
	device_plan_done(&p);
	/* by number: nothing on the host is looked at */
	p = plan_of("type=unix-block,path=/dev/none/such,major=7,minor=200", &r, &err);
	expect_ok(r, &err);
	assert_true(p.nodes[0].type == 'b' && p.nodes[0].minor == 200 && p.nodes[0].mode == 0660);
	device_plan_done(&p);
	p = plan_of("type=unix-char,source=/dev/nonexistent,required=false", &r, &err);
	expect_ok(r, &err);
	assert_true(p.n_nodes == 0 && p.n_rules == 0);
	plan_of("type=unix-char,source=/dev/nonexistent", &r, &err);
	expect_error(r, &err, 400, "Missing source path \"/dev/nonexistent\" for device \"d\"");
	plan_of("type=unix-block,source=/dev/zero", &r, &err);
	expect_error(r, &err, 400, "Path specified is not a unix-block device");
	plan_of("type=unix-char,source=/etc", &r, &err);
	expect_error(r, &err, 400, "Path specified is not a unix-char device");
	plan_of("type=none", &r, &err);
	expect_ok(r, &err);
}

static void node_files(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"eth0", "eth0"},       {"a.b_c-D", "a.b_c-D"}, {".x", "%2ex"},   {"a b%", "a%20b%25"},
		{"\xc3\xa4", "%c3%a4"}, {"..", "%2e."},         {"a/b", "a%2fb"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct device_node n = {.device = (char *)(uintptr_t)rows[i][0]};
		auto_free char *file = device_node_file(&n);

		assert_string_equal(file, rows[i][1]);
	}
}

static void nodes_are_made(void **state UNUSED)
{
	char dir[] = "/tmp/test_device.XXXXXX", name[] = "z 1", target[] = "dev/z";
	struct idmap_entry entries[] = {{.is_uid = true, .is_gid = true, .host = 100000, .count = 10}};
	const struct idmap map = {.entries = entries, .len = 1};
	struct device_node n = {.device = name,
				.target = target,
				.type = 'c',
				.major = 1,
				.minor = 3,
				.mode = 0640,
				.uid = 5,
				.gid = 6};
	auto_error struct error err = ERROR_INIT;
	auto_close int fd = -EBADF;
	struct stat st;

	if (getuid() != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* what stands there, even a link, is replaced and not followed */
	assert_int_equal(symlinkat("/etc/passwd", fd, "z%201"), 0);
	for (int i = 0; i < 2; i++) {
		mode_t old = umask(077);

		expect_ok(device_node_create(fd, &n, &map, &err), &err);
		umask(old);
		assert_int_equal(fstatat(fd, "z%201", &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_true(S_ISCHR(st.st_mode) && (st.st_mode & 07777) == 0640);
		assert_true(st.st_rdev == makedev(1, 3) && st.st_uid == 100005 && st.st_gid == 100006);
	}
	n.uid = 10;
	expect_error(device_node_create(fd, &n, &map, &err), &err, 400, "User id 10 of device \"z 1\" is not mapped");
	n.uid = 0;
	n.gid = 10;
	expect_error(device_node_create(fd, &n, &map, &err), &err, 400, "Group id 10");
	expect_ok(path_remove_tree(AT_FDCWD, dir, &err), &err);
}

static void table(void **state UNUSED)
{
	for (size_t i = 0; device_types[i]; i++) {
		const struct device_type *t = device_types[i], *found = NULL;
		auto_strmap struct strmap d = STRMAP_INIT;
		auto_error struct error err = ERROR_INIT;

		strmap_set(&d, "type", t->name);
		expect_ok(device_type_of(&d, &found, &err), &err);
		assert_ptr_equal(found, t);
		assert_true(t->keys || t->validate);
		for (const struct config_key *k = t->keys; k && k->name; k++) {
			assert_true(k->doc && *k->doc);
			if (k->def)
				expect_ok(config_check_value(k, k->name, k->def, &err), &err);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_devices),
		cmocka_unit_test(bad_devices),
		cmocka_unit_test(paths_and_roots_are_single),
		cmocka_unit_test(disk_plans),
		cmocka_unit_test(unix_plans),
		cmocka_unit_test(node_files),
		cmocka_unit_test(nodes_are_made),
		cmocka_unit_test(table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
