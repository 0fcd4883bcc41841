/* Shared by the files that make up dnsmasq.h. */
#pragma once

#include "base/thread.h"
#include "network/dnsmasq.h"

/* What the arguments depend on beside the network's configuration. */
struct dnsmasq_settings {
	const char *program; /* argv[0] */
	const char *name;    /* of the network */
	const char *dir;     /* $LXD_DIR/networks/NET */
	const char *user;    /* it becomes this one when it has its sockets */
	const char *group;
	bool verbose; /* each lease in the system's log */
};

/* Pure; 500 when @config holds what its commit point should have refused. */
int dnsmasq_make_arguments(const struct dnsmasq_settings *s, const struct strmap *config, struct strv *ret,
			   struct error *err);
/* The address of a network's configuration; false: it has none. */
bool dnsmasq_address(const struct strmap *config, int family, struct ip_prefix *ret);

struct dnsmasq {
	_Atomic int refs; /* the owner's, the watch's, and of each post and thread under way */
	struct loop *loop;
	dnsmasq_warn_fn warn;
	void *warn_arg;
	char *name;
	char *dir;   /* $LXD_DIR/networks/NET */
	char *hosts; /* dir/dnsmasq.hosts */
	char *log;
	char *program; /* NULL: not installed */

	/* one start, stop or change of files at a time; held across the start of the process, before lock */
	struct mutex busy;
	struct strv args GUARDED_BY(busy); /* what runs or shall run; empty: nothing */

	struct mutex choosing;   /* an address for a NIC, until its entry is written */
	struct mutex hosts_lock; /* the files of host entries and their copy; held across small files */
	struct dnsmasq_host *entries GUARDED_BY(hosts_lock);
	size_t n_entries GUARDED_BY(hosts_lock);
	bool entries_loaded GUARDED_BY(hosts_lock);
	struct mutex lock; /* short */
	pid_t pid GUARDED_BY(lock);
	int pidfd GUARDED_BY(lock);
	unsigned generation GUARDED_BY(lock); /* grows with every start and intended end: tells deaths from those */
	int64_t started_ms GUARDED_BY(lock);
	int64_t delay_ms GUARDED_BY(lock);       /* before the next attempt */
	struct ip_addr server4 GUARDED_BY(lock); /* the bridge's addresses that it was last told; AF_UNSPEC: none */
	struct ip_addr server6 GUARDED_BY(lock);
	bool closed GUARDED_BY(lock);        /* the owner has gone */
	bool reload_missed GUARDED_BY(lock); /* asked for while none ran: it may have read the files before */

	/* the loop's thread only */
	struct loop_source *watch;
	int watch_fd;
	unsigned watch_generation;
	struct loop_timer *timer;
};

/* Shared: the last one to let go frees it. */
struct dnsmasq *dnsmasq_ref(struct dnsmasq *d);
void dnsmasq_unref(struct dnsmasq *d);

/* Raise the warning that the service has failed; NULL: it is over. */
void dnsmasq_warn(struct dnsmasq *d, const char *message);

/* --- dnsmasq_process.c: one process --- */

struct dnsmasq_process {
	pid_t pid; /* 0: none */
	int pidfd;
};

/*
 * Start it and wait until it listens or has ended; its standard error goes to @log too. 500 `The DNS and DHCP service
 * exited prematurely: ...`.
 */
int dnsmasq_process_start(const struct strv *args, const char *log, struct dnsmasq_process *ret, struct error *err);
/* Is this living process a dnsmasq of the network @name with its files in @dir? */
bool dnsmasq_process_is_ours(const struct dnsmasq_process *p, const char *name, const char *dir);
/* Does it run this very program with exactly these arguments? */
bool dnsmasq_process_has(const struct dnsmasq_process *p, const struct strv *args);
/* A pidfd for @pid, which may be anybody by now; false when there is no such process. */
bool dnsmasq_process_open(pid_t pid, struct dnsmasq_process *ret);
/* SIGKILL, wait for the end, reap; the pidfd is closed. */
void dnsmasq_process_kill(struct dnsmasq_process *p);
bool dnsmasq_process_is_alive(int pidfd);

/* --- dnsmasq_watch.c: the process that runs --- */

/* Start it with d->args, note and watch it. Errors as of dnsmasq_process_start(); a taken port names its holder. */
int dnsmasq_launch(struct dnsmasq *d, struct error *err) REQUIRES(d->busy);
/* It is watched from now on; @p is taken. */
void dnsmasq_adopt(struct dnsmasq *d, struct dnsmasq_process *p);
/* The one that is watched (pid 0: none), given to the caller, so that its end is no death. */
struct dnsmasq_process dnsmasq_take_process(struct dnsmasq *d);
bool dnsmasq_know_process(struct dnsmasq *d);
/* Watch the process of @fd (taken), or, when negative, none. */
void dnsmasq_set_watch(struct dnsmasq *d, int fd, unsigned generation);

/* --- dnsmasq_left.c: processes that nobody watches --- */

/* What an earlier daemon noted: the process, and the number of the interface that its sockets are bound to. */
bool dnsmasq_read_pidfile(const struct dnsmasq *d, pid_t *ret_pid, unsigned *ret_interface);
int dnsmasq_write_pidfile(struct dnsmasq *d, pid_t pid, struct error *err);
/* One that an earlier daemon left running: ours by pid file and by command line. */
bool dnsmasq_find_left(struct dnsmasq *d, struct dnsmasq_process *ret, unsigned *ret_interface);
/* End it, watched or left. */
void dnsmasq_end(struct dnsmasq *d);
/* A port was taken, as @err says: 1 when it is free now, else the error says by whom. */
int dnsmasq_resolve_conflict(struct dnsmasq *d, struct error *err);
/* Remove a file of the network's folder; fine when there is none. */
void dnsmasq_remove_file(const struct dnsmasq *d, const char *name);

/* --- dnsmasq_holder.c: who has the port that it wants --- */

/* Processes that have a socket on DNS's or DHCP's server ports here, as "port 53: named (pid 7)"; "" when none is
 * seen. *@ret_pids are those, *@ret_n how many; the caller frees both. */
char *dnsmasq_port_holders(pid_t **ret_pids, size_t *ret_n);

/* --- dnsmasq_leases.c --- */

/* A whole leases file. A container has a say in host names and client ids: damaged lines are skipped, and after
 * DNSMASQ_LEASES_MAX the rest is. *@ret_duid, unless NULL, is the server's DUID as written, or NULL. */
#define DNSMASQ_LEASES_MAX 65536
void dnsmasq_leases_parse(const char *text, struct dnsmasq_lease **ret, size_t *ret_n, char **ret_duid);
/* Those in the file now, with the server's DUID as above. */
int dnsmasq_leases_with_duid(struct dnsmasq *d, struct dnsmasq_lease **ret, size_t *ret_n, char **ret_duid,
			     struct error *err);
/* Take those out of the file for which @drop says so. No process may run: it would write its own again. */
typedef bool (*dnsmasq_lease_fn)(const struct dnsmasq_lease *l, const void *arg);
int dnsmasq_leases_drop(struct dnsmasq *d, dnsmasq_lease_fn drop, const void *arg, struct error *err) REQUIRES(d->busy);
/* "01:aa:bb" into bytes; at most @max. The number of bytes, 0 when it is no such text. */
size_t dnsmasq_hex_parse(const char *text, uint8_t *ret, size_t max);

/* --- dnsmasq_hosts.c --- */

/* Files of entries: the device's part of a label, behind its first dot, has "-" doubled and "/" as "-". */
char *dnsmasq_host_file(const char *label);
char *dnsmasq_host_label(const char *file);
/* The line of an entry without its end; NULL when only the MAC would stand there. */
char *dnsmasq_host_line(const struct dnsmasq_host *h);
/* False for what dnsmasq_host_line() would not write. */
bool dnsmasq_host_parse(const char *line, struct dnsmasq_host *ret);
/* Free the copy of the entries; they are read from their files again. */
void dnsmasq_hosts_forget(struct dnsmasq *d);
/* Have the entries read again. */
void dnsmasq_reload(struct dnsmasq *d);
/* A small file that may be lost with the power, in place of the old one at once. */
int dnsmasq_file_put(const char *dir, const char *name, const char *text, struct error *err);

/* --- dnsmasq_release.c: packets --- */

#define DNSMASQ_PACKET_MAX 1024
/* A DHCPRELEASE for @l to the server @server; its length. */
size_t dnsmasq_release4_packet(const struct dnsmasq_lease *l, const struct ip_addr *server, uint32_t xid,
			       uint8_t buf[DNSMASQ_PACKET_MAX]);
/* A DHCPv6 RELEASE; 0 when the lease or @server_duid cannot be told in one. */
size_t dnsmasq_release6_packet(const struct dnsmasq_lease *l, const char *server_duid, uint32_t xid,
			       uint8_t buf[DNSMASQ_PACKET_MAX]);
