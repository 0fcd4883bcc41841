/* From answers to a plan: storage, network, access from afar. */
#include "admin/init_questions.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "admin/ask.h"
#include "base/address.h"
#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "config/keys.h"
#include "config/names.h"

/* ---- storage ---- */

static int check_driver(const char *answer, const void *arg, struct error *err)
{
	const struct strv *drivers = arg;
	auto_free char *list = NULL;

	if (strv_contains(drivers, answer))
		return 0;
	list = strv_join(drivers, ", ");
	return error_set(err, 400, "\"%s\" is not one of %s", answer, list);
}

static int ask_driver(const struct strv *drivers, char **ret, struct error *err)
{
	auto_free char *list = strv_join(drivers, ", ");
	auto_free char *question = xasprintf("Name of the storage backend to use (%s)", list);

	if (drivers->len == 1) {
		*ret = xstrdup(drivers->items[0]);
		return 0;
	}
	return ask_text(question, "dir", check_driver, drivers, ret, err);
}

static int ask_new_pool_name(const struct init_server *s, char **ret, struct error *err)
{
	for (;;) {
		auto_free char *name = NULL;
		int r = ask_text("Name of the new storage pool", "default", NULL, NULL, &name, err);

		if (r < 0)
			return r;
		if (!init_server_pool(s, name)) {
			*ret = TAKE_PTR(name);
			return 0;
		}
		printf("The requested storage pool \"%s\" already exists. Please choose another name.\n", name);
	}
}

static int ask_storage(const struct init_server *s, const struct strv *drivers, struct init_plan *p, struct error *err)
{
	bool wanted = false;
	int r = ask_bool("Do you want to configure a new storage pool? (yes/no)", true, &wanted, err);

	if (r < 0)
		return r;
	if (!wanted) {
		/* whatever is there gets used */
		p->pool = s->has_root ? NULL : xstrdup_null(s->pool);
		return 0;
	}
	r = ask_new_pool_name(s, &p->pool, err);
	return r < 0 ? r : ask_driver(drivers, &p->driver, err);
}

/* ---- network ---- */

static int check_interface(const char *answer, const void *arg UNUSED, struct error *err)
{
	return name_check_interface(answer, err);
}

static int ask_bridge_name(const struct init_server *s, char **ret, struct error *err)
{
	for (;;) {
		auto_free char *name = NULL;
		int r = ask_text("What should the new bridge be called?", "lxdbr0", check_interface, NULL, &name, err);

		if (r < 0)
			return r;
		if (!init_server_network(s, name)) {
			*ret = TAKE_PTR(name);
			return 0;
		}
		printf("The requested network bridge \"%s\" already exists. Please choose another name.\n", name);
	}
}

static int check_address(const char *answer, const void *arg, struct error *err)
{
	const struct config_key *key = arg;

	return key->check(key->name, answer, err);
}

/* Address and, for one that the user has chosen, NAT of one family. */
static int ask_family(const char *family, const char *address_key, const char *nat_key, struct strmap *config,
		      struct error *err)
{
	auto_free char *question = xasprintf("What %s address should be used? (CIDR subnet notation, “auto” or “none”)",
					     family);
	auto_free char *nat_question = xasprintf("Would you like LXD to NAT %s traffic on your bridge?", family);
	auto_free char *address = NULL;
	bool nat = false;
	int r;

	r = ask_text(question, "auto", check_address, config_key_find(CONFIG_SCOPE_NETWORK, address_key), &address,
		     err);
	if (r < 0)
		return r;
	strmap_set(config, address_key, address);
	if (streq(address, "auto") || streq(address, "none"))
		return 0;
	r = ask_bool(nat_question, true, &nat, err);
	if (r >= 0)
		strmap_set(config, nat_key, nat ? "true" : "false");
	return r;
}

static int ask_new_bridge(const struct init_server *s, struct init_plan *p, struct error *err)
{
	int r = ask_bridge_name(s, &p->network, err);

	if (r >= 0)
		r = ask_family("IPv4", "ipv4.address", "ipv4.nat", &p->network_config, err);
	if (r >= 0)
		r = ask_family("IPv6", "ipv6.address", "ipv6.nat", &p->network_config, err);
	if (r < 0)
		return r;
	strmap_set(&p->nic, "type", "nic");
	strmap_set(&p->nic, "name", "eth0");
	strmap_set(&p->nic, "network", p->network);
	return 0;
}

static int ask_existing_interface(const struct init_server *s, struct init_plan *p, struct error *err)
{
	for (;;) {
		auto_free char *name = NULL;
		const struct json *found;
		const char *type;
		int r = ask_text("Name of the existing bridge or host interface", NULL, NULL, NULL, &name, err);

		if (r < 0)
			return r;
		found = init_server_network(s, name);
		if (!found) {
			puts("The requested interface doesn't exist. Please choose another one.");
			continue;
		}
		type = json_get_str(found, "type");
		strmap_set(&p->nic, "type", "nic");
		strmap_set(&p->nic, "name", "eth0");
		strmap_set(&p->nic, "nictype", type && streq(type, "bridge") ? "bridged" : "macvlan");
		strmap_set(&p->nic, "parent", name);
		return 0;
	}
}

static int ask_network(const struct init_server *s, struct init_plan *p, struct error *err)
{
	bool wanted = false;
	int r;

	if (!s->has_networks)
		return 0;
	r = ask_bool("Would you like to create a new local network bridge? (yes/no)", true, &wanted, err);
	if (r < 0 || wanted)
		return r < 0 ? r : ask_new_bridge(s, p, err);
	r = ask_bool("Would you like to configure LXD to use an existing bridge or host interface? (yes/no)", false,
		     &wanted, err);
	return r < 0 || !wanted ? r : ask_existing_interface(s, p, err);
}

/* ---- access from afar ---- */

static int check_ip(const char *answer, const void *arg UNUSED, struct error *err)
{
	if (streq(answer, "all") || address_is_ipv4(answer) || address_is_ipv6(answer))
		return 0;
	return error_set(err, 400, "\"%s\" is not an IP address", answer);
}

/* Has this host the address? One that is in use already may be the daemon's own. */
static int try_bind(const char *host, unsigned port, struct error *err)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	bool is_v4 = inet_pton(AF_INET, host, &v4.sin_addr) == 1;
	auto_close int fd = -EBADF;

	if (!is_v4 && inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
		return error_set(err, 400, "\"%s\" is not an IP address", host);
	fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(err, errno, "Make a socket for \"%s\"", host);
	if (bind(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6, is_v4 ? sizeof(v4) : sizeof(v6)) < 0 &&
	    errno != EADDRINUSE) {
		auto_free char *text = host_port_format(host, port);

		return error_errno(err, errno, "Can't bind address \"%s\"", text);
	}
	return 0;
}

static int check_port(const char *answer, const void *arg, struct error *err)
{
	uint64_t port;

	if (parse_u64(answer, &port) < 0 || port == 0 || port > 65535)
		return error_set(err, 400, "\"%s\" is not a port", answer);
	return try_bind(arg, (unsigned)port, err);
}

static int ask_access(struct init_plan *p, struct error *err)
{
	auto_free char *address = NULL;
	auto_free char *port = NULL;
	const char *host;
	uint64_t number;
	bool wanted = false;
	int r;

	r = ask_bool("Would you like the LXD server to be available over the network? (yes/no)", false, &wanted, err);
	if (r < 0 || !wanted)
		return r;
	r = ask_text("Address to bind LXD to (not including port)", "all", check_ip, NULL, &address, err);
	if (r < 0)
		return r;
	host = streq(address, "all") ? "::" : address;
	r = ask_text("Port to bind LXD to", "8443", check_port, host, &port, err);
	if (r >= 0)
		r = parse_u64(port, &number);
	if (r < 0)
		return r;
	p->https_address = host_port_format(host, (unsigned)number);
	return ask_password("Trust password for new clients", &p->trust_password, err);
}

/* ---- all of them ---- */

/* A question whose yes leads nowhere yet. */
static int ask_unsupported(const char *question, const char *what, struct error *err)
{
	bool wanted = false;
	int r = ask_bool(question, false, &wanted, err);

	if (r < 0)
		return r;
	return wanted ? error_set(err, 501, "%s not supported yet", what) : 0;
}

int init_questions(const struct init_server *s, const struct strv *drivers, struct init_plan *p, bool *ret_print,
		   struct error *err)
{
	bool update = true;
	int r = ask_unsupported("Would you like to use LXD clustering? (yes/no)", "Clusters are", err);

	if (r >= 0)
		r = ask_storage(s, drivers, p, err);
	if (r >= 0)
		r = ask_unsupported("Would you like to connect to a MAAS server? (yes/no)", "MAAS servers are", err);
	if (r >= 0)
		r = ask_network(s, p, err);
	if (r >= 0)
		r = ask_access(p, err);
	if (r >= 0)
		r = ask_bool("Would you like stale cached images to be updated automatically? (yes/no)", true, &update,
			     err);
	if (r < 0)
		return r;
	p->stale_images = !update;
	return ask_bool("Would you like a YAML \"lxd init\" preseed to be printed? (yes/no)", false, ret_print, err);
}
