/* `lxc remote add`. */
#include "client/remote.h"

static int run_add(struct cli *c UNUSED, struct error *err)
{
	return error_set(err, 501, "Remotes on the network are not supported yet");
}

const struct command cmd_remote_add = {.name = "add",
				       .args = "[<remote>] <address>",
				       .min_args = 1,
				       .max_args = 2,
				       .run = run_add,
				       .doc = "Add a remote"};
