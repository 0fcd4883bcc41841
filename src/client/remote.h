/* Servers on the network: whom the client believes, what it shows them, and what to do when they refuse each other. */
#pragma once

#include "client/address.h"
#include "client/client.h"
#include "http/dial.h"

extern const struct command cmd_remote_add; /* in remote_add.c */

/* The connection to a remote, made once per command; borrowed. Any remote that speaks the API, public ones too. */
int remote_open(struct cli *c, const char *remote, struct api **ret, struct error *err);

/*
 * How remote @remote of the configuration is reached: a pinned certificate is the only one believed, unless client.ca
 * is there, whose authority then counts as well; without a pin it is client.ca, or the system's authorities. *@ret_path
 * (may be NULL) is the path of its address.
 */
int remote_reach(const struct cli_config *config, const char *remote, struct dial_target *ret, char **ret_path,
		 struct error *err);
/* The same for an address that is no remote yet: without pins. @with_key: show our certificate, if there is one. */
int remote_reach_address(const struct cli_config *config, const struct remote_address *address, bool with_key,
			 struct dial_target *ret, struct error *err);
/* Does the remote with these fields know its users by an identity provider, instead of by a certificate? */
bool remote_uses_candid(const struct strmap *fields);
/* Make the client's key pair unless it is there. */
int remote_ensure_key(const struct cli_config *config, struct error *err);

/* The command failed with @err: print on standard error what it means for the servers it spoke to, and what to do. */
void remote_explain(const struct cli *c, const struct error *err);
