/*
 * Joining a running container without liblxc, which takes several times as long. What a joining process must take on is
 * noted when the container starts, in a file beside the saved configuration. The note is written only when this code
 * knows every item of the configuration and liblxc would do nothing more; otherwise there is none, and liblxc joins.
 */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/strv.h"

struct join_limit {
	int resource;
	struct rlimit value;
};

struct join_note {
	bool unknown; /* an item that only liblxc understands */
	bool no_new_privs;
	bool has_seccomp;     /* a policy is configured */
	uint32_t personality; /* JOIN_PERSONALITY_KEEP: as it is */
	struct join_limit limits[RLIM_NLIMITS];
	size_t n_limits;
	struct strv groups;         /* control groups of the container, absolute paths on the host */
	char *unified;              /* the one in the unified hierarchy, NULL when there is none */
	struct sock_filter *filter; /* the seccomp program, NULL: none */
	size_t filter_len;          /* instructions */
};

#define JOIN_PERSONALITY_KEEP UINT32_MAX
#define JOIN_NOTE_INIT ((struct join_note){.personality = JOIN_PERSONALITY_KEEP})

/* Take one item of liblxc's configuration into account. */
void join_note_item(struct join_note *note, const char *key, const char *value);
/* Write the note of the container @name that has just started, or none. Failure means none. */
void join_note_save(struct join_note *note, const char *name, pid_t init, const char *conf_path);
/* Remove the note of an earlier start. */
void join_note_remove(const char *conf_path);
/* False: there is none, liblxc must join. */
bool join_note_load(const char *conf_path, struct join_note *ret);

/*
 * The groups called @wanted that @pid is in or below, as absolute paths on this host; *@ret_unified is the one in the
 * unified hierarchy. False: there is none, or one is mounted nowhere.
 */
bool control_groups_find(pid_t pid, const char *wanted, struct strv *ret, char **ret_unified);

/* What failed, for a message; errno tells why. */
typedef const char *join_failure;

/* On the host: enter control groups, set limits, then enter all namespaces of @init (a pidfd). NULL: done. */
join_failure join_enter(const struct join_note *note, int init);
/* In a child of the process that has entered: drop what init does not have, become root, load the filter. */
join_failure join_confine(const struct join_note *note, uint64_t bounding);
/* Init's bounding set; false: it has ended. */
bool join_bounding_set(int init, uint64_t *ret);

/* From here on the next seccomp program that liblxc loads, in this process or a child, is copied. */
void filter_copy_expect(void);
/* The copy, valid as long as this process; false: none was loaded, or loading it again is not the same. */
bool filter_copy_get(const struct sock_filter **ret_code, size_t *ret_len);
