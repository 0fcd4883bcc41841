/*
 * Runs the firewall from the command line, for tests/e2e/test_firewall.py. Not installed. Commands come on stdin, one a
 * line, words separated by tabs; one line of answer each: "ok ..." or "error ...". Warnings go to stderr.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "base/strv.h"
#include "base/timeutil.h"
#include "firewall/firewall.h"

struct driver {
	struct firewall *fw;
	struct strv words;
};

static const char *word(const struct driver *d, size_t i)
{
	return i < d->words.len ? d->words.items[i] : "";
}

/* "-": not filtered; "none": all is blocked; else prefixes, and "+elsewhere". */
static int read_allowed(int family, const char *text, struct firewall_allowed *ret, struct error *err)
{
	auto_free char *list = xstrdup(text);
	char *elsewhere = strstr(list, "+elsewhere");
	struct ip_prefix *prefixes = NULL;
	int r;

	*ret = (struct firewall_allowed){0};
	if (streq(text, "-"))
		return 0;
	ret->filtered = true;
	if (streq(text, "none"))
		return 0;
	if (elsewhere)
		*elsewhere = '\0';
	ret->dhcp_elsewhere = elsewhere != NULL;
	r = ip_prefixes_parse(family, list, &prefixes, &ret->n, err);
	ret->prefix = prefixes;
	return r;
}

/* nic LABEL HOST_IF MAC V4 V6 [PARENT]; check the same */
static int do_nic(struct driver *d, struct error *err)
{
	struct firewall_nic n = {.label = word(d, 1), .host_if = word(d, 2), .parent = "br0", .parent_managed = true};
	int r;

	if (*word(d, 6))
		n.parent = word(d, 6);
	if (!mac_parse(word(d, 3), &n.mac))
		return error_set(err, 400, "no hardware address");
	r = read_allowed(AF_INET, word(d, 4), &n.v4, err);
	if (r == 0)
		r = read_allowed(AF_INET6, word(d, 5), &n.v6, err);
	if (r == 0)
		r = streq(word(d, 0), "check") ? firewall_nic_check(d->fw, &n, err) : firewall_nic_set(d->fw, &n, err);
	free((void *)(uintptr_t)n.v4.prefix);
	free((void *)(uintptr_t)n.v6.prefix);
	return r;
}

/* Flags after the address: "192.0.2.1/24,nat,firewall,routing,dhcp"; "snat=ADDRESS" */
static int read_subnet(const char *text, struct firewall_subnet *ret, struct error *err)
{
	auto_strv struct strv parts = STRV_INIT;

	*ret = (struct firewall_subnet){0};
	strv_split(&parts, text, ',');
	if (!parts.len || streq(text, "-"))
		return 0;
	if (!ip_prefix_parse(AF_UNSPEC, parts.items[0], &ret->address))
		return error_set(err, 400, "no subnet: %s", parts.items[0]);
	for (size_t i = 1; i < parts.len; i++) {
		const char *snat = startswith(parts.items[i], "snat=");

		ret->nat |= snat || streq(parts.items[i], "nat");
		ret->nat_after |= streq(parts.items[i], "after");
		ret->firewall |= streq(parts.items[i], "firewall");
		ret->routing |= streq(parts.items[i], "routing");
		ret->dhcp |= streq(parts.items[i], "dhcp");
		if (snat && !ip_parse(AF_UNSPEC, snat, &ret->nat_address))
			return error_set(err, 400, "no address: %s", snat);
	}
	return 0;
}

/* network NAME V4 V6 */
static int do_network(struct driver *d, struct error *err)
{
	struct firewall_network n = {.name = word(d, 1)};
	int r = read_subnet(word(d, 2), &n.v4, err);

	if (r == 0)
		r = read_subnet(word(d, 3), &n.v6, err);
	return r < 0 ? r : firewall_network_set(d->fw, &n, err);
}

static int do_network_remove(struct driver *d, struct error *err)
{
	return firewall_network_remove(d->fw, word(d, 1), err);
}

static int do_nic_remove(struct driver *d, struct error *err)
{
	return firewall_nic_remove(d->fw, word(d, 1), err);
}

static int do_routed(struct driver *d, struct error *err)
{
	return firewall_routed_set(d->fw, word(d, 1), word(d, 2), err);
}

static int do_routed_remove(struct driver *d, struct error *err)
{
	return firewall_routed_remove(d->fw, word(d, 1), err);
}

static int do_rate(struct driver *d, struct error *err)
{
	uint64_t rate;

	if (parse_u64(word(d, 3), &rate) < 0)
		return error_set(err, 400, "no rate");
	return firewall_rate_set(d->fw, word(d, 1), word(d, 2), rate, err);
}

static int do_rate_remove(struct driver *d, struct error *err)
{
	return firewall_rate_remove(d->fw, word(d, 1), err);
}

static int do_start(struct driver *d, struct error *err)
{
	return firewall_start(d->fw, err);
}

static int do_set_driver(struct driver *d, struct error *err)
{
	return firewall_set_driver(d->fw, word(d, 1), err);
}

static int do_driver(struct driver *d, struct error *err UNUSED)
{
	printf("ok\t%s\n", firewall_driver(d->fw));
	return 1;
}

static const struct {
	const char *name;
	int (*run)(struct driver *d, struct error *err); /* 1: has answered */
} commands[] = {
	{"start", do_start},
	{"driver", do_driver},
	{"set-driver", do_set_driver},
	{"network", do_network},
	{"network-remove", do_network_remove},
	{"nic", do_nic},
	{"check", do_nic},
	{"nic-remove", do_nic_remove},
	{"routed", do_routed},
	{"routed-remove", do_routed_remove},
	{"rate", do_rate},
	{"rate-remove", do_rate_remove},
};

static void run_line(struct driver *d, const char *line)
{
	auto_error struct error err = ERROR_INIT;
	int64_t begin = time_now_ns();
	int r = -EINVAL;

	strv_done(&d->words);
	strv_split(&d->words, line, '\t');
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (streq(word(d, 0), commands[i].name))
			r = commands[i].run(d, &err);
	if (r < 0)
		printf("error\t%d\t%s\n", err.status, error_msg(&err));
	else if (r == 0)
		printf("ok\t%lld\n", (long long)(time_now_ns() - begin) / 1000);
	fflush(stdout);
}

static void on_warning(void *arg UNUSED, const char *type, const char *severity, const char *entity,
		       const char *message)
{
	fprintf(stderr, "warning\t%s\t%s\t%s\t%s\n", type, severity, entity, message ? message : "-");
}

int main(int argc, char **argv)
{
	struct firewall_spec spec = {.warn = on_warning, .driver = argc > 1 ? argv[1] : NULL};
	auto_error struct error err = ERROR_INIT;
	struct driver d = {0};
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	if (loop_new(&spec.loop, &err) < 0 || loop_start(spec.loop, &err) < 0 || firewall_new(&spec, &d.fw, &err) < 0) {
		fprintf(stderr, "%s\n", error_msg(&err));
		return 1;
	}
	while ((n = getline(&line, &size, stdin)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		run_line(&d, line);
	}
	free(line);
	strv_done(&d.words);
	loop_free(spec.loop);
	firewall_free(d.fw);
	return 0;
}
