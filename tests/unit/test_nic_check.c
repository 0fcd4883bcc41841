/* The commit point of NICs over many instances: refusals and their texts. The network is made up. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/path.h"
#include "base/strv.h"
#include "instance/nic_check.h"
#include "network/nic.h"

/* --- one made-up network, br0 --- */

void network_view_done(struct network_view *v)
{
	strmap_done(&v->config);
	*v = NETWORK_VIEW_INIT;
}

int network_view_get(struct networks *all UNUSED, const char *name, struct network_view *ret, struct error *err UNUSED)
{
	if (!streq(name, "br0"))
		return 0;
	*ret = (struct network_view){.name = "br0", .managed = true, .dhcp4 = true};
	assert_true(ip_prefix_parse(AF_INET, "192.0.2.1/24", &ret->v4));
	return 1;
}

/* --- instances in a list --- */

struct server {
	char top[32];
	struct db *db;
	struct store *store;
	struct instances all;
};

static void parse(struct strmap *m, const char *text)
{
	auto_strv struct strv parts = STRV_INIT;

	strv_split(&parts, text, ';');
	for (size_t i = 0; i < parts.len; i++) {
		char *eq = strchr(parts.items[i], '=');

		assert_non_null(eq);
		*eq = '\0';
		strmap_set(m, parts.items[i], eq + 1);
	}
}

/* "eth0:network=br0 eth1:nictype=p2p" */
static void parse_devices(struct mapmap *m, const char *text)
{
	auto_strv struct strv words = STRV_INIT;

	strv_split_words(&words, text);
	for (size_t i = 0; i < words.len; i++) {
		char *colon = strchr(words.items[i], ':');
		struct strmap *device;

		assert_non_null(colon);
		*colon = '\0';
		device = mapmap_ensure(m, words.items[i]);
		strmap_set(device, "type", "nic");
		parse(device, colon + 1);
	}
}

static struct db_instance make_row(int64_t id, const char *name, const char *devices, const char *volatile_)
{
	struct db_instance row = {.id = id, .project = xstrdup("default"), .name = xstrdup(name)};

	parse_devices(&row.devices, devices);
	parse(&row.volatile_, volatile_);
	strv_add(&row.profiles, "default");
	return row;
}

static UNSHARED void add_instance(struct server *s, const char *name, const char *devices, const char *volatile_)
{
	struct instances *all = &s->all;
	struct instance *i = xnew(struct instance);

	i->row = make_row((int64_t)all->n + 1, name, devices, volatile_);
	all->list = xreallocarray(all->list, all->n + 1, sizeof(*all->list));
	all->list[all->n++] = i;
}

/* The default profile, which every database has. */
static void set_profile(struct server *s, const char *devices)
{
	CLEANUP(db_profile_done) struct db_profile p = {0};
	auto_error struct error err = ERROR_INIT;

	expect_ok(store_profile_dup(s->store, "default", "default", &p, &err), &err);
	mapmap_done(&p.devices);
	parse_devices(&p.devices, devices);
	expect_ok(store_profile_update(s->store, &p, &err), &err);
}

static UNSHARED int start_server(void **state)
{
	struct server *s = xnew(struct server);
	auto_error struct error err = ERROR_INIT;
	auto_free char *path = NULL;

	snprintf(s->top, sizeof(s->top), "/tmp/niccheck-XXXXXX");
	assert_non_null(mkdtemp(s->top));
	path = path_join(s->top, "lxd.db");
	expect_ok(db_open(path, &s->db, &err), &err);
	expect_ok(store_new(s->db, &s->store, &err), &err);
	s->all.store = s->store;
	s->all.networks = (struct networks *)s; /* never looked into */
	mutex_init(&s->all.lock);
	*state = s;
	return 0;
}

static UNSHARED int end_server(void **state)
{
	struct server *s = *state;
	auto_error struct error err = ERROR_INIT;

	for (size_t k = 0; k < s->all.n; k++) {
		db_instance_done(&s->all.list[k]->row);
		free(s->all.list[k]);
	}
	free(s->all.list);
	mutex_done(&s->all.lock);
	store_free(s->store);
	db_free(s->db);
	expect_ok(path_remove_tree(AT_FDCWD, s->top, &err), &err);
	free(s);
	return 0;
}

/* The instance @row with these expanded devices. */
static int check(struct server *s, enum nic_check_reason reason, const struct db_instance *row,
		 const struct db_instance *old, const char *expanded, struct error *err)
{
	auto_mapmap struct mapmap devices = MAPMAP_INIT;
	struct nic_check c = {.reason = reason, .row = row, .old = old, .devices = &devices};
	int r;

	parse_devices(&devices, expanded);
	mutex_lock(&s->all.lock);
	r = nic_check(&s->all, &c, err);
	mutex_unlock(&s->all.lock);
	return r;
}

static int check_new(struct server *s, const char *name, const char *devices, struct error *err)
{
	CLEANUP(db_instance_done) struct db_instance row = make_row(0, name, devices, "");

	return check(s, NIC_CHECK_CREATE, &row, NULL, devices, err);
}

static UNSHARED void new_instances(void **state)
{
	struct server *s = *state;
	auto_error struct error err = ERROR_INIT;

	set_profile(s, "eth0:network=br0;ipv4.address=192.0.2.20 eth9:network=br0;ipv4.address=192.0.2.99");
	add_instance(s, "c1", "eth0:network=br0;ipv4.address=192.0.2.10 eth9:nictype=p2p",
		     "volatile.eth0.hwaddr=00:16:3e:00:00:01");
	add_instance(s, "c2", "eth9:nictype=p2p", "volatile.eth0.hwaddr=00:16:3e:00:00:02");
	expect_ok(check_new(s, "c3", "eth0:network=br0;ipv4.address=192.0.2.11;hwaddr=00:16:3e:00:00:03", &err), &err);
	expect_error(
		check_new(s, "c3", "eth0:network=br0;ipv4.address=192.0.2.10", &err), &err, 409,
		"Failed add validation for device \"eth0\": IP address \"192.0.2.10\" already defined on another NIC");
	/* from the profile, where nothing stands before it; what is overridden does not count */
	expect_error(check_new(s, "c3", "eth0:network=br0;ipv4.address=192.0.2.20", &err), &err, 409, "192.0.2.20");
	expect_ok(check_new(s, "c3", "eth0:network=br0;ipv4.address=192.0.2.99", &err), &err);
	expect_error(check_new(s, "c3", "eth0:network=br0;hwaddr=00:16:3e:00:00:02", &err), &err, 409,
		     "MAC address \"00:16:3e:00:00:02\" already defined on another NIC");
	expect_error(check_new(s, "C2", "eth0:network=br0", &err), &err, 409,
		     "Instance DNS name \"c2\" already used on network");
	expect_error(check_new(s, "c3", "eth0:network=br0 eth1:network=br0", &err), &err, 409,
		     "Instance DNS name \"c3\" already used on network");
	expect_error(check_new(s, "c3", "eth0:network=nope", &err), &err, 400,
		     "Invalid devices: Device validation failed for \"eth0\": Failed loading device \"eth0\": Failed "
		     "to load "
		     "network \"nope\" for project \"default\": Network not found");
	expect_error(
		check_new(s, "c3", "eth0:network=br0;ipv4.address=198.51.100.1", &err), &err, 400,
		"Invalid devices: Device validation failed for \"eth0\": Device IP address \"198.51.100.1\" not within "
		"network \"br0\" subnet");
}

static void what_comes_from_a_profile_is_called_so(void **state)
{
	struct server *s = *state;
	CLEANUP(db_instance_done) struct db_instance row = make_row(0, "c3", "", "");
	auto_error struct error err = ERROR_INIT;

	expect_error(check(s, NIC_CHECK_CREATE, &row, NULL, "eth0:network=nope", &err), &err, 400,
		     "Invalid expanded devices: Device validation failed for \"eth0\": ");
}

static UNSHARED void only_what_changes_is_checked_for_conflicts(void **state)
{
	struct server *s = *state;
	static const char *const old_devices = "eth0:network=br0;ipv4.address=192.0.2.10";
	CLEANUP(db_instance_done) struct db_instance old = make_row(1, "c1", old_devices, "");
	CLEANUP(db_instance_done) struct db_instance new = make_row(1, "c1", old_devices, "");
	auto_error struct error err = ERROR_INIT;

	set_profile(s, "");
	add_instance(s, "c1", old_devices, "");
	add_instance(s, "c2", "eth0:network=br0;ipv4.address=192.0.2.10", "volatile.eth0.hwaddr=00:16:3e:00:00:02");
	/* a conflict of before does not hinder other changes, but a start */
	expect_ok(check(s, NIC_CHECK_UPDATE, &new, &old, old_devices, &err), &err);
	expect_error(check(s, NIC_CHECK_START, &old, &old, old_devices, &err), &err, 409,
		     "Failed start validation for device \"eth0\": IP address \"192.0.2.10\" already defined on "
		     "another NIC");
	expect_error(check(s, NIC_CHECK_UPDATE, &new, &old, "eth0:network=br0;ipv4.address=192.0.2.10;mtu=", &err),
		     &err, 409, "Failed update validation for device \"eth0\": IP address");
	/* the new one is to blame */
	expect_error(check(s, NIC_CHECK_UPDATE, &new, &old, "eth0:network=br0;ipv4.address=192.0.2.10 eth1:network=br0",
			   &err),
		     &err, 409,
		     "Failed add validation for device \"eth1\": Instance DNS name \"c1\" already used on network");
	parse(&new.volatile_, "volatile.eth0.hwaddr=00:16:3e:00:00:02");
	expect_error(check(s, NIC_CHECK_UPDATE, &new, &old, old_devices, &err), &err, 409, "MAC address");
}

static void start_says_what_does_not_fit_any_more(void **state)
{
	struct server *s = *state;
	CLEANUP(db_instance_done) struct db_instance row = make_row(1, "c1", "", "");
	auto_error struct error err = ERROR_INIT;

	expect_error(
		check(s, NIC_CHECK_START, &row, &row, "eth0:network=br0;ipv4.address=198.51.100.1", &err), &err, 400,
		"Failed start validation for device \"eth0\": Device IP address \"198.51.100.1\" not within network "
		"\"br0\" subnet");
}

static UNSHARED void a_new_name_may_be_taken_in_dns(void **state)
{
	struct server *s = *state;
	CLEANUP(db_instance_done) struct db_instance row = make_row(1, "C2", "eth0:network=br0", "");
	auto_error struct error err = ERROR_INIT;

	set_profile(s, "");
	add_instance(s, "c1", "eth0:network=br0", "");
	add_instance(s, "c2", "eth0:network=br0", "");
	expect_error(check(s, NIC_CHECK_RENAME, &row, &row, "eth0:network=br0", &err), &err, 409,
		     "Instance DNS name \"c2\" already used on network");
	s->all.list[1]->row.phase = DB_DELETING;
	expect_ok(check(s, NIC_CHECK_RENAME, &row, &row, "eth0:network=br0", &err), &err);
}

static void names_inside_are_compared_with_what_is_remembered(void **state)
{
	struct server *s = *state;
	CLEANUP(db_instance_done)
	struct db_instance row = make_row(0, "c1", "eth0:nictype=bridged;parent=x1 eth1:nictype=p2p;name=eth0",
					  "volatile.eth0.name=eth0");
	auto_error struct error err = ERROR_INIT;

	expect_error(check(s, NIC_CHECK_CREATE, &row, NULL,
			   "eth0:nictype=bridged;parent=x1 eth1:nictype=bridged;parent=x2;name=eth0", &err),
		     &err, 400, "Duplicate NIC name detected \"eth0\"");
}

static UNSHARED void a_changed_profile_reaches_all_its_users(void **state)
{
	struct server *s = *state;
	auto_error struct error err = ERROR_INIT;
	struct db_profile changed = {.project = xstrdup("default"), .name = xstrdup("default")};
	auto_mapmap struct mapmap expanded = MAPMAP_INIT;
	struct nic_check c = {.reason = NIC_CHECK_PROFILE, .override = &changed, .devices = &expanded};
	int r;

	set_profile(s, "eth0:network=br0");
	add_instance(s, "c1", "", "");
	add_instance(s, "c2", "", "");
	parse_devices(&changed.devices, "eth0:network=br0;ipv4.address=192.0.2.10");
	parse_devices(&expanded, "eth0:network=br0;ipv4.address=192.0.2.10");
	c.row = c.old = &s->all.list[0]->row;
	mutex_lock(&s->all.lock);
	r = nic_check(&s->all, &c, &err);
	mutex_unlock(&s->all.lock);
	expect_error(r, &err, 409,
		     "Failed update validation for device \"eth0\": IP address \"192.0.2.10\" already defined");
	expect_ok(nic_check_profile(&s->all, &changed, &err), &err);
	parse_devices(&changed.devices, "eth1:network=nope");
	expect_error(nic_check_profile(&s->all, &changed, &err), &err, 400,
		     "Device validation failed for \"eth1\": Failed loading device \"eth1\": Failed to load network "
		     "\"nope\"");
	db_profile_done(&changed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(new_instances, start_server, end_server),
		cmocka_unit_test_setup_teardown(what_comes_from_a_profile_is_called_so, start_server, end_server),
		cmocka_unit_test_setup_teardown(only_what_changes_is_checked_for_conflicts, start_server, end_server),
		cmocka_unit_test_setup_teardown(start_says_what_does_not_fit_any_more, start_server, end_server),
		cmocka_unit_test_setup_teardown(a_new_name_may_be_taken_in_dns, start_server, end_server),
		cmocka_unit_test_setup_teardown(names_inside_are_compared_with_what_is_remembered, start_server,
						end_server),
		cmocka_unit_test_setup_teardown(a_changed_profile_reaches_all_its_users, start_server, end_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
