/* struct firewall, for the files that share it: firewall.c (what shall be in force) and watching.c (that it stays so).
 */
#pragma once

#include <stdatomic.h>

#include "base/strmap.h"
#include "base/thread.h"
#include "firewall/driver.h"
#include "firewall/firewall.h"
#include "firewall/state.h"
#include "firewall/watch.h"

struct firewall {
	struct reaper *reaper;
	firewall_warn_fn warn;
	void *warn_arg;
	struct mutex
		lock; /* one change at a time; held while the kernel takes it, which may be another process's work */
	struct firewall_state state GUARDED_BY(lock);
	const struct firewall_driver *driver GUARDED_BY(lock); /* NULL: none works */
	void *driver_data GUARDED_BY(lock);
	char *why GUARDED_BY(lock); /* none works */
	bool started GUARDED_BY(lock);
	struct firewall_watch *watch GUARDED_BY(lock); /* NULL: before the start, or where there is nothing to watch */
	_Atomic(const char *) driver_name;
	struct strmap
		warned;   /* what was said of networks that others' chains stand in the way of; of the watch's thread */
	bool has_checked; /* the same: they are known */
};

/* Begin to watch; called once, by firewall_start(). A kernel without nftables has nothing to watch. */
void firewall_watching_start(struct firewall *fw) REQUIRES(fw->lock);
/* What stands in the way of networks is to be looked at again. */
void firewall_watching_check(struct firewall *fw) REQUIRES(fw->lock);
