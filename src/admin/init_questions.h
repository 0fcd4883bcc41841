/* The questions of `lxd init`. */
#pragma once

#include "admin/plan.h"

/*
 * Ask what shall be set up on @s and put it into @p; *@ret_print: the preseed is to be shown. Order and texts are the
 * reference's, for scripts that answer blindly; a yes to what this server cannot do is an error.
 */
int init_questions(const struct init_server *s, const struct strv *drivers, struct init_plan *p, bool *ret_print,
		   struct error *err);
