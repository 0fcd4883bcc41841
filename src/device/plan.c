/* Storage of device plans. */
#include "device/plan.h"

#include <stdlib.h>

#include "base/alloc.h"

static void mount_done(struct device_mount *m)
{
	free(m->device);
	free(m->source);
	free(m->target);
	free(m->propagation);
	free(m->options);
}

static void node_done(struct device_node *n)
{
	free(n->device);
	free(n->target);
}

void device_plan_done(struct device_plan *p)
{
	int saved = errno;

	for (size_t i = 0; i < p->n_mounts; i++)
		mount_done(&p->mounts[i]);
	for (size_t i = 0; i < p->n_nodes; i++)
		node_done(&p->nodes[i]);
	free(p->mounts);
	free(p->nodes);
	free(p->rules);
	*p = DEVICE_PLAN_INIT;
	errno = saved;
}

void device_plan_add_mount(struct device_plan *p, struct device_mount m)
{
	p->mounts = xreallocarray(p->mounts, p->n_mounts + 1, sizeof(*p->mounts));
	p->mounts[p->n_mounts++] = m;
}

void device_plan_add_node(struct device_plan *p, struct device_node n)
{
	p->nodes = xreallocarray(p->nodes, p->n_nodes + 1, sizeof(*p->nodes));
	p->nodes[p->n_nodes++] = n;
}

void device_plan_add_rule(struct device_plan *p, struct device_rule r)
{
	p->rules = xreallocarray(p->rules, p->n_rules + 1, sizeof(*p->rules));
	p->rules[p->n_rules++] = r;
}
