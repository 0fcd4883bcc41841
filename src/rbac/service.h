/* Requests to the RBAC service, as the agent that it knows. One user at a time. */
#pragma once

#include "base/strbuf.h"
#include "base/strmap.h"
#include "macaroon/bakery.h"

struct rbac_service;

/* By the keys of the configuration, which are complete. */
struct rbac_service *rbac_service_new(const struct strmap *config);
void rbac_service_free(struct rbac_service *s);
/*
 * @path is below the service's address. Any status is a success. @patience_ms: how long nothing may come. @stop is
 * asked every second; true gives up. Errors: it cannot be reached, does not accept the agent, or says too much.
 */
int rbac_service_call(struct rbac_service *s, const char *method, const char *path, const char *body,
		      unsigned patience_ms, bool (*stop)(void *arg), void *arg, int *ret_status, struct strbuf *ret,
		      struct error *err);
