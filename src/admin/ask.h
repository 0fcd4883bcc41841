/* Kinds of questions that `lxd init` asks: each is repeated until the answer fits; the end of the input is an error. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Judges an answer; the message of the error (400) is told before the question comes again. */
typedef int (*ask_check_fn)(const char *answer, const void *arg, struct error *err);

/* @def NULL: there is no default, and an empty answer does not fit. @check may be NULL. The caller frees *@ret. */
int ask_text(const char *question, const char *def, ask_check_fn check, const void *arg, char **ret, struct error *err);
int ask_bool(const char *question, bool def, bool *ret, struct error *err);
/* Twice, unseen on a terminal; not empty. The caller wipes and frees *@ret. */
int ask_password(const char *question, char **ret, struct error *err);
