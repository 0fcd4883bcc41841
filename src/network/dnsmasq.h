/*
 * One dnsmasq per managed bridge: its arguments, its files, its life. The process is supervised: it is started again
 * when it dies, with growing delay, and goes on running when the daemon ends; the next daemon takes over or replaces
 * it. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/strmap.h"
#include "base/strv.h"
#include "config/ip.h"

struct dnsmasq;

/* As of firewall_warn_fn. */
typedef void (*dnsmasq_warn_fn)(void *arg, const char *type, const char *severity, const char *entity,
				const char *message);

struct dnsmasq_spec {
	struct loop *loop;
	const char *dir;  /* $LXD_DIR/networks */
	const char *logs; /* $LXD_DIR/logs: dnsmasq.NET.log */
	dnsmasq_warn_fn warn;
	void *warn_arg;
};

/* Nothing is started yet. @name: the network. */
struct dnsmasq *dnsmasq_new(const struct dnsmasq_spec *spec, const char *name);
/* Stops supervising; the process goes on. */
void dnsmasq_free(struct dnsmasq *d);

/*
 * The argument vector for a network's stored configuration (spec of the keys: config/keys_network.c), ended by NULL;
 * pure. @uses_ipv4/6 tell whether the bridge has the address. The caller cleans *@ret.
 */
int dnsmasq_arguments(const struct dnsmasq *d, const struct strmap *config, struct strv *ret, struct error *err);

/*
 * Bring the process to this configuration: kill the old one (only ours: pid file and command line agree), write the
 * files, start, and wait until it listens or has failed; with neither an IPv4 nor an IPv6 address there is none, and
 * stale files go. Error: `The DNS and DHCP service exited prematurely: ... ("<its stderr>")`, naming who holds port 53
 * or 67 when that is the reason; then none runs. Host entries must have been written before.
 */
int dnsmasq_apply(struct dnsmasq *d, const struct strmap *config, struct error *err);
/* Kill it for good (delete, shutdown of all). */
void dnsmasq_stop(struct dnsmasq *d);
/* Its process id, 0: none. */
pid_t dnsmasq_pid(struct dnsmasq *d);

/* What the server shall tell a NIC; empty members are left out. */
struct dnsmasq_host {
	char *label; /* INST.DEV or PROJECT_INST.DEV: the file */
	struct mac_addr mac;
	struct ip_addr v4; /* AF_UNSPEC: none */
	struct ip_addr v6;
	char *hostname; /* NULL: none */
};

void dnsmasq_host_done(struct dnsmasq_host *h);
/* Write the entry (file, atomically) and have it read; with only the MAC left no file is written and an old one goes.
 */
int dnsmasq_host_set(struct dnsmasq *d, const struct dnsmasq_host *h, struct error *err);
/* Remove it, and release what the NIC has leased. Fine when there is none. */
int dnsmasq_host_remove(struct dnsmasq *d, const char *label, struct error *err);
/*
 * The entry of @label: 1, or 0 when there is none. The caller cleans *@ret.
 */
int dnsmasq_host_get(struct dnsmasq *d, const char *label, struct dnsmasq_host *ret);
/* Between the choice of an address for a NIC and its entry nobody else chooses one. */
void dnsmasq_hold_hosts(struct dnsmasq *d);
void dnsmasq_release_hosts(struct dnsmasq *d);
/* All entries that are there; the caller cleans and frees. */
int dnsmasq_hosts(struct dnsmasq *d, struct dnsmasq_host **ret, size_t *ret_n, struct error *err);
/* Remove every entry whose label is not in @labels. */
int dnsmasq_hosts_keep(struct dnsmasq *d, const struct strv *labels, struct error *err);

struct dnsmasq_lease {
	struct mac_addr mac; /* zero for IPv6 */
	struct ip_addr address;
	char *hostname;  /* NULL: none */
	char *client_id; /* DUID for IPv6 */
	uint32_t iaid;   /* IPv6 */
	int64_t expires; /* seconds since the epoch; 0: never */
};

void dnsmasq_lease_done(struct dnsmasq_lease *l);
/* Those in its file now; damaged lines are skipped. The caller cleans and frees. */
int dnsmasq_leases(struct dnsmasq *d, struct dnsmasq_lease **ret, size_t *ret_n, struct error *err);
/* Give back the leases of @mac (IPv4) and @hostname (IPv6; NULL: none), except @keep addresses. Best effort, logged. */
void dnsmasq_release(struct dnsmasq *d, const struct mac_addr *mac, const char *hostname, const struct ip_addr *keep,
		     size_t n_keep);
/* Give back the lease of an address that is @mac's from now on, when somebody else has it. Best effort, logged. */
void dnsmasq_release_address(struct dnsmasq *d, const struct ip_addr *a, const struct mac_addr *mac);
