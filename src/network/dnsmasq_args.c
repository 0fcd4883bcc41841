/* dnsmasq's arguments for a network's configuration: pure. Each value is an argument of its own, no shell sees it. */
#include "base/alloc.h"
#include "base/str.h"
#include "network/dnsmasq_internal.h"

#define MTU_DEFAULT "1500"
#define EXPIRY_DEFAULT "1h"

/* What the parts below share. */
struct builder {
	const struct dnsmasq_settings *s;
	const struct strmap *config;
	struct strv *args;
	bool has_leases; /* the group of arguments that DHCPv4 and DHCPv6 share is there */
};

static const char *get(const struct builder *b, const char *key, const char *def)
{
	return strmap_get_or(b->config, key, def);
}

bool dnsmasq_address(const struct strmap *config, int family, struct ip_prefix *ret)
{
	const char *text = strmap_get_or(config, family == AF_INET ? "ipv4.address" : "ipv6.address", "none");

	return ip_prefix_parse(family, text, ret);
}

static void add_pair(struct strv *args, const char *option, const char *value)
{
	strv_add(args, option);
	strv_add(args, value);
}

static void add_always(struct builder *b)
{
	static const char *const fixed[] = {
		"--keep-in-foreground",  "--strict-order", "--bind-interfaces",
		"--except-interface=lo", "--pid-file=",    "--no-ping",
	};
	static const char *const quiet[] = {"--quiet-dhcp", "--quiet-dhcp6", "--quiet-ra"};

	strv_add(b->args, b->s->program);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		strv_add(b->args, fixed[i]);
	strv_addf(b->args, "--interface=%s", b->s->name);
	strv_add(b->args, "--dhcp-rapid-commit");
	for (size_t i = 0; i < ARRAY_SIZE(quiet) && !b->s->verbose; i++)
		strv_add(b->args, quiet[i]);
}

static void add_leases(struct builder *b)
{
	if (b->has_leases)
		return;
	b->has_leases = true;
	strv_add(b->args, "--dhcp-no-override");
	strv_add(b->args, "--dhcp-authoritative");
	/* a client is its hardware address, which filters can check; else it could name the identifier of another */
	strv_add(b->args, "--dhcp-ignore-clid");
	strv_addf(b->args, "--dhcp-leasefile=%s/dnsmasq.leases", b->s->dir);
	strv_addf(b->args, "--dhcp-hostsfile=%s/dnsmasq.hosts", b->s->dir);
}

/* The address before the last one: the last usable of an IPv4 subnet. */
static struct ip_addr before_last(const struct ip_prefix *p)
{
	struct ip_addr a = ip_last(p);

	for (size_t i = ip_size(a.family); i-- > 0;)
		if (a.bytes[i]--)
			break;
	return a;
}

/* Without ranges: from the second host to the last usable address (IPv6: the last). None in the smallest subnets. */
static size_t whole_subnet(const struct ip_prefix *p, struct ip_range **ret)
{
	struct ip_range *range = xnew(struct ip_range);
	bool v4 = p->addr.family == AF_INET;

	*ret = range;
	range->last = v4 ? before_last(p) : ip_last(p);
	return ip_nth(p, 2, &range->first) && ip_compare(&range->first, &range->last) <= 0;
}

static int get_ranges(const struct builder *b, const char *key, const struct ip_prefix *p, struct ip_range **ret,
		      size_t *ret_n, struct error *err)
{
	const char *text = get(b, key, NULL);

	if (text)
		return ip_ranges_parse(p->addr.family, text, ret, ret_n, err);
	*ret_n = whole_subnet(p, ret);
	return 0;
}

static int add_ranges4(struct builder *b, const struct ip_prefix *p, struct error *err)
{
	auto_free struct ip_range *ranges = NULL;
	char first[IP_TEXT_MAX], last[IP_TEXT_MAX];
	size_t n = 0;
	int r = get_ranges(b, "ipv4.dhcp.ranges", p, &ranges, &n, err);

	for (size_t i = 0; i < n; i++) {
		strv_add(b->args, "--dhcp-range");
		strv_addf(b->args, "%s,%s,%s", ip_format(&ranges[i].first, first), ip_format(&ranges[i].last, last),
			  get(b, "ipv4.dhcp.expiry", EXPIRY_DEFAULT));
	}
	return r;
}

/* A list of the configuration without blanks around its items; the caller frees. */
static char *plain_list(const char *text)
{
	auto_strv struct strv items = STRV_INIT;
	auto_strv struct strv plain = STRV_INIT;

	strv_split(&items, text, ',');
	for (size_t i = 0; i < items.len; i++)
		strv_add(&plain, str_strip(items.items[i]));
	return strv_join(&plain, ",");
}

static void add_options4(struct builder *b)
{
	static const struct {
		const char *option;
		const char *key;
	} options[] = {{"3", "ipv4.dhcp.gateway"}, {"26", "bridge.mtu"}, {"119", "dns.search"}};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const char *value = get(b, options[i].key, NULL);
		auto_free char *plain = value ? plain_list(value) : NULL;

		if (value && !(streq(options[i].option, "26") && streq(value, MTU_DEFAULT)))
			strv_addf(b->args, "--dhcp-option-force=%s,%s", options[i].option, plain);
	}
}

static int add_v4(struct builder *b, struct error *err)
{
	struct ip_prefix p;
	char text[IP_TEXT_MAX];

	if (!dnsmasq_address(b->config, AF_INET, &p))
		return 0;
	strv_addf(b->args, "--listen-address=%s", ip_format(&p.addr, text));
	if (!strmap_get_bool(b->config, "ipv4.dhcp", true))
		return 0;
	add_leases(b);
	add_options4(b);
	return add_ranges4(b, &p, err);
}

static int add_ranges6(struct builder *b, const struct ip_prefix *p, struct error *err)
{
	auto_free struct ip_range *ranges = NULL;
	char first[IP_TEXT_MAX], last[IP_TEXT_MAX];
	size_t n = 0;
	int r = get_ranges(b, "ipv6.dhcp.ranges", p, &ranges, &n, err);

	for (size_t i = 0; i < n; i++) {
		strv_add(b->args, "--dhcp-range");
		strv_addf(b->args, "%s,%s,%u,%s", ip_format(&ranges[i].first, first), ip_format(&ranges[i].last, last),
			  p->len, get(b, "ipv6.dhcp.expiry", EXPIRY_DEFAULT));
	}
	return r;
}

static int add_v6(struct builder *b, struct error *err)
{
	struct ip_prefix p;
	char text[IP_TEXT_MAX];

	if (!dnsmasq_address(b->config, AF_INET6, &p))
		return 0;
	strv_addf(b->args, "--listen-address=%s", ip_format(&p.addr, text));
	strv_add(b->args, "--enable-ra");
	if (!strmap_get_bool(b->config, "ipv6.dhcp", true)) {
		strv_add(b->args, "--dhcp-range");
		strv_addf(b->args, "::,constructor:%s,ra-only", b->s->name);
		return 0;
	}
	add_leases(b);
	if (strmap_get_bool(b->config, "ipv6.dhcp.stateful", false))
		return add_ranges6(b, &p, err);
	strv_add(b->args, "--dhcp-range");
	strv_addf(b->args, "::,constructor:%s,ra-stateless,ra-names", b->s->name);
	return 0;
}

static void add_domain(struct builder *b)
{
	const char *domain = get(b, "dns.domain", "lxd");

	if (streq(get(b, "dns.mode", "managed"), "none"))
		return;
	add_pair(b->args, "-s", domain);
	strv_add(b->args, "--interface-name");
	strv_addf(b->args, "_gateway.%s,%s", domain, b->s->name);
	strv_add(b->args, "-S");
	strv_addf(b->args, "/%s/", domain);
}

int dnsmasq_make_arguments(const struct dnsmasq_settings *s, const struct strmap *config, struct strv *ret,
			   struct error *err)
{
	auto_strv struct strv args = STRV_INIT;
	struct builder b = {.s = s, .config = config, .args = &args};
	int r;

	add_always(&b);
	r = add_v4(&b, err);
	if (r == 0)
		r = add_v6(&b, err);
	if (r < 0)
		return error_status(err, 500);
	add_domain(&b);
	strv_addf(&args, "--conf-file=%s/dnsmasq.raw", s->dir);
	add_pair(&args, "-u", s->user);
	add_pair(&args, "-g", s->group);
	strv_done(ret);
	*ret = args;
	args = STRV_INIT;
	return 0;
}
