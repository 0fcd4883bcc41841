/*
 * Calls of link.h as commands, one process each, for tests against a real kernel: `link-driver add-bridge br0 1500
 * 00:16:3e:00:00:01`. "-" stands for an argument that is left out. Prints what it was asked; a failure goes to stderr
 * with its errno.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/str.h"
#include "network/link.h"

typedef int (*command_fn)(struct link_ns *ns, char **a, struct error *err);

static unsigned number(const char *text)
{
	return streq(text, "-") ? 0 : (unsigned)strtoul(text, NULL, 10);
}

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p = {0};

	if (!ip_prefix_parse(AF_UNSPEC, text, &p))
		fprintf(stderr, "bad prefix %s\n", text);
	return p;
}

static struct ip_addr address(const char *text)
{
	struct ip_addr a = IP_ADDR_NONE;

	if (!streq(text, "-") && !ip_parse(AF_UNSPEC, text, &a))
		fprintf(stderr, "bad address %s\n", text);
	return a;
}

static const struct mac_addr *mac(const char *text)
{
	static struct mac_addr m;

	return !streq(text, "-") && mac_parse(text, &m) ? &m : NULL;
}

static bool is_on(const char *text)
{
	return streq(text, "on");
}

static void print_link(const struct link_info *l)
{
	char text[MAC_TEXT_MAX];

	printf("%u %s kind=%s up=%d loopback=%d mtu=%u mac=%s master=%u parent=%u\n", l->index, l->name, l->kind, l->up,
	       l->loopback, l->mtu, mac_format(&l->mac, text), l->master, l->parent);
}

static int cmd_get(struct link_ns *ns, char **a, struct error *err)
{
	struct link_info info;
	int r = link_get(ns, a[0], &info, err);

	if (r > 0)
		print_link(&info);
	return r;
}

static int cmd_list(struct link_ns *ns, char **a, struct error *err)
{
	auto_free struct link_info *list = NULL;
	size_t n = 0;
	int r = link_list(ns, &list, &n, err);

	(void)a;
	for (size_t i = 0; r == 0 && i < n; i++)
		print_link(&list[i]);
	return r;
}

static int cmd_add_bridge(struct link_ns *ns, char **a, struct error *err)
{
	return link_add_bridge(ns, a[0], number(a[1]), mac(a[2]), err);
}

static int cmd_add_veth(struct link_ns *ns, char **a, struct error *err)
{
	return link_add_veth(ns,
			     &(struct link_veth){.host = a[0],
						 .guest = a[1],
						 .netns_fd = LINK_HERE,
						 .mtu = number(a[2]),
						 .guest_mac = mac(a[3])},
			     err);
}

static int cmd_add_macvlan(struct link_ns *ns, char **a, struct error *err)
{
	return link_add_macvlan(ns, a[0], a[1], number(a[2]), mac(a[3]), err);
}

static int cmd_delete(struct link_ns *ns, char **a, struct error *err)
{
	return link_delete(ns, a[0], err);
}

static int cmd_up(struct link_ns *ns, char **a, struct error *err)
{
	return link_set_up(ns, a[0], is_on(a[1]), err);
}

static int cmd_mtu(struct link_ns *ns, char **a, struct error *err)
{
	return link_set_mtu(ns, a[0], number(a[1]), err);
}

static int cmd_mac(struct link_ns *ns, char **a, struct error *err)
{
	return link_set_mac(ns, a[0], mac(a[1]), err);
}

static int cmd_rename(struct link_ns *ns, char **a, struct error *err)
{
	return link_rename(ns, a[0], a[1], err);
}

static int cmd_master(struct link_ns *ns, char **a, struct error *err)
{
	return link_set_master(ns, a[0], streq(a[1], "-") ? NULL : a[1], err);
}

static int cmd_move(struct link_ns *ns, char **a, struct error *err)
{
	auto_close int fd = open(a[1], O_RDONLY | O_CLOEXEC);

	return link_move(ns, a[0], &(struct link_move){.netns_fd = fd, .new_name = a[2], .up = is_on(a[3])}, err);
}

static int cmd_isolated(struct link_ns *ns, char **a, struct error *err)
{
	return link_set_port_flag(ns, a[0], LINK_PORT_ISOLATED, is_on(a[1]), err);
}

static int cmd_hairpin(struct link_ns *ns, char **a, struct error *err)
{
	return link_set_port_flag(ns, a[0], LINK_PORT_HAIRPIN, is_on(a[1]), err);
}

static int cmd_learning(struct link_ns *ns, char **a, struct error *err)
{
	return link_set_port_flag(ns, a[0], LINK_PORT_LEARNING, is_on(a[1]), err);
}

static int cmd_pin(struct link_ns *ns, char **a, struct error *err)
{
	return link_pin_port(ns, a[0], mac(a[1]), err);
}

static int cmd_unpin(struct link_ns *ns, char **a, struct error *err)
{
	return link_unpin_port(ns, a[0], mac(a[1]), err);
}

static int cmd_addresses(struct link_ns *ns, char **a, struct error *err)
{
	auto_free struct link_address *list = NULL;
	char text[IP_TEXT_MAX];
	size_t n = 0;
	int r = link_addresses(ns, streq(a[0], "-") ? NULL : a[0], &list, &n, err);

	for (size_t i = 0; r == 0 && i < n; i++)
		printf("%u %s scope=%u\n", list[i].index, ip_prefix_format(&list[i].address, text), list[i].scope);
	return r;
}

static int cmd_add_address(struct link_ns *ns, char **a, struct error *err)
{
	struct ip_prefix p = prefix(a[1]);

	return link_add_address(ns, a[0], &p, err);
}

static int cmd_remove_address(struct link_ns *ns, char **a, struct error *err)
{
	struct ip_prefix p = prefix(a[1]);

	return link_remove_address(ns, a[0], &p, err);
}

static int cmd_flush(struct link_ns *ns, char **a, struct error *err)
{
	struct ip_prefix keep = streq(a[2], "-") ? (struct ip_prefix){0} : prefix(a[2]);

	return link_flush_addresses(ns, a[0], streq(a[1], "6") ? AF_INET6 : AF_INET, keep.addr.family ? &keep : NULL,
				    err);
}

static struct link_route route(char **a)
{
	struct link_route r = {.dest = prefix(a[1]), .via = address(a[2]), .source = address(a[3])};

	r.family = r.dest.addr.family;
	r.table = number(a[4]);
	r.protocol = (uint8_t)number(a[5]);
	return r;
}

static int cmd_add_route(struct link_ns *ns, char **a, struct error *err)
{
	struct link_route r = route(a);

	return link_add_route(ns, a[0], &r, err);
}

static int cmd_remove_route(struct link_ns *ns, char **a, struct error *err)
{
	struct link_route r = route(a);

	return link_remove_route(ns, a[0], &r, err);
}

static int cmd_routes(struct link_ns *ns, char **a, struct error *err)
{
	auto_free struct link_route *list = NULL;
	char dest[IP_TEXT_MAX], via[IP_TEXT_MAX];
	size_t n = 0;
	int r = link_routes(ns, &list, &n, err);

	(void)a;
	for (size_t i = 0; r == 0 && i < n; i++)
		printf("%s dev=%u via=%s table=%u protocol=%u onlink=%d\n", ip_prefix_format(&list[i].dest, dest),
		       list[i].index, list[i].via.family ? ip_format(&list[i].via, via) : "-", list[i].table,
		       list[i].protocol, list[i].on_link);
	return r;
}

static int cmd_add_proxy(struct link_ns *ns, char **a, struct error *err)
{
	struct ip_addr p = address(a[1]);

	return link_add_proxy(ns, a[0], &p, err);
}

static int cmd_remove_proxy(struct link_ns *ns, char **a, struct error *err)
{
	struct ip_addr p = address(a[1]);

	return link_remove_proxy(ns, a[0], &p, err);
}

static int cmd_shape(struct link_ns *ns, char **a, struct error *err)
{
	return link_set_shaping(ns, a[0], strtoull(a[1], NULL, 10), err);
}

static int cmd_police(struct link_ns *ns, char **a, struct error *err)
{
	return link_set_policing(ns, a[0], strtoull(a[1], NULL, 10), err);
}

static int cmd_sysctl(struct link_ns *ns, char **a, struct error *err)
{
	int value = 0;
	int r;

	(void)ns;
	if (!streq(a[3], "-"))
		return link_sysctl_write(a[0], a[1], a[2], a[3], err);
	r = link_sysctl_read(a[0], a[1], a[2], &value, err);
	if (r == 0)
		printf("%d\n", value);
	return r;
}

static const struct {
	const char *name;
	int n_args;
	command_fn run;
} commands[] = {
	{"get", 1, cmd_get},
	{"list", 0, cmd_list},
	{"add-bridge", 3, cmd_add_bridge},
	{"add-veth", 4, cmd_add_veth},
	{"add-macvlan", 4, cmd_add_macvlan},
	{"delete", 1, cmd_delete},
	{"up", 2, cmd_up},
	{"mtu", 2, cmd_mtu},
	{"mac", 2, cmd_mac},
	{"rename", 2, cmd_rename},
	{"master", 2, cmd_master},
	{"move", 4, cmd_move},
	{"isolated", 2, cmd_isolated},
	{"hairpin", 2, cmd_hairpin},
	{"learning", 2, cmd_learning},
	{"pin", 2, cmd_pin},
	{"unpin", 2, cmd_unpin},
	{"addresses", 1, cmd_addresses},
	{"add-address", 2, cmd_add_address},
	{"remove-address", 2, cmd_remove_address},
	{"flush", 3, cmd_flush},
	{"routes", 0, cmd_routes},
	{"add-route", 6, cmd_add_route},
	{"remove-route", 6, cmd_remove_route},
	{"add-proxy", 2, cmd_add_proxy},
	{"remove-proxy", 2, cmd_remove_proxy},
	{"shape", 2, cmd_shape},
	{"police", 2, cmd_police},
	{"sysctl", 4, cmd_sysctl},
};

static int run(command_fn fn, char **args)
{
	CLEANUP(link_ns_freep) struct link_ns *ns = NULL;
	auto_error struct error err = ERROR_INIT;
	int r = link_ns_open(&ns, &err);

	if (r == 0)
		r = fn(ns, args, &err);
	if (r < 0)
		fprintf(stderr, "%d %s\n", -r, error_msg(&err));
	return r < 0;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++)
		if (streq(argv[1], commands[i].name) && argc - 2 == commands[i].n_args)
			return run(commands[i].run, argv + 2);
	fprintf(stderr, "usage: link-driver COMMAND ARG...\n");
	return 2;
}
