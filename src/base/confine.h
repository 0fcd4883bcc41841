/*
 * The confinement of the programs that meet strangers' bytes or hold keys (lxd-gate, lxd-signer, lxd-x509), and of
 * lxd-nft, which holds a capability. (lxd-dial, which connects and is started by ordinary users too, has its own.)
 * A user of its own, no capability but what is named, an empty root, namespaces, limits, Landlock, and a seccomp allow
 * list. A library of its own (`confine` in src/base/meson.build): lxd does not link it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Whose user and group id: the base that meson's option names, plus this. */
enum confine_program {
	CONFINE_GATE = 1,
	CONFINE_SIGNER,
	CONFINE_X509,
	CONFINE_DIAL, /* see src/dial/confine.c */
	CONFINE_NFT,
};

struct confine_spec {
	enum confine_program program;
	unsigned fds_keep;    /* fds below this stay open, all others are closed */
	unsigned nofile;      /* limit of open files */
	unsigned cpu_seconds; /* limit of processor time; 0: none */
	bool threads;         /* may make threads (never processes) */
	unsigned memory_mib;  /* limit of memory of its own */
	bool socketpairs;     /* may make pairs of UNIX stream sockets */
	bool sending;         /* sendto and sendmsg, on sockets that are connected */
	bool tcp_cork;        /* setsockopt: TCP_CORK alone */
	bool file_flags;      /* may make descriptors (not) wait: F_GETFL and F_SETFL */
	bool net_admin;       /* keeps CAP_NET_ADMIN, and stays in the network namespace that it was started in */
	const int *calls;     /* system calls beyond those every program needs (confine_filter.c) and those above */
	size_t n_calls;
};

/*
 * Enter. Nothing that needs files, locales or libraries loaded at run time works after it; there is no way back. What
 * was open below fds_keep can still be used. Called by root, in a process with one thread. Keeps PR_SET_PDEATHSIG.
 */
int confine_enter(const struct confine_spec *spec, struct error *err);

/* The last step of confine_enter(): the allow list alone. Anything else kills the process. */
int confine_filter_load(const struct confine_spec *spec, struct error *err);
