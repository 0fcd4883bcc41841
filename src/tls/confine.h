/*
 * The confinement of the programs that meet strangers' bytes or hold keys: lxd-gate, lxd-signer, lxd-x509, lxd-dial.
 * A user of its own, no capability, an empty root, namespaces, limits, Landlock, and a seccomp allow list.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Whose user and group id: the base that meson's option names, plus this. */
enum confine_program { CONFINE_GATE = 1, CONFINE_SIGNER, CONFINE_X509, CONFINE_DIAL };

enum confine_flags {
	CONFINE_KEEP_NETWORK = 1, /* it connects by itself: no network namespace of its own */
	/* Run by an ordinary user (lxc starts lxd-dial): namespaces where the kernel lets such a user have them, the
	 * rest in any case. Without this flag only root may start the program. */
	CONFINE_ANY_USER = 2,
	CONFINE_KEEP_ROOT = 4, /* it must still read files (certificates of authorities, resolver): no empty root */
};

struct confine_spec {
	enum confine_program program;
	unsigned flags;
	unsigned fds_keep;    /* fds below this stay open, all others are closed */
	unsigned nofile;      /* limit of open files */
	unsigned cpu_seconds; /* limit of processor time; 0: none */
	bool threads;         /* may make threads (never processes) */
	const int *calls;     /* system calls beyond those every program needs (confine_filter.c) */
	size_t n_calls;
};

/*
 * Enter. Nothing that needs files, locales or libraries loaded at run time works after it; there is no way back. What
 * was open below fds_keep can still be used. Called by a process with one thread. Keeps PR_SET_PDEATHSIG.
 */
int confine_enter(const struct confine_spec *spec, struct error *err);

/* The last step of confine_enter(): the allow list alone. Anything else kills the process. */
int confine_filter_load(const struct confine_spec *spec, struct error *err);
