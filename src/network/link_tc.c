/* Traffic control: how fast an interface may send, and take in. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <string.h>

#include "base/alloc.h"
#include "network/link_internal.h"

#define ROOT_HANDLE 0x10000u  /* 1: */
#define CLASS_HANDLE 0x10010u /* 1:10, where all traffic goes */
#define CLASS_MINOR 0x10u
#define INGRESS_HANDLE 0xffff0000u /* ffff: */
#define TICK_NS 64                 /* of the kernel's packet scheduler */
#define FRAME_BYTES 1600           /* what a burst is never smaller than */
#define BURST_MS 4                 /* a timer tick of the usual kernels */
#define POLICE_BURST_BYTES (1024 * 1024)
#define POLICE_FRAME_BYTES (64 * 1024) /* the largest packet that segmentation offload makes */
#define RATE_CELL_LOG 9                /* 256 cells of 512 bytes hold it */

static uint32_t ticks(uint64_t bytes, uint64_t bytes_per_second)
{
	double ns = (double)bytes * 1e9 / (double)bytes_per_second;

	return (uint32_t)MIN_OF(ns / TICK_NS, (double)UINT32_MAX);
}

static uint32_t rate32(uint64_t bytes_per_second)
{
	return bytes_per_second > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes_per_second;
}

static struct tcmsg tc_message(unsigned index, uint32_t parent, uint32_t handle)
{
	return (struct tcmsg){.tcm_ifindex = (int)index, .tcm_parent = parent, .tcm_handle = handle};
}

static void tc_request(struct rtnl_request *rq, uint16_t type, uint16_t flags, const struct tcmsg *m, const char *kind)
{
	rtnl_request_init(rq, type, NLM_F_ACK | flags, m, sizeof(*m));
	if (kind)
		rtnl_request_put_text(rq, TCA_KIND, kind);
}

/* Kernels say ENOENT where there is no such discipline, EINVAL where there is only the default one. */
static int delete_qdisc(struct link_ns *ns, unsigned index, uint32_t parent, const char *name, struct error *err)
{
	struct tcmsg m = tc_message(index, parent, 0);
	struct rtnl_request rq;
	int r;

	tc_request(&rq, RTM_DELQDISC, 0, &m, NULL);
	r = link_order(ns, &rq, err, "Remove the speed limit of the interface %s", name);
	r = link_forgive(r, ENOENT, err);
	return link_forgive(r, EINVAL, err);
}

/* --- shaping --- */

static int add_htb(struct link_ns *ns, unsigned index, const char *name, struct error *err)
{
	struct tc_htb_glob glob = {.version = 3, .rate2quantum = 10, .defcls = CLASS_MINOR};
	struct tcmsg m = tc_message(index, TC_H_ROOT, ROOT_HANDLE);
	struct rtnl_request rq;
	size_t options;

	tc_request(&rq, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &m, "htb");
	options = rtnl_request_nest(&rq, TCA_OPTIONS);
	rtnl_request_put(&rq, TCA_HTB_INIT, &glob, sizeof(glob));
	rtnl_request_end(&rq, options);
	return link_order(ns, &rq, err, "Limit the speed of the interface %s", name);
}

static int set_htb_class(struct link_ns *ns, unsigned index, uint64_t rate, const char *name, struct error *err)
{
	uint64_t burst = rate * BURST_MS / 1000 + FRAME_BYTES;
	struct tc_ratespec spec = {.rate = rate32(rate), .linklayer = TC_LINKLAYER_ETHERNET};
	struct tc_htb_opt opt = {
		.rate = spec,
		.ceil = spec,
		.buffer = ticks(burst, rate),
		.cbuffer = ticks(burst, rate),
		.quantum = FRAME_BYTES,
	};
	struct tcmsg m = tc_message(index, ROOT_HANDLE, CLASS_HANDLE);
	struct rtnl_request rq;
	size_t options;

	tc_request(&rq, RTM_NEWTCLASS, NLM_F_CREATE, &m, "htb");
	options = rtnl_request_nest(&rq, TCA_OPTIONS);
	rtnl_request_put(&rq, TCA_HTB_PARMS, &opt, sizeof(opt));
	if (rate > UINT32_MAX) {
		rtnl_request_put(&rq, TCA_HTB_RATE64, &rate, sizeof(rate));
		rtnl_request_put(&rq, TCA_HTB_CEIL64, &rate, sizeof(rate));
	}
	rtnl_request_end(&rq, options);
	return link_order(ns, &rq, err, "Limit the speed of the interface %s", name);
}

int link_set_shaping(struct link_ns *ns, const char *name, uint64_t bits_per_second, struct error *err)
{
	unsigned index = 0;
	int r = link_index(ns, name, &index, err);

	if (r < 0)
		return r;
	if (bits_per_second == 0)
		return delete_qdisc(ns, index, TC_H_ROOT, name, err);
	r = link_forgive(add_htb(ns, index, name, err), EEXIST, err); /* a limit that is there changes in place */
	if (r == 0)
		r = set_htb_class(ns, index, MAX_OF(bits_per_second / 8, 1), name, err);
	return r;
}

/* --- policing --- */

static int add_ingress(struct link_ns *ns, unsigned index, const char *name, struct error *err)
{
	struct tcmsg m = tc_message(index, TC_H_INGRESS, INGRESS_HANDLE);
	struct rtnl_request rq;

	tc_request(&rq, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &m, "ingress");
	return link_order(ns, &rq, err, "Limit the incoming speed of the interface %s", name);
}

static void put_police(struct rtnl_request *rq, uint64_t rate)
{
	struct tc_police police = {
		.action = TC_POLICE_SHOT,
		.rate = {.rate = rate32(rate), .cell_log = RATE_CELL_LOG, .linklayer = TC_LINKLAYER_ETHERNET},
		.burst = ticks(POLICE_BURST_BYTES, rate),
		.mtu = POLICE_FRAME_BYTES,
	};
	uint32_t table[TC_RTAB_SIZE / sizeof(uint32_t)]; /* how long so many cells take */

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		table[i] = ticks((i + 1) << RATE_CELL_LOG, rate);
	rtnl_request_put(rq, TCA_POLICE_TBF, &police, sizeof(police));
	rtnl_request_put(rq, TCA_POLICE_RATE, table, sizeof(table));
	if (rate > UINT32_MAX)
		rtnl_request_put(rq, TCA_POLICE_RATE64, &rate, sizeof(rate));
}

/* A filter that every packet matches: the first word, of which no bit is looked at. */
static int add_police(struct link_ns *ns, unsigned index, uint64_t rate, const char *name, struct error *err)
{
	const struct tc_u32_sel sel = {.flags = TC_U32_TERMINAL, .nkeys = 1};
	unsigned char any[sizeof(sel) + sizeof(struct tc_u32_key)] = {0}; /* and a key of zeros */
	struct tcmsg m = tc_message(index, INGRESS_HANDLE, 0);
	struct rtnl_request rq;
	size_t options, police;

	memcpy(any, &sel, sizeof(sel));
	m.tcm_info = TC_H_MAKE(1u << 16, htons(ETH_P_ALL)); /* priority and protocol */
	tc_request(&rq, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &m, "u32");
	options = rtnl_request_nest(&rq, TCA_OPTIONS);
	rtnl_request_put(&rq, TCA_U32_SEL, any, sizeof(any));
	police = rtnl_request_nest(&rq, TCA_U32_POLICE);
	put_police(&rq, rate);
	rtnl_request_end(&rq, police);
	rtnl_request_end(&rq, options);
	return link_order(ns, &rq, err, "Limit the incoming speed of the interface %s", name);
}

int link_set_policing(struct link_ns *ns, const char *name, uint64_t bits_per_second, struct error *err)
{
	auto_error struct error ignored = ERROR_INIT;
	unsigned index = 0;
	int r = link_index(ns, name, &index, err);

	if (r == 0)
		r = delete_qdisc(ns, index, TC_H_INGRESS, name, err);
	if (r < 0 || bits_per_second == 0)
		return r;
	r = add_ingress(ns, index, name, err);
	if (r < 0)
		return r;
	r = add_police(ns, index, MAX_OF(bits_per_second / 8, 1), name, err);
	if (r == 0)
		return 0;
	if (delete_qdisc(ns, index, TC_H_INGRESS, name, &ignored) < 0)
		error_ignore(&ignored, "the first error counts");
	if (r == -ENOENT || r == -EINVAL) { /* no such action, or no such filter */
		error_clear(err);
		return error_errno(err, EOPNOTSUPP, "Limit the incoming speed of the interface %s", name);
	}
	return r;
}
