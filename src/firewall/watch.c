#include "firewall/watch.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/thread.h"
#include "base/timeutil.h"
#include "base/wire_nft.h"
#include "firewall/nfnetlink.h"
#include "firewall/nft_rules.h"

#define PACKET_MAX (32 * 1024)
#define DELAY_MS 100        /* what belongs together is over by then */
#define DELAY_MAX_MS 10000  /* somebody takes our rules away again and again, or they cannot be made */
#define DELAY_CALM_MS 30000 /* after so long without, the next is answered soon again */

struct firewall_watch {
	firewall_watch_fn fn;
	void *arg;
	int sock;
	int wake_fd;
	pthread_t thread;
	_Atomic unsigned poked;
	_Atomic bool stop;
	/* the thread's own */
	unsigned change;  /* bits of the transaction whose messages are being read */
	unsigned pending; /* bits to be told of */
	int64_t due_ms;   /* when; while there are pending ones */
	int64_t delay_ms;
	int64_t repaired_ms;
	char who[32];
	unsigned char packet[PACKET_MAX];
};

/* --- messages --- */

static void add_pending(struct firewall_watch *w, unsigned what)
{
	if (what && !w->pending)
		w->due_ms = time_monotonic_ms() + w->delay_ms;
	w->pending |= what;
}

/* The last message of a transaction says whose it was. */
static void end_of_change(struct firewall_watch *w, struct rtnl_bytes body)
{
	struct nfgenmsg head;
	struct rtnl_attr a;
	char who[sizeof(w->who)] = "";

	if (!rtnl_take(&body, &head, sizeof(head)))
		return;
	while (rtnl_next_attr(&body, &a))
		if (a.type == NFTA_GEN_PROC_NAME)
			rtnl_copy(&a, who, sizeof(who) - 1);
	if (w->change && !streq(who, WIRE_NFT_PROGRAM)) {
		memcpy(w->who, who, sizeof(who));
		add_pending(w, w->change);
	}
	w->change = 0;
}

static int take_message(uint16_t type, struct rtnl_bytes body, void *arg)
{
	struct firewall_watch *w = arg;
	char table[sizeof(NFT_TABLE_NAME) + 1]; /* a longer name is cut, and still longer than ours */

	if (type >> 8 != NFNL_SUBSYS_NFTABLES)
		return 0;
	if ((type & 0xff) == NFT_MSG_NEWGEN) {
		end_of_change(w, body);
		return 0;
	}
	nfnl_table_of(body, table, sizeof(table));
	w->change |= streq(table, NFT_TABLE_NAME) ? FIREWALL_WATCH_OURS : FIREWALL_WATCH_OTHERS;
	return 0;
}

static void read_messages(struct firewall_watch *w)
{
	for (;;) {
		struct sockaddr_nl from = {0};
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(w->sock, w->packet, sizeof(w->packet), MSG_TRUNC | MSG_DONTWAIT, (void *)&from,
				     &size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ENOBUFS)
			return;
		if (n > 0 && from.nl_pid != 0)
			continue; /* not the kernel */
		if (n < 0 || n > (ssize_t)sizeof(w->packet) ||
		    rtnl_packet((struct rtnl_bytes){w->packet, (size_t)n}, take_message, w) < 0)
			add_pending(w, FIREWALL_WATCH_LOST | FIREWALL_WATCH_OTHERS);
	}
}

/* --- the thread --- */

static void tell(struct firewall_watch *w)
{
	unsigned what = w->pending;
	int64_t now = time_monotonic_ms();
	bool done;

	w->pending = 0;
	done = w->fn(w->arg, what, w->who);
	if (done && !(what & FIREWALL_WATCH_OURS))
		return;
	/* the more often, the later */
	w->delay_ms = now - w->repaired_ms > DELAY_CALM_MS ? DELAY_MS : MIN_OF(w->delay_ms * 2, DELAY_MAX_MS);
	w->repaired_ms = now;
	if (!done)
		add_pending(w, what);
}

static void *watch_thread(void *arg)
{
	struct firewall_watch *w = arg;

	while (!w->stop) {
		struct pollfd p[] = {{.fd = w->sock, .events = POLLIN}, {.fd = w->wake_fd, .events = POLLIN}};
		int64_t left = w->pending ? MAX_OF(w->due_ms - time_monotonic_ms(), 0) : -1;
		uint64_t count;

		if (poll(p, ARRAY_SIZE(p), (int)left) < 0 && errno != EINTR)
			break;
		if (p[1].revents) {
			(void)!read(w->wake_fd, &count, sizeof(count));
			add_pending(w, atomic_exchange(&w->poked, 0));
		}
		if (p[0].revents)
			read_messages(w);
		if (!w->stop && w->pending && time_monotonic_ms() >= w->due_ms)
			tell(w);
	}
	return NULL;
}

static void free_all(struct firewall_watch *w)
{
	fd_close(w->sock);
	fd_close(w->wake_fd);
	free(w);
}

int firewall_watch_new(firewall_watch_fn fn, void *arg, struct firewall_watch **ret, struct error *err)
{
	struct firewall_watch *w = xnew(struct firewall_watch);
	int r;

	w->fn = fn;
	w->arg = arg;
	w->delay_ms = DELAY_MS;
	w->repaired_ms = time_monotonic_ms() - DELAY_CALM_MS;
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->sock = nfnl_open(NFNLGRP_NFTABLES, err);
	r = w->sock < 0 ? w->sock : 0;
	if (r == 0 && w->wake_fd < 0)
		r = error_errno(err, errno, "Watch nftables");
	if (r == 0)
		r = thread_start_joinable("firewall", watch_thread, w, &w->thread, err);
	if (r < 0) {
		free_all(w);
		return r;
	}
	*ret = w;
	return 0;
}

static void wake(struct firewall_watch *w)
{
	uint64_t one = 1;

	(void)!write(w->wake_fd, &one, sizeof(one));
}

void firewall_watch_free(struct firewall_watch *w)
{
	if (!w)
		return;
	w->stop = true;
	wake(w);
	pthread_join(w->thread, NULL);
	free_all(w);
}

void firewall_watch_poke(struct firewall_watch *w, enum firewall_watch_what what)
{
	atomic_fetch_or(&w->poked, (unsigned)what);
	wake(w);
}
