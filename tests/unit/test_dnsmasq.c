/* dnsmasq's arguments, host entries, leases and release packets: pure functions, and files in a folder. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "base/strbuf.h"
#include "base/strv.h"
#include "network/dnsmasq_internal.h"

/* "a=1;b=2" as a configuration. */
static void parse_config(struct strmap *m, const char *text)
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

#define HEAD                                                                                                         \
	"/usr/sbin/dnsmasq --keep-in-foreground --strict-order --bind-interfaces --except-interface=lo --pid-file= " \
	"--no-ping --interface=br0 --dhcp-rapid-commit --quiet-dhcp --quiet-dhcp6 --quiet-ra "
#define LEASES                                                                                               \
	"--dhcp-no-override --dhcp-authoritative --dhcp-ignore-clid --dhcp-leasefile=/n/br0/dnsmasq.leases " \
	"--dhcp-hostsfile=/n/br0/dnsmasq.hosts "
#define DOMAIN "-s lxd --interface-name _gateway.lxd,br0 -S /lxd/ "
#define TAIL "--conf-file=/n/br0/dnsmasq.raw -u nobody -g nogroup"

static const struct {
	const char *config;
	const char *arguments;
} vectors[] = {
	{"ipv4.address=192.0.2.1/24;ipv6.address=2001:db8::1/64",
	 HEAD "--listen-address=192.0.2.1 " LEASES
	      "--dhcp-range 192.0.2.2,192.0.2.254,1h --listen-address=2001:db8::1 --enable-ra "
	      "--dhcp-range ::,constructor:br0,ra-stateless,ra-names " DOMAIN TAIL},
	{"ipv4.address=192.0.2.1/24;ipv6.address=none",
	 HEAD "--listen-address=192.0.2.1 " LEASES "--dhcp-range 192.0.2.2,192.0.2.254,1h " DOMAIN TAIL},
	{"ipv4.address=192.0.2.1/24;ipv4.dhcp=false", HEAD "--listen-address=192.0.2.1 " DOMAIN TAIL},
	{"ipv4.address=192.0.2.1/24;ipv4.dhcp.ranges=192.0.2.10-192.0.2.20, 192.0.2.100-192.0.2.110;"
	 "ipv4.dhcp.gateway=192.0.2.254;ipv4.dhcp.expiry=10m;dns.search=a.example , b.example;dns.domain=example;"
	 "bridge.mtu=1400",
	 HEAD "--listen-address=192.0.2.1 " LEASES "--dhcp-option-force=3,192.0.2.254 --dhcp-option-force=26,1400 "
	      "--dhcp-option-force=119,a.example,b.example --dhcp-range 192.0.2.10,192.0.2.20,10m "
	      "--dhcp-range 192.0.2.100,192.0.2.110,10m -s example --interface-name _gateway.example,br0 "
	      "-S /example/ " TAIL},
	{"ipv4.address=192.0.2.1/24;bridge.mtu=1500;dns.mode=none",
	 HEAD "--listen-address=192.0.2.1 " LEASES "--dhcp-range 192.0.2.2,192.0.2.254,1h " TAIL},
	{"ipv4.address=192.0.2.1/24;dns.mode=dynamic",
	 HEAD "--listen-address=192.0.2.1 " LEASES "--dhcp-range 192.0.2.2,192.0.2.254,1h " DOMAIN TAIL},
	{"ipv6.address=2001:db8::1/64;ipv6.dhcp.stateful=true",
	 HEAD "--listen-address=2001:db8::1 --enable-ra " LEASES
	      "--dhcp-range 2001:db8::2,2001:db8::ffff:ffff:ffff:ffff,64,1h " DOMAIN TAIL},
	{"ipv6.address=2001:db8::1/64;ipv6.dhcp.stateful=true;ipv6.dhcp.expiry=2h;"
	 "ipv6.dhcp.ranges=2001:db8::10-2001:db8::20,2001:db8::30-2001:db8::40",
	 HEAD "--listen-address=2001:db8::1 --enable-ra " LEASES
	      "--dhcp-range 2001:db8::10,2001:db8::20,64,2h --dhcp-range 2001:db8::30,2001:db8::40,64,2h " DOMAIN TAIL},
	{"ipv6.address=2001:db8::1/64;ipv6.dhcp=false;ipv6.dhcp.stateful=true",
	 HEAD "--listen-address=2001:db8::1 --enable-ra --dhcp-range ::,constructor:br0,ra-only " DOMAIN TAIL},
	{"ipv4.address=192.0.2.1/24;ipv4.dhcp=false;ipv6.address=2001:db8::1/64",
	 HEAD "--listen-address=192.0.2.1 --listen-address=2001:db8::1 --enable-ra " LEASES
	      "--dhcp-range ::,constructor:br0,ra-stateless,ra-names " DOMAIN TAIL},
	/* no second host in it */
	{"ipv4.address=192.0.2.1/31", HEAD "--listen-address=192.0.2.1 " LEASES DOMAIN TAIL},
	{"ipv4.address=192.0.2.1/30",
	 HEAD "--listen-address=192.0.2.1 " LEASES "--dhcp-range 192.0.2.2,192.0.2.2,1h " DOMAIN TAIL},
};

static const struct dnsmasq_settings settings = {
	.program = "/usr/sbin/dnsmasq", .name = "br0", .dir = "/n/br0", .user = "nobody", .group = "nogroup"};

static void arguments_are_exact(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		auto_error struct error err = ERROR_INIT;
		auto_strmap struct strmap config = STRMAP_INIT;
		auto_strv struct strv args = STRV_INIT;
		auto_free char *text = NULL;

		parse_config(&config, vectors[i].config);
		expect_ok(dnsmasq_make_arguments(&settings, &config, &args, &err), &err);
		text = strv_join(&args, " ");
		assert_string_equal(text, vectors[i].arguments);
	}
}

static void arguments_when_verbose_are_not_quiet(void **state UNUSED)
{
	struct dnsmasq_settings s = settings;
	auto_error struct error err = ERROR_INIT;
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_strv struct strv args = STRV_INIT;

	s.verbose = true;
	parse_config(&config, "ipv4.address=192.0.2.1/24");
	expect_ok(dnsmasq_make_arguments(&s, &config, &args, &err), &err);
	assert_false(strv_contains(&args, "--quiet-dhcp"));
	assert_true(strv_contains(&args, "--dhcp-rapid-commit"));
}

static void arguments_of_damaged_ranges_are_refused(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_strv struct strv args = STRV_INIT;

	parse_config(&config, "ipv4.address=192.0.2.1/24;ipv4.dhcp.ranges=192.0.2.9");
	expect_error(dnsmasq_make_arguments(&settings, &config, &args, &err), &err, 500,
		     "IP range must contain start and end IP addresses");
	assert_int_equal(args.len, 0);
}

/* An option that an administrator's text holds stays within its argument. */
static void arguments_cannot_be_smuggled_in(void **state UNUSED)
{
	auto_error struct error err = ERROR_INIT;
	auto_strmap struct strmap config = STRMAP_INIT;
	auto_strv struct strv args = STRV_INIT;

	parse_config(&config, "ipv4.address=192.0.2.1/24;dns.domain=a --dhcp-script=/x");
	expect_ok(dnsmasq_make_arguments(&settings, &config, &args, &err), &err);
	assert_true(strv_contains(&args, "a --dhcp-script=/x"));
	assert_false(strv_contains(&args, "--dhcp-script=/x"));
}

/* --- host entries --- */

static void host_files_are_escaped(void **state UNUSED)
{
	static const char *const rows[][2] = {
		{"c1.eth0", "c1.eth0"},      {"c-1.eth-0", "c-1.eth--0"}, {"p1_c1.eth0", "p1_c1.eth0"},
		{"c1.a/b-/c", "c1.a-b---c"}, {"c1.a.b-c", "c1.a.b--c"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_free char *file = dnsmasq_host_file(rows[i][0]);
		auto_free char *label = dnsmasq_host_label(rows[i][1]);

		assert_string_equal(file, rows[i][1]);
		if (!strchr(rows[i][0], '/'))
			assert_string_equal(label, rows[i][0]);
	}
}

static struct dnsmasq_host make_host(const char *mac, const char *v4, const char *v6, const char *name)
{
	struct dnsmasq_host h = {.hostname = xstrdup_null(name)};

	assert_true(mac_parse(mac, &h.mac));
	assert_true(!v4 || ip_parse(AF_INET, v4, &h.v4));
	assert_true(!v6 || ip_parse(AF_INET6, v6, &h.v6));
	return h;
}

static void host_lines_are_written_and_read(void **state UNUSED)
{
	static const char *const rows[][4] = {
		{NULL, NULL, "cA", "00:16:3e:79:f7:01,cA"},
		{"192.0.2.10", "2001:db8::10", "cA", "00:16:3e:79:f7:01,192.0.2.10,[2001:db8::10],cA"},
		{"192.0.2.10", NULL, "cX.p1", "00:16:3e:79:f7:01,192.0.2.10,cX.p1"},
		{NULL, "2001:db8::10", NULL, "00:16:3e:79:f7:01,[2001:db8::10]"},
		{"192.0.2.10", NULL, NULL, "00:16:3e:79:f7:01,192.0.2.10"},
		{NULL, NULL, NULL, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(dnsmasq_host_done) struct dnsmasq_host again = {0};
		CLEANUP(dnsmasq_host_done)
		struct dnsmasq_host h = make_host("00:16:3E:79:F7:01", rows[i][0], rows[i][1], rows[i][2]);
		auto_free char *line = dnsmasq_host_line(&h);

		if (!rows[i][3]) {
			assert_null(line);
			continue;
		}
		assert_string_equal(line, rows[i][3]);
		assert_true(dnsmasq_host_parse(line, &again));
		assert_true(ip_equal(&h.v4, &again.v4) && ip_equal(&h.v6, &again.v6));
		assert_memory_equal(&h.mac, &again.mac, sizeof(h.mac));
		assert_string_equal(h.hostname ? h.hostname : "", again.hostname ? again.hostname : "");
	}
}

static void host_lines_that_are_none_are_refused(void **state UNUSED)
{
	static const char *const bad[] = {
		"",
		"00:16:3e:79:f7:01",
		"00:16:3e:79:f7,cA",
		"x,cA",
		"00:16:3e:79:f7:01,",
		"00:16:3e:79:f7:01,a,b",
		"00:16:3e:79:f7:01,[2001:db8::10],[2001:db8::11]",
		"00:16:3e:79:f7:01,[nonsense],a",
		"00:16:3e:79:f7:01,[,a",
		"00:16:3e:79:f7:01,,a",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct dnsmasq_host h = {0};

		if (dnsmasq_host_parse(bad[i], &h))
			fail_msg("accepted: %s", bad[i]);
	}
}

struct folder {
	char top[32];
	struct loop *loop;
	struct dnsmasq *d;
};

static int make_folder(void **state)
{
	struct folder *f = xnew(struct folder);
	auto_error struct error err = ERROR_INIT;
	struct dnsmasq_spec spec = {.dir = f->top, .logs = f->top};
	auto_free char *net = NULL;

	snprintf(f->top, sizeof(f->top), "/tmp/dnsmasq-XXXXXX");
	assert_non_null(mkdtemp(f->top));
	net = path_join(f->top, "br0");
	assert_int_equal(mkdir(net, 0700), 0);
	expect_ok(loop_new(&f->loop, &err), &err);
	spec.loop = f->loop;
	f->d = dnsmasq_new(&spec, "br0");
	*state = f;
	return 0;
}

static int remove_folder(void **state)
{
	struct folder *f = *state;
	auto_error struct error err = ERROR_INIT;

	dnsmasq_free(f->d);
	expect_ok(loop_start(f->loop, &err), &err);
	usleep(20000); /* what was posted runs */
	loop_free(f->loop);
	expect_ok(path_remove_tree(AT_FDCWD, f->top, &err), &err);
	free(f);
	return 0;
}

static char *read_file(const struct folder *f, const char *name)
{
	auto_free char *path = xasprintf("%s/br0/dnsmasq.hosts/%s", f->top, name);
	char buf[256] = "";
	FILE *file = fopen(path, "re");

	if (!file)
		return NULL;
	assert_true(fread(buf, 1, sizeof(buf) - 1, file) > 0);
	fclose(file);
	return xstrdup(buf);
}

static void set_host(struct folder *f, const char *label, const char *v4, const char *name)
{
	CLEANUP(dnsmasq_host_done) struct dnsmasq_host h = make_host("00:16:3e:00:00:01", v4, NULL, name);
	auto_error struct error err = ERROR_INIT;

	h.label = xstrdup(label);
	expect_ok(dnsmasq_host_set(f->d, &h, &err), &err);
}

static void host_files_come_and_go(void **state)
{
	struct folder *f = *state;
	auto_error struct error err = ERROR_INIT;
	auto_free char *text = NULL;
	struct dnsmasq_host *list;
	auto_strv struct strv keep = STRV_INIT;
	size_t n;

	set_host(f, "c1.eth-0", "192.0.2.10", "c1");
	text = read_file(f, "c1.eth--0");
	assert_string_equal(text, "00:16:3e:00:00:01,192.0.2.10,c1\n");
	set_host(f, "c2.eth0", NULL, "c2");
	expect_ok(dnsmasq_hosts(f->d, &list, &n, &err), &err);
	assert_int_equal(n, 2);
	for (size_t i = 0; i < n; i++) {
		assert_string_equal(list[i].label, streq(list[i].hostname, "c1") ? "c1.eth-0" : "c2.eth0");
		dnsmasq_host_done(&list[i]);
	}
	free(list);
	/* with nothing left but the MAC the old one goes */
	set_host(f, "c2.eth0", NULL, NULL);
	assert_null(read_file(f, "c2.eth0"));
	set_host(f, "c3.eth0", NULL, "c3");
	strv_add(&keep, "c3.eth0");
	expect_ok(dnsmasq_hosts_keep(f->d, &keep, &err), &err);
	assert_null(read_file(f, "c1.eth--0"));
	expect_ok(dnsmasq_host_remove(f->d, "c3.eth0", &err), &err);
	assert_null(read_file(f, "c3.eth0"));
	expect_ok(dnsmasq_host_remove(f->d, "c3.eth0", &err), &err);
}

static void expect_hosts(struct folder *f, const char *labels)
{
	auto_error struct error err = ERROR_INIT;
	auto_strv struct strv found = STRV_INIT;
	auto_free char *text = NULL;
	struct dnsmasq_host *list;
	size_t n;

	expect_ok(dnsmasq_hosts(f->d, &list, &n, &err), &err);
	for (size_t i = 0; i < n; i++) {
		strv_add(&found, list[i].label);
		dnsmasq_host_done(&list[i]);
	}
	free(list);
	strv_sort(&found);
	text = strv_join(&found, " ");
	assert_string_equal(text, labels);
}

/* The list is kept in memory: it must follow every change. */
static void list_of_hosts_follows_changes(void **state)
{
	struct folder *f = *state;
	auto_error struct error err = ERROR_INIT;
	auto_strv struct strv keep = STRV_INIT;

	set_host(f, "c1.eth0", NULL, "c1");
	expect_hosts(f, "c1.eth0");
	set_host(f, "c1.eth0", "192.0.2.10", "c1");
	set_host(f, "c2.a-b", NULL, "c2");
	set_host(f, "c3.eth0", NULL, "c3");
	expect_hosts(f, "c1.eth0 c2.a-b c3.eth0");
	set_host(f, "c3.eth0", NULL, NULL);
	expect_hosts(f, "c1.eth0 c2.a-b");
	expect_ok(dnsmasq_host_remove(f->d, "c1.eth0", &err), &err);
	expect_hosts(f, "c2.a-b");
	set_host(f, "c4.eth0", NULL, "c4");
	strv_add(&keep, "c4.eth0");
	expect_ok(dnsmasq_hosts_keep(f->d, &keep, &err), &err);
	expect_hosts(f, "c4.eth0");
}

/* --- leases --- */

static void leases_are_read(void **state UNUSED)
{
	struct dnsmasq_lease *l;
	auto_free char *duid = NULL;
	struct ip_addr a;
	size_t n;

	dnsmasq_leases_parse("1700000000 00:16:3e:00:00:01 192.0.2.10 ca 01:00:16:3e:00:00:01\n"
			     "0 00:16:3e:00:00:02 192.0.2.11 * *\n"
			     "duid 00:01:00:01:2f:00:00:01:00:16:3e:99:99:99\n"
			     "1700000001 7 2001:db8::10 ca 00:04:11\n"
			     "1700000001 T8 2001:db8::11 * 00:04:12\n"
			     "1700000002 06-00:16:3e:00:00:05 192.0.2.12 * *\n",
			     &l, &n, &duid);
	assert_int_equal(n, 5);
	assert_true(ip_parse(AF_INET, "192.0.2.12", &a) && ip_equal(&a, &l[4].address));
	assert_int_equal(l[4].mac.bytes[5], 5);
	assert_string_equal(duid, "00:01:00:01:2f:00:00:01:00:16:3e:99:99:99");
	assert_int_equal(l[0].expires, 1700000000);
	assert_int_equal(l[0].mac.bytes[5], 1);
	assert_string_equal(l[0].hostname, "ca");
	assert_string_equal(l[0].client_id, "01:00:16:3e:00:00:01");
	assert_null(l[1].hostname);
	assert_null(l[1].client_id);
	assert_int_equal(l[1].expires, 0);
	assert_true(ip_parse(AF_INET6, "2001:db8::10", &a) && ip_equal(&a, &l[2].address));
	assert_int_equal(l[2].iaid, 7);
	assert_int_equal(l[3].iaid, 8);
	for (size_t i = 0; i < n; i++)
		dnsmasq_lease_done(&l[i]);
	free(l);
}

static void leases_that_are_damaged_are_skipped(void **state UNUSED)
{
	static const char *const bad[] = {
		"",
		" ",
		"1700000000",
		"1700000000 00:16:3e:00:00:01 192.0.2.10 ca",
		"1700000000 00:16:3e:00:00:01 192.0.2.10 ca * *",
		"1700000000  00:16:3e:00:00:01 192.0.2.10 ca *",
		"-1 00:16:3e:00:00:01 192.0.2.10 ca *",
		"x 00:16:3e:00:00:01 192.0.2.10 ca *",
		"1700000000 00:16:3e:00:00 192.0.2.10 ca *",
		"1700000000 06-00:16:3e:00:00 192.0.2.10 ca *",
		"1700000000 6-00:16:3e:00:00:01 192.0.2.10 ca *",
		"1700000000 00:16:3e:00:00:01 192.0.2.256 ca *",
		"1700000000 x 2001:db8::1 ca *",
		"99999999999999999999 00:16:3e:00:00:01 192.0.2.10 ca *",
		"1700000000 00:16:3e:00:00:01 192.0.2.10 c\x1b[2J *",
		"1700000000 00:16:3e:00:00:01 192.0.2.10 c\xff *",
		"1700000000 00:16:3e:00:00:01 192.0.2.10  ",
		"duid ",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_free char *text = xasprintf("%s\n1 00:16:3e:00:00:01 192.0.2.10 ca *\n", bad[i]);
		auto_free char *duid = NULL;
		struct dnsmasq_lease *l;
		size_t n;

		dnsmasq_leases_parse(text, &l, &n, &duid);
		if (n != 1 || duid)
			fail_msg("row %zu: %zu leases", i, n);
		dnsmasq_lease_done(&l[0]);
		free(l);
	}
}

static void leases_are_bounded(void **state UNUSED)
{
	auto_strbuf struct strbuf b = STRBUF_INIT;
	struct dnsmasq_lease *l;
	size_t n;

	strbuf_append(&b, "1 00:16:3e:00:00:01 192.0.2.10 ");
	for (size_t i = 0; i < 4096; i++)
		strbuf_append_char(&b, 'a');
	strbuf_append(&b, " *\n");
	for (size_t i = 0; i < DNSMASQ_LEASES_MAX + 5; i++)
		strbuf_append(&b, "1 00:16:3e:00:00:01 192.0.2.10 a *\n");
	dnsmasq_leases_parse(b.data, &l, &n, NULL);
	assert_int_equal(n, DNSMASQ_LEASES_MAX);
	for (size_t i = 0; i < n; i++)
		dnsmasq_lease_done(&l[i]);
	free(l);
}

static void hex_is_read_strictly(void **state UNUSED)
{
	static const char *const bad[] = {"", "0", "00:", ":00", "00:0", "0g", "00-11", "000", "00:11:22:33:44"};
	uint8_t buf[4];

	assert_int_equal(dnsmasq_hex_parse("aB:0c", buf, sizeof(buf)), 2);
	assert_int_equal(buf[0], 0xab);
	assert_int_equal(buf[1], 0x0c);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(dnsmasq_hex_parse(bad[i], buf, sizeof(buf)), 0);
}

/* --- release packets --- */

static void release4_is_a_dhcp_message(void **state UNUSED)
{
	struct dnsmasq_lease l = {.mac = {{0, 0x16, 0x3e, 0, 0, 1}}, .client_id = xstrdup("01:02:03")};
	static const uint8_t options[] = {99, 130, 83, 99, 53, 1, 7, 54, 4, 192, 0, 2, 1, 61, 3, 1, 2, 3, 255};
	uint8_t p[DNSMASQ_PACKET_MAX];
	struct ip_addr server;

	assert_true(ip_parse(AF_INET, "192.0.2.10", &l.address) && ip_parse(AF_INET, "192.0.2.1", &server));
	assert_int_equal(dnsmasq_release4_packet(&l, &server, 5, p), 236 + sizeof(options));
	assert_memory_equal(p, "\1\1\6\0\0\0\0\5", 8);
	assert_memory_equal(p + 12, l.address.bytes, 4);
	assert_memory_equal(p + 28, l.mac.bytes, 6);
	assert_memory_equal(p + 236, options, sizeof(options));
	dnsmasq_lease_done(&l);
}

static void release6_needs_both_identities(void **state UNUSED)
{
	struct dnsmasq_lease l = {.iaid = 7, .client_id = xstrdup("00:04:11")};
	static const uint8_t wanted[] = {8, 0, 0, 5, 0,  1, 0, 3, 0, 4, 17, 0, 2, 0, 2, 0, 1, 0, 8, 0, 2, 0,
					 0, 0, 3, 0, 40, 0, 0, 0, 7, 0, 0,  0, 0, 0, 0, 0, 0, 0, 5, 0, 24};
	uint8_t p[DNSMASQ_PACKET_MAX];

	assert_true(ip_parse(AF_INET6, "2001:db8::10", &l.address));
	assert_int_equal(dnsmasq_release6_packet(&l, "00:01", 5, p), sizeof(wanted) + 24);
	assert_memory_equal(p, wanted, sizeof(wanted));
	assert_memory_equal(p + sizeof(wanted), l.address.bytes, 16);
	assert_int_equal(dnsmasq_release6_packet(&l, NULL, 5, p), 0);
	assert_int_equal(dnsmasq_release6_packet(&l, "rubbish", 5, p), 0);
	free(l.client_id);
	l.client_id = NULL;
	assert_int_equal(dnsmasq_release6_packet(&l, "00:01", 5, p), 0);
}

/* The longest identities that a client may have made still fit. */
static void release_packets_are_bounded(void **state UNUSED)
{
	auto_strbuf struct strbuf id = STRBUF_INIT;
	struct dnsmasq_lease l = {0};
	uint8_t p[DNSMASQ_PACKET_MAX];
	struct ip_addr server;

	for (size_t i = 0; i < 255; i++)
		strbuf_appendf(&id, "%s%02zx", i ? ":" : "", i);
	l.client_id = xstrdup(id.data);
	assert_true(ip_parse(AF_INET, "192.0.2.10", &l.address) && ip_parse(AF_INET, "192.0.2.1", &server));
	assert_in_range(dnsmasq_release4_packet(&l, &server, 5, p), 236 + 257, sizeof(p));
	assert_true(ip_parse(AF_INET6, "2001:db8::10", &l.address));
	assert_in_range(dnsmasq_release6_packet(&l, id.data, 5, p), 510, sizeof(p));
	dnsmasq_lease_done(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_are_exact),
		cmocka_unit_test(arguments_when_verbose_are_not_quiet),
		cmocka_unit_test(arguments_of_damaged_ranges_are_refused),
		cmocka_unit_test(arguments_cannot_be_smuggled_in),
		cmocka_unit_test(host_files_are_escaped),
		cmocka_unit_test(host_lines_are_written_and_read),
		cmocka_unit_test(host_lines_that_are_none_are_refused),
		cmocka_unit_test_setup_teardown(host_files_come_and_go, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(list_of_hosts_follows_changes, make_folder, remove_folder),
		cmocka_unit_test(leases_are_read),
		cmocka_unit_test(leases_that_are_damaged_are_skipped),
		cmocka_unit_test(leases_are_bounded),
		cmocka_unit_test(hex_is_read_strictly),
		cmocka_unit_test(release4_is_a_dhcp_message),
		cmocka_unit_test(release6_needs_both_identities),
		cmocka_unit_test(release_packets_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
